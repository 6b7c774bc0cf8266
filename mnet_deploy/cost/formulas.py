"""The multiply-accumulates of single layers, as the literature writes them: Howard et al. 2017, arXiv 1704.04861, 3.1.

The paper's D_F is the side of the feature map, with stride 1 and padding that keeps it. Here it is the side of the
*output*, which is right at every stride and padding. `LayerSpec.macs` counts the same from a layer's shapes.
"""

from fractions import Fraction


def standard_conv_macs(kernel_px: int, channels_in: int, channels_out: int, out_px: int) -> int:
    """Return D_K · D_K · M · N · D_F · D_F (equation 2) for M channels in and N out."""
    return kernel_px**2 * channels_in * channels_out * out_px**2


def depthwise_macs(kernel_px: int, channels: int, out_px: int) -> int:
    """Return D_K · D_K · M · D_F · D_F (equation 4)."""
    return kernel_px**2 * channels * out_px**2


def pointwise_macs(channels_in: int, channels_out: int, out_px: int) -> int:
    """Return M · N · D_F · D_F (the second term of equation 5)."""
    return channels_in * channels_out * out_px**2


def separable_to_standard_ratio(kernel_px: int, channels_out: int) -> Fraction:
    """Return 1/N + 1/D_K² (section 3.1): the cost of depthwise plus pointwise as a part of the standard convolution.

    It is above 1/D_K²: a 3x3 kernel saves less than a factor of 9, however many channels there are.
    """
    return Fraction(1, channels_out) + Fraction(1, kernel_px**2)
