import json
import re
from dataclasses import replace
from itertools import pairwise

import numpy as np
import onnx
import pytest

from mnet_deploy.artifact import TensorInfo, file_sha256, read_artifact, sidecar_path
from mnet_deploy.converters import quantizer
from mnet_deploy.converters.folded_graph import fold
from mnet_deploy.converters.onnx_float import write_float
from mnet_deploy.converters.onnx_int8 import write_int8
from mnet_deploy.converters.onnx_x86 import write_int8_x86
from mnet_deploy.converters.options import IoType, Layout, OnnxOptions
from mnet_deploy.converters.quantizer import quantize
from mnet_deploy.errors import SpecError
from mnet_deploy.graph_readers import Op, OpGraph, Tensor, read_graph
from mnet_deploy.images import load_images
from mnet_deploy.models.load import load_model
from mnet_deploy.normalization import Normalization
from mnet_deploy.pipeline.evaluation_images import EvaluationImages
from mnet_deploy.pipeline.layer_comparison import LayerPair, LayerSide, compare_layers
from mnet_deploy.pipeline.layer_tensors import LayerReader, find_layer_tensors
from mnet_deploy.pipeline.twin_answers import TwinAccuracy, TwinAnswers
from mnet_deploy.pipeline.twins import require_twins
from mnet_deploy.pipeline.verify import Accuracy
from mnet_deploy.progress import Progress
from mnet_deploy.spec import ModelSpec

STEM = "mobilenet_v1_0.25_32"
INT8_LEVELS = (-128, 127)
POOL = "global_average_pooling2d"  # of a single pixel at 32 px: TensorFlow's converter leaves it out
LAYERS = [layer.name for layer in ModelSpec(alpha=0.25, resolution_px=32).layers()]


@pytest.fixture(scope="module")
def tflite(colour_export):
    return colour_export / f"{STEM}_int8.tflite"


@pytest.fixture(scope="module")
def folded(colour_checkpoint):
    loaded = load_model(str(colour_checkpoint), {})
    return fold(loaded.spec, loaded.weights)


@pytest.fixture(scope="module")
def ranges(tflite, folded):
    """The ranges that the .tflite has: what its twin is quantised with."""
    found = find_layer_tensors(read_graph(tflite), folded.spec)
    assert set(LAYERS) - set(found) == {POOL}
    return {POOL: range_of(found["conv_pw_13"])} | {layer: range_of(tensor) for layer, tensor in found.items()}


def range_of(tensor):
    return tuple((level - tensor.zero_point) * tensor.scale for level in INT8_LEVELS)


@pytest.fixture
def twin(tflite, folded, ranges, tmp_path, monkeypatch):
    """Return a function that writes an int8 .onnx with the scales of the .tflite, but for those that are given."""
    monkeypatch.setattr(quantizer, "fixed_range", lambda layer: None)

    def make(*, graph=folded, layout=Layout.NCHW, io=IoType.FLOAT, **changed):
        content = write_int8(quantize(graph, ranges | changed), OnnxOptions(layout=layout), io)
        return with_sidecar(tmp_path / "twin.onnx", content, read_artifact(tflite))

    return make


def with_sidecar(path, content, artifact):
    path.write_bytes(content)
    graph = read_graph(path)
    given, answered = (graph.tensors[name] for name in (graph.inputs[0], graph.outputs[0]))
    layout = "NCHW" if given.shape[1] < given.shape[3] else "NHWC"
    fields = {"file": path.name, "file_format": "onnx", "sha256": file_sha256(path)}
    tensors = {"input": info(given, layout), "output": info(answered, "NC" if len(answered.shape) == 2 else "NCHW")}
    sidecar_path(path).write_text(replace(artifact, **fields, **tensors).to_json(), encoding="utf-8")
    return path


def info(tensor, layout):
    scale, zero_point = (values[0] if values else None for values in (tensor.scale, tensor.zero_point))
    fields = {"name": tensor.name, "shape": tensor.shape, "dtype": tensor.dtype}
    return TensorInfo(**fields, layout=layout, scale=scale, zero_point=zero_point)


# Two files of one model.


