"""A child process of this machine that is talked to through its pipes; no read, write or wait is without a deadline."""

import os
import selectors
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import IO

from mnet_deploy.child_process import OUTPUT_LIMIT_BYTES, STDERR_KEPT_BYTES, ChildResult
from mnet_deploy.errors import CommandFailed, LinkLost
from mnet_deploy.interrupts import raise_if_interrupted
from mnet_deploy.runners.transports.deadline import Deadline
from mnet_deploy.runners.transports.transport import CommandResult, RemoteProcess

_CHUNK_BYTES = 1 << 16
_POLL_S = 0.1
_GRACE_S = 2.0  # between SIGTERM and SIGKILL: time to clean up behind itself
_UNREAD_LIMIT_BYTES = 1 << 20  # that much written and not read: nobody reads any more


class PipedProcess(RemoteProcess):
    """A child in a process group of its own."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        argv: Sequence[str],
        name: str,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Start it.

        Args:
            command: what runs on this machine.
            argv: what the caller asked for, as in `CommandResult`.
            name: of the device and the program, for messages.
            environment: variables added to this process' own.

        Raises:
            CommandFailed: it could not be started.
        """
        self.argv, self.name = tuple(argv), name
        self._stdout, self._stderr, self._unsent = bytearray(), bytearray(), bytearray()
        self._stopped = False
        self._taken_bytes = 0
        self._process = _started(command, environment)
        self._input, self._output, self._errors = _pipes(self._process)
        self._selector = selectors.DefaultSelector()
        for stream in (self._output, self._errors):
            self._selector.register(stream, selectors.EVENT_READ)

    def lines(self, deadline: Deadline) -> Iterator[str]:
        """Yield what it writes; see `RemoteProcess.lines`."""
        while True:
            end = self._stdout.find(b"\n")
            if end >= 0:
                line = _text(self._stdout[:end])
                del self._stdout[: end + 1]
                yield line
            elif self._output.closed or not self._step(deadline):
                break
        self._require_link(deadline)
        if self._stdout:
            last, self._stdout = self._stdout, bytearray()
            yield _text(last)

    def write(self, text: str) -> None:
        """Write to its stdin; what the pipe does not take at once is sent while the output is read."""
        self._unsent += text.encode()
        self._send()
        if self._input.closed:
            raise LinkLost(f"{self.name} does not read its input any more")
        if len(self._unsent) > _UNREAD_LIMIT_BYTES:
            raise LinkLost(f"{self.name} has left {len(self._unsent)} bytes of its input unread")

    def wait(self, deadline: Deadline) -> CommandResult:
        """Wait for its end; see `RemoteProcess.wait`."""
        try:
            while self._unsent and self._step(deadline):
                pass
            self._input.close()
            while self._step(deadline):
                pass
            return_code = wait_for_end(self._process, deadline, self.name)
        finally:
            self.stop()
        result = ChildResult(
            command=self.argv, return_code=return_code, stdout=bytes(self._stdout), stderr=_text(self._stderr)
        )
        self._stdout.clear()
        return self._judge(result)

    def stop(self) -> None:
        """Ask it to end, and kill what is left of its process group."""
        if self._stopped:
            return  # by now the number of the group may be another's
        self._stopped = True
        self._input.close()
        with suppress(ProcessLookupError, PermissionError):  # nothing is left; macOS says "not permitted" to zombies
            os.killpg(self._process.pid, signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_GRACE_S)
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._selector.close()
        self._output.close()
        self._errors.close()

    def _judge(self, result: ChildResult) -> CommandResult:
        """Return what the end of the child says of the program."""
        return CommandResult(
            argv=self.argv,
            return_code=result.return_code,
            stdout=result.stdout.decode("utf-8", "replace"),
            stderr=result.stderr,
        )

    def _require_link(self, deadline: Deadline) -> None:
        """Raise `LinkLost` if stdout ended because the way to the program did."""

    def _step(self, deadline: Deadline) -> bool:
        """Wait a moment for output and take it; return whether more can come.

        Raises:
            CommandTimeout: the deadline passed.
        """
        raise_if_interrupted()
        deadline.require(self.name)
        if self._output.closed and self._errors.closed:
            return False
        ended = self._process.poll() is not None
        self._send()
        ready = self._selector.select(0 if ended else min(deadline.remaining_s, _POLL_S))
        for stream, kept in ((self._output, self._stdout), (self._errors, self._stderr)):
            if any(key.fileobj is stream for key, _ in ready):
                self._take(stream, kept)
        return bool(ready) or not ended  # a grandchild may hold the pipes open; the program itself has ended

    def _take(self, stream: IO[bytes], kept: bytearray) -> None:
        chunk = os.read(stream.fileno(), _CHUNK_BYTES)
        kept += chunk
        self._taken_bytes += len(chunk) if kept is self._stdout else 0
        if not chunk:
            self._selector.unregister(stream)
            stream.close()
        del self._stderr[:-STDERR_KEPT_BYTES]
        if self._taken_bytes > OUTPUT_LIMIT_BYTES:
            self.stop()
            words = f"{self.name} wrote more than {OUTPUT_LIMIT_BYTES} bytes and was stopped"
            raise CommandFailed(words, command=self.argv, return_code=-signal.SIGKILL, output="")

    def _send(self) -> None:
        try:
            while self._unsent and not self._input.closed:
                sent = os.write(self._input.fileno(), self._unsent)
                del self._unsent[:sent]
        except BlockingIOError:
            return  # the pipe is full; the next step goes on
        except BrokenPipeError:
            self._unsent.clear()
            self._input.close()


def wait_for_end(process: subprocess.Popen[bytes], deadline: Deadline, name: str) -> int:
    """Return the exit status of a child.

    Raises:
        CommandTimeout: the deadline passed; `name` did not end.
    """
    while (return_code := process.poll()) is None:
        raise_if_interrupted()  # the signal reaches the main thread only; this may be another one
        deadline.require(name)
        with suppress(subprocess.TimeoutExpired):
            process.wait(min(_POLL_S, deadline.remaining_s))
    return return_code


def _started(command: Sequence[str], environment: Mapping[str, str] | None) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            list(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=None if environment is None else {**os.environ, **environment},
            process_group=0,
            bufsize=0,
        )
    except OSError as error:
        words = f"{command[0]} could not be started: {error.strerror}"
        raise CommandFailed(words, command=command, return_code=127, output="") from None


def _pipes(process: subprocess.Popen[bytes]) -> tuple[IO[bytes], IO[bytes], IO[bytes]]:
    if process.stdin is None or process.stdout is None or process.stderr is None:
        raise ValueError("the process was started without pipes")
    os.set_blocking(process.stdin.fileno(), False)
    return process.stdin, process.stdout, process.stderr


def _text(content: bytes | bytearray) -> str:
    return content.decode("utf-8", "replace")
