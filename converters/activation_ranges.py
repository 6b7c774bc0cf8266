"""Which values the activations take on calibration images: the float model, run with ONNX Runtime."""

import numpy as np
import onnxruntime

from mnet_deploy.converters.folded_graph import FloatArray, FoldedGraph
from mnet_deploy.converters.onnx_float import write_float
from mnet_deploy.converters.onnx_nodes import OUTPUT_NAME, with_outputs
from mnet_deploy.converters.options import BatchSize, Layout, OnnxOptions
from mnet_deploy.converters.quantizer import Range, fixed_range
from mnet_deploy.spec import LayerKind
from mnet_deploy.spec.families import INPUT_NAME

_BATCH = 8  # large enough that starting a run costs nothing, small enough to stay below 200 MB at 1.0-224


def observe(graph: FoldedGraph, images: FloatArray) -> dict[str, Range]:
    """Return the least and greatest value of the input and of each layer whose range is not fixed.

    Args:
        graph: with folded weights.
        images: [images, height, width, channels], normalised.
    """
    names = [layer.spec.name for layer in graph.layers if _needs_images(layer.spec.kind) and fixed_range(layer) is None]
    outputs = [OUTPUT_NAME if name == graph.layers[-1].spec.name else name for name in names]
    model = write_float(graph, OnnxOptions(layout=Layout.NHWC, batch=BatchSize.DYNAMIC))
    session = onnxruntime.InferenceSession(with_outputs(model, outputs), providers=["CPUExecutionProvider"])
    ranges = {INPUT_NAME: (float(images.min()), float(images.max()))}
    found: dict[str, list[Range]] = {name: [] for name in names}
    for start in range(0, len(images), _BATCH):
        answers = session.run(outputs, {INPUT_NAME: images[start : start + _BATCH]}) if outputs else []
        for name, values in zip(names, answers, strict=True):
            found[name].append((float(values.min()), float(values.max())))
    lows_and_highs = {name: np.asarray(values) for name, values in found.items()}
    return ranges | {name: (float(v[:, 0].min()), float(v[:, 1].max())) for name, v in lows_and_highs.items()}


def _needs_images(kind: LayerKind) -> bool:
    return kind is not LayerKind.CONCATENATION  # spans what its inputs span
