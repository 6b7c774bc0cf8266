"""A file that classifies photos: how pixels become its input, and what its output says."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np

from mnet_deploy.artifact import Artifact, TensorInfo
from mnet_deploy.errors import FidelityError, SpecError
from mnet_deploy.pipeline.preparation import FloatArray, Pixels, Preparation
from mnet_deploy.pipeline.reference import FLOAT_INPUT
from mnet_deploy.runners import local

_INPUT_BYTES = 256 << 20  # of all inputs that are handed to an engine at once
_FLOAT_OUTPUT = TensorInfo(name="", shape=(), layout="NC", dtype="float32")


@dataclass(frozen=True, slots=True, kw_only=True)
class PhotoModel:
    """A file with one image input and one score for each class.

    Attributes:
        path: of the file.
        input: as stored in the file.
        output: as stored in the file.
        resolution_px: side of the square input.
        channels_in: 3 for colour, 1 for grey.
        classes: scores that the output has.
        labels: of the classes, in order; None if the file says nothing of them.
        preparation: as the sidecar or the user says, or the usual one.
    """

    path: Path
    input: TensorInfo
    output: TensorInfo
    resolution_px: int
    channels_in: int
    classes: int
    labels: tuple[str, ...] | None
    preparation: Preparation

    @classmethod
    def of_artifact(cls, artifact: Artifact, path: Path) -> Self:
        """Describe an exported file.

        Raises:
            SpecError: it has no classifier.
        """
        if artifact.spec.classes is None:
            raise SpecError(f"{path}: accuracy needs a classifier. Received: a model without one")
        return cls(
            path=path,
            input=artifact.input,
            output=artifact.output,
            resolution_px=artifact.spec.resolution_px,
            channels_in=artifact.spec.channels_in,
            classes=artifact.spec.classes,
            labels=artifact.labels,
            preparation=Preparation(normalization=artifact.normalization),
        )

    @classmethod
    def of_float_file(cls, artifact: Artifact, path: Path) -> Self:
        """Describe what `reference.write_float_model` wrote of the model that an exported file was made from."""
        return replace(cls.of_artifact(artifact, path), input=FLOAT_INPUT, output=_FLOAT_OUTPUT)

    def predict(self, pixels: Pixels) -> FloatArray:
        """Return the real scores [images, classes] of pixels [images, height, width, channels]."""
        (scores,) = self.predict_each(pixels, [self.preparation])
        return scores

    def predict_each(self, pixels: Pixels, preparations: Sequence[Preparation]) -> list[FloatArray]:
        """Return what `predict` returns under each of several preparations (of which the crop is the caller's)."""
        image_bytes = pixels[0].size * np.dtype(self.input.dtype).itemsize
        at_once = max(1, _INPUT_BYTES // (len(pixels) * image_bytes))  # an engine takes longer to start than to answer
        scores: list[FloatArray] = []
        for start in range(0, len(preparations), at_once):
            part = preparations[start : start + at_once]
            stored = np.concatenate([self.input.store(each.real_input(pixels)) for each in part])
            real = self.output.real(local.infer(self.path, stored).outputs)
            if not np.isfinite(real).all():
                raise FidelityError(f"{self.path}: expected scores that are numbers. Received: others")
            scores += np.split(real.reshape(len(stored), -1), len(part))
        return scores
