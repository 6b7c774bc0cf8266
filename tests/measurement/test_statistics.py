"""Intervals, trend and percentiles, against drawing, counting and published figures."""

from itertools import permutations, product
from statistics import median

import numpy as np
import pytest

from mnet_deploy.measurement.ratios import (
    FEWEST_BLOCKS,
    blocks_needed,
    is_equal,
    ratio_interval,
    ratio_of_medians,
)
from mnet_deploy.measurement.statistics import (
    EXACT_COUNT,
    _normal_trend_p,
    interval_width,
    is_settled,
    median_interval,
    percentile,
    samples_needed,
    spread,
    trend_p,
)

EXACT = 1e-12
DRAWN = 0.012  # how far quantiles of 50,000 draws may be from exact ones, as a share of the range of the values


@pytest.mark.parametrize("count", [2, 3, 4, 5, 6])
def test_the_interval_is_that_of_all_resamples(count):
    values = [1.0 + index**1.5 for index in range(count)]
    resampled = np.sort([median(drawn) for drawn in product(values, repeat=count)])
    expected = np.quantile(resampled, [0.025, 0.975], method="inverted_cdf")
    assert median_interval(values) == pytest.approx(tuple(expected), abs=EXACT)


@pytest.mark.parametrize("count", [7, 12, 50, 51, 400])
def test_the_interval_is_that_of_many_resamples(count):
    generator = np.random.default_rng(count)
    values = generator.normal(10.0, 1.0, count)
    drawn = np.median(values[generator.integers(count, size=(50_000, count))], axis=1)
    assert median_interval(values) == pytest.approx(
        tuple(np.quantile(drawn, [0.025, 0.975])), abs=DRAWN * np.ptp(values)
    )


def test_the_interval_needs_two_blocks_and_not_their_order():
    assert median_interval([]) is None
    assert median_interval([3.0]) is None
    assert median_interval([3.0, 1.0, 2.0]) == median_interval([1.0, 2.0, 3.0]) == (1.0, 3.0)
    assert median_interval([2.0] * 9) == (2.0, 2.0)


def test_five_blocks_give_their_range():
    assert median_interval([5.0, 1.0, 4.0, 2.0, 3.0]) == (1.0, 5.0)


@pytest.mark.parametrize(
    ("interval", "expected"),
    [((0.98, 1.02), True), ((0.979, 1.0), False), ((1.0, 1.021), False), ((1.0, 1.0), True), (None, False)],
)
def test_settled_is_what_is_near_the_median_on_both_sides(interval, expected):
    assert is_settled(interval, 1.0, 0.0200001) is expected


def test_nothing_is_settled_without_a_median_or_a_limit():
    assert not is_settled((1.0, 1.0), None, 0.02)
    assert not is_settled((1.0, 1.0), 1.0, None)


def test_an_interval_around_nothing_is_wide():
    assert interval_width((0.0, 1.0), 0.0) == float("inf")


@pytest.mark.parametrize("count", [EXACT_COUNT + 1, 1100, 10_000])
def test_many_blocks_have_an_interval_of_two_of_them_that_holds_the_median_in_95_percent(count):
    """How many of `count` blocks lie below the median is binomial, so close to normal here."""
    low, high = median_interval([float(rank) for rank in range(count)])
    assert (low, high) == (int(low), count - 1 - low)
    assert (count / 2 - low) / (0.5 * count**0.5) == pytest.approx(1.96, abs=0.35 if count < 100 else 0.1)


def drifting_rounds(ratio):
    """Both get slower together, by half; beside that, they scatter by a per mille."""
    generator = np.random.default_rng(3)
    drift = np.linspace(1.0, 1.5, 9)
    b = drift * (1 + 0.001 * generator.standard_normal(9))
    return list(ratio * drift * (1 + 0.001 * generator.standard_normal(9))), list(b)


def test_what_slows_down_a_whole_round_cancels_in_the_ratio():
    a, b = drifting_rounds(1.05)
    low, high = ratio_interval(a, b)
    assert low < ratio_of_medians(a, b) < high
    assert high - low < 0.01
    apart = median_interval(a)
    assert apart[1] / apart[0] > 1.2


def test_the_ratio_is_the_same_each_time_and_turns_around():
    a, b = drifting_rounds(1.05)
    assert ratio_interval(a, b) == ratio_interval(a, b)
    low, high = ratio_interval(b, a)
    assert ratio_interval(a, b) == pytest.approx((1 / high, 1 / low), rel=1e-3)


def test_the_ratio_needs_rounds_of_both():
    assert ratio_interval([1.0] * (FEWEST_BLOCKS - 1), [1.0] * (FEWEST_BLOCKS - 1)) is None
    assert ratio_interval([1.0] * FEWEST_BLOCKS, [1.0] * FEWEST_BLOCKS) == (1.0, 1.0)
    with pytest.raises(ValueError, match="3 and 2"):
        ratio_interval([1.0, 1.0, 1.0], [1.0, 1.0])


