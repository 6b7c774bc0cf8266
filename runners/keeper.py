"""The program that holds a device while it is measured: one file, the standard library only, Python 3.9 or later.

    python keeper.py --owner TEXT [--allow-s 60] [--pin performance] [--cpu-folder /sys/devices/system/cpu]

There is one for each session, and it outlives every loss of the connection by just as long as it takes to leave the
device as it was. It takes the lock that keeps two sessions on one device apart, makes the folder that everything of the
session lies in, and sets the governor of the clock if asked. It ends when its stdin is closed, when it gets `end`, or
when nothing came for the time it was last allowed (a line with a number of seconds; --allow-s before the first one):
a link that is down silently closes nothing. Then it stops what still runs from the folder (every process that names it
in its command line; where there is no /proc, those whose numbers the agents wrote there in *.pid), sets the governor
back and removes folder and lock. What a keeper that was itself killed has left, the next one puts right.

Standard output is JSON Lines: `ready` with the folder, `refused` with kind and message, `end` with what was put back.
"""

from __future__ import annotations

import argparse
import errno
import fcntl
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

PREFIX = "mnet-bench-"
LOCK_NAME = "mnet-bench.lock"
GOVERNORS_NAME = "governors.json"
SUDO_TIMEOUT_S = 10
KILL_TRIES = 20
KILL_PAUSE_S = 0.05


class Refused(Exception):
    """The device cannot be held; `kind` is `busy` or `governor`."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def emit(event: str, **fields: object) -> None:
    with suppress(OSError):  # nobody listens any more: that must not keep it from cleaning up
        print(json.dumps({"event": event, **fields}), flush=True)


class Lock:
    """The file that says who measures on this device; the system gives its lock back whatever becomes of the holder."""

    def __init__(self, path: Path, owner: str) -> None:
        self._path = path
        while True:
            self._file = self._open()
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno not in (errno.EACCES, errno.EAGAIN):
                    raise
                holder = os.read(self._file, 200).decode("utf-8", "replace").strip() or "another session"
                os.close(self._file)
                raise Refused("busy", holder) from None
            if self._still_there():
                break
            os.close(self._file)  # its holder removed it in between: there is a new one, or none
        if os.fstat(self._file).st_uid == os.getuid():
            self._path.write_text(owner, encoding="utf-8")

    def _open(self) -> int:
        while True:
            try:
                return os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW)
            except FileNotFoundError:
                try:
                    return os.open(self._path, os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
                except FileExistsError:
                    continue

    def _still_there(self) -> bool:
        try:
            return os.path.samestat(os.fstat(self._file), os.lstat(self._path))
        except FileNotFoundError:
            return False

    def release(self) -> None:
        """Remove it while it is held, so that nobody else's is removed."""
        with suppress(OSError):  # of another user: it stays, unlocked
            self._path.unlink()
        os.close(self._file)


class Governors:
    """The governor of every core, as it was."""

    def __init__(self, cpu_folder: str, record: Path) -> None:
        self._paths = sorted(map(str, Path(cpu_folder).glob("cpu[0-9]*/cpufreq/scaling_governor")))
        self._record = record

    def pin(self, governor: str) -> None:
        if not self._paths:
            raise Refused("governor", "this device has no governor to set; run without --pin")
        before = {path: Path(path).read_text(encoding="ascii").strip() for path in self._paths}
        self._record.write_text(json.dumps(before), encoding="utf-8")
        for path in self._paths:
            if not set_governor(path, governor):
                self.restore()
                raise Refused(
                    "governor", f"{path} cannot be set to {governor}; that needs root, or sudo without password"
                )

    def restore(self) -> list[str]:
        """Set back what the record says; return the paths where that failed."""
        if not self._record.exists():
            return []
        before: dict[str, str] = json.loads(self._record.read_text(encoding="utf-8"))
        failed = [path for path, governor in before.items() if not set_governor(path, governor)]
        if not failed:
            self._record.unlink()
        return failed


