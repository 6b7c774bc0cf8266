import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

from mnet_deploy.intervals import Z_95
from mnet_deploy.pipeline.accuracy import best_five

STEM = "mobilenet_v1_0.25_32"


@pytest.fixture(scope="module")
def mixed_photos(colour_photos, tmp_path_factory):
    """The photos with 2 of 20 in the wrong folder: the network is right on 18."""
    folder = tmp_path_factory.mktemp("mixed") / "photos"
    shutil.copytree(colour_photos, folder)
    for number in (0, 1):
        (folder / "black" / f"{number}.png").rename(folder / "blue" / f"from_black_{number}.png")
    return folder


@pytest.fixture
def exported(colour_export, tmp_path):
    """A copy of an export that a test may change."""
    return shutil.copytree(colour_export, tmp_path / "exported")


def edit_sidecar(path, **changes):
    sidecar = path.with_name(path.name + ".json")
    sidecar.write_text(json.dumps(json.loads(sidecar.read_text()) | changes), encoding="utf-8")


@pytest.mark.parametrize(("file", "precision"), [("int8", "int8"), ("int8_uint8", "int8"), ("fp32", "fp32")])
def test_accuracy_is_that_of_the_photos(mnet, colour_export, mixed_photos, file, precision):
    artifact = colour_export / f"{STEM}_{file}.tflite"
    answer = mnet("verify", artifact, "--data", mixed_photos, "--no-diagnosis", "--json")
    assert (answer.status, answer.err) == (0, "")
    assert json.loads(answer.out) == {
        "format": "mnet.verification/1",
        "file": artifact.name,
        "sha256": json.loads(artifact.with_name(f"{artifact.name}.json").read_text())["sha256"],
        "images": 20,
        "float_top1": 18 / 20,
        "float_top5": 1.0,
        f"{precision}_top1": 18 / 20,
        f"{precision}_top5": 1.0,
        "top1_agreement": 1.0,
        "difference": {
            "top1": 0.0,
            "low": pytest.approx(-Z_95 / 22),  # of 20 that never differ, as in tests/test_intervals.py
            "high": pytest.approx(Z_95 / 22),
            "gained": 0,
            "lost": 0,
            "p_value": 1.0,
        },
        "preprocessing": None,
        "diagnosis": [],
        "notes": [],
    }


WITHOUT_TENSORFLOW = """
import sys
sys.modules["tensorflow"] = sys.modules["keras"] = None  # importing them fails
from mnet_deploy.cli import main
sys.exit(main())
"""


def test_the_float_model_is_run_without_tensorflow(colour_export, mixed_photos):
    command = ["verify", colour_export / f"{STEM}_int8.tflite", "--data", mixed_photos, "--json"]
    answer = subprocess.run([sys.executable, "-P", "-c", WITHOUT_TENSORFLOW, *command], capture_output=True, text=True)
    assert (answer.returncode, answer.stderr) == (0, "")
    assert json.loads(answer.stdout)["float_top1"] == 18 / 20


def test_the_table_has_both_models(mnet, colour_export, mixed_photos):
    answer = mnet("verify", colour_export / f"{STEM}_int8.tflite", "--data", mixed_photos, "--no-diagnosis")
    assert answer.status == 0
    lines = [line.split() for line in answer.out.splitlines()]
    assert ["float", "model", "90.0%", "100.0%"] in lines
    assert [f"{STEM}_int8.tflite", "90.0%", "100.0%"] in lines
    assert answer.out.endswith(
        "20 images; same best class on 100.0%\n"
        "top-1 less that of float: +0.0%, 95% interval -8.9% to +8.9%, which contains 0 "
        "(0 gained, 0 lost; exact McNemar p = 1.00)\n"
    )


# Which folder is which class.


@pytest.fixture
def by_number(colour_photos, tmp_path):
    """The photos in folders whose names are not those of the labels and sort the other way round."""
    folder = tmp_path / "data" / "photos"
    for number, name in enumerate(sorted(path.name for path in colour_photos.iterdir())):
        shutil.copytree(colour_photos / name, folder / f"n{9 - number}")
    return folder


IDS = "n9\nn8\nn7\nn6\nn5\n"


