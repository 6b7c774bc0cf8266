"""One layer: shapes, geometry and the counts that follow from them."""

from dataclasses import dataclass
from enum import StrEnum
from math import prod

Shape = tuple[int, int, int]
RELU6_MAX = 6.0


class LayerKind(StrEnum):
    """What a layer computes. `CONVOLUTION` mixes space and channels, `POINTWISE` is the 1x1 special case."""

    CONVOLUTION = "convolution"
    DEPTHWISE = "depthwise"
    POINTWISE = "pointwise"
    CONCATENATION = "concatenation"
    GLOBAL_POOL = "global_pool"
    CLASSIFIER = "classifier"
    SOFTMAX = "softmax"

    @property
    def has_weights(self) -> bool:
        return self in _WEIGHTED


_WEIGHTED = frozenset({LayerKind.CONVOLUTION, LayerKind.DEPTHWISE, LayerKind.POINTWISE, LayerKind.CLASSIFIER})


class Activation(StrEnum):
    """What follows the (normalised) sum of a layer, fused into it by every exporter."""

    NONE = "none"
    RELU6 = "relu6"


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerSpec:
    """A node of the model's graph.

    Attributes:
        name: unique; equals the layer's name in `keras.applications.MobileNet` where that has the layer.
        inputs: names of the layers it reads, in order; `INPUT_NAME` is the model's input.
        kind: what it computes.
        in_shape_hwc: height, width, channels read; for a concatenation the channels of all inputs together.
        out_shape_hwc: height, width, channels written.
        kernel_px: side of the square kernel; 1 for layers without one.
        stride: step of the kernel in pixels, equal in both directions.
        groups: input channels are cut into this many independent groups; a depthwise layer has one per channel.
        dilation: distance between the pixels under the kernel; 1 is the ordinary kernel.
        padding_tlbr: rows and columns of zeros added at the top, left, bottom, right. Only those that a kernel
            position really reads: what a framework would add beyond them changes nothing.
        activation: applied to the output.
        batch_norm: whether a batch normalisation stands between the sum and the activation.
        bias: whether the layer has a bias of its own (a folded batch normalisation gives one as well).
    """

    name: str
    inputs: tuple[str, ...]
    kind: LayerKind
    in_shape_hwc: Shape
    out_shape_hwc: Shape
    kernel_px: int = 1
    stride: int = 1
    groups: int = 1
    dilation: int = 1
    padding_tlbr: tuple[int, int, int, int] = (0, 0, 0, 0)
    activation: Activation = Activation.NONE
    batch_norm: bool = False
    bias: bool = False

    @property
    def kernel_shape(self) -> tuple[int, int, int, int] | None:
        """Height, width, input channels per group, output channels; None for a layer without weights."""
        if not self.kind.has_weights:
            return None
        return (self.kernel_px, self.kernel_px, self.in_shape_hwc[2] // self.groups, self.out_shape_hwc[2])

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one image: kernel size times output pixels (Howard et al. 2017, section 3.1).

        The paper writes the input's side, which is right only at stride 1; the output's side is right always.
        Positions of the kernel that lie on padding count, as they do in every published figure.
        """
        height, width, _ = self.out_shape_hwc
        return self.weight_count * height * width

    @property
    def weight_count(self) -> int:
        """Elements of the kernel."""
        return prod(self.kernel_shape) if self.kernel_shape else 0

    @property
    def bias_count(self) -> int:
        """Elements of the bias that is left once batch normalisation is folded into the kernel."""
        return self.out_shape_hwc[2] if self.bias or self.batch_norm else 0

    @property
    def own_bias_count(self) -> int:
        """Elements of the bias before folding: those of a layer that has one of its own."""
        return self.out_shape_hwc[2] if self.bias else 0

    @property
    def batch_norm_count(self) -> int:
        """Trained batch-norm parameters before folding: gamma and beta (the moving statistics are not trained)."""
        return 2 * self.out_shape_hwc[2] if self.batch_norm else 0

    @property
    def in_elements(self) -> int:
        """Activation elements read for one image."""
        return prod(self.in_shape_hwc)

    @property
    def out_elements(self) -> int:
        """Activation elements written for one image."""
        return prod(self.out_shape_hwc)
