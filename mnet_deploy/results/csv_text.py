"""Runs as a table for spreadsheets: a row a measurement, SI units in the names of the columns."""

import csv
from collections.abc import Callable, Iterable
from io import StringIO
from statistics import median
from typing import Any

from mnet_deploy.measurement.measurement import Measurement
from mnet_deploy.measurement.statistics import Spread
from mnet_deploy.results.run_file import Run

_COLUMNS: dict[str, Callable[[Measurement], Any]] = {
    "measured_at_utc": lambda m: m.measured_at,
    "device": lambda m: m.device.model,
    "address": lambda m: m.device.address,
    "emulated": lambda m: m.device.emulated,
    "soc": lambda m: m.device.soc,
    "os": lambda m: m.device.os,
    "kernel": lambda m: m.device.kernel,
    "android_sdk": lambda m: m.device.android.sdk if m.device.android else None,
    "android_fingerprint": lambda m: m.device.android.fingerprint if m.device.android else None,
    "file": lambda m: m.file.file,
    "sha256": lambda m: m.file.sha256,
    "size_bytes": lambda m: m.file.size_bytes,
    "model": lambda m: m.file.model,
    "precision": lambda m: m.file.precision,
    "engine": lambda m: m.engine.name,
    "engine_version": lambda m: m.engine.version,
    "delegate": lambda m: m.engine.delegate,
    "runner": lambda m: m.engine.runner,
    "runner_sha256": lambda m: m.engine.runner_sha256,
    "c_library": lambda m: m.engine.c_library,
    "threads": lambda m: m.config.threads,
    "cpu_affinity": lambda m: _list(m.config.cpu_affinity),
    "session_options": lambda m: _list(m.config.session_options),
    "median_s": lambda m: m.median_s,
    "interval_low_s": lambda m: m.interval_s[0] if m.interval_s else None,
    "interval_high_s": lambda m: m.interval_s[1] if m.interval_s else None,
    "blocks": lambda m: len(m.blocks),
    "import_s": lambda m: _middle(block.import_s for block in m.blocks),
    "init_s": lambda m: _middle(block.init_s for block in m.blocks),
    "peak_rss_bytes": lambda m: max((b.peak_rss_bytes for b in m.blocks if b.peak_rss_bytes is not None), default=None),
    "governor": lambda m: m.before.governor,
    "temperature_before_c": lambda m: m.before.temperature_c,
    "temperature_after_c": lambda m: m.after.temperature_c,
    "thermal_status_before": lambda m: m.before.thermal_status,
    "thermal_status_after": lambda m: m.after.thermal_status,
    "battery_level_before": lambda m: m.before.battery_level,
    "battery_temperature_before_c": lambda m: m.before.battery_temperature_c,
    "powered": lambda m: m.before.powered,
    "screen_on": lambda m: m.before.screen_on,
    "power_saving": lambda m: m.before.power_saving,
    "verdict": lambda m: str(m.verdict),
    "reasons": lambda m: " ".join(reason.text for reason in m.reasons),
    "notes": lambda m: " ".join(m.file.notes),
}
# Of single inferences: name of the column, and of the field of `Spread`.
_SPREAD_COLUMNS = {"samples": "count", "min_s": "min_s", "p90_s": "p90_s", "p99_s": "p99_s", "max_s": "max_s"}


def csv_text(runs: Iterable[Run]) -> str:
    """Return the table; what is not known is an empty cell."""
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("run", *_COLUMNS, *_SPREAD_COLUMNS))
    for run in runs:
        for measurement, spread in zip(run.measurements, run.spreads, strict=True):
            known = (column(measurement) for column in _COLUMNS.values())
            writer.writerow((run.name, *known, *(_of_spread(spread, name) for name in _SPREAD_COLUMNS.values())))
    return text.getvalue()


def _of_spread(spread: Spread | None, name: str) -> float | None:
    return None if spread is None else getattr(spread, name)


def _middle(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None


def _list(values: Iterable[object] | None) -> str | None:
    return None if values is None else " ".join(map(str, values)) or None
