"""Why a run of `benchmark_model` failed, from how it ended and what was printed, and what can be done about it."""

import re
import signal
from dataclasses import dataclass

from mnet_deploy.errors import CommandFailed
from mnet_deploy.runners.benchmark_model.log_lines import LogLine, log_lines
from mnet_deploy.runners.transports.transport import CommandResult
from mnet_deploy.terminal import printable

_SHOWN = 240  # characters of a line in a message
_KEPT = 2000  # characters of the output that an error keeps
_NOT_STARTED = (126, 127)  # of shells, env and taskset
_ONE_BUNDLE = "take benchmark_model and all its libraries from one folder of one version"
_RIGHT_BUILD = "take the build for the device, such as android_arm64 (android_aarch64 of TensorFlow) for a 64-bit phone"


@dataclass(frozen=True, slots=True)
class _Sign:
    """What is printed, what that means, and what to do; `at_start` is of a program that was not even started."""

    pattern: re.Pattern[str]
    meaning: str
    advice: str
    at_start: bool = False


# Of Android's linker (bionic/linker), glibc's, and the shells and small programs of Android (mksh, toybox) and Linux.
_SIGNS = (
    _Sign(re.compile("version `GLIBC"), "the device's C library is older than this build needs", _RIGHT_BUILD),
    _Sign(
        re.compile(r'library "[^"]+" not found|cannot open shared object file'),
        "a library that benchmark_model needs is not there",
        _ONE_BUNDLE,
    ),
    _Sign(
        re.compile("CANNOT LINK EXECUTABLE|cannot locate symbol|symbol lookup error|undefined symbol|version `"),
        "benchmark_model and one of its libraries are of different versions",
        _ONE_BUNDLE,
    ),
    _Sign(
        re.compile("not executable: (?:32|64)-bit ELF file|Exec format error|cannot execute binary file"),
        "benchmark_model is a program for another processor",
        _RIGHT_BUILD,
        at_start=True,
    ),
    _Sign(
        re.compile("Permission denied"),
        "the device does not let benchmark_model start from where it was copied to",
        "its security policy or the mount option noexec forbids it; mnet bench without it uses another program",
        at_start=True,
    ),
    _Sign(
        re.compile("not found|No such file"),
        "the device has no loader for benchmark_model",
        "a build for Linux does not start on Android, nor one for Android on Linux; " + _RIGHT_BUILD,
        at_start=True,
    ),
    _Sign(
        re.compile("Disallowed CPU fallback detected"),
        "the delegate does not take all of the model, as was required",
        "leave that requirement out, or choose another delegate",
    ),
    _Sign(
        re.compile(r"[Ff]ailed to (?:load|read|compile)(?: the)? model|model identifier|not a (?:valid )?TFLite"),
        "benchmark_model cannot use the model",
        "it takes .tflite files; a newer version of it may know what this one holds",
    ),
)
_SIGNALS: dict[int, str] = {
    signal.SIGBUS: f"benchmark_model with a libLiteRt.so of another version does that; {_ONE_BUNDLE}",
    signal.SIGSEGV: f"a library of another version or a delegate's driver does that; {_ONE_BUNDLE}, or try no delegate",
    signal.SIGILL: f"it has code for another processor; {_RIGHT_BUILD}",
    signal.SIGABRT: "the tool itself gave up; try another delegate, or another version of it",
    signal.SIGKILL: "the system does that when memory is short; close other programs there",
}


def failure(what: str, result: CommandResult, program: str) -> CommandFailed:
    """Return the error of a run that ended with a signal or an exit status other than 0.

    Args:
        what: was run, for messages.
        result: how it ended.
        program: path of the tool on the device.
    """
    lines = [line for stream in (result.stderr, result.stdout) for line in log_lines(stream) if line.text]
    return failed(f"{what}: {_reason(result, lines, program)}", result)


def failed(message: str, result: CommandResult) -> CommandFailed:
    """Return the error of a run that is no result, however it ended."""
    return CommandFailed(message, command=result.argv, return_code=result.return_code, output=result.stderr[-_KEPT:])


def _reason(result: CommandResult, lines: list[LogLine], program: str) -> str:
    # taskset names the tool where that is to blame.
    if result.argv[0] == "taskset" and (line := _taskset_line(lines, program)):
        return f"the device cannot bind a program to these cores{_quoted(line)}; choose cores that it has, or none"
    for sign in _SIGNS:
        if sign.at_start and result.return_code not in _NOT_STARTED:
            continue
        if line := next((line for line in lines if sign.pattern.search(line.text)), None):
            return f"{sign.meaning}{_quoted(line)}; {sign.advice}"
    told = _told(lines)
    if result.return_code < 0:
        advice = _SIGNALS.get(-result.return_code, "try another version of it")
        return f"benchmark_model was {result.ending}{told}; {advice}"
    return f"benchmark_model ended with {result.ending}{told}; try another delegate, or another version of it"


def _taskset_line(lines: list[LogLine], program: str) -> LogLine | None:
    return next((line for line in lines if "taskset" in line.text and program not in line.text), None)


def _told(lines: list[LogLine]) -> str:
    """Return the first error that was printed, which the others follow from; the last line if none is called so."""
    grave = [line for line in lines if line.level in ("ERROR", "FATAL")]
    return _quoted(grave[0] if grave else lines[-1]) if lines else ""


def _quoted(line: LogLine) -> str:
    return f" ({printable(line.text[:_SHOWN])})"
