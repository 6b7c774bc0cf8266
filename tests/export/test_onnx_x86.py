"""The .onnx arranged for x86-64: the answers of the plain one, and what was arranged."""

import json
import platform
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from mnet_deploy.converters import onnx_x86
from mnet_deploy.converters.calibrated_quantizer import quantize_plainly
from mnet_deploy.converters.folded_graph import fold
from mnet_deploy.converters.onnx_blocking import PLAIN, Blocking, blocked_kernel, row_geometry
from mnet_deploy.converters.onnx_int8 import write_int8
from mnet_deploy.converters.onnx_x86 import write_int8_x86
from mnet_deploy.converters.onnx_x86_plan import LayerPlan, plan_x86
from mnet_deploy.converters.options import BatchSize, IoType, Layout, OnnxOptions, Tune
from mnet_deploy.converters.structure import onnx_failures
from mnet_deploy.cost import Precision
from mnet_deploy.errors import ConversionError
from mnet_deploy.graph_readers import read_graph
from mnet_deploy.spec import Family, LayerKind, ModelSpec

CHAINS = [
    ModelSpec(alpha=0.25, resolution_px=64, classes=7),  # depthwise made dense
    ModelSpec(alpha=0.35, resolution_px=48, classes=7, padding="same"),  # channels padded
    ModelSpec(alpha=0.125, resolution_px=32, classes=20, padding="symmetric"),  # pointwise blocked
    ModelSpec(alpha=0.25, resolution_px=33, classes=7),  # rows that cannot be blocked
    ModelSpec(alpha=0.35, resolution_px=50, channels_in=1, classes=None, padding="symmetric"),
    ModelSpec(family="conv_mobilenet", alpha=0.2, resolution_px=48, channels_in=4, classes=5),
    ModelSpec(family="shallow_mobilenet", alpha=0.375, resolution_px=32, padding="same", classes=None),
]
DENSE = [
    ModelSpec(family="dense1_mobilenet", alpha=0.25, resolution_px=48, classes=7),
    ModelSpec(family="dense2_mobilenet", alpha=0.35, resolution_px=32, padding="symmetric", classes=7),
    ModelSpec(family="dense2_mobilenet", alpha=0.35, resolution_px=33, classes=None),
]
SPEC = CHAINS[0]
FORMS = [(io, layout) for io in IoType for layout in Layout]


def spec_id(spec):
    return f"{spec.name}-{spec.padding}-{spec.channels_in}-{spec.classes}"


def has_exact_sums():
    """Whether the CPU adds products of uint8 and int8 exactly: x86-64 without VNNI cuts pairs of them at 16 bits."""
    if platform.machine() not in ("x86_64", "AMD64"):
        return True
    cpu = Path("/proc/cpuinfo")
    return not cpu.exists() or bool({"avx512_vnni", "avx_vnni"} & set(cpu.read_text().split()))


exact_sums = pytest.mark.skipif(not has_exact_sums(), reason="needs a CPU with VNNI: sums differ by layout on others")


@pytest.fixture(scope="module")
def quantized(stirred):
    """Return a function that gives a quantised graph with random weights and images for it."""
    made = {}

    def of(spec):
        if spec not in made:
            shape = (3, spec.resolution_px, spec.resolution_px, spec.channels_in)
            images = np.random.default_rng(1).uniform(-1, 1, shape).astype(np.float32)
            folded = fold(spec, stirred(spec))
            made[spec] = quantize_plainly(folded, images), images
        return made[spec]

    return of


def run(content, images):
    """Return the answers to a batch, image by image where the file takes one."""
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    step = 1 if given.shape[0] == 1 else len(images)
    batches = [np.ascontiguousarray(images[at : at + step]) for at in range(0, len(images), step)]
    return np.concatenate([session.run(None, {given.name: batch})[0] for batch in batches])


def plain_plan(spec):
    return {layer.name: LayerPlan(channels=layer.out_shape_hwc[2]) for layer in spec.layers()}


def given_to(graph, images, io, layout):
    if io is not IoType.FLOAT:
        images = graph.input.store(images)
    if io is IoType.UINT8:
        images = (images.astype(np.int16) + 128).astype(np.uint8)
    return images.transpose(0, 3, 1, 2) if layout is Layout.NCHW else images


