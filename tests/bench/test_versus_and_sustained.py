"""Comparing two files of one run, and following a latency over time."""

from dataclasses import replace

import pytest

from mnet_deploy.errors import SpecError
from mnet_deploy.measurement.device_info import Conditions, DeviceInfo, EngineInfo
from mnet_deploy.measurement.measurement import Block, MeasuredFile, Measurement, Verdict
from mnet_deploy.measurement.run_config import Protocol, RunConfig
from mnet_deploy.measurement.statistics import median_interval
from mnet_deploy.measurement.sustained import ROWS, sustained
from mnet_deploy.measurement.sustained_text import sustained_text
from mnet_deploy.measurement.versus import compare, sentence

CLOCK_HZ = 1.8e9


def a_measurement(name, medians_s, states=()):
    states = states or [Conditions()] * len(medians_s)
    blocks = tuple(
        Block(number=number, started_s=20.0 * number, latency_s=(value,) * 12, median_s=value, wall_s=20.0, after=state)
        for number, (value, state) in enumerate(zip(medians_s, states, strict=True))
    )
    return Measurement(
        file=MeasuredFile(file=name, sha256="ab" * 32, size_bytes=1),
        device=DeviceInfo(address="local:"),
        engine=EngineInfo(name="ai-edge-litert"),
        config=RunConfig(engine="litert"),
        protocol=Protocol(),
        before=Conditions(throttle_bits=0) if states[0].throttle_bits is not None else Conditions(),
        after=states[-1],
        blocks=blocks,
        interval_s=median_interval(medians_s),
        stopped="time",
        measured_at="2026-01-01T00:00:00+00:00",
    )


def around(middle_s, share, count=8):
    return [middle_s * (1 + share * (-1) ** number * (number % 3) / 2) for number in range(count)]


def test_a_clear_difference_is_decided():
    comparison = compare(a_measurement("a.tflite", around(0.009, 0.01)), a_measurement("b.tflite", around(0.010, 0.01)))
    assert comparison.decided
    assert comparison.interval[0] <= comparison.ratio <= comparison.interval[1]
    assert comparison.ratio == pytest.approx(0.9, rel=0.01)
    assert "it is faster, by 10" in sentence(comparison)
    assert sentence(comparison).startswith("a.tflite (litert, 1 thread) takes 0.9")


def test_the_other_way_round_it_is_slower():
    comparison = compare(a_measurement("b.tflite", around(0.010, 0.01)), a_measurement("a.tflite", around(0.009, 0.01)))
    assert "it is slower, by 1" in sentence(comparison)


def test_an_undecided_difference_says_how_many_rounds_are_missing():
    slower = [0.0103, 0.0093, 0.0108, 0.0099, 0.0106]
    comparison = compare(a_measurement("a.tflite", slower), a_measurement("b.tflite", [0.010] * 5))
    assert not comparison.decided
    assert comparison.more_rounds > 0
    assert f"about {comparison.more_rounds} more rounds" in sentence(comparison)


def test_equal_files_differ_in_nothing_that_matters():
    same = a_measurement("a.tflite", around(0.010, 0.02))
    comparison = compare(same, replace(same, file=replace(same.file, file="copy.tflite")))
    assert (comparison.ratio, comparison.more_rounds, comparison.equal) == (1.0, 0, True)
    assert "no difference of more than 2%" in sentence(comparison)


def test_a_ratio_near_one_with_a_wide_interval_is_undecided():
    noisy = [0.010, 0.0156, 0.0067, 0.0101, 0.00999]
    comparison = compare(a_measurement("a.tflite", noisy), a_measurement("b.tflite", [0.010] * 5))
    assert (comparison.decided, comparison.equal, comparison.more_rounds) == (False, False, None)
    assert "undecided; the rounds differ too much" in sentence(comparison)


@pytest.mark.parametrize("count", [1, 2, 4])
def test_few_rounds_decide_nothing(count):
    comparison = compare(a_measurement("a.tflite", [0.009] * count), a_measurement("b.tflite", [0.010] * count))
    assert (comparison.interval, comparison.decided, comparison.equal) == (None, False, False)
    assert f"in {count} round" in sentence(comparison)
    assert "--min-blocks 5" in sentence(comparison)


def test_drift_that_both_share_cancels():
    drift = [1 + 0.1 * number for number in range(8)]
    a = a_measurement("a.tflite", [0.009 * factor for factor in drift])
    b = a_measurement("b.tflite", [0.010 * factor for factor in drift])
    low, high = compare(a, b).interval
    assert low == pytest.approx(0.9)
    assert high == pytest.approx(0.9)


def test_an_invalid_side_is_said():
    a = replace(a_measurement("a.tflite", around(0.009, 0.01)), verdict=Verdict.INVALID)
    said = sentence(compare(a, a_measurement("b.tflite", around(0.010, 0.01))))
    assert "INVALID: a.tflite" in said


