"""What a .tflite must look like for its spec and precision: found in its graph, not assumed of the converter."""

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


def expected_pads(spec: ModelSpec) -> int:
    """Return how many layers need a PAD op: those whose zeros are neither TFLite's SAME nor none (VALID)."""
    return sum(conv_padding(layer)[1] is not None for layer in spec.layers())


def structure_failures(graph: OpGraph, spec: ModelSpec, precision: Precision) -> tuple[str, ...]:
    """Return what is wrong with a file's graph, a phrase each; empty if it is as it should be."""
    layers = spec.layers()
    weighted = sum(layer.kind.has_weights for layer in layers)
    found = []
    if unfolded := unfolded_batch_norms(graph):
        found.append(f"{len(unfolded)} batch normalisations are not folded ({unfolded[0]} and others)")
    wanted_relu6 = sum(layer.activation is Activation.RELU6 for layer in layers)
    if fused_relu6_count(graph) != wanted_relu6:
        found.append(f"{fused_relu6_count(graph)} of {wanted_relu6} ReLU6 are fused")
    if pad_count(graph) != expected_pads(spec):
        found.append(f"{pad_count(graph)} PAD ops, {expected_pads(spec)} expected")
    if precision in _INTEGER:
        if floats := float_ops(graph):
            found.append(f"{len(floats)} ops compute in float ({floats[0]} and others)")
        per_channel, _ = per_channel_weights(graph)
        if per_channel != weighted:
            found.append(f"{per_channel} of {weighted} kernels have a scale per channel")
    histogram = op_histogram(graph)
    depthwise = sum(layer.kind is LayerKind.DEPTHWISE for layer in layers)
    convolutions = (histogram.get("CONV_2D", 0), histogram.get("DEPTHWISE_CONV_2D", 0))
    if convolutions != (weighted - depthwise, depthwise):
        found.append(f"{convolutions} convolutions and depthwise ones, {(weighted - depthwise, depthwise)} expected")
    return tuple(found)
