from fractions import Fraction

import pytest

from mnet_deploy.cost import CostEstimate, LayerCost, Precision, by_kind, estimate, estimate_layers
from mnet_deploy.cost.estimate import peak_elements
from mnet_deploy.cost.formulas import (
    depthwise_macs,
    pointwise_macs,
    separable_to_standard_ratio,
    standard_conv_macs,
)
from mnet_deploy.cost.grid import cost_grid
from mnet_deploy.cost.standard import as_standard_convolutions
from mnet_deploy.spec import Family, LayerKind, LayerSpec, ModelSpec

KIB = 1024

# (params, MACs) of each layer of the body, as tensorflow/models@0cf9932f prints them in the docstring of
# research/slim/nets/mobilenet_v1.py (kernels only, no batch norm).
SLIM_1_0_224 = [
    (864, 10_838_016),
    *((288, 3_612_672), (2_048, 25_690_112)),
    *((576, 1_806_336), (8_192, 25_690_112)),
    *((1_152, 3_612_672), (16_384, 51_380_224)),
    *((1_152, 903_168), (32_768, 25_690_112)),
    *((2_304, 1_806_336), (65_536, 51_380_224)),
    *((2_304, 451_584), (131_072, 25_690_112)),
    *((4_608, 903_168), (262_144, 51_380_224)) * 5,
    *((4_608, 225_792), (524_288, 25_690_112)),
    *((9_216, 451_584), (1_048_576, 51_380_224)),
]
SLIM_0_75_128 = [
    (648, 2_654_208),
    *((216, 884_736), (1_152, 4_718_592)),
    *((432, 442_368), (4_608, 4_718_592)),
    *((864, 884_736), (9_216, 9_437_184)),
    *((864, 221_184), (18_432, 4_718_592)),
    *((1_728, 442_368), (36_864, 9_437_184)),
    *((1_728, 110_592), (73_728, 4_718_592)),
    *((3_456, 221_184), (147_456, 9_437_184)) * 5,
    *((3_456, 55_296), (294_912, 4_718_592)),
    *((6_912, 110_592), (589_824, 9_437_184)),
]

# MACs of the body (convolutions only) and of the whole network with 1000 classes, in millions; parameters.
GRID = {
    (1.0, 224): (567.716352, 568.740, 4_231_976),
    (1.0, 192): (417.098, 418.122, 4_231_976),
    (1.0, 160): (289.651, 290.675, 4_231_976),
    (1.0, 128): (185.377, 186.401, 4_231_976),
    (0.75, 224): (324.632, 325.400, 2_585_560),
    (0.75, 192): (238.505, 239.273, 2_585_560),
    (0.75, 160): (165.629, 166.397, 2_585_560),
    (0.75, 128): (106.002432, 106.770, 2_585_560),
    (0.5, 224): (148.985, 149.497, 1_331_592),
    (0.5, 192): (109.458, 109.970, 1_331_592),
    (0.5, 160): (76.013, 76.525, 1_331_592),
    (0.5, 128): (48.648, 49.160, 1_331_592),
    (0.25, 224): (40.774, 41.030, 470_072),
    (0.25, 192): (29.957, 30.213, 470_072),
    (0.25, 160): (20.803, 21.059, 470_072),
    (0.25, 128): (13.314, 13.570, 470_072),
}
ROUNDING = 0.0005  # millions with three decimals

ALL_FAMILIES = [ModelSpec(family=family, alpha=alpha) for family in Family for alpha in (1.0, 0.35)]


def layer_of(kind, *, kernel_px, channels_in, channels_out, in_px, out_px, stride=1, groups=1):
    return LayerSpec(
        name="layer",
        inputs=("input",),
        kind=kind,
        in_shape_hwc=(in_px, in_px, channels_in),
        out_shape_hwc=(out_px, out_px, channels_out),
        kernel_px=kernel_px,
        stride=stride,
        groups=groups,
    )