@pytest.mark.parametrize("place", ["photos/class_ids.txt", "class_ids.txt", "photos/labels.txt", "labels.txt"])
def test_folders_are_looked_up_in_a_file_in_the_folder_or_beside_it(mnet, colour_export, by_number, place):
    (by_number.parent / place).write_text(IDS, encoding="utf-8")
    answer = mnet("verify", colour_export / f"{STEM}_int8.tflite", "--data", by_number, "--json")
    figures = json.loads(answer.out)
    assert (figures["int8_top1"], figures["float_top1"], figures["notes"]) == (1.0, 1.0, [])


def test_a_given_file_comes_before_any_other(mnet, colour_export, by_number, tmp_path):
    (by_number.parent / "class_ids.txt").write_text("n5\nn6\nn7\nn8\nn9\n", encoding="utf-8")  # the wrong way round
    (tmp_path / "mine.txt").write_text(IDS, encoding="utf-8")
    options = ["--data", by_number, "--classes-file", tmp_path / "mine.txt", "--json"]
    assert json.loads(mnet("verify", colour_export / f"{STEM}_int8.tflite", *options).out)["int8_top1"] == 1.0


def test_otherwise_the_sorted_folders_are_the_classes_and_that_is_said(mnet, colour_export, by_number):
    answer = mnet("verify", colour_export / f"{STEM}_int8.tflite", "--data", by_number)
    assert "their sorted order was taken for the classes'" in answer.err
    # n5 (white) is taken for black, ... and n7 (green) alone is right: its place is in the middle
    assert "20.0%" in answer.out


def test_a_folder_that_is_no_class_is_named(mnet, colour_export, by_number, tmp_path):
    shutil.rmtree(by_number / "n8")  # with as many folders as classes, their order would be taken
    command = ["verify", colour_export / f"{STEM}_int8.tflite", "--data", by_number]
    answer = mnet(*command)
    assert answer.status == 2
    assert "each folder must be one class of the model. Received: 4 that are none, such as n5" in answer.error_line
    (tmp_path / "mine.txt").write_text(IDS.replace("n9", "n4"), encoding="utf-8")
    answer = mnet(*command, "--classes-file", tmp_path / "mine.txt")
    assert "Received: 1 that are none, such as n9. Give --classes-file" in answer.error_line


def test_a_name_that_several_classes_have_is_not_guessed(mnet, colour_export, by_number, tmp_path):
    (tmp_path / "mine.txt").write_text("n9\nn9\nn7\nn6\nn5\n", encoding="utf-8")
    shutil.rmtree(by_number / "n8")
    options = ["--data", by_number, "--classes-file", tmp_path / "mine.txt"]
    answer = mnet("verify", colour_export / f"{STEM}_int8.tflite", *options)
    assert "1 that are several, such as n9" in answer.error_line


def test_a_class_file_must_match_the_model(mnet, colour_export, by_number, tmp_path):
    (tmp_path / "mine.txt").write_text("n9\nn8\n", encoding="utf-8")
    options = ["--data", by_number, "--classes-file", tmp_path / "mine.txt"]
    answer = mnet("verify", colour_export / f"{STEM}_int8.tflite", *options)
    assert answer.status == 2
    assert "5 classes. Received: 2 labels" in answer.error_line


# The file and its checkpoint.


def test_a_changed_file_is_refused(mnet, exported, colour_photos):
    path = exported / f"{STEM}_int8.tflite"
    with path.open("ab") as file:
        file.write(b"x")
    answer = mnet("verify", path, "--data", colour_photos)
    assert answer.status == 2
    assert "was changed after its export" in answer.error_line


def test_a_damaged_sidecar_is_refused(mnet, exported, colour_photos):
    path = exported / f"{STEM}_int8.tflite"
    edit_sidecar(path, weights=None)
    answer = mnet("verify", path, "--data", colour_photos)
    assert answer.status == 2
    assert "expected a sidecar" in answer.error_line


@pytest.fixture
def own_checkpoint(exported, colour_checkpoint, tmp_path):
    """A copy of the checkpoint, and an export whose sidecar names that copy."""
    copy = shutil.copy(colour_checkpoint, tmp_path / "own.keras")
    path = exported / f"{STEM}_int8.tflite"
    weights = json.loads(path.with_name(f"{path.name}.json").read_text())["weights"]
    edit_sidecar(path, weights=weights | {"path": str(copy)})
    return copy, path


