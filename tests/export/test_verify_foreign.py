"""Image classifiers that the toolkit did not write: what it finds out by itself, and what it refuses in one line."""

import json
import shutil
import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from mnet_deploy.normalization import Normalization

STEM = "mobilenet_v1_0.25_32"
SIDE = 32
PIXELS = Normalization(mean=(0.0,), std=(255.0,))  # 0..1
COLOURS = np.array([(10, 10, 10), (40, 40, 220), (30, 200, 30), (220, 30, 30), (240, 240, 240)], np.uint8)

GREYS = np.rint(COLOURS @ (0.299, 0.587, 0.114))[:, None].astype(np.uint8)  # as Pillow's convert("L")


def nearest(normalization, *, background=False, colours=COLOURS):
    """Return kernel [channels, classes] and bias of the class whose colour is nearest.

    The classes are those of `colour_photos`; with a background class, which is never the nearest, before them.
    """
    colours = normalization.apply(colours)
    kernel, bias = 2 * colours.T, -(colours**2).sum(axis=1)
    if background:
        kernel = np.concatenate([np.zeros((3, 1)), kernel], axis=1)
        bias = np.concatenate([[2 * bias.min()], bias])
    return kernel.astype(np.float32), bias.astype(np.float32)


@pytest.fixture
def figures(mnet):
    """Return the JSON of `mnet verify`, without the diagnosis."""

    def run(path, data, *options):
        answer = mnet("verify", path, "--data", data, "--json", "--no-diagnosis", *options)
        assert answer.status == 0, answer.err
        return json.loads(answer.out)

    return run


# Exports without their sidecar.


@pytest.mark.parametrize("file", ["int8", "int8_uint8", "fp32"])
def test_a_file_that_lost_its_sidecar_is_as_right_as_with_it(figures, colour_export, colour_photos, tmp_path, file):
    path = shutil.copy(colour_export / f"{STEM}_{file}.tflite", tmp_path)
    found = figures(path, colour_photos)
    assert (found["file_top1"], found["file_top5"], found["images"]) == (1.0, 1.0, 20)
    assert [found[key] for key in ("float_top1", "top1_agreement", "difference")] == [None] * 3
    usual = "pixels scaled to -1..1" if file == "fp32" else "pixels as they are"
    assert any(f"no sidecar says how photos are prepared: {usual} were taken" in note for note in found["notes"])


WITHOUT_EXTRAS = """
import sys
for name in ("tensorflow", "keras", "onnx", "onnxruntime", "h5py", "scipy"):
    sys.modules[name] = None  # importing it fails
from mnet_deploy.cli import main
sys.exit(main())
"""


