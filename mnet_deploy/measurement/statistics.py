"""What repeated timings say: intervals of a median and of a ratio, trend, and percentiles that can be stood by.

Latencies of one process resemble each other more than those of two (its memory was laid out once), so intervals are
always about blocks, one a process: drawing single inferences would promise far more than another run keeps.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, comb

import numpy as np

CONFIDENCE = 0.95

RESAMPLES = 9999
RATIO_SEED = 1979  # of the draws: the same blocks always give the same interval

# Two files this close are the same to whoever waits for them; rounds to tell them apart would run into the thousands.
PRACTICALLY_EQUAL = 0.005

# From how many samples a percentile is given: as many as it takes to say with 99 % confidence that a sample in that
# tail was seen at all and one may still be left out as an outlier. It is the least number of queries of "early
# stopping" in the MLPerf inference rules (mlcommons/inference_policies, inference_rules.adoc): 64 for p90, 662 for p99.
PERCENTILE_CONFIDENCE = 0.99


def median_interval(block_medians: Sequence[float]) -> tuple[float, float] | None:
    """Return the 95 % interval of the median of the blocks' medians; None from fewer than 2.

    The percentile bootstrap (Efron 1979, Annals of Statistics 7, 1-26), without drawing: the distribution of the median
    of a resample is known in closed form (section 3 there), so equal blocks give equal intervals. Of 5 blocks it is
    the smallest and the largest, which hold the true median in 15 of 16 runs.
    """
    count = len(block_medians)
    if count < 2:
        return None
    ordered = sorted(block_medians)
    atoms = sorted(
        ((ordered[low] + ordered[high]) / 2, weight) for (low, high), weight in _resampled_middle(count).items()
    )
    return _quantile(atoms, (1 - CONFIDENCE) / 2), _quantile(atoms, (1 + CONFIDENCE) / 2)


def _resampled_middle(count: int) -> dict[tuple[int, int], float]:
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


def is_settled(interval: tuple[float, float] | None, median: float | None, max_interval: float) -> bool:
    """Return whether both ends of the interval are within the fraction `max_interval` of the median."""
    if interval is None or median is None:
        return False
    low, high = interval
    return max(median - low, high - median) <= max_interval * median


def interval_width(interval: tuple[float, float], median: float) -> float:
    """Return how far the farther end is from the median, as a fraction of it."""
    return max(median - interval[0], interval[1] - median) / median


def ratio_interval(a_medians: Sequence[float], b_medians: Sequence[float]) -> tuple[float, float] | None:
    """Return the 95 % interval of the median of A over the median of B; None from fewer than 2 rounds.

    Block i of A and block i of B ran in the same round, one right after the other, and are drawn together: what slows
    a whole round down is in both and cancels.

    Raises:
        ValueError: not as many blocks of A as of B.
    """
    if len(a_medians) != len(b_medians):
        raise ValueError(f"each round has a block of A and of B. Received: {len(a_medians)} and {len(b_medians)}")
    count = len(a_medians)
    if count < 2:
        return None
    rounds = np.random.default_rng(RATIO_SEED).integers(count, size=(RESAMPLES, count))
    ratios = np.median(np.asarray(a_medians)[rounds], axis=1) / np.median(np.asarray(b_medians)[rounds], axis=1)
    low, high = np.quantile(ratios, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def ratio_of_medians(a_medians: Sequence[float], b_medians: Sequence[float]) -> float:
    """Return the median of A over the median of B."""
    return float(np.median(a_medians) / np.median(b_medians))


def blocks_needed(a_medians: Sequence[float], b_medians: Sequence[float]) -> int | None:
    """Return how many more rounds it should take until the interval of the ratio excludes 1.

    The width of an interval falls with the square root of the number of rounds.

    Returns:
        0 if it does so already; None if the ratio is practically 1 or there are fewer than 2 rounds.
    """
    interval = ratio_interval(a_medians, b_medians)
    if interval is None:
        return None
    low, high = interval
    if low > 1 or high < 1:
        return 0
    ratio = ratio_of_medians(a_medians, b_medians)
    if abs(ratio - 1) < PRACTICALLY_EQUAL:
        return None
    reach = ratio - low if ratio > 1 else high - ratio
    rounds = len(a_medians)
    return max(1, ceil(rounds * (reach / abs(ratio - 1)) ** 2) - rounds)


def trend_p(values: Sequence[float]) -> float:
    """Return the two-sided p-value of the exact test whether values rise or fall with their order.

    Mann 1945 (Econometrica 13, 245-259): if the order meant nothing, each order would be equally probable; counted are
    those with as few pairs in one direction, or fewer. 1 for fewer than 3 values.
    """
    count = len(values)
    pairs = [(values[i], values[j]) for i in range(count) for j in range(i + 1, count)]
    rising = sum(first < second for first, second in pairs)
    falling = sum(first > second for first, second in pairs)
    fewest = (len(pairs) - abs(rising - falling)) // 2  # equal pairs count half for either direction
    orders = [1]  # with 0, 1, ... falling pairs; exact in whole numbers
    for length in range(2, count + 1):
        longer = [0] * (len(orders) + length - 1)
        for falls, ways in enumerate(orders):
            for more in range(length):
                longer[falls + more] += ways
        orders = longer
    return min(1.0, 2 * sum(orders[: fewest + 1]) / sum(orders))


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """How far single inferences are from each other.

    Attributes:
        count: of inferences.
        min_s: the fastest one; it only ever falls with more of them, so it is no headline.
        max_s: the slowest one.
        mad_s: median of the distances from the median; not scaled to a standard deviation.
        cv: standard deviation over mean.
        p10_s: percentiles, each None where the samples are too few for it (see `samples_needed`).
        p50_s: the median of all inferences, whichever block they are of.
        p90_s: 90 of 100 are this fast.
        p99_s: 99 of 100 are this fast.
    """

    count: int
    min_s: float
    max_s: float
    mad_s: float
    cv: float
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
        cv=float(values.std() / values.mean()),
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
