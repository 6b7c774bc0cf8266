"""How often a model is right on labelled images, and how much less often than another one on the same images."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mnet_deploy.intervals import mcnemar_p, paired_interval

ClassArray = NDArray[np.intp]


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """Shares of images whose class is the best, or among the five best."""

    top1: float
    top5: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedDifference:
    """Top-1 of a second model less that of a first one, over the same images.

    Attributes:
        top1: the difference of the shares.
        low: lower end of its 95 % interval, which is a paired one.
        high: upper end.
        gained: images that only the second one has right.
        lost: images that only the first one has right.
        p_value: of the exact McNemar test, two-sided.
    """

    top1: float
    low: float
    high: float
    gained: int
    lost: int
    p_value: float


def best_five(scores: NDArray[np.float32]) -> ClassArray:
    """Return the (up to) five best classes of each row, the best first; of equal scores the lower class comes first."""
    return np.argsort(-scores.reshape(len(scores), -1), axis=1, kind="stable")[:, :5]


def accuracy(best: ClassArray, expected: ClassArray) -> Accuracy:
    """Return how often the expected class [images] is the first, or any, of the best five [images, 5]."""
    hits = best == expected[:, None]
    return Accuracy(top1=float(hits[:, 0].mean()), top5=float(hits.any(axis=1).mean()))


def paired_difference(first: ClassArray, second: ClassArray, expected: ClassArray) -> PairedDifference:
    """Return how top-1 changes from one model to another: best five of each [images, 5], expected classes [images]."""
    before, after = (best[:, 0] == expected for best in (first, second))
    gained, lost = int((after & ~before).sum()), int((before & ~after).sum())
    low, high = paired_interval(gained, lost, len(expected))
    return PairedDifference(
        top1=(gained - lost) / len(expected),
        low=low,
        high=high,
        gained=gained,
        lost=lost,
        p_value=mcnemar_p(gained, lost),
    )
