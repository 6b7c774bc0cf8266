"""Fit coefficients to latencies: non-negative, least squares of relative errors, drawn weakly towards a prior."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from mnet_deploy.latency.prior import MISFIT_WEIGHT, TYPICAL_MISFIT

Array = NDArray[np.float64]
LEAST_SHARE = 1e-3  # keeps a share that no device has shown from being impossible


@dataclass(frozen=True, slots=True, kw_only=True)
class Solution:
    """The shares that fit best.

    Attributes:
        shares: of each term at the reference model, as parts of `scale_s`.
        covariance: of the shares.
        scale_s: about how long the reference model takes.
        residuals: predicted / measured - 1 of each latency.
        misfit: their typical size, of which `TYPICAL_MISFIT` is a part.
    """

    shares: Array
    covariance: Array
    scale_s: float
    residuals: Array
    misfit: float


def solve(columns: Array, latencies_s: Array, shares: Array, spread: Array) -> Solution:
    """Minimise Σ ((predicted - measured) / measured / misfit)² + Σ ((share - its mean) / spread)² over shares >= 0.

    Args:
        columns: terms relative to those of the reference model, one row a latency.
        latencies_s: measured.
        shares: mean share of each term on other devices.
        spread: standard deviation of each share.
    """
    means = np.maximum(shares, LEAST_SHARE)
    scale_s = float(np.exp(np.mean(np.log(latencies_s) - np.log(columns @ means))))
    relative = columns * (scale_s / latencies_s)[:, None]
    weighted, wanted = relative / TYPICAL_MISFIT, np.full(len(latencies_s), 1 / TYPICAL_MISFIT)
    found, _ = nnls(np.vstack([weighted, np.diag(1 / spread)]), np.concatenate([wanted, means / spread]))
    residuals = relative @ found - 1
    squares = MISFIT_WEIGHT * TYPICAL_MISFIT**2 + float(residuals @ residuals)
    misfit = float(np.sqrt(squares / (MISFIT_WEIGHT + len(latencies_s))))
    covariance = np.linalg.inv(weighted.T @ weighted + np.diag(spread**-2)) * (misfit / TYPICAL_MISFIT) ** 2
    return Solution(
        shares=found,
        covariance=covariance.astype(np.float64),
        scale_s=scale_s,
        residuals=residuals,
        misfit=misfit,
    )


def baseline(columns: Array, latencies_s: Array) -> Array:
    """Return non-negative coefficients of fewer columns, without a prior: what the model is compared with."""
    found, _ = nnls(columns / latencies_s[:, None], np.ones(len(latencies_s)))
    return np.asarray(found, dtype=np.float64)
