"""Give each output channel of a quantised layer the mean that it has in float.

Rounding the weights shifts the mean of every channel by (rounding error) * (mean input), the main loss of int8 in
MobileNets; the bias can take it back exactly (Nagel et al. 2019, arXiv 1906.04721, section 4.2). Done layer after layer
on inputs that are quantised already, it also takes back what earlier layers shifted.
"""

import numpy as np
from numpy.typing import NDArray

from mnet_deploy.converters.int8_engine import SHIFT, Stored
from mnet_deploy.converters.quantized_graph import QuantParams
from mnet_deploy.spec import LayerKind, LayerSpec

DoubleArray = NDArray[np.float64]


def tap_means(stored: Stored, params: QuantParams, layer: LayerSpec) -> DoubleArray:
    """Return the mean input below each tap of a layer's kernel, over images and output pixels.

    Args:
        stored: [images, height, width, channels], what the layer reads.
        params: of it.
        layer: gives kernel, stride, dilation and zeros.

    Returns:
        [kernel height, kernel width, channels], with the zeros at the borders counted as such.
    """
    mean_image = stored.sum(axis=0, dtype=np.uint32) / len(stored) - (params.zero_point + SHIFT)
    return _below_taps(mean_image * params.scale, layer)


def tap_means_of(channel_means: DoubleArray, layer: LayerSpec) -> DoubleArray:
    """Return the same for an input of which only the mean of each channel is known, [channels]."""
    height, width, _ = layer.in_shape_hwc
    return _below_taps(np.broadcast_to(channel_means, (height, width, len(channel_means))), layer)


def _below_taps(image: DoubleArray, layer: LayerSpec) -> DoubleArray:
    top, left, bottom, right = layer.padding_tlbr
    padded = np.pad(image, ((top, bottom), (left, right), (0, 0)))
    height, width, _ = layer.out_shape_hwc
    means = np.empty((layer.kernel_px, layer.kernel_px, image.shape[2]))
    for row in range(layer.kernel_px):
        for column in range(layer.kernel_px):
            y, x = row * layer.dilation, column * layer.dilation
            below = padded[y : y + (height - 1) * layer.stride + 1, x : x + (width - 1) * layer.stride + 1]
            means[row, column] = below[:: layer.stride, :: layer.stride].mean(axis=(0, 1))
    return means


def mean_sums(kernel: NDArray[np.floating], means: DoubleArray, layer: LayerSpec) -> DoubleArray:
    """Return the mean of each output channel's sum without bias, [channels out].

    Args:
        kernel: [height, width, channels in per group, channels out], real values.
        means: of `tap_means`.
        layer: says whether each channel has a kernel of its own.
    """
    depthwise = layer.kind is LayerKind.DEPTHWISE
    sums: DoubleArray = (
        np.einsum("hwc,hwc->c", kernel[:, :, 0, :], means)
        if depthwise
        else np.tensordot(kernel.astype(np.float64), means, axes=((0, 1, 2), (0, 1, 2)))
    )
    return sums
