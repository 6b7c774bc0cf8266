"""The front against its definition, pair by pair."""

import random

import pytest

from mnet_deploy.selection.front import pareto_front


def dominates(one, other):
    return all(a <= b for a, b in zip(one, other, strict=True)) and one != other


def by_definition(points):
    return sorted(point for point in points if not any(dominates(other, point) for other in points))


@pytest.mark.parametrize("levels", [3, 8, 10_000], ids=["many ties", "some ties", "no ties"])
@pytest.mark.parametrize("seed", range(20))
def test_the_front_is_what_no_other_point_dominates(seed, levels):
    chance = random.Random(seed)
    points = [tuple(chance.randrange(levels) for _ in range(3)) for _ in range(150)]
    front = pareto_front(points, lambda point: point)
    assert list(front) == by_definition(points)


def test_equals_stay_together():
    items = [("a", (1, 1, 1)), ("b", (1, 1, 1)), ("c", (1, 1, 2)), ("d", (0, 5, 5))]
    assert {name for name, _ in pareto_front(items, lambda item: item[1])} == {"a", "b", "d"}


def test_nothing_has_no_front():
    assert pareto_front([], lambda point: point) == ()
