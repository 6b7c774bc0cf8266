"""`mnet export --format onnx,ort`: files, sidecars, and the accuracy of real weights."""

import json

import numpy as np
import onnx
import pytest

from mnet_deploy.artifact import file_sha256, read_artifact
from mnet_deploy.graph_readers import read_graph
from mnet_deploy.image_folder import list_labelled
from mnet_deploy.images import load_images
from mnet_deploy.intervals import paired_interval
from mnet_deploy.runners import local

STEM = "mobilenet_v1_0.25_32"
CLASSES = ["black", "blue", "green", "red", "white"]


@pytest.fixture(scope="module")
def onnx_export(tmp_path_factory, mnet_status, colour_checkpoint, colour_photos, colour_labels):
    """The folder that an export of the colour network wrote: .onnx and .ort, int8 and fp32."""
    out = tmp_path_factory.mktemp("onnx") / "out"
    options = ["--weights", colour_checkpoint, "--calibration", colour_photos, "--labels", colour_labels, "--out", out]
    assert mnet_status("export", *options, "--format", "onnx,ort", "--precision", "int8,fp32") == 0
    return out


def test_the_folder_holds_each_file_with_its_sidecar(onnx_export):
    files = [f"{STEM}_{precision}.{suffix}" for precision in ("int8", "fp32") for suffix in ("onnx", "ort")]
    operators = [f"{STEM}_{precision}.required_operators.config" for precision in ("int8", "fp32")]
    expected = {
        *files,
        *(f"{file}{beside}" for file in files for beside in (".json", ".goldens.npz")),
        *operators,
        "labels.txt",
    }
    assert {path.name for path in onnx_export.iterdir()} == expected


@pytest.mark.parametrize("name", ["int8.onnx", "fp32.onnx", "int8.ort", "fp32.ort"])
def test_every_file_knows_its_colours(mnet, onnx_export, colour_photos, name):
    answer = mnet("verify", onnx_export / f"{STEM}_{name}", "--data", colour_photos, "--json")
    assert answer.status == 0
    figures = json.loads(answer.out)
    precision = name.partition(".")[0]
    assert figures[f"{precision}_top1"] == figures["float_top1"] == figures["top1_agreement"] == 1.0


def test_the_sidecar_says_how_to_run_the_file(onnx_export):
    artifact = read_artifact(onnx_export / f"{STEM}_int8.onnx")
    assert (artifact.file_format, artifact.precision, artifact.io) == ("onnx", "int8", "float")
    assert artifact.input.shape == (1, 3, 32, 32)
    assert artifact.input.layout == "NCHW"
    assert artifact.runtime == {
        "engine": "onnxruntime",
        "session_options": {"intra_op_num_threads": 1},
        "call": "run",
    }
    assert {"onnx", "onnxruntime"} <= set(artifact.tool_versions)


def test_labels_and_preparation_are_inside_the_file(onnx_export):
    model = onnx.load(onnx_export / f"{STEM}_int8.onnx")
    kept = {entry.key: json.loads(entry.value) for entry in model.metadata_props}
    assert kept["labels"] == CLASSES
    assert set(kept) == {"spec", "labels", "normalization", "preprocessing"}


def test_an_ort_names_its_operators_and_what_accelerators_take(onnx_export):
    artifact = read_artifact(onnx_export / f"{STEM}_int8.ort")
    onnx_file = read_artifact(onnx_export / f"{STEM}_int8.onnx")
    assert artifact.derived_from == onnx_file.sha256
    assert artifact.mobile["usability"]["NNAPI"] is True
    operators = (onnx_export / artifact.mobile["required_operators"]).read_text()
    lines = {line.split(";")[0]: line.split(";")[2].split(",") for line in operators.splitlines()}
    assert "QLinearConv" in lines["com.microsoft"]  # it was optimised for ARM, where that op takes int8
    assert not any(line.startswith("#") for line in operators.splitlines())


def test_layout_batch_and_interface_reach_the_file(mnet, colour_checkpoint, colour_photos, tmp_path):
    options = ["--layout", "nhwc", "--batch", "dynamic", "--io", "uint8", "--calibration", colour_photos]
    answer = mnet("export", "--weights", colour_checkpoint, "--format", "onnx", *options, "--out", tmp_path)
    assert answer.status == 0
    graph = read_graph(tmp_path / f"{STEM}_int8.onnx")
    assert graph.tensors["input"].shape == (None, 32, 32, 3)
    assert graph.tensors["input"].dtype == graph.tensors["output"].dtype == "uint8"
    artifact = read_artifact(tmp_path / f"{STEM}_int8.onnx")
    assert (artifact.io, artifact.input.layout) == ("uint8", "NHWC")
    assert artifact.input.scale == pytest.approx(2 / 255, rel=0.1)  # -1..1


