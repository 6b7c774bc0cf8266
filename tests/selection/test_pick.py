"""The choice against a brute force that knows nothing of ranking, sorting keys or fronts."""

import itertools
import random
from dataclasses import replace

import pytest

from mnet_deploy.errors import SpecError
from mnet_deploy.selection import Budget, Latency, LatencyEnd, Limit, pick
from mnet_deploy.spec import Family, ModelSpec

BUDGETS = 200


def random_budget(chance):
    def maybe(value):
        return value if chance.random() < 0.75 else None

    return Budget(
        max_latency_s=maybe(chance.uniform(0.002, 0.12)),
        max_size_bytes=maybe(chance.uniform(2e5, 2e7)),
        max_memory_bytes=maybe(chance.uniform(2e5, 7e6)),
        min_top1=maybe(chance.uniform(0.35, 0.73)),
        latency_end=chance.choice(list(LatencyEnd)),
    )


def counted_s(candidate, budget):
    return candidate.latency.high_s if budget.latency_end == "high" else candidate.latency.latency_s


def fits(candidate, budget):
    if budget.max_latency_s is not None and counted_s(candidate, budget) > budget.max_latency_s:
        return False
    if budget.max_size_bytes is not None and candidate.size_bytes > budget.max_size_bytes:
        return False
    if budget.max_memory_bytes is not None and candidate.memory_bytes > budget.max_memory_bytes:
        return False
    return not (budget.min_top1 is not None and candidate.accuracy and candidate.accuracy.top1 < budget.min_top1)


def better(one, other, budget):
    """Return whether one comes before the other: top-1, then time, then size; None for equals."""
    if one.accuracy and one.accuracy.top1 != other.accuracy.top1:
        return one.accuracy.top1 > other.accuracy.top1
    if counted_s(one, budget) != counted_s(other, budget):
        return counted_s(one, budget) < counted_s(other, budget)
    return one.size_bytes < other.size_bytes if one.size_bytes != other.size_bytes else None


def excess(candidate, budget):
    """Return by which part each limit is missed, by name."""
    found = {}
    if budget.max_latency_s is not None and counted_s(candidate, budget) > budget.max_latency_s:
        found["latency"] = counted_s(candidate, budget) / budget.max_latency_s - 1
    if budget.max_size_bytes is not None and candidate.size_bytes > budget.max_size_bytes:
        found["size"] = candidate.size_bytes / budget.max_size_bytes - 1
    if budget.max_memory_bytes is not None and candidate.memory_bytes > budget.max_memory_bytes:
        found["memory"] = candidate.memory_bytes / budget.max_memory_bytes - 1
    if budget.min_top1 is not None and candidate.accuracy.top1 < budget.min_top1:
        found["top1"] = 1 - candidate.accuracy.top1 / budget.min_top1
    return found


@pytest.fixture(scope="session")
def budgets():
    chance = random.Random(2026)
    return [random_budget(chance) for _ in range(BUDGETS)]


def test_two_hundred_budgets_are_answered_as_by_brute_force(grid, budgets):
    answers = [pick(grid, budget) for budget in budgets]
    for budget, choice in zip(budgets, answers, strict=True):
        assert {one.identity for one in choice.ranked} == {c.identity for c in grid if c.accuracy and fits(c, budget)}
        assert {one.identity for one in choice.unrated} == {
            c.identity for c in grid if not c.accuracy and fits(c, budget)
        }
        for first, second in itertools.pairwise(choice.ranked):
            assert better(second, first, budget) in (False, None)
        for first, second in itertools.pairwise(choice.unrated):
            assert better(second, first, budget) in (False, None)
    assert 20 < sum(not choice.ranked for choice in answers) < BUDGETS - 20, "budgets of both kinds were drawn"


