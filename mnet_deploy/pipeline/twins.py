"""Compare two exported files of one model, such as a .tflite and an .onnx: layer by layer, and in what they answer."""

import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from mnet_deploy.artifact import Artifact, read_artifact
from mnet_deploy.errors import SpecError
from mnet_deploy.pipeline.evaluation_images import find_images
from mnet_deploy.pipeline.layer_comparison import LayerPair, compare_layers
from mnet_deploy.pipeline.layer_tensors import LAYER_IMAGES, LayerReader
from mnet_deploy.pipeline.reference import FLOAT_INPUT, find_float_model, write_float_model
from mnet_deploy.pipeline.twin_answers import TwinAnswers, compare_answers
from mnet_deploy.progress import Progress
from mnet_deploy.spec import ModelSpec

# History: 1 = first.
TWINS_FORMAT = "mnet.twins/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class TwinComparison:
    """What two files of one model have in common.

    Attributes:
        a: sidecar of the first file.
        b: sidecar of the second file.
        layers: the input and all layers, in order.
        layer_images: over how many images the layers were compared.
        answers: None for a model without classifier.
        notes: what the user should know, a sentence each.
    """

    a: Artifact
    b: Artifact
    layers: tuple[LayerPair, ...]
    layer_images: int
    answers: TwinAnswers | None
    notes: tuple[str, ...]

    @property
    def warnings(self) -> tuple[str, ...]:
        """What speaks against their being twins, a sentence each."""
        if self.answers is None:
            return _output_warnings(self.layers[-1])
        return self.answers.warnings

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON values; shares are fractions."""
        return {
            "format": TWINS_FORMAT,
            **{name: _identity(artifact) for name, artifact in (("a", self.a), ("b", self.b))},
            "answers": None if self.answers is None else asdict(self.answers),
            "layer_images": self.layer_images,
            "layers": [layer.to_json() for layer in self.layers],
            "warnings": list(self.warnings),
            "notes": list(self.notes),
        }


def _identity(artifact: Artifact) -> dict[str, Any]:
    return {name: getattr(artifact, name) for name in ("file", "file_format", "precision", "io", "sha256")}


def _output_warnings(last: LayerPair) -> tuple[str, ...]:
    if last.a is None or last.b is None or last.between_db is None:
        return ()
    with_float = [side.sqnr_db for side in (last.a, last.b) if side.sqnr_db is not None]
    if not with_float or last.between_db >= min(with_float):
        return ()
    return (
        f"the twins' outputs are further from each other ({last.between_db:.1f} dB) than each is from float (at least "
        f"{min(with_float):.1f} dB)",
    )


def compare_twins(
    first: Path, second: Path, *, data: Path | None, class_file: Path | None, weights: str | None, progress: Progress
) -> TwinComparison:
    """Run the same images through two exported files and their float model.

    Args:
        first: an exported .tflite or .onnx; its sidecar says how images are prepared.
        second: another one of the same model.
        data: photos, one folder a class or without classes; None for generated images.
        class_file: names of the class folders in the order of the model's outputs; found by itself if None.
        weights: the checkpoint; None for the one that the first sidecar names.
        progress: told what is being done.

    Raises:
        SpecError: unusable files or photos, or files of two models.
        DeviceError: an engine is missing or crashed.
    """
    a, b = read_artifact(first), read_artifact(second)
    require_twins(a, b)
    images = find_images(a, data, class_file)
    loaded, float_notes = find_float_model(a, weights)
    broken: list[str] = []
    with tempfile.TemporaryDirectory(prefix="mnet-") as name:
        folder = Path(name)
        float_file = None if loaded is None else write_float_model(loaded, folder)
        answers = compare_answers((a, first), (b, second), float_file, images, broken, progress)
        reader_a = LayerReader.open(first, a.spec, a.input, copy=folder / "layers_of_a.onnx")
        reader_b = LayerReader.open(second, a.spec, b.input, copy=folder / "layers_of_b.onnx")
        reference = _float_reader(float_file, a.spec, folder)
        pixels = np.concatenate([part for part, _ in images.sample(LAYER_IMAGES).chunks(a.spec, broken, progress)])
        layers = compare_layers(a.spec, reader_a, reader_b, reference, a.normalization.apply(pixels), progress)
    return TwinComparison(
        a=a,
        b=b,
        layers=layers,
        layer_images=len(pixels),
        answers=answers,
        notes=(*images.notes, *float_notes, *dict.fromkeys(broken)),
    )


def require_twins(a: Artifact, b: Artifact) -> None:
    """Raise a `SpecError` that names the first difference of two files that are not of the same model."""
    for artifact in (a, b):
        if artifact.file_format not in ("tflite", "onnx"):
            raise SpecError(
                f"layers are compared in .tflite and .onnx files. Received: {artifact.file}. Give the .onnx that it "
                "was made from"
            )
    for what, one, other in _facts(a, b):
        if one != other:
            raise SpecError(
                f"twins are two files of one model. Received: {a.file} with {what} {one}, {b.file} with {other}. "
                "Export both from the same checkpoint with the same options"
            )


def _facts(a: Artifact, b: Artifact) -> Iterator[tuple[str, object, object]]:
    """Yield what must be the same of twins, as (what, of a, of b)."""
    of_a, of_b = a.spec.to_json(), b.spec.to_json()
    yield from ((name, value, of_b.get(name)) for name, value in of_a.items())
    yield "weights of sha256", a.weights["sha256"], b.weights["sha256"]
    yield "the normalisation", str(a.normalization), str(b.normalization)
    if a.labels is not None and b.labels is not None:
        yield from (("the label", one, other) for one, other in zip_longest(a.labels, b.labels))


def _float_reader(path: Path | None, spec: ModelSpec, folder: Path) -> LayerReader | None:
    if path is None:
        return None
    return LayerReader.open(path, spec, FLOAT_INPUT, copy=folder / "layers_of_float.onnx")
