"""By how much predictions miss what was measured."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mnet_deploy.latency.least_squares import Array


@dataclass(frozen=True, kw_only=True)
class Errors:
    """What a model said of latencies that it had not seen.

    Attributes:
        predicted_s: by the model.
        measured_s: as published, in the same order.
    """

    predicted_s: tuple[float, ...]
    measured_s: tuple[float, ...]

    @cached_property
    def relative(self) -> Array:
        """Predicted / measured - 1."""
        ratios: Array = np.array(self.predicted_s) / np.array(self.measured_s)
        return ratios - 1

    @property
    def mape(self) -> float:
        """The mean of the errors' sizes."""
        return float(np.abs(self.relative).mean())

    @property
    def worst(self) -> float:
        """The largest of the errors' sizes."""
        return float(np.abs(self.relative).max())

    def share_within(self, limit: float) -> float:
        """Return the share of errors that are at most this large."""
        return float((np.abs(self.relative) <= limit).mean())

    @cached_property
    def rank_correlation(self) -> float:
        """Spearman's: 1 where the model puts all in their true order."""
        ours, true = (_ranks(np.array(values)) for values in (self.predicted_s, self.measured_s))
        return float(np.corrcoef(ours, true)[0, 1])


def _ranks(values: Array) -> Array:
    """Return the ranks; equal values share the mean of theirs."""
    below = (values[None, :] < values[:, None]).sum(axis=1)
    equal = (values[None, :] == values[:, None]).sum(axis=1)
    return np.asarray(below + (equal - 1) / 2, dtype=np.float64)