@exact_sums
@pytest.mark.parametrize("spec", CHAINS, ids=spec_id)
def test_every_form_answers_what_the_plain_file_answers_to_the_bit(quantized, spec):
    graph, images = quantized(spec)
    pixels = given_to(graph, images, IoType.UINT8, Layout.NHWC)
    stored = run(write_int8(graph, OnnxOptions(layout=Layout.NHWC), IoType.UINT8), pixels)
    assert len(np.unique(stored)) > 1
    expected = {
        IoType.FLOAT: run(write_int8(graph, OnnxOptions(layout=Layout.NHWC)), images),
        IoType.UINT8: stored,
        IoType.INT8: (stored.astype(np.int16) - 128).astype(np.int8),
    }
    for io, layout in FORMS:
        answers = run(write_int8_x86(graph, OnnxOptions(layout=layout), io), given_to(graph, images, io, layout))
        assert answers.dtype == expected[io].dtype
        assert np.array_equal(answers, expected[io]), (io, layout)


@exact_sums
@pytest.mark.parametrize("spec", DENSE, ids=spec_id)
def test_dense_families_answer_what_they_answer_unarranged(quantized, spec, monkeypatch):
    """Compared in uint8: ONNX Runtime runs part of the plain int8 file in float, beside its concatenations."""
    graph, images = quantized(spec)
    arranged = run(write_int8_x86(graph, OnnxOptions(layout=Layout.NHWC)), images)
    int8 = run(write_int8(graph, OnnxOptions(layout=Layout.NHWC)), images)
    monkeypatch.setattr(onnx_x86, "plan_x86", plain_plan)
    plain = run(write_int8_x86(graph, OnnxOptions(layout=Layout.NHWC)), images)
    assert len(np.unique(plain)) > 1
    assert np.array_equal(arranged, plain)
    assert np.abs(arranged - int8).max() <= 4 * graph.layers[-1].output.scale  # float sums round differently


def test_a_dynamic_batch_answers_as_single_images_do(quantized):
    graph, images = quantized(SPEC)
    single = run(write_int8_x86(graph, OnnxOptions(layout=Layout.NHWC)), images)
    batched = write_int8_x86(graph, OnnxOptions(layout=Layout.NHWC, batch=BatchSize.DYNAMIC))
    assert np.array_equal(run(batched, images), single)


