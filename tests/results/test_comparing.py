from dataclasses import replace

import numpy as np
import pytest

from mnet_deploy.errors import ResultFormatError
from mnet_deploy.measurement.measurement import Reason, Verdict
from mnet_deploy.measurement.ratios import FEWEST_BLOCKS
from mnet_deploy.results.baseline import BaselineStatus, compare_to_baseline
from mnet_deploy.results.pairs import compare_runs
from mnet_deploy.results.ratio import independent_ratio, more_blocks
from mnet_deploy.results.store import load_run

STEADY = (0.0100, 0.0101, 0.0099, 0.0100, 0.0102, 0.0100, 0.0098)
RATIO_TOLERANCE = 1e-9


def times(factor, medians_s=STEADY):
    return tuple(factor * median_s for median_s in medians_s)


def spread(median_s, scatter, count, seed=0):
    return tuple(median_s * np.exp(scatter * np.random.default_rng(seed).standard_normal(count)))


def test_the_ratio_of_equal_blocks_is_about_one():
    ratio = independent_ratio(STEADY, STEADY)
    assert ratio.value == 1
    assert 0.97 < ratio.low < 1 < ratio.high < 1.03


def test_the_interval_scales_with_the_ratio():
    ratio, equal = independent_ratio(times(1.5), STEADY), independent_ratio(STEADY, STEADY)
    for name in ("value", "low", "high"):
        assert getattr(ratio, name) == pytest.approx(1.5 * getattr(equal, name), rel=RATIO_TOLERANCE)


def test_blocks_are_drawn_independently():
    # As rounds of one run, the scatter would cancel: separate runs have no rounds in common.
    noisy = spread(0.01, 0.1, 9)
    assert independent_ratio(noisy, noisy).high > 1.02


def test_the_interval_holds_the_truth_as_often_as_it_says():
    held = 0
    for seed in range(200):
        draws = np.random.default_rng(seed)
        ratio = independent_ratio(draws.normal(1, 0.02, FEWEST_BLOCKS), draws.normal(1, 0.02, FEWEST_BLOCKS))
        held += ratio.low <= 1 <= ratio.high
    assert held / 200 > 0.92  # 95 % less 2 standard deviations of 200 trials


@pytest.mark.parametrize(("new", "old"), [(4, 9), (9, 4), (1, 1)])
def test_from_too_few_blocks_there_is_no_interval(new, old):
    ratio = independent_ratio(spread(0.02, 0.01, new), spread(0.01, 0.01, old))
    assert (ratio.low, ratio.high) == (None, None)
    assert ratio.value == pytest.approx(2, rel=0.1)


def test_how_many_more_blocks_it_takes():
    old = spread(0.01, 0.001, 20)
    assert more_blocks(times(1.2), old, 1.05) == 0
    few = more_blocks(spread(0.0102, 0.05, 7, seed=2), old, 1.05)
    many = more_blocks(spread(0.0102, 0.10, 7, seed=2), old, 1.05)
    assert 0 < few < many
    assert more_blocks(times(1.05), STEADY, 1.05) is None  # at the limit itself
    assert more_blocks(times(1.03, old), spread(0.01, 0.4, 7), 1.05) is None  # the old side is too uncertain


def test_runs_are_paired_by_file_and_configuration(measurement):
    old = [measurement(), measurement(threads=4), measurement(file="old.tflite")]
    new = [measurement(threads=4), measurement(file="new.tflite"), measurement(sha256="b" * 64)]
    found = compare_runs(old, new)
    assert [(one.old, one.new) for one in found.compared] == [(old[1], new[0]), (old[0], new[2])]
    assert found.only_old == (old[2],)
    assert found.only_new == (new[1],)
    assert found.refused == ()


def test_files_of_one_name_are_told_apart_by_their_content(measurement):
    old = [measurement(sha256="a" * 64), measurement(sha256="b" * 64)]
    found = compare_runs(old, list(reversed(old)))
    assert [one.old.file.sha256 == one.new.file.sha256 for one in found.compared] == [True, True]


def test_single_measurements_are_paired_whatever_they_are(measurement):
    found = compare_runs([measurement()], [measurement(threads=4)])
    assert found.compared == ()
    assert "threads" in found.refused[0]


def other_device(device, how):
    return {
        "another": replace(device, address="ssh://pi@pi5", model="Raspberry Pi 5 Model B Rev 1.0", soc="BCM2712"),
        "emulated": replace(device, emulated="qemu-user"),
    }[how]


@pytest.mark.parametrize("name", ["another", "emulated"])
def test_other_devices_are_refused_by_name(measurement, name):
    other = measurement(device=other_device(measurement().device, name))
    found = compare_runs([measurement(threads=2), measurement()], [other])
    assert found.compared == ()
    assert {"another": "Raspberry Pi 5", "emulated": "emulated"}[name] in found.refused[0]


