"""A program on a device behind ssh, talked to over a connection of its own."""

from collections.abc import Sequence

from mnet_deploy.child_process import ChildResult
from mnet_deploy.errors import DeviceError
from mnet_deploy.runners.transports.deadline import Deadline
from mnet_deploy.runners.transports.piped_process import PipedProcess, wait_for_end
from mnet_deploy.runners.transports.ssh_client import ENVIRONMENT
from mnet_deploy.runners.transports.ssh_errors import SshTarget, ssh_error
from mnet_deploy.runners.transports.ssh_shell import split_end
from mnet_deploy.runners.transports.transport import CommandResult


class SshProcess(PipedProcess):
    """The ssh client that carries the program's input and output."""

    def __init__(self, command: Sequence[str], *, argv: Sequence[str], name: str, mark: str, target: SshTarget) -> None:
        """Start ssh; see `PipedProcess`. `mark` is that of `command_line`."""
        super().__init__(command, argv=argv, name=name, environment=ENVIRONMENT)
        self._mark, self._target = mark, target

    def wait_for_start(self, deadline: Deadline) -> None:
        """Return once the program has been started there.

        Raises:
            DeviceUnavailable: the device could not be reached, for the reason that ssh gives.
            CommandTimeout: the deadline passed.
        """
        mark = f"{self._mark}\n".encode()
        while mark not in self._stdout:
            if not self._step(deadline):
                wait_for_end(self._process, deadline, self.name)
                said = self._stdout + b"\n" + self._stderr
                raise self._error(said.decode("utf-8", "replace"), started=False)
        _, _, self._stdout = self._stdout.partition(mark)

    def _judge(self, result: ChildResult) -> CommandResult:
        stderr, return_code = split_end(result.stderr, self._mark)
        if return_code is None:
            raise self._error(stderr, started=True)
        return CommandResult(
            argv=self.argv,
            return_code=return_code,
            stdout=result.stdout.decode("utf-8", "replace"),
            stderr=stderr,
        )

    def _require_link(self, deadline: Deadline) -> None:
        while self._step(deadline):
            pass
        wait_for_end(self._process, deadline, self.name)
        stderr, return_code = split_end(self._stderr.decode("utf-8", "replace"), self._mark)
        if return_code is None:
            raise self._error(stderr, started=True)

    def _error(self, said: str, *, started: bool) -> DeviceError:
        return ssh_error(self._target, said, started=started, what=self.argv[0])