def test_what_is_nearest_is_as_by_brute_force(grid, budgets):
    empty = [(budget, found) for budget in budgets if not (found := pick(grid, budget)).ranked]
    rated = [candidate for candidate in grid if candidate.accuracy]
    for budget, choice in empty:
        excesses = [excess(candidate, budget) for candidate in rated]
        least = min(max(one.values()) for one in excesses)
        assert max(excess(choice.nearest[0].candidate, budget).values()) == pytest.approx(least)
        for limit in Limit:
            alone = [one[limit] for one in excesses if list(one) == [limit]]
            named = [n for n in choice.nearest if [miss.limit for miss in n.misses] == [limit]]
            if alone:
                assert min(n.misses[0].share for n in named) == pytest.approx(min(alone))
                assert all(n.alone for n in named)
            else:
                assert named == []


def test_the_front_is_that_of_the_definition_and_has_the_choice(grid, budgets):
    rated = [candidate for candidate in grid if candidate.accuracy]
    for budget in budgets[:20]:
        choice = pick(grid, budget)

        def costs(candidate, budget=budget):
            return counted_s(candidate, budget), candidate.size_bytes, -candidate.accuracy.top1

        expected = {
            one.identity
            for one in rated
            if not any(
                costs(other) != costs(one) and all(a <= b for a, b in zip(costs(other), costs(one), strict=True))
                for other in rated
            )
        }
        assert {one.identity for one in choice.front} == expected
        if choice.ranked and budget.max_memory_bytes is None:
            assert choice.ranked[0] in choice.front


def test_the_order_of_the_candidates_does_not_matter(grid, budgets):
    for budget in budgets[:20]:
        assert pick(grid, budget) == pick(grid[::-1], budget)


def test_an_unknown_accuracy_is_ranked_apart_and_never_taken_for_zero(grid):
    dense = [one for one in grid if one.spec.family.is_dense]
    choice = pick(dense, Budget(min_top1=0.01))
    assert choice.ranked == choice.front == choice.nearest == ()
    assert len(choice.unrated) == len(dense)
    assert choice.doubt is None


@pytest.mark.parametrize(
    ("limits", "count"),
    [
        ({"max_latency_s": 0.030}, 1),
        ({"max_latency_s": 0.0299}, 0),
        ({"max_latency_s": 0.0299, "latency_end": LatencyEnd.POINT}, 1),
        ({"max_size_bytes": 1_000_000}, 1),
        ({"max_size_bytes": 999_999}, 0),
        ({"min_top1": 0.591}, 1),
        ({"min_top1": 0.592}, 0),
        ({"max_memory_bytes": 1}, 0),
    ],
)
def test_a_limit_is_kept_when_it_is_met_exactly(grid, limits, count):
    template = next(
        one for one in grid if one.spec == ModelSpec(alpha=0.5, resolution_px=160) and one.precision == "fp32"
    )
    one = replace(
        template, latency=Latency(latency_s=0.025, low_s=0.02, high_s=0.030), size_bytes=1_000_000, memory_bytes=2
    )
    assert len(pick([one], Budget(**limits)).ranked) == count


@pytest.mark.parametrize(
    "limits",
    [
        {"max_latency_s": 0.0},
        {"max_size_bytes": -1},
        {"max_memory_bytes": float("nan")},
        {"min_top1": float("inf")},
        {"min_top1": 60.0},
    ],
)
def test_a_limit_that_says_nothing_is_refused(limits):
    with pytest.raises(SpecError, match=next(iter(limits))):
        Budget(**limits)


@pytest.mark.parametrize(("low_s", "latency_s", "high_s"), [(0, 1, 2), (1, 1, 0.5), (1, 1, float("inf")), (2, 1, 3)])
def test_a_latency_outside_its_interval_is_refused(low_s, latency_s, high_s):
    with pytest.raises(SpecError, match="interval"):
        Latency(latency_s=latency_s, low_s=low_s, high_s=high_s)


def test_all_families_are_in_the_grid(grid):
    assert {one.spec.family for one in grid} == set(Family)
    assert len({one.identity for one in grid}) == len(grid) == 320
