"""Runs a command in the phone's shell: with the frames of shell protocol v2, or raw as before Android 7."""

import asyncio
import os
import shutil
import signal
import struct
from contextlib import suppress

from device_tests.emulated_phone.packets import Stream

STDIN, STDOUT, STDERR, EXIT, CLOSE_STDIN = range(5)
FRAME = struct.Struct("<BI")
CHUNK_BYTES = 1 << 15
ENVIRONMENT = {
    "ANDROID_DATA": "/data",
    "ANDROID_ROOT": "/system",
    "HOME": "/",
    "PATH": "/system/bin",
    "SHELL": "/system/bin/sh",
    "TMPDIR": "/data/local/tmp",
    "QEMU_UNAME": "5.10.198-android13-4-standin",
}
SHELL_USER = 2000
CHROOT = shutil.which("chroot") or "/usr/sbin/chroot"  # the environment below is the phone's


async def run_shell(stream: Stream, root: str, command: str, *, framed: bool, cpu: str) -> None:
    errors = asyncio.subprocess.PIPE if framed else asyncio.subprocess.STDOUT
    process = await asyncio.create_subprocess_exec(
        *(CHROOT, f"--userspec={SHELL_USER}:{SHELL_USER}", root, "/system/bin/sh", "-c", command),
        env={**ENVIRONMENT, "QEMU_CPU": cpu},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=errors,
        start_new_session=True,
    )
    giving = asyncio.create_task(_give(stream, process.stdin, framed=framed))
    lost = asyncio.create_task(stream.ended.wait())
    taking = asyncio.gather(
        _take(stream, process.stdout, STDOUT if framed else None),
        *([_take(stream, process.stderr, STDERR)] if framed else []),
    )
    try:
        # A raw stream that the host closes is the end of the input; the program goes on.
        await asyncio.wait([taking, *([lost] if framed else [])], return_when=asyncio.FIRST_COMPLETED)
        if taking.done() and not (framed and stream.ended.is_set()):
            code = await process.wait()
            if framed:
                await stream.write(FRAME.pack(EXIT, 1) + bytes([code if code >= 0 else 128 - code]))
            await stream.close()
    finally:
        for task in (giving, lost, taking):
            task.cancel()
        await asyncio.gather(giving, lost, taking, return_exceptions=True)
        if process.returncode is None:  # as Android's: only the child that it started itself
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGHUP)
        for number in range(3):  # so that its children notice
            if pipe := process._transport.get_pipe_transport(number):
                pipe.close()


async def _take(stream: Stream, pipe: asyncio.StreamReader, kind: int | None) -> None:
    while chunk := await pipe.read(CHUNK_BYTES):
        await stream.write(chunk if kind is None else FRAME.pack(kind, len(chunk)) + chunk)


async def _give(stream: Stream, pipe: asyncio.StreamWriter, *, framed: bool) -> None:
    with suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            if framed:
                kind, size = FRAME.unpack(await stream.received.readexactly(FRAME.size))
                chunk = await stream.received.readexactly(size)
                if kind == CLOSE_STDIN:
                    break
                if kind != STDIN:
                    continue
            elif not (chunk := await stream.received.read(CHUNK_BYTES)):
                break
            pipe.write(chunk)
            await pipe.drain()
    pipe.close()
