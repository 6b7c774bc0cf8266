"""Which ops of which format compute multiply-accumulates, and how many: a table from op to small pure functions.

What is neither here nor in `ops_without_macs` cannot be counted, and is reported as such.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class OpView:
    """An op as the formulas see it: shapes without the batch, None where a dimension is not known.

    Attributes:
        data: read.
        out: written.
        kernels: of the weights, as stored.
        left: first operand as stored, batch included, its unknown dimensions None.
        channels_first: the order of the axes of `data` and `out`, where they are images.
        attributes: of the op.
    """

    data: Shape | None
    out: Shape | None
    kernels: tuple[Shape, ...]
    left: tuple[int | None, ...] | None
    channels_first: bool
    attributes: dict[str, Any]

    def pixels(self, shape: Shape | None) -> int | None:
        """Return the positions of an image, or of all images if one image has become several on the way."""
        spatial_rank = len(self.kernels[0]) - 2
        if shape is None or len(shape) <= spatial_rank:
            return None
        channels_at = len(shape) - spatial_rank - 1 if self.channels_first else len(shape) - 1
        return prod(shape[:channels_at]) * prod(shape[channels_at + 1 :])


@dataclass(frozen=True, slots=True, kw_only=True)
class Counter:
    """How an op with MACs is counted.

    Attributes:
        kind: the row's kind.
        macs: of one image; None if a shape that it needs is not known.
        data: position of the activations among the op's inputs.
        kernels: positions of the weights; in a product of two matrices either operand may be one.
        bias: position of the bias.
        kernel_rank: the fewest dimensions that such a weight has; with fewer, the file is damaged.
    """

    kind: Callable[[OpView], str]
    macs: Callable[[OpView], int | None]
    data: int = 0
    kernels: tuple[int, ...] = (1,)
    bias: int | None = 2
    kernel_rank: int = 3


def counter_of(graph_format: str, op_type: str) -> Counter | None:
    """Return how to count an op; None if it has no MACs or they cannot be counted."""
    return _COUNTERS.get((graph_format, op_type))


def _per_output_pixel(view: OpView) -> int | None:
    """Return the kernel's elements times the positions written; grouped and dilated convolutions included."""
    pixels = view.pixels(view.out)
    return None if pixels is None else sum(map(prod, view.kernels)) * pixels


def _per_input_pixel(view: OpView) -> int | None:
    """Return the kernel's elements times the positions read: a transposed convolution spreads each over the output."""
    pixels = view.pixels(view.data)
    return None if pixels is None else prod(view.kernels[0]) * pixels


def _per_row(view: OpView) -> int | None:
    """Return the matrix' elements times the vectors that are multiplied with it."""
    return None if view.out is None else prod(view.kernels[0]) * prod(view.out[:-1])


def _matrix_product(view: OpView) -> int | None:
    """Return the elements written times the length of the sums behind each."""
    axis = 2 if view.attributes.get("adj_x") else 1
    if view.out is None or view.left is None or len(view.left) < axis:
        return None
    length = view.left[-axis]
    return None if length is None else prod(view.out) * length


def _convolution_kind(groups: Callable[[OpView], int], spatial: Callable[[Shape], Shape]) -> Callable[[OpView], str]:
    def kind(view: OpView) -> str:
        parts = groups(view)
        if parts > 1:
            channels = _channels(view)
            return "depthwise" if parts == channels else "grouped_convolution"
        return "pointwise" if prod(spatial(view.kernels[0])) == 1 else "convolution"

    return kind


def _channels(view: OpView) -> int | None:
    if not view.data or len(view.data) < len(view.kernels[0]) - 1:
        return None
    return view.data[-(len(view.kernels[0]) - 1)] if view.channels_first else view.data[-1]


def _groups_from_kernel(view: OpView) -> int:
    """Return the groups of a CONV_2D, which has no such attribute: the kernel's input channels are those of a group."""
    channels = _channels(view)
    return channels // view.kernels[0][-1] if channels and view.kernels[0][-1] else 1


