"""The .onnx writers: against Keras, against each other, and what the files are made of."""

import json
from collections import Counter
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest

from mnet_deploy.converters.calibrated_quantizer import quantize_plainly
from mnet_deploy.converters.float_pass import run_float
from mnet_deploy.converters.folded_graph import fold
from mnet_deploy.converters.onnx_float import write_float
from mnet_deploy.converters.onnx_int8 import write_int8
from mnet_deploy.converters.onnx_nodes import IR_VERSION, OPSET
from mnet_deploy.converters.onnx_qdq import SOFTMAX_PARAMS
from mnet_deploy.converters.options import BatchSize, IoType, Layout, OnnxOptions, Tune
from mnet_deploy.converters.quantizer import Observed, quantize
from mnet_deploy.converters.structure import onnx_failures
from mnet_deploy.cost import Precision
from mnet_deploy.errors import ConversionError
from mnet_deploy.graph_readers import read_graph
from mnet_deploy.models.builder import build, predict
from mnet_deploy.spec import Family, LayerKind, ModelSpec

FAMILIES = [ModelSpec(family=family, alpha=0.25, resolution_px=32, classes=7) for family in Family]
EDGES = [
    ModelSpec(alpha=0.25, resolution_px=33, channels_in=4, classes=5),
    ModelSpec(family="conv_mobilenet", alpha=0.05, resolution_px=45, padding="symmetric", classes=5),
    ModelSpec(family="shallow_mobilenet", alpha=0.05, resolution_px=32, channels_in=1, classes=3),
    ModelSpec(family="dense1_mobilenet", alpha=0.25, resolution_px=50, padding="same", classes=None),
    ModelSpec(family="dense2_mobilenet", alpha=0.25, resolution_px=64, padding="symmetric", classes=2),
]
SPEC = FAMILIES[0]


def spec_id(spec):
    return f"{spec.name}-{spec.padding}-{spec.channels_in}-{spec.classes}"


def images_for(spec, count=4):
    shape = (count, spec.resolution_px, spec.resolution_px, spec.channels_in)
    return np.random.default_rng(1).uniform(-1, 1, shape).astype(np.float32)


def session_of(content):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def run(content, values):
    """Return the answers to NHWC images; outputs that are images are turned to NHWC."""
    session = session_of(content)
    (given,) = session.get_inputs()
    channels = values.shape[-1]
    if given.shape[1] == channels:
        values = values.transpose(0, 3, 1, 2)
    step = 1 if given.shape[0] == 1 else len(values)
    batches = [np.ascontiguousarray(values[start : start + step]) for start in range(0, len(values), step)]
    answers = np.concatenate([session.run(None, {given.name: batch})[0] for batch in batches])
    return answers.transpose(0, 2, 3, 1) if answers.ndim == 4 else answers


@pytest.fixture(scope="module")
def graphs(stirred):
    """Return a function that gives the folded and the quantised graph of a spec with random weights."""
    made = {}

    def of(spec):
        if spec not in made:
            folded = fold(spec, stirred(spec))
            made[spec] = folded, quantize_plainly(folded, images_for(spec))
        return made[spec]

    return of


@pytest.mark.parametrize("spec", [*FAMILIES, *EDGES], ids=spec_id)
def test_the_float_file_answers_what_keras_answers(graphs, stirred, spec):
    images = images_for(spec)
    expected = predict(build(spec, stirred(spec)), images)
    # Float32 sums in another order: relative to the largest activation, which ReLU6 limits.
    assert np.abs(run(write_float(graphs(spec)[0], OnnxOptions()), images) - expected).max() <= 1e-5 * 6


@pytest.mark.parametrize("spec", [*FAMILIES, *EDGES], ids=spec_id)
def test_the_int8_file_is_within_its_own_steps_of_the_float_one(graphs, spec):
    folded, quantized = graphs(spec)
    images = images_for(spec)
    expected = run(write_float(folded, OnnxOptions()), images)
    actual = run(write_int8(quantized, OnnxOptions()), images)
    noise = np.sqrt(np.mean((actual - expected) ** 2))
    signal = np.sqrt(np.mean((expected - expected.mean()) ** 2))
    assert noise <= 0.5 * signal + quantized.layers[-1].output.scale  # 6 dB: broken wiring gives 0 dB or less


@pytest.mark.parametrize("precision", [Precision.FP32, Precision.FP16, Precision.INT8])
@pytest.mark.parametrize("spec", [*FAMILIES, *EDGES], ids=spec_id)
def test_the_graph_is_as_it_should_be(graphs, tmp_path, spec, precision):
    path = tmp_path / "m.onnx"
    folded, quantized = graphs(spec)
    if precision is Precision.INT8:
        path.write_bytes(write_int8(quantized, OnnxOptions()))
    else:
        path.write_bytes(write_float(folded, OnnxOptions(), half_weights=precision is Precision.FP16))
    assert onnx_failures(read_graph(path), spec, precision, Tune.PORTABLE) == ()


