"""What `mnet export`, `mnet inspect` and `mnet verify` write is what the schemas say."""

import json
import shutil

import pytest

STEM = "mobilenet_v1_0.25_32"


def test_sidecars(colour_export, violations):
    sidecars = sorted(colour_export.glob("*.tflite.json"))
    assert len(sidecars) == 3
    for sidecar in sidecars:
        assert violations(json.loads(sidecar.read_text(encoding="utf-8"))) == [], sidecar.name


@pytest.fixture(scope="module")
def onnx_files(tmp_path_factory, mnet_status):
    """A network with random weights as .onnx and .ort, and one without classifier."""
    folder = tmp_path_factory.mktemp("onnx")
    small = ("--weights", "random", "--alpha", "0.25", "--resolution", "32", "--out", folder)
    assert mnet_status("export", *small, "--format", "onnx,ort", "--precision", "int8", "--effort", "fast") == 0
    assert mnet_status("export", *small, "--format", "onnx", "--precision", "fp16", "--no-top") == 0
    return folder


def test_sidecars_of_onnx_files(onnx_files, violations):
    sidecars = sorted((*onnx_files.glob("*.onnx.json"), *onnx_files.glob("*.ort.json")))
    assert len(sidecars) == 3
    for sidecar in sidecars:
        assert violations(json.loads(sidecar.read_text(encoding="utf-8"))) == [], sidecar.name


def test_answers_of_the_commands(colour_export, colour_photos, tmp_path, mnet, violations):
    file = colour_export / f"{STEM}_int8.tflite"
    bare = shutil.copy(file, tmp_path / "bare.tflite")
    for arguments in (
        ("inspect", file),
        ("inspect", bare),
        ("verify", file, "--data", colour_photos),
        ("verify", bare, "--data", colour_photos),
        ("verify", file, "--golden"),
        ("verify", file, "--layers", "--data", colour_photos),
        ("verify", file, "--twin", colour_export / f"{STEM}_fp32.tflite", "--data", colour_photos),
        ("verify", file, "--twin", colour_export / f"{STEM}_fp32.tflite"),
    ):
        answer = mnet(*arguments, "--json")
        assert violations(json.loads(answer.out)) == [], arguments
