"""This machine as a device: programs are child processes, files are copied."""

from collections.abc import Sequence
from pathlib import Path

from mnet_deploy.child_process import run_child
from mnet_deploy.errors import CommandFailed, CommandTimeout
from mnet_deploy.runners.transports.address import DeviceAddress
from mnet_deploy.runners.transports.deadline import Deadline
from mnet_deploy.runners.transports.piped_process import PipedProcess
from mnet_deploy.runners.transports.transport import CommandResult, RemoteProcess, Transport
from mnet_deploy.runners.transports.whole_file import read_whole, write_whole

# A program that is not there then ends with 127 and the shell's words, as it does over ssh.
_STARTER = ("/bin/sh", "-c", 'exec "$@"', "sh")

_MAY_RUN = 0o755


class LocalTransport(Transport):
    """The way to this machine."""

    def __init__(self) -> None:
        self.address = DeviceAddress(scheme="local")

    def run(self, argv: Sequence[str], *, deadline: Deadline, stdin: bytes = b"") -> CommandResult:
        """Run a program to its end; see `Transport.run`."""
        deadline.require(f"{self.address} {argv[0]}")
        try:
            result = run_child([*_STARTER, *argv], timeout_s=deadline.remaining_s, stdin=stdin)
        except CommandTimeout:
            raise CommandTimeout(f"{self.address} {argv[0]} did not end in time and was stopped") from None
        return CommandResult(
            argv=tuple(argv),
            return_code=result.return_code,
            stdout=result.stdout.decode("utf-8", "replace"),
            stderr=result.stderr,
        )

    def start(self, argv: Sequence[str], *, deadline: Deadline) -> RemoteProcess:
        """Start a program; see `Transport.start`."""
        name = f"{self.address} {argv[0]}"
        deadline.require(name)
        return PipedProcess([*_STARTER, *argv], argv=argv, name=name)

    def push(self, local: Path, remote: str, *, deadline: Deadline, executable: bool = False) -> int:
        """Copy a file; see `Transport.push`."""
        deadline.require(f"{self.address} copying {local.name}")
        content = read_whole(local)
        write_whole(Path(remote), content)
        if executable:
            Path(remote).chmod(_MAY_RUN)
        return len(content)

    def pull(self, remote: str, local: Path, *, deadline: Deadline) -> int:
        """Copy a file; see `Transport.pull`."""
        deadline.require(f"{self.address} copying {remote}")
        try:
            content = Path(remote).read_bytes()
        except OSError as error:
            words = f"{self.address.label}: {remote} cannot be read: {error.strerror}"
            raise CommandFailed(words, command=["read", remote], return_code=1, output="") from None
        write_whole(local, content)
        return len(content)

    def close(self) -> None:
        """Nothing is open."""
