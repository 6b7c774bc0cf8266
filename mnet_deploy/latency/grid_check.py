"""How well published grids are predicted, and which of them are no ground to judge by."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from mnet_deploy.errors import SpecError
from mnet_deploy.latency.grid_rules import Refusal, disorder, sort_grids
from mnet_deploy.latency.grid_trial import FIVE_MODEL, LEAVE_ONE_OUT, POSITIONS, Trial, fit_positions, try_splits
from mnet_deploy.latency.grids import GRID_SPECS, PublishedGrid

OUTLIER = 0.2  # a latency this far beside the others' prediction is named


@dataclass(frozen=True, slots=True, kw_only=True)
class GridCheck:
    """What both ways of testing say of a grid.

    Attributes:
        grid: what was predicted.
        jitter: by how much its median inference takes longer than the fastest, typically; None if one is not given.
        five_model: five latencies predict the other eleven.
        leave_one_out: fifteen predict the sixteenth.
    """

    grid: PublishedGrid
    jitter: float | None
    five_model: Trial
    leave_one_out: Trial


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlier:
    """A published latency that the others of its grid contradict."""

    position: int
    latency_s: float
    expected_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class GridsCheck:
    """Of a table of grids.

    Attributes:
        accepted: CPU grids, which the headline is about.
        accelerators: others.
        refused: kept out, each with the outlier that explains it, if there is one.
    """

    accepted: tuple[GridCheck, ...]
    accelerators: tuple[GridCheck, ...]
    refused: tuple[tuple[Refusal, Outlier | None], ...]


def check_grids(rows: Sequence[PublishedGrid]) -> GridsCheck:
    """Predict each grid from parts of itself.

    Raises:
        SpecError: no grid can be used.
    """
    chosen = sort_grids(rows)
    if not chosen.accepted and not chosen.accelerators:
        first = chosen.refused[0]
        raise SpecError(
            f"expected a grid that can be predicted. Received: {len(chosen.refused)}, all refused; "
            f"{first.grid.device}, {first.grid.system} is {first.reason}"
        )
    jitter = _jitter(rows)
    return GridsCheck(
        accepted=tuple(_check(grid, jitter.get(grid.key)) for grid in chosen.accepted),
        accelerators=tuple(_check(grid, jitter.get(grid.key)) for grid in chosen.accelerators),
        refused=tuple((refusal, _outlier(refusal.grid)) for refusal in chosen.refused),
    )


def _check(grid: PublishedGrid, jitter: float | None) -> GridCheck:
    return GridCheck(
        grid=grid,
        jitter=jitter,
        five_model=try_splits(grid, FIVE_MODEL),
        leave_one_out=try_splits(grid, LEAVE_ONE_OUT),
    )


def _jitter(rows: Sequence[PublishedGrid]) -> dict[tuple[str, str, str, str], float]:
    """Return by how much the medians of grids are above the minima."""
    middle, least = ({row.key: row.latency_s for row in rows if row.stat == stat} for stat in ("p50", "min"))
    return {
        key: median(p50 / low - 1 for p50, low in zip(middle[key], least[key], strict=True))
        for key in middle.keys() & least.keys()
    }


def _outlier(grid: PublishedGrid) -> Outlier | None:
    """Return the latency without which the grid is in order, if the others say that it should be another."""
    wrong = disorder(grid.latency_s)
    shared = set.intersection(*map(set, wrong)) if wrong else set()
    found = []
    for at in shared:
        expected_s = fit_positions(grid, [o for o in POSITIONS if o != at]).predict(GRID_SPECS[at]).latency_s
        found.append(Outlier(position=at, latency_s=grid.latency_s[at], expected_s=expected_s))
    worst = max(found, key=lambda each: abs(np.log(each.latency_s / each.expected_s)), default=None)
    return worst if worst and abs(worst.latency_s / worst.expected_s - 1) > OUTLIER else None
