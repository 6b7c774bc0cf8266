"""Which cores are the fast ones."""

import pytest

from mnet_deploy.measurement.core_groups import affinity_mask, affinity_text, core_groups, fastest_cores
from mnet_deploy.measurement.device_info import Core, DeviceInfo

FOUR_AND_FOUR = (1.7e9,) * 4 + (2.37e9,) * 4
ONE_THREE_FOUR = (1.8e9,) * 4 + (2.42e9,) * 3 + (2.84e9,)


def device(*clocks_hz, machine="aarch64"):
    cores = tuple(Core(number=number, max_clock_hz=clock) for number, clock in enumerate(clocks_hz))
    return DeviceInfo(address="adb://X", machine=machine, cores=cores)


@pytest.mark.parametrize(
    ("clocks_hz", "at_least", "expected"),
    [
        (FOUR_AND_FOUR, 1, (4, 5, 6, 7)),
        (FOUR_AND_FOUR, 4, (4, 5, 6, 7)),
        (FOUR_AND_FOUR, 5, None),
        (FOUR_AND_FOUR[::-1], 1, (0, 1, 2, 3)),
        (ONE_THREE_FOUR, 1, (7,)),
        (ONE_THREE_FOUR, 2, (4, 5, 6, 7)),
        ((1.8e9,) * 4, 1, None),
        ((1.8e9, None, 2.4e9), 1, None),
        ((None,) * 4, 1, None),
        ((), 1, None),
    ],
)
def test_fast_cores_are_those_of_the_highest_clock(clocks_hz, at_least, expected):
    assert fastest_cores(device(*clocks_hz), at_least=at_least) == expected


def test_turbo_of_x86_makes_no_kinds_of_cores():
    laptop = device(4.7e9, 4.9e9, machine="x86_64")
    assert core_groups(laptop) == ()
    assert fastest_cores(laptop) is None


def test_kinds_of_cores_are_named_fastest_first():
    assert [str(group) for group in core_groups(device(*ONE_THREE_FOUR))] == [
        "1 of 2840 MHz",
        "3 of 2420 MHz",
        "4 of 1800 MHz",
    ]


@pytest.mark.parametrize(
    ("cores", "mask", "text"),
    [
        ((4, 5, 6, 7), "f0", "cores 4,5,6,7 (mask f0)"),
        ((7, 4, 4), "90", "cores 4,7 (mask 90)"),
        ((0,), "1", "core 0 (mask 1)"),
        ((64,), "10000000000000000", "core 64 (mask 10000000000000000)"),
    ],
)
def test_a_choice_of_cores_is_written_as_a_mask(cores, mask, text):
    assert (affinity_mask(cores), affinity_text(cores)) == (mask, text)
