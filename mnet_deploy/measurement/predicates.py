"""What makes timings doubtful, on plain numbers: the same tests judge our measurements and tables of others.

Each returns what was seen, as the middle of a sentence, or None.
"""

from collections.abc import Sequence
from itertools import pairwise
from statistics import median, quantiles

from mnet_deploy.measurement.statistics import trend_p
from mnet_deploy.units import format_seconds

# A monotone order of 5 blocks has p = 2/120 by chance, the smallest that 5 can have.
TREND_P = 0.02
# A drift is worth a word if the median moves by as much as the interval of a settled one may be wide.
TREND_SIZE = 0.02
# The clock has to tell latencies apart that differ by half the default interval.
TIMER_STEP = 0.01
# Latencies are skewed: in a quiet run the mean is a few per cent over the median. A tenth comes from few, long ones.
MEAN_OVER_MEDIAN = 1.1
# The middle half of a quiet block is within a few per cent; so far apart, it is of two speeds.
QUARTILES_APART = 1.25
# Tables without medians have no other sign. In half of the 8,554 rows of ncnn's table the largest is within 4 % of the
# smallest, in 98 of 100 below 3 times (Tencent/ncnn@a4d2ea1, benchmark/README.md).
MAX_OVER_MIN = 3.0


def impossible(values_s: Sequence[float]) -> str | None:
    """Judge latencies that no clock gives."""
    for value in values_s:
        if not 0 < value < float("inf"):
            return f"a latency of {value} s"
    return None


def window_too_short(window_s: float, required_s: float) -> str | None:
    """Judge a timed window; the limit is meant as it is written: 9.952 s are not 10."""
    if window_s < required_s:
        return f"a window of {window_s:.4g} s under a rule of at least {required_s:g} s"
    return None


def too_few(count: int, required: int) -> str | None:
    """Judge a number of samples."""
    return f"{count} inferences under a rule of at least {required}" if count < required else None


def slower_with_threads(one_s: float, more_s: float, threads: int) -> str | None:
    """Judge the medians (or means) with one and with several threads."""
    if more_s > one_s > 0:
        return (
            f"{format_seconds(more_s)} with {threads} threads, {format_seconds(one_s)} with one: "
            f"{more_s / one_s:.2f} times as long"
        )
    return None


def drifting(medians_s: Sequence[float]) -> str | None:
    """Judge the medians of consecutive blocks or windows."""
    if trend_p(medians_s) > TREND_P:
        return None
    third = max(1, len(medians_s) // 3)
    change = median(medians_s[-third:]) / median(medians_s[:third]) - 1
    if abs(change) <= TREND_SIZE:
        return None
    return f"blocks got {'slower' if change > 0 else 'faster'} by {abs(change):.1%} from the first to the last"


def timer_too_coarse(values_s: Sequence[float]) -> str | None:
    """Judge the resolution of the clock by the smallest step between two latencies."""
    distinct = sorted(set(values_s))
    if len(values_s) < 2:
        return None
    if len(distinct) == 1:
        return f"{len(values_s)} inferences that took exactly {format_seconds(distinct[0])}"
    step_s = min(later - earlier for earlier, later in pairwise(distinct))
    if step_s > TIMER_STEP * median(values_s):
        return f"latencies that come in steps of {format_seconds(step_s)} around {format_seconds(median(values_s))}"
    return None


def mean_far_from_median(mean_s: float, median_s: float) -> str | None:
    """Judge a mean that a few long inferences pull away from what most of them took."""
    if mean_s > MEAN_OVER_MEDIAN * median_s:
        return f"a mean of {format_seconds(mean_s)} over a median of {format_seconds(median_s)}"
    return None


def quartiles_apart(values_s: Sequence[float]) -> str | None:
    """Judge how far the middle half of latencies reaches, which neither their median nor their mean shows."""
    low_s, _, high_s = quantiles(values_s, n=4)
    if high_s > QUARTILES_APART * low_s:
        return f"a middle half from {format_seconds(low_s)} to {format_seconds(high_s)}"
    return None


def max_far_from_min(min_s: float, max_s: float) -> str | None:
    """Judge the extremes of a row."""
    if max_s > MAX_OVER_MIN * min_s:
        return f"inferences from {format_seconds(min_s)} to {format_seconds(max_s)}"
    return None