def test_a_tflite_needs_no_more_than_its_engine(colour_export, colour_photos, tmp_path):
    path = shutil.copy(colour_export / f"{STEM}_int8.tflite", tmp_path)
    command = [sys.executable, "-P", "-c", WITHOUT_EXTRAS, "verify", path, "--data", colour_photos, "--json"]
    answer = subprocess.run(command, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    assert json.loads(answer.stdout)["file_top1"] == 1.0


# TensorFlow's converter, with another head.


@pytest.fixture(scope="module")
def keras_file(tmp_path_factory):
    """Return a function that makes a .tflite of mean colours with TensorFlow's converter."""
    import tensorflow as tf

    def make(normalization, *, io=None, background=False, dynamic=False):
        inputs = tf.keras.Input((SIDE, SIDE, 3), batch_size=None if dynamic else 1)
        dense = tf.keras.layers.Dense(len(COLOURS) + background, activation="softmax")
        model = tf.keras.Model(inputs, dense(tf.keras.layers.GlobalAveragePooling2D()(inputs)))
        model.set_weights(nearest(normalization, background=background))
        converter = tf.lite.TFLiteConverter.from_keras_model(model)
        if io is not None:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            images = np.concatenate([COLOURS, [(0, 0, 0), (255, 255, 255)]]).astype(np.uint8)
            values = normalization.apply(np.broadcast_to(images[:, None, None], (7, SIDE, SIDE, 3)))
            converter.representative_dataset = lambda: ([value[None]] for value in values)
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
            converter.inference_input_type = converter.inference_output_type = getattr(tf, io)
        path = tmp_path_factory.mktemp("tflite") / "foreign.tflite"
        path.write_bytes(converter.convert())
        return path

    return make


@pytest.mark.filterwarnings("ignore:Statistics for quantized inputs:UserWarning")  # the converter's, for integer types
def test_a_uint8_file_with_a_background_class_takes_pixels_as_they_are(
    figures, mnet, keras_file, colour_photos, colour_labels
):
    path = keras_file(PIXELS, io="uint8", background=True)
    found = figures(path, colour_photos, "--classes-file", colour_labels)
    assert found["file_top1"] == 1.0
    assert "the first of 6 outputs was taken for a background class: there are 5 names" in found["notes"]
    by_folders = figures(path, colour_photos)
    assert by_folders["file_top1"] == 1.0
    assert any("their sorted order was taken" in note for note in by_folders["notes"])
    answer = mnet("verify", path, "--data", colour_photos)
    assert "CAUSE" not in answer.out
    assert "answers of the file" in answer.out


def test_a_float_file_needs_its_normalisation(figures, keras_file, colour_photos):
    path = keras_file(PIXELS, dynamic=True)
    assert figures(path, colour_photos)["file_top1"] < 1.0
    found = figures(path, colour_photos, "--normalization", "0..1")
    assert (found["file_top1"], len(found["notes"])) == (1.0, 1)


# .onnx files.


def save_onnx(path, *, shape, channels_last=False, dtype=TensorProto.FLOAT, outputs=1, known=True, colours=COLOURS):
    """Write a network of mean colours in 0..1; its input may be uint8, cast inside."""
    as_they_are = Normalization(mean=(0.0,), std=(1.0,))
    kernel, bias = nearest(as_they_are if dtype == TensorProto.UINT8 else PIXELS, colours=colours)
    cast = [helper.make_node("Cast", ["image"], ["real"], to=TensorProto.FLOAT)]
    axes = [1, 2] if channels_last else [2, 3]
    nodes = [
        *cast,
        helper.make_node("ReduceMean", ["real"], ["means"], axes=axes, keepdims=0),
        helper.make_node("Gemm", ["means", "kernel", "bias"], ["scores"]),
    ]
    values = [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", len(bias)] if known else None)]
    if outputs == 2:
        values.append(helper.make_tensor_value_info("means", TensorProto.FLOAT, ["N", 3]))
    stored = [numpy_helper.from_array(kernel, "kernel"), numpy_helper.from_array(bias, "bias")]
    given = [helper.make_tensor_value_info("image", dtype, shape)]
    graph = helper.make_graph(nodes, "colours", given, values, stored)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


@pytest.mark.parametrize(
    ("shape", "options"),
    [
        (["N", 3, SIDE, SIDE], {}),
        ([1, SIDE, SIDE, 3], {"channels_last": True}),
        ([1, 3, SIDE, SIDE], {"dtype": TensorProto.UINT8}),
        (["N", 3, SIDE, SIDE], {"known": False}),
        (["N", 1, 28, 28], {"colours": GREYS}),
        ([1, 28, 28, 1], {"colours": GREYS, "channels_last": True}),
    ],
)
def test_an_onnx_is_run_in_its_own_layout_and_type(figures, colour_photos, tmp_path, shape, options):
    path = save_onnx(tmp_path / "foreign.onnx", shape=shape, **options)
    normalization = [] if "dtype" in options else ["--normalization", "0..1"]
    assert figures(path, colour_photos, *normalization)["file_top1"] == 1.0


def test_the_size_of_an_input_of_any_size_is_asked_for(mnet, figures, colour_photos, tmp_path):
    path = save_onnx(tmp_path / "foreign.onnx", shape=["N", 3, "H", "W"])
    answer = mnet("verify", path, "--data", colour_photos)
    assert (answer.status, answer.error_line.endswith("Give the side of the square with --resolution PX")) == (2, True)
    assert figures(path, colour_photos, "--normalization", "0..1", "--resolution", "24")["file_top1"] == 1.0


@pytest.mark.parametrize(
    ("options", "received"),
    [
        ({"shape": ["N", 3, SIDE, SIDE], "outputs": 2}, "Received: 2 outputs ('scores', 'means')"),
        ({"shape": ["N", 5, SIDE, SIDE]}, "Received: an input of shape ? x 5 x 32 x 32 and type float32"),
        ({"shape": ["N", 3, SIDE, 2 * SIDE]}, "a square image. Received: an input of shape ? x 3 x 32 x 64"),
        ({"shape": ["N", 3, 1 << 20, 1 << 20]}, "1 to 4096 px a side is needed. Received: 1048576 px"),
        ({"shape": [8, 3, SIDE, SIDE]}, "one image with 1 or 3 channels"),
        ({"shape": ["N", 3, SIDE, SIDE], "dtype": TensorProto.DOUBLE}, "type float64"),
        ({"shape": ["N", "C", SIDE, SIDE]}, "shape ? x ? x 32 x 32"),
        ({"shape": ["N", 3]}, "shape ? x 3"),
    ],
)
def test_what_is_no_image_classifier_is_one_line(mnet, colour_photos, tmp_path, options, received):
    path = save_onnx(tmp_path / "foreign.onnx", **options)
    answer = mnet("verify", path, "--data", colour_photos)
    assert answer.status == 2
    assert received in answer.error_line


@pytest.mark.parametrize(
    ("options", "received"),
    [
        (["--weights", "x.keras"], "--weights is for a file with the sidecar"),
        (["--resolution", "64"], "the input is 32 px. Received: --resolution 64"),
        (["--normalization", "0..1"], "takes pixels as they are"),
        (["--classes-file", "labels.txt"], "5 classes. Received: 3 labels"),
    ],
)
def test_options_that_do_not_fit_are_one_line(mnet, colour_photos, tmp_path, monkeypatch, options, received):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "labels.txt").write_text("black\nblue\ngreen\n", encoding="utf-8")
    path = save_onnx(tmp_path / "foreign.onnx", shape=[1, 3, SIDE, SIDE], dtype=TensorProto.UINT8)
    answer = mnet("verify", path, "--data", colour_photos, *options)
    assert answer.status == 2
    assert received in answer.error_line


@pytest.mark.parametrize("options", [["--normalization", "0..1"], ["--bgr"], ["--squash"], ["--resolution", "32"]])
def test_a_sidecar_is_not_contradicted(mnet, colour_export, colour_photos, options):
    answer = mnet("verify", colour_export / f"{STEM}_int8.tflite", "--data", colour_photos, *options)
    assert answer.status == 2
    assert "its sidecar says how photos are prepared" in answer.error_line


def test_a_file_that_is_no_graph_is_one_line(mnet, colour_photos, tmp_path):
    for name in ("broken.onnx", "broken.tflite"):
        (tmp_path / name).write_bytes(b"no model at all")
        answer = mnet("verify", tmp_path / name, "--data", colour_photos)
        assert (answer.status, name in answer.error_line) == (2, True)
    assert mnet("verify", tmp_path / "none.tflite", "--data", colour_photos).status == 2


def test_a_checkpoint_is_no_file_that_an_engine_runs(mnet, colour_checkpoint, colour_photos):
    answer = mnet("verify", colour_checkpoint, "--data", colour_photos)
    assert "an engine runs .tflite and .onnx files. Received: a .keras" in answer.error_line
