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


def grouped_macs(kernel_px: int, channels_in: int, channels_out: int, out_px: int, groups: int) -> int:
    """Return D_K² · M · N · D_F² / g (Krizhevsky et al. 2012; Xie et al. 2016, arXiv 1611.05431)."""
    return standard_conv_macs(kernel_px, channels_in, channels_out, out_px) // groups


def dilated_field_px(kernel_px: int, dilation: int) -> int:
    """Return D_K + (D_K - 1)(d - 1): what a dilated kernel spans (Yu and Koltun 2015, arXiv 1511.07122)."""
    return kernel_px + (kernel_px - 1) * (dilation - 1)


def transposed_macs(kernel_px: int, channels_in: int, channels_out: int, in_px: int) -> int:
    """Return D_K² · M · N · D_in²: each *input* pixel adds a whole kernel to the output.

    Counted with the output's side, it would be too much by the square of the stride (Dumoulin and Visin 2016,
    arXiv 1603.07285, chapter 4: the zeros between the pixels take no work).
    """
    return standard_conv_macs(kernel_px, channels_in, channels_out, in_px)


def spatially_separable_macs(kernel_px: int, image_px: int) -> int:
    """Return m(n - m + 1)(2n - m + 1): m x 1, then 1 x m, over n x n pixels of one channel without padding.

    The whole kernel takes m²(n - m + 1)². The (2n - 2)(n - 2)m of some tutorials is the case m = 3.
    """
    out_px = image_px - kernel_px + 1
    return kernel_px * out_px * (image_px + out_px)


def flattened_macs(kernel_px: int, channels_in: int, channels_out: int, out_px: int) -> int:
    """Return N · D_F² · (M + 2 D_K): across the channels, down, along (Jin et al. 2014, arXiv 1412.5474)."""
    return channels_out * out_px**2 * (channels_in + 2 * kernel_px)
