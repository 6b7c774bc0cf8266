"""A lock that goes with its holder, however that ends."""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from device_tests.emulated_pi.host import StandInError


class Lock:
    """Held from the moment it is made until `release`, or until this process ends."""

    def __init__(self, path: Path) -> None:
        """Raise BlockingIOError where another one holds it."""
        self._descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._descriptor)
            raise

    def release(self) -> None:
        os.close(self._descriptor)


@contextlib.contextmanager
def locked(path: Path, wait_s: float) -> Iterator[None]:
    """Hold the lock, waiting for another holder for at most `wait_s`."""
    deadline = time.monotonic() + wait_s
    while True:
        try:
            lock = Lock(path)
            break
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise StandInError(
                    f"another process has held {path} for {wait_s:g} s. End it, then try again"
                ) from None
            time.sleep(0.2)
    try:
        yield
    finally:
        lock.release()
