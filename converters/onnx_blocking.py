"""Several neighbouring pixels of a row read or written as one position with more channels.

In NHWC order a row [width, channels] is the same bytes as [width / pixels, pixels * channels]. A dense convolution may
therefore read some pixels as one position and write others at once: its kernel gets zeros where an output pixel does
not read an input pixel, and the integer sums stay what they are.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mnet_deploy.spec import LayerSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocking:
    """How a layer reads and writes its rows.

    Attributes:
        read_px: input pixels in one position.
        write_px: output pixels in one position.
    """

    read_px: int = 1
    write_px: int = 1


PLAIN = Blocking()


@dataclass(frozen=True, slots=True, kw_only=True)
class RowGeometry:
    """A convolution's geometry along its rows, counted in positions.

    Attributes:
        positions: written in a row.
        kernel: positions under the kernel.
        stride: from one written position to the next.
        before: positions of zeros at the left.
        after: positions of zeros at the right.
    """

    positions: int
    kernel: int
    stride: int
    before: int
    after: int


def row_geometry(layer: LayerSpec, blocking: Blocking) -> RowGeometry | None:
    """Return the geometry; None where whole positions do not fit the rows or the stride."""
    in_px, out_px, left_px = layer.in_shape_hwc[1], layer.out_shape_hwc[1], layer.padding_tlbr[1]
    step_px = layer.stride * blocking.write_px
    if in_px % blocking.read_px or out_px % blocking.write_px or step_px % blocking.read_px or layer.dilation != 1:
        return None
    before = -(-left_px // blocking.read_px)
    last_px = layer.stride * (blocking.write_px - 1) + layer.kernel_px - 1 - left_px  # read for the first position
    kernel = last_px // blocking.read_px + before + 1
    positions, stride = out_px // blocking.write_px, step_px // blocking.read_px
    read = (positions - 1) * stride + kernel
    after = max(0, read - before - in_px // blocking.read_px)
    return RowGeometry(positions=positions, kernel=kernel, stride=stride, before=before, after=after)


def require_row_geometry(layer: LayerSpec, blocking: Blocking) -> RowGeometry:
    """Return the geometry.

    Raises:
        ValueError: whole positions do not fit the rows or the stride.
    """
    geometry = row_geometry(layer, blocking)
    if geometry is None:
        raise ValueError(f"{layer.name}: expected rows and a stride that whole positions fit. Received: {blocking}")
    return geometry


def blocked_kernel(kernel: NDArray[np.int8], layer: LayerSpec, blocking: Blocking) -> NDArray[np.int8]:
    """Return a dense kernel for blocked rows.

    Args:
        kernel: [height, width, channels in, channels out].
        layer: gives stride and padding.
        blocking: of the layer's rows.

    Returns:
        [height, positions, read_px * channels in, write_px * channels out].

    Raises:
        ValueError: see `require_row_geometry`.
    """
    geometry = require_row_geometry(layer, blocking)
    height, width, channels_in, channels_out = kernel.shape
    pixels = (blocking.read_px, blocking.write_px)
    blocked = np.zeros((height, geometry.kernel, pixels[0], channels_in, pixels[1], channels_out), kernel.dtype)
    for pixel in range(blocking.write_px):
        for tap in range(width):
            position, inside = divmod(layer.stride * pixel + tap - layer.padding_tlbr[1], blocking.read_px)
            blocked[:, position + geometry.before, inside, :, pixel] = kernel[:, tap]
    return blocked.reshape(height, geometry.kernel, pixels[0] * channels_in, pixels[1] * channels_out)


def dense_kernel(kernel: NDArray[np.int8]) -> NDArray[np.int8]:
    """Return a depthwise kernel [height, width, 1, channels] as a dense one: zero between different channels."""
    return kernel * np.eye(kernel.shape[3], dtype=kernel.dtype)
