import hashlib
import json
import shutil
import subprocess
from importlib.metadata import version
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from mnet_deploy import graph_facts
from mnet_deploy.artifact import read_artifact, sidecar_path
from mnet_deploy.converters import calibration, structure, tensorflow_converter, tflite_writer
from mnet_deploy.cost import Precision
from mnet_deploy.graph_readers import read_graph
from mnet_deploy.models.builder import build, predict, with_static_batch
from mnet_deploy.models.load import load_model
from mnet_deploy.runners import local
from mnet_deploy.spec import ModelSpec

STEM = "mobilenet_v1_0.25_32"
RANDOM = ["--weights", "random", "--alpha", "0.25", "--resolution", "32", "--classes", "5", "--calibration-count", "2"]


BESIDE = (".goldens.npz", ".json")  # what an export keeps beside each file


def names(folder):
    return sorted(path.name for path in folder.rglob("*"))


# A trained network, photos and labels: what the README leads to.


def test_the_folder_holds_the_files_their_sidecars_and_the_labels(colour_export, colour_labels):
    files = [f"{STEM}_{what}.tflite" for what in ("fp32", "int8", "int8_uint8")]
    assert names(colour_export) == sorted(
        [*files, *(f"{name}{beside}" for name in files for beside in BESIDE), "labels.txt"]
    )
    assert (colour_export / "labels.txt").read_bytes() == colour_labels.read_bytes()


@pytest.mark.parametrize(
    ("what", "precision", "io"), [("fp32", "fp32", "float"), ("int8", "int8", "int8"), ("int8_uint8", "int8", "uint8")]
)
def test_a_sidecar_says_what_the_file_is(colour_export, colour_checkpoint, colour_photos, what, precision, io):
    path = colour_export / f"{STEM}_{what}.tflite"
    artifact = read_artifact(path)
    assert (artifact.file, artifact.file_format, artifact.precision, artifact.io) == (
        path.name,
        "tflite",
        precision,
        io,
    )
    assert artifact.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert artifact.size_bytes == path.stat().st_size
    assert artifact.spec == ModelSpec(alpha=0.25, resolution_px=32, classes=5)
    assert artifact.labels == ("black", "blue", "green", "red", "white")
    assert artifact.unfit_for_accuracy == ()
    assert artifact.weights == {
        "origin": colour_checkpoint.name,
        "path": str(colour_checkpoint),
        "sha256": hashlib.sha256(colour_checkpoint.read_bytes()).hexdigest(),
        "trained": True,
        "notes": [],
    }
    photos = calibration.from_folder(colour_photos, resolution_px=32)
    assert artifact.calibration == {
        "source": "folder",
        "count": 20,
        "seed": 0,
        "digest": photos.digest,
        "skipped": [],
    }
    assert artifact.preprocessing["short_side_px"] == 37  # 32 / 0.875 = 36.6
    assert artifact.normalization.to_json() == {"mean": [127.5], "std": [127.5]}
    # What computed the file and what ran it: neither Keras nor TensorFlow had a part in it.
    tools = {name: version(name) for name in ("mnet-deploy", "numpy", "onnxruntime", "ai-edge-litert")}
    assert artifact.tool_versions == tools
    assert artifact.checks["engine"] == f"ai-edge-litert {tools['ai-edge-litert']}"


@pytest.mark.parametrize("what", ["fp32", "int8", "int8_uint8"])
def test_the_tensors_of_a_sidecar_are_those_of_the_file(colour_export, what):
    path = colour_export / f"{STEM}_{what}.tflite"
    artifact, graph = read_artifact(path), read_graph(path)
    assert artifact.op_histogram == graph_facts.op_histogram(graph)
    for said, name in ((artifact.input, graph.inputs[0]), (artifact.output, graph.outputs[0])):
        tensor = graph.tensors[name]
        assert (said.name, said.shape, said.dtype) == (name, tensor.shape, tensor.dtype)
        assert said.scale == (tensor.scale[0] if tensor.scale else None)
        assert said.zero_point == (tensor.zero_point[0] if tensor.zero_point else None)
    assert (artifact.input.shape, artifact.input.layout) == ((1, 32, 32, 3), "NHWC")
    assert (artifact.output.shape, artifact.output.layout) == ((1, 5), "NC")
    assert artifact.input.dtype == {"fp32": "float32", "int8": "int8", "int8_uint8": "uint8"}[what]


