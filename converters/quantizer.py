"""Float model to int8: ranges of the activations, rounded weights."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from mnet_deploy.converters.folded_graph import FloatArray, FoldedGraph, FoldedLayer
from mnet_deploy.converters.quantized_graph import INT8_MAX, QuantizedGraph, QuantizedLayer, QuantParams
from mnet_deploy.spec import Activation, LayerKind
from mnet_deploy.spec.families import INPUT_NAME
from mnet_deploy.spec.layer_spec import RELU6_MAX

Range = tuple[float, float]

# A bias in int32 keeps this much room for the products that are added to it.
_BIAS_LIMIT = 2.0**30
# Engines take no greater ratio of (input scale * kernel scale) to output scale; 256 is the limit of XNNPACK and of
# ONNX Runtime's pooling. An output that varies so little that it would need one is stored in coarser steps.
_LARGEST_RATIO = 128.0
# XNNPACK takes no smaller ratio of (input scale * kernel scale) to output scale.
_SMALLEST_RATIO = 2.0**-31


def fixed_range(layer: FoldedLayer) -> Range | None:
    """Return the range of a layer's output where no image needs to be seen for it.

    ReLU6 ends at 0 and 6 by definition; storing into that range clips exactly as it does, and clipping tighter than 6
    costs accuracy. A softmax is between 0 and 1. None for other layers.
    """
    if layer.spec.activation is Activation.RELU6:
        return 0.0, RELU6_MAX
    return (0.0, 255 / 256) if layer.spec.kind is LayerKind.SOFTMAX else None


def quantize(graph: FoldedGraph, observed: Mapping[str, Range]) -> QuantizedGraph:
    """Quantise weights per output channel and activations per tensor.

    Args:
        graph: with folded weights.
        observed: least and greatest value of the input (`INPUT_NAME`) and of each layer without a fixed range.
    """
    params = {INPUT_NAME: QuantParams.of_range(*observed[INPUT_NAME])}
    layers = []
    for layer in graph.layers:
        output = _output_params(layer, observed, params)
        output = replace(output, scale=max(output.scale, _smallest_scale(layer, params)))
        params[layer.spec.name] = output
        layers.append(_quantize_layer(layer, params[layer.spec.inputs[0]], output))
    return QuantizedGraph(spec=graph.spec, input=params[INPUT_NAME], layers=tuple(layers))


def _output_params(layer: FoldedLayer, observed: Mapping[str, Range], params: Mapping[str, QuantParams]) -> QuantParams:
    if layer.spec.kind is LayerKind.CONCATENATION:
        return max((params[name] for name in layer.spec.inputs), key=lambda found: found.scale)
    return QuantParams.of_range(*(fixed_range(layer) or observed[layer.spec.name]))


def _smallest_scale(layer: FoldedLayer, params: Mapping[str, QuantParams]) -> float:
    """Return the finest scale of a layer's output that engines can compute."""
    given = params[layer.spec.inputs[0]].scale
    if layer.spec.kind is LayerKind.GLOBAL_POOL:
        height, width, _ = layer.spec.in_shape_hwc
        return given / (height * width * _LARGEST_RATIO)
    if not layer.spec.kind.has_weights:
        return 0.0
    kernel, _ = layer.require_weights()
    return given * float(np.abs(kernel).max()) / INT8_MAX / _LARGEST_RATIO


def _quantize_layer(layer: FoldedLayer, given: QuantParams, output: QuantParams) -> QuantizedLayer:
    if not layer.spec.kind.has_weights:
        return QuantizedLayer(spec=layer.spec, output=output)
    kernel, bias = layer.require_weights()
    scale = kernel_scale(kernel, bias, given.scale, output.scale)
    return QuantizedLayer(
        spec=layer.spec,
        output=output,
        kernel=np.rint(kernel / scale).clip(-INT8_MAX, INT8_MAX).astype(np.int8),
        kernel_scale=scale,
        bias=np.rint(bias / (np.float64(given.scale) * scale)).astype(np.int32),
    )


def kernel_scale(kernel: FloatArray, bias: FloatArray, input_scale: float, output_scale: float) -> FloatArray:
    """Return the scale of each output channel: its largest weight is 127 steps.

    A channel whose weights are (nearly) zero gets a larger one, so that its bias fits into int32 and engines can
    represent the step from its sums to the output.
    """
    largest = np.abs(kernel).max(axis=(0, 1, 2)).astype(np.float64)
    smallest = np.abs(bias) / (input_scale * _BIAS_LIMIT)
    floor = output_scale * _SMALLEST_RATIO / input_scale
    scale: FloatArray = np.maximum(np.maximum(largest / INT8_MAX, smallest), floor).astype(np.float32)
    return scale