def spoil(checkpoint):
    checkpoint.write_bytes(b"no model")


@pytest.mark.parametrize(
    ("change", "problem"), [(lambda path: path.unlink(), "is gone"), (spoil, "was changed since the export")]
)
def test_without_its_checkpoint_the_float_figures_are_null(mnet, own_checkpoint, colour_photos, change, problem):
    checkpoint, path = own_checkpoint
    change(checkpoint)
    answer = mnet("verify", path, "--data", colour_photos, "--json")
    assert answer.status == 0
    figures = json.loads(answer.out)
    assert [figures[key] for key in ("float_top1", "float_top5", "top1_agreement")] == [None] * 3
    assert figures["int8_top1"] == 1.0
    assert figures["notes"] == [
        f"the float model is not at hand: {checkpoint} {problem}; give the checkpoint with --weights"
    ]
    assert figures["notes"][0] in answer.err
    table = mnet("verify", path, "--data", colour_photos).out
    assert "float model" not in table


def test_the_checkpoint_may_be_given_where_it_lies_now(mnet, own_checkpoint, colour_photos, colour_checkpoint):
    own, path = own_checkpoint
    own.unlink()
    answer = mnet("verify", path, "--data", colour_photos, "--weights", colour_checkpoint, "--json")
    assert json.loads(answer.out)["float_top1"] == 1.0


def test_another_checkpoint_is_refused(mnet, stirred, exported, colour_photos, tmp_path):
    from mnet_deploy.models.builder import build
    from mnet_deploy.spec import ModelSpec

    spec = ModelSpec(alpha=0.25, resolution_px=32, classes=5)
    build(spec, stirred(spec)).save(tmp_path / "other.keras")
    path = exported / f"{STEM}_int8.tflite"
    answer = mnet("verify", path, "--data", colour_photos, "--weights", tmp_path / "other.keras")
    assert answer.status == 2
    assert "is not the checkpoint that" in answer.error_line


# The photos.


def test_a_broken_photo_is_named_and_skipped(mnet, colour_export, mixed_photos, tmp_path):
    data = shutil.copytree(mixed_photos, tmp_path / "data")
    (data / "white" / "broken.jpg").write_bytes(b"\xff\xd8\xff broken")
    answer = mnet("verify", colour_export / f"{STEM}_int8.tflite", "--data", data, "--json")
    figures = json.loads(answer.out)
    assert (figures["images"], figures["int8_top1"]) == (20, 0.9)
    (note,) = figures["notes"]
    assert note.startswith(f"skipped: {data / 'white' / 'broken.jpg'}")


@pytest.mark.parametrize(
    ("make", "received"),
    [
        (lambda data: None, "No such file"),
        (lambda data: data.write_text("x"), "is a file"),
        (lambda data: data.mkdir(), "is empty"),
        (lambda data: ((data / "black").mkdir(parents=True), (data / "black" / "a.txt").touch()), "1 other files"),
        (lambda data: (data.mkdir(), (data / "loose.jpg").touch()), "1 directly in"),
        (lambda data: ((data / "black").mkdir(parents=True), (data / "black" / "a.jpg").touch()), "1 broken ones"),
    ],
)
def test_a_folder_without_usable_photos_is_one_line(mnet, colour_export, tmp_path, make, received):
    make(tmp_path / "data")
    answer = mnet("verify", colour_export / f"{STEM}_int8.tflite", "--data", tmp_path / "data")
    assert answer.status == 2
    assert received in answer.error_line


def test_the_best_five_come_best_first_and_ties_in_the_order_of_the_classes():
    scores = np.array([[0.1, 0.5, 0.1, 0.2, 0.05, 0.05], [1.0, 1.0, 1.0, 1.0, 1.0, 1.0]], np.float32)
    assert best_five(scores).tolist() == [[1, 3, 0, 2, 4], [0, 1, 2, 3, 4]]
    assert best_five(scores[:, :2]).tolist() == [[1, 0], [0, 1]]
