"""Which candidates nothing beats: no other is at least as good in everything and better in something."""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

T = TypeVar("T")
Costs = tuple[float, float, float]


def pareto_front(items: Sequence[T], costs: Callable[[T], Costs]) -> tuple[T, ...]:
    """Return the items that no other one dominates, by the first of their costs; equals stay together.

    Args:
        items: any number of them.
        costs: three figures of which less is better.

    One dominates another if none of its costs is higher and one is lower.
    """
    kept = set(_undominated({costs(item) for item in items}))
    return tuple(sorted((item for item in items if costs(item) in kept), key=costs))


def _undominated(points: Iterable[Costs]) -> list[Costs]:
    """Return the points that no other one dominates.

    In ascending order a point can only be dominated by an earlier one, which then is at most as high in the second and
    third cost. Of the earlier ones it suffices to keep the stairs: the lowest third cost for each second one.
    """
    found: list[Costs] = []
    seconds: list[float] = []  # ascending
    thirds: list[float] = []  # descending, of the same points
    for point in sorted(points):
        _, second, third = point
        place = bisect_right(seconds, second)
        if place and thirds[place - 1] <= third:
            continue
        found.append(point)
        end = place
        while end < len(thirds) and thirds[end] >= third:
            end += 1
        start = place - 1 if place and seconds[place - 1] == second else place
        seconds[start:end], thirds[start:end] = [second], [third]
    return found
