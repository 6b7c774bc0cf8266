"""Run another program with a deadline, a memory limit and bounded output; it never outlives the call."""

import os
import resource
import selectors
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import IO

from mnet_deploy.errors import CommandFailed, CommandTimeout
from mnet_deploy.interrupts import raise_if_interrupted

OUTPUT_LIMIT_BYTES = 64 << 20
STDERR_KEPT_BYTES = 64 << 10
_CHUNK_BYTES = 1 << 16
_POLL_S = 0.1
_GRACE_S = 10  # CPU seconds past the deadline after which the system ends a child whose parent was killed


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramEnd:
    """How a program ended, on this machine or another.

    Attributes:
        return_code: its exit status; negative is the number of the signal that killed it.
        stderr: the end of what it wrote there.
    """

    return_code: int
    stderr: str

    @property
    def ending(self) -> str:
        """How it ended, in words: `exit status 3`, `killed by SIGSEGV`."""
        return describe_return_code(self.return_code)

    @property
    def last_line(self) -> str:
        """The last line of stderr that is not empty: for Python the message of the exception."""
        lines = [line.strip() for line in self.stderr.splitlines() if line.strip()]
        return lines[-1] if lines else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildResult(ProgramEnd):
    """How a child process ended, and what it wrote.

    Attributes:
        command: the argument list that was started.
        stdout: all of it.
    """

    command: tuple[str, ...]
    stdout: bytes

    def require_success(self) -> bytes:
        """Return stdout; raises `CommandFailed` when the exit status is not 0."""
        if self.return_code != 0:
            detail = f": {self.last_line}" if self.last_line else ""
            raise CommandFailed(
                f"{self.command[0]} ended with {self.ending}{detail}",
                command=self.command,
                return_code=self.return_code,
                output=self.stderr,
            )
        return self.stdout


def describe_return_code(return_code: int) -> str:
    """Return an exit status in words; negative is a signal's number, as `subprocess` gives it."""
    if return_code >= 0:
        return f"exit status {return_code}"
    try:
        return f"killed by {signal.Signals(-return_code).name}"
    except ValueError:
        return f"killed by signal {-return_code}"


def run_child(
    arguments: Sequence[str],
    *,
    timeout_s: float,
    stdin: bytes | None = None,
    memory_limit_bytes: int | None = None,
    output_limit_bytes: int = OUTPUT_LIMIT_BYTES,
    environment: Mapping[str, str] | None = None,
) -> ChildResult:
    """Run a program to its end and return what it wrote.

    Args:
        arguments: the program and its arguments; no shell is involved.
        timeout_s: wall time after which the program and everything it started is killed.
        stdin: what it reads; None is an empty input.
        memory_limit_bytes: address space that it may use; enforced on Linux only.
        output_limit_bytes: more than this on stdout and it is killed.
        environment: variables added to this process' own.

    Raises:
        CommandTimeout: it did not end in time.
        CommandFailed: it could not be started, or wrote too much. An exit status other than 0 is the caller's to judge.

    The program runs in a process group of its own, which is killed on every way out of this function, Ctrl-C included.
    """
    deadline = time.monotonic() + timeout_s
    with tempfile.TemporaryFile() as given:  # a file, not a pipe: nobody has to feed it while reading the output
        given.write(stdin or b"")
        given.seek(0)
        process = _start(arguments, given, environment)
        try:
            _limit(process.pid, memory_limit_bytes, timeout_s)
            stdout, stderr = _collect(process, deadline, output_limit_bytes)
            return_code = process.wait(max(0.0, deadline - time.monotonic()))
        except (TimeoutError, subprocess.TimeoutExpired):
            raise CommandTimeout(f"{arguments[0]} did not end within {timeout_s:g} s and was stopped") from None
        finally:
            _kill_group(process)
    return ChildResult(
        command=tuple(arguments), return_code=return_code, stdout=stdout, stderr=stderr.decode("utf-8", "replace")
    )


def _start(
    arguments: Sequence[str], stdin: IO[bytes], environment: Mapping[str, str] | None
) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            list(arguments),
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=None if environment is None else {**os.environ, **environment},
            process_group=0,
        )
    except OSError as error:
        raise CommandFailed(
            f"{arguments[0]} could not be started: {error.strerror}", command=arguments, return_code=127, output=""
        ) from None


def _limit(pid: int, memory_limit_bytes: int | None, timeout_s: float) -> None:
    """Set limits from outside: code between fork and exec (`preexec_fn`) can deadlock where threads run."""
    if not hasattr(resource, "prlimit"):
        return  # macOS has none, and does not enforce an address-space limit anyway
    cpu_s = (int(timeout_s) + _GRACE_S) * (os.cpu_count() or 1)
    with suppress(ProcessLookupError, PermissionError, ValueError):  # ended already, or the inherited limit is lower
        resource.prlimit(pid, resource.RLIMIT_CPU, (cpu_s, cpu_s))
        if memory_limit_bytes is not None:
            resource.prlimit(pid, resource.RLIMIT_AS, (memory_limit_bytes, memory_limit_bytes))


def _collect(process: subprocess.Popen[bytes], deadline: float, output_limit_bytes: int) -> tuple[bytes, bytes]:
    """Return stdout and the end of stderr, read until the process ends; raises `TimeoutError` at the deadline."""
    kept = {"stdout": bytearray(), "stderr": bytearray()}
    with selectors.DefaultSelector() as selector:
        for stream, name in ((process.stdout, "stdout"), (process.stderr, "stderr")):
            if stream is not None:
                selector.register(stream, selectors.EVENT_READ, name)
        while selector.get_map():
            raise_if_interrupted()  # the signal reaches the main thread only; this may be another one
            remaining_s = deadline - time.monotonic()
            if remaining_s <= 0:
                raise TimeoutError
            ended = process.poll() is not None
            ready = selector.select(0 if ended else min(remaining_s, _POLL_S))
            if ended and not ready:
                break  # a grandchild holds the pipe open; the process itself has nothing more to say
            for key, _ in ready:
                chunk = os.read(key.fd, _CHUNK_BYTES)
                if not chunk:
                    selector.unregister(key.fileobj)
                kept[key.data] += chunk
            del kept["stderr"][:-STDERR_KEPT_BYTES]
            if len(kept["stdout"]) > output_limit_bytes:
                raise _too_much(process, output_limit_bytes)
    return bytes(kept["stdout"]), bytes(kept["stderr"])


def _too_much(process: subprocess.Popen[bytes], output_limit_bytes: int) -> CommandFailed:
    arguments = [str(argument) for argument in process.args] if isinstance(process.args, list) else [str(process.args)]
    return CommandFailed(
        f"{arguments[0]} wrote more than {output_limit_bytes} bytes and was stopped",
        command=arguments,
        return_code=-signal.SIGKILL,
        output="",
    )


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill what is left of the process group: the program and all that it started."""
    with suppress(ProcessLookupError, PermissionError):  # nothing is left; macOS says "not permitted" to zombies
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for stream in (process.stdout, process.stderr):
        if stream is not None:
            stream.close()