def test_only_a_derived_file_names_what_it_was_derived_from(colour_export):
    main, twin, fp32 = (
        read_artifact(colour_export / f"{STEM}_{what}.tflite") for what in ("int8", "int8_uint8", "fp32")
    )
    assert twin.derived_from == main.sha256
    assert (main.derived_from, fp32.derived_from) == (None, None)


def test_the_int8_graph_is_as_small_as_it_can_be(colour_export):
    graph = read_graph(colour_export / f"{STEM}_int8.tflite")
    convolutions = {"CONV_2D": 15, "DEPTHWISE_CONV_2D": 13}
    assert graph_facts.op_histogram(graph) == {**convolutions, "MEAN": 1, "RESHAPE": 1, "SOFTMAX": 1}
    assert graph_facts.float_ops(graph) == ()
    assert graph_facts.fused_relu6_count(graph) == 27
    assert graph_facts.unfolded_batch_norms(graph) == ()
    assert graph_facts.per_channel_weights(graph) == (28, 0)
    assert graph.tensors[graph.inputs[0]].shape == (1, 32, 32, 3)


def test_the_figures_of_a_sidecar_are_those_of_a_second_run(colour_export, colour_checkpoint, colour_photos):
    path = colour_export / f"{STEM}_int8.tflite"
    artifact = read_artifact(path)
    pixels = calibration.from_folder(colour_photos, resolution_px=32).pixels
    inputs = artifact.normalization.apply(pixels)
    loaded = load_model(str(colour_checkpoint), {})
    expected = predict(build(loaded.spec, loaded.weights), inputs)
    answers = artifact.output.real(local.infer(path, artifact.input.store(inputs)).outputs)
    figures = artifact.checks["fidelity"]
    assert artifact.checks["fidelity_judged"]
    assert figures["images"] == 20
    assert figures["max_abs_error"] == pytest.approx(float(np.abs(answers - expected).max()), abs=1e-6)
    assert figures["top1_agreement"] == 1.0
    assert figures["sqnr_db"] > 30  # colours survive 8 bits


def test_the_twin_takes_and_gives_the_same_numbers_128_higher(colour_export, colour_inputs):
    signed = local.infer(colour_export / f"{STEM}_int8.tflite", colour_inputs).outputs
    unsigned = local.infer(colour_export / f"{STEM}_int8_uint8.tflite", (colour_inputs ^ -128).view(np.uint8)).outputs
    assert unsigned.dtype == np.uint8
    assert (unsigned.astype(np.int16) == signed.astype(np.int16) + 128).all()


# All precisions at once.


