"""Every input that cannot be used: one line, the right exit status, nothing half-written."""

import errno
import io
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from mnet_deploy.converters import tensorflow_converter
from mnet_deploy.models.builder import build
from mnet_deploy.spec import ModelSpec

STEM = "mobilenet_v1_0.25_32"
SMALL = ["--alpha", "0.25", "--resolution", "32", "--classes", "5", "--calibration-count", "2"]
UNUSABLE = 2


def state(folder):
    """Return everything below a folder, hidden files too, with the contents and times of files."""
    return {
        path.relative_to(folder): (path.stat().st_mtime_ns, path.read_bytes()) if path.is_file() else None
        for path in folder.rglob("*")
    }


@pytest.fixture
def refused(mnet, tmp_path):
    """Return a function that runs an export which must be refused, and gives the line that it prints."""

    def run(*options, out=None, status=UNUSABLE):
        before = state(tmp_path)
        weights = [] if "--weights" in options else ["--weights", "random"]
        answer = mnet("export", *weights, *options, "--out", tmp_path / "new" / "out" if out is None else out)
        assert answer.status == status, answer
        assert state(tmp_path) == before
        return answer.error_line

    return run


@pytest.mark.parametrize(
    ("options", "line"),
    [
        *((["--alpha", text], "alpha must be a number above 0") for text in ("0", "-1", "abc", "nan", "inf", "")),
        (["--resolution", "31"], "resolution must be an integer of 32 or more. Received: 31"),
        (["--resolution", "224x"], "resolution must be an integer of 32 or more. Received: '224x'"),
        (["--resolution", "-224"], "resolution must be an integer of 32 or more. Received: -224"),
        (["--resolution", "224.5"], "resolution must be an integer of 32 or more. Received: '224.5'"),
        (["--classes", "0"], "classes must be an integer of 1 or more"),
        (["--classes", "5", "--no-top"], "--no-top leaves out the classifier. Received: --classes 5 as well"),
        (["--channels", "0"], "channels must be an integer of 1 or more"),
        (["--family", "resnet"], "family must be one of mobilenet_v1, conv_mobilenet"),
        (["--growth", "8"], "growth belongs to the dense families"),
        (["--padding", "torch"], "padding must be one of keras, same, symmetric"),
        (["--precision", "int4"], "--precision takes fp32, fp16, dynamic, int8, int16x8. Received: 'int4'"),
        (["--precision", ""], "--precision takes"),
        (["--precision", "int8,int8"], "at most once"),
        (["--io", "int4"], "--io takes int8, uint8, float. Received: 'int4'"),
        (["--io", "uint8", "--precision", "fp32"], "--io is for int8 files"),
        (["--format", "caffe"], "--format takes tflite, onnx, ort"),
        (["--calibration-count", "0"], "1 to 10000 images. Received: 0"),
        (["--calibration-count", "ten"], "--calibration-count takes a whole number. Received: 'ten'"),
        (["--calibration-source", "photos"], "--calibration-source takes generated, statistics, noise"),
        (["--seed", "-1"], "--seed takes a whole number"),
        (["--normalization", "0..0"], "Received: 0..0"),
        (["--normalization", "imagenet", *SMALL, "--channels", "4"], "3 channels. Received: images of 4"),
        (["--wights", "random"], "--wights"),
        (["--alpha"], "expected one argument"),
    ],
)
def test_an_option_outside_its_range_is_one_line(refused, options, line):
    assert line in refused(*options)


# Checkpoints.


@pytest.fixture(scope="module")
def nan_checkpoint(stirred, tmp_path_factory):
    spec = ModelSpec(family="shallow_mobilenet", alpha=0.05, resolution_px=32, classes=2)
    model = build(spec, stirred(spec))
    kernel = model.get_layer("conv_pw_1").get_weights()[0]
    kernel[..., 0] = np.nan
    model.get_layer("conv_pw_1").set_weights([kernel])
    path = tmp_path_factory.mktemp("nan") / "nan.keras"
    model.save(path)
    return path


def test_a_checkpoint_that_is_missing_empty_cut_off_or_something_else_is_one_line(refused, colour_checkpoint, tmp_path):
    assert "missing.keras, which does not exist" in refused("--weights", tmp_path / "missing.keras")
    for content, received in (
        (b"", "an empty file"),
        (colour_checkpoint.read_bytes()[:5000], "a damaged or foreign file"),
        (b"PNG, not weights", "a damaged or foreign file"),
    ):
        path = tmp_path / "checkpoint.keras"
        path.write_bytes(content)
        line = refused("--weights", path)
        assert str(path) in line
        assert received in line
    assert "Received: a folder" in refused("--weights", tmp_path)


def test_a_checkpoint_with_weights_that_are_no_numbers_is_one_line(refused, nan_checkpoint):
    line = refused("--weights", nan_checkpoint)
    assert "every weight must be finite. Received: 1 NaN or infinite values in the kernel of conv_pw_1" in line


def test_a_checkpoint_that_contradicts_an_option_is_one_line_with_both(refused, colour_checkpoint):
    line = refused("--weights", colour_checkpoint, "--alpha", "0.5")
    assert "alpha=0.5 was asked for" in line
    assert "has alpha=0.25" in line


