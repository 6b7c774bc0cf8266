"""Runs for a terminal."""

from collections.abc import Iterable

from mnet_deploy.measurement.device_info import Conditions
from mnet_deploy.measurement.measurement import Measurement
from mnet_deploy.measurement.ratios import EQUAL_WITHIN, is_equal
from mnet_deploy.measurement.text import run_text
from mnet_deploy.results.pairs import Compared, Comparisons, change_text, label_text
from mnet_deploy.results.run_file import Run
from mnet_deploy.text_table import render_table
from mnet_deploy.units import format_bytes, format_seconds

_UNKNOWN = "-"
_LIST_HEADER = ("id", "date (UTC)", "device", "file", "engine", "delegate", "threads", "median", "verdict")
_CONDITIONS_HEADER = ("state", "throttled", "temp. °C", "governor", "clock MHz", "load", "busy cores", "free memory")
_DIFF_HEADER = ("file", "engine", "delegate", "threads", "old", "new", "new/old", "95 % interval")


def list_text(runs: Iterable[Run]) -> str:
    """Return a line a measurement."""
    rows = [_list_row(run, measurement) for run in runs for measurement in run.measurements]
    return render_table(_LIST_HEADER, rows, align="<<<<<<>><")


def _list_row(run: Run, measurement: Measurement) -> tuple[str, ...]:
    device = measurement.device.model or measurement.device.address
    return (
        run.id,
        measurement.measured_at[:16].replace("T", " "),
        f"{device} (emulated)" if measurement.device.emulated else device,
        measurement.file.file,
        _engine(measurement),
        measurement.engine.delegate or _UNKNOWN,
        str(measurement.config.threads),
        _seconds(measurement.median_s),
        str(measurement.verdict),
    )


def _engine(measurement: Measurement) -> str:
    return " ".join(filter(None, (measurement.engine.name, measurement.engine.version)))


def _seconds(value: float | None) -> str:
    return _UNKNOWN if value is None else format_seconds(value)


def show_text(run: Run) -> str:
    """Return everything about a run but its single latencies."""
    states = dict.fromkeys(
        row for one in run.measurements for row in (_state("before", one.before), _state("after", one.after))
    )
    times = sorted(one.measured_at for one in run.measurements)
    said = f"{run.name}, measured at {times[0]}, saved by mnet-deploy {run.mnet_version}"
    return "\n".join(
        (said, "", run_text(run.measurements), "", render_table(_CONDITIONS_HEADER, states, align="<>><>>>>"))
    )


def _state(when: str, seen: Conditions) -> tuple[str, ...]:
    clocks = sorted({round(clock_hz / 1e6) for clock_hz in seen.clocks_hz})
    return (
        when,
        _known(seen.throttle_bits, "{:#x}"),
        _known(seen.temperature_c, "{:.1f}"),
        seen.governor or _UNKNOWN,
        " to ".join(map(str, dict.fromkeys((clocks[0], clocks[-1])))) if clocks else _UNKNOWN,
        _known(seen.load_1min, "{:.2f}"),
        _known(seen.busy_cores, "{:.2f}"),
        _UNKNOWN if seen.free_memory_bytes is None else format_bytes(seen.free_memory_bytes),
    )


def _known(value: float | None, how: str) -> str:
    return _UNKNOWN if value is None else how.format(value)


def diff_text(found: Comparisons) -> str:
    """Return the figures of what could be compared, and a sentence about each."""
    if not found.compared:
        return ""
    rows = [_diff_row(one) for one in found.compared]
    sentences = [f"{change_text(one)}: {_judgement(one)}" for one in found.compared]
    return "\n".join((render_table(_DIFF_HEADER, rows, align="<<<>>>>>"), "", *sentences))


def _diff_row(one: Compared) -> tuple[str, ...]:
    low, high = one.ratio.low, one.ratio.high
    interval = _UNKNOWN if low is None or high is None else f"{low:.3f} to {high:.3f}"
    times = (_seconds(one.old.median_s), _seconds(one.new.median_s))
    config = one.new.config
    engine = f"{config.engine} (emulated)" if one.new.device.emulated else config.engine
    delegate = one.new.engine.delegate or _UNKNOWN
    return (one.new.file.file, engine, delegate, str(config.threads), *times, f"{one.ratio.value:.3f}", interval)


def _judgement(one: Compared) -> str:
    low, high = one.ratio.low, one.ratio.high
    if low is not None and high is not None and is_equal((low, high)):
        said = f"no difference of more than {EQUAL_WITHIN:.0%}"  # what two sessions may differ by themselves
    elif low is None or high is None or low <= 1 <= high:
        said = "no difference is shown"
    else:
        said = f"{'slower' if low > 1 else 'faster'}, by {abs(one.ratio.value - 1):.1%}"
    changed = one.old.file.sha256 != one.new.file.sha256
    return f"{said}; the file is another one than before" if changed else said


def unpaired_sentences(found: Comparisons) -> tuple[str, ...]:
    """Return what only one of the two runs has."""
    return tuple(
        f"{label_text(measurement)}: only the {which} run has it"
        for which, measurements in (("older", found.only_old), ("newer", found.only_new))
        for measurement in measurements
    )
