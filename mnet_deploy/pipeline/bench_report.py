"""Everything that `mnet bench` answers: measurements, the questions asked of them, and where they are stored."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mnet_deploy.errors import MnetError, SpecError
from mnet_deploy.measurement.as_json import measurement_to_json
from mnet_deploy.measurement.measurement import MeasuredFile, Measurement, Verdict
from mnet_deploy.measurement.sustained import Sustained, sustained
from mnet_deploy.measurement.sustained_text import sustained_json
from mnet_deploy.measurement.versus import Comparison, compare
from mnet_deploy.pipeline.bench import bench
from mnet_deploy.pipeline.bench_layers import TimedLayers
from mnet_deploy.pipeline.bench_request import BenchRequest
from mnet_deploy.progress import Progress
from mnet_deploy.results.baseline import BaselineResult, compare_to_baseline
from mnet_deploy.results.run_file import read_run
from mnet_deploy.results.store import require_writable, save_run

# History: 1 = first.
BENCH_FORMAT = "mnet.bench/1"
EXIT_NEGATIVE = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchReport:
    """What a run gave, and what it says.

    Attributes:
        measurements: judged.
        comparisons: each measurement with the one of the file given with --versus.
        baseline: the comparison with a stored run; None if none was asked for.
        sustained: the course over a long time; None if that was not asked for.
        layers: times of single layers, for each measurement that they were asked for.
        stored: the summary in the store; None if nothing was stored.
        warnings: what the user should know of the device.
        error: what cut the run off, or kept it from being stored; None if nothing did.
    """

    measurements: tuple[Measurement, ...]
    comparisons: tuple[Comparison, ...] = ()
    baseline: BaselineResult | None = None
    sustained: Sustained | None = None
    layers: tuple[TimedLayers, ...] = ()
    stored: Path | None = None
    warnings: tuple[str, ...] = ()
    error: MnetError | KeyboardInterrupt | None = None

    @property
    def exit_status(self) -> int:
        """0, or what the verdicts and the baseline make of it; a long run is there to see the device throttle."""
        if self.sustained is not None:
            return 0
        if self.baseline is not None and self.baseline.status:
            return int(self.baseline.status)
        invalid = any(measurement.verdict is Verdict.INVALID for measurement in self.measurements)
        return EXIT_NEGATIVE if invalid else 0

    def to_json(self) -> dict[str, Any]:
        """Return all of it, with every single latency."""
        return {
            "format": BENCH_FORMAT,
            "measurements": [measurement_to_json(measurement) for measurement in self.measurements],
            "versus": [comparison.to_json() for comparison in self.comparisons],
            "baseline": None if self.baseline is None else self.baseline.to_json(),
            "sustained": None if self.sustained is None else sustained_json(self.sustained),
            "layers": [timed.to_json() for timed in self.layers],
            "stored": None if self.stored is None else str(self.stored),
            "warnings": list(self.warnings),
            "error": None if self.error is None else str(self.error) or "interrupted",
        }


def bench_and_report(
    request: BenchRequest,
    progress: Progress,
    *,
    versus: bool = False,
    baseline: Path | None = None,
    max_slowdown: float = 0.05,
    store: Path | None = None,
) -> BenchReport:
    """Measure, store what was measured, then answer what was asked.

    Args:
        request: what is measured where.
        progress: shows what is being done.
        versus: whether the others are compared with the request's last file.
        baseline: summary of a stored run.
        max_slowdown: that the baseline allows, as a fraction.
        store: folder to store the run in; None stores nothing.

    Raises:
        SpecError: what is asked for cannot be measured, or what was measured cannot be compared.
        DeviceError: the device cannot be used at all.
    """
    if baseline is not None:
        read_run(baseline, raw=False)  # that it is none should not show after minutes
    if store is not None:
        require_writable(store)
    result = bench(request, progress)
    measurements = result.measurements
    error: MnetError | KeyboardInterrupt | None = result.error
    stored = None
    if store is not None:
        try:
            stored = save_run(measurements, store).path
        except SpecError as unsaved:
            error = error or unsaved  # what was measured is printed all the same
    if any(measurement.stopped == "error" for measurement in measurements):
        versus, baseline = False, None  # half a run answers neither
    return BenchReport(
        measurements=measurements,
        comparisons=() if not versus else _comparisons(measurements, result.files[-1]),
        baseline=None if baseline is None else compare_to_baseline(measurements, baseline, max_slowdown=max_slowdown),
        sustained=sustained(measurements[0]) if request.sustain else None,
        layers=result.layers,
        stored=stored,
        warnings=result.warnings,
        error=error,
    )


def _comparisons(measurements: Sequence[Measurement], other: MeasuredFile) -> tuple[Comparison, ...]:
    """Compare each with the one of the other file that ran with as many threads and, if it can, the same engine."""
    others = [measurement for measurement in measurements if measurement.file is other]
    return tuple(
        compare(measurement, _partner(measurement, others))
        for measurement in measurements
        if measurement.file is not other
    )


def _partner(measurement: Measurement, others: Sequence[Measurement]) -> Measurement:
    config = measurement.config

    def likeness(other: Measurement) -> tuple[bool, bool, bool]:
        theirs = other.config
        return (theirs.threads == config.threads, theirs.engine == config.engine, theirs.delegate == config.delegate)

    return max(others, key=likeness)
