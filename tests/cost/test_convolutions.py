"""Each kind as a formula and as a worked example, against a count of the multiplications one by one."""

from fractions import Fraction
from itertools import product

import pytest

from mnet_deploy.cost import Precision
from mnet_deploy.cost.convolution_claims import claims
from mnet_deploy.cost.convolution_words import WORDS
from mnet_deploy.cost.convolutions import ConvolutionKind, ConvolutionShape, compare, count_convolution
from mnet_deploy.cost.counted_layers import Window, counted_convolution
from mnet_deploy.cost.formulas import (
    depthwise_macs,
    dilated_field_px,
    flattened_macs,
    grouped_macs,
    pointwise_macs,
    separable_to_standard_ratio,
    spatially_separable_macs,
    standard_conv_macs,
    transposed_macs,
)
from mnet_deploy.errors import SpecError

K = ConvolutionKind
SHAPES = [
    ConvolutionShape(),
    ConvolutionShape(size_px=5, channels_in=3, channels_out=16, padding="valid"),
    ConvolutionShape(size_px=12, channels_in=3, channels_out=256, kernel_px=5, padding="valid"),
    ConvolutionShape(size_px=15, channels_in=8, channels_out=24, stride=2, groups=8, dilation=3),
    ConvolutionShape(size_px=9, channels_in=6, channels_out=9, kernel_px=2, stride=3),
]


def macs(kind, shape):
    return count_convolution(kind, shape).passes.macs


