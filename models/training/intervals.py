"""Confidence intervals of shares."""

from math import sqrt

Z_95 = 1.959964


def wilson_interval(hits: int, count: int) -> tuple[float, float]:
    """Return the 95 % interval of a share (Wilson 1927): unlike the normal one it stays within 0 and 1."""
    share, z2 = hits / count, Z_95**2
    centre = (share + z2 / (2 * count)) / (1 + z2 / count)
    half = Z_95 * sqrt(share * (1 - share) / count + z2 / (4 * count**2)) / (1 + z2 / count)
    return centre - half, centre + half