def test_twins_have_the_same_scales_and_the_same_answers(mnet, tflite, twin, colour_photos):
    path = twin()
    answer = mnet("verify", tflite, "--twin", path, "--data", colour_photos, "--json")
    assert (answer.status, answer.err) == (0, "")
    found = json.loads(answer.out)
    assert found["format"] == "mnet.twins/1"
    assert [found[name]["file_format"] for name in "ab"] == ["tflite", "onnx"]
    assert [layer["layer"] for layer in found["layers"]] == ["input", *LAYERS]
    assert [layer["differs"] for layer in found["layers"]] == [[]] * len(found["layers"])
    in_both = [layer for layer in found["layers"] if layer["layer"] != POOL]
    *hidden, last = in_both
    assert all(layer["a"]["scale"] == pytest.approx(layer["b"]["scale"], rel=1e-5) for layer in hidden)
    assert (last["a"]["scale"], last["b"]["scale"]) == (pytest.approx(1 / 256), pytest.approx(1 / 255))
    assert all(min(layer[side]["sqnr_db"] for side in "ab") > 20 for layer in in_both)
    assert found["layers"][0]["equal"]
    assert found["layer_images"] == found["answers"]["images"] == 20
    assert [found["answers"][name] for name in ("between", "a_with_float", "b_with_float")] == [1.0] * 3
    accuracy = found["answers"]["accuracy"]
    assert [accuracy[name]["top1"] for name in ("a", "b", "reference")] == [1.0] * 3
    assert accuracy["low"] < accuracy["difference"] == 0 < accuracy["high"]
    assert found["warnings"] == found["notes"] == []


def test_the_sqnr_is_that_against_the_keras_model(mnet, tflite, twin, colour_photos, colour_checkpoint):
    """Signal over noise by hand, with floats from Keras and integers from LiteRT; the twin comes first here."""
    import keras

    answer = mnet(
        "verify", twin(io=IoType.UINT8, layout=Layout.NHWC), "--twin", tflite, "--data", colour_photos, "--json"
    )
    found = {layer["layer"]: layer for layer in json.loads(answer.out)["layers"]}
    artifact = read_artifact(tflite)
    images = Normalization().apply(np.stack(load_images(sorted(colour_photos.glob("*/*")), resolution_px=32)))
    reader = LayerReader.open(tflite, artifact.spec, artifact.input, copy=tflite)
    stored = reader.read(images)
    model = keras.saving.load_model(colour_checkpoint)
    for layer, keras_layer in (("conv_pw_1", "conv_pw_1_relu"), ("conv_dw_9", "conv_dw_9_relu"), ("conv_preds",) * 2):
        inside = keras.Model(model.inputs, model.get_layer(keras_layer).output)
        expected = inside.predict(images, verbose=0).reshape(len(images), -1).astype(np.float64)
        noise = reader.real(layer, stored[layer]) - expected
        by_hand = 10 * np.log10((expected**2).sum() / (noise**2).sum())
        assert found[layer]["b"]["sqnr_db"] == pytest.approx(by_hand, abs=0.01)
        assert found[layer]["a"]["sqnr_db"] == pytest.approx(by_hand, abs=3)  # the same scales, other rounding


def test_a_layer_with_another_range_and_one_that_is_not_there_are_pointed_at(mnet, tflite, twin, ranges):
    low, high = ranges["conv_pw_5"]
    answer = mnet("verify", tflite, "--twin", twin(conv_pw_5=(low, 2 * high)))
    lines = [re.split("  +", line) for line in answer.out.splitlines()]
    pointed_at = {line[0]: line for line in lines if len(line) > 8 and line[0] in ("input", *LAYERS)}
    assert set(pointed_at) == {"conv_pw_5", POOL}
    scale = high / 255
    assert pointed_at["conv_pw_5"][1:3] == [f"{scale:.5g}", f"{2 * scale:.5g}"]
    assert pointed_at["conv_pw_5"][-1] == "* scale"
    assert pointed_at[POOL][-1] == "not found in A"


def test_a_file_for_x86_is_a_twin_of_the_plain_one_layer_by_layer(twin, folded, ranges, colour_inputs, tmp_path):
    """It stores neighbouring pixels as one with more channels, as uint8."""
    plain = twin()
    content = write_int8_x86(quantize(folded, ranges), OnnxOptions(), IoType.FLOAT)
    tuned = with_sidecar(tmp_path / "tuned.onnx", content, read_artifact(plain))
    images = Normalization().apply(colour_inputs.view(np.uint8))
    readers = [
        LayerReader.open(path, folded.spec, read_artifact(path).input, copy=tmp_path / f"{path.stem}_layers.onnx")
        for path in (plain, tuned)
    ]
    pairs = compare_layers(folded.spec, *readers, None, images, Progress())
    blocked = {layer for layer, tensor in readers[1].tensors.items() if tensor.shape != readers[0].tensors[layer].shape}
    assert "conv1" in blocked
    assert [pair.layer for pair in pairs if pair.differs or pair.a is None or pair.b is None] == []
    assert all(pair.equal or pair.between_db > 40 for pair in pairs)