@pytest.mark.parametrize("which", [0, 1])
def test_what_is_invalid_is_compared_with_nothing(measurement, which):
    reason = Reason(rule="throttled", verdict=Verdict.INVALID, text="The clock was throttled; cool it.")
    bad = replace(measurement(), verdict=Verdict.INVALID, reasons=(reason,))
    pair = [measurement(), measurement()]
    pair[which] = bad
    found = compare_runs(pair[:1], pair[1:])
    assert found.compared == ()
    assert "INVALID" in found.refused[0]


def test_a_measurement_without_a_latency_is_compared_with_nothing(measurement):
    for pair in ((measurement(()), measurement()), (measurement(), measurement(()))):
        assert "has no latency" in compare_runs(pair[:1], pair[1:]).refused[0]


@pytest.mark.parametrize(
    ("factor", "status", "said"),
    [
        (1.10, BaselineStatus.SLOWER, "slower by more than the 5 % that are allowed"),
        (1.05, BaselineStatus.NOT_SLOWER, "no proof"),
        (1.00, BaselineStatus.NOT_SLOWER, "no difference of more than 2%"),
        (1.03, BaselineStatus.NOT_SLOWER, "no proof"),
        (0.80, BaselineStatus.NOT_SLOWER, "faster"),
    ],
)
def test_only_a_proven_slowdown_counts(measurement, saved, factor, status, said):
    baseline = saved(measurement(STEADY)).path
    result = compare_to_baseline([measurement(times(factor))], baseline, 0.05)
    assert result.status is status
    assert said in result.sentences[0]
    assert result.to_json()["compared"][0]["ratio"] == pytest.approx(factor, rel=RATIO_TOLERANCE)


def test_a_file_of_another_name_is_named(measurement, saved):
    baseline = saved(measurement(STEADY, file="old_int8.tflite")).path
    result = compare_to_baseline([measurement(STEADY)], baseline, 0.05)
    expected = "m_int8.tflite (litert, 1 thread): 10 ms after 10 ms (old_int8.tflite), 1.000"
    assert result.sentences[0].startswith(expected)


def test_a_slow_median_alone_proves_nothing(measurement, saved):
    baseline = saved(measurement(STEADY)).path
    result = compare_to_baseline([measurement(spread(0.0115, 0.2, 7, seed=3))], baseline, 0.05)
    assert result.compared[0].ratio.value > 1.05
    assert result.status is BaselineStatus.NOT_SLOWER
    assert "more blocks" in result.sentences[0]


def test_what_the_baseline_lacks_is_not_comparable(measurement, saved):
    baseline = saved(measurement(STEADY), measurement(threads=4)).path
    run = [measurement(STEADY), measurement(STEADY, threads=2)]
    result = compare_to_baseline(run, baseline, 0.05)
    assert result.status is BaselineStatus.NOT_COMPARABLE
    assert [f"2 threads): {baseline.name} does not have it" in sentence for sentence in result.sentences] == [
        False,
        True,
    ]
    slower = [measurement(times(1.2)), run[1]]
    assert compare_to_baseline(slower, baseline, 0.05).status is BaselineStatus.SLOWER
    assert compare_to_baseline(run[:1], baseline, 0.05).status is BaselineStatus.NOT_SLOWER


@pytest.mark.parametrize("count", [1, FEWEST_BLOCKS - 1])
def test_too_few_blocks_are_no_baseline(measurement, saved, count):
    baseline = saved(measurement(STEADY[:count])).path
    result = compare_to_baseline([measurement(times(2))], baseline, 0.05)
    assert result.status is BaselineStatus.NOT_COMPARABLE
    assert f"Measure with {FEWEST_BLOCKS} blocks or more" in result.sentences[0]


def test_a_run_of_nothing_proves_nothing(measurement, saved):
    assert compare_to_baseline([], saved(measurement(STEADY)).path, 0.05).status == 3


def test_an_invalid_run_is_not_comparable(measurement, saved):
    baseline = saved(measurement(STEADY)).path
    bad = replace(measurement(STEADY), verdict=Verdict.INVALID, reasons=())
    assert compare_to_baseline([bad], baseline, 0.05).status == 3


def test_a_baseline_needs_no_raw_samples(measurement, saved):
    files = saved(measurement(STEADY))
    files.raw_path.unlink()
    assert compare_to_baseline([measurement(STEADY)], files.path, 0.05).status == 0


def test_a_baseline_that_is_no_run_is_an_error(measurement, tmp_path):
    (tmp_path / "x.json").write_text("{}", encoding="utf-8")
    for name in ("x.json", "none.json"):
        with pytest.raises(ResultFormatError, match="expected a run"):
            compare_to_baseline([measurement()], tmp_path / name, 0.05)


def test_a_stored_run_equals_itself(measurement, saved):
    path = saved(measurement(STEADY), measurement(STEADY, threads=4)).path
    result = compare_to_baseline(load_run(path).measurements, path, 0.0)
    assert result.status is BaselineStatus.NOT_SLOWER