def set_governor(path: str, governor: str) -> bool:
    """Write it, with sudo where that needs no password, and read it back: some kernels ignore it without an error."""
    try:
        Path(path).write_text(governor, encoding="ascii")
    except OSError:
        try:
            subprocess.run(
                ["sudo", "-n", "tee", path],
                input=governor.encode("ascii"),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=SUDO_TIMEOUT_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return False
    try:
        return Path(path).read_text(encoding="ascii").strip() == governor
    except OSError:
        return False


def put_right(folder: Path, cpu_folder: str) -> list[str]:
    """Stop what runs from the folder, set the governor back, remove the folder; return what could not be set back."""
    for _ in range(KILL_TRIES):
        numbers = running_from(folder)
        for number in numbers:
            with suppress(OSError):  # it ended by itself
                os.kill(number, signal.SIGKILL)
        if not numbers:
            break
        time.sleep(KILL_PAUSE_S)  # it dies a moment later, and a shell may just have started another one
    failed = Governors(cpu_folder, folder / GOVERNORS_NAME).restore()
    shutil.rmtree(folder, ignore_errors=True)
    return failed


def running_from(folder: Path) -> list[int]:
    """Return the processes that have the folder in their command line; without /proc, those that the agents noted."""
    found = []
    if Path("/proc/self/cmdline").exists():
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with suppress(OSError):
                if os.fsencode(folder) in path.read_bytes():
                    found.append(int(path.parent.name))
    else:
        for record in folder.glob("*.pid"):
            with suppress(OSError, ValueError):
                found.append(int(record.read_text(encoding="ascii")))
                record.unlink()  # it may soon be another program's
    return [number for number in found if number != os.getpid()]


def sweep(cpu_folder: str) -> list[str]:
    """Put right what keepers that were killed have left; with the lock held they can only be dead."""
    found = []
    for path in Path(tempfile.gettempdir()).glob(PREFIX + "*"):
        if path.is_dir() and not path.is_symlink() and path.stat().st_uid == os.getuid():
            put_right(path, cpu_folder)
            found.append(str(path))
    return found


def wait_for_the_end(allow_s: float) -> str:
    """Return why it is over: `end`, `closed` or `silent`."""
    until = time.monotonic() + allow_s
    kept = b""
    while True:
        ready, _, _ = select.select([0], [], [], max(0.0, until - time.monotonic()))
        if not ready:
            return "silent"
        chunk = os.read(0, 4096)
        if not chunk:
            return "closed"
        *lines, kept = (kept + chunk).split(b"\n")
        for line in lines:
            if line == b"end":
                return "end"
            until = time.monotonic() + float(line)  # whatever else comes there ends it, with everything put right


def hold(args: argparse.Namespace) -> None:
    lock = Lock(Path(tempfile.gettempdir()) / LOCK_NAME, args.owner)
    folder: Path | None = None
    try:
        swept = sweep(args.cpu_folder)
        folder = Path(tempfile.mkdtemp(prefix=PREFIX))
        if args.pin:
            Governors(args.cpu_folder, folder / GOVERNORS_NAME).pin(args.pin)
        emit("ready", folder=str(folder), pid=os.getpid(), swept=swept)
        why = wait_for_the_end(args.allow_s)
        failed = put_right(folder, args.cpu_folder)
        folder = None
        emit("end", why=why, not_restored=failed)
    finally:
        if folder is not None:
            put_right(folder, args.cpu_folder)
        lock.release()


def stop(number: int, frame: object) -> None:
    for ignored in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(ignored, signal.SIG_IGN)  # a second one must not keep it from cleaning up
    raise SystemExit(128 + number)


def main() -> int:
    parser = argparse.ArgumentParser(description="hold this device while it is measured")
    parser.add_argument("--owner", required=True)
    parser.add_argument("--allow-s", type=float, default=60.0)
    parser.add_argument("--pin", default="")
    parser.add_argument("--cpu-folder", default="/sys/devices/system/cpu")
    args = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, stop)
    try:
        hold(args)
    except Refused as refused:
        emit("refused", kind=refused.kind, message=str(refused))
        return 1
    except ValueError:
        return 1  # a line that is neither a time nor `end`
    except OSError as error:
        emit("refused", kind="system", message=f"{error.filename or 'the device'}: {error.strerror}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
