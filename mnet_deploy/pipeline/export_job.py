"""What all files of one export share, made once."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from mnet_deploy.converters import calibration as calibrate
from mnet_deploy.converters.activation_ranges import observe
from mnet_deploy.converters.folded_graph import FoldedGraph, fold
from mnet_deploy.converters.quantized_graph import QuantizedGraph
from mnet_deploy.converters.quantizer import quantize
from mnet_deploy.models.builder import PREDICT_BATCH, build, predict, with_static_batch
from mnet_deploy.models.load import LoadedModel
from mnet_deploy.pipeline.request import CalibrationFrom, ExportRequest
from mnet_deploy.progress import Progress
from mnet_deploy.quiet import silenced_native_output
from mnet_deploy.spec import ModelSpec

FloatArray = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)  # no slots: cached properties live in __dict__
class ExportJob:
    """What all files of one export share.

    Attributes:
        request: what was asked for.
        loaded: weights and spec.
        labels: of the classes; None for none.
        calibration: the images.
        inputs: the images, normalised, [images, height, width, channels].
        reference: what the Keras model answers to `inputs`; computed in the background.
        model: the Keras model with a static batch of 1.
    """

    request: ExportRequest
    loaded: LoadedModel
    labels: tuple[str, ...] | None
    calibration: calibrate.CalibrationSet
    inputs: FloatArray
    reference: Future[FloatArray]
    model: keras.Model

    @property
    def stem(self) -> str:
        """What the names of all files begin with."""
        return self.loaded.spec.name

    @cached_property
    def folded(self) -> FoldedGraph:
        """The model with batch normalisation folded."""
        return fold(self.loaded.spec, self.loaded.weights)

    @cached_property
    def quantized(self) -> QuantizedGraph:
        """The model in int8, with the ranges of the calibration images."""
        return quantize(self.folded, observe(self.folded, self.inputs))


def prepare(
    request: ExportRequest,
    loaded: LoadedModel,
    labels: tuple[str, ...] | None,
    background: ThreadPoolExecutor,
    progress: Progress,
) -> ExportJob:
    """Read the images, build the model, and start the float reference: it runs while the first file is converted."""
    spec = loaded.spec
    for note in loaded.notes if loaded.body_trained else ():  # random weights are said once, with the result
        progress.note(note)
    progress.stage("reading calibration images")
    images = _calibration_images(request, spec, progress)
    for note in images.notes:
        progress.note(note)
    inputs = request.normalization.for_channels(spec.channels_in).apply(images.pixels)
    progress.stage("building the model")
    with silenced_native_output():  # Keras warns of a softmax over a single class, for example
        model = build(spec, loaded.weights)
        predict(model, inputs[:PREDICT_BATCH])  # traces the model in this thread; after that another one may run it
        static = with_static_batch(model)
    return ExportJob(
        request=request,
        loaded=loaded,
        labels=labels,
        calibration=images,
        inputs=inputs,
        reference=background.submit(predict, model, inputs),
        model=static,
    )


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
