"""What a separable network would be with standard convolutions: the baseline that its savings are measured against."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from mnet_deploy.spec import LayerKind, LayerSpec


def as_standard_convolutions(layers: Sequence[LayerSpec]) -> tuple[LayerSpec, ...] | None:
    """Return the layers with each depthwise layer and its pointwise one as a single full convolution.

    For mobilenet_v1 the result is conv_mobilenet. None if there is no depthwise layer, or if one is read by other
    layers than a single pointwise one, so that no single convolution stands for the pair.
    """
    depthwise = {layer.name: layer for layer in layers if layer.kind is LayerKind.DEPTHWISE}
    readers = Counter(source for layer in layers for source in layer.inputs)
    pairs = {
        layer.name: depthwise[layer.inputs[0]]
        for layer in layers
        if layer.kind is LayerKind.POINTWISE and layer.inputs[0] in depthwise and readers[layer.inputs[0]] == 1
    }
    if not depthwise or len(pairs) < len(depthwise):
        return None
    return tuple(
        _merged(pairs[layer.name], layer) if layer.name in pairs else layer
        for layer in layers
        if layer.name not in depthwise
    )


def _merged(depthwise: LayerSpec, pointwise: LayerSpec) -> LayerSpec:
    return replace(
        depthwise,
        name=pointwise.name,
        kind=LayerKind.CONVOLUTION,
        out_shape_hwc=pointwise.out_shape_hwc,
        groups=1,
    )