@pytest.mark.parametrize("options", [[], ["--layout", "nhwc", "--io", "uint8"]], ids=" ".join)
def test_the_file_for_x86_knows_its_colours(mnet, colour_checkpoint, colour_photos, tmp_path, options):
    given = ["--weights", colour_checkpoint, "--calibration", colour_photos, "--format", "onnx", "--tune", "x86"]
    assert mnet("export", *given, *options, "--out", tmp_path).status == 0
    path = tmp_path / f"{STEM}_int8_x86.onnx"
    assert read_artifact(path).tune == "x86"
    figures = json.loads(mnet("verify", path, "--data", colour_photos, "--json").out)
    assert figures["int8_top1"] == figures["top1_agreement"] == 1.0


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--format", "onnx", "--precision", "dynamic"], "dynamic"),
        (["--format", "tflite,onnx", "--precision", "int16x8"], "int16x8"),
        (["--format", "onnx,onnx"], "--format"),
        (["--format", "coreml"], "coreml"),
        (["--layout", "nhwc"], "--layout"),
        (["--batch", "dynamic"], "--batch"),
        (["--batch", "4", "--format", "onnx"], "--batch"),
        (["--tune", "x86"], "--tune"),
        (["--tune", "x86", "--format", "onnx", "--precision", "fp32"], "--tune"),
        (["--tune", "x86", "--format", "onnx,ort"], "x86"),
        (["--format", "ort", "--precision", "fp16"], "float16"),
    ],
)
def test_what_does_not_go_together_is_one_line(mnet, tmp_path, options, named):
    answer = mnet("export", "--weights", "random", "--out", tmp_path / "out", *options)
    assert answer.status == 2
    assert named in answer.error_line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("damage", [b"", b"no protobuf", None], ids=["empty", "text", "cut"])
def test_verify_reads_an_onnx_before_an_engine_does(mnet, onnx_export, colour_photos, tmp_path, damage):
    whole = onnx_export / f"{STEM}_fp32.onnx"
    path = tmp_path / whole.name
    path.write_bytes(whole.read_bytes()[:20_000] if damage is None else damage)
    sidecar = json.loads((onnx_export / f"{whole.name}.json").read_text())
    sidecar["sha256"] = file_sha256(path)  # as if the export had written it so
    (tmp_path / f"{whole.name}.json").write_text(json.dumps(sidecar))
    answer = mnet("verify", path, "--data", colour_photos)
    assert answer.status == 2
    assert path.name in answer.error_line


# The trained weights and photos of ImageNet.


@pytest.fixture(scope="module")
def imagenet_onnx(imagenet_data, mnet_status, tmp_path_factory):
    out = tmp_path_factory.mktemp("imagenet")
    weights = imagenet_data / "mobilenet_v1_0.25_224.weights.h5"
    options = ["--weights", weights, "--calibration", imagenet_data / "calibration", "--out", out]
    assert mnet_status("export", *options, "--format", "onnx,tflite", "--precision", "fp32,int8") == 0
    return out


def test_the_float_file_answers_photos_as_keras_does(mnet, imagenet_data, imagenet_onnx):
    path = imagenet_onnx / "mobilenet_v1_0.25_224_fp32.onnx"
    answer = mnet("verify", path, "--data", imagenet_data / "evaluation", "--json")
    figures = json.loads(answer.out)
    assert figures["top1_agreement"] == 1.0
    assert figures["fp32_top1"] == figures["float_top1"]
    assert read_artifact(path).checks["fidelity"]["max_abs_error"] <= 1e-5


def test_the_int8_twins_are_equally_right(imagenet_data, imagenet_onnx):
    """The 95 % interval of the paired difference contains 0."""
    labelled = list_labelled(imagenet_data / "evaluation")
    classes = (imagenet_data / "class_ids.txt").read_text().split()
    expected = np.array([classes.index(name) for _, name in labelled])
    photos = np.stack(load_images([path for path, _ in labelled], resolution_px=224))
    best = []
    for suffix in ("onnx", "tflite"):
        path = imagenet_onnx / f"mobilenet_v1_0.25_224_int8.{suffix}"
        artifact = read_artifact(path)
        stored = artifact.input.store(artifact.normalization.apply(photos))
        best.append(artifact.output.real(local.infer(path, stored).outputs).argmax(axis=1))
    right = [answers == expected for answers in best]
    gained, lost = int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum())
    low, high = paired_interval(gained, lost, len(expected))
    assert low <= 0 <= high
    assert np.mean(best[0] == best[1]) >= 0.99  # one quantised model
