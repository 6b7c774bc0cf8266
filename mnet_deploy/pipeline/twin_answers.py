"""What two exported files and their float model answer to the same images."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mnet_deploy.artifact import Artifact
from mnet_deploy.pipeline.accuracy import Accuracy, ClassArray, accuracy, best_five, paired_difference
from mnet_deploy.pipeline.evaluation_images import EvaluationImages
from mnet_deploy.pipeline.photo_model import PhotoModel
from mnet_deploy.progress import Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class TwinAccuracy:
    """How often each is right, over the same labelled images.

    Attributes:
        a: of the first file.
        b: of the second file.
        reference: of the float model; None if it is not at hand.
        difference: top-1 of b less that of a.
        low: lower end of the 95 % interval of the difference, which is a paired one.
        high: upper end.
    """

    a: Accuracy
    b: Accuracy
    reference: Accuracy | None
    difference: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TwinAnswers:
    """Shares of images on which two models have the same best class.

    Attributes:
        images: how many there were.
        between: of the two files.
        a_with_float: None if the float model is not at hand.
        b_with_float: the same of the second file.
        accuracy: None without labels.
    """

    images: int
    between: float
    a_with_float: float | None
    b_with_float: float | None
    accuracy: TwinAccuracy | None

    @property
    def warnings(self) -> tuple[str, ...]:
        """What speaks against their being twins, a sentence each."""
        return (*_agreement_warnings(self), *_accuracy_warnings(self.accuracy))


def _agreement_warnings(answers: TwinAnswers) -> tuple[str, ...]:
    with_float = (answers.a_with_float, answers.b_with_float)
    known = [share for share in with_float if share is not None]
    if not known or answers.between >= min(known):
        return ()
    return (
        f"the twins agree less with each other ({answers.between:.1%}) than each does with float (at least "
        f"{min(known):.1%}): look for the first layer whose SQNR between the two falls",
    )


def _accuracy_warnings(found: TwinAccuracy | None) -> tuple[str, ...]:
    if found is None or found.low <= 0 <= found.high:
        return ()
    word = "more" if found.difference > 0 else "less"
    return (f"B is {word} accurate than A by more than chance explains: the 95% interval does not contain 0",)


def compare_answers(
    a: tuple[Artifact, Path],
    b: tuple[Artifact, Path],
    float_file: Path | None,
    images: EvaluationImages,
    broken: list[str],
    progress: Progress,
) -> TwinAnswers | None:
    """Return how often two files and their float model have the same best class; None without a classifier.

    Args:
        a: the first file, with its sidecar.
        b: the second file.
        float_file: the float model as .onnx in NHWC; None if it is not at hand.
        images: to run.
        broken: gets a line for each image that cannot be used.
        progress: told how far it is.
    """
    artifact, _ = a
    if artifact.spec.classes is None:
        return None
    models = {"a": PhotoModel.of_artifact(*a), "b": PhotoModel.of_artifact(*b)}
    if float_file is not None:
        models["float"] = PhotoModel.of_float_file(artifact, float_file)
    best: dict[str, list[ClassArray]] = {name: [] for name in models}
    used: list[int] = []
    for pixels, places in images.chunks(artifact.spec, broken, progress):
        used += places
        for name, model in models.items():
            best[name].append(best_five(model.predict(pixels)))
    joined = {name: np.concatenate(parts) for name, parts in best.items()}
    return TwinAnswers(
        images=len(used),
        between=_agreement(joined["a"], joined["b"]),
        a_with_float=_agreement(joined["a"], joined["float"]) if float_file is not None else None,
        b_with_float=_agreement(joined["b"], joined["float"]) if float_file is not None else None,
        accuracy=None if images.classes is None else _accuracy(joined, np.asarray(images.classes)[used]),
    )


def _agreement(one: ClassArray, other: ClassArray) -> float:
    return float((one[:, 0] == other[:, 0]).mean())


def _accuracy(best: dict[str, ClassArray], expected: ClassArray) -> TwinAccuracy:
    found = paired_difference(best["a"], best["b"], expected)
    return TwinAccuracy(
        a=accuracy(best["a"], expected),
        b=accuracy(best["b"], expected),
        reference=accuracy(best["float"], expected) if "float" in best else None,
        difference=found.top1,
        low=found.low,
        high=found.high,
    )