@pytest.mark.parametrize(("alpha", "size", "published"), [(1.0, 224, SLIM_1_0_224), (0.75, 128, SLIM_0_75_128)])
def test_every_layer_of_the_body_counts_as_in_slims_docstring(alpha, size, published):
    layers = ModelSpec(alpha=alpha, resolution_px=size, classes=None).layers()
    assert [(layer.weight_count, layer.macs) for layer in layers] == published


def test_totals_of_the_body_are_those_of_slims_docstring():
    full = estimate(ModelSpec(classes=None))
    small = estimate(ModelSpec(alpha=0.75, resolution_px=128, classes=None))
    assert (full.weight_count, full.macs) == (3_185_088, 567_716_352)
    assert (small.weight_count, small.macs) == (1_800_144, 106_002_432)


def test_the_classifier_adds_width_times_classes():
    assert estimate(ModelSpec()).macs == 567_716_352 + 1024 * 1000 == 568_740_352  # "569" in the paper's Table 4
    assert (
        estimate(ModelSpec(alpha=0.75, classes=5)).macs - estimate(ModelSpec(alpha=0.75, classes=None)).macs == 768 * 5
    )


@pytest.mark.parametrize(("size", "counts"), GRID.items(), ids=str)
def test_the_sixteen_published_sizes(size, counts):
    body_macs, macs, params = counts
    cost = cost_grid(ModelSpec())[size]
    body = estimate(ModelSpec(alpha=size[0], resolution_px=size[1], classes=None))
    assert body.macs / 1e6 == pytest.approx(body_macs, abs=ROUNDING)
    assert cost.macs / 1e6 == pytest.approx(macs, abs=ROUNDING)
    assert cost.params == params


def test_the_grid_has_sixteen_sizes_of_the_given_family():
    grid = cost_grid(ModelSpec(family="dense2_mobilenet", growth=16, classes=7))
    assert set(grid) == set(GRID)
    assert grid[0.5, 160] == estimate(
        ModelSpec(family="dense2_mobilenet", growth=16, classes=7, alpha=0.5, resolution_px=160)
    )


@pytest.mark.parametrize(
    ("family", "growth", "macs_m", "params"),
    [
        ("conv_mobilenet", None, 4_867.293, 29_294_088),  # paper, Table 4: 4866 without the classifier, 29.3
        ("shallow_mobilenet", None, 307.323, 2_887_976),  # paper, Table 5: 307, 2.9
        # Our interpretation of the dense families: no published figure stands behind these.
        ("dense1_mobilenet", 16, 502.989, 3_646_408),
        ("dense1_mobilenet", 32, 543.384, 3_773_608),
        ("dense1_mobilenet", 64, 624.175, 4_028_008),
        ("dense2_mobilenet", 32, 167.099, 1_821_544),
    ],
)
def test_totals_of_the_other_families(family, growth, macs_m, params):
    cost = estimate(ModelSpec(family=family, growth=growth))
    assert cost.macs / 1e6 == pytest.approx(macs_m, abs=ROUNDING)
    assert cost.params == params


def test_conv_mobilenet_without_its_classifier_has_the_papers_4866_million_macs():
    assert estimate(ModelSpec(family="conv_mobilenet", classes=None)).macs == 4_866_269_184


def test_parameters_are_kernels_biases_and_two_vectors_a_batch_norm():
    cost = estimate(ModelSpec())
    normalised = sum(layer.out_shape_hwc[2] for layer in ModelSpec().layers() if layer.batch_norm)
    assert cost.batch_norm_count == 2 * normalised == 21_888
    assert cost.params == 3_185_088 + 1_025_000 + 21_888 == 4_231_976
    assert cost.bias_count == normalised + 1000 == 11_944  # folded: one a channel, and the classifier's own
    assert cost.own_bias_count == 1000