def test_a_twin_that_answers_otherwise_is_no_twin(mnet, tflite, twin, folded, colour_photos):
    *body, head, softmax = folded.layers
    swapped = [4, 1, 2, 3, 0]  # black and white
    head = replace(head, kernel=head.kernel[..., swapped], bias=head.bias[swapped])
    path = twin(graph=replace(folded, layers=(*body, head, softmax)))
    answer = mnet("verify", tflite, "--twin", path, "--data", colour_photos)
    assert answer.status == 1
    assert "twins agree on 60.0% of 20 images (each with float: 100.0%, 60.0%)" in answer.out
    assert "top-1 of B less that of A: -40.0%, 95% interval" in answer.out
    assert answer.out.splitlines()[-1].startswith("WARNING: B is less accurate than A by more than chance explains")


def test_photos_without_classes_and_a_lost_checkpoint_leave_the_rest(mnet, tflite, twin, colour_photos, tmp_path):
    path = twin()
    for file in (path, tflite):
        artifact = read_artifact(file)
        artifact = replace(artifact, weights=artifact.weights | {"path": str(tmp_path / "lost.keras")})
        copy = tmp_path / "copies" / file.name
        copy.parent.mkdir(exist_ok=True)
        copy.write_bytes(file.read_bytes())
        sidecar_path(copy).write_text(artifact.to_json(), encoding="utf-8")
    files = [tmp_path / "copies" / file.name for file in (tflite, path)]
    answer = mnet("verify", files[0], "--twin", files[1], "--data", colour_photos / "red", "--json")
    found = json.loads(answer.out)
    assert answer.status == 0
    assert found["answers"] == {
        "images": 4,
        "between": 1.0,
        "a_with_float": None,
        "b_with_float": None,
        "accuracy": None,
    }
    in_both = [layer for layer in found["layers"] if layer["layer"] != POOL]
    assert {layer[side][name] for layer in in_both for side in "ab" for name in ("sqnr_db", "equal")} == {None}
    assert all(layer["equal"] or layer["between_db"] > 20 for layer in in_both)
    no_accuracy, no_float = found["notes"]
    assert re.match("no accuracy: .* directly in", no_accuracy)
    assert re.match(r"the float model is not at hand: .*lost\.keras is gone", no_float)


def test_files_without_classifier_are_compared_by_their_layers_on_generated_images(mnet, tflite, tmp_path):
    spec = ModelSpec(alpha=0.25, resolution_px=32, classes=None)
    loaded = load_model("random", {"alpha": 0.25, "resolution_px": 32, "classes": None})
    weights = {"origin": "random", "path": None, "sha256": loaded.sha256, "trained": False, "notes": []}
    artifact = replace(read_artifact(tflite), spec=spec, weights=weights, labels=None, precision="fp32")
    graph = fold(spec, loaded.weights)
    files = [
        with_sidecar(tmp_path / f"{layout}.onnx", write_float(graph, OnnxOptions(layout=layout)), artifact)
        for layout in Layout
    ]
    answer = mnet("verify", files[0], "--twin", files[1], "--json")
    found = json.loads(answer.out)
    assert (answer.status, found["answers"], found["layer_images"], found["warnings"]) == (0, None, 32, [])
    assert {layer[side]["scale"] for layer in found["layers"] for side in "ab"} == {None}
    assert all(layer["equal"] or layer["between_db"] > 100 for layer in found["layers"])
    assert [layer["layer"] for layer in found["layers"] if not layer["b"]["equal"]] == []
    assert "the images are generated" in answer.err


# What is said of the figures.


@pytest.mark.parametrize(
    ("between", "with_float", "warned"),
    [(0.7, (0.8, 0.9), True), (0.7, (0.9, 0.8), True), (0.8, (0.8, 0.9), False), (0.1, (None, None), False)],
)
def test_twins_that_agree_less_with_each_other_than_with_float_are_reported(between, with_float, warned):
    a, b = with_float
    answers = TwinAnswers(images=10, between=between, a_with_float=a, b_with_float=b, accuracy=None)
    assert bool(answers.warnings) is warned
    assert all("agree less with each other (70.0%)" in text and "80.0%" in text for text in answers.warnings)


@pytest.mark.parametrize(
    ("difference", "low", "high", "word"),
    [(0.0, -0.1, 0.1, None), (0.1, 0.05, 0.2, "more"), (-0.1, -0.2, -1e-9, "less")],
)
def test_a_difference_beyond_chance_is_reported(difference, low, high, word):
    share = Accuracy(top1=0.5, top5=0.5)
    accuracy = TwinAccuracy(a=share, b=share, reference=None, difference=difference, low=low, high=high)
    answers = TwinAnswers(images=10, between=1.0, a_with_float=None, b_with_float=None, accuracy=accuracy)
    assert [f"B is {word} accurate" in text for text in answers.warnings] == ([] if word is None else [True])