@pytest.fixture(scope="module")
def photos_with_a_broken_one(colour_photos, tmp_path_factory):
    folder = tmp_path_factory.mktemp("broken") / "photos"
    shutil.copytree(colour_photos, folder)
    (folder / "red" / "3.png").unlink()
    (folder / "red" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 cut off")
    return folder


def test_every_precision_comes_from_one_run(mnet, colour_checkpoint, photos_with_a_broken_one, tmp_path):
    precisions = ["fp16", "dynamic", "int16x8", "int8"]
    options = ["--weights", colour_checkpoint, "--calibration", photos_with_a_broken_one, "--out", tmp_path / "out"]
    options += ["--calibration-count", "20", "--normalization", "127.5/127.5", "--seed", "3", "--io", "float"]
    answer = mnet("export", *options, "--precision", ",".join(precisions), "--json")
    assert answer.status == 0
    sidecars = json.loads(answer.out)  # nothing but JSON on stdout
    assert [sidecar["precision"] for sidecar in sidecars] == precisions
    files = [f"{STEM}_{precision}.tflite" for precision in precisions]
    assert names(tmp_path / "out") == sorted([*files, *(f"{name}{beside}" for name in files for beside in BESIDE)])
    for name, sidecar in zip(files, sidecars, strict=True):
        assert json.loads((tmp_path / "out" / f"{name}.json").read_text()) == sidecar
        assert [sidecar[key]["dtype"] for key in ("input", "output")] == ["float32", "float32"]
        assert sidecar["calibration"]["seed"] == 3
        assert sidecar["checks"]["structure"] == "passed"
        assert sidecar["unfit_for_accuracy"] == []
    found = [graph_facts.precision_found(read_graph(tmp_path / "out" / name)) for name in files]
    assert found[0].startswith("float16 weights")
    assert "dynamic range" in found[1]
    assert found[2].startswith("int16x8")
    assert found[3].startswith("full int8")
    lines = answer.err.splitlines()
    assert all(line.startswith("mnet: ") for line in lines)
    assert sum("dynamic range is slower than fp32" in line for line in lines) == 1
    assert sum("int16x8 has no fast CPU kernels" in line for line in lines) == 1
    # The broken photo is named and left out; 19 of the 20 that were asked for are left.
    assert sum("skipped: " in line and "red/broken.jpg" in line for line in lines) == 1
    assert sum("calibrating with 19 images: 20 were asked for" in line for line in lines) == 1
    assert len(sidecars[0]["calibration"]["skipped"]) == 1


# Without a trained network or without photos.


@pytest.fixture(scope="module")
def random_export(mnet_command, tmp_path_factory):
    """An export with nothing but sizes given, by the command in a process of its own."""
    out = tmp_path_factory.mktemp("random") / "out"
    command = [*mnet_command, "export", *RANDOM, "--io", "uint8", "--out", str(out)]
    return out, subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_newcomer_gets_a_file_a_table_and_one_loud_line(random_export):
    out, done = random_export
    assert done.returncode == 0
    assert names(out) == [f"{STEM}_int8.tflite{beside}" for beside in ("", *BESIDE)]
    header, _, row = done.stdout.splitlines()
    assert header.split()[:3] == ["file", "bytes", "in/out"]
    size = (out / f"{STEM}_int8.tflite").stat().st_size
    # 33 ops: 28 convolutions, MEAN, RESHAPE and SOFTMAX, and a QUANTIZE at each end between uint8 and int8
    assert row.split() == [str(out / f"{STEM}_int8.tflite"), str(size), "uint8", "33", "-", "-", "-"]
    (loud,) = done.stderr.splitlines()
    assert loud == "mnet: UNFIT FOR ACCURACY, good for size and latency: random weights: its answers mean nothing"


def test_random_weights_are_checked_for_structure_only_and_the_sidecar_says_so(random_export):
    artifact = read_artifact(random_export[0] / f"{STEM}_int8.tflite")
    assert artifact.checks["structure"] == "passed"
    assert artifact.checks["fidelity_judged"] is False
    assert artifact.unfit_for_accuracy == ("random weights: its answers mean nothing",)
    assert artifact.weights["trained"] is False
    assert artifact.calibration["source"] == "generated"


def test_the_same_export_writes_the_same_bytes(mnet, random_export, tmp_path):
    # Here a later conversion of a long process, there the first one of a fresh process.
    answer = mnet("export", *RANDOM, "--io", "uint8", "--out", tmp_path)
    assert answer.status == 0
    for name in names(tmp_path):
        assert (tmp_path / name).read_bytes() == (random_export[0] / name).read_bytes(), name


def test_ranges_of_noise_are_unfit_for_accuracy(mnet, colour_checkpoint, tmp_path):
    options = ["--weights", colour_checkpoint, "--calibration-source", "noise", "--calibration-count", "2"]
    answer = mnet("export", *options, "--precision", "fp32,int8", "--no-top", "--out", tmp_path)
    assert answer.status == 0
    fp32, int8 = (read_artifact(tmp_path / f"{STEM}_{what}.tflite") for what in ("fp32", "int8"))
    assert fp32.unfit_for_accuracy == ()  # no range of it depends on the images
    (reason,) = int8.unfit_for_accuracy
    assert reason.startswith("calibrated on noise images, not on photos")
    assert f"mnet: UNFIT FOR ACCURACY, good for size and latency: {reason}" in answer.err.splitlines()
    assert fp32.checks["fidelity"]["top1_agreement"] is None
    assert fp32.output.shape == (1, 1, 1, 256)
    assert "the classifier is left out" in answer.err


# A conversion that went wrong.


@pytest.fixture
def ready(colour_export):
    """The fp32 file of the colour network."""
    return (colour_export / f"{STEM}_fp32.tflite").read_bytes()


@pytest.fixture
def writes_what_is_ready(ready, monkeypatch):
    """The float writer writes that file, whatever it is given."""
    monkeypatch.setattr(tflite_writer, "write_float", lambda graph, **options: ready)


@pytest.fixture(scope="module")
def other_checkpoint(stirred, tmp_path_factory):
    spec = ModelSpec(alpha=0.25, resolution_px=32, classes=5)
    path = tmp_path_factory.mktemp("other") / "other.keras"
    build(spec, stirred(spec)).save(path)
    return path


def test_a_file_that_computes_something_else_is_rejected(
    mnet, ready, writes_what_is_ready, other_checkpoint, colour_photos, colour_labels, tmp_path
):
    options = ["--weights", other_checkpoint, "--calibration", colour_photos, "--labels", colour_labels]
    answer = mnet("export", *options, "--precision", "fp32", "--out", tmp_path / "out")
    assert (answer.status, answer.out) == (1, "")
    kept = tmp_path / "out" / f"{STEM}_fp32.tflite.rejected"
    assert names(tmp_path / "out") == [kept.name]
    assert kept.read_bytes() == ready
    (line,) = [line for line in answer.err.splitlines() if "rejected" in line]
    assert line.startswith(f"mnet: rejected, kept as {kept}: cosine 0.")
    assert "at least 0.9999 needed" in line


def test_a_good_file_is_written_though_another_is_rejected(
    mnet, monkeypatch, ready, colour_checkpoint, colour_photos, tmp_path
):
    monkeypatch.setattr(tflite_writer, "write_int8", lambda graph, io: ready)
    options = ["--weights", colour_checkpoint, "--calibration", colour_photos, "--io", "float", "--json"]
    answer = mnet("export", *options, "--precision", "fp32,int8", "--out", tmp_path / "out")
    assert answer.status == 1
    assert [sidecar["precision"] for sidecar in json.loads(answer.out)] == ["fp32"]
    assert names(tmp_path / "out") == [
        f"{STEM}_fp32.tflite",
        *(f"{STEM}_fp32.tflite{beside}" for beside in BESIDE),
        f"{STEM}_int8.tflite.rejected",
    ]
    (line,) = [line for line in answer.err.splitlines() if "rejected" in line]
    assert "ops compute in float" in line
    assert "0 of 28 kernels have a scale per channel" in line


def test_a_failure_of_the_converter_is_one_line(mnet, monkeypatch, tmp_path):
    def fail():
        raise RuntimeError("op X is not supported\nsee the log")

    converter = SimpleNamespace(target_spec=SimpleNamespace(), convert=fail)
    monkeypatch.setattr(tf.lite.TFLiteConverter, "from_keras_model", lambda model: converter)
    answer = mnet("export", *RANDOM, "--precision", "dynamic", "--out", tmp_path / "out")
    assert answer.status == 1
    *_, line = answer.err.splitlines()
    assert line.startswith("mnet: TensorFlow's converter failed to write dynamic: op X is not supported see the log.")
    assert names(tmp_path) == []


def test_with_force_a_later_export_replaces_an_earlier_one(
    mnet, ready, writes_what_is_ready, colour_checkpoint, colour_photos, tmp_path
):
    path = tmp_path / f"{STEM}_fp32.tflite"
    path.write_bytes(b"old")
    command = ["export", "--weights", colour_checkpoint, "--calibration", colour_photos, "--precision", "fp32"]
    refused = mnet(*command, "--out", tmp_path)
    assert refused.status == 2
    assert f"{path} exists already and is not overwritten. Give --force" in refused.error_line
    assert names(tmp_path) == [path.name]
    assert path.read_bytes() == b"old"
    assert mnet(*command, "--out", tmp_path, "--force").status == 0
    assert read_artifact(path).sha256 == hashlib.sha256(ready).hexdigest()
    assert sidecar_path(path).is_file()


# The structure of what TensorFlow's converter makes, at the edges of what a spec may be.


@pytest.mark.parametrize(
    "spec",
    [
        ModelSpec(alpha=0.25, resolution_px=33, channels_in=4, classes=5),
        ModelSpec(family="conv_mobilenet", alpha=0.05, resolution_px=45, padding="symmetric", classes=5),
        ModelSpec(family="shallow_mobilenet", alpha=0.01, resolution_px=32, channels_in=1, classes=1),
        ModelSpec(family="dense1_mobilenet", alpha=0.25, resolution_px=50, padding="same", classes=None),
        ModelSpec(family="dense2_mobilenet", alpha=0.25, resolution_px=64, padding="symmetric", classes=2),
    ],
    ids=lambda spec: f"{spec.name}-{spec.padding}-{spec.channels_in}-{spec.classes}",
)
def test_the_converter_keeps_the_structure_at_the_edges(stirred, tmp_path, spec):
    shape = (2, spec.resolution_px, spec.resolution_px, spec.channels_in)
    images = np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)
    model = with_static_batch(build(spec, stirred(spec)))
    path = tmp_path / "m.tflite"
    path.write_bytes(tensorflow_converter.convert(model, Precision.INT8, images))
    graph = read_graph(path)
    assert structure.tflite_failures(graph, spec, Precision.INT8) == ()
    assert graph.tensors[graph.inputs[0]].shape == (1, *shape[1:])


