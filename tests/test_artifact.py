import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest

from mnet_deploy.artifact import Artifact, TensorInfo, read_artifact, sidecar_path
from mnet_deploy.errors import ResultFormatError, SpecError
from mnet_deploy.normalization import Normalization
from mnet_deploy.spec import ModelSpec

FLOAT = TensorInfo(name="input", shape=(1, 2, 2, 3), layout="NHWC", dtype="float32")
# The scale is a power of two, so that every product below is exact.
INT8 = TensorInfo(name="input", shape=(1, 4), layout="NC", dtype="int8", scale=0.25, zero_point=-3)
CONTENT = b"a model"


def artifact(**changes):
    fields = {
        "file": "model.tflite",
        "file_format": "tflite",
        "precision": "int8",
        "io": "int8",
        "sha256": hashlib.sha256(CONTENT).hexdigest(),
        "size_bytes": len(CONTENT),
        "spec": ModelSpec(alpha=0.25, classes=2),
        "normalization": Normalization(mean=(1.0, 2.0, 3.0), std=(4.0, 5.0, 6.0)),
        "preprocessing": {"crop": "centre"},
        "input": FLOAT,
        "output": INT8,
        "op_histogram": {"CONV_2D": 15},
        "labels": ("tench", "poisson-scie à nez court"),
        "weights": {"origin": "random", "path": None, "sha256": "0", "trained": False, "notes": []},
        "calibration": {"source": "noise", "count": 1, "seed": 0, "digest": "1", "skipped": []},
        "checks": {"fidelity": {"cosine": 0.5}},
        "unfit_for_accuracy": ("random weights",),
        "tool_versions": {"keras": "3"},
        "derived_from": None,
    }
    return Artifact(**{**fields, **changes})


def test_a_float_tensor_stores_values_as_they_are():
    values = np.array([0.1, -3.5], np.float32)
    assert FLOAT.store(values).dtype == np.float32
    assert FLOAT.store(values) == pytest.approx(values, abs=0)
    assert FLOAT.real(values) == pytest.approx(values, abs=0)


def test_a_quantised_tensor_stores_rounded_and_clipped_integers():
    # stored = round(real / 0.25) - 3; 0.125 and 0.375 lie half-way and go to the even neighbour
    real = np.array([0.0, 0.25, -0.25, 0.125, 0.375, 0.3, 1000.0, -1000.0], np.float32)
    stored = INT8.store(real)
    assert stored.dtype == np.int8
    assert stored.tolist() == [-3, -2, -4, -3, -1, -2, 127, -128]
    assert INT8.real(stored).tolist() == [0.0, 0.25, -0.25, 0.0, 0.5, 0.25, 32.5, -31.25]


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16"])
def test_every_stored_value_survives_the_way_there_and_back(dtype):
    limits = np.iinfo(dtype)
    tensor = replace(INT8, dtype=dtype, scale=1 / 127.5, zero_point=0 if dtype == "int16" else limits.max - 127)
    stored = np.arange(limits.min, limits.max + 1).astype(dtype)
    assert (tensor.store(tensor.real(stored)) == stored).all()


def test_an_artifact_survives_its_sidecar():
    before = artifact()
    assert Artifact.from_json(before.to_json(), origin="test") == before
    without = artifact(labels=None, unfit_for_accuracy=(), derived_from="2")
    assert Artifact.from_json(without.to_json(), origin="test") == without


def test_a_sidecar_is_json_that_begins_with_its_format_and_names_the_spec():
    text = artifact().to_json()
    fields = json.loads(text)
    assert next(iter(fields.items())) == ("format", "mnet.artifact/1")
    assert fields["spec"]["alpha"] == 0.25
    assert "à" in text  # readable, not escaped


@pytest.mark.parametrize(
    "change",
    [
        lambda fields: fields.clear(),
        lambda fields: fields.pop("labels"),
        lambda fields: fields.update(surprise=1),
        lambda fields: fields.update(spec={"alpha": -1}),
        lambda fields: fields.update(spec=[]),
        lambda fields: fields.update(normalization=[]),
        lambda fields: fields.update(normalization={"mean": [1], "std": [0]}),
        lambda fields: fields.update(input="NHWC"),
        lambda fields: fields.update(labels=5),
        lambda fields: fields.update(unfit_for_accuracy=None),
        lambda fields: fields.update(weights=5),
        lambda fields: fields.update(weights={}),
        lambda fields: fields.update(calibration={"source": "noise"}),
    ],
)
def test_a_damaged_sidecar_is_named(change):
    fields = json.loads(artifact().to_json())
    change(fields)
    with pytest.raises(ResultFormatError, match=r"^x\.json: "):
        Artifact.from_json(json.dumps(fields), origin="x.json")


@pytest.mark.parametrize("text", ["", "{", "[]", "5", "null", '"text"', "[" * 100_000])
def test_what_is_no_sidecar_is_named(text):
    with pytest.raises(ResultFormatError, match=r"^x\.json: expected a sidecar"):
        Artifact.from_json(text, origin="x.json")


def test_another_version_of_the_sidecar_is_refused_with_both_versions():
    text = artifact().to_json().replace("mnet.artifact/1", "mnet.artifact/99")
    with pytest.raises(ResultFormatError, match=r"mnet\.artifact/1\. Received: mnet\.artifact/99"):
        Artifact.from_json(text, origin="x.json")


def test_an_artifact_is_read_with_its_sidecar(tmp_path):
    path = tmp_path / "model.tflite"
    path.write_bytes(CONTENT)
    assert sidecar_path(path) == tmp_path / "model.tflite.json"
    sidecar_path(path).write_text(artifact().to_json(), encoding="utf-8")
    assert read_artifact(path) == artifact()


def test_a_file_without_sidecar_a_missing_and_a_changed_file_are_refused(tmp_path):
    path = tmp_path / "model.tflite"
    with pytest.raises(SpecError, match=r"no model\.tflite there"):
        read_artifact(path)
    path.write_bytes(CONTENT)
    with pytest.raises(SpecError, match=r"no model\.tflite\.json there"):
        read_artifact(path)
    sidecar_path(path).write_bytes(b"\xff\xfe")
    with pytest.raises(ResultFormatError, match="expected a sidecar"):
        read_artifact(path)
    sidecar_path(path).write_text(artifact().to_json(), encoding="utf-8")
    path.write_bytes(CONTENT + b"!")
    with pytest.raises(SpecError, match=r"was changed after its export.*Export it again"):
        read_artifact(path)