def test_nothing_measured_cannot_be_compared():
    with pytest.raises(SpecError, match="no latency"):
        compare(a_measurement("a.tflite", [0.01] * 5), a_measurement("b.tflite", [0.01] * 4 + [0.0]))
    with pytest.raises(SpecError, match="no latency"):
        compare(a_measurement("a.tflite", [0.01]), replace(a_measurement("b.tflite", [0.01]), blocks=()))


def heating(count, from_block, *, bits=True):
    """Return the states of a device that throttles from a block on."""
    return [
        Conditions(
            temperature_c=50.0 + number,
            clocks_hz=(CLOCK_HZ if number < from_block else 0.6 * CLOCK_HZ,),
            throttle_bits=None if not bits else 0 if number < from_block else 0x40004,
        )
        for number in range(count)
    ]


@pytest.mark.parametrize("bits", [True, False])
def test_the_time_to_throttle_is_the_end_of_the_first_throttled_block(bits):
    count, first = 50, 30
    medians = [0.010 if number < first else 0.017 for number in range(count)]
    result = sustained(a_measurement("a.tflite", medians, heating(count, first, bits=bits)))
    assert result.time_to_throttle_s == 20.0 * (first + 1)
    assert (result.peak_s, result.sustained_s) == (0.010, 0.017)
    assert result.slowdown == pytest.approx(1.7)
    assert result.duration_s == 20.0 * count
    assert len(result.points) == ROWS
    assert result.points[-1].until_s == result.duration_s
    assert f"throttled after {20.0 * (first + 1) / 60:.1f} minutes" in sustained_text(result)


@pytest.mark.parametrize("clocked", [True, False])
def test_android_says_when_it_throttles(clocked):
    medians = [0.010] * 10
    states = [
        Conditions(clocks_hz=(CLOCK_HZ,) if clocked else (), thermal_status=0 if number < 6 else 1)
        for number in range(10)
    ]
    result = sustained(a_measurement("a.tflite", medians, states))
    assert result.time_to_throttle_s == 20.0 * 7
    assert [point.thermal_status for point in result.points] == [0] * 6 + [1] * 4
    assert sum(line.endswith("light") for line in sustained_text(result).splitlines()) == 4
    calm = [replace(state, thermal_status=0) for state in states]
    assert sustained(a_measurement("a.tflite", medians, calm)).time_to_throttle_s is None


def test_a_clock_that_falls_before_android_says_so_is_throttling():
    states = [replace(state, thermal_status=0) for state in heating(10, 5, bits=False)]
    result = sustained(a_measurement("a.tflite", [0.010] * 5 + [0.017] * 5, states))
    assert result.time_to_throttle_s == 20.0 * 6


def test_a_device_that_stays_cool_does_not_throttle():
    result = sustained(a_measurement("a.tflite", [0.010] * 10, heating(10, 99)))
    assert result.time_to_throttle_s is None
    assert "It did not throttle." in sustained_text(result)


def test_a_device_that_says_nothing_is_not_said_to_stay_cool():
    result = sustained(a_measurement("a.tflite", [0.010] * 10))
    assert not result.throttling_known
    assert "not known" in sustained_text(result)


def test_bits_remembered_from_before_are_not_this_runs():
    states = [Conditions(throttle_bits=0x50000)] * 10
    before = a_measurement("a.tflite", [0.010] * 10, states)
    assert sustained(replace(before, before=Conditions(throttle_bits=0x50000))).time_to_throttle_s is None


def with_clocks(medians_s, clocks_hz, machine="aarch64"):
    states = [Conditions(clocks_hz=(clock_hz,)) for clock_hz in clocks_hz]
    measured = a_measurement("a.tflite", medians_s, states)
    return sustained(replace(measured, device=replace(measured.device, machine=machine)))


def test_a_clock_that_is_down_again_when_it_is_read_is_no_throttling():
    result = with_clocks([0.010, 0.0102, 0.0101, 0.0099] * 5, [CLOCK_HZ, 0.4 * CLOCK_HZ, CLOCK_HZ, CLOCK_HZ] * 5)
    assert (result.throttling_known, result.time_to_throttle_s) == (True, None)


def test_the_turbo_of_x86_says_nothing_of_throttling():
    result = with_clocks([0.010] * 3 + [0.012] * 17, [4.7e9] * 3 + [3.4e9] * 17, machine="x86_64")
    assert (result.throttling_known, result.time_to_throttle_s) == (False, None)
    assert "not known" in sustained_text(result)


def test_the_end_of_a_block_counts_all_that_its_process_did():
    measured = a_measurement("a.tflite", [0.010] * 3)
    slow = [replace(block, import_s=2.0, init_s=1.0, warmup_s=(0.3, 0.2)) for block in measured.blocks]
    assert sustained(replace(measured, blocks=tuple(slow))).duration_s == 20.0 * 3 + 3.5


@pytest.mark.parametrize("medians_s", [[], [0.010, 0.0]])
def test_what_has_no_latency_has_no_course(medians_s):
    measured = replace(a_measurement("a.tflite", [0.01]), blocks=())
    blocks = a_measurement("a.tflite", medians_s).blocks if medians_s else ()
    with pytest.raises(SpecError, match="latency of each block"):
        sustained(replace(measured, blocks=blocks))
