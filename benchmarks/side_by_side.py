"""Run two commands as whole processes in turns, and compare wall time and peak memory.

Turns (A B, B A, A B, ...) let a machine that warms up or gets busy hit both alike; each round gives one pair, and what
is reported is the median over the pairs. This module imports nothing large: on Linux a process starts with the peak
memory of the one that forked it, so the harness must stay smaller than what it measures.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

MAXRSS_UNIT_BYTES = 1 if sys.platform == "darwin" else 1024  # getrusage(2): bytes on macOS, KiB on Linux


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run of a command.

    Attributes:
        wall_s: from start to end, as a user waits for it.
        peak_rss_bytes: of the process or of one that it started and waited for, whichever is larger (no sum).
    """

    wall_s: float
    peak_rss_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """The runs of two commands, in rounds."""

    ours: tuple[Run, ...]
    theirs: tuple[Run, ...]

    @property
    def wall_s(self) -> tuple[float, float]:
        """Medians (ours, theirs)."""
        return median(run.wall_s for run in self.ours), median(run.wall_s for run in self.theirs)

    @property
    def peak_rss_bytes(self) -> tuple[float, float]:
        """Medians (ours, theirs)."""
        return median(run.peak_rss_bytes for run in self.ours), median(run.peak_rss_bytes for run in self.theirs)

    @property
    def wall_ratio(self) -> float:
        return median(a.wall_s / b.wall_s for a, b in zip(self.ours, self.theirs, strict=True))

    @property
    def wall_difference_s(self) -> float:
        return median(a.wall_s - b.wall_s for a, b in zip(self.ours, self.theirs, strict=True))

    @property
    def peak_rss_ratio(self) -> float:
        return median(a.peak_rss_bytes / b.peak_rss_bytes for a, b in zip(self.ours, self.theirs, strict=True))


def run_pairs(ours: Sequence[str], theirs: Sequence[str], *, rounds: int) -> Pairs:
    """Run both commands `rounds` times in alternating order, after one unmeasured run of each (disk cache).

    Raises:
        RuntimeError: a command failed; the message ends with what it printed.
    """
    commands = {"ours": ours, "theirs": theirs}
    runs: dict[str, list[Run]] = {"ours": [], "theirs": []}
    for command in commands.values():
        measure(command)
    for number in range(rounds):
        for name in ("ours", "theirs") if number % 2 == 0 else ("theirs", "ours"):
            runs[name].append(measure(commands[name]))
    return Pairs(ours=tuple(runs["ours"]), theirs=tuple(runs["theirs"]))


def measure(command: Sequence[str]) -> Run:
    """Run one command to its end.

    Call it from a small process: Linux counts the memory of the process that starts a program as the program's own.
    """
    with tempfile.TemporaryFile() as output:
        start_s = time.perf_counter()
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        _, status, usage = os.wait4(process.pid, 0)
        wall_s = time.perf_counter() - start_s
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            output.seek(0)
            said = output.read().decode(errors="replace")[-2000:]
            raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}:\n{said}")
    return Run(wall_s=wall_s, peak_rss_bytes=usage.ru_maxrss * MAXRSS_UNIT_BYTES)
