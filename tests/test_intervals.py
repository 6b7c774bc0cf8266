from math import sqrt

import pytest

from mnet_deploy.intervals import Z_95, paired_interval, wilson_interval


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
