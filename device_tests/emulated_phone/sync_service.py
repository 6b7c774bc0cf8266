"""Copies files: adb's sync service (AOSP, packages/modules/adb: SYNC.TXT), without lists of folders."""

import os
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from device_tests.emulated_phone.packets import Stream
from device_tests.emulated_phone.shell_service import SHELL_USER

REQUEST = struct.Struct("<4sI")
STAT_1 = struct.Struct("<4s3I")
STAT_2 = struct.Struct("<4sI2Q4IQ3q")
CHUNK_BYTES = 1 << 16


async def run_sync(stream: Stream, root: str, copying: Callable[[str], None]) -> None:
    """Serve until the host says so; `copying` is called in the midst of each file, with `push` or `pull`."""
    while True:
        request, size = REQUEST.unpack(await stream.received.readexactly(REQUEST.size))
        if request == b"QUIT":
            await stream.close()
            return
        name = (await stream.received.readexactly(size)).decode("utf-8", "surrogateescape")
        if request in (b"STA2", b"LST2", b"STAT"):
            await stream.write(_stat(request, _inside(root, name)))
        elif request == b"SEND":
            path, _, mode = name.rpartition(",")
            await _receive(stream, _inside(root, path), int(mode), copying)
        elif request == b"RECV":
            await _send(stream, _inside(root, name), copying)
        else:
            raise ConnectionError(f"this stand-in does not know the request {request!r}")


def _inside(root: str, name: str) -> Path:
    return Path(root + os.path.normpath(f"/{name}"))


@contextmanager
def _as_shell_user() -> Iterator[None]:
    os.setegid(SHELL_USER)
    os.seteuid(SHELL_USER)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


def _stat(request: bytes, path: Path) -> bytes:
    try:
        with _as_shell_user():
            found = path.stat() if request == b"STA2" else path.lstat()
    except OSError as error:
        return STAT_1.pack(request, 0, 0, 0) if request == b"STAT" else STAT_2.pack(request, error.errno, *[0] * 10)
    times = [int(seconds) for seconds in (found.st_atime, found.st_mtime, found.st_ctime)]
    if request == b"STAT":
        return STAT_1.pack(request, found.st_mode, found.st_size, times[1])
    who = (found.st_mode, found.st_nlink, found.st_uid, found.st_gid)
    return STAT_2.pack(request, 0, found.st_dev, found.st_ino, *who, found.st_size, *times)


async def _receive(stream: Stream, path: Path, mode: int, copying: Callable[[str], None]) -> None:
    """Write what comes; after an error read on to its end, and only then say so."""
    problem, file, begun = "", None, False
    try:
        with _as_shell_user():
            file = path.open("wb", buffering=0)
            path.chmod(mode & 0o777)
    except OSError as error:
        problem = f"couldn't create file: {error.strerror}"
    try:
        while True:
            request, size = REQUEST.unpack(await stream.received.readexactly(REQUEST.size))
            if request == b"DONE":
                break
            chunk = await stream.received.readexactly(size)
            if not problem:
                problem = _write(file, chunk)
            if not begun:
                begun = True
                copying("push")
    finally:
        if file is not None:
            file.close()
    if problem:
        with suppress(OSError), _as_shell_user():
            path.unlink()
    words = problem.encode()
    await stream.write(REQUEST.pack(b"FAIL" if problem else b"OKAY", len(words)) + words)


def _write(file, chunk: bytes) -> str:
    try:
        while chunk:
            chunk = chunk[file.write(chunk) :]
    except OSError as error:
        return f"write failed: {error.strerror}"
    return ""


async def _send(stream: Stream, path: Path, copying: Callable[[str], None]) -> None:
    try:
        with _as_shell_user():
            file = path.open("rb")
    except OSError as error:
        words = f"open failed: {error.strerror}".encode()
        await stream.write(REQUEST.pack(b"FAIL", len(words)) + words)
        return
    with file:
        begun = False
        while chunk := file.read(CHUNK_BYTES):
            if not begun:
                begun = True
                copying("pull")
            await stream.write(REQUEST.pack(b"DATA", len(chunk)) + chunk)
    await stream.write(REQUEST.pack(b"DONE", 0))