def out_px(shape):
    if shape.padding == "same":
        return -(-shape.size_px // shape.stride)
    return (shape.size_px - shape.kernel_px) // shape.stride + 1


@pytest.mark.parametrize("shape", SHAPES)
def test_a_kind_counts_as_its_formula(shape):
    k, m, n, d, g = shape.kernel_px, shape.channels_in, shape.channels_out, out_px(shape), shape.group_count
    standard = standard_conv_macs(k, m, n, d)
    separable = depthwise_macs(k, m, d) + pointwise_macs(m, n, d)
    assert macs(K.STANDARD, shape) == standard
    assert macs(K.DEPTHWISE, shape) == depthwise_macs(k, m, d)
    assert macs(K.DEPTHWISE_SEPARABLE, shape) == separable == standard * separable_to_standard_ratio(k, n)
    assert macs(K.GROUPED, shape) == macs(K.SHUFFLED_GROUPED, shape) == grouped_macs(k, m, n, d, g)
    assert macs(K.TRANSPOSED, shape) == transposed_macs(k, m, n, shape.size_px)
    if shape.padding == "same":
        assert macs(K.POINTWISE, shape) == pointwise_macs(m, n, d)
        assert macs(K.POINTWISE_GROUPED, shape) == grouped_macs(1, m, n, d, g)
        assert macs(K.DILATED, shape) == standard
    if shape.padding == "same" and shape.stride == 1:
        assert macs(K.SPATIALLY_SEPARABLE, shape) == k * n * (m + n) * d * d
        assert macs(K.FLATTENED, shape) == flattened_macs(k, m, n, d)


@pytest.mark.parametrize(
    ("size", "channels", "filters", "kernel", "standard", "separable"),
    [
        (5, 3, 16, 3, 3_888, 243 + 432),
        (12, 3, 256, 5, 1_228_800, 4_800 + 49_152),
    ],
)
def test_worked_examples_of_depthwise_separable(size, channels, filters, kernel, standard, separable):
    shape = ConvolutionShape(
        size_px=size, channels_in=channels, channels_out=filters, kernel_px=kernel, padding="valid"
    )
    assert (macs(K.STANDARD, shape), macs(K.DEPTHWISE_SEPARABLE, shape)) == (standard, separable)
    assert Fraction(separable, standard) == Fraction(1, filters) + Fraction(1, kernel**2)


def test_the_paper_s_layer():
    """Howard et al. 2017, arXiv 1704.04861, Table 3: 462 and 52.3 million MACs, 2.36 and 0.27 million parameters."""
    standard, separable = (count_convolution(kind, ConvolutionShape()) for kind in (K.STANDARD, K.DEPTHWISE_SEPARABLE))
    assert (standard.passes.macs, separable.passes.macs) == (462_422_016, 52_283_392)
    assert (standard.passes.params, separable.passes.params) == (2_359_296, 266_752)


@pytest.mark.parametrize(("image", "kernel"), [(5, 3), (12, 5), (7, 7), (9, 1), (32, 3)])
def test_spatially_separable_over_one_channel_without_padding(image, kernel):
    shape = ConvolutionShape(size_px=image, channels_in=1, channels_out=1, kernel_px=kernel, padding="valid")
    assert macs(K.SPATIALLY_SEPARABLE, shape) == spatially_separable_macs(kernel, image)
    out = image - kernel + 1
    assert Fraction(spatially_separable_macs(kernel, image), standard_conv_macs(kernel, 1, 1, out)) == Fraction(
        2 * image - kernel + 1, kernel * out
    )


def test_spatially_separable_worked_example():
    assert (spatially_separable_macs(3, 5), standard_conv_macs(3, 1, 1, 3)) == (72, 81)
    assert spatially_separable_macs(3, 5) == (2 * 5 - 2) * (5 - 2) * 3
    assert spatially_separable_macs(5, 12) != (2 * 12 - 2) * (12 - 2) * 5


def test_flattened_worked_example():
    """M + 2K a pixel and filter: 512 + 6 instead of 4608."""
    ratio = Fraction(macs(K.FLATTENED, ConvolutionShape()), macs(K.STANDARD, ConvolutionShape()))
    assert ratio == Fraction(512 + 2 * 3, 512 * 3**2)


@pytest.mark.parametrize("filters", [1, 16, 72, 512, 10**6])
@pytest.mark.parametrize("kernel", [3, 5])
def test_the_gain_of_separable_stays_below_the_kernel(kernel, filters):
    assert 1 / separable_to_standard_ratio(kernel, filters) < kernel**2


def test_the_gain_reaches_8_at_72_filters():
    assert 1 / separable_to_standard_ratio(3, 72) == 8
    assert float(1 / separable_to_standard_ratio(3, 512)) == pytest.approx(8.84, abs=0.005)


def test_a_shuffle_multiplies_nothing_and_moves_everything():
    grouped, shuffled = (count_convolution(kind, ConvolutionShape()) for kind in (K.GROUPED, K.SHUFFLED_GROUPED))
    assert shuffled.passes.macs == grouped.passes.macs
    assert shuffled.moved_bytes(Precision.INT8) - grouped.moved_bytes(Precision.INT8) == 2 * 14 * 14 * 512


def test_a_transposed_convolution_multiplies_the_pixels_of_its_input():
    """The count over the output, divided by the square of the stride (2x2 with stride 2: nothing overlaps)."""
    shape = ConvolutionShape(kernel_px=2, stride=2, channels_in=512, channels_out=256)
    cost = count_convolution(K.TRANSPOSED, shape)
    assert cost.out_shape == (28, 28, 256)
    assert cost.passes.macs == 102_760_448 == standard_conv_macs(2, 512, 256, 28) // 4


@pytest.mark.parametrize(("kernel", "stride", "size"), [(2, 2, 3), (3, 2, 4), (4, 3, 5), (1, 2, 3)])
def test_transposed_against_multiplications_one_by_one(kernel, stride, size):
    shape = ConvolutionShape(
        size_px=size, channels_in=1, channels_out=1, kernel_px=kernel, stride=stride, padding="valid"
    )
    cost = count_convolution(K.TRANSPOSED, shape)
    terms = [position * stride + offset for position, offset in product(range(size), range(kernel))]
    assert cost.passes.macs == len(terms) ** 2
    assert cost.out_shape == (max(terms) + 1, max(terms) + 1, 1)
    assert cost.field_px == max(terms.count(index) for index in terms)


@pytest.mark.parametrize(("kernel", "dilation", "field"), [(3, 1, 3), (3, 2, 5), (3, 4, 9), (5, 2, 9), (1, 7, 1)])
def test_the_field_of_a_dilated_kernel(kernel, dilation, field):
    shape = ConvolutionShape(kernel_px=kernel, dilation=dilation)
    assert dilated_field_px(kernel, dilation) == field == count_convolution(K.DILATED, shape).field_px
    assert len(range(0, field, dilation)) == kernel


@pytest.mark.parametrize("size", range(3, 12))
@pytest.mark.parametrize(
    ("kernel", "stride", "dilation", "zeros"), [(3, 1, 1, 0), (3, 2, 1, 1), (2, 3, 2, 0), (3, 2, 2, 2)]
)
def test_output_sides_against_positions_one_by_one(size, kernel, stride, dilation, zeros):
    window = Window(kernel=(kernel, kernel), stride=(stride, stride), dilation=dilation, padding=zeros)
    last = (kernel - 1) * dilation
    positions = [start for start in range(0, size + 2 * zeros, stride) if start + last < size + 2 * zeros]
    if positions:
        assert window.output_sides((size, size)) == (len(positions), len(positions))
    else:
        with pytest.raises(SpecError, match="window must fit"):
            window.output_sides((size, size))


def test_bytes_and_intensity():
    cost = count_convolution(K.DEPTHWISE_SEPARABLE, ConvolutionShape())
    tensor = 14 * 14 * 512
    assert cost.moved_bytes(Precision.INT8) == 4 * tensor
    assert cost.moved_bytes(Precision.FP32) == 16 * tensor
    assert cost.intensity(Precision.INT8) == pytest.approx(52_283_392 / (4 * tensor + 266_752))


def test_depthwise_does_little_for_each_byte():
    costs, left_out = compare(ConvolutionShape())
    assert not left_out
    assert min(costs, key=lambda cost: cost.intensity(Precision.INT8)).kind is K.DEPTHWISE


@pytest.mark.parametrize(
    ("channels", "filters", "groups", "expected"), [(512, 512, 0, 4), (6, 9, 0, 3), (3, 16, 0, 1), (8, 24, 8, 8)]
)
def test_groups_where_none_are_given_divide(channels, filters, groups, expected):
    shape = ConvolutionShape(channels_in=channels, channels_out=filters, groups=groups)
    assert shape.group_count == expected


def test_kinds_that_do_not_exist_at_a_shape_are_named():
    costs, left_out = compare(ConvolutionShape(size_px=4, channels_in=6, channels_out=8, groups=4, padding="valid"))
    assert set(left_out) == {K.GROUPED, K.POINTWISE_GROUPED, K.SHUFFLED_GROUPED, K.DILATED}
    assert {cost.kind for cost in costs} == set(K) - set(left_out)
    assert left_out[K.DILATED].startswith("a window must fit on the image. Received: 5x5 pixels on 4x4")


@pytest.mark.parametrize(
    ("fields", "message"),
    [({"size_px": 0}, "size_px"), ({"groups": -1}, "groups"), ({"padding": "full"}, "same or valid")],
)
def test_what_is_no_shape_is_refused(fields, message):
    with pytest.raises(SpecError, match=message):
        ConvolutionShape(**fields)


def test_bias_and_batch_norm_are_counted_as_in_a_spec():
    layer = counted_convolution("c", (8, 8, 4), 10, Window(kernel=(3, 3)), bias=True, batch_norm=True)
    assert (layer.weight_count, layer.own_bias_count, layer.batch_norm_count, layer.bias_count) == (360, 10, 20, 10)


def test_every_kind_has_words_and_a_source():
    assert set(WORDS) == set(K)
    assert all(words.source[-1].isalnum() and any(sign.isdigit() for sign in words.source) for words in WORDS.values())


def test_claims_carry_our_counts():
    ours = {claim.claim: claim for claim in claims()}
    lost_digit = ours["1,28,800 multiplications"]
    assert lost_digit.right == "1,228,800 (separable: 53,952)"
    assert int(lost_digit.claim.split()[0].replace(",", "")) == 128_800 != 1_228_800
    assert "0.010004" in ours["depthwise separable: 100 times fewer multiplications"].why
    assert ours["a transposed convolution costs K²·M·N·D²"].right == "102,760,448"