# STMicroelectronics/stm32ai-modelzoo@6f10965e, image_classification/mobilenetv1/README.md, "Weights Flash" in KiB.
@pytest.mark.parametrize(
    ("alpha", "classes", "channels_in", "flash_kib"),
    [
        (0.25, 5, 3, 214.69),
        (0.5, 5, 3, 812.61),
        (0.25, 5, 1, 214.55),
        (0.25, 1000, 3, 467.33),
        (0.5, 1000, 3, 1314.0),
        (1.0, 1000, 3, 4157.09),
    ],
)
def test_int8_flash_is_one_byte_a_weight_and_four_a_folded_bias(alpha, classes, channels_in, flash_kib):
    cost = estimate(ModelSpec(alpha=alpha, classes=classes, channels_in=channels_in))
    assert cost.stored_bytes(Precision.INT8) == cost.weight_count * 1 + cost.bias_count * 4
    assert cost.stored_bytes(Precision.INT8) / KIB == pytest.approx(flash_kib, abs=0.005)


@pytest.mark.parametrize(("alpha", "peak_kib"), [(1.0, 1176), (0.75, 882), (0.5, 588), (0.25, 294)])
def test_peak_memory_is_input_plus_output_of_the_first_pointwise_layer(alpha, peak_kib):
    peak_bytes = estimate(ModelSpec(alpha=alpha)).peak_bytes(Precision.INT8)
    assert peak_bytes == 112 * 112 * (32 + 64) * alpha == peak_kib * KIB


@pytest.mark.parametrize(("size", "rho"), [(192, Fraction(192, 224)), (128, Fraction(128, 224))])
def test_peak_memory_scales_with_the_square_of_the_resolution(size, rho):
    peak = estimate(ModelSpec(resolution_px=size)).peak_elements
    assert peak == estimate(ModelSpec()).peak_elements * rho**2


def test_peak_memory_of_a_branch_counts_what_waits_for_its_reader():
    # a -> b -> c, and c reads a as well: a is alive while b and c are written.
    steps = [("a", ("input",), 10), ("b", ("a",), 20), ("c", ("b", "a"), 5)]
    assert peak_elements(steps, {"input": 3}) == 10 + 20 + 5
    chain = [("a", ("input",), 10), ("b", ("a",), 20), ("c", ("b",), 5)]
    assert peak_elements(chain, {"input": 3}) == 10 + 20


def test_peak_memory_of_several_outputs_counts_those_that_are_ready_early():
    steps = [("early", ("input",), 10), ("a", ("input",), 20), ("late", ("a",), 5)]
    assert peak_elements(steps, {"input": 3}) == 20 + 5
    assert peak_elements(steps, {"input": 3}, kept=("early", "late")) == 10 + 20 + 5


def test_peak_memory_of_an_unread_input_ends_with_the_first_step():
    assert peak_elements([("a", (), 10), ("b", ("a",), 20)], {"input": 100}) == 110


@pytest.mark.parametrize("family", [Family.DENSE1_MOBILENET, Family.DENSE2_MOBILENET])
def test_a_dense_family_never_needs_less_than_its_largest_layer(family):
    cost = estimate(ModelSpec(family=family))
    assert cost.peak_elements >= max(layer.in_elements + layer.out_elements for layer in cost.layers)


@pytest.mark.parametrize(
    ("precision", "weight", "bias", "activation"),
    [("fp32", 4, 4, 4), ("fp16", 2, 2, 4), ("dynamic", 1, 4, 4), ("int8", 1, 4, 1), ("int16x8", 1, 8, 2)],
)
def test_bytes_of_each_precision(precision, weight, bias, activation):
    cost = estimate(ModelSpec(alpha=0.25, resolution_px=32))
    elements = sum(layer.in_elements + layer.out_elements for layer in cost.layers)
    assert cost.stored_bytes(Precision(precision)) == cost.weight_count * weight + cost.bias_count * bias
    assert cost.moved_bytes(Precision(precision)) == elements * activation
    assert cost.peak_bytes(Precision(precision)) == cost.peak_elements * activation


