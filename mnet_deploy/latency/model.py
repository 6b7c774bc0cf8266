"""The latency model of one setting: what each term costs there, and how far to trust a prediction. NumPy only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mnet_deploy.errors import SpecError
from mnet_deploy.latency.point import Point
from mnet_deploy.latency.setting import Setting
from mnet_deploy.latency.terms import TERMS, term_matrix
from mnet_deploy.spec import Family, ModelSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """A predicted latency with the interval that holds nine out of ten.

    Attributes:
        latency_s: of one inference.
        low_s: lower end of the interval.
        high_s: upper end.
    """

    latency_s: float
    low_s: float
    high_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BackTest:
    """What the model would have said of each of its points, fitted without it.

    Attributes:
        errors: predicted / measured - 1 of each point, in their order.
        covered: how many of the points lay in the interval.
    """

    errors: tuple[float, ...]
    covered: int

    @property
    def mean_error(self) -> float:
        """The mean of the errors' sizes."""
        return sum(map(abs, self.errors)) / len(self.errors)

    @property
    def max_error(self) -> float:
        """The largest of the errors' sizes."""
        return max(map(abs, self.errors))


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyModel:
    """What the terms of a model cost in one setting.

    Attributes:
        setting: what it is for.
        coefficients: seconds per unit of each term in the order of `TERMS`, 0 or more.
        covariance: of the coefficients, row by row, in s² per units².
        misfit: by which fraction latencies typically lie beside the sum of the terms.
        interval_factor: how many standard deviations an interval reaches to each side.
        points: what it was fitted on.
        back_test: its errors on them.
    """

    setting: Setting
    coefficients: tuple[float, ...]
    covariance: tuple[tuple[float, ...], ...]
    misfit: float
    interval_factor: float
    points: tuple[Point, ...]
    back_test: BackTest

    def __post_init__(self) -> None:
        """Refuse coefficients that are no costs."""
        if len(self.coefficients) != len(TERMS) or np.shape(self.covariance) != (len(TERMS), len(TERMS)):
            raise SpecError(f"a latency model has a coefficient a term ({', '.join(TERMS)}). Received: other sizes")
        if not all(0 <= value < float("inf") for value in self.coefficients) or not any(self.coefficients):
            raise SpecError(f"coefficients are 0 or more, and not all 0. Received: {self.coefficients}")
        if not (0 < self.misfit < float("inf") and 0 < self.interval_factor < float("inf")):
            raise SpecError(
                f"misfit and interval_factor are numbers above 0. Received: {self.misfit}, {self.interval_factor}"
            )

    @property
    def families(self) -> frozenset[Family]:
        """Those of its points: a model of another family is an extrapolation, whatever the interval says."""
        return frozenset(point.spec.family for point in self.points)

    def require_same(self, setting: Setting) -> None:
        """Refuse to be used for another setting.

        Raises:
            SpecError: naming what differs.
        """
        self.setting.require_same(setting)

    def predict(self, spec: ModelSpec) -> Prediction:
        """Return how long one inference takes."""
        return self.predict_many((spec,))[0]

    def predict_many(self, specs: Sequence[ModelSpec]) -> tuple[Prediction, ...]:
        """Return how long one inference of each model takes."""
        matrix = term_matrix(specs, self.setting.precision)
        latencies_s = matrix @ np.array(self.coefficients)
        variances = np.einsum("ij,jk,ik->i", matrix, np.array(self.covariance), matrix).clip(min=0) / latencies_s**2
        reach = np.exp(self.interval_factor * np.sqrt(variances + self.misfit**2))
        ends = zip(latencies_s.tolist(), (latencies_s / reach).tolist(), (latencies_s * reach).tolist(), strict=True)
        return tuple(Prediction(latency_s=latency, low_s=low, high_s=high) for latency, low, high in ends)

    def parts(self, spec: ModelSpec) -> Mapping[str, float]:
        """Return the seconds of each term; they sum up to the prediction."""
        seconds = term_matrix((spec,), self.setting.precision)[0] * np.array(self.coefficients)
        return dict(zip(TERMS, seconds.tolist(), strict=True))
