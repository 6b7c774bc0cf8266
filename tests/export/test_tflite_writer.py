"""The .tflite writer: against Keras, against TensorFlow's converter, against the .onnx of the same model."""

import warnings
from dataclasses import replace

import numpy as np
import onnxruntime
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from mnet_deploy.converters import quantizer, tensorflow_converter
from mnet_deploy.converters.calibrated_quantizer import quantize_calibrated, quantize_plainly
from mnet_deploy.converters.calibration import from_folder
from mnet_deploy.converters.float_pass import run_float
from mnet_deploy.converters.folded_graph import fold
from mnet_deploy.converters.onnx_int8 import write_int8 as write_onnx_int8
from mnet_deploy.converters.onnx_nodes import with_outputs
from mnet_deploy.converters.onnx_qdq import SOFTMAX_PARAMS
from mnet_deploy.converters.options import Effort, IoType, Layout, OnnxOptions
from mnet_deploy.converters.quantized_graph import QuantParams
from mnet_deploy.converters.structure import tflite_failures
from mnet_deploy.converters.tflite_nodes import SIGNATURE_INPUT, SIGNATURE_OUTPUT
from mnet_deploy.converters.tflite_writer import write_float, write_int8
from mnet_deploy.cost import Precision
from mnet_deploy.graph_facts import op_histogram
from mnet_deploy.graph_readers import tflite_graph
from mnet_deploy.models.builder import build, predict, with_static_batch
from mnet_deploy.models.load import load_model
from mnet_deploy.normalization import Normalization
from mnet_deploy.spec import LayerKind, ModelSpec

SPEC = ModelSpec(alpha=0.25, resolution_px=32, classes=7)
# Every family, padding, odd sizes, 1, 3 and 4 channels, no classes to 1000, and widths of one channel.
SPECS = [
    SPEC,
    ModelSpec(alpha=0.05, resolution_px=33, channels_in=4, classes=1000, padding="symmetric"),
    ModelSpec(family="conv_mobilenet", alpha=0.05, resolution_px=45, classes=1),
    ModelSpec(family="shallow_mobilenet", alpha=0.01, resolution_px=32, channels_in=1, classes=2, padding="same"),
    ModelSpec(family="dense1_mobilenet", alpha=0.25, resolution_px=50, classes=None, padding="same"),
    ModelSpec(family="dense2_mobilenet", alpha=0.25, resolution_px=64, classes=2, padding="symmetric"),
    ModelSpec(family="dense2_mobilenet", alpha=0.01, resolution_px=35, channels_in=4, classes=3),
]
IMAGES = 4
keeps_all_tensors = pytest.mark.filterwarnings(
    "ignore:Warning. Enabling `experimental_preserve_all_tensors`:UserWarning"
)


def spec_id(spec):
    return f"{spec.family}-{spec.alpha}-{spec.resolution_px}-{spec.padding}-{spec.channels_in}-{spec.classes}"


def images_for(spec, count=IMAGES):
    shape = (count, spec.resolution_px, spec.resolution_px, spec.channels_in)
    return np.random.default_rng(1).uniform(-1, 1, shape).astype(np.float32)


def run(content, images):
    """Return LiteRT's answers."""
    interpreter = Interpreter(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    (given,), (answered,) = interpreter.get_input_details(), interpreter.get_output_details()
    answers = []
    for image in images:
        interpreter.set_tensor(given["index"], image[None])
        interpreter.invoke()
        answers.append(interpreter.get_tensor(answered["index"])[0])
    return np.stack(answers)


def run_layers(content, image, names):
    """Return what LiteRT computes in these tensors; with every tensor kept, it runs without XNNPACK."""
    interpreter = Interpreter(model_content=content, num_threads=1, experimental_preserve_all_tensors=True)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image[None])
    interpreter.invoke()
    index = {tensor["name"]: tensor["index"] for tensor in interpreter.get_tensor_details()}
    return [interpreter.get_tensor(index[name]) for name in names]


