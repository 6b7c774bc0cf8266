"""The one measurement: against the definition, candidate by candidate, and in cases whose answer is plain."""

import math
import random
from dataclasses import replace

import pytest

from mnet_deploy.selection import AccuracyFigure, Budget, Candidate, Latency, LatencyEnd, pick
from mnet_deploy.spec import ModelSpec

TOLERANCE = 1e-9


def candidate(top1, low_ms, high_ms, *, measured=False, size_bytes=10, px=128):
    accuracy = AccuracyFigure(top1=top1, top5=None, release="slim", published_as="fp32", source="a table")
    low_s, high_s = low_ms / 1e3, high_ms / 1e3
    return Candidate(
        spec=ModelSpec(resolution_px=px),
        precision="int8",
        engine="litert",
        threads=1,
        latency=Latency(latency_s=(low_s + high_s) / 2, low_s=low_s, high_s=high_s, measured=measured),
        size_bytes=size_bytes,
        accuracy=accuracy,
    )


def expected_changes(candidates, budget):
    """Return by how much each measurement can be expected to change the best top-1 that fits: both outcomes tried."""
    best = max((c.accuracy.top1 for c in pick(candidates, budget).ranked), default=0.0)
    limit_s = budget.max_latency_s
    changes = {}
    for one in candidates:
        if one.latency.measured:
            continue
        keeps = chance_of(one, limit_s)
        changes[one.identity] = 0.0
        for latency_s, weight in ((limit_s * 0.999, keeps), (limit_s * 1.001, 1 - keeps)):
            known = replace(one, latency=Latency(latency_s=latency_s, low_s=latency_s, high_s=latency_s, measured=True))
            outcome = pick([known if other is one else other for other in candidates], budget)
            top1 = max((c.accuracy.top1 for c in outcome.ranked), default=0.0)
            changes[one.identity] += weight * abs(top1 - best)
    return changes


def chance_of(candidate, limit_s):
    """Return the chance by the error function; 90 % of a normal distribution lie within 1.6448536 deviations."""
    deviation = math.log(candidate.latency.high_s / candidate.latency.low_s) / 2 / 1.6448536269514722
    return (1 + math.erf(math.log(limit_s / candidate.latency.latency_s) / deviation / math.sqrt(2))) / 2


@pytest.mark.parametrize("end", LatencyEnd)
@pytest.mark.parametrize("seed", range(40))
def test_no_other_measurement_can_be_expected_to_change_the_choice_more(grid, seed, end):
    chance = random.Random(seed)
    rated = [one for one in grid if one.accuracy]
    some = chance.sample(rated, 40)
    budget = Budget(max_latency_s=chance.uniform(0.005, 0.06), max_size_bytes=chance.uniform(1e6, 2e7), latency_end=end)
    changes = expected_changes(some, budget)
    doubt = pick(some, budget).doubt
    if doubt is None:
        assert max(changes.values(), default=0.0) == pytest.approx(0.0, abs=TOLERANCE)
    else:
        assert doubt.expected_change == pytest.approx(max(changes.values()), abs=TOLERANCE)
        assert changes[doubt.candidate.identity] == pytest.approx(doubt.expected_change, abs=TOLERANCE)


def test_a_more_accurate_model_on_the_edge_is_worth_measuring():
    safe, edge = candidate(0.60, 10, 12), candidate(0.65, 26, 31, px=160)
    doubt = pick([safe, edge], Budget(max_latency_s=0.030)).doubt
    assert doubt.candidate == edge
    assert doubt.instead_of == safe
    assert doubt.chance == pytest.approx(chance_of(edge, 0.030))
    assert 0.7 < doubt.chance < 0.9
    assert doubt.expected_change == pytest.approx(doubt.chance * 0.05)


def test_by_the_point_the_choice_itself_may_be_what_is_in_doubt():
    safe, edge = candidate(0.60, 10, 12), candidate(0.65, 26, 31, px=160)
    doubt = pick([safe, edge], Budget(max_latency_s=0.030, latency_end=LatencyEnd.POINT)).doubt
    assert doubt.is_choice
    assert doubt.candidate == edge
    assert doubt.instead_of == safe
    assert doubt.expected_change == pytest.approx((1 - doubt.chance) * 0.05)


def test_where_nothing_fits_the_whole_of_its_accuracy_is_gained():
    edge = candidate(0.65, 26, 31)
    doubt = pick([edge], Budget(max_latency_s=0.030)).doubt
    assert (doubt.candidate, doubt.instead_of) == (edge, None)
    assert doubt.expected_change == pytest.approx(doubt.chance * 0.65)


def test_at_the_upper_end_of_the_interval_one_of_twenty_is_above():
    doubt = pick([candidate(0.65, 20, 30)], Budget(max_latency_s=0.030)).doubt
    assert doubt.is_choice
    assert 0.9 < doubt.chance < 0.96


@pytest.mark.parametrize(
    ("edge", "budget"),
    [
        (candidate(0.65, 26, 31), Budget()),
        (candidate(0.65, 26, 31, measured=True), Budget(max_latency_s=0.030)),
        (candidate(0.65, 26, 31, size_bytes=99), Budget(max_latency_s=0.030, max_size_bytes=50)),
        (candidate(0.55, 26, 31), Budget(max_latency_s=0.030)),
        (candidate(0.65, 31, 31), Budget(max_latency_s=0.030)),
    ],
    ids=["no limit", "measured", "too large anyway", "less accurate than the choice", "no doubt that it is too slow"],
)
def test_what_cannot_change_the_choice_is_not_worth_a_measurement(edge, budget):
    assert pick([candidate(0.60, 12, 12, px=160), edge], budget).doubt is None
