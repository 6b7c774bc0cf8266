"""Float model to int8, layer after layer.

Ranges of activations, a scale for each output channel's weights, rounding of the weights, and biases that give each
channel the mean that it has in float. The last two can be switched off; what each of them gains is measured on the
calibration images.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from mnet_deploy.converters.bias_correction import DoubleArray, mean_sums, tap_means, tap_means_of
from mnet_deploy.converters.folded_graph import FloatArray, FoldedGraph, FoldedLayer
from mnet_deploy.converters.int8_engine import Stored, real, run_layer, store
from mnet_deploy.converters.quantized_graph import INT8_MAX, QuantizedGraph, QuantizedLayer, QuantParams
from mnet_deploy.converters.weight_rounding import nearest, round_weights
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
# Steps of the input's range. 8-bit pixels have 255; one step less keeps every pixel away from the middle between two
# stored values, where the rounding of a runtime decides.
_INPUT_STEPS = 254


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """What is known of the float model's activations.

    Attributes:
        ranges: least and greatest value of the input (`INPUT_NAME`) and of each layer whose range is not fixed.
        sum_means: of each layer with weights, [channels out]: mean of its sums before ReLU6; None without any.
        channel_means: of the input and each layer, [channels]: mean of what it puts out; for use without images.
    """

    ranges: Mapping[str, Range]
    sum_means: Mapping[str, DoubleArray] | None = field(default=None, repr=False)
    channel_means: Mapping[str, DoubleArray] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantized:
    """A quantised model and what it answers.

    Attributes:
        graph: the model.
        outputs: real values that the last layer before the softmax puts out for the images, [images, ...]; None
            without images.
    """

    graph: QuantizedGraph
    outputs: FloatArray | None = field(repr=False)


def quantize(
    graph: FoldedGraph,
    observed: Observed,
    images: FloatArray | None = None,
    *,
    correct_bias: bool = True,
    optimize_rounding: bool = True,
) -> Quantized:
    """Quantise a model.

    Args:
        graph: with folded weights.
        observed: of the float model.
        images: [images, height, width, channels], normalised: each layer is corrected for what it really reads. None
            for a correction by `observed.channel_means` alone.
        correct_bias: give each channel its mean in float.
        optimize_rounding: round weights together instead of each for itself; needs images.
    """
    walk = _Walk(graph, observed, images)
    for layer in graph.layers:
        walk.add(layer, correct_bias=correct_bias, optimize_rounding=optimize_rounding and images is not None)
    quantized = QuantizedGraph(spec=graph.spec, input=walk.params[INPUT_NAME], layers=tuple(walk.layers))
    return Quantized(graph=quantized, outputs=walk.outputs)


def fixed_range(layer: FoldedLayer) -> Range | None:
    """Return the range of a layer's output where no image needs to be seen for it.

    ReLU6 ends at 0 and 6 by definition; storing into that range clips exactly as it does, and clipping tighter than 6
    costs accuracy. A softmax is between 0 and 1. None for other layers.
    """
    if layer.spec.activation is Activation.RELU6:
        return 0.0, RELU6_MAX
    return (0.0, 255 / 256) if layer.spec.kind is LayerKind.SOFTMAX else None


def input_params(low: float, high: float) -> QuantParams:
    """Return the parameters of the input."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = float(np.float32((high - low) / _INPUT_STEPS)) or 1.0
    return QuantParams(scale=scale, zero_point=round(-INT8_MAX - low / scale))


def kernel_scale(kernel: FloatArray, bias: FloatArray, input_scale: float, output_scale: float) -> FloatArray:
    """Return the scale of each output channel: its largest weight is 127 steps.

    A channel whose weights are (nearly) zero gets a larger one, so that its bias fits into int32 and engines can
    represent the step from its sums to the output. One with weights so large that any input drives it beyond the
    output's range gets a smaller one, for the same reason: it is beyond the range with clipped weights as well.
    """
    largest = np.abs(kernel).max(axis=(0, 1, 2)).astype(np.float64)
    smallest = np.abs(bias) / (input_scale * _BIAS_LIMIT)
    floor = output_scale * _SMALLEST_RATIO / input_scale
    ceiling = output_scale * _LARGEST_RATIO / input_scale
    scale = np.maximum(np.maximum(largest / INT8_MAX, smallest), floor)
    limited: FloatArray = np.minimum(scale, ceiling).astype(np.float32)
    return limited