def _named(kind: str) -> Callable[[OpView], str]:
    return lambda view: kind


def _table(graph_format: str, counters: dict[Counter, Sequence[str]]) -> dict[tuple[str, str], Counter]:
    return {(graph_format, op_type): counter for counter, types in counters.items() for op_type in types}


_TFLITE_CONVOLUTION = _convolution_kind(_groups_from_kernel, lambda kernel: kernel[1:-1])
_ONNX_CONVOLUTION = _convolution_kind(lambda view: int(view.attributes.get("group", 1)), lambda kernel: kernel[2:])
_KERAS_CONVOLUTION = _convolution_kind(lambda view: int(view.attributes.get("groups", 1)), lambda kernel: kernel[:-2])
_TRANSPOSED, _DENSE, _PRODUCT = map(_named, ("transposed_convolution", "fully_connected", "matrix_product"))

_COUNTERS = {
    **_table(
        "tflite",
        {
            Counter(kind=_TFLITE_CONVOLUTION, macs=_per_output_pixel): ("CONV_2D",),
            Counter(kind=_named("convolution"), macs=_per_output_pixel): ("CONV_3D",),
            Counter(kind=_named("depthwise"), macs=_per_output_pixel): ("DEPTHWISE_CONV_2D",),
            Counter(kind=_TRANSPOSED, macs=_per_input_pixel, data=2, bias=3): ("TRANSPOSE_CONV", "CONV_3D_TRANSPOSE"),
            Counter(kind=_DENSE, kernel_rank=2, macs=_per_row): ("FULLY_CONNECTED",),
            Counter(kind=_PRODUCT, kernel_rank=1, macs=_matrix_product, kernels=(0, 1), bias=None): ("BATCH_MATMUL",),
        },
    ),
    **_table(
        "onnx",
        {
            Counter(kind=_ONNX_CONVOLUTION, macs=_per_output_pixel): ("Conv", "com.microsoft::FusedConv"),
            Counter(kind=_ONNX_CONVOLUTION, macs=_per_output_pixel, bias=None): ("ConvInteger",),
            Counter(kind=_ONNX_CONVOLUTION, macs=_per_output_pixel, kernels=(3,), bias=8): ("QLinearConv",),
            Counter(kind=_TRANSPOSED, macs=_per_input_pixel): ("ConvTranspose",),
            Counter(kind=_DENSE, kernel_rank=2, macs=_per_row): ("Gemm",),
            Counter(kind=_DENSE, kernel_rank=2, macs=_per_row, kernels=(3,), bias=6): ("com.microsoft::QGemm",),
            Counter(kind=_PRODUCT, kernel_rank=1, macs=_matrix_product, kernels=(0, 1), bias=None): (
                "MatMul",
                "MatMulInteger",
            ),
            Counter(kind=_PRODUCT, kernel_rank=1, macs=_matrix_product, kernels=(0, 3), bias=None): ("QLinearMatMul",),
        },
    ),
    **_table(
        "keras",
        {
            Counter(kind=_KERAS_CONVOLUTION, macs=_per_output_pixel): ("Conv1D", "Conv2D", "Conv3D"),
            Counter(kind=_named("depthwise"), macs=_per_output_pixel): ("DepthwiseConv1D", "DepthwiseConv2D"),
            Counter(kind=_named("separable_convolution"), macs=_per_output_pixel, kernels=(1, 2), bias=3): (
                "SeparableConv1D",
                "SeparableConv2D",
            ),
            Counter(kind=_TRANSPOSED, macs=_per_input_pixel): (
                "Conv1DTranspose",
                "Conv2DTranspose",
                "Conv3DTranspose",
            ),
            Counter(kind=_DENSE, kernel_rank=2, macs=_per_row): ("Dense",),
            Counter(kind=_PRODUCT, kernel_rank=1, macs=_matrix_product, kernels=(0, 1), bias=None): ("Matmul",),
        },
    ),
}
