"""Which single measurement is worth most before the choice is made."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log
from statistics import NormalDist

from mnet_deploy.selection.budget import Budget, Limit
from mnet_deploy.selection.candidate import Candidate

_NORMAL = NormalDist()
_END = _NORMAL.inv_cdf(0.95)  # standard deviations from the middle of a 90 % interval to its ends


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """A latency that is not sure enough, and what hangs on it.

    Attributes:
        candidate: to measure.
        chance: that it keeps the limit, 0 to 1.
        instead_of: what it would replace if it keeps the limit; if the candidate is the choice itself, what would
            replace it if it does not. None for nothing.
        gain: of top-1 between the two, a share of images.
        is_choice: whether the candidate is the choice as it stands.
    """

    candidate: Candidate
    chance: float
    instead_of: Candidate | None
    gain: float
    is_choice: bool

    @property
    def expected_change(self) -> float:
        """Top-1 that the choice changes by, times the chance that the measurement changes it."""
        return self.gain * (1 - self.chance if self.is_choice else self.chance)


def most_telling(candidates: Sequence[Candidate], ranked: Sequence[Candidate], budget: Budget) -> Doubt | None:
    """Return the prediction whose measurement can be expected to change the choice's top-1 most; None if none can.

    Only a candidate that keeps the other limits is worth measuring, and only one that is ranked above the choice (it
    may turn out to keep the limit) or is the choice itself (it may turn out not to). Where nothing else fits, what is
    gained or lost is the candidate's whole top-1.

    Args:
        candidates: those whose accuracy is known.
        ranked: those of them that fit, the best first.
        budget: that they fit.
    """
    doubts = [doubt for one in candidates if (doubt := _doubt(one, ranked, budget)) and doubt.expected_change > 0]
    return max(doubts, key=lambda doubt: (doubt.expected_change, doubt.candidate.identity), default=None)


def _doubt(candidate: Candidate, ranked: Sequence[Candidate], budget: Budget) -> Doubt | None:
    chance = _chance(candidate, budget)
    if chance is None or any(miss.limit is not Limit.LATENCY for miss in budget.misses(candidate)):
        return None
    is_choice = bool(ranked) and candidate == ranked[0]
    others = ranked[1:] if is_choice else ranked
    other = others[0] if others else None
    gain = _top1(candidate) - (_top1(other) if other else 0.0)
    return Doubt(candidate=candidate, chance=chance, instead_of=other, gain=gain, is_choice=is_choice)


def _chance(candidate: Candidate, budget: Budget) -> float | None:
    """Return how probably a predicted latency keeps the limit; None if it is measured or there is no limit.

    Predictions lie beside the truth by a factor, so its logarithm is taken as normally distributed, with 90 % of it in
    the interval.
    """
    latency, limit_s = candidate.latency, budget.max_latency_s
    if limit_s is None or latency.measured:
        return None
    deviation = log(latency.high_s / latency.low_s) / (2 * _END)
    if deviation == 0:
        return float(latency.latency_s <= limit_s)
    return _NORMAL.cdf(log(limit_s / latency.latency_s) / deviation)


def _top1(candidate: Candidate) -> float:
    return candidate.accuracy.top1 if candidate.accuracy else 0.0
