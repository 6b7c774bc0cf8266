import json

import pytest

from mnet_deploy.errors import SpecError
from mnet_deploy.spec import Family, LayerKind, ModelSpec, Padding
from mnet_deploy.spec.families import DENSE2_MAX_GROWTH, INPUT_NAME, padding_of
from mnet_deploy.spec.text_fields import fields_of_name, fields_of_text

# Howard et al. 2017, arXiv 1704.04861, Table 1: (output side at 224 px, output width) of each block.
TABLE_1 = [(112, 64), (56, 128), (56, 128), (28, 256), (28, 256), *[(14, 512)] * 6, *[(7, 1024)] * 2]

SPECS = [
    ModelSpec(),
    *(ModelSpec(family=family) for family in Family if family is not Family.MOBILENET_V1),
    *(ModelSpec(alpha=alpha) for alpha in (0.01, 0.35, 1.4, 2)),
    *(ModelSpec(family=family, alpha=0.01) for family in Family),
    *(
        ModelSpec(family=family, resolution_px=size, padding=padding)
        for family in Family
        for size in (32, 33, 200, 513)
        for padding in Padding
    ),
    *(ModelSpec(channels_in=channels) for channels in (1, 4, 13)),
    *(ModelSpec(family=family, classes=None) for family in Family),
    ModelSpec(classes=1),
    ModelSpec(family="dense1_mobilenet", growth=1),
    ModelSpec(family="dense1_mobilenet", growth=500),
    ModelSpec(family="dense2_mobilenet", growth=DENSE2_MAX_GROWTH),
    ModelSpec(family="dense2_mobilenet", growth=DENSE2_MAX_GROWTH, alpha=0.25),
]

every_spec = pytest.mark.parametrize(
    "spec", SPECS, ids=lambda spec: f"{spec.name}-{spec.padding}-{spec.channels_in}-{spec.classes}"
)


@every_spec
def test_layers_are_a_graph_in_order_whose_shapes_chain(spec):
    shapes = {INPUT_NAME: (spec.resolution_px, spec.resolution_px, spec.channels_in)}
    for layer in spec.layers():
        assert layer.name not in shapes
        read = [shapes[name] for name in layer.inputs]  # a KeyError would be a use before the definition
        assert {shape[:2] for shape in read} == {layer.in_shape_hwc[:2]}
        assert sum(shape[2] for shape in read) == layer.in_shape_hwc[2]
        assert min(layer.out_shape_hwc) >= 1
        shapes[layer.name] = layer.out_shape_hwc


