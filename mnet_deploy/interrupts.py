"""Ctrl-C and a stop, remembered: libraries swallow a KeyboardInterrupt in places, or turn it into another error."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # Ctrl-C, a stop, a closed terminal
_arrived: list[int] = []


def catch_interrupts() -> None:
    """Raise KeyboardInterrupt on each of `INTERRUPTS`, so that a stopped job cleans up behind itself, too.

    An interrupt that is ignored already (as in a job started with nohup) stays so.
    """
    _arrived.clear()
    for number in INTERRUPTS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)


def interrupted() -> bool:
    """Whether an interrupt arrived since `catch_interrupts`, swallowed or not."""
    return bool(_arrived)


def raise_if_interrupted() -> None:
    """Raise the KeyboardInterrupt that a library has swallowed."""
    if _arrived:
        raise KeyboardInterrupt


@contextmanager
def interrupts_set_aside() -> Iterator[None]:
    """Let what cleans up after an interrupt wait for something, too; another interrupt ends that."""
    before = _arrived[:]
    _arrived.clear()
    try:
        yield
    finally:
        _arrived[:0] = before


def _interrupt(number: int, frame: object) -> None:
    del frame
    _arrived.append(number)
    raise KeyboardInterrupt
