from math import erfc, sqrt

import pytest

from mnet_deploy.intervals import Z_95, holm, mcnemar_p, paired_interval, wilson_interval


def test_the_wilson_interval_is_the_published_one():
    # Newcombe 1998, Statistics in Medicine 17, 857-872, table I: 81 of 263.
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)


def test_the_paired_interval_is_near_the_plain_one_for_many_items():
    # Agresti 2007, Introduction to Categorical Data Analysis, section 8.1: 132 and 107 of 1144 differ.
    difference = (132 - 107) / 1144
    half = Z_95 * sqrt((132 + 107) / 1144 - difference**2) / sqrt(1144)
    low, high = paired_interval(132, 107, 1144)
    assert (low, high) == pytest.approx((difference - half, difference + half), abs=2e-4)
    assert (low, high) == pytest.approx((-0.004, 0.048), abs=1e-3)


def test_the_paired_interval_of_items_that_never_differ_has_a_width():
    assert paired_interval(0, 0, 98) == pytest.approx((-Z_95 / 100, Z_95 / 100))


@pytest.mark.parametrize(("gained", "lost", "count"), [(1, 0, 1), (0, 1, 1), (3, 0, 3), (5, 1, 10), (20, 0, 300)])
def test_the_paired_interval_holds_the_difference_and_turns_with_it(gained, lost, count):
    low, high = paired_interval(gained, lost, count)
    assert -1 <= low <= (gained - lost) / count <= high <= 1
    assert paired_interval(lost, gained, count) == pytest.approx((-high, -low))


def test_the_exact_test_is_the_published_one():
    # Fagerland, Lydersen and Laake 2013, BMC Medical Research Methodology 13:91, table 1: 1 and 7 of 21 differ.
    assert mcnemar_p(1, 7) == 2 * (1 + 8) / 2**8 == pytest.approx(0.0703, abs=5e-5)


@pytest.mark.parametrize(("gained", "lost", "p_value"), [(0, 0, 1), (1, 0, 1), (5, 5, 1), (0, 11, 2 / 2**11)])
def test_the_exact_test_has_two_sides(gained, lost, p_value):
    assert mcnemar_p(gained, lost) == mcnemar_p(lost, gained) == p_value


def test_the_exact_test_of_many_items_is_near_the_normal_one():
    # Agresti 2007, section 8.1: 132 and 107 differ, z = 25 / sqrt(239); with the continuity correction of the exact one
    assert mcnemar_p(132, 107) == pytest.approx(erfc(24 / sqrt(2 * 239)), abs=2e-3)
    assert mcnemar_p(30_000, 20_000) == 0  # too small for a float, and no overflow on the way


def test_holm_multiplies_the_smallest_most_and_keeps_the_order():
    assert holm([0.04, 0.01, 0.03]) == pytest.approx((0.06, 0.03, 0.06))
    assert holm([0.5, 0.9]) == (1.0, 1.0)
    assert holm([]) == ()
