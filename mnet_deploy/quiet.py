"""Keep libraries from talking on the user's terminal."""

import io
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path


@contextmanager
def silenced_native_output() -> Iterator[None]:
    """Send what this process prints to nowhere, native code included: what matters comes as exceptions.

    TensorFlow logs from C++ before its log level is read, and Keras prints a report of every model it hands over.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [(stream, os.dup(stream)) for stream in (1, 2)]
    try:
        with Path(os.devnull).open("wb") as nowhere, redirect_stdout(_Nowhere()), redirect_stderr(_Nowhere()):
            for stream, _ in kept:
                os.dup2(nowhere.fileno(), stream)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                yield
    finally:
        for stream, copy in kept:
            os.dup2(copy, stream)
            os.close(copy)


class _Nowhere(io.TextIOBase):
    """A stream that is never closed: loggers set up while it stands in for stderr keep it."""

    def write(self, text: str) -> int:
        return len(text)
