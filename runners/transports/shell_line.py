"""A program and its arguments as one line for the shell of a device, and how the program ended, in band.

ssh's own exit status 255 means a lost connection as well as a program that a signal ended, and adb may exit with 0 when
the connection is lost. So the line prints a mark before the program runs, on stdout, behind which the program's own
output begins (a login script may print before), and after it has ended another one with its exit status, on stderr.
"""

import re
import shlex
import signal
from collections.abc import Sequence

# The parentheses keep this shell alive whatever the program is.
_AROUND = r"""mark=$1; shift; printf '%s\n' "$mark"; (exec "$@"); printf '\n%s %d\n' "$mark" "$?" >&2"""
# A shell function: the SHA-256 of its input, with the tool of Linux and Android (from 8 on: AOSP's
# shell_and_utilities/README.md) or that of macOS.
SHA256 = """sha256() {
    if command -v sha256sum >/dev/null; then set -- "$(sha256sum)"; else set -- "$(shasum -a 256)"; fi
    printf '%s\\n' "${1%% *}"
}
command -v sha256sum >/dev/null || command -v shasum >/dev/null || {
    echo 'there is no sha256sum to compare files with (Android has one from 8 on)' >&2; exit 1
}
"""
_SIGNAL_BASE = 128  # a shell's exit status for a program that signal N ended is 128 + N
_SIGNALS = frozenset(int(number) for number in signal.Signals)


def command_line(argv: Sequence[str], mark: str) -> str:
    """Return what the remote shell is given; `mark` is a word that nothing else prints."""
    return " ".join(("exec", *map(_quoted, ("sh", "-c", _AROUND, "sh", mark, *argv))))


def after_start(stdout: bytes, mark: str) -> bytes | None:
    """Return what the program wrote to stdout; None if it was not started."""
    _, started, output = stdout.partition(f"{mark}\n".encode())
    return output if started else None


def split_end(stderr: str, mark: str) -> tuple[str, int | None]:
    """Return stderr without the mark, and the exit status (negative: the signal), None if the end is not there."""
    found = re.search(rf"\n{re.escape(mark)} ([0-9]{{1,3}})\n", stderr)
    if found is None:
        return stderr, None
    status = int(found[1])
    number = status - _SIGNAL_BASE
    return stderr[: found.start()] + stderr[found.end() :], -number if number in _SIGNALS else status


def _quoted(argument: str) -> str:
    """Quote for the login shell, whichever it is: in fish a backslash means something between single quotes, too."""
    return shlex.quote(argument).replace("\\", """'"\\\\"'""")