@every_spec
def test_output_size_follows_from_padding_kernel_and_stride(spec):
    for layer in spec.layers():
        if layer.kind in (LayerKind.CONVOLUTION, LayerKind.DEPTHWISE, LayerKind.POINTWISE):
            top, left, bottom, right = layer.padding_tlbr
            padded = (layer.in_shape_hwc[0] + top + bottom, layer.in_shape_hwc[1] + left + right)
            assert layer.out_shape_hwc[:2] == tuple((side - layer.kernel_px) // layer.stride + 1 for side in padded)


@every_spec
def test_only_the_last_layer_is_never_read(spec):
    layers = spec.layers()
    read = {name for layer in layers for name in layer.inputs}
    assert [layer.name for layer in layers if layer.name not in read] == [layers[-1].name]


def test_the_body_is_that_of_the_papers_table_1():
    pointwise = [layer for layer in ModelSpec().layers() if layer.kind is LayerKind.POINTWISE]
    assert [(layer.out_shape_hwc[0], layer.out_shape_hwc[2]) for layer in pointwise] == TABLE_1


def test_the_last_depthwise_layer_keeps_its_size_whatever_the_papers_table_1_prints():
    last = next(layer for layer in ModelSpec().layers() if layer.name == "conv_dw_13")
    assert (last.stride, last.in_shape_hwc, last.out_shape_hwc) == (1, (7, 7, 1024), (7, 7, 1024))


def test_shallow_leaves_out_the_five_14x14x512_blocks():
    full, shallow = ModelSpec(), ModelSpec(family="shallow_mobilenet")
    left_out = [(512, 1)] * 5
    kept = [layer.out_shape_hwc for layer in full.layers() if layer.kind is LayerKind.POINTWISE]
    assert len(full.layers()) - len(shallow.layers()) == 2 * len(left_out)
    assert [layer.out_shape_hwc for layer in shallow.layers() if layer.kind is LayerKind.POINTWISE] == kept[:6] + kept[
        11:
    ]


@pytest.mark.parametrize("growth", [1, 16, 32, DENSE2_MAX_GROWTH])
def test_dense2_stages_end_at_the_width_of_mobilenet(growth):
    layers = {layer.name: layer for layer in ModelSpec(family="dense2_mobilenet", growth=growth).layers()}
    ends = [layers[f"stage{stage}_concat_{pairs}"] for stage, pairs in ((1, 2), (2, 2), (3, 6), (4, 2))]
    assert [layer.out_shape_hwc[2] for layer in ends] == [128, 256, 512, 1024]


def test_growth_scales_with_alpha():
    layers = {layer.name: layer for layer in ModelSpec(family="dense1_mobilenet", growth=32, alpha=0.25).layers()}
    assert layers["block1_pw_1"].out_shape_hwc[2] == 32 * 0.25


@pytest.mark.parametrize(
    ("rule", "in_px", "stride", "padding", "out_px"),
    [
        ("keras", 224, 2, (0, 1), 112),
        ("same", 224, 2, (0, 1), 112),
        ("symmetric", 224, 2, (1, 0), 112),  # its zeros at the end are never read
        ("keras", 25, 2, (0, 0), 12),  # one zero at the end would be added, and never read
        ("same", 25, 2, (1, 1), 13),
        ("symmetric", 25, 2, (1, 1), 13),
        ("keras", 25, 1, (1, 1), 25),
        ("same", 25, 1, (1, 1), 25),
        ("symmetric", 25, 1, (1, 1), 25),
        ("keras", 2, 2, (0, 1), 1),
        ("same", 1, 2, (1, 1), 1),
    ],
)
def test_padding_of(rule, in_px, stride, padding, out_px):
    assert padding_of(rule, in_px, kernel_px=3, stride=stride) == (padding, out_px)


@pytest.mark.parametrize("size", [32, 64, 96, 128, 160, 192, 224, 512])
def test_keras_and_same_padding_are_equal_at_multiples_of_32(size):
    same = ModelSpec(resolution_px=size, padding="same").layers()
    assert ModelSpec(resolution_px=size, padding="keras").layers() == same


@pytest.mark.parametrize(("size", "first", "second"), [(225, 113, 56), (33, 17, 8), (200, 100, 50), (513, 257, 128)])
def test_keras_padding_treats_the_first_layer_as_same(size, first, second):
    # Output sides of conv1 and conv_dw_2 in keras.applications.MobileNet (keras 3.15).
    layers = {layer.name: layer for layer in ModelSpec(resolution_px=size).layers()}
    assert (layers["conv1"].out_shape_hwc[0], layers["conv_dw_2"].out_shape_hwc[0]) == (first, second)


@pytest.mark.parametrize(
    ("fields", "received"),
    [
        ({"alpha": 0}, "0"),
        ({"alpha": -1}, "-1"),
        ({"alpha": float("nan")}, "nan"),
        ({"alpha": float("inf")}, "inf"),
        ({"alpha": 1e300}, "1e+300"),
        ({"alpha": "a"}, "'a'"),
        ({"alpha": "0.5"}, "'0.5'"),
        ({"alpha": True}, "True"),
        ({"alpha": None}, "None"),
        ({"resolution_px": 31}, "31"),
        ({"resolution_px": -224}, "-224"),
        ({"resolution_px": "224x"}, "'224x'"),
        ({"resolution_px": 224.5}, "224.5"),
        ({"resolution_px": True}, "True"),
        ({"channels_in": 0}, "0"),
        ({"channels_in": 1.5}, "1.5"),
        ({"classes": 0}, "0"),
        ({"classes": -5}, "-5"),
        ({"classes": True}, "True"),
        ({"family": "mobilenet_v2"}, "'mobilenet_v2'"),
        ({"padding": "valid"}, "'valid'"),
        ({"growth": 32}, "growth=32 with mobilenet_v1"),
        ({"family": "shallow_mobilenet", "growth": 32}, "growth=32 with shallow_mobilenet"),
        ({"family": "dense1_mobilenet", "growth": 0}, "0"),
        ({"family": "dense1_mobilenet", "growth": 1.5}, "1.5"),
        ({"family": "dense2_mobilenet", "growth": DENSE2_MAX_GROWTH + 1}, str(DENSE2_MAX_GROWTH + 1)),
    ],
)
def test_a_value_outside_its_range_is_refused_and_named(fields, received):
    with pytest.raises(SpecError) as error:
        ModelSpec(**fields)
    message = str(error.value)
    assert f"Received: {received}" in message
    assert "\n" not in message
    field = list(fields)[-1].removesuffix("_px").removesuffix("_in")
    assert message.startswith(field)


def test_a_spec_error_is_a_value_error():
    with pytest.raises(ValueError, match="alpha"):
        ModelSpec(alpha=0)


def test_dense2_max_growth_leaves_the_first_layer_of_each_stage_a_channel():
    # Stage 3: 6 pointwise layers end at 512 channels, 5 of them add the growth: (512 - 1) // 5 = 102.
    assert DENSE2_MAX_GROWTH == (512 - 1) // 5 == 102


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({}, "mobilenet_v1_1.0_224"),
        ({"alpha": 1}, "mobilenet_v1_1.0_224"),
        ({"alpha": 0.25, "resolution_px": 128}, "mobilenet_v1_0.25_128"),
        ({"alpha": 0.35}, "mobilenet_v1_0.35_224"),
        ({"alpha": 1 / 3}, "mobilenet_v1_0.333333_224"),
        ({"family": "dense2_mobilenet", "alpha": 2}, "dense2_mobilenet_2.0_224"),
    ],
)
def test_name(fields, name):
    assert ModelSpec(**fields).name == name


