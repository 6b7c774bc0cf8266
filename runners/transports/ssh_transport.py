"""A device behind ssh, through the system's OpenSSH client: the user's configuration, agent, jump hosts and known hosts
count as they do in a terminal, only stricter: an unknown host key is an error, and nothing is ever asked.
"""

import hashlib
import secrets
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from mnet_deploy.child_process import ChildResult, run_child
from mnet_deploy.errors import CommandFailed, CommandTimeout
from mnet_deploy.runners.transports.address import DeviceAddress
from mnet_deploy.runners.transports.deadline import Deadline
from mnet_deploy.runners.transports.marked_process import MarkedProcess
from mnet_deploy.runners.transports.shell_line import SHA256, after_start, command_line, split_end
from mnet_deploy.runners.transports.ssh_client import ENVIRONMENT, SshClient
from mnet_deploy.runners.transports.ssh_errors import SshTarget, ssh_error
from mnet_deploy.runners.transports.transport import CommandResult, RemoteProcess, Transport
from mnet_deploy.runners.transports.whole_file import read_whole, write_whole

_OUTPUT_LIMIT_BYTES = 1 << 30
_MAY_RUN = "755"

# $1 the file, $2 its SHA-256, $3 a suffix, $4 its mode or nothing. A connection that breaks looks like the end
# of the file, so the SHA-256 differs and the part is removed; saying so must not end the shell before that, though
# nobody listens.
_PUSH = f"""{SHA256}
part=$1.$3.part
trap 'rm -f "$part"' EXIT
trap 'exit 1' HUP INT TERM
trap '' PIPE
if [ -d "$1" ]; then echo 'Is a directory' >&2; exit 1; fi
cat >"$part" || exit 1
if [ "$(sha256 <"$part")" != "$2" ]; then echo 'it arrived damaged' >&2; exit 1; fi
[ -z "$4" ] || chmod "$4" "$part" || exit 1
mv -f "$part" "$1"
"""
# $1 the file. Prints its SHA-256 and a line's end, then the file.
_PULL = f"""{SHA256}
sha256 <"$1" && cat <"$1"
"""


class SshTransport(Transport):
    """The way to a device over ssh; it connects when it is first used."""

    def __init__(self, address: DeviceAddress, *, config: Path | None = None) -> None:
        """Plan it.

        Args:
            address: of the device.
            config: a file for `ssh -F`, instead of the user's and the system's own configuration.

        Raises:
            ToolMissing: there is no ssh client here.
        """
        self.address = address
        self._target = SshTarget(address=address, config=config)
        self._client = SshClient(self._target)

    def run(self, argv: Sequence[str], *, deadline: Deadline, stdin: bytes = b"") -> CommandResult:
        """Run a program to its end; see `Transport.run`."""
        result = self._run(argv, deadline=deadline, stdin=stdin, what=argv[0])
        return CommandResult(
            argv=tuple(argv),
            return_code=result.return_code,
            stdout=result.stdout.decode("utf-8", "replace"),
            stderr=result.stderr,
        )

    def start(self, argv: Sequence[str], *, deadline: Deadline) -> RemoteProcess:
        """Start a program over a connection of its own; see `Transport.start`."""
        name = f"{self.address} {argv[0]}"
        deadline.require(name)
        mark = secrets.token_hex(8)
        process = MarkedProcess(
            self._client.alone(command_line(argv, mark)),
            argv=argv,
            name=name,
            mark=mark,
            explain=partial(ssh_error, self._target, what=argv[0]),
            environment=ENVIRONMENT,
        )
        try:
            process.wait_for_start(deadline)
        except BaseException:
            process.stop()
            raise
        return process

    def push(self, local: Path, remote: str, *, deadline: Deadline, executable: bool = False) -> int:
        """Copy a file; see `Transport.push`."""
        content = read_whole(local)
        sha256 = hashlib.sha256(content).hexdigest()
        argv = ["sh", "-c", _PUSH, "sh", remote, sha256, secrets.token_hex(4), _MAY_RUN if executable else ""]
        result = self._run(argv, deadline=deadline, stdin=content, what=f"copying {local.name}")
        self._require_copied(result, f"{remote} cannot be written")
        return len(content)

    def pull(self, remote: str, local: Path, *, deadline: Deadline) -> int:
        """Copy a file; see `Transport.pull`."""
        result = self._run(["sh", "-c", _PULL, "sh", remote], deadline=deadline, what=f"copying {remote}")
        self._require_copied(result, f"{remote} cannot be read")
        sha256, _, content = result.stdout.partition(b"\n")
        if hashlib.sha256(content).hexdigest().encode() != sha256:
            words = f"{self.address}: {remote} arrived damaged, or changed meanwhile; copy it again"
            raise CommandFailed(words, command=result.command, return_code=1, output="")
        write_whole(local, content)
        return len(content)

    def close(self) -> None:
        """End the shared connection; see `Transport.close`."""
        self._client.close()

    def _run(self, argv: Sequence[str], *, deadline: Deadline, what: str, stdin: bytes = b"") -> ChildResult:
        """Run a program over the shared connection; the result is the program's, not ssh's."""
        name = f"{self.address} {what}"
        deadline.require(name)
        mark = secrets.token_hex(8)
        command = self._client.shared(command_line(argv, mark), deadline, what=what)
        try:
            done = run_child(
                command,
                timeout_s=deadline.remaining_s,
                stdin=stdin,
                output_limit_bytes=_OUTPUT_LIMIT_BYTES,
                environment=ENVIRONMENT,
            )
        except CommandTimeout:
            raise CommandTimeout(f"{name} did not end in time and was stopped") from None
        stdout = after_start(done.stdout, mark)
        stderr, return_code = split_end(done.stderr, mark)
        if stdout is None or return_code is None:
            said = stderr if stdout is not None else f"{done.stdout.decode('utf-8', 'replace')}\n{stderr}"
            raise ssh_error(self._target, said, started=stdout is not None, what=what)
        return ChildResult(command=tuple(argv), return_code=return_code, stdout=stdout, stderr=stderr)

    def _require_copied(self, result: ChildResult, problem: str) -> None:
        if result.return_code != 0:
            words = f"{self.address}: {problem}: {result.last_line or result.ending}"
            command, return_code = result.command, result.return_code
            raise CommandFailed(words, command=command, return_code=return_code, output=result.stderr)
