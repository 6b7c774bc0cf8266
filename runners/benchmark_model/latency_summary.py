"""The latencies of a row of inferences as `benchmark_model` sums them up, and whether they can be true."""

import re
from dataclasses import dataclass, fields
from itertools import pairwise

from mnet_deploy.errors import ResultFormatError
from mnet_deploy.terminal import printable

_US_PER_S = 1e6
_PRINTED_DIGITS = 1e-5  # an average is printed with six significant digits
_HALF_US_S = 0.5e-6  # the others are whole microseconds

# tensorflow/core/util/stats_calculator.h, `Stat::OutputToStream`: equal latencies are not repeated, and percentiles are
# printed by TensorFlow 2.18 and not yet by 2.15.
_WHOLE = "[0-9]{1,15}"
_NUMBER = rf"{_WHOLE}(?:\.[0-9]{{1,15}})?(?:e[+-][0-9]{{2}})?"
_PERCENTILES = rf"(?: p5=(?P<p5>{_WHOLE}) median=(?P<median>{_WHOLE}) p95=(?P<p95>{_WHOLE}))?"
_SPREAD = re.compile(
    rf"count=(?P<count>[0-9]{{1,12}}) first=(?P<first>{_WHOLE}) curr=(?P<curr>{_WHOLE}) min=(?P<min>{_WHOLE}) "
    rf"max=(?P<max>{_WHOLE}) avg=(?P<avg>{_NUMBER}) std=(?P<std>{_WHOLE}){_PERCENTILES} *"
)
_ALL_SAME = re.compile(rf"count=(?P<count>[0-9]{{1,12}}) curr=(?P<curr>{_WHOLE})(?: ?\(all same\))?{_PERCENTILES} *")
_SHOWN = 120  # characters of a line in a message


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencySummary:
    """Inferences summed up by the program that timed them.

    Attributes:
        count: of inferences.
        first_s: latency of the first one; all are None where the program does not say it.
        last_s: of the last one.
        min_s: the shortest.
        max_s: the longest.
        mean_s: to six digits.
        std_s: standard deviation, in whole microseconds.
        p5_s: 5th percentile.
        median_s: the 50th.
        p95_s: the 95th.
    """

    count: int
    mean_s: float
    first_s: float | None = None
    last_s: float | None = None
    min_s: float | None = None
    max_s: float | None = None
    std_s: float | None = None
    p5_s: float | None = None
    median_s: float | None = None
    p95_s: float | None = None

    def __post_init__(self) -> None:
        """Refuse what no row of inferences can have."""
        if self.count < 1:
            raise ResultFormatError(f"benchmark_model measured nothing: count={self.count}; run it without --dry_run")
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None and not 0 <= value < float("inf"):
                raise ResultFormatError(f"{field.name} of benchmark_model is a latency. Received: {value}")
        for inner in ("first_s", "last_s", "mean_s", "p5_s", "median_s", "p95_s"):
            self._require_order("min_s", inner, "max_s")
        self._require_order("p5_s", "median_s", "p95_s")

    def _require_order(self, *names: str) -> None:
        known = [(name, value) for name in names if (value := getattr(self, name)) is not None]
        for (low_name, low), (high_name, high) in pairwise(known):
            if low > high * (1 + _PRINTED_DIGITS) + _HALF_US_S:
                raise ResultFormatError(
                    f"{low_name} of benchmark_model is at most {high_name}. Received: {low:g} and {high:g}; "
                    "the output is damaged, run it again"
                )


def same_latency(one_s: float, other_s: float) -> bool:
    """Return whether two averages are the same one, printed."""
    return abs(one_s - other_s) <= max(abs(one_s), abs(other_s)) * _PRINTED_DIGITS


def read_summary(text: str) -> LatencySummary:
    """Return what `count=50 first=... std=450` says, with percentiles or without; its numbers are microseconds.

    Raises:
        ResultFormatError: it is another text, was cut off, or cannot be true.
    """
    found = _SPREAD.fullmatch(text) or _ALL_SAME.fullmatch(text)
    if found is None:
        if text.rstrip() == "count=0":
            raise ResultFormatError("benchmark_model measured nothing: count=0; run it without --dry_run")
        raise ResultFormatError(
            "a count line of benchmark_model has count, first, curr, min, max, avg and std. "
            f"Received: {printable(text[:_SHOWN])!r}; it was cut off or is of an unknown version"
        )
    said = {key: float(value) / _US_PER_S for key, value in found.groupdict().items() if value and key != "count"}
    last_s = said["curr"]
    same = None if "avg" in said else last_s  # one latency, or all of them equal: nothing but `curr` is printed
    return LatencySummary(
        count=int(found["count"]),
        mean_s=said.get("avg", last_s),
        last_s=last_s,
        std_s=said.get("std"),
        p5_s=said.get("p5"),
        median_s=said.get("median", same),
        p95_s=said.get("p95"),
        **{f"{name}_s": said.get(name, same) for name in ("first", "min", "max")},
    )