@every_spec
def test_json_round_trip(spec):
    assert ModelSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec


def test_from_json_refuses_unknown_and_bad_fields():
    with pytest.raises(SpecError, match="depth"):
        ModelSpec.from_json({"depth": 3})
    with pytest.raises(SpecError, match="alpha"):
        ModelSpec.from_json({"alpha": 0})


def test_with_changes_returns_a_checked_copy():
    spec = ModelSpec()
    assert spec.with_changes(alpha=0.5).alpha == 0.5
    assert spec.alpha == 1.0
    with pytest.raises(SpecError):
        spec.with_changes(resolution_px=31)


def test_an_untrained_default_growth_is_32_and_only_for_dense_families():
    assert {family: ModelSpec(family=family).growth for family in Family if family.is_dense} == {
        Family.DENSE1_MOBILENET: 32,
        Family.DENSE2_MOBILENET: 32,
    }
    assert ModelSpec().growth is None


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("0.5-160", {"alpha": 0.5, "resolution_px": 160}),
        ("1-224", {"alpha": 1.0, "resolution_px": 224}),
        ("mobilenet_v1", {"family": "mobilenet_v1"}),
        ("dense1_mobilenet_0.35_200", {"family": "dense1_mobilenet", "alpha": 0.35, "resolution_px": 200}),
        ("mobilenet_v1_0.25", None),
        ("mobilenet_v2_1.0_224", None),
        ("model-224", None),
        ("", None),
        ("-", None),
    ],
)
def test_fields_of_name(text, fields):
    assert fields_of_name(text) == fields


@pytest.mark.parametrize("family", Family)
def test_fields_of_name_reads_what_name_writes(family):
    spec = ModelSpec(family=family, alpha=0.35, resolution_px=96)
    assert ModelSpec(**fields_of_name(spec.name)) == spec


@pytest.mark.parametrize("text", ["0-160", "nan-160", "0.5-31", "0.5-224x", "0.5-", "mobilenet_v1_x_224"])
def test_fields_of_name_refuses_bad_values(text):
    with pytest.raises(SpecError, match="Received"):
        fields_of_name(text)


def test_fields_of_text_converts_and_checks():
    texts = {"alpha": "0.5", "resolution_px": "160", "growth": "16"}
    assert fields_of_text(texts) == {"alpha": 0.5, "resolution_px": 160, "growth": 16}
    with pytest.raises(SpecError, match=r"resolution must be an integer of 32 or more\. Received: '224x'"):
        fields_of_text({"resolution_px": "224x"})
    with pytest.raises(SpecError, match="growth belongs to the dense families"):
        fields_of_text({"family": "mobilenet_v1", "growth": "16"})
