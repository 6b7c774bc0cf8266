"""Pass every call on to another transport, and write down what came of it: transcripts for `FakeTransport`."""

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from mnet_deploy.errors import CommandFailed, DeviceError
from mnet_deploy.runners.transports.deadline import Deadline
from mnet_deploy.runners.transports.transcript import FORMAT, ending_of, to_line
from mnet_deploy.runners.transports.transport import CommandResult, RemoteProcess, Transport
from mnet_deploy.runners.transports.whole_file import write_whole


class RecordingTransport(Transport):
    """A transport that remembers; the transcript is written when it is left as a context manager."""

    def __init__(self, inner: Transport, path: Path, *, replacements: Mapping[str, str] | None = None) -> None:
        """Plan it.

        Args:
            inner: the way to the device.
            path: of the transcript.
            replacements: {text: what stands in the transcript instead}, for what should not be in a public file, such
                as the name of a user.
        """
        self.address = inner.address
        self._inner, self._path = inner, path
        self._replacements = dict(replacements or {})
        self._records: list[dict[str, Any]] = []

    def run(self, argv: Sequence[str], *, deadline: Deadline, stdin: bytes = b"") -> CommandResult:
        """Pass on and remember."""
        record = self._program("run", argv)
        with _ending_in(record):
            result = self._inner.run(argv, deadline=deadline, stdin=stdin)
            record |= _end_of(result)
        return result

    def start(self, argv: Sequence[str], *, deadline: Deadline) -> RemoteProcess:
        """Pass on and remember, also what the program says later."""
        record = self._program("start", argv)
        with _ending_in(record):
            process = self._inner.start(argv, deadline=deadline)
            record["lines"] = []
        return RecordingProcess(process, record)

    def push(self, local: Path, remote: str, *, deadline: Deadline, executable: bool = False) -> int:
        """Pass on and remember."""
        record: dict[str, Any] = {"call": "push", "local": local.name, "remote": remote}
        self._records.append(record)
        with _ending_in(record):
            size_bytes = self._inner.push(local, remote, deadline=deadline, executable=executable)
            record |= {"size_bytes": size_bytes, "sha256": hashlib.sha256(local.read_bytes()).hexdigest()}
        return size_bytes

    def pull(self, remote: str, local: Path, *, deadline: Deadline) -> int:
        """Pass on and remember."""
        record: dict[str, Any] = {"call": "pull", "remote": remote}
        self._records.append(record)
        with _ending_in(record):
            size_bytes = self._inner.pull(remote, local, deadline=deadline)
            record["content_base64"] = base64.b64encode(local.read_bytes()).decode("ascii")
        return size_bytes

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it and write the transcript.

        Raises:
            CommandFailed: it cannot be written; that does not hide an error of the session.
        """
        self.close()
        try:
            self.write()
        except CommandFailed as unwritten:
            if error is None:
                raise
            error.add_note(str(unwritten))

    def close(self) -> None:
        """Close the other transport; `write` writes the transcript."""
        self._inner.close()

    def write(self) -> None:
        """Write the transcript.

        Raises:
            CommandFailed: it cannot be written.
        """
        head = json.dumps({"format": FORMAT, "address": str(self.address)})
        text = "".join(f"{line}\n" for line in (head, *map(to_line, self._records)))
        for private, public in self._replacements.items():
            text = text.replace(private, public)
        write_whole(self._path, text.encode())

    def _program(self, call: str, argv: Sequence[str]) -> dict[str, Any]:
        record: dict[str, Any] = {"call": call, "argv": list(argv)}
        self._records.append(record)
        return record


class RecordingProcess(RemoteProcess):
    """A started program whose lines and end are remembered."""

    def __init__(self, inner: RemoteProcess, record: dict[str, Any]) -> None:
        self._inner, self._record = inner, record

    def lines(self, deadline: Deadline) -> Iterator[str]:
        """Pass on and remember."""
        with _ending_in(self._record):
            for line in self._inner.lines(deadline):
                self._record["lines"].append(line)
                yield line

    def write(self, text: str) -> None:
        """Pass on; how often depends on the time, so that it is not remembered."""
        self._inner.write(text)

    def wait(self, deadline: Deadline) -> CommandResult:
        """Pass on and remember."""
        with _ending_in(self._record):
            result = self._inner.wait(deadline)
            self._record |= _end_of(result)
        return result

    def stop(self) -> None:
        """Pass on."""
        self._inner.stop()


@contextmanager
def _ending_in(record: dict[str, Any]) -> Iterator[None]:
    """Remember the error that a call ends with; what went before it then was not the end."""
    for key in ("ending", "message"):
        record.pop(key, None)
    try:
        yield
    except DeviceError as error:
        record |= ending_of(error)
        raise


def _end_of(result: CommandResult) -> dict[str, Any]:
    return {"return_code": result.return_code, "stdout": result.stdout, "stderr": result.stderr}
