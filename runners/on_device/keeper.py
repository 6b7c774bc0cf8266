"""The program that holds a device while it is measured: one file, the standard library only, Python 3.9 or later.

    python keeper.py --owner TEXT [--allow-s 60] [--pin performance] [--cpu-folder /sys/devices/system/cpu]

There is one for each session, and it outlives every loss of the connection by just as long as it takes to leave the
device as it was. It takes the lock that keeps two sessions on one device apart, makes the folder that everything of the
session lies in, and sets the governor of the clock if asked. It ends when its stdin is closed, when it gets `end`, or
when nothing came for the time it was last allowed (a line with a number of seconds; --allow-s before the first one):
a link that is down silently closes nothing. Then it stops what still runs from the folder (every process that names it
in its command line; where there is no /proc, those whose numbers the agents wrote there in *.pid), sets the governor
back and removes folder and lock. What a keeper that was itself killed has left, the next one puts right. What could not
be set back stays on record in the folder, for the next one to try again.

Standard output is JSON Lines: `ready` with the folder, the folders that were put right (`swept`) and what of them could
not be set back (`not_restored`); `refused` with kind and message; `end` with why, and what could not be set back.
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
import stat
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
        write_whole(self._record, json.dumps(before))
        for path in self._paths:
            if not set_governor(path, governor):
                left = f"; {', '.join(failed)} could not be set back" if (failed := self.restore()) else ""
                raise Refused(
                    "governor", f"{path} cannot be set to {governor}; that needs root, or sudo without password{left}"
                )

    def restore(self) -> list[str]:
        """Set back what the record says; return the paths where that failed, for which the record stays."""
        try:
            before = read_record(self._record)
        except FileNotFoundError:
            return []
        except (OSError, ValueError, RecursionError):
            with suppress(OSError):
                self._record.unlink()
            return [f"{self._record} is damaged: what the governor was is not known"]
        failed = [path for path, governor in before.items() if not set_governor(path, governor)]
        if not failed:
            self._record.unlink()
        return failed


def read_record(path: Path) -> dict[str, str]:
    before = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(before, dict) or not all(isinstance(governor, str) for governor in before.values()):
        raise ValueError("not a governor for each path")
    return before


def write_whole(path: Path, text: str) -> None:
    """Write a file so that it is there whole or not at all, whatever happens to the disk or this process."""
    part = path.with_suffix(".part")
    with part.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    part.rename(path)


def set_governor(path: str, governor: str) -> bool:
    """Write it, with sudo where that needs no password, and read it back: some kernels ignore it without an error."""
    if governor_of(path) == governor:
        return True
    try:
        Path(path).write_text(governor, encoding="ascii")
    except (OSError, ValueError):
        with suppress(OSError, ValueError, subprocess.TimeoutExpired):
            subprocess.run(
                ["sudo", "-n", "tee", path],
                input=governor.encode("ascii"),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=SUDO_TIMEOUT_S,
                check=False,
            )
    return governor_of(path) == governor


def governor_of(path: str) -> str | None:
    try:
        return Path(path).read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return None


def put_right(folder: Path, cpu_folder: str) -> list[str]:
    """Stop what runs from the folder, set the governor back, remove the folder; return what could not be set back."""
    for _ in range(KILL_TRIES):
        numbers, sure = running_from(folder)
        for number in numbers:
            with suppress(OSError):  # it ended by itself
                os.kill(number, signal.SIGKILL)
        if sure and not numbers:
            break
        time.sleep(KILL_PAUSE_S)  # it dies a moment later, and a shell may just have started another one
    failed = Governors(cpu_folder, folder / GOVERNORS_NAME).restore()
    remove(folder)
    return failed


def remove(folder: Path) -> None:
    """Remove the folder; if there is a record in it still, all but that."""
    record = folder / GOVERNORS_NAME
    if not record.exists():
        shutil.rmtree(folder, ignore_errors=True)
        return
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        elif entry != record:
            with suppress(OSError):
                entry.unlink()


def running_from(folder: Path) -> tuple[list[int], bool]:
    """Return the processes that have the folder in their command line, and whether all could be seen.

    Where there is no /proc, return those that the agents noted.
    """
    found, sure = [], True
    if Path("/proc/self/cmdline").exists():
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with suppress(OSError):
                command = path.read_bytes()
                if os.fsencode(folder) in command:
                    found.append(int(path.parent.name))
                elif not command and (path.parent / "exe").readlink():
                    sure = False  # it is just being started; what has ended, and the kernel's own, have no program
    else:
        for record in folder.glob("*.pid"):
            with suppress(OSError, ValueError):
                found.append(int(record.read_text(encoding="ascii")))
                record.unlink()  # it may soon be another program's
    return [number for number in found if number != os.getpid()], sure


def sweep(cpu_folder: str) -> tuple[list[str], list[str]]:
    """Put right what keepers that were killed have left; with the lock held they can only be dead.

    Return the folders, and what of them could not be set back.
    """
    found, failed = [], []
    for path in sorted(Path(tempfile.gettempdir()).glob(PREFIX + "*")):
        with suppress(FileNotFoundError):  # somebody else removed it
            status = path.lstat()
            if stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid():
                failed += put_right(path, cpu_folder)
                found.append(str(path))
    return found, failed


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
    try:
        swept, left = sweep(args.cpu_folder)
        hold_folder(Path(tempfile.mkdtemp(prefix=PREFIX)), args, swept=swept, not_restored=left)
    finally:
        ignore_signals()
        lock.release()


def hold_folder(folder: Path, args: argparse.Namespace, **known: list[str]) -> None:
    why = ""
    try:
        if args.pin:
            Governors(args.cpu_folder, folder / GOVERNORS_NAME).pin(args.pin)
        why = "stopped"
        emit("ready", folder=str(folder), pid=os.getpid(), **known)
        why = wait_for_the_end(args.allow_s)
    finally:
        ignore_signals()
        failed = put_right(folder, args.cpu_folder)
        if why:
            emit("end", why=why, not_restored=failed)


def ignore_signals() -> None:
    """See that nothing keeps this from cleaning up."""
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)


def stop(number: int, frame: object) -> None:
    ignore_signals()
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