@pytest.mark.parametrize("layout", Layout)
@pytest.mark.parametrize("batch", BatchSize)
@pytest.mark.parametrize("io", IoType)
def test_layout_batch_and_interface_change_no_answer(graphs, layout, batch, io):
    _, quantized = graphs(SPEC)
    images = images_for(SPEC)
    step = SOFTMAX_PARAMS.scale
    plain = run(write_int8(quantized, OnnxOptions()), images)
    stored = quantized.input.store(images)
    given = {IoType.FLOAT: images, IoType.INT8: stored, IoType.UINT8: (stored.astype(np.int16) + 128).astype(np.uint8)}
    actual = run(write_int8(quantized, OnnxOptions(layout=layout, batch=batch), io), given[io])
    zero_point = {IoType.FLOAT: 0, IoType.INT8: -128, IoType.UINT8: 0}[io]
    real = actual if io is IoType.FLOAT else (actual.astype(np.float32) - zero_point) * step
    # With int8 outside, ONNX Runtime on x86 keeps the first convolution and the softmax in float: a step or two.
    assert np.abs(real - plain).max() <= (3 * step if io is IoType.INT8 else 1e-6)


def test_float16_weights_cost_what_their_rounding_costs(graphs):
    folded, _ = graphs(SPEC)
    images = images_for(SPEC)
    whole, half = (write_float(folded, OnnxOptions(), half_weights=half) for half in (False, True))
    assert len(half) < 0.6 * len(whole)
    # 11 significant bits a weight; 28 layers deep.
    assert np.abs(run(half, images) - run(whole, images)).max() <= 28 * 2**-11


@pytest.mark.parametrize("precision", ["float", "int8"])
def test_opset_ir_version_names_and_metadata(graphs, precision):
    folded, quantized = graphs(SPEC)
    options = OnnxOptions(metadata={"labels": '["a"]'})
    content = write_float(folded, options) if precision == "float" else write_int8(quantized, options)
    model = onnx.load_from_string(content)
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", OPSET)]
    assert model.ir_version == IR_VERSION
    names = {node.name for node in model.graph.node}
    assert names >= {layer.name for layer in SPEC.layers()}
    kept = {entry.key: entry.value for entry in model.metadata_props}
    assert ModelSpec.from_json(json.loads(kept.pop("spec"))) == SPEC
    assert kept == {"labels": '["a"]'}


def test_int8_computes_nothing_in_float(graphs, tmp_path):
    """What ONNX Runtime really runs: its own optimised graph."""
    optimised = tmp_path / "optimised.onnx"
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(optimised)
    options.log_severity_level = 3
    onnxruntime.InferenceSession(
        write_int8(graphs(SPEC)[1], OnnxOptions()), options, providers=["CPUExecutionProvider"]
    )
    found = Counter(node.op_type for node in onnx.load(optimised).graph.node)
    weighted = sum(layer.kind.has_weights for layer in SPEC.layers())
    assert found["QLinearConv"] == weighted
    assert found["QLinearGlobalAveragePool"] == found["QLinearSoftmax"] == 1
    assert found["Conv"] == found["Softmax"] == found["Clip"] == 0
    assert found["QuantizeLinear"] == found["DequantizeLinear"] == 1


def test_writing_twice_gives_the_same_bytes(graphs):
    folded, quantized = graphs(SPEC)
    assert write_float(folded, OnnxOptions()) == write_float(folded, OnnxOptions())
    assert write_int8(quantized, OnnxOptions()) == write_int8(quantized, OnnxOptions())


def test_a_softmax_over_one_class_is_refused_in_int8_only(graphs):
    folded, quantized = graphs(ModelSpec(alpha=0.25, resolution_px=32, classes=1))
    assert run(write_float(folded, OnnxOptions()), images_for(SPEC)).tolist() == [[1.0]] * 4
    with pytest.raises(ConversionError, match="two classes or more"):
        write_int8(quantized, OnnxOptions())


def test_a_certain_answer_stays_1_where_int8_kernels_run_the_softmax(graphs):
    """As on ARM: ONNX Runtime up to 1.28 lets a stored value overflow there."""
    folded, _ = graphs(SPEC)
    classifier = next(layer for layer in folded.layers if layer.spec.kind is LayerKind.CLASSIFIER)
    certain = replace(classifier, bias=np.array([50, *[0] * 6], np.float32))
    layers = tuple(certain if layer is classifier else layer for layer in folded.layers)
    sure = replace(folded, layers=layers)
    content = write_int8(quantize_plainly(sure, images_for(SPEC)), OnnxOptions())
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.qdqisint8allowed", "1")
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    (scores,) = session.run(None, {"input": images_for(SPEC, count=1).transpose(0, 3, 1, 2)})
    assert scores[0, 0] == pytest.approx(1.0, abs=1.01 / 255)  # the kernel rounds down


def test_outputs_that_hardly_vary_can_be_computed(graphs, stirred):
    """The pool's scale may not be 256 times finer than its input's, nor the classifier's than that of its sums."""
    folded, _ = graphs(SPEC)
    ranges = run_float(folded, images_for(SPEC)).ranges
    tiny = {name: (0.0, 1e-5) if name != "input" else found for name, found in ranges.items()}
    assert np.isfinite(
        run(
            write_int8(quantize(folded, Observed(ranges=tiny), correct_bias=False).graph, OnnxOptions()),
            images_for(SPEC),
        )
    ).all()
