"""Fit a latency model to measured points. Needs SciPy: `pip install 'mnet-deploy[fit]'`."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from mnet_deploy.errors import SpecError
from mnet_deploy.latency.least_squares import solve
from mnet_deploy.latency.model import BackTest, LatencyModel
from mnet_deploy.latency.point import Point
from mnet_deploy.latency.prior import MISFIT_WEIGHT, Prior, reference_terms, shipped_prior
from mnet_deploy.latency.setting import Setting
from mnet_deploy.latency.terms import term_matrix
from mnet_deploy.spec import ModelSpec

# Both ends of alpha and of the resolution, and the middle: few models that predict the rest well.
FIVE_MODELS = tuple(
    ModelSpec(alpha=alpha, resolution_px=size)
    for alpha, size in ((0.25, 128), (0.25, 224), (1.0, 128), (1.0, 224), (0.5, 160))
)
MIN_POINTS = len(FIVE_MODELS)
COVERAGE = 0.9  # of the intervals
LONGEST_S = 3600.0


def fit(points: Sequence[Point], setting: Setting, *, prior: Prior | None = None) -> LatencyModel:
    """Return the model of the setting in which the points were measured, with its back-test.

    Args:
        points: measured latencies of different models, `MIN_POINTS` or more.
        setting: what they were measured with.
        prior: what other devices are like; None for what the project ships.

    Raises:
        SpecError: too few points, the same model twice, a latency that is none, or a point of another setting.
    """
    _require_usable(points, setting)
    prior = prior or shipped_prior()
    whole = fit_unchecked(points, setting, prior)
    errors, covered = [], 0
    for index, point in enumerate(points):
        rest = [*points[:index], *points[index + 1 :]]
        found = fit_unchecked(rest, setting, prior).predict(point.spec)
        errors.append(found.latency_s / point.latency_s - 1)
        covered += found.low_s <= point.latency_s <= found.high_s
    return replace(whole, back_test=BackTest(errors=tuple(errors), covered=covered))


def fit_unchecked(points: Sequence[Point], setting: Setting, prior: Prior) -> LatencyModel:
    """Return the model of points that are known to be usable, without a back-test."""
    reference = reference_terms(setting.precision)
    latencies_s = np.array([point.latency_s for point in points])
    found = solve(
        term_matrix([point.spec for point in points], setting.precision) / reference,
        latencies_s,
        prior.shares_of(setting.precision),
        np.array(prior.spread),
    )
    per_unit: NDArray[np.float64] = found.scale_s / reference
    covariance = found.covariance * np.outer(per_unit, per_unit)
    return LatencyModel(
        setting=setting,
        coefficients=tuple((found.shares * per_unit).tolist()),
        covariance=tuple(map(tuple, covariance.tolist())),
        misfit=found.misfit,
        interval_factor=float(stdtrit(MISFIT_WEIGHT + len(points), (1 + COVERAGE) / 2)),
        points=tuple(points),
        back_test=BackTest(errors=(), covered=0),
    )


def _require_usable(points: Sequence[Point], setting: Setting) -> None:
    if len(points) < MIN_POINTS:
        names = ", ".join(f"{spec.alpha_text}-{spec.resolution_px}" for spec in FIVE_MODELS)
        raise SpecError(
            f"a latency model needs {MIN_POINTS} measured models or more. Received: {len(points)}. Try {names}"
        )
    for point in points:
        if not 0 < point.latency_s <= LONGEST_S:
            raise SpecError(
                f"a latency is a number of seconds above 0 and at most {LONGEST_S:.0f}. Received: {point.latency_s} "
                f"of {point.spec.name}. Measure it again"
            )
        if point.setting is not None:
            setting.require_same(point.setting)
    spec, count = Counter(point.spec for point in points).most_common(1)[0]
    if count > 1:
        raise SpecError(f"each model is one point. Received: {spec.name} {count} times. Give the median of them")
