"""Sizes of files before they are exported, against files that were."""

import json

import pytest

from mnet_deploy.cli import main
from mnet_deploy.cost import Precision, estimate
from mnet_deploy.errors import SpecError
from mnet_deploy.pipeline.file_size import predicted_size_bytes
from mnet_deploy.spec import ModelSpec

TRAINED = 0.001
RANDOM = 0.015  # of random weights: their biases are all zero, and a .tflite stores equal ones once


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Sidecars of files of random weights."""
    out = tmp_path_factory.mktemp("sizes")
    model = ("--weights", "random", "--alpha", "0.25", "--classes", "10", "--resolution", "32")
    images = ("--calibration-source", "noise", "--calibration-count", "2", "--effort", "fast")
    files = ("--format", "tflite,onnx", "--precision", "fp32,fp16,int8")
    assert main(["export", *model, *images, *files, "--out", str(out)]) == 0
    return [json.loads(path.read_text()) for path in sorted(out.glob("*.json"))]


def test_a_file_is_as_large_as_predicted(exported):
    assert len(exported) == 6
    for sidecar in exported:
        spec, precision = ModelSpec.from_json(sidecar["spec"]), Precision(sidecar["precision"])
        predicted = predicted_size_bytes(estimate(spec), sidecar["file_format"], precision)
        assert predicted == pytest.approx(sidecar["size_bytes"], rel=RANDOM), sidecar["file"]


@pytest.mark.parametrize(
    ("fields", "file_format", "precision", "size_bytes"),
    [
        ({"alpha": 0.25}, "tflite", "int8", 580_496),
        ({"alpha": 0.25}, "tflite", "fp32", 1_878_560),
        ({"alpha": 0.25}, "tflite", "fp16", 949_328),
        ({"alpha": 0.25}, "onnx", "int8", 555_884),
        ({"alpha": 0.25}, "onnx", "fp32", 1_878_714),
        ({"alpha": 0.375, "classes": 43}, "tflite", "int8", 603_520),
        ({"alpha": 0.375, "classes": 43}, "onnx", "fp16", 972_805),
    ],
)
def test_a_file_of_trained_weights_is_as_large_as_predicted(fields, file_format, precision, size_bytes):
    predicted = predicted_size_bytes(estimate(ModelSpec(**fields)), file_format, Precision(precision))
    assert predicted == pytest.approx(size_bytes, rel=TRAINED)


def test_a_format_without_a_writer_is_refused():
    with pytest.raises(SpecError, match="ncnn"):
        predicted_size_bytes(estimate(ModelSpec()), "ncnn", Precision.INT8)
