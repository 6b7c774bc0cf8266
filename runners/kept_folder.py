"""Folders of files that are fetched or made once and kept for the next time, below $XDG_CACHE_HOME/mnet-deploy."""

import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from mnet_deploy.errors import CommandTimeout, SpecError
from mnet_deploy.runners.transports.deadline import Deadline

SUMS = "SHA256SUMS"  # as sha256sum writes and checks it
_POLL_S = 0.1


def cache_home() -> Path:
    """Return where this toolkit keeps what it can fetch or make again (XDG Base Directory Specification)."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if base.startswith("/") else Path.home() / ".cache") / "mnet-deploy"


def from_home(path: str) -> Path:
    """Return a path with `~` as the user's folder; where there is no such user, it is a name like any other."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def kept_folder(name: str, make: Callable[[Path], None], deadline: Deadline) -> Path:
    """Return the folder of that name, whole; where it is missing or was changed, it is made.

    Args:
        name: below `cache_home`, with a `/` between its parts. What its files depend on, a version say, is part of it.
        make: writes the files into an empty folder; what it raises comes through, and then nothing is kept.
        deadline: for waiting until another process has made it; `make` has its own.

    Raises:
        SpecError: it cannot be written.
        CommandTimeout: another process makes it and did not end in time.
    """
    folder = cache_home() / name
    if _is_whole(folder):
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _locked(folder.parent / f".{folder.name}.lock", deadline):
            if not _is_whole(folder):
                _make(folder, make)
    except OSError as error:
        raise SpecError(
            f"{folder}: cannot be written ({error.strerror}); XDG_CACHE_HOME names another place for such files"
        ) from error
    return folder


def _make(folder: Path, make: Callable[[Path], None]) -> None:
    part, old = (folder.parent / f".{folder.name}.{suffix}" for suffix in ("part", "old"))
    for left in (part, old):  # of a process that was killed
        shutil.rmtree(left, ignore_errors=True)
    part.mkdir()
    try:
        make(part)
        lines = [f"{_sha256(path)}  {path.name}\n" for path in sorted(part.iterdir())]
        (part / SUMS).write_text("".join(lines), encoding="utf-8")
        if folder.exists():
            folder.rename(old)
        part.rename(folder)
    finally:
        for left in (part, old):
            shutil.rmtree(left, ignore_errors=True)


def _is_whole(folder: Path) -> bool:
    """Whether every file that was made is there as it was made."""
    try:
        lines = (folder / SUMS).read_text(encoding="utf-8").splitlines()
        return bool(lines) and all(_sha256(folder / line[66:]) == line[:64] for line in lines)
    except (OSError, ValueError):
        return False


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _locked(path: Path, deadline: Deadline) -> Iterator[None]:
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        while not _lock(descriptor):
            if deadline.expired:
                raise CommandTimeout(f"another process still makes {path.parent}; try again when it has ended")
            time.sleep(_POLL_S)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