@pytest.mark.parametrize(("spec", "io"), [(SPEC, IoType.FLOAT), (SPEC, IoType.INT8), (DENSE[0], IoType.UINT8)])
def test_the_file_has_standard_ops_only_and_one_convolution_a_layer(quantized, spec, io, tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(write_int8_x86(quantized(spec)[0], OnnxOptions(layout=Layout.NHWC), io))
    assert onnx_failures(read_graph(path), spec, Precision.INT8, Tune.X86) == ()


def test_onnx_runtime_computes_everything_in_integers(quantized, tmp_path):
    """Also with int8 at both ends, which leaves the first convolution and the softmax of the plain file in float."""
    graph, _ = quantized(SPEC)
    for io, layout in FORMS:
        options = onnxruntime.SessionOptions()
        options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
        options.log_severity_level = 3  # it warns that the optimised file suits this machine only
        content = write_int8_x86(graph, OnnxOptions(layout=layout), io)
        onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        ops = Counter(node.op_type for node in onnx.load(options.optimized_model_filepath).graph.node)
        assert not {"Conv", "Softmax", "GlobalAveragePool"} & set(ops)
        assert ops["Transpose"] == (layout is Layout.NCHW)  # all others are cancelled


def test_metadata_and_names_are_those_of_the_plain_file(quantized):
    graph, _ = quantized(SPEC)
    options = OnnxOptions(layout=Layout.NHWC, metadata={"labels": "a b c"})
    arranged, plain = (onnx.load_from_string(write(graph, options)) for write in (write_int8_x86, write_int8))
    assert {prop.key: prop.value for prop in arranged.metadata_props} == {
        "spec": json.dumps(SPEC.to_json()),
        "labels": "a b c",
    }
    assert arranged.metadata_props == plain.metadata_props
    assert arranged.graph.input == plain.graph.input
    assert arranged.graph.output == plain.graph.output
    convolutions = [[node.name for node in model.graph.node if node.op_type == "Conv"] for model in (arranged, plain)]
    assert convolutions[0] == convolutions[1]


def test_one_class_is_refused(quantized):
    graph, _ = quantized(ModelSpec(alpha=0.25, resolution_px=32, classes=1))
    with pytest.raises(ConversionError, match="two classes or more"):
        write_int8_x86(graph, OnnxOptions())


def blocked(spec):
    """Return the layers that a plan does not leave plain, as {name: (pixels read, pixels written)}."""
    plans = plan_x86(spec).items()
    return {name: (plan.blocking.read_px, plan.blocking.write_px) for name, plan in plans if plan.blocking != PLAIN}


@pytest.mark.parametrize(
    ("alpha", "resolution_px", "expected"),
    [
        (1.0, 224, {"conv1": (4, 2)}),
        (0.5, 160, {"conv1": (4, 2)}),
        (0.25, 128, {"conv1": (4, 4), "conv_dw_1": (1, 4)}),
        (1.0, 225, {}),  # 4 pixels of 3 channels are the fewest that a fused kernel reads: no multiple of 4 fits
        (0.25, 98, {}),
    ],
)
def test_which_layers_are_blocked(alpha, resolution_px, expected):
    assert blocked(ModelSpec(alpha=alpha, resolution_px=resolution_px)) == expected


@pytest.mark.parametrize(
    "spec", [ModelSpec(alpha=0.35), ModelSpec(alpha=0.75, resolution_px=225), *DENSE[:2]], ids=spec_id
)
def test_depthwise_layers_get_channels_that_the_fused_kernel_takes(spec):
    plans = plan_x86(spec)
    plain = [
        layer for layer in spec.layers() if layer.kind is LayerKind.DEPTHWISE and plans[layer.name].blocking == PLAIN
    ]
    assert plain
    for layer in plain:
        assert plans[layer.name].channels >= layer.out_shape_hwc[2]
        assert plans[layer.name].channels % 16 == 0


def test_zeros_reach_neither_the_scores_nor_the_output_of_a_model_without_classes():
    for spec in (*CHAINS, *DENSE):
        last = spec.layers()[-1]
        assert plan_x86(spec)[last.name].channels == last.out_shape_hwc[2]


def test_a_blocked_kernel_sums_the_same_products():
    """Against a convolution written out pixel by pixel."""
    layer = ModelSpec(alpha=0.25, resolution_px=32, padding="symmetric").layers()[0]
    chance = np.random.default_rng(0)
    kernel = chance.integers(-9, 10, layer.kernel_shape)
    row = chance.integers(-9, 10, (layer.kernel_px, layer.in_shape_hwc[1], layer.in_shape_hwc[2]))  # [tap, x, channel]
    expected = row_of_sums(row, kernel, layer.stride, *layer.padding_tlbr[1::2])
    for blocking in (Blocking(read_px=4, write_px=2), Blocking(read_px=4, write_px=4), Blocking(read_px=2)):
        geometry = row_geometry(layer, blocking)
        view = row.reshape(len(row), -1, blocking.read_px * row.shape[2])
        sums = row_of_sums(
            view, blocked_kernel(kernel, layer, blocking), geometry.stride, geometry.before, geometry.after
        )
        assert np.array_equal(sums.reshape(expected.shape), expected)


def row_of_sums(row, kernel, stride, before, after):
    """Return one output row [positions, channels] of input rows [tap, positions, channels]."""
    padded = np.pad(row, ((0, 0), (before, after), (0, 0)))
    starts = range(0, padded.shape[1] - kernel.shape[1] + 1, stride)
    return np.stack([np.einsum("hwi,hwio->o", padded[:, at : at + kernel.shape[1]], kernel) for at in starts])


def test_rows_that_do_not_fit_have_no_geometry():
    first = ModelSpec(alpha=0.25, resolution_px=98).layers()[0]
    assert row_geometry(first, Blocking(read_px=4)) is None
    with pytest.raises(ValueError, match="expected rows"):
        blocked_kernel(np.zeros(first.kernel_shape, np.int8), first, Blocking(read_px=4))


def test_every_family_has_a_plan():
    for family in Family:
        assert set(plan_x86(ModelSpec(family=family, alpha=0.25))) > {"conv1", "predictions"}
