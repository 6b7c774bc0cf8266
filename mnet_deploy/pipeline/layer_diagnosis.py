"""Compare each layer of an exported file with its float model, and say in sentences what is wrong."""

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mnet_deploy.artifact import Artifact, read_artifact
from mnet_deploy.converters.folded_graph import fold
from mnet_deploy.errors import SpecError
from mnet_deploy.models.load import LoadedModel
from mnet_deploy.pipeline.evaluation_images import find_images
from mnet_deploy.pipeline.layer_findings import Finding, dead_in_float, find_causes
from mnet_deploy.pipeline.layer_statistics import LayerFigures, measure_layers
from mnet_deploy.pipeline.layer_tensors import LAYER_IMAGES, FloatArray, LayerReader
from mnet_deploy.pipeline.reference import FLOAT_INPUT, find_float_model, write_float_model
from mnet_deploy.progress import Progress

# History: 1 = first.
LAYERS_FORMAT = "mnet.layers/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerDiagnosis:
    """The layers of a file beside those of its float model.

    Attributes:
        artifact: the sidecar of the file.
        images: how many were run.
        layers: the input and all layers that were found, in graph order.
        findings: what is wrong, in graph order; empty if nothing stands out.
        notes: what the user should know, a sentence each.
    """

    artifact: Artifact
    images: int
    layers: tuple[LayerFigures, ...]
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON values; shares are fractions."""
        return {
            "format": LAYERS_FORMAT,
            "file": self.artifact.file,
            "sha256": self.artifact.sha256,
            "images": self.images,
            "layers": [layer.to_json() for layer in self.layers],
            "findings": [finding.to_json() for finding in self.findings],
            "notes": list(self.notes),
        }


def diagnose_layers(
    path: Path, *, data: Path | None, class_file: Path | None, weights: str | None, progress: Progress
) -> LayerDiagnosis:
    """Run images through an exported file and through the float model it was made from.

    Args:
        path: an exported .tflite or .onnx with its sidecar.
        data: photos, one folder a class or without classes; None for generated images.
        class_file: names of the class folders in the order of the model's outputs.
        weights: the checkpoint; None for the one that the sidecar names.
        progress: told what is being done.

    Raises:
        SpecError: unusable files or photos, or the checkpoint is not at hand.
        DeviceError: an engine is missing or crashed.
    """
    artifact = read_artifact(path)
    if artifact.file_format not in ("tflite", "onnx"):
        raise SpecError(
            f"layers can be read in .tflite and .onnx files. Received: {artifact.file}. Give the .onnx that it was "
            "made from"
        )
    loaded, lacking = find_float_model(artifact, weights)
    if loaded is None:
        raise SpecError(f"{path}: layers are compared with those of the float model. Received: {lacking[0]}")
    images = find_images(artifact, data, class_file)
    broken: list[str] = []
    pixels = np.concatenate([part for part, _ in images.sample(LAYER_IMAGES).chunks(artifact.spec, broken, progress)])
    inputs = artifact.normalization.apply(pixels)
    found = diagnose(path, artifact, loaded, inputs, progress)
    return replace(found, notes=(*images.notes, *found.notes, *dict.fromkeys(broken)))


def diagnose(
    path: Path, artifact: Artifact, loaded: LoadedModel, images: FloatArray, progress: Progress
) -> LayerDiagnosis:
    """Run normalised images [images, height, width, channels] through a file and a float model, and compare."""
    ends = artifact.normalization.input_range()
    with tempfile.TemporaryDirectory(prefix="mnet-") as name:
        folder = Path(name)
        file = LayerReader.open(path, artifact.spec, artifact.input, copy=folder / "layers_of_file.onnx")
        reference = LayerReader.open(
            write_float_model(loaded, folder), artifact.spec, FLOAT_INPUT, copy=folder / "layers_of_float.onnx"
        )
        layers = measure_layers(artifact.spec, file, reference, images, ends, progress)
    graph = fold(loaded.spec, loaded.weights)
    return LayerDiagnosis(
        artifact=artifact,
        images=len(images),
        layers=layers,
        findings=find_causes(graph, layers),
        notes=_dead_notes(dead_in_float(graph, layers)),
    )


def _dead_notes(dead: dict[str, tuple[int, ...]]) -> tuple[str, ...]:
    if not dead:
        return ()
    count = sum(len(channels) for channels in dead.values())
    listed = "; ".join(
        f"{layer}: {', '.join(str(channel) for channel in channels[:4])}{', ...' if len(channels) > 4 else ''}"
        for layer, channels in list(dead.items())[:6]
    )
    more = "" if len(dead) <= 6 else f"; and {len(dead) - 6} more layers"
    return (
        f"{count} channels are the same for all of these images in the float model, too, which costs no accuracy "
        f"({listed}{more})",
    )
