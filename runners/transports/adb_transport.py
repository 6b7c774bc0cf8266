"""An Android phone behind adb: through the adb executable and its server, which the user's other tools share."""

import hashlib
import re
import secrets
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from mnet_deploy.child_process import ChildResult, run_child
from mnet_deploy.errors import CommandFailed, CommandTimeout, DeviceError, DeviceUnavailable
from mnet_deploy.runners.transports.adb_client import AdbClient, said_by
from mnet_deploy.runners.transports.adb_errors import adb_error, is_lost, lost_link
from mnet_deploy.runners.transports.address import DeviceAddress
from mnet_deploy.runners.transports.deadline import Deadline
from mnet_deploy.runners.transports.marked_process import MarkedProcess
from mnet_deploy.runners.transports.shell_line import SHA256, after_start, command_line, split_end
from mnet_deploy.runners.transports.transport import CommandResult, RemoteProcess, Transport
from mnet_deploy.runners.transports.whole_file import read_whole, write_whole

_OUTPUT_LIMIT_BYTES = 1 << 30
_CLEAN_UP_S = 5.0
_MAY_RUN, _MAY_NOT = "755", "644"

# $1 the part, $2 its SHA-256, $3 the file, $4 its mode.
_SETTLE = f"""{SHA256}
trap 'rm -f "$1"' EXIT
if [ -d "$3" ]; then echo 'Is a directory' >&2; exit 1; fi
if [ "$(sha256 <"$1")" != "$2" ]; then echo 'it arrived damaged' >&2; exit 1; fi
chmod "$4" "$1" && mv -f "$1" "$3"
"""
# $1 the file. Prints its SHA-256.
_DIGEST = f"""{SHA256}
[ ! -d "$1" ] || {{ echo 'Is a directory' >&2; exit 1; }}
sha256 <"$1"
"""


class AdbTransport(Transport):
    """The way to a phone; it connects when it is first used.

    A phone of before Android 7 gives what programs write to stdout and stderr as one (as `stdout`), and passes them no
    input.
    """

    def __init__(self, address: DeviceAddress, *, adb: Path | None = None) -> None:
        """Plan it.

        Args:
            address: of the phone.
            adb: the executable, if not the one that `find_adb` finds.

        Raises:
            ToolMissing: there is no adb here.
            SpecError: what was given is no program.
        """
        self.address = address
        self._client = AdbClient(address, adb)

    def run(self, argv: Sequence[str], *, deadline: Deadline, stdin: bytes = b"") -> CommandResult:
        """Run a program to its end; see `Transport.run`."""
        deadline.require(f"{self.address} {argv[0]}")
        self._client.connect(deadline)
        if stdin and self._client.merged:
            raise DeviceUnavailable(
                f"{self.address}: {argv[0]} needs input, and this phone passes none on; use one with Android 7 or later"
            )
        mark = secrets.token_hex(8)
        done = self._adb(self._client.shell(command_line(argv, mark)), argv[0], deadline, stdin)
        return self._judge(argv, mark, done)

    def start(self, argv: Sequence[str], *, deadline: Deadline) -> RemoteProcess:
        """Start a program; see `Transport.start`."""
        name = f"{self.address} {argv[0]}"
        deadline.require(name)
        self._client.connect(deadline)
        mark = secrets.token_hex(8)
        process = MarkedProcess(
            self._client.shell(command_line(argv, mark)),
            argv=argv,
            name=name,
            mark=mark,
            explain=partial(adb_error, self._client.target, what=argv[0]),
            merged=self._client.merged,
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
        part = f"{remote}.{secrets.token_hex(4)}.part"
        mode = _MAY_RUN if executable else _MAY_NOT
        self._client.connect(deadline)
        try:
            self._copy(["push", str(local.absolute()), part], f"{remote} cannot be written", deadline)
            result = self.run(["sh", "-c", _SETTLE, "sh", part, sha256, remote, mode], deadline=deadline)
        except BaseException:
            with suppress(DeviceError):  # a phone that is gone keeps the part
                self.run(["rm", "-f", part], deadline=Deadline.after(_CLEAN_UP_S))
            raise
        self._require_done(result, f"{remote} cannot be written")
        return len(content)

    def pull(self, remote: str, local: Path, *, deadline: Deadline) -> int:
        """Copy a file; see `Transport.pull`."""
        result = self.run(["sh", "-c", _DIGEST, "sh", remote], deadline=deadline)
        self._require_done(result, f"{remote} cannot be read")
        with tempfile.TemporaryDirectory(prefix="mnet-adb-") as folder:
            copy = Path(folder) / "copy"
            self._copy(["pull", remote, str(copy)], f"{remote} cannot be read", deadline)
            content = read_whole(copy)
        if hashlib.sha256(content).hexdigest() != result.stdout.strip():
            words = f"{self.address}: {remote} arrived damaged, or changed meanwhile; copy it again"
            raise CommandFailed(words, command=["pull", remote], return_code=1, output="")
        write_whole(local, content)
        return len(content)

    def close(self) -> None:
        """Nothing is open: the server of adb is the user's, and stays."""

    def _judge(self, argv: Sequence[str], mark: str, done: ChildResult) -> CommandResult:
        """Return how the program ended; what adb's own exit status says of it is not to be trusted."""
        output = after_start(done.stdout, mark)
        if output is None:
            raise adb_error(self._client.target, said_by(done), started=False, what=argv[0])
        stdout = output.decode("utf-8", "replace")
        stderr, return_code = split_end(done.stderr, mark)
        if return_code is None and self._client.merged:
            stdout, return_code = split_end(stdout, mark)
        if return_code is None:
            raise adb_error(self._client.target, stderr, started=True, what=argv[0])
        return CommandResult(argv=tuple(argv), return_code=return_code, stdout=stdout, stderr=stderr)

    def _adb(self, command: list[str], what: str, deadline: Deadline, stdin: bytes = b"") -> ChildResult:
        name = f"{self.address} {what}"
        deadline.require(name)
        try:
            return run_child(
                command, timeout_s=deadline.remaining_s, stdin=stdin, output_limit_bytes=_OUTPUT_LIMIT_BYTES
            )
        except CommandTimeout:
            raise CommandTimeout(
                f"{name} did not end in time and was stopped; if the phone does not react, unplug it, restart it, plug "
                "it in again and unlock it"
            ) from None

    def _copy(self, arguments: list[str], problem: str, deadline: Deadline) -> None:
        self._client.connect(deadline)
        what = f"copying {Path(arguments[1]).name}"
        done = self._adb(self._client.command(*arguments), what, deadline)
        if done.return_code == 0:
            return
        said = said_by(done)
        if refused := re.search(r"(?:failed to copy .*: remote|remote object '.*':) (.+)", said):
            advice = "; free some space on the phone" if refused[1].endswith("No space left on device") else ""
            words = f"{self.address}: {problem}: {refused[1]}{advice}"
            raise CommandFailed(words, command=arguments, return_code=done.return_code, output=said)
        if is_lost(said):
            raise lost_link(self._client.target, f"while {what} was running")
        raise adb_error(self._client.target, said, started=False, what=what)

    def _require_done(self, result: CommandResult, problem: str) -> None:
        if result.return_code != 0:
            said = result.last_line or result.stdout.strip() or result.ending
            words = f"{self.address}: {problem}: {said}"
            raise CommandFailed(words, command=result.argv, return_code=result.return_code, output=result.stderr)
