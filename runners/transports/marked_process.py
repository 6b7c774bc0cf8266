"""A program on a device, behind a client of this machine that carries its input and output; see `shell_line`."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from mnet_deploy.child_process import ChildResult
from mnet_deploy.errors import DeviceError
from mnet_deploy.runners.transports.deadline import Deadline
from mnet_deploy.runners.transports.piped_process import PipedProcess, wait_for_end
from mnet_deploy.runners.transports.shell_line import split_end
from mnet_deploy.runners.transports.transport import CommandResult


class Explain(Protocol):
    """Gives the error that fits what the client said, once the program was `started` or before."""

    def __call__(self, said: str, *, started: bool) -> DeviceError: ...


class MarkedProcess(PipedProcess):
    """The client that carries the program's input and output."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        argv: Sequence[str],
        name: str,
        mark: str,
        explain: Explain,
        environment: Mapping[str, str] | None = None,
        merged: bool = False,
    ) -> None:
        """Start the client; see `PipedProcess`.

        Args:
            command: the client, with the line that `shell_line.command_line` makes.
            argv: see `PipedProcess`.
            name: see `PipedProcess`.
            mark: that of the line.
            explain: what became of the connection.
            environment: see `PipedProcess`.
            merged: whether what the program writes to stderr, and so the mark of its end, comes on stdout.
        """
        super().__init__(command, argv=argv, name=name, environment=environment)
        self._mark, self._explain, self._merged = mark, explain, merged
        self._held = 0  # empty lines that were not given out yet: the last may belong to the mark

    def wait_for_start(self, deadline: Deadline) -> None:
        """Return once the program has been started there.

        Raises:
            DeviceUnavailable: the device could not be reached, for the reason that the client gives.
            CommandTimeout: the deadline passed.
        """
        mark = f"{self._mark}\n".encode()
        while mark not in self._stdout:
            if not self._step(deadline):
                wait_for_end(self._process, deadline, self.name)
                said = self._stdout + b"\n" + self._stderr
                raise self._explain(said.decode("utf-8", "replace"), started=False)
        _, _, self._stdout = self._stdout.partition(mark)

    def lines(self, deadline: Deadline) -> Iterator[str]:
        """Yield what it writes; see `RemoteProcess.lines`."""
        for line in super().lines(deadline):
            ends = self._merged and line.startswith(f"{self._mark} ")
            if self._merged and not line:
                self._held += 1
                continue
            while self._held > int(ends):
                self._held -= 1
                yield ""
            if not ends:
                yield line
                continue
            self._held = 0
            self._stderr += f"\n{line}\n".encode()

    def _judge(self, result: ChildResult) -> CommandResult:
        stdout = result.stdout.decode("utf-8", "replace")
        stderr, return_code = split_end(result.stderr, self._mark)
        if return_code is None and self._merged:
            stdout, return_code = split_end("\n" * self._held + stdout, self._mark)
        if return_code is None:
            raise self._explain(stderr, started=True)
        return CommandResult(argv=self.argv, return_code=return_code, stdout=stdout, stderr=stderr)

    def _require_link(self, deadline: Deadline) -> None:
        while self._step(deadline):
            pass
        wait_for_end(self._process, deadline, self.name)
        stderr, return_code = split_end(self._stderr.decode("utf-8", "replace"), self._mark)
        if return_code is None:
            raise self._explain(stderr, started=True)
