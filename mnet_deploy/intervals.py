"""Confidence intervals of shares."""

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