# Calibration.


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (lambda path: None, "No such file"),
        (lambda path: path.write_text("photo"), "which is a file"),
        (lambda path: path.mkdir(), "which is empty"),
        (lambda path: (path.mkdir(), (path / "notes.txt").touch()), "which has 1 other files, such as notes.txt"),
        (lambda path: (path.mkdir(), (path / "a.jpg").touch()), "Received: 0 in"),
    ],
)
def test_a_calibration_folder_without_usable_photos_is_one_line(refused, tmp_path, make, line):
    make(tmp_path / "photos")
    assert line in refused("--calibration", tmp_path / "photos", *SMALL)


def test_too_few_photos_and_photos_for_other_channels_are_one_line(refused, colour_photos):
    options = ["--calibration", colour_photos / "red", "--resolution", "32"]
    assert "at least 10 usable photos. Received: 4" in refused(*options)
    assert "a model of 4 input channels" in refused(*options, "--channels", "4")


# Labels.


def test_labels_that_are_not_those_of_the_model_are_one_line(refused, colour_labels, tmp_path):
    line = refused("--labels", colour_labels, "--classes", "7", "--resolution", "32")
    assert "which has 7 classes. Received: 5 labels" in line
    assert "no classifier. Received: 5 labels" in refused("--labels", colour_labels, "--no-top")
    assert "No such file" in refused("--labels", tmp_path / "missing.txt")
    (tmp_path / "empty.txt").touch()
    assert "an empty file" in refused("--labels", tmp_path / "empty.txt")
    (tmp_path / "blank.txt").write_text("a\n\nb\n")
    assert "line 2 is blank" in refused("--labels", tmp_path / "blank.txt")


# The output folder.


@pytest.mark.parametrize("below", ["file", "file/deeper/still"])
def test_an_output_path_on_a_file_is_one_line(refused, tmp_path, below):
    (tmp_path / "file").write_bytes(b"mine")
    assert "cannot be written (Not a directory)" in refused(*SMALL, out=tmp_path / below)


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a /proc file system")
def test_an_output_folder_that_not_even_root_may_write_is_one_line(refused):
    assert "/proc/self/out: cannot be written" in refused(*SMALL, out="/proc/self/out")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_an_output_folder_without_permission_is_one_line(refused, tmp_path):
    (tmp_path / "closed").mkdir(mode=0o500)
    assert "Give a folder that you may write to" in refused(*SMALL, out=tmp_path / "closed")


@pytest.mark.parametrize("name", [f"{STEM}_int8.tflite", f"{STEM}_int8.tflite.json"])
def test_an_existing_output_is_one_line_and_stays(refused, tmp_path, name):
    (tmp_path / name).write_bytes(b"old")
    assert f"{name} exists already and is not overwritten. Give --force" in refused(*SMALL, out=tmp_path)


@pytest.mark.parametrize("existing", [False, True])
def test_a_full_disk_is_one_line_and_leaves_what_was_there(refused, monkeypatch, colour_export, tmp_path, existing):
    # The disk fills up when the second file is written: the sidecar, after the model was converted and checked.
    content = (colour_export / f"{STEM}_fp32.tflite").read_bytes()
    monkeypatch.setattr(tensorflow_converter, "convert", lambda *given: content)
    sync, synced = os.fsync, []

    def fsync(descriptor):
        synced.append(descriptor)
        if len(synced) > 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    out = tmp_path / "out"
    if existing:
        out.mkdir()
        (out / f"{STEM}_fp32.tflite").write_bytes(b"old")
    line = refused(*SMALL, "--precision", "fp32", "--force", out=out)
    assert f"{out}: cannot be written (No space left on device). Free some space" in line


def test_no_room_for_temporary_files_is_one_line(refused, monkeypatch, colour_export, tmp_path):
    # The inputs of the check pass through the folder for temporary files; this one has vanished.
    content = (colour_export / f"{STEM}_fp32.tflite").read_bytes()
    monkeypatch.setattr(tensorflow_converter, "convert", lambda *given: content)
    with monkeypatch.context() as patch:  # pytest itself needs the real folder afterwards
        patch.setattr("tempfile.tempdir", str(tmp_path / "vanished"))
        assert "vanished" in refused(*SMALL, "--precision", "fp32")


# Whatever else the command is called with.


@pytest.mark.parametrize("command", [[], ["exprot"], ["export", "--no-such-option"], ["verify"]])
def test_wrong_usage_is_one_line(mnet, command):
    answer = mnet(*command)
    assert answer.status == UNUSABLE
    assert "--help" in answer.error_line


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_an_error_takes_the_place_of_the_stage_it_happened_in(mnet_status, monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    assert mnet_status("export", "--calibration", tmp_path, "--out", tmp_path / "out") == UNUSABLE
    assert "\r\033[Kreading calibration" in terminal.getvalue()
    line, end = (text.rpartition("\r\033[K")[2] for text in terminal.getvalue().split("\n"))
    assert line.startswith("mnet: a folder with images")
    assert end == ""
