"""Write several files into a folder so that either all of them are there, whole, or none is."""

import errno
import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from mnet_deploy.errors import SpecError

REJECTED_SUFFIX = ".rejected"


class OutputFolder:
    """A folder that is being written; use it as a context manager.

    Files are written under hidden temporary names in the folder itself and renamed by `commit`. Whatever happens
    before leaves nothing behind, not even the folder if it was not there. A lock keeps two writers of the same names
    apart; writers of different names may share a folder.
    """

    def __init__(self, folder: Path, *, stem: str, names: Iterable[str], force: bool) -> None:
        """Plan to write `names` into `folder`.

        Args:
            folder: created if needed.
            stem: what the lock protects: the model's name.
            names: files that `commit` may create.
            force: whether existing files may be replaced.
        """
        self._folder = folder
        self._stem = stem
        self._names = tuple(names)
        self._force = force
        self._staged: dict[str, Path] = {}
        self._created: list[Path] = []
        self._lock: int | None = None

    def __enter__(self) -> Self:
        """Create the folder, take the lock and refuse what could not be written at the end.

        Raises:
            SpecError: not a folder, not writable, locked by another writer, or a file exists and `force` is not set.
        """
        try:
            with _plain_errors(self._folder):
                self._make_folder()
                self._lock = self._take_lock()
                self._refuse_existing(self._names)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove what was not committed."""
        for path in self._staged.values():
            path.unlink(missing_ok=True)
        if self._lock is not None:
            self._lock_path.unlink(missing_ok=True)
            os.close(self._lock)
        for folder in reversed(self._created):
            with suppress(OSError):  # something was committed into it
                folder.rmdir()

    def stage(self, name: str, content: bytes) -> Path:
        """Write a file under its temporary name and return that."""
        path = self._folder / f".{name}.{os.getpid()}.part"
        self._staged[name] = path
        with _plain_errors(self._folder), path.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        return path

    def reject(self, name: str) -> Path:
        """Keep a staged file under a name that nobody ships by accident; return its path."""
        target = self._folder / (name + REJECTED_SUFFIX)
        with _plain_errors(self._folder):
            self._staged.pop(name).replace(target)
        return target

    def commit(self) -> tuple[Path, ...]:
        """Give all staged files their names; return their paths."""
        with _plain_errors(self._folder):
            self._refuse_existing(self._staged)
            targets = tuple(self._folder / name for name in self._staged)
            for name in tuple(self._staged):
                self._staged.pop(name).replace(self._folder / name)
            _sync_folder(self._folder)
        return targets

    @property
    def _lock_path(self) -> Path:
        return self._folder / f".{self._stem}.lock"

    def _make_folder(self) -> None:
        missing = [path for path in (self._folder, *self._folder.parents) if not path.exists()]
        for path in reversed(missing):
            path.mkdir(exist_ok=True)
            self._created.append(path)
        if not self._folder.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))

    def _take_lock(self) -> int:
        descriptor = os.open(self._lock_path, os.O_CREAT | os.O_RDWR, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not os.path.samestat(os.fstat(descriptor), self._lock_path.stat()):
                raise BlockingIOError  # its last owner removed it between our open and our lock
        except (BlockingIOError, FileNotFoundError):
            os.close(descriptor)
            raise SpecError(
                f"{self._folder}: another export is writing {self._stem} there. Wait for it, or give another --out"
            ) from None
        return descriptor

    def _refuse_existing(self, names: Iterable[str]) -> None:
        existing = [name for name in names if (self._folder / name).exists()]
        if existing and not self._force:
            raise SpecError(
                f"{self._folder / existing[0]} exists already and is not overwritten. Give --force, or another --out"
            )


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


_ADVICE = {
    errno.ENOSPC: "Free some space",
    errno.EDQUOT: "Free some space",
    errno.EACCES: "Give a folder that you may write to",
    errno.EPERM: "Give a folder that you may write to",
    errno.EROFS: "Give a folder that you may write to",
}


@contextmanager
def _plain_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        advice = _ADVICE.get(error.errno or 0, "Give another --out")
        raise SpecError(f"{folder}: cannot be written ({error.strerror}). {advice}") from error
