"""The ratio of the medians of two files whose blocks were taken in turn, and what it proves.

`results.ratio` is for blocks of separate runs, of which none of A has a partner of B.
"""

from collections.abc import Sequence
from math import ceil

import numpy as np
from numpy.typing import NDArray

from mnet_deploy.measurement.statistics import CONFIDENCE

RESAMPLES = 9999
RATIO_SEED = 1979  # of the draws: the same blocks always give the same interval
MOST_DRAWN = 5_000_000  # numbers at once: 40 MB

# Simulated with equal medians and normal scatter: of rounds that are drawn as a whole, the interval leaves the true
# ratio out in 5 to 7 % of runs with 5 or 6 of them and less with more; with 4 in 12 %, with 3 in 23 %, with 2 in 50 %.
# Of separate runs with scatter of several kinds (`results.ratio`) in 2.5 to 4.5 % from 5 blocks a side on; with 4 in
# 7 %, with 3 in 10 %, with 2 in 33 %.
FEWEST_BLOCKS = 5

# Two files this close are the same to whoever waits for them; rounds to tell them apart would run into the thousands.
PRACTICALLY_EQUAL = 0.005
# That two files differ by no more than this is said where the whole interval says so: as much as the default protocol
# leaves open of a median.
EQUAL_WITHIN = 0.02
MOST_ROUNDS = 1000  # that are worth naming as still needed


def ratio_interval(a_medians: Sequence[float], b_medians: Sequence[float]) -> tuple[float, float] | None:
    """Return the 95 % interval of the median of A over the median of B; None from fewer than `FEWEST_BLOCKS` rounds.

    Block i of A and block i of B ran in the same round, one right after the other, and are drawn together: what slows
    a whole round down is in both and cancels.

    Raises:
        ValueError: not as many blocks of A as of B.
    """
    if len(a_medians) != len(b_medians):
        raise ValueError(f"each round has a block of A and of B. Received: {len(a_medians)} and {len(b_medians)}")
    if len(a_medians) < FEWEST_BLOCKS:
        return None
    a, b = resampled_medians(np.random.default_rng(RATIO_SEED), a_medians, b_medians)
    low, high = np.quantile(a / b, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def resampled_medians(generator: np.random.Generator, *columns: Sequence[float]) -> NDArray[np.float64]:
    """Return the medians of `RESAMPLES` resamples of each column, all of which are drawn the same rows of."""
    values = np.asarray(columns, np.float64)
    count = values.shape[1]
    medians = np.empty((len(columns), RESAMPLES))
    step = max(1, MOST_DRAWN // (count * len(columns)))
    for first in range(0, RESAMPLES, step):
        rows = generator.integers(count, size=(min(step, RESAMPLES - first), count))
        medians[:, first : first + step] = np.median(values[:, rows], axis=2)
    return medians


def ratio_of_medians(a_medians: Sequence[float], b_medians: Sequence[float]) -> float:
    """Return the median of A over the median of B."""
    return float(np.median(a_medians) / np.median(b_medians))


def is_equal(interval: tuple[float, float] | None) -> bool:
    """Return whether the whole interval of a ratio is within `EQUAL_WITHIN` of 1."""
    return interval is not None and interval[0] >= 1 - EQUAL_WITHIN and interval[1] <= 1 + EQUAL_WITHIN


def blocks_needed(a_medians: Sequence[float], b_medians: Sequence[float]) -> int | None:
    """Return how many more rounds it should take until the interval excludes 1, or is within `EQUAL_WITHIN` of it.

    The width of an interval falls with the square root of the number of rounds.

    Returns:
        0 if it does so already; None if it would take more than `MOST_ROUNDS` or there is no interval.
    """
    interval = ratio_interval(a_medians, b_medians)
    if interval is None:
        return None
    low, high = interval
    if low > 1 or high < 1 or is_equal(interval):
        return 0
    ratio, rounds = ratio_of_medians(a_medians, b_medians), len(a_medians)
    apart = abs(ratio - 1)
    reach = ratio - low if ratio > 1 else high - ratio  # on the side of 1
    shares = [apart / reach] if reach > 0 else []
    shares.append((EQUAL_WITHIN - apart) / max(ratio - low, high - ratio))  # to be within
    needed = min((ceil(rounds / share**2) - rounds for share in shares if share > 0.01), default=MOST_ROUNDS + 1)
    return max(1, needed) if needed <= MOST_ROUNDS else None
