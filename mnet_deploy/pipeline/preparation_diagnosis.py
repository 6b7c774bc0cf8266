"""Find out whether photos are prepared as a model wants them, by trying on the same photos what is usually mixed up."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnet_deploy.intervals import holm, mcnemar_p
from mnet_deploy.pipeline.accuracy import ClassArray
from mnet_deploy.pipeline.evaluation_images import decoded_chunks
from mnet_deploy.pipeline.photo_model import PhotoModel
from mnet_deploy.pipeline.preparation import Alternative, Preparation, alternatives, step_name
from mnet_deploy.progress import Progress

SIGNIFICANT_P = 0.01  # of a gain, after Holm's correction for the alternatives tried with it
MAX_IMAGES = 1000  # of more, an evenly spread sample is tried: each alternative takes as long as the measurement itself

Hits = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """An alternative beside what it is an alternative to, over the same photos.

    Attributes:
        alternative: what was tried.
        right: photos that it has right.
        gained: photos that it alone has right.
        lost: photos that it alone has wrong.
        p_value: of the exact McNemar test, two-sided, after Holm's correction for all that was tried with it.
    """

    alternative: Alternative
    right: int
    gained: int
    lost: int
    p_value: float

    @property
    def is_better(self) -> bool:
        """Whether it is, by more than chance explains."""
        return self.gained > self.lost and self.p_value < SIGNIFICANT_P

    @property
    def is_distinguishable(self) -> bool:
        """Whether it is better or worse by more than chance explains."""
        return self.p_value < SIGNIFICANT_P

    def to_json(self) -> dict[str, Any]:
        """Return the figures as JSON values."""
        counts = {name: getattr(self, name) for name in ("right", "gained", "lost", "p_value")}
        return {"kind": str(self.alternative.kind), "name": self.alternative.name, **counts}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """A wrong step of the preparation, and what is to be put in its place.

    Attributes:
        trial: the best alternative.
        instead_of: what it replaces, in words.
        as_good: names of others of its kind that these photos do not tell from it.
    """

    trial: Trial
    instead_of: str
    as_good: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the figures as JSON values."""
        return {**self.trial.to_json(), "instead_of": self.instead_of, "as_good": list(self.as_good)}


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparationDiagnosis:
    """What the photos say of their preparation.

    Attributes:
        tried_on: which model answered, in words.
        images: photos that were tried.
        right: photos that are right as the preparation is.
        trials: each single change of the preparation as it is.
        causes: what is wrong, the worst first; each was tried with the remedies of those before it in place.
        right_after: photos that are right with all remedies in place.
    """

    tried_on: str
    images: int
    right: int
    trials: tuple[Trial, ...]
    causes: tuple[Cause, ...]
    right_after: int

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON values; `right` and the like are numbers of photos."""
        return {
            "tried_on": self.tried_on,
            "images": self.images,
            "right": self.right,
            "trials": [trial.to_json() for trial in self.trials],
            "causes": [cause.to_json() for cause in self.causes],
            "right_after": self.right_after,
            "significant_p": SIGNIFICANT_P,
        }


def diagnose_preparation(
    model: PhotoModel, images: Sequence[tuple[Path, int]], *, tried_on: str, progress: Progress
) -> PreparationDiagnosis:
    """Try each usual alternative to how photos are prepared; where one is better, try the others on top of it.

    Args:
        model: whose preparation is in question.
        images: photos that can be decoded, with the index of their class.
        tried_on: what the model is called in the result.
        progress: told how far it is.
    """
    places = np.linspace(0, len(images) - 1, min(len(images), MAX_IMAGES)).round().astype(int)
    answers = _Answers(model, [images[place] for place in places], progress)
    current = model.preparation
    rounds: list[tuple[Trial, ...]] = []
    causes: list[Cause] = []
    while True:
        named = {cause.trial.alternative.kind for cause in causes}
        options = [each for each in alternatives(model.input, model.channels_in, current) if each.kind not in named]
        rounds.append(_try(answers, current, options))
        better = [trial for trial in rounds[-1] if trial.is_better]
        if not better:
            break
        best = max(better, key=lambda trial: trial.right)  # of equal ones the first
        causes.append(_cause(answers, current, best, rounds[-1]))
        current = best.alternative.preparation
    return PreparationDiagnosis(
        tried_on=tried_on,
        images=len(places),
        right=int(answers.hits(model.preparation).sum()),
        trials=rounds[0],
        causes=tuple(causes),
        right_after=int(answers.hits(current).sum()),
    )


class _Answers:
    """Which photos are right under a preparation; each is run once."""

    def __init__(self, model: PhotoModel, images: Sequence[tuple[Path, int]], progress: Progress) -> None:
        self._model = model
        self._paths = [path for path, _ in images]
        self._expected = np.asarray([index for _, index in images])
        self._progress = progress
        self._best: dict[Preparation, ClassArray] = {}

    def hits(self, preparation: Preparation) -> Hits:
        self.run([preparation])
        hits: Hits = self._best[_input_of(preparation)] == self._expected + preparation.label_shift
        return hits

    def run(self, preparations: Sequence[Preparation]) -> None:
        """Run what was not run yet: crops and whole photos are decoded once each."""
        missing = [each for each in dict.fromkeys(map(_input_of, preparations)) if each not in self._best]
        for squash in (False, True):
            part = [each for each in missing if each.squash is squash]
            self._best |= dict(zip(part, self._run(part, squash), strict=True)) if part else {}

    def _run(self, preparations: Sequence[Preparation], squash: bool) -> Iterator[ClassArray]:
        chunks: list[list[ClassArray]] = []
        for pixels, _ in decoded_chunks(self._model, self._paths, [], self._progress, squash=squash):
            chunks.append([scores.argmax(axis=1) for scores in self._model.predict_each(pixels, preparations)])
        return (np.concatenate(parts) for parts in zip(*chunks, strict=True))


def _input_of(preparation: Preparation) -> Preparation:
    """Return what decides the model's answer: the labels have no part in it."""
    return replace(preparation, label_shift=0)


def _try(answers: _Answers, current: Preparation, options: Sequence[Alternative]) -> tuple[Trial, ...]:
    answers.run([current, *(each.preparation for each in options)])
    before = answers.hits(current)
    after = [answers.hits(each.preparation) for each in options]
    counts = [(int((hits & ~before).sum()), int((before & ~hits).sum())) for hits in after]
    p_values = holm([mcnemar_p(*pair) for pair in counts])
    return tuple(
        Trial(alternative=each, right=int(hits.sum()), gained=gained, lost=lost, p_value=p_value)
        for each, hits, (gained, lost), p_value in zip(options, after, counts, p_values, strict=True)
    )


def _cause(answers: _Answers, current: Preparation, best: Trial, trials: Sequence[Trial]) -> Cause:
    chosen = best.alternative
    hits = answers.hits(chosen.preparation)
    rivals = [each.alternative for each in trials if each.is_better and each.alternative.kind is chosen.kind]
    as_good = []
    for rival in rivals:
        others = answers.hits(rival.preparation)
        if rival is not chosen and mcnemar_p(int((hits & ~others).sum()), int((others & ~hits).sum())) >= SIGNIFICANT_P:
            as_good.append(rival.name)
    return Cause(trial=best, instead_of=step_name(chosen.kind, current), as_good=tuple(as_good))