class _Walk:
    """Goes through the layers in order and keeps what later ones read."""

    def __init__(self, graph: FoldedGraph, observed: Observed, images: FloatArray | None) -> None:
        self.params: dict[str, QuantParams] = {INPUT_NAME: input_params(*observed.ranges[INPUT_NAME])}
        self.layers: list[QuantizedLayer] = []
        self.outputs: FloatArray | None = None
        self._observed = observed
        self._readers = Counter(name for layer in graph.layers for name in layer.spec.inputs)
        self._stored: dict[str, Stored] = {}
        if images is not None:
            self._stored[INPUT_NAME] = store(self.params[INPUT_NAME], images)

    def add(self, layer: FoldedLayer, *, correct_bias: bool, optimize_rounding: bool) -> None:
        """Quantise a layer and run it."""
        name = layer.spec.name
        self.params[name] = self._output_params(layer)
        quantized = QuantizedLayer(spec=layer.spec, output=self.params[name])
        if layer.spec.kind.has_weights:
            quantized = self._weighted(layer, correct_bias=correct_bias, optimize_rounding=optimize_rounding)
        self.layers.append(quantized)
        if self._stored and layer.spec.kind is not LayerKind.SOFTMAX:
            inputs = [(self._stored[source], self.params[source]) for source in layer.spec.inputs]
            self._stored[name] = run_layer(quantized, inputs)
            self.outputs = None if self._readers[name] else real(self.params[name], self._stored[name])
        elif self._stored:
            self.outputs = real(self.params[layer.spec.inputs[0]], self._stored[layer.spec.inputs[0]])
        self._forget(layer)

    def _output_params(self, layer: FoldedLayer) -> QuantParams:
        if layer.spec.kind is LayerKind.CONCATENATION:
            return max((self.params[name] for name in layer.spec.inputs), key=lambda found: found.scale)
        found = QuantParams.of_range(*(fixed_range(layer) or self._observed.ranges[layer.spec.name]))
        return replace(found, scale=float(np.float32(max(found.scale, self._smallest_scale(layer)))))

    def _smallest_scale(self, layer: FoldedLayer) -> float:
        """Return the finest scale of a layer's output that engines can compute."""
        given = self.params[layer.spec.inputs[0]].scale
        if layer.spec.kind is LayerKind.GLOBAL_POOL:
            height, width, _ = layer.spec.in_shape_hwc
            return given / (height * width * _LARGEST_RATIO)
        if not layer.spec.kind.has_weights or layer.spec.activation is Activation.RELU6:
            return 0.0  # the range of a ReLU6 must end at 6
        kernel, _ = layer.require_weights()
        return given * float(np.abs(kernel).max()) / INT8_MAX / _LARGEST_RATIO

    def _weighted(self, layer: FoldedLayer, *, correct_bias: bool, optimize_rounding: bool) -> QuantizedLayer:
        kernel, bias = layer.require_weights()
        (source,) = layer.spec.inputs
        given, output = self.params[source], self.params[layer.spec.name]
        scale = kernel_scale(kernel, bias, given.scale, output.scale)
        if optimize_rounding:
            stored = round_weights(kernel, scale, self._stored[source], given, layer.spec)
        else:
            stored = nearest(kernel, scale)
        wanted = bias.astype(np.float64)
        if correct_bias:
            wanted = self._corrected(layer, kernel, bias, stored.astype(np.float64) * scale)
        return QuantizedLayer(
            spec=layer.spec,
            output=output,
            kernel=stored,
            kernel_scale=scale,
            bias=_whole_bias(wanted, np.float64(given.scale) * scale),
        )

    def _corrected(
        self, layer: FoldedLayer, kernel: FloatArray, bias: FloatArray, rounded: NDArray[np.float64]
    ) -> DoubleArray:
        (source,) = layer.spec.inputs
        if self._stored and self._observed.sum_means is not None:
            means = tap_means(self._stored[source], self.params[source], layer.spec)
            return self._observed.sum_means[layer.spec.name] - mean_sums(rounded, means, layer.spec)
        if self._observed.channel_means is None:
            raise ValueError("expected images, or the mean of each channel, to correct biases by; received neither")
        means = tap_means_of(self._observed.channel_means[source], layer.spec)
        return bias + mean_sums(kernel, means, layer.spec) - mean_sums(rounded, means, layer.spec)

    def _forget(self, layer: FoldedLayer) -> None:
        """Let go of what no later layer reads."""
        for name in layer.spec.inputs:
            self._readers[name] -= 1
            if not self._readers[name]:
                self._stored.pop(name, None)


def _whole_bias(bias: DoubleArray, scale: DoubleArray) -> NDArray[np.int32]:
    limit = np.iinfo(np.int32).max // 2
    whole: NDArray[np.int32] = np.rint(bias / scale).clip(-limit, limit).astype(np.int32)
    return whole
