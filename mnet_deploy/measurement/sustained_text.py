"""A latency over time, for a terminal."""

from typing import Any

from mnet_deploy.measurement.android_rules import THERMAL_STATUS
from mnet_deploy.measurement.sustained import Sustained, SustainedPoint
from mnet_deploy.text_table import render_table
from mnet_deploy.units import format_seconds

UNKNOWN = "-"


def sustained_text(result: Sustained) -> str:
    """Return the course as a table, and what it says in sentences."""
    rows = [
        [
            f"{point.until_s / 60:.1f}",
            format_seconds(point.median_s),
            f"{point.median_s / result.peak_s:.2f}",
            UNKNOWN if point.clock_hz is None else f"{point.clock_hz / 1e6:.0f}",
            UNKNOWN if point.temperature_c is None else f"{point.temperature_c:.1f}",
            _throttling(point),
        ]
        for point in result.points
    ]
    header = ("until min", "median", "to peak", "clock MHz", "temp. °C", "throttled")
    return "\n".join([render_table(header, rows, align=">>>>>>"), "", *_sentences(result)])


def _throttling(point: SustainedPoint) -> str:
    if point.throttle_bits is not None:
        return f"{point.throttle_bits:#x}"
    return UNKNOWN if point.thermal_status is None else THERMAL_STATUS[point.thermal_status]


def _sentences(result: Sustained) -> list[str]:
    minutes = result.duration_s / 60
    said = [
        f"Over {minutes:.1f} minutes: fastest block {format_seconds(result.peak_s)}, last fifth "
        f"{format_seconds(result.sustained_s)}: sustained over peak {result.slowdown:.2f}."
    ]
    if not result.throttling_known:
        return [*said, "Whether it throttled is not known: the device does not say."]
    if result.time_to_throttle_s is None:
        return [*said, "It did not throttle."]
    return [*said, f"It throttled after {result.time_to_throttle_s / 60:.1f} minutes."]


def sustained_json(result: Sustained) -> dict[str, Any]:
    """Return the figures."""
    return {
        "duration_s": result.duration_s,
        "peak_s": result.peak_s,
        "sustained_s": result.sustained_s,
        "slowdown": result.slowdown,
        "time_to_throttle_s": result.time_to_throttle_s,
        "throttling_known": result.throttling_known,
        "points": [
            {
                "until_s": point.until_s,
                "median_s": point.median_s,
                "clock_hz": point.clock_hz,
                "temperature_c": point.temperature_c,
                "throttle_bits": point.throttle_bits,
                "thermal_status": point.thermal_status,
            }
            for point in result.points
        ],
    }
