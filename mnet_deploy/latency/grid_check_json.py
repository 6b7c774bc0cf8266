"""The check against grids as JSON values: fractions, not percentages."""

from collections.abc import Callable, Sequence
from statistics import mean, median
from typing import Any

from mnet_deploy.latency.grid_check import GridCheck, GridsCheck, Outlier
from mnet_deploy.latency.grid_rules import Refusal
from mnet_deploy.latency.grid_trial import Trial
from mnet_deploy.latency.grids import LABELS, PublishedGrid
from mnet_deploy.latency.prediction_errors import Errors

# History: 1 = first.
GRIDS_FORMAT = "mnet.latency-grids/1"
LIMITS = {"share_within_5": 0.05, "share_within_10": 0.10}
DIGITS = 5

Part = Callable[[GridCheck], Trial]


def check_to_json(check: GridsCheck, file: str) -> dict[str, Any]:
    """Return the headline over accepted CPU grids, then that of accelerators, then all grids."""
    return {
        "format": GRIDS_FORMAT,
        "file": file,
        **_both(check.accepted),
        "accelerators": _both(check.accelerators),
        "refused": [_refused(refusal, outlier) for refusal, outlier in check.refused],
        "grids": [_grid(each) for each in (*check.accepted, *check.accelerators)],
    }


def summary(trials: Sequence[Trial]) -> dict[str, Any] | None:
    """Return medians over grids and shares over all their latencies; None without grids."""
    if not trials:
        return None
    return {
        "grids": len(trials),
        **method_summary([trial.ours for trial in trials]),
        "coverage": _round(mean(held for trial in trials for held in trial.covered)),
        "width_median": _round(median(width for trial in trials for width in trial.widths)),
        "too_wide": sum(trial.too_wide for trial in trials),
        "macs": method_summary([trial.macs for trial in trials]),
        "macs_constant": method_summary([trial.macs_constant for trial in trials]),
    }


def method_summary(found: Sequence[Errors]) -> dict[str, Any]:
    """Return the same of one method."""
    sizes = [abs(error) for each in found for error in each.relative.tolist()]
    return {
        "mape_median": _round(median(each.mape for each in found)),
        **{name: _round(mean(size <= limit for size in sizes)) for name, limit in LIMITS.items()},
        "rank_correlation_median": _round(median(each.rank_correlation for each in found)),
    }


def _both(grids: Sequence[GridCheck]) -> dict[str, Any]:
    return {
        "five_model": summary([each.five_model for each in grids]),
        "leave_one_out": summary([each.leave_one_out for each in grids]),
    }


def _named(grid: PublishedGrid) -> dict[str, Any]:
    return {
        "source": grid.source,
        "device": grid.device,
        "system": grid.system,
        "precision": grid.precision_text,
        "stat": grid.stat,
        "accelerator": grid.accelerator,
    }


def _grid(check: GridCheck) -> dict[str, Any]:
    return {
        **_named(check.grid),
        "jitter": None if check.jitter is None else _round(check.jitter),
        "five_model": _trial(check.five_model),
        "leave_one_out": _trial(check.leave_one_out),
    }


def _trial(trial: Trial) -> dict[str, Any]:
    return {
        **_errors(trial.ours),
        "coverage": _round(mean(trial.covered)),
        "width_median": _round(median(trial.widths)),
        "too_wide": trial.too_wide,
        "errors": {LABELS[at]: _round(e) for at, e in zip(trial.positions, trial.ours.relative.tolist(), strict=True)},
        "macs": _errors(trial.macs),
        "macs_constant": _errors(trial.macs_constant),
    }


def _errors(found: Errors) -> dict[str, Any]:
    return {
        "mape": _round(found.mape),
        **{name: _round(found.share_within(limit)) for name, limit in LIMITS.items()},
        "max_error": _round(found.worst),
        "rank_correlation": _round(found.rank_correlation),
    }


def _refused(refusal: Refusal, outlier: Outlier | None) -> dict[str, Any]:
    named = outlier and {
        "model": LABELS[outlier.position],
        "latency_s": outlier.latency_s,
        "expected_s": outlier.expected_s,
    }
    return {**_named(refusal.grid), "reason": refusal.reason, "outlier": named}


def _round(value: float) -> float:
    return round(float(value), DIGITS)
