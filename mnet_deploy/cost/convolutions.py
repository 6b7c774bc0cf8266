"""The kinds of convolution of the literature, counted pass by pass at one shape, for one image.

Kernels alone: no bias, no batch norm. A kind of several passes writes what is between them to memory and reads it
again. The closed formulas are in `formulas.py`; what each kind keeps and loses is in `convolution_words.py`.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields
from enum import StrEnum
from math import gcd
from typing import Literal, NamedTuple

from mnet_deploy.cost.counted_layers import Side, Window, counted_convolution, counted_move
from mnet_deploy.cost.estimate import CostEstimate, LayerCost, Precision
from mnet_deploy.errors import SpecError
from mnet_deploy.spec.layer_spec import Shape

USUAL_GROUPS = (4, 3, 2)


class ConvolutionKind(StrEnum):
    """What `mnet cost conv --kind` takes."""

    STANDARD = "standard"
    DEPTHWISE = "depthwise"
    POINTWISE = "pointwise"
    DEPTHWISE_SEPARABLE = "depthwise-separable"
    SPATIALLY_SEPARABLE = "spatially-separable"
    GROUPED = "grouped"
    POINTWISE_GROUPED = "pointwise-grouped"
    SHUFFLED_GROUPED = "shuffled-grouped"
    DILATED = "dilated"
    FLATTENED = "flattened"
    TRANSPOSED = "transposed"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvolutionShape:
    """Where the kinds are compared. The default is that of Howard et al. 2017, arXiv 1704.04861, Table 3.

    Attributes:
        size_px: side of the square input.
        channels_in: M.
        channels_out: N, the number of filters; a depthwise convolution alone has as many as channels.
        kernel_px: side K of the square kernel.
        stride: step; of a transposed convolution the factor by which it enlarges.
        groups: of the grouped kinds; 0 takes the first of 4, 3 and 2 that divides M and N, or else 1.
        dilation: of the dilated kind.
        padding: `same`: the output has the input's side divided by the stride, rounded up; `valid`: no padding.
    """

    size_px: int = 14
    channels_in: int = 512
    channels_out: int = 512
    kernel_px: int = 3
    stride: int = 1
    groups: int = 0
    dilation: int = 2
    padding: Literal["same", "valid"] = "same"

    def __post_init__(self) -> None:
        """Refuse what is no shape.

        Raises:
            SpecError: a number below 1, or another padding.
        """
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name != "padding" and value < (field.name != "groups"):
                raise SpecError(f"{field.name} of a convolution must be 1 or more. Received: {value}")
        if self.padding not in {"same", "valid"}:
            raise SpecError(f"padding of a convolution must be same or valid. Received: {self.padding!r}")

    @property
    def in_shape(self) -> Shape:
        return (self.size_px, self.size_px, self.channels_in)

    @property
    def group_count(self) -> int:
        """The groups of the grouped kinds."""
        common = gcd(self.channels_in, self.channels_out)
        return self.groups or next((count for count in USUAL_GROUPS if common % count == 0), 1)

    def window(self, kernel: Side | None = None, stride: Side | None = None, dilation: int = 1) -> Window:
        """Return a window with the shape's own kernel and stride where none is given."""
        return Window(
            kernel=kernel or (self.kernel_px, self.kernel_px),
            stride=stride or (self.stride, self.stride),
            dilation=dilation,
            padding=self.padding,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvolutionCost:
    """A kind at a shape.

    Attributes:
        kind: which.
        shape: where.
        passes: the layers it runs, with their totals.
        field_px: side of the square of input pixels that can reach an output pixel.
    """

    kind: ConvolutionKind
    shape: ConvolutionShape
    passes: CostEstimate
    field_px: int

    @property
    def out_shape(self) -> tuple[int, ...]:
        return self.passes.layers[-1].out_shape or ()

    def moved_bytes(self, precision: Precision) -> int:
        """Return the activation bytes that all passes read and write."""
        return self.passes.moved_bytes(precision) or 0

    def intensity(self, precision: Precision) -> float:
        """Return the MACs per byte of activations and kernels moved: high waits for arithmetic, low for memory."""
        return self.passes.macs / (self.moved_bytes(precision) + self.passes.stored_bytes(precision))


def count_convolution(kind: ConvolutionKind, shape: ConvolutionShape) -> ConvolutionCost:
    """Count one kind.

    Raises:
        SpecError: the groups do not divide the channels, or a kernel does not fit on the image.
    """
    layers = _PASSES[kind](shape)
    passes = CostEstimate(
        title=str(kind), layers=layers, peak_elements=max(_elements(layer) for layer in layers), uncounted=()
    )
    return ConvolutionCost(kind=kind, shape=shape, passes=passes, field_px=_field_px(kind, shape))


def compare(shape: ConvolutionShape) -> tuple[tuple[ConvolutionCost, ...], dict[ConvolutionKind, str]]:
    """Return the kinds that exist at a shape, the standard one first, and why the others do not.

    Raises:
        SpecError: not even a standard convolution fits.
    """
    count_convolution(ConvolutionKind.STANDARD, shape)
    costs, left_out = [], {}
    for kind in ConvolutionKind:
        try:
            costs.append(count_convolution(kind, shape))
        except SpecError as error:
            left_out[kind] = str(error)
    return tuple(costs), left_out


def _elements(layer: LayerCost) -> int:
    return (layer.in_elements or 0) + (layer.out_elements or 0)


def _field_px(kind: ConvolutionKind, shape: ConvolutionShape) -> int:
    if kind in {ConvolutionKind.POINTWISE, ConvolutionKind.POINTWISE_GROUPED}:
        return 1
    if kind is ConvolutionKind.DILATED:
        return shape.window(dilation=shape.dilation).field[0]
    if kind is ConvolutionKind.TRANSPOSED:
        return -(-shape.kernel_px // shape.stride)
    return shape.kernel_px


class _Pass(NamedTuple):
    name: str
    channels_out: int
    window: Window
    groups: int = 1


def _run(shape: ConvolutionShape, *passes: _Pass) -> tuple[LayerCost, ...]:
    """Count passes of which each reads what the one before it wrote."""
    layers: list[LayerCost] = []
    read = shape.in_shape
    for name, channels_out, window, groups in passes:
        layers.append(counted_convolution(name, read, channels_out, window, groups=groups))
        height, width, channels = layers[-1].out_shape or ()
        read = (height, width, channels)
    return tuple(layers)


def _standard(shape: ConvolutionShape) -> tuple[LayerCost, ...]:
    return _run(shape, _Pass("convolution", shape.channels_out, shape.window()))


def _depthwise(shape: ConvolutionShape) -> tuple[LayerCost, ...]:
    return _run(shape, _depthwise_pass(shape))


def _depthwise_pass(shape: ConvolutionShape) -> _Pass:
    return _Pass("depthwise", shape.channels_in, shape.window(), shape.channels_in)


def _pointwise(shape: ConvolutionShape) -> tuple[LayerCost, ...]:
    return _run(shape, _Pass("pointwise", shape.channels_out, shape.window((1, 1))))


def _depthwise_separable(shape: ConvolutionShape) -> tuple[LayerCost, ...]:
    return _run(shape, _depthwise_pass(shape), _Pass("pointwise", shape.channels_out, Window()))


def _spatially_separable(shape: ConvolutionShape) -> tuple[LayerCost, ...]:
    side, step, filters = shape.kernel_px, shape.stride, shape.channels_out
    return _run(
        shape,
        _Pass("vertical", filters, shape.window((side, 1), (step, 1))),
        _Pass("horizontal", filters, shape.window((1, side), (1, step))),
    )


def _grouped(shape: ConvolutionShape) -> tuple[LayerCost, ...]:
    return _run(shape, _Pass("grouped", shape.channels_out, shape.window(), shape.group_count))


def _pointwise_grouped(shape: ConvolutionShape) -> tuple[LayerCost, ...]:
    return _run(shape, _Pass("pointwise grouped", shape.channels_out, shape.window((1, 1)), shape.group_count))


def _shuffled_grouped(shape: ConvolutionShape) -> tuple[LayerCost, ...]:
    (grouped,) = _grouped(shape)
    height, width, channels = grouped.out_shape or ()
    written = (height, width, channels)
    return (grouped, counted_move("shuffle", "shuffle", written, written))


def _dilated(shape: ConvolutionShape) -> tuple[LayerCost, ...]:
    return _run(shape, _Pass("dilated", shape.channels_out, shape.window(dilation=shape.dilation)))


def _flattened(shape: ConvolutionShape) -> tuple[LayerCost, ...]:
    side, step, filters = shape.kernel_px, shape.stride, shape.channels_out
    return _run(
        shape,
        _Pass("lateral", filters, Window()),
        _Pass("vertical", filters, shape.window((side, 1), (step, 1)), filters),
        _Pass("horizontal", filters, shape.window((1, side), (1, step)), filters),
    )


def _transposed(shape: ConvolutionShape) -> tuple[LayerCost, ...]:
    return (counted_convolution("transposed", shape.in_shape, shape.channels_out, shape.window(), transposed=True),)


_PASSES: dict[ConvolutionKind, Callable[[ConvolutionShape], tuple[LayerCost, ...]]] = {
    ConvolutionKind.STANDARD: _standard,
    ConvolutionKind.DEPTHWISE: _depthwise,
    ConvolutionKind.POINTWISE: _pointwise,
    ConvolutionKind.DEPTHWISE_SEPARABLE: _depthwise_separable,
    ConvolutionKind.SPATIALLY_SEPARABLE: _spatially_separable,
    ConvolutionKind.GROUPED: _grouped,
    ConvolutionKind.POINTWISE_GROUPED: _pointwise_grouped,
    ConvolutionKind.SHUFFLED_GROUPED: _shuffled_grouped,
    ConvolutionKind.DILATED: _dilated,
    ConvolutionKind.FLATTENED: _flattened,
    ConvolutionKind.TRANSPOSED: _transposed,
}
