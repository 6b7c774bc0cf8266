"""Lines of `benchmark_model` without what the ways of logging put before them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

# `I/tflite  ( 123): text`, `I tflite  : text` and `09-01 12:34:56.789  123  456 I tflite  : text` of logcat.
_LOGCAT = re.compile(
    r"(?:[0-9]{2}-[0-9]{2} [0-9:.]{8,18} +[0-9]+ +[0-9]+ )?"
    r"(?P<level>[VDIWEF])[ /](?:tflite|litert) *(?:\( *[0-9]+\))?: "
)
_LEVELS = {"V": "VERBOSE", "D": "DEBUG", "I": "INFO", "W": "WARN", "E": "ERROR", "F": "FATAL"}
_LEVEL = re.compile("(?P<level>VERBOSE|DEBUG|INFO|WARN|WARNING|ERROR|FATAL): ")
_SOURCE = re.compile(r"\[[^\]\s]+\.(?:h|cc|cpp|c):[0-9]+\] ")
LONGEST_LOG = 16 * 1024 * 1024  # characters; a profile of 10,000 nodes takes a quarter of it


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line, and how grave the program says it is.

    Attributes:
        text: without prefixes and the blanks at its end.
        level: `INFO`, `WARN`, `ERROR`, `FATAL`, ...; None where the line does not begin with it.
        whole: whether its end has arrived; without it, its last number may lack digits.
    """

    text: str
    level: str | None = None
    whole: bool = True


def log_lines(text: str) -> Iterator[LogLine]:
    """Yield the lines of one stream or of logcat."""
    *lines, last = text.split("\n")
    for line in lines:
        yield _log_line(line, whole=True)
    if last:
        yield _log_line(last, whole=False)


def _log_line(line: str, *, whole: bool) -> LogLine:
    rest, level = line.rstrip(), None
    if logcat := _LOGCAT.match(rest):
        rest, level = rest[logcat.end() :], _LEVELS[logcat["level"]]
    if prefix := _LEVEL.match(rest):
        rest, level = rest[prefix.end() :], prefix["level"].replace("WARNING", "WARN")
    if source := _SOURCE.match(rest):
        rest = rest[source.end() :]
    return LogLine(rest, level, whole)