def graph_of(content, folder):
    path = folder / "model.tflite"
    path.write_bytes(content)
    return tflite_graph.read(path)  # in this process: the file is our own


@pytest.fixture(scope="module")
def made(stirred):
    """Return a function that gives a spec's folded graph, its quantised one, and Keras' answers."""
    known = {}

    def of(spec):
        if spec not in known:
            weights = stirred(spec)
            folded = fold(spec, weights)
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "You are using a softmax over axis", UserWarning)  # of one class
                expected = predict(build(spec, weights), images_for(spec))
            known[spec] = folded, quantize_plainly(folded, images_for(spec)), expected
        return known[spec]

    return of


# What is in a file.


def contents_of(folded, quantized):
    """Return every kind of file with its precision."""
    return [
        (Precision.FP32, write_float(folded)),
        (Precision.FP16, write_float(folded, half_weights=True)),
        *((Precision.INT8, write_int8(quantized, io)) for io in IoType),
    ]


@pytest.mark.parametrize("spec", SPECS, ids=spec_id)
def test_the_structure_of_every_file_is_that_of_its_spec(made, spec, tmp_path):
    folded, quantized, _ = made(spec)
    for precision, content in contents_of(folded, quantized):
        graph = graph_of(content, tmp_path)
        assert tflite_failures(graph, spec, precision) == ()
        given, answered = (graph.tensors[names[0]] for names in (graph.inputs, graph.outputs))
        assert given.shape == (1, spec.resolution_px, spec.resolution_px, spec.channels_in)
        last = spec.layers()[-1].out_shape_hwc
        assert answered.shape == ((1, *last) if spec.classes is None else (1, spec.classes))
        names = set(graph.tensors)
        assert names >= {layer.name for layer in spec.layers()}


@pytest.mark.parametrize("io", IoType)
def test_an_int8_file_takes_and_gives_what_was_asked_for(made, io, tmp_path):
    quantized = made(SPEC)[1]
    graph = graph_of(write_int8(quantized, io), tmp_path)
    given, answered = (graph.tensors[names[0]] for names in (graph.inputs, graph.outputs))
    shift = {IoType.INT8: 0, IoType.UINT8: 128, IoType.FLOAT: None}[io]
    assert (given.dtype, answered.dtype) == (("float32",) * 2 if shift is None else (io, io))
    for tensor, params in ((given, quantized.input), (answered, quantized.layers[-1].output)):
        expected = ((), ()) if shift is None else ((params.scale,), (params.zero_point + shift,))
        assert (tensor.scale, tensor.zero_point) == expected
    counts = op_histogram(graph)
    ends = {IoType.INT8: (0, 0), IoType.UINT8: (2, 0), IoType.FLOAT: (1, 1)}[io]
    assert (counts.get("QUANTIZE", 0), counts.get("DEQUANTIZE", 0)) == ends


def stored_positions(content):
    """Return where the data of each buffer lies in a file, and how long it is."""
    model = schema.Model.GetRootAs(content, 0)
    buffers = [model.Buffers(index) for index in range(model.BuffersLength())]
    return [
        (table.Vector(table.Offset(4)), buffer.DataLength())  # 4: the schema's first field, `data`
        for buffer in buffers
        if not buffer.DataIsNone()
        for table in [buffer._tab]
    ]


@pytest.mark.parametrize("spec", [SPECS[3], SPECS[4]], ids=spec_id)
def test_stored_data_is_aligned_as_the_schema_asks(made, spec):
    folded, quantized, _ = made(spec)
    for _, content in contents_of(folded, quantized):
        positions = stored_positions(content)
        weighted = sum(layer.kind.has_weights for layer in spec.layers())
        assert len(positions) >= 2 * weighted  # a kernel and a bias each
        assert {start % 16 for start, _ in positions} == {0}
        assert all(start + length <= len(content) for start, length in positions)


