"""What repeated timings say: the interval of a median, a trend, and percentiles that can be stood by.

Latencies of one process resemble each other more than those of two (its memory was laid out once), so intervals are
always about blocks, one a process: drawing single inferences would promise far more than another run keeps.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from math import ceil, comb, erfc, sqrt

import numpy as np

CONFIDENCE = 0.95

# Up to so many values (the most blocks of the default protocol) every resample and every order is counted; with more,
# the order statistics of the median and the normal limit of the trend are as good, and quick.
EXACT_COUNT = 50

# From how many samples a percentile is given: as many as it takes to say with 99 % confidence that a sample in that
# tail was seen at all and one may still be left out as an outlier. It is the least number of queries of "early
# stopping" in the MLPerf inference rules (mlcommons/inference_policies, inference_rules.adoc): 64 for p90, 662 for p99.
PERCENTILE_CONFIDENCE = 0.99


def median_interval(block_medians: Sequence[float]) -> tuple[float, float] | None:
    """Return the 95 % interval of the median of the blocks' medians; None from fewer than 2.

    The percentile bootstrap (Efron 1979, Annals of Statistics 7, 1-26), without drawing: the distribution of the median
    of a resample is known in closed form (section 3 there), so equal blocks give equal intervals. Of 5 blocks it is
    the smallest and the largest, which hold the true median in 15 of 16 runs (of 4 in 7 of 8, of 2 in every other).
    From `EXACT_COUNT` on it is the interval between two of the values that holds the median in 95 % of runs or more
    whatever they are distributed as (Thompson 1936, Annals of Mathematical Statistics 7, 122-128).

    Because a run ends where the interval is narrow, it holds the median in fewer than 95 % of runs: in 94, 92, 89, 89
    and 91 % where the blocks scatter by 0.5, 1, 2, 3 and 5 % (standard deviation; log-normal, 4000 simulated runs each
    of the default protocol, which ends where the interval is within 2 % of the median in two rounds in a row).
    """
    count = len(block_medians)
    if count < 2:
        return None
    ordered = sorted(block_medians)
    if count > EXACT_COUNT:
        beyond = _beyond(count)
        return ordered[beyond], ordered[-1 - beyond]
    atoms = sorted(
        ((ordered[low] + ordered[high]) / 2, weight) for (low, high), weight in _resampled_middle(count).items()
    )
    return _quantile(atoms, (1 - CONFIDENCE) / 2), _quantile(atoms, (1 + CONFIDENCE) / 2)


def _beyond(count: int) -> int:
    """Return how many values may be left out at either end: that more are below the median has a chance of 2.5 %."""
    below, ways, number = 0, 1, 0  # of 2 ** count ways to be below or above it, in whole numbers
    while 40 * (below + ways) <= 1 << count:
        below += ways
        ways = ways * (count - number) // (number + 1)
        number += 1
    return number - 1


@cache
def _resampled_middle(count: int) -> Mapping[tuple[int, int], float]:
    """Return how probable it is that the middle two of `count` draws are of these ranks (the same one if it is odd)."""
    half = count // 2

    def at_most(rank: int, needed: int) -> float:
        """Probability that at least `needed` draws are of the `rank` smallest."""
        share = rank / count
        return sum(comb(count, n) * share**n * (1 - share) ** (count - n) for n in range(needed, count + 1))

    if count % 2:
        return {(rank, rank): at_most(rank + 1, half + 1) - at_most(rank, half + 1) for rank in range(count)}
    below = [((rank + 1) / count) ** half - (rank / count) ** half for rank in range(count)]
    chances = {
        (low, high): comb(count, half) * below[low] * below[count - 1 - high]
        for low in range(count)
        for high in range(low + 1, count)
    }
    for rank in range(count):  # the lower one has this rank, the upper one no other
        lower = at_most(rank + 1, half) - at_most(rank, half)
        chances[rank, rank] = lower - sum(chances[rank, high] for high in range(rank + 1, count))
    return chances


def _quantile(atoms: Sequence[tuple[float, float]], probability: float) -> float:
    reached = 0.0
    for value, weight in atoms:
        reached += weight
        if reached >= probability:
            return value
    return atoms[-1][0]


def is_settled(interval: tuple[float, float] | None, median: float | None, max_interval: float | None) -> bool:
    """Return whether both ends of the interval are within the fraction `max_interval` of the median.

    Where none is asked for (None), nothing is ever settled.
    """
    if interval is None or median is None or max_interval is None:
        return False
    low, high = interval
    return max(median - low, high - median) <= max_interval * median


def interval_width(interval: tuple[float, float], median: float) -> float:
    """Return how far the farther end is from the median, as a fraction of it; infinite if that is 0."""
    farther = max(median - interval[0], interval[1] - median)
    return farther / median if median > 0 else float("inf")


def trend_p(values: Sequence[float]) -> float:
    """Return the two-sided p-value of the test whether values rise or fall with their order.

    Mann 1945 (Econometrica 13, 245-259): if the order meant nothing, each order would be equally probable; counted are
    those with as few pairs in one direction, or fewer. Above `EXACT_COUNT` values by the normal distribution that this
    tends to (there, and for equal values Kendall 1975, Rank Correlation Methods, chapter 4). 1 for fewer than 3 values.
    """
    count = len(values)
    array = np.asarray(values)
    rising = sum(int(np.count_nonzero(array[i + 1 :] > array[i])) for i in range(count))
    falling = sum(int(np.count_nonzero(array[i + 1 :] < array[i])) for i in range(count))
    if count > EXACT_COUNT:
        return _normal_trend_p(values, abs(rising - falling))
    pairs = count * (count - 1) // 2
    fewest = (pairs - abs(rising - falling)) // 2  # equal pairs count half for either direction
    orders = _orders(count)
    return min(1.0, 2 * sum(orders[: fewest + 1]) / sum(orders))


@cache
def _orders(count: int) -> tuple[int, ...]:
    """Return how many orders of so many values have 0, 1, ... falling pairs; exact in whole numbers."""
    orders = [1]
    for length in range(2, count + 1):
        longer = [0] * (len(orders) + length - 1)
        for falls, ways in enumerate(orders):
            for more in range(length):
                longer[falls + more] += ways
        orders = longer
    return tuple(orders)


def _normal_trend_p(values: Sequence[float], surplus: int) -> float:
    """Return the p-value by the surplus of pairs in one direction, corrected for counting in steps of 2."""
    variance = sum(
        sign * size * (size - 1) * (2 * size + 5)
        for sign, size in ((1, len(values)), *((-1, equal) for equal in Counter(values).values()))
    )
    return erfc(max(0, surplus - 1) / sqrt(variance / 18) / sqrt(2)) if variance else 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """How far single inferences are from each other.

    Attributes:
        count: of inferences.
        min_s: the fastest one; it only ever falls with more of them, so it is no headline.
        max_s: the slowest one.
        mad_s: median of the distances from the median; not scaled to a standard deviation.
        cv: standard deviation over mean; None if that is 0.
        p10_s: percentiles, each None where the samples are too few for it (see `samples_needed`).
        p50_s: the median of all inferences, whichever block they are of.
        p90_s: 90 of 100 are this fast.
        p99_s: 99 of 100 are this fast.
    """

    count: int
    min_s: float
    max_s: float
    mad_s: float
    cv: float | None
    p10_s: float | None
    p50_s: float | None
    p90_s: float | None
    p99_s: float | None


def spread(latency_s: Sequence[float] | None) -> Spread | None:
    """Return the spread of single inferences; None where there are none."""
    if not latency_s:
        return None
    values = np.asarray(latency_s)
    return Spread(
        count=len(values),
        min_s=float(values.min()),
        max_s=float(values.max()),
        mad_s=float(np.median(np.abs(values - np.median(values)))),
        cv=float(values.std() / values.mean()) if values.mean() > 0 else None,
        p10_s=percentile(latency_s, 0.10),
        p50_s=percentile(latency_s, 0.50),
        p90_s=percentile(latency_s, 0.90),
        p99_s=percentile(latency_s, 0.99),
    )


def percentile(latency_s: Sequence[float], share: float) -> float | None:
    """Return the smallest value that this share of the values does not exceed; None from too few of them."""
    if len(latency_s) < samples_needed(share):
        return None
    return sorted(latency_s)[ceil(round(share * len(latency_s), 9)) - 1]


def samples_needed(share: float) -> int:
    """Return from how many samples a percentile is given: 11 for the median, 64 for p90, 662 for p99."""
    tail = min(share, 1 - share)
    count = 2
    while (1 - tail) ** count + count * tail * (1 - tail) ** (count - 1) > 1 - PERCENTILE_CONFIDENCE:
        count += 1
    return count
