"""The checkpoint that comes with the package, and what a newcomer gets of it."""

import tarfile

import numpy as np
import pytest

from mnet_deploy.artifact import read_artifact
from mnet_deploy.errors import SpecError
from mnet_deploy.image_folder import list_labelled
from mnet_deploy.images import load_images
from mnet_deploy.labels import read_labels
from mnet_deploy.models.builder import build, predict
from mnet_deploy.models.load import load_model
from mnet_deploy.models.shipped_checkpoint import LABELS_NAME, shipped_path, shipped_record, shipped_weights
from mnet_deploy.models.training.record import read_record, recipe_of
from mnet_deploy.normalization import Normalization

MAX_BYTES = 2_000_000
MIN_TEST_TOP1 = 0.65


def test_it_is_small_complete_and_what_its_log_says():
    record = shipped_record()
    loaded = load_model("shipped", {})
    assert shipped_weights().stat().st_size <= MAX_BYTES
    assert loaded.spec.to_json() == record["spec"]
    assert loaded.trained
    assert (
        sum(array.size for layer in loaded.weights.values() for _, array in layer.arrays())
        == (record["result"]["params"])
    )
    assert len(read_labels(shipped_path(LABELS_NAME))) == record["data"]["classes"] == loaded.spec.classes
    for name in ("MODEL_CARD.md", "NOTICE", "learning_curve.png", "confusion_matrix.png"):
        assert shipped_path(name).stat().st_size > 0


def test_its_log_has_the_test_figure_and_the_recipe():
    record = read_record("shipped")
    test = record["result"]["accuracy"]["test"]
    assert test["photos"] == 2485
    assert test["low"] < test["top1"] < test["high"]
    assert test["top1"] >= MIN_TEST_TOP1
    recipe = recipe_of(record)
    assert recipe.to_json() == record["options"]
    assert recipe.weights == "random"  # from scratch
    assert len(record["history"]) == recipe.all_epochs


def test_an_option_that_contradicts_it_names_both():
    with pytest.raises(SpecError, match=r"alpha=0\.5 was asked for, but .* has alpha=0\.375"):
        load_model("shipped", {"alpha": 0.5})


def test_a_newcomer_gets_the_file_its_twin_and_the_labels(mnet, tmp_path):
    answer = mnet("export", "--calibration-count", "10", "--out", tmp_path)
    assert answer.status == 0
    stem = f"{shipped_record()['name']}_int8"
    assert {path.name for path in tmp_path.iterdir()} == {
        "labels.txt",
        *(f"{stem}{twin}.tflite{sidecar}" for twin in ("", "_uint8") for sidecar in ("", ".json", ".goldens.npz")),
    }
    artifact = read_artifact(tmp_path / f"{stem}.tflite")
    assert artifact.weights["origin"] == "shipped"
    assert artifact.weights["path"] is None
    assert artifact.unfit_for_accuracy == ()  # no photo ships, and none is needed
    assert artifact.checks["fidelity_judged"]
    assert artifact.calibration["source"] == "generated"
    assert "UNFIT FOR ACCURACY" not in answer.err


def test_its_accuracy_on_the_validation_photos_is_what_its_log_says(test_data, tmp_path):
    archive = test_data / "grocery_store_128.tar"
    if not archive.is_file():
        pytest.skip(f"needs {archive.name} in the folder that MNET_TEST_DATA names")
    with tarfile.open(archive) as tar:
        members = [member for member in tar.getmembers() if "/val/" in f"{member.name}/" and member.isfile()]
        tar.extractall(tmp_path, members, filter="data")
    (folder,) = tmp_path.rglob("val")
    labelled, loaded = list_labelled(folder), load_model("shipped", {})
    labels = read_labels(shipped_path(LABELS_NAME))
    pixels = np.stack(load_images([path for path, _ in labelled], resolution_px=loaded.spec.resolution_px))
    answers = predict(build(loaded.spec, loaded.weights), Normalization().apply(pixels)).argmax(axis=1)
    top1 = np.mean([labels[answer] == label for answer, (_, label) in zip(answers, labelled, strict=True)])
    expected = shipped_record()["result"]["accuracy"]["val"]
    assert len(labelled) == expected["photos"]
    assert top1 == pytest.approx(expected["top1"], abs=1.01 / expected["photos"])  # one photo on the edge
