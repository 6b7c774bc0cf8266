"""Measure the accuracy of an exported file on a labelled folder, beside the float model it was made from."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnet_deploy.artifact import Artifact, file_sha256, read_artifact
from mnet_deploy.errors import SpecError
from mnet_deploy.image_folder import list_labelled
from mnet_deploy.images import BrokenImage, load_images
from mnet_deploy.labels import read_labels, require_labels
from mnet_deploy.models.load import load_model
from mnet_deploy.progress import Progress
from mnet_deploy.quiet import silenced_native_output
from mnet_deploy.runners import local

FloatArray = NDArray[np.float32]
Predict = Callable[[NDArray[np.uint8]], FloatArray]

CHUNK_IMAGES = 200  # decoded at a time: 30 MB of pixels at 224 px
CLASS_FILES = ("class_ids.txt", "labels.txt")  # looked for in the data folder and beside it


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
    if artifact.spec.classes is None:
        raise SpecError(f"{path}: accuracy needs a classifier. Received: a model without one")
    images, class_notes = _with_class_index(artifact, data, class_file)
    reference, reference_notes = _reference_predict(artifact, weights, progress)
    notes = (*class_notes, *reference_notes)
    chosen, expected, notes = _predict_all(artifact, _file_predict(artifact, path), reference, images, notes, progress)
    converted, float_answers = chosen
    return Verification(
        artifact=artifact,
        images=len(expected),
        converted=_accuracy(converted, expected),
        reference=_accuracy(float_answers, expected) if float_answers is not None else None,
        top1_agreement=float((converted[:, 0] == float_answers[:, 0]).mean()) if float_answers is not None else None,
        notes=notes,
    )


def _with_class_index(
    artifact: Artifact, data: Path, class_file: Path | None
) -> tuple[list[tuple[Path, int]], tuple[str, ...]]:
    """Return each image with the index of its class, and what the user should know of how that was found."""
    labelled = list_labelled(data)
    folders = sorted({name for _, name in labelled})
    names, notes = _class_names(artifact, data, class_file, folders)
    for wrong, what in (
        ([name for name in folders if name not in names], "none"),
        ([name for name in folders if names.count(name) > 1], "several"),
    ):
        if wrong:
            raise SpecError(
                f"{data}: each folder must be one class of the model. Received: {len(wrong)} that are {what}, such as "
                f"{wrong[0]}. Give --classes-file with the folders' names in the order of the model's outputs"
            )
    index = {name: position for position, name in enumerate(names)}
    return [(image, index[name]) for image, name in labelled], notes


def _class_names(
    artifact: Artifact, data: Path, class_file: Path | None, folders: list[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the class names in the model's order, and a note if that order was assumed.

    Taken from the file that was given, the sidecar's labels, or a file beside the data, whichever has the folders.
    """
    if class_file is not None:
        names = read_labels(class_file)
        require_labels(names, artifact.spec.classes, origin=str(class_file))
        return names, ()
    candidates = [artifact.labels] if artifact.labels is not None else []
    files = [folder / name for folder in (data, data.resolve().parent) for name in CLASS_FILES]
    candidates += [read_labels(file) for file in files if file.is_file()]
    for names in candidates:
        if len(names) == artifact.spec.classes and set(folders) <= set(names):
            return names, ()
    if len(folders) == artifact.spec.classes:  # Keras' own convention
        return tuple(folders), ("no label file has these folders: their sorted order was taken for the classes'",)
    return artifact.labels or (), ()


def _reference_predict(
    artifact: Artifact, weights: str | None, progress: Progress
) -> tuple[Predict | None, tuple[str, ...]]:
    """Return the float model as a function, or None and why it is not at hand."""
    recorded, digest = artifact.weights["path"], artifact.weights["sha256"]
    if weights is None and recorded is not None and (problem := _changed_since(Path(recorded), digest)):
        return None, (f"the float model is not at hand: {recorded} {problem}; give the checkpoint with --weights",)
    source = weights or recorded or artifact.weights["origin"]
    fields = {key: value for key, value in artifact.spec.to_json().items() if value is not None}
    loaded = load_model(source, fields, seed=artifact.calibration["seed"])
    if loaded.sha256 != digest:
        if weights is not None:
            raise SpecError(f"{weights} is not the checkpoint that {artifact.file} was made from (its sha256 differs)")
        return None, (f"the float model is not at hand: the {source} weights are not those of the export any more",)
    progress.stage("starting TensorFlow")
    with silenced_native_output():
        from mnet_deploy.models.builder import build, predict  # imports Keras: only where the float model is at hand

        model = build(loaded.spec, loaded.weights)

    def run(pixels: NDArray[np.uint8]) -> FloatArray:
        with silenced_native_output():
            return predict(model, artifact.normalization.apply(pixels))

    return run, ()


def _changed_since(path: Path, sha256: str) -> str:
    """Return in words how a file differs from the one with this sha256; empty if it does not."""
    if not path.is_file():
        return "is gone"
    return "" if file_sha256(path) == sha256 else "was changed since the export"


def _file_predict(artifact: Artifact, path: Path) -> Predict:
    def run(pixels: NDArray[np.uint8]) -> FloatArray:
        stored = artifact.input.store(artifact.normalization.apply(pixels))
        return artifact.output.real(local.infer(path, stored).outputs)

    return run


def _predict_all(
    artifact: Artifact,
    converted: Predict,
    reference: Predict | None,
    images: list[tuple[Path, int]],
    notes: tuple[str, ...],
    progress: Progress,
) -> tuple[tuple[NDArray[np.intp], NDArray[np.intp] | None], NDArray[np.intp], tuple[str, ...]]:
    """Return the best five classes of both models, the expected classes, and the notes with broken images added."""
    best: list[NDArray[np.intp]] = []
    best_float: list[NDArray[np.intp]] = []
    expected: list[int] = []
    broken: list[str] = []
    for start in range(0, len(images), CHUNK_IMAGES):
        progress.stage(f"image {start + 1} of {len(images)}")
        pixels, classes = _decode(artifact, images[start : start + CHUNK_IMAGES], broken)
        if not classes:
            continue
        best.append(best_five(converted(pixels)))
        if reference is not None:
            best_float.append(best_five(reference(pixels)))
        expected += classes
    progress.done()
    if not expected:
        raise SpecError(f"expected images that can be decoded. Received: {len(broken)} broken ones ({broken[0]})")
    both = np.concatenate(best), np.concatenate(best_float) if best_float else None
    return both, np.asarray(expected), (*notes, *broken)


def _decode(
    artifact: Artifact, images: Sequence[tuple[Path, int]], broken: list[str]
) -> tuple[NDArray[np.uint8], list[int]]:
    pixels, classes = [], []
    spec = artifact.spec
    decoded = load_images([path for path, _ in images], resolution_px=spec.resolution_px, channels=spec.channels_in)
    for (_, index), image in zip(images, decoded, strict=True):
        if isinstance(image, BrokenImage):
            broken.append(f"skipped: {image}")
            continue
        pixels.append(image)
        classes.append(index)
    return np.stack(pixels) if pixels else np.empty(0, np.uint8), classes


def best_five(scores: FloatArray) -> NDArray[np.intp]:
    """Return the (up to) five best classes of each row, the best first; of equal scores the lower class comes first."""
    return np.argsort(-scores.reshape(len(scores), -1), axis=1, kind="stable")[:, :5]


def _accuracy(best: NDArray[np.intp], expected: NDArray[np.intp]) -> Accuracy:
    hits = best == expected[:, None]
    return Accuracy(top1=float(hits[:, 0].mean()), top5=float(hits.any(axis=1).mean()))