# The trained weights and photos of ImageNet.


@pytest.fixture(scope="module")
def imagenet_export(imagenet_data, mnet_status, tmp_path_factory):
    out = tmp_path_factory.mktemp("imagenet")
    weights = imagenet_data / "mobilenet_v1_0.25_224.weights.h5"
    options = ["--weights", weights, "--calibration", imagenet_data / "calibration", "--out", out]
    assert mnet_status("export", *options, "--labels", imagenet_data / "labels.txt") == 0
    return out


def test_the_int8_file_of_the_imagenet_weights_keeps_their_accuracy(mnet, imagenet_data, imagenet_export):
    path = imagenet_export / "mobilenet_v1_0.25_224_int8.tflite"
    answer = mnet("verify", path, "--data", imagenet_data / "evaluation", "--json")
    assert answer.status == 0
    figures = json.loads(answer.out)
    assert figures["images"] == 300
    # 59.0 % and 82.0 % are published with the data; one photo may fall to the other side of a rounding.
    assert figures["float_top1"] == pytest.approx(0.590, abs=1 / 300 + 1e-9)
    assert figures["float_top5"] == pytest.approx(0.820, abs=1 / 300 + 1e-9)
    # TensorFlow's converter comes to 0.563 and 0.780 here. One photo is 0.0033.
    assert figures["int8_top1"] >= 0.59 - 0.01
    assert figures["top1_agreement"] >= 0.915
    assert read_artifact(path).unfit_for_accuracy == ()


def test_the_uint8_twin_of_the_imagenet_weights_takes_pixels_and_answers_alike(imagenet_data, imagenet_export):
    photos = calibration.from_folder(imagenet_data / "evaluation", count=20, resolution_px=224).pixels
    answers = []
    for what in ("int8", "int8_uint8"):
        artifact = read_artifact(imagenet_export / f"mobilenet_v1_0.25_224_{what}.tflite")
        stored = artifact.input.store(artifact.normalization.apply(photos))
        answers.append(artifact.output.real(local.infer(imagenet_export / artifact.file, stored).outputs))
    assert (stored == photos).all()
    assert np.mean(answers[0].argmax(axis=1) == answers[1].argmax(axis=1)) >= 0.9
    assert np.abs(answers[0] - answers[1]).mean() <= 2e-4  # another rounding of the input, a step here and there
