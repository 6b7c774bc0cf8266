"""The ratio of two medians that were measured in separate runs, and what it proves.

`measurement.ratios.ratio_interval` is for blocks of one run, of which each of A has a partner of B.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np

from mnet_deploy.measurement.ratios import (
    FEWEST_BLOCKS,
    PRACTICALLY_EQUAL,
    RATIO_SEED,
    ratio_of_medians,
    resampled_medians,
)
from mnet_deploy.measurement.statistics import CONFIDENCE


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """How many times as long one takes as the other.

    Attributes:
        value: ratio of the medians.
        low: lower end of its 95 % interval; None from fewer than `FEWEST_BLOCKS` blocks on either side.
        high: upper end.
    """

    value: float
    low: float | None
    high: float | None


def independent_ratio(new_medians_s: Sequence[float], old_medians_s: Sequence[float]) -> Ratio:
    """Return the median of the new blocks over that of the old ones.

    The percentile bootstrap, each side drawn by itself (Efron 1979, Annals of Statistics 7, 1-26). It knows how blocks
    of a run differ, not how two sessions do: a device that is warmer today is slower in every block.
    """
    value = ratio_of_medians(new_medians_s, old_medians_s)
    if min(len(new_medians_s), len(old_medians_s)) < FEWEST_BLOCKS:
        return Ratio(value=value, low=None, high=None)
    generator = np.random.default_rng(RATIO_SEED)
    ratios = resampled_medians(generator, new_medians_s) / resampled_medians(generator, old_medians_s)
    low, high = np.quantile(ratios, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Ratio(value=value, low=float(low), high=float(high))


def more_blocks(new_medians_s: Sequence[float], old_medians_s: Sequence[float], limit: float) -> int | None:
    """Return how many more blocks of the new side it should take until the interval lies on one side of a limit.

    The variance of a median falls with the number of its blocks; the old side's stays.

    Returns:
        0 if it does so already; None if no number would do: the ratio is practically at the limit, or the old side
        alone is too uncertain.
    """
    ratio = independent_ratio(new_medians_s, old_medians_s)
    if ratio.low is None or ratio.high is None:
        return None
    if ratio.low > limit or ratio.high < limit:
        return 0
    distance = abs(ratio.value - limit)
    if distance < PRACTICALLY_EQUAL * limit:
        return None
    reach = ratio.value - ratio.low if ratio.value > limit else ratio.high - ratio.value
    new, old = _relative_variance(new_medians_s), _relative_variance(old_medians_s)
    count = len(new_medians_s)
    allowed = (distance / reach) ** 2 * (new / count + old / len(old_medians_s)) - old / len(old_medians_s)
    return max(1, ceil(new / allowed) - count) if allowed > 0 else None


def _relative_variance(medians_s: Sequence[float]) -> float:
    return float(np.var(np.log(medians_s), ddof=1))