def test_no_more_rounds_are_needed_where_the_interval_excludes_one():
    a, b = drifting_rounds(1.05)
    assert blocks_needed(a, b) == blocks_needed(b, a) == 0


@pytest.mark.parametrize("count", [400, 1500])
def test_the_ratio_of_many_rounds_is_drawn_in_parts(count):
    blocks = list(np.random.default_rng(1).normal(1.0, 0.03, count))
    low, high = ratio_interval(blocks, [1.0] * count)
    assert (high - low) / 2 == pytest.approx(1.96 * 0.03 * 1.2533 / count**0.5, rel=0.25)  # of a normal median


@pytest.mark.parametrize(
    ("interval", "expected"),
    [((0.981, 1.019), True), ((0.979, 1.0), False), ((1.0, 1.021), False), ((0.67, 1.56), False), (None, False)],
)
def test_equal_is_what_the_whole_interval_is_close_to(interval, expected):
    assert is_equal(interval) is expected


def test_rounds_are_needed_until_equal_or_apart():
    assert blocks_needed([1.0, 1.01, 0.99, 1.001, 0.999], [1.0] * 5) == 0  # equal within 1 %
    assert blocks_needed([1.0, 1.04, 0.96, 1.001, 0.999], [1.0] * 5) == pytest.approx(15, abs=1)
    assert blocks_needed([1.0, 1.6, 0.6, 1.001, 0.999], [1.0] * 5) is None  # 4500
    assert blocks_needed([1.0], [2.0]) is None


def test_rounds_grow_with_the_square_of_the_interval():
    b = [1.0] * 5
    a = [1.04, 0.98, 1.09, 1.04, 0.96]  # the interval is the range: 0.96 to 1.09 around 1.04
    low, _ = ratio_interval(a, b)
    expected = 5 * ((1.04 - low) / 0.04) ** 2 - 5
    assert blocks_needed(a, b) == pytest.approx(expected, abs=1)
    assert blocks_needed(b, a) > 0


@pytest.mark.parametrize("count", [3, 4, 5, 6])
def test_the_trend_test_counts_orders(count):
    """Of all orders, as many are as monotone as the one in question as its p-value says."""

    def pairs_one_way(values):
        return abs(sum(np.sign(values[j] - values[i]) for i in range(count) for j in range(i + 1, count)))

    orders = list(permutations(range(count)))
    monotone = [pairs_one_way(order) for order in orders]
    for values in orders[:: max(1, len(orders) // 40)]:
        as_monotone = sum(one >= pairs_one_way(values) for one in monotone) / len(orders)
        assert trend_p(values) == pytest.approx(as_monotone, abs=EXACT)


@pytest.mark.parametrize("seed", range(8))
def test_the_trend_of_many_values_tends_to_the_counted_one(seed):
    generator = np.random.default_rng(seed)
    values = list(generator.normal(0.02 * (seed % 2) * np.arange(EXACT_COUNT), 1.0))
    counted = trend_p(values)
    assert _normal_trend_p(values, _surplus(values)) == pytest.approx(counted, abs=0.01)


def _surplus(values):
    return abs(sum(int(np.sign(values[j] - values[i])) for i in range(len(values)) for j in range(i + 1, len(values))))


def test_the_trend_of_very_many_values_is_there_at_once():
    values = list(np.random.default_rng(0).normal(size=3000))
    assert trend_p(values) > 0.02
    assert trend_p([value + index / 1000 for index, value in enumerate(values)]) < 1e-6


def test_equal_values_have_no_trend():
    assert trend_p([1.0] * 20) == 1.0
    assert trend_p([1.0] * 200) == 1.0
    assert trend_p([1.0, 2.0]) == 1.0
    assert trend_p([]) == 1.0


@pytest.mark.parametrize(("share", "expected"), [(0.5, 11), (0.9, 64), (0.1, 64), (0.99, 662)])
def test_percentiles_need_as_many_samples_as_early_stopping(share, expected):
    """64 and 662 are the least queries of MLPerf's single-stream and multi-stream scenarios."""
    assert samples_needed(share) == expected
    assert percentile([1.0] * (expected - 1), share) is None
    assert percentile([1.0] * expected, share) == 1.0


@pytest.mark.parametrize(("share", "expected"), [(0.1, 10.0), (0.5, 50.0), (0.9, 90.0)])
def test_a_percentile_is_one_of_the_values(share, expected):
    assert percentile([float(value) for value in range(100, 0, -1)], share) == expected


def test_spread_says_how_far_values_are_apart():
    found = spread([1.0, 2.0, 3.0, 4.0, 100.0] * 20)
    assert (found.count, found.min_s, found.max_s, found.mad_s) == (100, 1.0, 100.0, 1.0)
    assert found.cv == pytest.approx(np.std([1, 2, 3, 4, 100]) / 22.0)
    assert (found.p10_s, found.p50_s, found.p90_s, found.p99_s) == (1.0, 3.0, 100.0, None)


def test_spread_of_zeros_has_no_coefficient():
    assert spread([0.0] * 20).cv is None


def test_spread_of_nothing_is_unknown():
    assert spread(None) is None
    assert spread([]) is None
