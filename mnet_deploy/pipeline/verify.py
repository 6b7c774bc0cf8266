"""Measure the accuracy of a file on a labelled folder, beside the float model it was made from."""

import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mnet_deploy.artifact import Artifact, file_sha256, read_artifact, sidecar_path
from mnet_deploy.converters.options import FileFormat
from mnet_deploy.errors import SpecError
from mnet_deploy.graph_readers import read_graph
from mnet_deploy.pipeline.accuracy import Accuracy, ClassArray, PairedDifference, accuracy, best_five, paired_difference
from mnet_deploy.pipeline.evaluation_images import decoded_chunks, labelled_images
from mnet_deploy.pipeline.foreign import Told, open_foreign
from mnet_deploy.pipeline.photo_model import PhotoModel
from mnet_deploy.pipeline.preparation_diagnosis import PreparationDiagnosis, diagnose_preparation
from mnet_deploy.pipeline.reference import find_float_model, write_float_model
from mnet_deploy.progress import Progress

# History: 1 = first; keys were added since, none changed.
VERIFICATION_FORMAT = "mnet.verification/1"

LabelledImages = list[tuple[Path, int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What a file and its float model answer on labelled images.

    Attributes:
        file: its name.
        sha256: of the file.
        artifact: its sidecar; None if it has none.
        images: how many were used.
        converted: accuracy of the file.
        reference: accuracy of the float model; None where it is not at hand.
        top1_agreement: share of images on which both have the same best class; None without the float model.
        difference: of the file to the float model; None without it.
        preparation: what the images say of how they are prepared; None if it was not asked.
        notes: what the user should know, a sentence each.
    """

    file: str
    sha256: str
    artifact: Artifact | None
    images: int
    converted: Accuracy
    reference: Accuracy | None
    top1_agreement: float | None
    difference: PairedDifference | None
    preparation: PreparationDiagnosis | None
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the figures as fractions.

        `float_top1` is the float model's, `<precision>_top1` the file's, or `file_top1` of a file without sidecar.
        """
        prefix = self.artifact.precision if self.artifact else "file"
        return {
            "format": VERIFICATION_FORMAT,
            "file": self.file,
            "sha256": self.sha256,
            "images": self.images,
            "float_top1": self.reference.top1 if self.reference else None,
            "float_top5": self.reference.top5 if self.reference else None,
            f"{prefix}_top1": self.converted.top1,
            f"{prefix}_top5": self.converted.top5,
            "top1_agreement": self.top1_agreement,
            "difference": asdict(self.difference) if self.difference else None,
            "preprocessing": self.preparation.to_json() if self.preparation else None,
            "notes": list(self.notes),
        }


def verify(
    path: Path,
    data: Path,
    *,
    class_file: Path | None,
    weights: str | None,
    progress: Progress,
    told: Told | None = None,
    diagnose: bool = True,
) -> Verification:
    """Run a labelled folder through a file and, where it is at hand, the float model it was made from.

    Args:
        path: a .tflite or .onnx image classifier; the sidecar of an exported one says how images are prepared.
        data: one folder a class.
        class_file: names of the class folders in the order of the model's outputs; found by itself if None.
        weights: the checkpoint; None for the one that the sidecar names.
        progress: told what is being done.
        told: of a file without sidecar.
        diagnose: whether to try the usual alternatives to how images are prepared, too.

    Raises:
        SpecError: unusable files, or folders that are no class of the model.
        DeviceError: an engine is missing or crashed.
    """
    with ExitStack() as stack:
        if sidecar_path(path).is_file():
            artifact = _read_exported(path, told)
            model = PhotoModel.of_artifact(artifact, path)
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mnet-")))
            reference, notes = _reference(artifact, weights, folder)
        else:
            if weights is not None:
                raise SpecError(
                    f"{path}: --weights is for a file with the sidecar that mnet export wrote. Leave it out"
                )
            artifact, reference = None, None
            model, notes = open_foreign(path, told or Told())
        images, class_notes = labelled_images(
            data, class_file, classes=model.classes, labels=model.labels, background_first=artifact is None
        )
        return _measure(model, artifact, reference, images, (*class_notes, *notes), diagnose, progress)


def _read_exported(path: Path, told: Told | None) -> Artifact:
    artifact = read_artifact(path)
    if told not in (None, Told()):
        raise SpecError(
            f"{path}: its sidecar says how photos are prepared. Received: an option that says otherwise, which is for "
            "files without sidecar. Leave it out"
        )
    if artifact.file_format != FileFormat.ORT:
        read_graph(path)  # says in one line what is wrong with a damaged file, where an engine may crash
    return artifact


def _reference(artifact: Artifact, weights: str | None, folder: Path) -> tuple[PhotoModel | None, tuple[str, ...]]:
    """Return the float model as a file, or None and why it is not at hand."""
    loaded, notes = find_float_model(artifact, weights)
    if loaded is None:
        return None, notes
    return PhotoModel.of_float_file(artifact, write_float_model(loaded, folder)), notes


def _measure(
    model: PhotoModel,
    artifact: Artifact | None,
    reference: PhotoModel | None,
    images: LabelledImages,
    notes: tuple[str, ...],
    diagnose: bool,
    progress: Progress,
) -> Verification:
    broken: list[str] = []
    best, best_float, used = _predict_all(model, reference, images, broken, progress)
    expected = np.asarray([index for _, index in used])
    return Verification(
        file=model.path.name,
        sha256=artifact.sha256 if artifact else file_sha256(model.path),
        artifact=artifact,
        images=len(used),
        converted=accuracy(best, expected),
        reference=accuracy(best_float, expected) if best_float is not None else None,
        top1_agreement=float((best[:, 0] == best_float[:, 0]).mean()) if best_float is not None else None,
        difference=paired_difference(best_float, best, expected) if best_float is not None else None,
        preparation=_diagnosis(model, reference, used, progress) if diagnose else None,
        notes=(*notes, *broken),
    )


def _predict_all(
    model: PhotoModel,
    reference: PhotoModel | None,
    images: LabelledImages,
    broken: list[str],
    progress: Progress,
) -> tuple[ClassArray, ClassArray | None, LabelledImages]:
    """Return the best five classes of both models, and the images that could be used."""
    best: list[ClassArray] = []
    best_float: list[ClassArray] = []
    used: LabelledImages = []
    paths, squash = [path for path, _ in images], model.preparation.squash
    for pixels, places in decoded_chunks(model, paths, broken, progress, squash=squash):
        best.append(best_five(model.predict(pixels)))
        if reference is not None:
            best_float.append(best_five(reference.predict(pixels)))
        used += [images[place] for place in places]
    return np.concatenate(best), np.concatenate(best_float) if best_float else None, used


def _diagnosis(
    model: PhotoModel, reference: PhotoModel | None, images: Sequence[tuple[Path, int]], progress: Progress
) -> PreparationDiagnosis:
    """Try alternatives on the float model where it is at hand: a quantised input holds no values beyond its range."""
    if reference is None:
        return diagnose_preparation(model, images, tried_on="the file", progress=progress)
    return diagnose_preparation(reference, images, tried_on="the float model", progress=progress)