def test_a_file_says_what_it_is_and_what_it_needs(made, tmp_path):
    folded, quantized, _ = made(SPEC)
    # The first TensorFlow Lite with all ops in these versions, by the table of runtime_version.cc.
    wanted = ["1.6.0", "1.15.0", "1.14.0", "1.15.0", "1.14.0"]  # fp32, fp16, int8 with int8, uint8, float ends
    for first_runtime, (_, content) in zip(wanted, contents_of(folded, quantized), strict=True):
        assert content[4:8] == b"TFL3"
        metadata = graph_of(content, tmp_path).metadata
        assert metadata["schema_version"] == "3"
        assert metadata["min_runtime_version"] == first_runtime
        assert metadata["description"] == f"{SPEC.name}, written by mnet-deploy"
        assert metadata["signatures"] == "serving_default"


@pytest.mark.parametrize("io", IoType)
def test_the_signature_runs_the_model(made, io):
    quantized = made(SPEC)[1]
    content = write_int8(quantized, io)
    image = given_as(io, quantized.input, grid_images(quantized, SPEC)[:1])
    runner = Interpreter(model_content=content, num_threads=1).get_signature_runner("serving_default")
    answer = runner(**{SIGNATURE_INPUT: image})[SIGNATURE_OUTPUT]
    assert np.array_equal(answer, run(content, image))


def test_writing_twice_gives_the_same_bytes(made):
    folded, quantized, _ = made(SPECS[5])
    assert contents_of(folded, quantized) == contents_of(folded, quantized)


# What a file answers.


@pytest.mark.parametrize("spec", SPECS, ids=spec_id)
def test_the_float_files_answer_what_keras_answers(made, spec):
    folded, _, expected = made(spec)
    images = images_for(spec)
    # Float32 sums in another order: relative to the largest activation, which ReLU6 limits.
    assert np.abs(run(write_float(folded), images) - expected).max() <= 1e-5 * 6
    half = run(write_float(folded, half_weights=True), images)
    # Float16 keeps 11 bits of every weight, which is what the answers may be off by, relative to the largest one; the
    # errors of 28 layers add up like noise.
    assert np.abs(half - expected).max() <= 2**-11 * np.sqrt(28) * max(np.abs(expected).max(), 1)


def grid_images(quantized, spec):
    """Return images, int8: every value stands for itself, so that no rounding at the input can differ."""
    return quantized.input.store(images_for(spec))


def given_as(io, params, stored):
    """Return int8 values as a file with that input takes them."""
    if io is IoType.FLOAT:
        return params.real(stored)
    return stored if io is IoType.INT8 else (stored ^ -128).view(np.uint8)


@pytest.mark.parametrize("spec", SPECS, ids=spec_id)
def test_int8_uint8_and_float_ends_are_the_same_model(made, spec):
    _, quantized, expected = made(spec)
    stored = grid_images(quantized, spec)
    answers = {io: run(write_int8(quantized, io), given_as(io, quantized.input, stored)) for io in IoType}
    last = quantized.layers[-1].output
    assert np.array_equal(answers[IoType.UINT8], given_as(IoType.UINT8, last, answers[IoType.INT8]))
    assert np.array_equal(answers[IoType.FLOAT], last.real(answers[IoType.INT8]))
    error = answers[IoType.FLOAT] - expected
    # Random layers have no meaning that survives 8 bits; this fails where they are wired wrongly. An error of the size
    # of the answers' own spread would be no answer at all.
    spread = max(float(expected.std()), last.scale)
    assert np.sqrt(np.mean(error**2)) <= spread


def test_a_single_class_is_certain(made):
    """Where an .onnx is refused, because ONNX Runtime answers 0."""
    spec = SPECS[2]
    assert spec.classes == 1
    quantized = made(spec)[1]
    stored = run(write_int8(quantized), grid_images(quantized, spec))
    assert (stored == 127).all()  # 255/256: the most that TFLite's scale of 1/256 can say


# Against TensorFlow's converter.


