"""Predict the latencies of a grid from others of it: our model, and two simpler ones beside it.

What is known of other CPUs beforehand is learnt without any grid of the device that is predicted.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from mnet_deploy.latency.fit import FIVE_MODELS, fit_unchecked
from mnet_deploy.latency.grid_rules import same_device, sort_grids
from mnet_deploy.latency.grids import GRID_SPECS, PublishedGrid, published_grids
from mnet_deploy.latency.learning import learn_prior
from mnet_deploy.latency.least_squares import Array, baseline
from mnet_deploy.latency.model import LatencyModel
from mnet_deploy.latency.point import Point
from mnet_deploy.latency.prediction_errors import Errors
from mnet_deploy.latency.prior import Prior
from mnet_deploy.latency.setting import Setting

POSITIONS = tuple(range(len(GRID_SPECS)))
FIVE = tuple(sorted(GRID_SPECS.index(spec.with_changes(classes=GRID_SPECS[0].classes)) for spec in FIVE_MODELS))
# What is fitted on, and what is predicted from it.
Split = tuple[tuple[int, ...], tuple[int, ...]]
FIVE_MODEL: tuple[Split, ...] = ((FIVE, tuple(at for at in POSITIONS if at not in FIVE)),)
LEAVE_ONE_OUT: tuple[Split, ...] = tuple((tuple(o for o in POSITIONS if o != at), (at,)) for at in POSITIONS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One way of testing on one grid.

    Attributes:
        positions: of the predicted latencies in the grid.
        ours: the errors of the latency model,
        macs: of a rate of MACs alone,
        macs_constant: and of a rate and a constant.
        widths: of our intervals, as parts of what is predicted.
        covered: for each, whether it holds the published latency and is not wider than the mean error of MACs alone.
        too_wide: how many are wider than that.
    """

    positions: tuple[int, ...]
    ours: Errors
    macs: Errors
    macs_constant: Errors
    widths: tuple[float, ...]
    covered: tuple[bool, ...]
    too_wide: int


def try_splits(grid: PublishedGrid, splits: Sequence[Split]) -> Trial:
    """Return what the models say of the latencies that are left out."""
    positions = tuple(at for _, tested in splits for at in tested)
    measured_s = tuple(grid.latency_s[at] for at in positions)
    found = [
        each
        for train, tested in splits
        for each in fit_positions(grid, train).predict_many([GRID_SPECS[at] for at in tested])
    ]
    ours = Errors(predicted_s=tuple(each.latency_s for each in found), measured_s=measured_s)
    macs, macs_constant = (
        Errors(predicted_s=_by_macs(grid, splits, columns), measured_s=measured_s)
        for columns in (_macs()[:, :1], _macs())
    )
    widths = tuple((each.high_s - each.low_s) / each.latency_s for each in found)
    held = (each.low_s <= true <= each.high_s for each, true in zip(found, measured_s, strict=True))
    return Trial(
        positions=positions,
        ours=ours,
        macs=macs,
        macs_constant=macs_constant,
        widths=widths,
        covered=tuple(inside and width <= macs.mape for inside, width in zip(held, widths, strict=True)),
        too_wide=sum(width > macs.mape for width in widths),
    )


def fit_positions(grid: PublishedGrid, positions: Sequence[int]) -> LatencyModel:
    """Return the model of some latencies of a grid."""
    setting = Setting(device=grid.device, engine=grid.system, precision=grid.precision)
    points = [Point(spec=GRID_SPECS[at], latency_s=grid.latency_s[at]) for at in positions]
    return fit_unchecked(points, setting, prior_without(grid.device))


def prior_without(device: str) -> Prior:
    """Return what the published grids of other devices teach."""
    accepted = _accepted()
    return _learnt(tuple(at for at, grid in enumerate(accepted) if not same_device(grid.device, device)))


@cache
def _learnt(positions: tuple[int, ...]) -> Prior:
    return learn_prior([_accepted()[at] for at in positions])


@cache
def _accepted() -> tuple[PublishedGrid, ...]:
    return sort_grids(published_grids()).accepted


@cache
def _macs() -> Array:
    """Return the MACs and a one for each position."""
    macs = [sum(layer.macs for layer in spec.layers()) for spec in GRID_SPECS]
    return np.array([macs, [1] * len(macs)], dtype=np.float64).T


def _by_macs(grid: PublishedGrid, splits: Sequence[Split], columns: Array) -> tuple[float, ...]:
    latencies_s, predicted = np.array(grid.latency_s), []
    for train, tested in splits:
        coefficients = baseline(columns[list(train)], latencies_s[list(train)])
        predicted += (columns[list(tested)] @ coefficients).tolist()
    return tuple(predicted)
