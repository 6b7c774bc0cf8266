"""Count single layers of any geometry, for the convolutions and networks that `LayerSpec` does not describe."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import prod
from typing import Literal

from mnet_deploy.cost.estimate import LayerCost
from mnet_deploy.errors import SpecError
from mnet_deploy.spec import LayerKind
from mnet_deploy.spec.layer_spec import Shape

Side = tuple[int, int]
TRANSPOSED = "transposed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """What slides over the image, for a convolution or a pooling; sizes are (height, width) in pixels.

    Attributes:
        kernel: sides of the kernel.
        stride: steps; those of a transposed convolution are the distance between its inputs in its output.
        dilation: distance between the pixels under the kernel.
        padding: `same`, `valid`, or the zeros added on each side.
        ceil: whether a last, incomplete position counts (poolings of Caffe).
    """

    kernel: Side = (1, 1)
    stride: Side = (1, 1)
    dilation: int = 1
    padding: Literal["same", "valid"] | int = "same"
    ceil: bool = False

    @property
    def field(self) -> Side:
        """Sides of what the kernel spans: K + (K - 1)·(d - 1)."""
        return _pair(kernel + (kernel - 1) * (self.dilation - 1) for kernel in self.kernel)

    def output_sides(self, sides: Side) -> Side:
        """Return height and width of the output.

        Raises:
            SpecError: the window is larger than the image.
        """
        found = _pair(map(self._output_side, sides, self.field, self.stride))
        if min(found) < 1:
            spans, has = ("x".join(map(str, pair)) for pair in (self.field, sides))
            raise SpecError(f"a window must fit on the image. Received: {spans} pixels on {has}. Make the image larger")
        return found

    def enlarged_sides(self, sides: Side) -> Side:
        """Return height and width of the output of a transposed convolution."""
        if self.padding == "same":
            return _pair(side * step for side, step in zip(sides, self.stride, strict=True))
        zeros = self.padding if isinstance(self.padding, int) else 0
        return _pair(
            (side - 1) * step + field - 2 * zeros
            for side, field, step in zip(sides, self.field, self.stride, strict=True)
        )

    def _output_side(self, side: int, field: int, step: int) -> int:
        if self.padding == "same":
            return -(-side // step)
        room = side + 2 * (self.padding if isinstance(self.padding, int) else 0) - field
        return (-(-room // step) if self.ceil else room // step) + 1


def counted_convolution(
    name: str,
    in_shape: Shape,
    channels_out: int,
    window: Window,
    *,
    groups: int = 1,
    transposed: bool = False,
    bias: bool = False,
    batch_norm: bool = False,
) -> LayerCost:
    """Count a convolution: elements of its kernel times output pixels; times input pixels for a transposed one.

    Raises:
        SpecError: the groups do not divide the channels, or the window does not fit.
    """
    *sides, channels_in = in_shape
    if channels_in % groups or channels_out % groups:
        raise SpecError(
            f"groups must divide the channels in and the filters. Received: {groups} groups, {channels_in} channels, "
            f"{channels_out} filters"
        )
    size = _pair(sides)
    out = window.enlarged_sides(size) if transposed else window.output_sides(size)
    weights = prod(window.kernel) * (channels_in // groups) * channels_out
    return LayerCost(
        name=name,
        kind=TRANSPOSED if transposed else _kind(window, channels_in, groups),
        in_shape=in_shape,
        out_shape=(*out, channels_out),
        macs=weights * prod(size if transposed else out),
        weight_count=weights,
        bias_count=channels_out if bias or batch_norm else 0,
        own_bias_count=channels_out if bias else 0,
        batch_norm_count=2 * channels_out if batch_norm else 0,
        in_elements=prod(in_shape),
        out_elements=prod(out) * channels_out,
    )


def counted_move(name: str, kind: str, in_shape: Shape, out_shape: Shape, *, batch_norm: bool = False) -> LayerCost:
    """Count a layer without multiply-accumulates: it reads and writes.

    A batch norm of its own cannot be folded: its scale and its shift both stay in a file.
    """
    channels = out_shape[2]
    return LayerCost(
        name=name,
        kind=kind,
        in_shape=in_shape,
        out_shape=out_shape,
        macs=0,
        weight_count=0,
        bias_count=2 * channels if batch_norm else 0,
        own_bias_count=0,
        batch_norm_count=2 * channels if batch_norm else 0,
        in_elements=prod(in_shape),
        out_elements=prod(out_shape),
    )


def _kind(window: Window, channels_in: int, groups: int) -> str:
    if groups == channels_in > 1:
        return LayerKind.DEPTHWISE
    return LayerKind.POINTWISE if window.kernel == (1, 1) else LayerKind.CONVOLUTION


def _pair(values: Iterable[int]) -> Side:
    height, width = values
    return height, width
