"""Confidence intervals of shares, and tests whether two shares of the same items differ."""

from collections.abc import Sequence
from math import sqrt

Z_95 = 1.959964


def wilson_interval(hits: int, count: int) -> tuple[float, float]:
    """Return the 95 % interval of a share (Wilson 1927): unlike the normal one it stays within 0 and 1."""
    share, z2 = hits / count, Z_95**2
    centre = (share + z2 / (2 * count)) / (1 + z2 / count)
    half = Z_95 * sqrt(share * (1 - share) / count + z2 / (4 * count**2)) / (1 + z2 / count)
    return centre - half, centre + half


def paired_interval(gained: int, lost: int, count: int) -> tuple[float, float]:
    """Return the 95 % interval of the difference (gained - lost) / count of two shares of the same items.

    The normal interval after half an item was added to each of the four cells, which also holds where few or no items
    differ (Agresti and Min 2005, Statistics in Medicine 24, 729-740).

    Args:
        gained: items that only the second one has right.
        lost: items that only the first one has right.
        count: all items.
    """
    total = count + 2
    difference = (gained - lost) / total
    half = Z_95 * sqrt((gained + lost + 1) / total - difference**2) / sqrt(total)
    return max(-1.0, difference - half), min(1.0, difference + half)


def mcnemar_p(gained: int, lost: int) -> float:
    """Return the two-sided p-value of the exact test whether two shares of the same items differ.

    McNemar 1947 (Psychometrika 12, 153-157), with the binomial distribution itself: if neither were better, each item
    on which they differ would be gained or lost with probability 1/2.

    Args:
        gained: items that only the second one has right.
        lost: items that only the first one has right.
    """
    differing = gained + lost
    ways, term = 0, 1  # exact in whole numbers: no sum of tiny floats
    for count in range(min(gained, lost) + 1):
        ways += term
        term = term * (differing - count) // (count + 1)
    return min(1.0, 2 * ways / (1 << differing))


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Return p-values made larger by as much as it takes that any of them is below a limit by chance as seldom as one.

    Holm 1979 (Scandinavian Journal of Statistics 6, 65-70): the smallest is multiplied by their number, the next by one
    less, ..., and none comes out below a smaller one.
    """
    adjusted = [1.0] * len(p_values)
    largest = 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, p_values[place] * (len(p_values) - rank)))
        adjusted[place] = largest
    return tuple(adjusted)
