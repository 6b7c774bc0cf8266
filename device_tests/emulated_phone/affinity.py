"""Lets programs of the stand-in phone choose cores that it claims to have, and see their choice, to no effect.

This machine has other cores than the phone, so its kernel would refuse. A process beside the phone's daemon answers
two system calls of all programs that the daemon starts: seccomp(2) with SECCOMP_RET_USER_NOTIF.
"""

import ctypes
import os
import platform
import struct
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from errno import EINVAL, ESRCH
from fcntl import ioctl
from io import RawIOBase
from pathlib import Path

# seccomp(2), of all architectures alike, and the system calls of two: seccomp, sched_setaffinity, sched_getaffinity.
NUMBERS = {"x86_64": (317, 203, 204), "aarch64": (277, 122, 123)}
SET_MODE_FILTER, NEW_LISTENER = 1, 1 << 3
ALLOW, NOTIFY = 0x7FFF0000, 0x7FC00000
LOAD_NUMBER, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06
INSTRUCTION = struct.Struct("<HBBI")
REQUEST = struct.Struct("<QII iIQ 6Q")  # id, pid, flags, then the call: number, architecture, address, arguments
ANSWER = struct.Struct("<QqiI")  # id, value, error, flags
RECEIVE, SEND = 0xC0502100, 0xC0182101
LARGEST_MASK_BYTES = 128


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


@dataclass
class Cores:
    """Who has chosen which cores."""

    all: int  # bits
    proc: Path  # the phone's
    chosen: dict[tuple[int, str], int] = field(default_factory=dict)  # thread and its start -> bits

    def choose(self, thread: int, bits: int) -> None:
        self.chosen[thread, self._status(thread)["start"]] = bits

    def of(self, thread: int) -> int:
        """Return the bits of a thread: its own, or what it has from whoever started it."""
        while thread > 1:
            status = self._status(thread)
            if (thread, status["start"]) in self.chosen:
                return self.chosen[thread, status["start"]]
            group, parent = int(status["Tgid"]), int(status["PPid"])
            thread = group if group != thread else parent
        return self.all

    def _status(self, thread: int) -> dict[str, str]:
        """Return what the kernel says of a thread; an OSError if there is none."""
        folder = self.proc / str(thread)
        try:
            lines = [line.partition(":") for line in (folder / "status").read_text().splitlines()]
            start = (folder / "stat").read_text().rpartition(")")[2].split()[19]
        except (FileNotFoundError, ProcessLookupError):
            raise OSError(ESRCH, os.strerror(ESRCH)) from None
        return {"start": start} | {name: value.strip() for name, _, value in lines}


def answer_for(cores: Iterable[int], proc: Path) -> None:
    """Let a new process answer from now on for this one and those that it starts; for good."""
    seccomp, set_affinity, get_affinity = NUMBERS[platform.machine()]
    listener = _listen(seccomp, (set_affinity, get_affinity))
    if os.fork() == 0:
        known = Cores(sum(1 << core for core in cores), proc)
        _answer(listener, known, {set_affinity: _choose, get_affinity: _show})
    os.close(listener)


def _listen(seccomp: int, calls: tuple[int, int]) -> int:
    steps = (
        (LOAD_NUMBER, 0, 0, 0),
        (JUMP_IF_EQUAL, 1, 0, calls[0]),
        (JUMP_IF_EQUAL, 0, 1, calls[1]),
        (RETURN, 0, 0, NOTIFY),
        (RETURN, 0, 0, ALLOW),
    )
    program = _Program(len(steps), b"".join(INSTRUCTION.pack(*step) for step in steps))
    libc = ctypes.CDLL(None, use_errno=True)
    listener = libc.syscall(seccomp, SET_MODE_FILTER, NEW_LISTENER, ctypes.byref(program))
    if listener < 0:
        raise OSError(ctypes.get_errno(), "seccomp")
    return listener


def _answer(listener: int, known: Cores, actions: dict[int, Callable]) -> None:
    while True:
        request = bytearray(REQUEST.size)
        try:
            ioctl(listener, RECEIVE, request)
        except FileNotFoundError:  # who asked has ended
            continue
        number, asking, _, call, _, _, whose, size, address, *_ = REQUEST.unpack(request)
        try:
            with (known.proc / f"{asking}/mem").open("r+b", buffering=0) as memory:
                memory.seek(address)
                answer = (number, actions[call](known, whose & 0xFFFFFFFF or asking, memory, size), 0, 0)
        except OSError as error:
            answer = (number, 0, -error.errno, 0)
        with suppress(FileNotFoundError):
            ioctl(listener, SEND, bytearray(ANSWER.pack(*answer)))


def _choose(known: Cores, thread: int, memory: RawIOBase, size: int) -> int:
    wanted = int.from_bytes(memory.read(min(size, LARGEST_MASK_BYTES)), "little") & known.all
    if not wanted:
        raise OSError(EINVAL, "none of the cores")
    known.choose(thread, wanted)
    return 0


def _show(known: Cores, thread: int, memory: RawIOBase, size: int) -> int:
    count = min(size, LARGEST_MASK_BYTES) // 8 * 8
    if not count:
        raise OSError(EINVAL, "too little space")
    return memory.write(known.of(thread).to_bytes(count, "little"))
