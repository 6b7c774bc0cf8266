"""The choice among candidates by a budget."""

from collections.abc import Sequence
from dataclasses import dataclass

from mnet_deploy.selection.budget import Budget, Limit, Miss
from mnet_deploy.selection.candidate import Candidate, Identity
from mnet_deploy.selection.doubt import Doubt, most_telling
from mnet_deploy.selection.front import Costs, pareto_front


@dataclass(frozen=True, slots=True, kw_only=True)
class Nearest:
    """What comes closest to a budget that nothing fits.

    Attributes:
        candidate: which one.
        misses: each limit that it does not keep.
        alone: whether it is the closest of those that miss this one limit only.
    """

    candidate: Candidate
    misses: tuple[Miss, ...]
    alone: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What a budget leaves.

    Attributes:
        ranked: what fits and has a published accuracy: highest top-1 first, then the lowest latency, the smallest file.
        unrated: what fits but for an accuracy that nobody published: lowest latency first.
        front: of all candidates with a published accuracy, whether they fit or not, those that no other one beats in
            latency, size and top-1; the most accurate first.
        nearest: if nothing is ranked: what misses its limits by the least, and for each single limit what misses it
            alone by the least.
        doubt: the one measurement that would tell most; None if none can change the choice.
    """

    ranked: tuple[Candidate, ...]
    unrated: tuple[Candidate, ...]
    front: tuple[Candidate, ...]
    nearest: tuple[Nearest, ...]
    doubt: Doubt | None


def pick(candidates: Sequence[Candidate], budget: Budget) -> Choice:
    """Choose among candidates. The order in which they come does not matter."""
    rated = sorted((one for one in candidates if one.accuracy), key=lambda one: _rank(one, budget))
    unrated = [one for one in candidates if not one.accuracy and not budget.misses(one)]
    ranked = [one for one in rated if not budget.misses(one)]
    return Choice(
        ranked=tuple(ranked),
        unrated=tuple(sorted(unrated, key=lambda one: _rank(one, budget))),
        front=pareto_front(rated, lambda one: _costs(one, budget)),
        nearest=() if ranked else _nearest(rated, budget),
        doubt=most_telling(rated, ranked, budget),
    )


def _costs(candidate: Candidate, budget: Budget) -> Costs:
    top1 = candidate.accuracy.top1 if candidate.accuracy else 0.0  # the same for all where none is known
    return -top1, budget.latency_s(candidate), candidate.size_bytes


def _rank(candidate: Candidate, budget: Budget) -> tuple[Costs, Identity]:
    return _costs(candidate, budget), candidate.identity


def _nearest(rated: Sequence[Candidate], budget: Budget) -> tuple[Nearest, ...]:
    """Return the closest of all, then the closest for each limit alone; of equals the first in the ranking."""
    missing = [(one, budget.misses(one)) for one in rated]
    found: dict[Identity, Nearest] = {}
    for wanted in (None, *Limit):
        some = [pair for pair in missing if wanted is None or [miss.limit for miss in pair[1]] == [wanted]]
        if not some:
            continue
        one, misses = min(some, key=lambda pair: max(miss.share for miss in pair[1]))
        found.setdefault(one.identity, Nearest(candidate=one, misses=misses, alone=len(misses) == 1))
    return tuple(found.values())
