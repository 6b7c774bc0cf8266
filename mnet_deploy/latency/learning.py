"""Learn from published grids which share of the time each term takes, and by how much devices differ in it."""

from collections.abc import Sequence

import numpy as np

from mnet_deploy.latency.grid_rules import same_device
from mnet_deploy.latency.grids import GRID_SPECS, PublishedGrid
from mnet_deploy.latency.least_squares import Array, Solution, solve
from mnet_deploy.latency.prior import Prior, reference_terms
from mnet_deploy.latency.terms import TERMS, term_matrix

ROUNDS = 15  # the shares change by less than 0.01 afterwards
FIRST_SPREAD = 0.3
LEAST_SPREAD = 0.025
CLASSES = ("int8", "fp32")


def learn_prior(grids: Sequence[PublishedGrid]) -> Prior:
    """Return the prior of accepted grids: empirical Bayes by expectation and maximisation.

    Every device has the same weight, however many grids of it there are. The means are of a precision, the spread is of
    both together: how far the shares of a grid may lie from their mean, plus how far they can be told at all.
    """
    weights = np.array([1 / sum(same_device(grid.device, other.device) for other in grids) for grid in grids])
    classes = np.array([str(grid.precision) for grid in grids])
    means = {name: np.full(len(TERMS), 1 / len(TERMS)) for name in CLASSES}
    spread = np.full(len(TERMS), FIRST_SPREAD)
    for _ in range(ROUNDS):
        found = [_solved(grid, means[str(grid.precision)], spread) for grid in grids]
        shares = np.array([each.shares for each in found])
        means = {name: _mean(shares, weights * (classes == name)) for name in CLASSES}
        beside = shares - np.array([means[name] for name in classes])
        unknown = np.array([np.diag(each.covariance) for each in found])
        spread = np.maximum(np.sqrt(_mean(beside**2 + unknown, weights)), LEAST_SPREAD)
    return Prior(
        shares={name: tuple(values.tolist()) for name, values in means.items()},
        spread=tuple(spread.tolist()),
        learnt_from=len(grids),
    )


def _solved(grid: PublishedGrid, means: Array, spread: Array) -> Solution:
    columns = term_matrix(GRID_SPECS, grid.precision) / reference_terms(grid.precision)
    return solve(columns, np.array(grid.latency_s), means, spread)


def _mean(values: Array, weights: Array) -> Array:
    return np.asarray((values * weights[:, None]).sum(axis=0) / weights.sum(), dtype=np.float64)
