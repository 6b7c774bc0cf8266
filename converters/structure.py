"""What a file must look like for its spec and precision: found in its graph, not assumed of whoever wrote it."""

from mnet_deploy.converters.options import Tune
from mnet_deploy.cost import Precision
from mnet_deploy.graph_facts import (
    float_ops,
    fused_relu6_count,
    op_histogram,
    pad_count,
    per_channel_weights,
    unfolded_batch_norms,
)
from mnet_deploy.graph_readers import OpGraph
from mnet_deploy.spec import Activation, LayerKind, ModelSpec
from mnet_deploy.spec.families import conv_padding

_INTEGER = (Precision.INT8, Precision.INT16X8)
_ONNX_OPS = frozenset({"Conv", "Clip", "GlobalAveragePool", "Flatten", "Softmax", "Concat", "Transpose"})
_MORE_ONNX_OPS = {
    Precision.FP32: frozenset[str](),
    Precision.FP16: frozenset({"Cast"}),
    Precision.INT8: frozenset({"QuantizeLinear", "DequantizeLinear"}),
}
_X86_OPS = frozenset({"Reshape"})


def expected_pads(spec: ModelSpec) -> int:
    """Return how many layers of a .tflite need a PAD op: those whose zeros are neither SAME nor none (VALID)."""
    return sum(conv_padding(layer)[1] is not None for layer in spec.layers())


def tflite_failures(graph: OpGraph, spec: ModelSpec, precision: Precision) -> tuple[str, ...]:
    """Return what is wrong with the graph of a .tflite, a phrase each; empty if it is as it should be."""
    layers = spec.layers()
    found = [*_unfolded(graph)]
    wanted_relu6 = _relu6_count(spec)
    if fused_relu6_count(graph) != wanted_relu6:
        found.append(f"{fused_relu6_count(graph)} of {wanted_relu6} ReLU6 are fused")
    if pad_count(graph) != expected_pads(spec):
        found.append(f"{pad_count(graph)} PAD ops, {expected_pads(spec)} expected")
    found += _integer_failures(graph, spec, precision)
    histogram = op_histogram(graph)
    depthwise = sum(layer.kind is LayerKind.DEPTHWISE for layer in layers)
    convolutions = (histogram.get("CONV_2D", 0), histogram.get("DEPTHWISE_CONV_2D", 0))
    if convolutions != (_weighted_count(spec) - depthwise, depthwise):
        wanted = (_weighted_count(spec) - depthwise, depthwise)
        found.append(f"{convolutions} convolutions and depthwise ones, {wanted} expected")
    return tuple(found)


def foreign_head_failures(graph: OpGraph, precision: Precision) -> tuple[str, ...]:
    """Return what is wrong with a .tflite whose classifier is not the family's: what holds for any model."""
    floats = float_ops(graph) if precision in _INTEGER else ()
    computing = [f"{len(floats)} ops compute in float ({floats[0]} and others)"] if floats else []
    return (*_unfolded(graph), *computing)


def onnx_failures(graph: OpGraph, spec: ModelSpec, precision: Precision, tune: Tune) -> tuple[str, ...]:
    """Return what is wrong with the graph of an .onnx, a phrase each; empty if it is as it should be."""
    found = [*_unfolded(graph)]
    histogram = op_histogram(graph)
    allowed = _ONNX_OPS | _MORE_ONNX_OPS[precision] | (_X86_OPS if tune is Tune.X86 else frozenset())
    if others := sorted(set(histogram) - allowed):
        found.append(f"ops that a MobileNet does not need: {', '.join(others)}")
    if histogram.get("Conv", 0) != _weighted_count(spec):
        found.append(f"{histogram.get('Conv', 0)} convolutions, {_weighted_count(spec)} expected")
    clips = 0 if precision is Precision.INT8 else _relu6_count(spec)  # in int8 the ranges clip
    if histogram.get("Clip", 0) != clips:
        found.append(f"{histogram.get('Clip', 0)} Clip, {clips} expected")
    return (*found, *_integer_failures(graph, spec, precision))


def _unfolded(graph: OpGraph) -> list[str]:
    unfolded = unfolded_batch_norms(graph)
    return [f"{len(unfolded)} batch normalisations are not folded ({unfolded[0]} and others)"] if unfolded else []


def _integer_failures(graph: OpGraph, spec: ModelSpec, precision: Precision) -> list[str]:
    if precision not in _INTEGER:
        return []
    found = []
    if floats := float_ops(graph):
        found.append(f"{len(floats)} ops compute in float ({floats[0]} and others)")
    per_channel, _ = per_channel_weights(graph)
    if per_channel != _weighted_count(spec):
        found.append(f"{per_channel} of {_weighted_count(spec)} kernels have a scale per channel")
    return found


def _weighted_count(spec: ModelSpec) -> int:
    return sum(layer.kind.has_weights for layer in spec.layers())


def _relu6_count(spec: ModelSpec) -> int:
    return sum(layer.activation is Activation.RELU6 for layer in spec.layers())