def saturated(weights):
    """Return weights whose first channel always exceeds 6: a range that is observed ends where ReLU6 does."""
    return {
        name: layer if layer.beta is None else replace(layer, beta=np.append(np.float32(20), layer.beta[1:]))
        for name, layer in weights.items()
    }


class Opened:
    """A file in LiteRT with all its tensors kept."""

    def __init__(self, content):
        self.interpreter = Interpreter(model_content=content, num_threads=1, experimental_preserve_all_tensors=True)
        self.interpreter.allocate_tensors()
        self.ops = [op for op in self.interpreter._get_ops_details() if op["op_name"] != "DELEGATE"]
        self.tensors = {tensor["index"]: tensor for tensor in self.interpreter.get_tensor_details()}
        (self.given,) = self.interpreter.get_input_details()

    def scales(self, index):
        return self.tensors[index]["quantization_parameters"]["scales"]

    def values(self, index):
        return self.interpreter.get_tensor(index).astype(np.int64)

    def answers(self, stored):
        """Return what each op computes for int8 images, [ops][images, ...]."""
        found = [[] for _ in self.ops]
        for image in stored:
            self.interpreter.set_tensor(self.given["index"], image[None])
            self.interpreter.invoke()
            for values, op in zip(found, self.ops, strict=True):
                values.append(self.values(op["outputs"][0]).ravel())
        return [np.stack(values) for values in found]


@pytest.fixture(scope="module", params=["shallow_mobilenet", "dense1_mobilenet"])
def converted(request, stirred):
    """Weights, images, and the int8 file that TensorFlow's converter makes of them."""
    spec = ModelSpec(family=request.param, alpha=0.25, resolution_px=64, classes=10)
    weights = saturated(stirred(spec))
    images = (images_for(spec, count=8) + 1) / 2
    images[0, 0, :2] = ((0, 0, 0), (1, 1, 1))  # both ends of the range
    stock = tensorflow_converter.convert(with_static_batch(build(spec, weights)), Precision.INT8, images)
    return fold(spec, weights), images, tensorflow_converter.with_io(stock, "int8")


def op_versions(content):
    """Return the ops that a file names with the version of each."""
    model = schema.Model.GetRootAs(content, 0)
    codes = [model.OperatorCodes(index) for index in range(model.OperatorCodesLength())]
    return {(max(code.BuiltinCode(), code.DeprecatedBuiltinCode()), code.Version()) for code in codes}


@keeps_all_tensors
def test_the_plain_file_is_that_of_tensorflows_converter(converted):
    folded, images, stock = converted
    content = write_int8(quantize_plainly(folded, images))
    assert op_versions(content) <= op_versions(stock)  # that one still names the ops which stood at its ends
    stock, ours = Opened(stock), Opened(content)
    assert [op["op_name"] for op in ours.ops] == [op["op_name"] for op in stock.ops]
    for own, other in zip(ours.ops, stock.ops, strict=True):
        # 1 % leaves room for the input alone, which has 254 steps in ours and 255 in the other.
        for reads in ("inputs", "outputs"):
            assert len(own[reads]) == len(other[reads])
            for index, match in zip(own[reads], other[reads], strict=True):
                np.testing.assert_allclose(ours.scales(index), stock.scales(match), rtol=0.01)
        if "CONV" in own["op_name"]:
            kernels = ours.values(own["inputs"][1]), stock.values(other["inputs"][1])
            assert np.abs(kernels[0] - kernels[1]).max() <= 1
            assert (kernels[0] != kernels[1]).mean() <= 1e-3  # only where folding in float32 moved it over a half