@pytest.mark.parametrize(
    ("scales", "zero_points", "differs"),
    [
        ((0.5, 0.5049), (3, 3), ()),
        ((0.5, 0.5051), (3, 3), ("scale",)),
        ((0.5051, 0.5), (3, 4), ("scale", "zero point")),
        ((0.5, None), (3, None), ()),
    ],
)
def test_scales_differ_from_one_percent_on(scales, zero_points, differs):
    a, b = (
        LayerSide(tensor="t", scale=scale, zero_point=zero_point, sqnr_db=None, equal=None)
        for scale, zero_point in zip(scales, zero_points, strict=True)
    )
    assert LayerPair(layer="t", a=a, b=b, between_db=None, equal=False).differs == differs


# Files that are no twins.


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"spec": ModelSpec(alpha=0.5, resolution_px=32, classes=5)}, "with alpha 0.25, other.onnx with 0.5"),
        ({"spec": ModelSpec(alpha=0.25, resolution_px=32, classes=6)}, "with classes 5, other.onnx with 6"),
        ({"weights": {"sha256": "abc"}}, "with weights of sha256 .*, other.onnx with abc"),
        ({"normalization": Normalization(mean=(0.0,), std=(255.0,))}, "with the normalisation 127.5/127.5, .* 0/255"),
        ({"labels": ("black", "blue", "grey", "red", "white")}, "with the label green, other.onnx with grey"),
        ({"file_format": "ort"}, r"layers are compared in \.tflite and \.onnx files\. Received: other\.onnx"),
    ],
)
def test_files_of_two_models_are_refused(tflite, changes, message):
    artifact = read_artifact(tflite)
    with pytest.raises(SpecError, match=message) as caught:
        require_twins(artifact, replace(artifact, file="other.onnx", **changes))
    assert "\n" not in str(caught.value)
    require_twins(artifact, replace(artifact, labels=None))


def test_without_a_twin_photos_are_needed(mnet, tflite):
    answer = mnet("verify", tflite)
    assert answer.status == 2
    assert "give --data FOLDER, or --twin" in answer.error_line


# Which tensor is which layer's.


@pytest.mark.parametrize(
    ("tensors", "found"),
    [
        (["conv_pw_1", "conv_pw_11"], "conv_pw_1"),
        (["net_1/m_1/conv_pw_1_relu_1/Relu6;net_1/m_1/conv_pw_1_bn_1/add;net_1/m_1/conv_pw_1_1/convolution"], 0),
        (["m/conv_pw_1_relu/Relu6", "m/conv_pw_2_relu/Relu6;m/conv_pw_1_bn/sub"], 0),
        (["conv_pw_1", "conv_pw_1_relu"], 1),
        (["conv_pw_1", "conv_pw_1.quantized", "conv_pw_1.quantized.real", "conv_pw_1.weight"], 1),
        (["m/conv_pw_11_relu/Relu6", "conv_pw_10", "my_conv_pw_1", "conv_pw_1_pad"], None),
    ],
)
def test_layers_are_told_by_the_parts_of_names(tensors, found):
    spec = ModelSpec(alpha=0.25, resolution_px=32)
    shapes = {"input": (1, 32, 32, 3), "output": (1, 1000)} | dict.fromkeys(tensors, (1, 16, 16, 16))
    chain = ["input", *tensors, "output"]
    graph = OpGraph(
        format="tflite",
        inputs=("input",),
        outputs=("output",),
        tensors={name: Tensor(name=name, shape=shape, dtype="int8") for name, shape in shapes.items()},
        ops=tuple(Op(name=b, op_type="CONV_2D", inputs=(a,), outputs=(b,)) for a, b in pairwise(chain)),
    )
    name = tensors[found] if isinstance(found, int) else found
    tensor = find_layer_tensors(graph, spec).get("conv_pw_1")
    assert (tensor.name if tensor else None) == name


def test_all_layers_of_dense_families_are_found(tmp_path):
    spec = ModelSpec(family="dense1_mobilenet", alpha=0.25, resolution_px=32, classes=5)
    loaded = load_model("random", {"family": "dense1_mobilenet", "alpha": 0.25, "resolution_px": 32, "classes": 5})
    (tmp_path / "dense.onnx").write_bytes(write_float(fold(spec, loaded.weights), OnnxOptions()))
    found = find_layer_tensors(read_graph(tmp_path / "dense.onnx"), spec)
    assert list(found) == ["input", *(layer.name for layer in spec.layers())]
    model = onnx.load(tmp_path / "dense.onnx")
    written_by = {name: node.op_type for node in model.graph.node for name in node.output}
    kinds = {written_by[tensor.name] for layer, tensor in found.items() if "_pw_" in layer}
    assert kinds == {"Clip"}, "after the activation, not before"


def test_a_sample_is_spread_over_all_images(tmp_path):
    images = EvaluationImages(paths=tuple(tmp_path / str(number) for number in range(100)))
    assert [int(path.name) for path in images.sample(3).paths] == [0, 50, 99]
    assert images.sample(200).paths == images.paths
