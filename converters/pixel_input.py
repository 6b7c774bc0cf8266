"""A quantised model whose stored input is the 8-bit pixel itself, as apps have it."""

from dataclasses import replace
from math import floor

import numpy as np

from mnet_deploy.converters.int8_engine import SHIFT
from mnet_deploy.converters.quantized_graph import QuantizedGraph, QuantizedLayer, QuantParams
from mnet_deploy.normalization import WHITE, Normalization
from mnet_deploy.spec.families import INPUT_NAME


def for_pixels(graph: QuantizedGraph, normalization: Normalization) -> QuantizedGraph:
    """Return the model for an input that stores pixels as they are.

    The input (p - mean) / std needs a zero point of `mean`, which is a whole number seldom: of -1..1 it is 127.5. What
    the rounded one leaves out is the same for every pixel, so the biases of the layers that read the image take it up.

    Args:
        graph: the model.
        normalization: from pixels to its real input. With one that differs between channels, or whose mean is no pixel
            value, one scale cannot do: the model is returned as it is.
    """
    (mean, *other_means), (std, *other_stds) = sorted(set(normalization.mean)), sorted(set(normalization.std))
    if other_means or other_stds or not 0 <= mean <= WHITE:
        return graph
    zero = floor(mean)
    params = QuantParams(scale=float(np.float32(1 / std)), zero_point=zero - SHIFT)
    left_out = (zero - mean) / std
    layers = (
        _shifted(layer, graph.input.scale, params.scale, left_out) if INPUT_NAME in layer.spec.inputs else layer
        for layer in graph.layers
    )
    return replace(graph, input=params, layers=tuple(layers))


def _shifted(layer: QuantizedLayer, scale_before: float, scale: float, left_out: float) -> QuantizedLayer:
    """Return a layer that reads an input of another scale, less a constant."""
    kernel, _, bias = layer.require_weights()
    sums = kernel.sum(axis=(0, 1, 2), dtype=np.int64)
    shifted = bias * (scale_before / scale) + sums * (left_out / scale)
    return replace(layer, bias=np.rint(shifted).astype(np.int32))
