"""What `mnet bench` prints."""

from mnet_deploy.measurement.sustained_text import sustained_text
from mnet_deploy.measurement.text import run_text
from mnet_deploy.measurement.versus import sentence
from mnet_deploy.pipeline.bench_report import BenchReport


def report_text(report: BenchReport) -> str:
    """Return everything that a run says, for a terminal."""
    parts = [run_text(report.measurements)]
    if report.sustained is not None:
        parts.append(sustained_text(report.sustained))
    if report.comparisons:
        parts.append("\n".join(sentence(comparison) for comparison in report.comparisons))
    if report.baseline is not None:
        parts.append("\n".join(f"{said}." for said in report.baseline.sentences))
    parts += [timed.text() for timed in report.layers]
    return "\n\n".join(parts)
