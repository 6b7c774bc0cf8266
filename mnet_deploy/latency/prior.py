"""What is known of a device before it is measured: which share of the time each term takes on other CPUs.

Learnt from published grids by `mnet_deploy.latency.learning`. It is weak: five measured points move every share.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from mnet_deploy.errors import ResultFormatError
from mnet_deploy.latency.terms import TERMS, term_matrix
from mnet_deploy.precision import Precision
from mnet_deploy.spec import ModelSpec

# History: 1 = first.
PRIOR_FORMAT = "mnet.latency-prior/1"
PRIOR_FILE = "latency_prior.json"
REFERENCE = ModelSpec(alpha=0.5, resolution_px=160, classes=1001)  # whose time the shares are shares of
# By which fraction a latency lies beside the sum of its terms, typically (the residuals of published grids); and as how
# many points this counts when a device's own residuals have been seen.
TYPICAL_MISFIT = 0.03
MISFIT_WEIGHT = 20
# Which class of the shares a precision is computed like. The others are neither: they get the mean of both.
_COMPUTED_LIKE = {Precision.INT8: "int8", Precision.FP32: "fp32", Precision.FP16: "fp32"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Prior:
    """The shares of the terms at the reference model, by precision.

    Attributes:
        shares: `int8` and `fp32` to one mean share a term, in the order of `TERMS`.
        spread: by how much devices differ in each share, in both precisions.
        learnt_from: how many grids of published latencies.
    """

    shares: Mapping[str, tuple[float, ...]]
    spread: tuple[float, ...]
    learnt_from: int

    def shares_of(self, precision: Precision) -> NDArray[np.float64]:
        """Return the mean share of each term."""
        like = _COMPUTED_LIKE.get(precision)
        chosen = self.shares.values() if like is None else (self.shares[like],)
        mean: NDArray[np.float64] = np.mean(np.array(list(chosen)), axis=0)
        return mean

    def to_json(self) -> dict[str, Any]:
        """Return JSON values, rounded to what matters."""
        return {
            "format": PRIOR_FORMAT,
            "terms": list(TERMS),
            "shares": {name: [round(value, 4) for value in values] for name, values in self.shares.items()},
            "spread": [round(value, 4) for value in self.spread],
            "learnt_from": self.learnt_from,
        }

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Self:
        """Build from what `to_json` returned.

        Raises:
            ResultFormatError: it is of another format or of other terms.
        """
        if found.get("format") != PRIOR_FORMAT or found.get("terms") != list(TERMS):
            raise ResultFormatError(
                f"{PRIOR_FILE} is {PRIOR_FORMAT} of the terms {', '.join(TERMS)}. Received: "
                f"{found.get('format')} of {found.get('terms')}"
            )
        return cls(
            shares={name: tuple(values) for name, values in found["shares"].items()},
            spread=tuple(found["spread"]),
            learnt_from=found["learnt_from"],
        )


@cache
def shipped_prior() -> Prior:
    """Return the prior of all published grids that are accepted."""
    text = resources.files("mnet_deploy.data").joinpath(PRIOR_FILE).read_text(encoding="utf-8")
    return Prior.from_json(json.loads(text))


@cache
def reference_terms(precision: Precision) -> NDArray[np.float64]:
    """Return the terms of the reference model."""
    return term_matrix((REFERENCE,), precision).ravel()
