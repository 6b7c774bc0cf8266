"""What each kind of convolution computes, keeps and loses, and who described it."""

from dataclasses import dataclass

from mnet_deploy.cost.convolutions import ConvolutionKind

SYMBOLS = (
    "K side of the kernel, M channels in, N filters, D side of the output (D_in: of the input), g groups, d dilation"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """Sentences for people.

    Attributes:
        formula: MACs; the output's side D stands for both sides.
        field: side of the pixels that reach an output pixel.
        keeps: what remains of a standard convolution, or is won.
        loses: what it can no longer compute, or costs.
        source: where it comes from.
    """

    formula: str
    field: str
    keeps: str
    loses: str
    source: str


WORDS = {
    ConvolutionKind.STANDARD: Words(
        formula="K·K·M·N·D·D",
        field="K",
        keeps="everything: each output sees every channel under the whole window; the others are measured against it",
        loses="nothing, at the price of K·K·N multiplications for every value read",
        source="LeCun et al. 1989, Backpropagation applied to handwritten zip code recognition",
    ),
    ConvolutionKind.DEPTHWISE: Words(
        formula="K·K·M·D·D",
        field="K",
        keeps="the window, one of its own for each channel",
        loses="mixing of channels: none sees another, and there are as many out as in; few MACs for each byte moved",
        source="Sifre 2014, Rigid-motion scattering for image classification",
    ),
    ConvolutionKind.POINTWISE: Words(
        formula="M·N·D·D",
        field="1",
        keeps="mixing of all channels, as a plain matrix multiplication",
        loses="the neighbourhood: an output sees one pixel",
        source="Lin et al. 2013, Network in network, arXiv 1312.4400",
    ),
    ConvolutionKind.DEPTHWISE_SEPARABLE: Words(
        formula="K·K·M·D·D + M·N·D·D",
        field="K",
        keeps="the window and the mixing, one after the other; the gain stays below K·K, however large N is",
        loses="windows that differ from output to output: all N share the one window of a channel; one tensor more to "
        "write and read",
        source="Howard et al. 2017, MobileNets, arXiv 1704.04861",
    ),
    ConvolutionKind.SPATIALLY_SEPARABLE: Words(
        formula="K·M·N·D·D_in + K·N·N·D·D (D_in is D with padding same and stride 1)",
        field="K",
        keeps="the window and the mixing; exact for a single kernel of rank 1, such as Sobel's",
        loses="windows of higher rank (diagonals, dots) unless several middle channels add up to them; one tensor more",
        source="Szegedy et al. 2015, Rethinking the Inception architecture, arXiv 1512.00567, section 3.2",
    ),
    ConvolutionKind.GROUPED: Words(
        formula="K·K·M·N·D·D / g",
        field="K",
        keeps="the window, and the mixing within a group",
        loses="mixing between groups: an output sees M/g channels",
        source="Krizhevsky et al. 2012, ImageNet classification; Xie et al. 2016, ResNeXt, arXiv 1611.05431",
    ),
    ConvolutionKind.POINTWISE_GROUPED: Words(
        formula="M·N·D·D / g",
        field="1",
        keeps="the mixing within a group",
        loses="the neighbourhood, and mixing between groups",
        source="Zhang et al. 2017, ShuffleNet, arXiv 1707.01083",
    ),
    ConvolutionKind.SHUFFLED_GROUPED: Words(
        formula="K·K·M·N·D·D / g, and 0 for the shuffle",
        field="K",
        keeps="a grouped convolution whose successor sees channels of every group",
        loses="mixing at once: it waits for the next layer; the shuffle takes no MACs but moves the whole tensor twice",
        source="Zhang et al. 2017, ShuffleNet, arXiv 1707.01083",
    ),
    ConvolutionKind.DILATED: Words(
        formula="K·K·M·N·D·D",
        field="K + (K - 1)(d - 1)",
        keeps="MACs and parameters of the standard convolution, with a wider field",
        loses="the pixels between those under the kernel (gridding), and neighbours in the cache",
        source="Yu and Koltun 2015, Multi-scale context aggregation, arXiv 1511.07122",
    ),
    ConvolutionKind.FLATTENED: Words(
        formula="N·D·D·(M + 2·K) (with padding same and stride 1)",
        field="K",
        keeps="mixing, then columns, then rows",
        loses="all but kernels that are a product of three vectors: a filter has one window of rank 1 for all channels",
        source="Jin et al. 2014, Flattened convolutional neural networks, arXiv 1412.5474",
    ),
    ConvolutionKind.TRANSPOSED: Words(
        formula="K·K·M·N·D_in·D_in",
        field="K / stride, rounded up",
        keeps="window and mixing, and makes the image larger by the stride",
        loses="evenness: where the stride does not divide K, pixels get different numbers of terms (checkerboards)",
        source="Dumoulin and Visin 2016, A guide to convolution arithmetic, arXiv 1603.07285, chapter 4",
    ),
}
