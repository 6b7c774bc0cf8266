"""`mnet verify --device`: what a file answered when it was exported, asked of it on a device."""

import json

import pytest
from golden_copies import copy_to, shift_goldens

from device_tests.mnet_runs import Run, make_ready
from mnet_deploy.artifact import read_artifact

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def device(pi):
    """Return the device for all tests; a real one has been set up by its owner."""
    if hasattr(pi, "path"):
        make_ready(pi)
    return pi


def verify(pi, folder, *words, status=0):
    """Run `mnet verify` to its end in a folder and return the run; it leaves nothing on either side."""
    run = Run(folder, "verify", "--device", pi.address, *words, ssh_config=pi.ssh_config)
    with run:
        assert run.end() == status, run.said()
    assert run.leftovers(pi) == []
    if hasattr(pi, "path"):
        assert (pi.processes(), pi.temporary_files()) == ([], [])
    return run


def replays(run):
    return {(one["engine"], one["asked_delegate"]): one for one in json.loads(run.stdout)["replays"]}


def test_integers_answer_as_exported_and_other_kernels_within_the_tolerance(device, tiny_models, tmp_path):
    file = tiny_models[".tflite"]
    run = verify(device, tmp_path, file, "--json")
    found = json.loads(run.stdout)
    assert (found["passed"], found["same_file"]) == (True, True)
    assert found["emulated"] == ("qemu-user" if hasattr(device, "path") else None)
    usual, bare = (replays(run)["ai-edge-litert", delegate] for delegate in ("default", "none"))
    assert (usual["delegate"], bare["delegate"]) == ("xnnpack", "none")
    assert {one["machine"] for one in (usual, bare)} == {"aarch64"}
    assert not usual["same_engine"]  # of another processor
    assert (usual["equal"], usual["moved_by_steps"]) == (True, {})
    assert not bare["equal"]
    assert sum(bare["moved_by_steps"].values()) == bare["moved"] > 0
    assert bare["distance"]["largest"] == max(map(int, bare["moved_by_steps"]))
    assert bare["distance"]["largest"] <= read_artifact(file).goldens["tolerance"]["largest"]


def test_floats_of_an_onnx_are_within_the_tolerance(device, tiny_models, tmp_path):
    run = verify(device, tmp_path, tiny_models[".onnx"], "--json")
    (one,) = replays(run).values()
    assert (one["engine"], one["delegate"], one["passed"]) == ("onnxruntime", "cpu", True)
    assert one["share_of_tolerance"] <= 1
    assert one["moved_by_steps"] is None


def test_the_text_labels_what_is_emulated(device, tiny_models, tmp_path):
    lines = verify(device, tmp_path, tiny_models[".tflite"]).stdout.splitlines()
    rows = [line for line in lines if line.startswith("ai-edge-litert ")]
    assert len(rows) == 2
    assert "equal, bit for bit" in rows[0]
    assert "within tolerance" in rows[1]
    is_emulated = hasattr(device, "path")
    assert [row.endswith(" (emulated)") for row in rows] == [is_emulated] * 2
    assert ("emulated by qemu-user: not the answers of a real device" in lines) == is_emulated


@pytest.mark.emulated_only
def test_both_engines_of_a_format_are_asked(device, tiny_models, tmp_path):
    run = verify(device, tmp_path, tiny_models[".tflite"], "--engine", "litert,tflite-runtime", "--json")
    assert list(replays(run)) == [
        (engine, delegate) for engine in ("ai-edge-litert", "tflite-runtime") for delegate in ("default", "none")
    ]
    assert replays(run)["tflite-runtime", "default"]["passed"]


def test_other_answers_and_another_file_fail(device, tiny_models, tmp_path):
    copy = copy_to(tmp_path, tiny_models[".tflite"])
    shift_goldens(copy, 100)
    with copy.open("ab") as file:
        file.write(b"x")
    lines = verify(device, tmp_path, copy, status=1).stdout.splitlines()
    assert sum("not as exported" in line for line in lines) == 2
    assert sum("the answers are further apart than kernels differ" in line for line in lines) == 2
    assert lines[-1].startswith("WARNING: the file is not the one that was exported")


def test_a_device_that_is_not_there_is_an_error_of_the_device(tiny_models, tmp_path):
    run = Run(tmp_path, "verify", tiny_models[".tflite"], "--device", "ssh://pi@nowhere.invalid")
    with run:
        assert run.end() == 3
    assert run.stdout == ""
    assert len(run.messages) == 1
