"""Measure the accuracy of an exported file on a labelled folder, beside the float model it was made from."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnet_deploy.artifact import Artifact, read_artifact
from mnet_deploy.converters.options import FileFormat
from mnet_deploy.errors import SpecError
from mnet_deploy.graph_readers import read_graph
from mnet_deploy.pipeline.evaluation_images import decoded_chunks, labelled_images
from mnet_deploy.pipeline.reference import find_float_model
from mnet_deploy.progress import Progress
from mnet_deploy.quiet import silenced_native_output
from mnet_deploy.runners import local

FloatArray = NDArray[np.float32]
ClassArray = NDArray[np.intp]
Predict = Callable[[NDArray[np.uint8]], FloatArray]


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """Shares of images whose class is the best, or among the five best."""

    top1: float
    top5: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What an exported file and its float model answer on labelled images.

    Attributes:
        artifact: the sidecar of the file.
        images: how many were used.
        converted: accuracy of the file.
        reference: accuracy of the float model; None where it is not at hand.
        top1_agreement: share of images on which both have the same best class; None without the float model.
        notes: what the user should know, a sentence each.
    """

    artifact: Artifact
    images: int
    converted: Accuracy
    reference: Accuracy | None
    top1_agreement: float | None
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the figures as fractions; `<precision>_top1` is the file's, `float_top1` the float model's."""
        precision = self.artifact.precision
        return {
            "format": "mnet.verification/1",
            "file": self.artifact.file,
            "sha256": self.artifact.sha256,
            "images": self.images,
            "float_top1": self.reference.top1 if self.reference else None,
            "float_top5": self.reference.top5 if self.reference else None,
            f"{precision}_top1": self.converted.top1,
            f"{precision}_top5": self.converted.top5,
            "top1_agreement": self.top1_agreement,
            "notes": list(self.notes),
        }


def verify(path: Path, data: Path, *, class_file: Path | None, weights: str | None, progress: Progress) -> Verification:
    """Run a labelled folder through an exported file and through the float model it was made from.

    Args:
        path: the exported file; its sidecar says how images are prepared.
        data: one folder a class.
        class_file: names of the class folders in the order of the model's outputs; found by itself if None.
        weights: the checkpoint; None for the one that the sidecar names.
        progress: told what is being done.

    Raises:
        SpecError: unusable files, or folders that are no class of the model.
    """
    artifact = read_artifact(path)
    if artifact.file_format != FileFormat.ORT:
        read_graph(path)  # says in one line what is wrong with a damaged file, where an engine may crash
    if artifact.spec.classes is None:
        raise SpecError(f"{path}: accuracy needs a classifier. Received: a model without one")
    images, class_notes = labelled_images(artifact, data, class_file)
    reference, reference_notes = _reference_predict(artifact, weights, progress)
    broken: list[str] = []
    best, best_float, expected = _predict_all(
        artifact, file_predict(artifact, path), reference, images, broken, progress
    )
    return Verification(
        artifact=artifact,
        images=len(expected),
        converted=accuracy(best, expected),
        reference=accuracy(best_float, expected) if best_float is not None else None,
        top1_agreement=float((best[:, 0] == best_float[:, 0]).mean()) if best_float is not None else None,
        notes=(*class_notes, *reference_notes, *broken),
    )


def _reference_predict(
    artifact: Artifact, weights: str | None, progress: Progress
) -> tuple[Predict | None, tuple[str, ...]]:
    """Return the float model as a function, or None and why it is not at hand."""
    loaded, notes = find_float_model(artifact, weights)
    if loaded is None:
        return None, notes
    progress.stage("starting TensorFlow")
    with silenced_native_output():
        from mnet_deploy.models.builder import build, predict  # imports Keras: only where the float model is at hand

        model = build(loaded.spec, loaded.weights)

    def run(pixels: NDArray[np.uint8]) -> FloatArray:
        with silenced_native_output():
            return predict(model, artifact.normalization.apply(pixels))

    return run, notes


def file_predict(artifact: Artifact, path: Path) -> Predict:
    """Return an exported file as a function from pixels to real scores."""

    def run(pixels: NDArray[np.uint8]) -> FloatArray:
        stored = artifact.input.store(artifact.normalization.apply(pixels))
        return artifact.output.real(local.infer(path, stored).outputs)

    return run


def _predict_all(
    artifact: Artifact,
    converted: Predict,
    reference: Predict | None,
    images: list[tuple[Path, int]],
    broken: list[str],
    progress: Progress,
) -> tuple[ClassArray, ClassArray | None, ClassArray]:
    """Return the best five classes of both models, and the expected classes."""
    best: list[ClassArray] = []
    best_float: list[ClassArray] = []
    expected: list[int] = []
    for pixels, places in decoded_chunks(artifact.spec, [path for path, _ in images], broken, progress):
        best.append(best_five(converted(pixels)))
        if reference is not None:
            best_float.append(best_five(reference(pixels)))
        expected += [images[place][1] for place in places]
    return np.concatenate(best), np.concatenate(best_float) if best_float else None, np.asarray(expected)


def best_five(scores: FloatArray) -> ClassArray:
    """Return the (up to) five best classes of each row, the best first; of equal scores the lower class comes first."""
    return np.argsort(-scores.reshape(len(scores), -1), axis=1, kind="stable")[:, :5]


def accuracy(best: ClassArray, expected: ClassArray) -> Accuracy:
    """Return how often the expected class [images] is the first, or any, of the best five [images, 5]."""
    hits = best == expected[:, None]
    return Accuracy(top1=float(hits[:, 0].mean()), top5=float(hits.any(axis=1).mean()))
