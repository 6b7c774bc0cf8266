"""A device that is a transcript: every call has to be the one that was recorded next, and gets what came of it then."""

import base64
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from mnet_deploy.errors import LinkLost, ResultFormatError
from mnet_deploy.runners.transports.address import DeviceAddress
from mnet_deploy.runners.transports.deadline import Deadline
from mnet_deploy.runners.transports.transcript import Record, generalised, raise_ending, read_transcript, replayed
from mnet_deploy.runners.transports.transport import CommandResult, RemoteProcess, Transport
from mnet_deploy.runners.transports.whole_file import read_whole, write_whole


class FakeTransport(Transport):
    """Replays a transcript; see `transcript` for the format."""

    def __init__(self, address: DeviceAddress, records: Sequence[Record], *, compare_content: bool = False) -> None:
        """Take the records.

        Args:
            address: what the device is called.
            records: one for each call, in their order.
            compare_content: whether pushed files must be those of the transcript; else only their names are compared.
        """
        self.address = address
        self._records = list(records)
        self._compare_content = compare_content
        self._next = 0

    @classmethod
    def read(cls, path: Path, *, compare_content: bool = False) -> "FakeTransport":
        """Read a transcript.

        Raises:
            ResultFormatError: it is none.
        """
        address, records = read_transcript(path)
        return cls(address, records, compare_content=compare_content)

    @property
    def unused(self) -> list[Record]:
        """The records that no call has asked for yet."""
        return self._records[self._next :]

    def run(self, argv: Sequence[str], *, deadline: Deadline, stdin: bytes = b"") -> CommandResult:
        """Return what the program did then; raises `ResultFormatError` if it is another one."""
        del deadline, stdin
        record = self._program("run", argv)
        raise_ending(record)
        return result_of(record, argv)

    def start(self, argv: Sequence[str], *, deadline: Deadline) -> RemoteProcess:
        """Return the program as it was then; raises `ResultFormatError` if it is another one."""
        del deadline
        record = self._program("start", argv)
        if "lines" not in record:
            raise_ending(record)
        return FakeProcess(record, argv)

    def push(self, local: Path, remote: str, *, deadline: Deadline, executable: bool = False) -> int:
        """Return the file's size; raises `ResultFormatError` if it is another one."""
        del deadline, executable
        content = read_whole(local)
        received = {"local": local.name, "remote": remote}
        if self._compare_content:
            received["sha256"] = hashlib.sha256(content).hexdigest()
        raise_ending(self._take("push", received))
        return len(content)

    def pull(self, remote: str, local: Path, *, deadline: Deadline) -> int:
        """Write what the file had in it then; raises `ResultFormatError` if it is another one."""
        del deadline
        record = self._take("pull", {"remote": remote})
        raise_ending(record)
        content = base64.b64decode(record["content_base64"])
        write_whole(local, content)
        return len(content)

    def close(self) -> None:
        """Nothing is open."""

    def _program(self, call: str, argv: Sequence[str]) -> Record:
        """Return the next record as if it had been recorded with these arguments."""
        return replayed(self._take(call, {"argv": generalised(argv)}), argv)

    def _take(self, call: str, received: Record) -> Record:
        number = self._next + 1
        if not self.unused:
            raise ResultFormatError(f"the transcript ends before record {number}. Received: {call} {received}")
        record = self._records[self._next]
        expected = {key: record.get(key) for key in received}
        if (record["call"], expected) != (call, dict(received)):
            asked = {key: record[key] for key in ("argv", "local", "remote", "sha256") if key in record}
            words = f"expected {record['call']} {asked}. Received: {call} {received}"
            raise ResultFormatError(f"record {number} of the transcript: {words}")
        self._next += 1
        return record


class FakeProcess(RemoteProcess):
    """A started program that says what it said then.

    Attributes:
        written: what was written to its stdin.
    """

    def __init__(self, record: Record, argv: Sequence[str]) -> None:
        self.written = ""
        self._record, self._argv = record, argv
        self._lines = iter(record["lines"])
        self._stopped = False

    def lines(self, deadline: Deadline) -> Iterator[str]:
        """Yield the recorded lines, then end as it did."""
        del deadline
        yield from self._lines
        raise_ending(self._record)

    def write(self, text: str) -> None:
        """Keep the text."""
        if self._stopped:
            raise LinkLost("the replayed program was stopped")
        self.written += text

    def wait(self, deadline: Deadline) -> CommandResult:
        """Return how it ended then."""
        del deadline
        raise_ending(self._record)
        if "return_code" not in self._record:
            raise ResultFormatError(f"the transcript does not say how {self._argv[0]} ended: it was stopped")
        rest = "".join(f"{line}\n" for line in self._lines)
        result = result_of(self._record, self._argv)
        return CommandResult(
            argv=result.argv, return_code=result.return_code, stdout=rest + result.stdout, stderr=result.stderr
        )

    def stop(self) -> None:
        """Nothing runs."""
        self._stopped = True


def result_of(record: Record, argv: Sequence[str]) -> CommandResult:
    """Return what a record says of a program's end."""
    return CommandResult(
        argv=tuple(argv),
        return_code=record["return_code"],
        stdout=record.get("stdout", ""),
        stderr=record.get("stderr", ""),
    )