def test_activations_read_and_written_by_the_first_layer():
    first = estimate(ModelSpec()).layers[0]
    assert (first.in_elements, first.out_elements) == (224 * 224 * 3, 112 * 112 * 32)
    assert first.moved_bytes(Precision.INT8) == 224 * 224 * 3 + 112 * 112 * 32


@pytest.mark.parametrize("spec", ALL_FAMILIES, ids=lambda spec: spec.name)
def test_kinds_and_layers_add_up_to_the_totals(spec):
    cost = estimate(spec)
    kinds = by_kind(cost)
    for count in ("macs", "params", "weight_count", "bias_count", "own_bias_count", "batch_norm_count"):
        assert getattr(cost, count) == sum(getattr(layer, count) for layer in cost.layers)
        assert getattr(cost, count) == sum(getattr(kind, count) for kind in kinds)
    assert cost.moved_bytes(Precision.INT8) == sum(kind.moved_bytes(Precision.INT8) for kind in kinds)


def test_what_cannot_be_counted_is_unknown_and_named():
    known = dict.fromkeys(("weight_count", "bias_count", "own_bias_count", "batch_norm_count"), 0)
    layers = (
        LayerCost(name="a", kind="Conv", in_shape=(2,), out_shape=(3,), macs=7, in_elements=2, out_elements=3, **known),
        LayerCost(
            name="b", kind="Erf", in_shape=None, out_shape=None, macs=None, in_elements=None, out_elements=None, **known
        ),
    )
    cost = CostEstimate(title="file", layers=layers, peak_elements=None, uncounted=("b",))
    assert cost.macs == 7
    assert cost.moved_bytes(Precision.INT8) is None
    assert cost.peak_bytes(Precision.INT8) is None
    assert [(kind.title, kind.uncounted) for kind in by_kind(cost)] == [("Conv", ()), ("Erf", ("b",))]


def test_worked_example_5x5x3_to_16_filters():
    # 16 filters of 3x3x3 over 5x5x3, no padding: 3·3·3·16·3·3 against 3·3·3·3·3 + 3·16·3·3.
    assert standard_conv_macs(3, 3, 16, 3) == 3_888
    assert depthwise_macs(3, 3, 3) + pointwise_macs(3, 16, 3) == 243 + 432 == 675
    assert Fraction(675, 3_888) == separable_to_standard_ratio(3, 16) == Fraction(1, 16) + Fraction(1, 9)


def test_worked_example_12x12x3_to_256_filters():
    # 256 filters of 5x5x3 over 12x12x3, no padding: the output side is 8.
    assert standard_conv_macs(5, 3, 256, 8) == 1_228_800
    assert depthwise_macs(5, 3, 8) + pointwise_macs(3, 256, 8) == 4_800 + 49_152 == 53_952


def test_worked_example_as_layers():
    shapes = {"channels_in": 3, "in_px": 5, "out_px": 3}
    standard = layer_of(LayerKind.CONVOLUTION, kernel_px=3, channels_out=16, **shapes)
    depthwise = layer_of(LayerKind.DEPTHWISE, kernel_px=3, channels_out=3, groups=3, **shapes)
    pointwise = layer_of(LayerKind.POINTWISE, kernel_px=1, channels_in=3, channels_out=16, in_px=3, out_px=3)
    assert (standard.macs, depthwise.macs, pointwise.macs) == (3_888, 243, 432)


def test_a_grouped_convolution_costs_a_groupth_of_the_standard_one():
    shapes = {"kernel_px": 3, "channels_in": 8, "channels_out": 16, "in_px": 10, "out_px": 10}
    grouped = layer_of(LayerKind.CONVOLUTION, groups=4, **shapes)
    assert grouped.macs == standard_conv_macs(3, 8, 16, 10) / 4 == 3 * 3 * 8 * 16 * 10 * 10 / 4


def test_a_stride_counts_output_pixels():
    layer = layer_of(
        LayerKind.CONVOLUTION, kernel_px=3, channels_in=3, channels_out=32, in_px=224, out_px=112, stride=2
    )
    assert layer.macs == 3 * 3 * 3 * 32 * 112 * 112 == 10_838_016


