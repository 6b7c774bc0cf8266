"""What the float model does on calibration images: means, ranges and answers, from one run with ONNX Runtime."""

from dataclasses import dataclass, field

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import helper

from mnet_deploy.converters.folded_graph import FloatArray, FoldedGraph
from mnet_deploy.converters.onnx_float import write_float
from mnet_deploy.converters.onnx_nodes import OUTPUT_NAME, with_outputs
from mnet_deploy.converters.options import BatchSize, Layout, OnnxOptions
from mnet_deploy.errors import SpecError
from mnet_deploy.spec import Activation, LayerKind, LayerSpec
from mnet_deploy.spec.families import INPUT_NAME

Range = tuple[float, float]

_BATCH = 2  # more is hardly faster and takes 25 MB an image at 1.0-224
_MEAN = ".mean"


@dataclass(frozen=True, slots=True, kw_only=True)
class FloatPass:
    """What the float model does on calibration images.

    Attributes:
        means: of each layer with weights, [channels out]: mean of its sums over images and pixels, before ReLU6.
        ranges: least and greatest value of the input (`INPUT_NAME`) and of each layer without ReLU6 but a softmax.
        outputs: what the model answers, [images, classes] or [images, height, width, channels].
        logits: [images, classes], what the softmax reads; None for a model without a classifier.
    """

    means: dict[str, NDArray[np.float64]]
    ranges: dict[str, Range]
    outputs: FloatArray = field(repr=False)
    logits: FloatArray | None = field(repr=False)


def run_float(graph: FoldedGraph, images: FloatArray, *, mean_images: int | None = None) -> FloatPass:
    """Run the float model.

    Args:
        graph: with folded weights.
        images: [images, height, width, channels], normalised.
        mean_images: how many of them, from the first, `means` are taken over, which take longer; None for all.

    Raises:
        SpecError: the weights are so large that the model's values overflow.
    """
    layers = [layer.spec for layer in graph.layers]
    weighted = [layer.name for layer in layers if layer.kind.has_weights]
    plain = [layer.name for layer in layers if _has_open_range(layer)]
    means = [name + _MEAN for name in weighted]
    content = write_float(graph, OnnxOptions(layout=Layout.NHWC, batch=BatchSize.DYNAMIC))
    first = _run(_with_means(content, weighted, plain), [*means, *plain, OUTPUT_NAME], images[:mean_images])
    rest = _run(with_outputs(content, plain), [*plain, OUTPUT_NAME], images[len(first[OUTPUT_NAME]) :])
    collected = first | {name: np.concatenate([first[name], values]) for name, values in rest.items()}
    classifier = next((layer.name for layer in layers if layer.kind is LayerKind.CLASSIFIER), None)
    values = {name: collected[name] for name in plain}
    outputs = collected[OUTPUT_NAME]
    _require_finite(collected, weighted)
    return FloatPass(
        means={name: collected[name + _MEAN].astype(np.float64).mean(axis=(0, 2, 3)) for name in weighted},
        ranges={
            INPUT_NAME: (float(images.min()), float(images.max())),
            **{name: (float(value.min()), float(value.max())) for name, value in values.items()},
        },
        outputs=outputs.transpose(0, 2, 3, 1) if outputs.ndim == 4 else outputs,  # as NHWC
        logits=None if classifier is None else values[classifier].reshape(len(images), -1),
    )


def _require_finite(collected: dict[str, FloatArray], weighted: list[str]) -> None:
    for name in weighted:
        if not np.isfinite(collected[name + _MEAN]).all():
            raise SpecError(f"expected weights that give finite values. Received: ones that overflow float32 in {name}")
    if not np.isfinite(collected[OUTPUT_NAME]).all():
        raise SpecError("expected weights that give finite answers. Received: ones whose answers are no numbers")


def _has_open_range(layer: LayerSpec) -> bool:
    """Whether only images can tell the range: a softmax ends at 1, a concatenation spans what its inputs span."""
    has_end = layer.kind in (LayerKind.SOFTMAX, LayerKind.CONCATENATION)
    return layer.activation is not Activation.RELU6 and not has_end


def _run(content: bytes, wanted: list[str], images: FloatArray) -> dict[str, FloatArray]:
    if not len(images):
        return {}
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    batches = [
        session.run(wanted, {INPUT_NAME: images[start : start + _BATCH]}) for start in range(0, len(images), _BATCH)
    ]
    return {name: np.concatenate(parts) for name, parts in zip(wanted, zip(*batches, strict=True), strict=True)}


def _with_means(content: bytes, weighted: list[str], plain: list[str]) -> bytes:
    """Return the model with further outputs; means are taken inside, where the tensors are."""
    model = onnx.load_from_string(content)
    model.graph.node.extend(helper.make_node("GlobalAveragePool", [name], [name + _MEAN]) for name in weighted)
    return with_outputs(bytes(model.SerializeToString()), [*(name + _MEAN for name in weighted), *plain])
