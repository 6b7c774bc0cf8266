"""Stored measurements in place of predictions, where there are valid ones of the same model run in the same way."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mnet_deploy.errors import SpecError
from mnet_deploy.measurement.measurement import Measurement, Verdict
from mnet_deploy.pipeline.latency_setting import setting_of
from mnet_deploy.pipeline.pick_candidates import Way
from mnet_deploy.results.store import list_runs
from mnet_deploy.selection import Candidate, Latency

_MOST_NAMED = 3
_SIZE_WITHIN = 0.02  # a file that differs by more has another number of classes, or other contents


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """The outcome of looking for measurements.

    Attributes:
        candidates: all of them; those that were measured have that latency and the file's own size.
        count: how many those are.
        notes: what was found and not taken, a sentence each.
    """

    candidates: tuple[Candidate, ...]
    count: int
    notes: tuple[str, ...]


def with_measurements(candidates: Sequence[Candidate], ways: Sequence[Way], folder: Path) -> Measured:
    """Replace predictions by the newest valid measurement of the same model, device, engine, threads and precision.

    Raises:
        SpecError: there is no such folder.
    """
    listing = list_runs(folder)
    stored = [one for run in listing.runs for one in run.measurements]
    ways_of = {(way.engine_text, way.setting.threads, str(way.setting.precision)): way for way in ways}
    found: list[Candidate] = []
    left: dict[str, list[str]] = {}
    for candidate in candidates:
        way = ways_of[candidate.engine, candidate.threads, candidate.precision]
        same = [one for one in stored if _is_of(one, candidate, way)]
        usable = [one for one in same if one.verdict is Verdict.VALID and _has_its_size(one, candidate)]
        if same and not usable:
            left.setdefault(_why_not(same, candidate), []).append(candidate.label)
        found.append(_measured(candidate, usable) if usable else candidate)
    count = sum(one.latency.measured for one in found)
    notes = [*listing.problems, *(f"{why}, so predictions are used: {_listed(labels)}" for why, labels in left.items())]
    if not count:
        notes.append(f"{folder}: no valid measurement of any candidate, all latencies are predicted")
    return Measured(candidates=tuple(found), count=count, notes=tuple(notes))


def _listed(labels: Sequence[str]) -> str:
    more = len(labels) - _MOST_NAMED
    return "; ".join(labels[:_MOST_NAMED]) + (f"; and {more} more" if more > 0 else "")


def _is_of(measurement: Measurement, candidate: Candidate, way: Way) -> bool:
    """Return whether it was measured of this model, in this way."""
    if (measurement.file.model, measurement.file.precision) != (candidate.spec.name, candidate.precision):
        return False
    try:
        way.setting.require_same(setting_of(measurement, way.setting.precision))
    except SpecError:
        return False
    return measurement.median_s is not None


def _has_its_size(measurement: Measurement, candidate: Candidate) -> bool:
    return abs(measurement.file.size_bytes - candidate.size_bytes) <= _SIZE_WITHIN * candidate.size_bytes


def _why_not(same: Iterable[Measurement], candidate: Candidate) -> str:
    newest = max(same, key=lambda one: one.measured_at)
    if newest.verdict is not Verdict.VALID:
        return f"measurements that are {newest.verdict} are not taken"
    return (
        f"{newest.file.file} has {newest.file.size_bytes} bytes where {candidate.size_bytes} are expected, probably "
        "of another number of classes (--classes)"
    )


def _measured(candidate: Candidate, measurements: Sequence[Measurement]) -> Candidate:
    newest = max(measurements, key=lambda one: one.measured_at)
    median_s = newest.median_s or 0.0
    low_s, high_s = newest.interval_s or (median_s, median_s)
    latency = Latency(latency_s=median_s, low_s=min(low_s, median_s), high_s=max(high_s, median_s), measured=True)
    return replace(candidate, latency=latency, size_bytes=newest.file.size_bytes, extrapolated=False)
