"""What all files of one export share, made once."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnet_deploy.converters import calibration as calibrate
from mnet_deploy.converters.calibrated_quantizer import QuantizerReport, images_for, quantize_calibrated
from mnet_deploy.converters.channel_statistics import has_statistics, statistics_of
from mnet_deploy.converters.float_pass import FloatPass, run_float
from mnet_deploy.converters.folded_graph import FoldedGraph, fold
from mnet_deploy.converters.quantized_graph import QuantizedGraph
from mnet_deploy.converters.quantizer import quantize
from mnet_deploy.cost import Precision
from mnet_deploy.errors import SpecError
from mnet_deploy.models.load import LoadedModel
from mnet_deploy.pipeline.golden_images import GoldenImages, generate
from mnet_deploy.pipeline.request import CalibrationFrom, ExportRequest
from mnet_deploy.progress import Progress
from mnet_deploy.spec import ModelSpec

FloatArray = NDArray[np.float32]
FEWEST_IMAGES = 10  # on fewer, an int8 file agrees with the float model on just those


@dataclass(frozen=True, kw_only=True)  # no slots: cached properties live in __dict__
class ExportJob:
    """What all files of one export share.

    Attributes:
        request: what was asked for.
        loaded: weights and spec.
        labels: of the classes; None for none.
        calibration: the images: for the ranges, and to compare each file with the float model.
        inputs: the images, normalised, [images, height, width, channels].
        keras_model: a model with a classifier that is not the family's, which TensorFlow converts; None for all others.
    """

    request: ExportRequest
    loaded: LoadedModel
    labels: tuple[str, ...] | None
    calibration: calibrate.CalibrationSet
    inputs: FloatArray
    keras_model: Any = None

    @property
    def stem(self) -> str:
        """What the names of all files begin with."""
        return self.loaded.spec.name

    @property
    def by_statistics(self) -> bool:
        """Whether int8 files are made without running an image."""
        return self.request.calibration is None and self.request.calibration_source is CalibrationFrom.STATISTICS

    @cached_property
    def folded(self) -> FoldedGraph:
        """The model with batch normalisation folded."""
        return fold(self.loaded.spec, self.loaded.weights)

    @cached_property
    def float_pass(self) -> FloatPass:
        """What the float model does on the images; of a model that Keras runs, only its answers."""
        if self.keras_model is not None:
            from mnet_deploy.pipeline.keras_fallback import answers  # imports Keras

            return FloatPass(means={}, ranges={}, outputs=answers(self.keras_model, self.inputs), logits=None)
        return run_float(self.folded, self.inputs, mean_images=images_for(self.request.effort))

    @cached_property
    def distinct_images(self) -> int:
        """How many different images there are that show anything; counted up to `FEWEST_IMAGES`."""
        found: set[bytes] = set()
        for image in self.calibration.pixels:
            if len(found) == FEWEST_IMAGES:
                break
            if image.min() != image.max():
                found.add(image.tobytes())
        return len(found)

    @cached_property
    def golden_images(self) -> GoldenImages:
        """The images whose answers are kept beside each file."""
        return generate(self.loaded.spec)

    @property
    def quantized(self) -> QuantizedGraph:
        """The model in int8."""
        return self._quantized_and_report[0]

    @property
    def quantizer_report(self) -> QuantizerReport | None:
        """What the steps of the quantiser gained; None where no image was run for it."""
        return self._quantized_and_report[1]

    @cached_property
    def _quantized_and_report(self) -> tuple[QuantizedGraph, QuantizerReport | None]:
        ends = self.request.normalization.input_range()
        if self.by_statistics:
            return quantize(self.folded, statistics_of(self.folded, self.loaded.weights, ends)).graph, None
        return quantize_calibrated(
            self.folded,
            self.inputs,
            self.float_pass,
            input_range=ends,
            effort=self.request.effort,
            are_photos=self.request.calibration is not None,
        )


def prepare(
    request: ExportRequest,
    loaded: LoadedModel,
    labels: tuple[str, ...] | None,
    progress: Progress,
    keras_model: Any = None,  # noqa: ANN401 - Keras is not imported here
) -> ExportJob:
    """Read the images.

    Raises:
        SpecError: unusable images, or statistics are asked for that the weights do not have.
    """
    for note in loaded.notes if loaded.body_trained else ():  # random weights are said once, with the result
        progress.note(note)
    progress.stage("reading calibration images")
    images = _calibration_images(request, loaded.spec, progress)
    for note in images.notes:
        progress.note(note)
    inputs = request.normalization.for_channels(loaded.spec.channels_in).apply(images.pixels)
    job = ExportJob(
        request=request, loaded=loaded, labels=labels, calibration=images, inputs=inputs, keras_model=keras_model
    )
    stock = [precision for precision in request.precisions if precision in (Precision.INT16X8, Precision.DYNAMIC)]
    if job.by_statistics and (stock or keras_model is not None):
        raise SpecError(
            "--calibration-source statistics is for models that TensorFlow does not convert. Received: "
            f"{stock[0] if stock else 'one with a classifier of its own'}. Give --calibration FOLDER"
        )
    if job.by_statistics and not has_statistics(loaded.weights):
        raise SpecError(
            f"--calibration-source statistics needs batch normalisations with the statistics of a training. Received: "
            f"{loaded.origin}, where they are identities. Give --calibration FOLDER, or --calibration-source generated"
        )
    return job


def _calibration_images(request: ExportRequest, spec: ModelSpec, progress: Progress) -> calibrate.CalibrationSet:
    options: dict[str, Any] = {"count": request.calibration_count, "seed": request.seed}
    options |= {"resolution_px": spec.resolution_px, "channels": spec.channels_in}
    if request.calibration is not None:
        return calibrate.from_folder(
            request.calibration,
            **options,
            on_progress=lambda done, count: progress.stage(f"reading calibration photos: {done} of {count}"),
        )
    source: Callable[..., calibrate.CalibrationSet] = (
        calibrate.noise if request.calibration_source is CalibrationFrom.NOISE else calibrate.generated
    )
    return source(**options)
