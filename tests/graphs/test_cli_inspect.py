"""`mnet inspect`: the facts as text and JSON, and the sidecar that does or does not fit."""

import hashlib
import json
import shutil

import pytest

from mnet_deploy.artifact import Artifact, TensorInfo, sidecar_path
from mnet_deploy.cli import main
from mnet_deploy.cost import estimate
from mnet_deploy.normalization import Normalization


def inspect_json(path, capsys, status=0):
    assert main(["inspect", "--json", str(path)]) == status
    return json.loads(capsys.readouterr().out)


@pytest.fixture
def exported(files, spec, tmp_path):
    """Return a file with a sidecar as `mnet export` writes it."""
    path = tmp_path / "mobilenet_v1_0.25_128_int8.tflite"
    shutil.copy(files["mobilenet_int8.tflite"], path)
    tensor = TensorInfo(name="x", shape=(1, 128, 128, 3), layout="NHWC", dtype="int8", scale=1 / 127.5, zero_point=-1)
    artifact = Artifact(
        file=path.name,
        file_format="tflite",
        precision="int8",
        io="int8",
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        size_bytes=path.stat().st_size,
        spec=spec,
        normalization=Normalization(),
        preprocessing={},
        input=tensor,
        output=tensor,
        op_histogram={"CONV_2D": 15},
        labels=("cat", "dog"),
        weights={"origin": "random", "path": None, "sha256": None, "trained": False, "notes": []},
        calibration={"source": "generated", "count": 100, "seed": 0, "digest": "d1ce", "skipped": []},
        checks={"sqnr_db": 31.25, "top1_agreement": None},
        unfit_for_accuracy=("random weights",),
        tool_versions={"mnet-deploy": "0.1.0"},
    )
    sidecar_path(path).write_text(artifact.to_json())
    return path


def test_the_text_says_what_an_int8_file_is(files, capsys):
    path = files["mobilenet_int8.tflite"]
    assert main(["inspect", str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    facts = dict(line.split("  ", 1) for line in lines if "  " in line)
    facts = {name: text.strip() for name, text in facts.items()}
    assert facts["format"] == "tflite"
    assert facts["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert facts["precision"] == "full int8"
    assert facts["quantised kernels"] == "28 with a scale per channel, 0 with a single one"
    assert (facts["float ops"], facts["batch norm left"], facts["pad ops"]) == ("none", "none", "0")
    assert facts["fused activations"] == "27 RELU6"
    assert facts["MACs"] == "13,570,048"
    assert (facts["CONV_2D"], facts["DEPTHWISE_CONV_2D"], facts["sidecar"]) == ("15", "13", "none")
    assert facts["input"].split()[1:4] == ["1x128x128x3", "NHWC", "int8"]
    assert max(map(len, lines)) <= 120


def test_json_has_the_same_facts(files, spec, capsys):
    found = inspect_json(files["mobilenet_int8.tflite"], capsys)
    cost = estimate(spec)
    assert found["format"] == "mnet.inspection/1"
    assert (found["macs"], found["uncounted"]) == (cost.macs, [])
    assert found["params"] == cost.weight_count + cost.bias_count
    assert found["inputs"][0]["shape"] == [1, 128, 128, 3]
    assert found["outputs"][0] | {"name": ""} == {
        "name": "",
        "shape": [1, 1000],
        "layout": "NC",
        "dtype": "int8",
        "scale": 1 / 256,
        "zero_point": -128,
    }
    assert found["sidecar"] is None


@pytest.mark.parametrize("name", ["mixed.keras", "mixed_fp32.tflite", "mobilenet_v2.keras"])
def test_files_outside_the_family_are_told_as_well(name, files, models, reference, capsys):
    assert inspect_json(files[name], capsys)["macs"] == reference["macs"](models[name.split(".")[0].split("_fp32")[0]])


def test_an_onnx_file_is_told_with_its_axes_and_opset(onnx_files, capsys):
    found = inspect_json(onnx_files["qdq"], capsys)
    assert (found["file_format"], found["inputs"][0]["layout"]) == ("onnx", "NCHW")
    assert found["precision"] == "full int8"
    assert found["metadata"]["opset"] == "ai.onnx 17"


def test_ops_that_cannot_be_counted_are_named(keras, tmp_path, capsys):
    words = keras.Input((6, 4))
    keras.Model(words, keras.layers.LSTM(5, name="memory")(words)).save(tmp_path / "words.keras")
    assert main(["inspect", str(tmp_path / "words.keras")]) == 0
    assert "MACs not counted   1: memory" in capsys.readouterr().out


def test_a_sidecar_that_fits_is_told(exported, capsys):
    found = inspect_json(exported, capsys)
    assert found["sidecar_state"] == "matches"
    assert found["sidecar"]["model"] == "mobilenet_v1_0.25_128"
    assert found["sidecar"]["labels"] == 2
    assert main(["inspect", str(exported)]) == 0
    text = capsys.readouterr().out
    for line in (
        "sidecar             describes this very file",
        "model               mobilenet_v1_0.25_128, int8, int8 input and output",
        "weights             origin random, trained no",
        "calibration         source generated, count 100, seed 0, digest d1ce",
        "checks              sqnr_db 31.25",
        "UNFIT FOR ACCURACY  random weights",
    ):
        assert line in text.splitlines()


def test_a_changed_file_is_said_loudly(exported, capsys):
    described = hashlib.sha256(exported.read_bytes()).hexdigest()
    with exported.open("ab") as file:
        file.write(b"\0")
    assert inspect_json(exported, capsys, status=1)["sidecar_state"] == "changed"
    assert main(["inspect", str(exported)]) == 1
    text = " ".join(capsys.readouterr().out.split())
    assert f"THE FILE WAS CHANGED: its sidecar describes one with sha256 {described}" in text


@pytest.mark.parametrize("text", ["{", "[]", '{"format": "mnet.artifact/999"}', "\ud800"])
def test_a_damaged_sidecar_is_a_negative_verdict_and_hides_nothing(text, exported, capsys):
    sidecar_path(exported).write_bytes(text.encode("utf-8", "surrogatepass"))
    found = inspect_json(exported, capsys, status=1)
    assert (found["sidecar_state"], found["sidecar"], found["precision"]) == ("unreadable", None, "full int8")
    assert main(["inspect", str(exported)]) == 1
    assert "sidecar  CANNOT BE READ: " in capsys.readouterr().out
