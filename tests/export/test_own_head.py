"""Models with a classifier that is not the family's: TensorFlow converts them, the checks are the same."""

import json

import numpy as np
import pytest
from PIL import Image

from mnet_deploy.artifact import read_artifact
from mnet_deploy.runners import local

STEM = "mobilenet_v1_0.25_64"


@pytest.fixture(scope="module")
def own_head(tmp_path_factory, with_head, dense_head):
    """A .keras file with two Dense layers on the body."""
    path = tmp_path_factory.mktemp("head") / "own.keras"
    model = with_head(dense_head(16, 3))
    model.save(path)
    return path, model


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    chance = np.random.default_rng(0)
    for number in range(20):
        Image.fromarray(chance.integers(0, 256, (64, 64, 3), np.uint8)).save(folder / f"{number}.png")
    return folder


def test_the_answers_are_those_of_the_whole_model(mnet, own_head, photos, tmp_path):
    path, model = own_head
    out = tmp_path / "out"
    answer = mnet("export", "--weights", path, "--calibration", photos, "--precision", "fp32", "--out", out)
    assert answer.status == 0
    assert "the classifier is not the family's: TensorFlow's converter writes the file" in answer.err
    artifact = read_artifact(out / f"{STEM}_fp32.tflite")
    assert artifact.spec.classes == 3
    assert "tensorflow" in artifact.tool_versions
    images = np.random.default_rng(1).uniform(-1, 1, (3, 64, 64, 3)).astype(np.float32)
    given = local.infer(out / artifact.file, artifact.input.store(images)).outputs
    assert np.abs(given - model.predict(images, verbose=0)).max() <= 1e-5


def test_int8_gets_its_twin_and_its_checks(mnet, own_head, photos, tmp_path):
    out, labels = tmp_path / "out", tmp_path / "labels.txt"
    labels.write_text("a\nb\nc\n")
    options = ["--calibration", photos, "--labels", labels, "--json", "--out", out]
    answer = mnet("export", "--weights", own_head[0], *options)
    assert answer.status == 0
    written = json.loads(answer.out)
    assert [sidecar["io"] for sidecar in written] == ["int8", "uint8"]
    for sidecar in written:
        assert sidecar["checks"]["structure"] == "passed"
        assert sidecar["quantizer"] is None


@pytest.mark.parametrize("formats", ["onnx", "tflite,onnx", "ort"])
def test_an_onnx_of_it_is_refused(mnet, own_head, tmp_path, formats):
    answer = mnet("export", "--weights", own_head[0], "--format", formats, "--out", tmp_path / "out")
    assert answer.status == 2
    assert "classifier cannot be kept" in answer.error_line


def test_weights_alone_are_not_enough(mnet, own_head, tmp_path):
    path = tmp_path / "own.weights.h5"
    own_head[1].save_weights(path)
    answer = mnet("export", "--weights", path, "--resolution", "64", "--out", tmp_path / "out")
    assert answer.status == 2
    assert "classifier cannot be kept" in answer.error_line
