"""What every way to a device can do: run a program, start one and talk to it, copy files there and back.

The measuring logic knows only this. Programs are argument lists; how a list survives the way to the device (quoting for
a remote shell, for example) is the transport's business alone. Every call has a deadline.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from mnet_deploy.child_process import ProgramEnd
from mnet_deploy.errors import CommandFailed
from mnet_deploy.runners.transports.address import DeviceAddress
from mnet_deploy.runners.transports.deadline import Deadline


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandResult(ProgramEnd):
    """How a program on the device ended, and what it wrote.

    Attributes:
        argv: the program and its arguments.
        stdout: all of it.
    """

    argv: tuple[str, ...]
    stdout: str


class RemoteProcess(ABC):
    """A program that runs on the device and is talked to while it does."""

    @abstractmethod
    def lines(self, deadline: Deadline) -> Iterator[str]:
        """Yield what it writes to stdout, line by line (without the line's end), until it ends.

        Another call goes on where the one before was left, also after its deadline passed.

        Raises:
            LinkLost: the connection ended before the program did.
            CommandTimeout: the deadline passed.
        """

    @abstractmethod
    def write(self, text: str) -> None:
        """Write to its stdin.

        Raises:
            LinkLost: nobody reads it any more.
        """

    @abstractmethod
    def wait(self, deadline: Deadline) -> CommandResult:
        """Close its stdin, wait for its end and return how it ended; `stdout` is what `lines` has not taken.

        Raises:
            LinkLost: the connection ended before the program did.
            CommandTimeout: the deadline passed; the program is stopped.
        """

    @abstractmethod
    def stop(self) -> None:
        """End it, whatever it does; nothing of it is left on this machine. May be called twice, and never raises."""


class Transport(ABC):
    """The way to one device; use it as a context manager."""

    address: DeviceAddress

    @abstractmethod
    def run(self, argv: Sequence[str], *, deadline: Deadline, stdin: bytes = b"") -> CommandResult:
        """Run a program to its end.

        Raises:
            DeviceUnavailable: the device cannot be reached; the message says what to do.
            LinkLost: the connection ended before the program did.
            CommandTimeout: the deadline passed.
            An exit status other than 0 is the caller's to judge.
        """

    def run_check(self, argv: Sequence[str], *, deadline: Deadline, stdin: bytes = b"") -> CommandResult:
        """Run a program that has to end with exit status 0.

        Raises:
            CommandFailed: it did not; and all that `run` raises.
        """
        result = self.run(argv, deadline=deadline, stdin=stdin)
        if result.return_code != 0:
            detail = f": {result.last_line}" if result.last_line else ""
            raise CommandFailed(
                f"{self.address.label}: {argv[0]} ended with {result.ending}{detail}",
                command=argv,
                return_code=result.return_code,
                output=result.stderr,
            )
        return result

    @abstractmethod
    def start(self, argv: Sequence[str], *, deadline: Deadline) -> RemoteProcess:
        """Start a program and return it while it runs; the deadline is for its start.

        A program that is not there ends with exit status 127, here and in `run`. Who starts one has to `stop` it, or
        to `wait` for it.

        Raises:
            DeviceUnavailable: the device cannot be reached; the message says what to do.
            CommandTimeout: the deadline passed.
        """

    @abstractmethod
    def push(self, local: Path, remote: str, *, deadline: Deadline, executable: bool = False) -> int:
        """Copy a file to the device and return its size in bytes.

        It arrives under a temporary name, its SHA-256 is compared there, then it is renamed: `remote` is either whole
        or as it was. It is taken as it is: no `~`, and relative to wherever programs start. An `executable` one may be
        started.

        Raises:
            CommandFailed: the device refused it (a full disk, for example), or it arrived damaged.
        """

    @abstractmethod
    def pull(self, remote: str, local: Path, *, deadline: Deadline) -> int:
        """Copy a file from the device and return its size in bytes; `local` is either whole or not there."""

    @abstractmethod
    def close(self) -> None:
        """End the connection. May be called twice, and never raises."""

    def __enter__(self) -> Self:
        """Return itself: a transport connects when it is first used."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()