@pytest.mark.parametrize("channels_out", [1, 16, 72, 512, 10**6])
def test_a_3x3_kernel_saves_less_than_a_factor_of_nine(channels_out):
    ratio = separable_to_standard_ratio(3, channels_out)
    assert Fraction(1, 9) < ratio == Fraction(9 + channels_out, 9 * channels_out)


@pytest.mark.parametrize("spec", ALL_FAMILIES, ids=lambda spec: spec.name)
def test_layers_count_as_the_papers_formulas(spec):
    formulas = {
        LayerKind.CONVOLUTION: lambda k, m, n, d: standard_conv_macs(k, m, n, d),
        LayerKind.DEPTHWISE: lambda k, m, n, d: depthwise_macs(k, m, d),
        LayerKind.POINTWISE: lambda k, m, n, d: pointwise_macs(m, n, d),
        LayerKind.CLASSIFIER: lambda k, m, n, d: pointwise_macs(m, n, 1),
    }
    for layer in spec.layers():
        out_px, _, channels_out = layer.out_shape_hwc
        count = formulas.get(layer.kind, lambda k, m, n, d: 0)
        assert layer.macs == count(layer.kernel_px, layer.in_shape_hwc[2], channels_out, out_px), layer.name


def test_a_separable_block_costs_the_papers_part_of_the_standard_convolution():
    layers = {layer.name: layer for layer in ModelSpec().layers()}
    full = {layer.name: layer for layer in ModelSpec(family="conv_mobilenet").layers()}
    for block in range(1, 14):
        separable = layers[f"conv_dw_{block}"].macs + layers[f"conv_pw_{block}"].macs
        channels_out = layers[f"conv_pw_{block}"].out_shape_hwc[2]
        assert Fraction(separable, full[f"conv_{block}"].macs) == separable_to_standard_ratio(3, channels_out)


def counts(cost):
    return cost.macs, cost.params, cost.bias_count, cost.moved_bytes(Precision.INT8), cost.peak_elements


@pytest.mark.parametrize(
    ("alpha", "size", "padding"), [(1.0, 224, "keras"), (0.35, 200, "keras"), (0.5, 97, "symmetric")]
)
def test_mobilenet_as_standard_convolutions_is_conv_mobilenet(alpha, size, padding):
    fields = {"alpha": alpha, "resolution_px": size, "padding": padding}
    standard = as_standard_convolutions(ModelSpec(**fields).layers())
    assert counts(estimate_layers(standard, title="")) == counts(estimate(ModelSpec(family="conv_mobilenet", **fields)))


def test_ratio_to_standard_convolution():
    full, cost = estimate(ModelSpec(family="conv_mobilenet")), estimate(ModelSpec())
    assert full.macs / cost.macs == pytest.approx(4867.293 / 568.740, rel=1e-5)
    assert full.params / cost.params == pytest.approx(29_294_088 / 4_231_976)
    # Fewer MACs, but more memory traffic: each block writes and reads one tensor more.
    blocks = [layer.out_elements for layer in ModelSpec().layers() if layer.kind is LayerKind.DEPTHWISE]
    assert cost.moved_bytes(Precision.INT8) - full.moved_bytes(Precision.INT8) == 2 * sum(blocks)


@pytest.mark.parametrize("family", ["conv_mobilenet", "dense1_mobilenet"])
def test_no_standard_counterpart_without_pairs(family):
    assert as_standard_convolutions(ModelSpec(family=family).layers()) is None


def test_standard_counterparts_of_the_other_families_keep_the_outputs():
    for family in ("shallow_mobilenet", "dense2_mobilenet"):
        layers = ModelSpec(family=family).layers()
        shapes = {layer.name: layer.out_shape_hwc for layer in layers}
        standard = as_standard_convolutions(layers)
        assert {layer.name: layer.out_shape_hwc for layer in standard} == {
            name: shape for name, shape in shapes.items() if "_dw_" not in name
        }
