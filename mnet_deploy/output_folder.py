"""Write several files into a folder so that either all of them are there, whole, or none is."""

import errno
import fcntl
import os
import signal
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from mnet_deploy.errors import SpecError
from mnet_deploy.interrupts import INTERRUPTS

REJECTED_SUFFIX = ".rejected"


class OutputFolder:
    """A folder that is being written; use it as a context manager.

    Files are written under hidden temporary names in the folder itself and renamed by `commit`. Whatever happens
    before leaves nothing behind, not even the folder if it was not there. A lock keeps two writers of the same names
    apart; writers of different names may share a folder.
    """

    def __init__(
        self, folder: Path, *, stem: str, names: Mapping[str, bytes | None], force: bool, option: str = "--out"
    ) -> None:
        """Plan to write `names` into `folder`.

        Args:
            folder: created if needed.
            stem: what the lock protects: the model's name.
            names: files that `commit` may create, each with its content where that is known already: a file that is
                there with the same content is not in the way.
            force: whether existing files may be replaced.
            option: which option of the verb names the folder, for the advice in errors.
        """
        self._folder = folder
        self._stem = stem
        self._names = dict(names)
        self._force = force
        self._option = option
        self._staged: dict[str, Path] = {}
        self._created: list[Path] = []
        self._lock: int | None = None

    def __enter__(self) -> Self:
        """Create the folder, take the lock and refuse what could not be written at the end.

        Raises:
            SpecError: not a folder, not writable, locked by another writer, or a file exists and `force` is not set.
        """
        try:
            with _plain_errors(self._folder, self._option):
                self._make_folder()
                self._lock = self._take_lock()
                self._refuse_existing((*self._names, *(name + REJECTED_SUFFIX for name in self._names)))
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove what was not committed."""
        with _signals_held():
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
        with _plain_errors(self._folder, self._option), path.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        return path

    def reject(self, name: str) -> Path:
        """Plan to keep a staged file under a name that nobody ships by accident; return that."""
        rejected = name + REJECTED_SUFFIX
        self._staged[rejected] = self._staged.pop(name)
        return self._folder / rejected

    def commit(self) -> None:
        """Give all staged files their names."""
        with _plain_errors(self._folder, self._option), _signals_held():
            self._refuse_existing(self._staged)
            written: list[Path] = []
            try:
                for name, path in self._staged.items():
                    written.append(path.replace(self._folder / name))
            except OSError:
                for path in written:
                    path.unlink(missing_ok=True)
                raise
            self._staged.clear()
            _sync_folder(self._folder)

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
                f"{self._folder}: another export is writing {self._stem} there. Wait for it, "
                f"or give another {self._option}"
            ) from None
        return descriptor

    def _refuse_existing(self, names: Iterable[str]) -> None:
        for name in names:
            path, content = self._folder / name, self._names.get(name)
            if not (path.exists() or path.is_symlink()):
                continue
            if path.is_dir():
                raise SpecError(
                    f"{path} is a folder: a file of that name cannot be written. Give another {self._option}"
                )
            if not self._force and (content is None or path.read_bytes() != content):
                raise SpecError(
                    f"{path} exists already and is not overwritten. Give --force, or another {self._option}"
                )


@contextmanager
def _signals_held() -> Iterator[None]:
    """Let Ctrl-C and a stop wait: for the moments in which they would leave half of the files behind."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals interrupt the main thread only
        return
    held: list[int] = []
    previous = {number: signal.signal(number, lambda *got: held.append(got[0])) for number in INTERRUPTS}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        if held:
            signal.raise_signal(held[0])


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
def _plain_errors(folder: Path, option: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        advice = _ADVICE.get(error.errno or 0, f"Give another {option}")
        raise SpecError(f"{folder}: cannot be written ({error.strerror}). {advice}") from error