@keeps_all_tensors
def test_with_the_same_input_it_answers_the_same(converted, monkeypatch):
    folded, images, stock = converted
    monkeypatch.setattr(quantizer, "input_params", QuantParams.of_range)  # in 255 steps, as TensorFlow does
    quantized = quantize_plainly(folded, images)
    stock, ours = Opened(stock), Opened(write_int8(quantized))
    assert ours.given["quantization"] == pytest.approx(stock.given["quantization"], rel=1e-6)
    for own, other in zip(ours.ops, stock.ops, strict=True):
        if "CONV" in own["op_name"]:
            # A bias is some ten thousand steps; folding it in float32 is 2**-24 of its parts off.
            assert np.abs(ours.values(own["inputs"][2]) - stock.values(other["inputs"][2])).max() <= 1
    stored = quantized.input.store(images)
    answers, expected = ours.answers(stored), stock.answers(stored)
    logits = [name["op_name"] for name in ours.ops].index("RESHAPE")
    own, other = answers[logits], expected[logits]
    # TensorFlow folds in float32, we in float64: kernels and scales differ by 2**-23 of themselves, so that a sum next
    # to the middle between two stored values is rounded the other way, one in some ten thousand. Each is the error of
    # one step in one element, which quantising makes in every element anyway: what comes of them must stay far below
    # the error of quantising, and be no more than a step or two.
    step = quantized.layers[-2].output.scale
    float_logits = run_float(folded, images).logits
    own_error = quantized.layers[-2].output.real(own.astype(np.int8)) - float_logits
    assert np.abs(own - other).max() <= 2
    assert step * np.sqrt(np.mean((own - other) ** 2.0)) <= np.sqrt(np.mean(own_error**2))


# Against the .onnx of the same quantised model.


def compare_with_onnx(quantized, stored):
    """Return the differences: of the last tensor before the softmax in steps, and of the answers."""
    onnx_options = OnnxOptions(layout=Layout.NHWC)
    before = next(layer.spec.name for layer in reversed(quantized.layers) if layer.spec.kind is not LayerKind.SOFTMAX)
    content = with_outputs(write_onnx_int8(quantized, onnx_options, IoType.INT8), [f"{before}.quantized"])
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    has_softmax = before != quantized.layers[-1].spec.name
    tflite = write_int8(quantized)
    steps, answers = [], []
    for image, answer in zip(stored, run(tflite, stored), strict=True):
        found = dict(zip(names, session.run(None, {"input": image[None]}), strict=True))
        (own,) = run_layers(tflite, image, [before])
        channels_last = found[f"{before}.quantized"].transpose(0, 2, 3, 1).astype(int)
        steps.append(np.abs(own.reshape(channels_last.shape) - channels_last).max())
        if has_softmax:
            real = SOFTMAX_PARAMS.real(found["output"])
            answers.append(np.abs(quantized.layers[-1].output.real(answer[None]) - real).max())
    return max(steps), max(answers, default=0.0)


# Both files store the probability in steps, of 1/256 and 1/255, and round it: half a step each, and half a step more
# for the integer arithmetic of LiteRT's softmax.
SOFTMAX_APART = 1.5 / 255


@keeps_all_tensors
@pytest.mark.parametrize("spec", [spec for spec in SPECS if spec.classes != 1], ids=spec_id)
def test_the_onnx_of_the_same_model_answers_the_same(made, spec):
    quantized = made(spec)[1]
    steps, answers = compare_with_onnx(quantized, grid_images(quantized, spec)[:2])
    assert steps <= 1
    assert answers <= SOFTMAX_APART


@keeps_all_tensors
def test_trained_weights_answer_the_same_as_tflite_and_onnx(imagenet_data):
    loaded = load_model(str(imagenet_data / "mobilenet_v1_0.25_224.weights.h5"), {})
    photos = from_folder(imagenet_data / "calibration", count=6, resolution_px=loaded.spec.resolution_px)
    inputs = Normalization().apply(photos.pixels)
    folded = fold(loaded.spec, loaded.weights)
    options = {"input_range": (-1.0, 1.0), "effort": Effort.FAST, "are_photos": True}
    quantized, _ = quantize_calibrated(folded, inputs, run_float(folded, inputs), **options)
    steps, answers = compare_with_onnx(quantized, quantized.input.store(inputs))
    assert steps == 0
    assert answers <= SOFTMAX_APART
