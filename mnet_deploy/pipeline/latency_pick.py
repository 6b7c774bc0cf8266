"""Choose a model for a device by limits: join predicted latencies, stored measurements, sizes and accuracies."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mnet_deploy.cost.grid import GRID_ALPHAS, GRID_RESOLUTIONS_PX
from mnet_deploy.pipeline.pick_candidates import Way, candidates_of, require_one_device, spec_grid
from mnet_deploy.pipeline.pick_measured import Measured, with_measurements
from mnet_deploy.selection import Budget, Candidate, Choice, Nearest, pick
from mnet_deploy.selection.doubt import Doubt
from mnet_deploy.selection.published_accuracy import Release
from mnet_deploy.spec import Family

PICK_FORMAT = "mnet.latency-pick/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class PickRequest:
    """What to choose from, and by what.

    Attributes:
        budget: the limits.
        families: of the models.
        alphas: their widths.
        resolutions_px: of their inputs.
        classes: of their classifiers.
        release: table of the accuracies.
        results: folder of measurements to take in place of predictions; None for predictions alone.
    """

    budget: Budget
    families: tuple[Family, ...] = tuple(Family)
    alphas: tuple[float, ...] = GRID_ALPHAS
    resolutions_px: tuple[int, ...] = GRID_RESOLUTIONS_PX
    classes: int = 1000
    release: Release = Release.SLIM
    results: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PickReport:
    """A choice, with what it was made from.

    Attributes:
        request: what was asked.
        ways: in which models can be run.
        candidates: every model with every way.
        measured_count: how many of them have a measured latency.
        choice: what the limits leave.
        notes: what was found and not used, a sentence each.
    """

    request: PickRequest
    ways: tuple[Way, ...]
    candidates: tuple[Candidate, ...]
    measured_count: int
    choice: Choice
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return everything, each candidate in full."""
        return {
            "format": PICK_FORMAT,
            "device": self.ways[0].setting.device,
            "models": [_way_json(way) for way in self.ways],
            "limits": _budget_json(self.request.budget),
            "release": str(self.request.release),
            "candidates": len(self.candidates),
            "measured": self.measured_count,
            "ranked": [candidate_json(one) for one in self.choice.ranked],
            "unrated": [candidate_json(one) for one in self.choice.unrated],
            "front": [candidate_json(one) for one in self.choice.front],
            "nearest": [_nearest_json(one) for one in self.choice.nearest],
            "measure_next": None if self.choice.doubt is None else _doubt_json(self.choice.doubt),
            "notes": list(self.notes),
        }


def pick_models(ways: Sequence[Way], request: PickRequest) -> PickReport:
    """Choose.

    Args:
        ways: at least one.
        request: what to choose from, and by what.

    Raises:
        SpecError: the ways are of several devices or twice the same, a model is none, or there is no such folder.
    """
    require_one_device(ways)
    specs = spec_grid(request.families, request.alphas, request.resolutions_px, request.classes)
    predicted = candidates_of(ways, specs, request.release)
    if request.results is None:
        found = Measured(candidates=predicted, count=0, notes=())
    else:
        found = with_measurements(predicted, ways, request.results)
    return PickReport(
        request=request,
        ways=tuple(ways),
        candidates=found.candidates,
        measured_count=found.count,
        choice=pick(found.candidates, request.budget),
        notes=found.notes,
    )


def candidate_json(candidate: Candidate) -> dict[str, Any]:
    """Return a candidate; what is not known of it is null."""
    latency, accuracy = candidate.latency, candidate.accuracy
    return {
        "family": str(candidate.spec.family),
        "alpha": candidate.spec.alpha,
        "resolution_px": candidate.spec.resolution_px,
        "precision": candidate.precision,
        "engine": candidate.engine,
        "threads": candidate.threads,
        "latency_s": latency.latency_s,
        "interval_s": [latency.low_s, latency.high_s],
        "measured": latency.measured,
        "extrapolated": candidate.extrapolated,
        "size_bytes": candidate.size_bytes,
        "memory_bytes": candidate.memory_bytes,
        "top1": None if accuracy is None else accuracy.top1,
        "top5": None if accuracy is None else accuracy.top5,
        "published_as": None if accuracy is None else accuracy.published_as,
        "source": None if accuracy is None else accuracy.source,
    }


def _way_json(way: Way) -> dict[str, Any]:
    setting = way.setting
    return {
        "name": way.name,
        "engine": setting.engine,
        "engine_version": setting.engine_version,
        "delegate": setting.delegate,
        "threads": setting.threads,
        "precision": str(setting.precision),
    }


def _budget_json(budget: Budget) -> dict[str, Any]:
    return {
        "max_latency_s": budget.max_latency_s,
        "max_size_bytes": budget.max_size_bytes,
        "max_memory_bytes": budget.max_memory_bytes,
        "min_top1": budget.min_top1,
        "latency_end": str(budget.latency_end),
    }


def _nearest_json(nearest: Nearest) -> dict[str, Any]:
    return {
        "candidate": candidate_json(nearest.candidate),
        "misses": [
            {"limit": str(miss.limit), "allowed": miss.allowed, "actual": miss.actual, "share": miss.share}
            for miss in nearest.misses
        ],
    }


def _doubt_json(doubt: Doubt) -> dict[str, Any]:
    return {
        "candidate": candidate_json(doubt.candidate),
        "chance": doubt.chance,
        "instead_of": None if doubt.instead_of is None else candidate_json(doubt.instead_of),
        "is_choice": doubt.is_choice,
        "expected_change_of_top1": doubt.expected_change,
    }
