"""Goldens replayed through the transport of this machine: the same agent, keeper and files as on a device."""

import io
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from answering_tool import RUNNER, starts, write_tool
from golden_copies import copy_to, shift_goldens, with_goldens

from mnet_deploy.artifact import read_artifact, sidecar_path
from mnet_deploy.cli import main
from mnet_deploy.errors import LinkLost
from mnet_deploy.measurement.device_info import DeviceInfo
from mnet_deploy.measurement.run_config import RunConfig
from mnet_deploy.pipeline.device_goldens import DelegateReplay, DeviceReplay
from mnet_deploy.pipeline.golden_tolerance import OTHER_MACHINE_MARGIN, Distance, Moved
from mnet_deploy.pipeline.goldens import goldens_path, read_goldens
from mnet_deploy.pipeline.goldens_text import device_replay_text
from mnet_deploy.runners import local
from mnet_deploy.runners.benchmark_model import tool_infer
from mnet_deploy.runners.benchmark_model.flags import Flavour
from mnet_deploy.runners.device_infer import infer_on_device
from mnet_deploy.runners.device_programs import python_programs
from mnet_deploy.runners.device_session import DeviceSession
from mnet_deploy.runners.local import Inference
from mnet_deploy.runners.transports.local_transport import LocalTransport


@pytest.fixture(scope="module")
def files(write_file, quantized, folded, tmp_path_factory):
    """Files with goldens by their names."""
    folder = tmp_path_factory.mktemp("files")
    graphs = {"int8.tflite": quantized, "int8.onnx": quantized, "fp32.tflite": folded}
    return {name: with_goldens(write_file(folder / name, graph)) for name, graph in graphs.items()}


@pytest.fixture(autouse=True)
def device_folder(tmp_path, monkeypatch):
    """Where the device's programs keep their files: nobody else holds this machine's lock in there."""
    folder = tmp_path / "device"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


@pytest.fixture
def verify(capsys):
    """Run `mnet verify --device local:`; return (exit status, stdout, stderr)."""

    def run(path, *options):
        status = main(["verify", str(path), "--device", "local:", *options])
        return (status, *capsys.readouterr())

    return run


@pytest.fixture
def figures(verify, violations):
    """Return (exit status, JSON), which is as its schema says."""

    def run(path, *options):
        status, out, _ = verify(path, "--json", *options)
        found = json.loads(out)
        assert violations(found) == []
        return status, found

    return run


@pytest.mark.parametrize(
    ("name", "delegates"),
    [
        ("int8.tflite", [("default", "xnnpack"), ("none", "none")]),
        ("fp32.tflite", [("default", "xnnpack"), ("none", "none")]),
        ("int8.onnx", [("default", "cpu")]),
    ],
)
def test_an_intact_file_answers_as_exported_with_each_delegate(files, figures, device_folder, name, delegates):
    """Here, where it was exported, integers are equal with all kernels; sums of floats depend on the threads, too."""
    status, found = figures(files[name])
    assert (status, found["passed"], found["same_file"], found["emulated"]) == (0, True, True, None)
    assert [(one["asked_delegate"], one["delegate"]) for one in found["replays"]] == delegates
    quantised = read_artifact(files[name]).output.scale is not None
    for one in found["replays"]:
        assert (one["outputs"], one["same_engine"], one["passed"]) == (4 * 10, True, True)
        assert one["moved_by_steps"] == ({} if quantised else None)
        assert f"{one['engine']} {one['engine_version']} on {one['machine']}" == found["exported_with"]
        if quantised or one["asked_delegate"] == "default":
            assert (one["equal"], one["moved"], one["share_of_tolerance"]) == (True, 0, 0)
    assert list(device_folder.iterdir()) == []


def test_the_text_has_a_row_for_each_delegate(files, verify):
    status, out, _ = verify(files["int8.tflite"], "--engine", "litert")
    rows = [line.split() for line in out.splitlines() if line.startswith("ai-edge-litert")]
    assert status == 0
    assert [row[2] for row in rows] == ["xnnpack", "none"]
    assert all(" ".join(row).endswith("0 of 40 0 0 0% equal, bit for bit") for row in rows)
    assert "emulated" not in out


@pytest.mark.parametrize(("name", "by"), [("int8.tflite", 100), ("fp32.tflite", 0.5)])
def test_answers_beyond_the_tolerance_fail(files, tmp_path, figures, name, by):
    copy = copy_to(tmp_path, files[name])
    shift_goldens(copy, by)
    status, found = figures(copy)
    assert (status, found["passed"], found["same_file"]) == (1, False, True)
    one = found["replays"][0]
    assert (one["passed"], one["equal"], one["moved"]) == (False, False, 40)
    assert one["moved_by_steps"] in (None, {"100": 40})
    assert one["distance"]["largest"] == pytest.approx(by)
    assert one["share_of_tolerance"] == pytest.approx(
        max(one["distance"][figure] / found["tolerance"][figure] for figure in ("largest", "mean"))
    )
    assert one["share_of_tolerance"] > 1


def test_a_shift_by_one_step_is_within_the_tolerance_and_counted(files, tmp_path, verify):
    copy = copy_to(tmp_path, files["int8.tflite"])
    artifact = read_artifact(copy)
    wide = {**artifact.goldens, "tolerance": {"largest": 255, "mean": 255}}
    sidecar_path(copy).write_text(replace(artifact, goldens=wide).to_json(), encoding="utf-8")
    shift_goldens(copy, 1)
    status, out, _ = verify(copy)
    assert status == 0
    assert "within tolerance" in out
    assert "\nai-edge-litert, xnnpack (default): 40 moved by 1; most: " in out


def test_a_file_with_zeroed_weights_is_told_apart(files, tmp_path, quantized, verify):
    content = files["int8.tflite"].read_bytes()
    kernels = (layer.kernel for layer in quantized.layers if layer.kernel is not None and layer.spec.kernel_px == 1)
    stored = [np.ascontiguousarray(kernel.transpose(3, 0, 1, 2)).tobytes() for kernel in kernels]
    kernel = max((one for one in stored if one in content), key=len)
    status, out, _ = verify(copy_to(tmp_path, files["int8.tflite"], content.replace(kernel, bytes(len(kernel)))))
    assert status == 1
    assert "not as exported" in out
    assert "WARNING: ai-edge-litert, none: the answers are further apart than kernels differ" in out
    assert out.splitlines()[-1].startswith("WARNING: the file is not the one that was exported")


def test_a_file_that_an_engine_refuses_is_said_once_for_each_delegate(files, tmp_path, figures):
    copy = copy_to(tmp_path, files["int8.tflite"], files["int8.tflite"].read_bytes()[:2000])
    status, found = figures(copy)
    assert (status, found["passed"], found["same_file"], found["replays"]) == (3, False, None, [])
    usual, bare = found["refusals"]
    assert usual.startswith("int8.tflite on local (litert): ")
    assert bare.startswith("int8.tflite on local (litert, no delegate): ")


def test_damaged_goldens_are_refused_before_the_device_is_asked(files, tmp_path, verify, device_folder):
    copy = copy_to(tmp_path, files["int8.tflite"])
    goldens_path(copy).write_bytes(goldens_path(copy).read_bytes()[:-1])
    device_folder.rmdir()
    status, out, said = verify(copy)
    assert (status, out) == (2, "")
    assert "is not the file that the sidecar names (sha256 differs)" in said


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--data", "photos"), "--device has images of its own. Received: --data as well"),
        (("--twin", "other.tflite"), "one thing at a time. Received: --twin and --device"),
        (("--layers",), "one thing at a time. Received: --layers or --page and --device"),
        (("--normalization", "0..1"), "--device takes the preparation of photos from the sidecar"),
        (("--no-xnnpack",), "--device runs a .tflite with and without XNNPACK"),
        (
            ("--engine", "keras"),
            "--engine takes litert, tflite-runtime, onnxruntime, benchmark_model. Received: 'keras'",
        ),
        (("--engine", "onnxruntime"), "int8.tflite runs on litert or tflite-runtime"),
        (("--engine", "litert,litert"), "--engine is given twice"),
        (("--delegate", "cpu"), "--delegate takes default, none, xnnpack, gpu, nnapi. Received: 'cpu'"),
        (("--delegate", "gpu"), "--delegate gpu needs TensorFlow Lite's own tool: give --benchmark-model FILE"),
        (("--benchmark-model-sha256", "00"), "--benchmark-model-sha256 goes with --benchmark-model. Received: it"),
        (("--benchmark-model", "nowhere/tool"), "--benchmark-model is a file or an https address"),
        (
            ("--benchmark-model", "tool", "--engine", "litert"),
            "--benchmark-model is the engine benchmark_model. Received: --engine litert, which leaves it out",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(files, verify, options, message):
    status, out, said = verify(files["int8.tflite"], *options)
    assert (status, out) == (2, "")
    assert message in said


@pytest.mark.parametrize(
    ("option", "value"), [("--engine", "litert"), ("--delegate", "none"), ("--benchmark-model", "tool")]
)
def test_what_is_of_a_device_is_refused_without_one(files, capsys, option, value):
    assert main(["verify", str(files["int8.tflite"]), "--goldens", option, value]) == 2
    assert f"{option} is for --device. Received: it alone" in capsys.readouterr().err


def test_a_file_of_another_name_is_refused(files, tmp_path, verify):
    copy = copy_to(tmp_path, files["int8.tflite"])
    for beside in (sidecar_path, goldens_path):
        beside(copy).rename(beside(tmp_path / "model.bin"))
    status, _, said = verify(copy.rename(tmp_path / "model.bin"))
    assert status == 2
    assert "--device takes .tflite, .onnx and .ort files" in said


@pytest.mark.parametrize("options", [("--delegate", "none"), ("--benchmark-model", "tool")])
def test_what_is_of_tflite_files_is_refused_for_others(files, verify, options):
    status, out, said = verify(files["int8.onnx"], *options)
    assert (status, out) == (2, "")
    assert f"{options[0]} is for .tflite files. Received: int8.onnx; leave it out" in said


def test_the_delegates_are_those_that_were_named(files, figures):
    _, found = figures(files["int8.tflite"], "--delegate", "none")
    assert [(one["asked_delegate"], one["delegate"]) for one in found["replays"]] == [("none", "none")]
    assert found["benchmark_model"] is None


# The answers of TensorFlow Lite's own tool.


@pytest.fixture
def tool(tmp_path, monkeypatch):
    """Let a script be the tool, which no ELF file is: `tool(**what it does otherwise than the tool)` is the options."""

    def make(**spec):
        found = write_tool(tmp_path, **spec)
        monkeypatch.setattr("mnet_deploy.pipeline.runtime_choice.find_tool", lambda source, *_, **__: found)
        monkeypatch.setattr("mnet_deploy.pipeline.runtime_choice._require_fit", lambda tool, device: None)
        return ("--benchmark-model", str(found.path))

    return make


def test_the_tool_answers_as_exported(files, figures, tool, tmp_path, device_folder):
    """Integers with all kernels; floats with the usual ones, which the goldens were made with."""
    status, found = figures(files["int8.tflite"], *tool())
    assert (status, found["passed"]) == (0, True)
    assert found["benchmark_model"] == {"sha256": "ab" * 32, "source": "https://x.org/1"}
    default, none = found["replays"]
    assert (default["asked_delegate"], default["delegate"]) == ("default", None)
    assert (none["asked_delegate"], none["delegate"]) == ("none", "none")
    for one in found["replays"]:
        assert (one["engine"], one["engine_version"], one["same_engine"]) == ("benchmark_model", RUNNER, False)
        assert (one["equal"], one["moved"], one["outputs"], one["moved_by_steps"]) == (True, 0, 40, {})
    assert len(starts(tmp_path)) == 2 * found["images"]
    assert list(device_folder.iterdir()) == []
    _, found = figures(files["fp32.tflite"], *tool(), "--delegate", "xnnpack")
    (one,) = found["replays"]
    assert (one["asked_delegate"], one["delegate"], one["equal"]) == ("xnnpack", "xnnpack", True)


def test_a_delegate_that_moves_outputs_is_told_by_steps(files, verify, tool):
    """One that computes otherwise is told apart from one that computes as the export did."""
    status, out, _ = verify(files["int8.tflite"], *tool(steps={"use_gpu": 100}), "--delegate", "gpu,none")
    assert status == 1
    rows = {line.split("  ")[-1] for line in out.splitlines() if line.startswith(f"benchmark_model {RUNNER}")}
    assert rows == {"not as exported", "equal, bit for bit"}
    assert "\nbenchmark_model, gpu: 40 moved by 100; most: " in out
    assert "WARNING: benchmark_model, gpu: the answers are further apart than kernels differ" in out
    assert "benchmark_model, none:" not in out


def test_what_a_delegate_refuses_is_said_and_the_others_answer(files, figures, tool):
    options = ("--delegate", "nnapi,gpu,xnnpack")
    status, found = figures(files["int8.tflite"], *tool(nodes={"use_gpu": 12}, unknown=["use_nnapi"]), *options)
    assert (status, found["passed"]) == (3, False)
    assert [one["delegate"] for one in found["replays"]] == ["xnnpack"]
    unknown, partly = found["refusals"]
    assert unknown.startswith("int8.tflite on local (benchmark_model, nnapi delegate, 1 thread): ")
    assert "does not know --use_nnapi=true and ran without" in unknown
    assert "all nodes were to run on gpu. Received: 12 of 31" in partly
    _, found = figures(files["int8.tflite"], *tool(nodes={"use_gpu": 12}), *options, "--benchmark-model-nodes", "12")
    assert [one["delegate"] for one in found["replays"]] == ["nnapi", "gpu", "xnnpack"]


def test_a_delegate_that_hangs_does_not_cost_the_answers_of_others(files, figures, tool, monkeypatch):
    monkeypatch.setattr(tool_infer, "TIMEOUT_S", 5)
    quick = {"engine": "reverse", "most_bytes": 10}
    status, found = figures(files["int8.tflite"], *tool(hangs="use_gpu", **quick), "--delegate", "gpu,none")
    assert status == 3
    assert [(one["delegate"], one["passed"]) for one in found["replays"]] == [("none", False)]
    (refusal,) = found["refusals"]
    assert "gpu delegate, 1 thread): benchmark_model did not end within 5 s and was stopped" in refusal


def test_a_tool_that_takes_no_inputs_is_refused_before_it_starts(files, verify, tool, tmp_path):
    status, out, said = verify(files["int8.tflite"], *tool(flavour=Flavour.LITERT))
    assert (status, out, starts(tmp_path)) == (2, "", [])
    assert "goldens need TensorFlow Lite's benchmark_model (classic), which takes inputs and writes outputs" in said


# What a device may send.


class Sending(LocalTransport):
    """Pulls a content of the test's."""

    content = b""

    def pull(self, remote, local, *, deadline):
        return Path(local).write_bytes(self.content)


def npy(array):
    content = io.BytesIO()
    np.save(content, array)
    return content.getvalue()


@pytest.fixture(scope="module")
def sending(tmp_path_factory):
    """A session whose pulls give what the test wants."""
    with pytest.MonkeyPatch.context() as patch, Sending() as transport:
        patch.setenv("TMPDIR", str(tmp_path_factory.mktemp("sending")))
        with DeviceSession(transport, programs=python_programs(sys.executable)) as session:
            yield session


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cannot be read"),
        (b"no numbers", "cannot be read"),
        (npy(np.zeros((4, 10)))[:-1], "cannot be read"),
        (npy(np.zeros((4, 10))).replace(b"(4, 10), }" + b" " * 12, b"(4, 10" + b"0" * 12 + b"), }"), "cannot be read"),
        (npy(np.array([None] * 4)), "cannot be read"),
        (npy(np.zeros((3, 10))), r"expected numbers for 4 inputs\. Received: float64 \[3, 10\]"),
        (npy(np.array(["a"] * 4)), r"expected numbers for 4 inputs\. Received: <U1 \[4\]"),
        (npy(np.float32(1)), r"expected numbers for 4 inputs\. Received: float32 \[\]"),
    ],
)
def test_what_is_no_answer_is_refused(files, sending, content, message):
    path = files["int8.tflite"]
    sending.transport.content = content
    with pytest.raises(LinkLost, match=rf"^int8\.tflite on local \(litert\): .*{message}"):
        infer_on_device(sending, path, read_goldens(path).inputs, engine="litert")


def test_the_answers_are_those_of_this_machine(files):
    path = files["fp32.tflite"]
    inputs = read_goldens(path).inputs
    with LocalTransport() as transport, DeviceSession(transport, programs=python_programs(sys.executable)) as session:
        found = infer_on_device(session, path, inputs, engine="litert", delegate="none")
    expected = local.infer(path, inputs, xnnpack=False)
    assert found.runner == "agent.py"
    assert replace(found, outputs=expected.outputs, runner=None) == expected
    np.testing.assert_array_equal(found.outputs, expected.outputs)


# Figures and text.


@pytest.mark.parametrize(
    ("expected", "actual", "moved"),
    [
        (np.int8([-128, 0, 5, 7]), np.int8([127, 0, 6, 6]), Moved(outputs=4, count=3, by_steps={255: 1, 1: 2})),
        (np.uint8([0, 255]), np.uint8([255, 255]), Moved(outputs=2, count=1, by_steps={255: 1})),
        (np.float32([0.0, 1.0]), np.float32([-0.0, 1.0]), Moved(outputs=2, count=1, by_steps=None)),
        (np.float32([np.nan, 1]), np.float32([np.nan, 2]), Moved(outputs=2, count=1, by_steps=None)),
        (np.int8([1, 2]), np.int8([1, 2, 3]), Moved(outputs=3, count=3, by_steps=None)),
        (np.float32([1, 2]), np.float64([1, 2]), Moved(outputs=2, count=2, by_steps=None)),
    ],
)
def test_moved_values_are_counted_in_whole_steps_and_in_bits(expected, actual, moved):
    assert Moved.between(expected, actual) == moved


def test_the_outputs_that_moved_most_are_named():
    expected = np.int8([[-128, 5, 127], [0, 0, 0]])
    moved = Moved.between(expected, np.int8([[-128, 6, 124], [0, 1, 0]]))
    assert [(one.image, one.output, one.golden, one.answered) for one in moved.furthest] == [
        (0, 2, 127, 124),
        (0, 1, 5, 6),
        (1, 1, 0, 1),
    ]


@pytest.mark.parametrize(
    ("largest", "mean", "share"), [(0, 0, 0), (2, 0.1, 0.5), (1, 0.3, 1.5), (np.inf, np.inf, np.inf)]
)
def test_the_share_of_a_tolerance_is_that_of_the_figure_nearer_to_it(largest, mean, share):
    found = Distance(largest=largest, mean=mean).share_of(Distance(largest=4, mean=0.2))
    assert found == pytest.approx(share)
    assert Distance(largest=0, mean=0).share_of(Distance(largest=0, mean=0)) == 0
    assert Distance(largest=1, mean=0).share_of(Distance(largest=0, mean=0)) == np.inf


def test_what_is_emulated_is_labelled_in_every_row(files):
    goldens = read_goldens(files["int8.tflite"])
    outputs = goldens.answers[0].astype(np.int16)
    outputs.flat[:8] += np.where(outputs.flat[:8] > 0, -1, 1) * np.arange(1, 9)
    answered = Inference(outputs=outputs.astype(np.int8), engine="e", engine_version=None, delegate="none")
    one = DelegateReplay(
        config=RunConfig(engine="litert", delegate="none"), answered=answered, replay=goldens.compare(answered)
    )
    device = DeviceInfo(address="ssh://pi@there", emulated="qemu-user")
    lines = device_replay_text(DeviceReplay(device=device, goldens=goldens, replays=(one,))).splitlines()
    assert lines[:2] == ["ssh://pi@there", "emulated by qemu-user: not the answers of a real device"]
    assert [line.endswith("(emulated)") for line in lines if line.startswith("e ")] == [True]
    counted = "1 moved by 1, 1 moved by 2, 1 moved by 3, 1 moved by 4, 1 moved by 5, 1 moved by 6, 2 by 7 to 8"
    assert any(line.startswith(f"e, none: {counted}; most: ") for line in lines)


def test_labels_of_a_sidecar_do_not_reach_the_terminal_as_they_are(files):
    goldens = read_goldens(files["int8.tflite"])
    outputs = goldens.answers[0].copy()
    outputs.flat[0] += 1 if outputs.flat[0] < 0 else -1
    answered = Inference(outputs=outputs, engine="e", engine_version=None, delegate="none")
    replay = goldens.compare(answered)
    labels = tuple(f"\x1b[2Jclass {number}" for number in range(outputs.shape[1]))
    labelled = replace(replay, artifact=replace(replay.artifact, labels=labels))
    one = DelegateReplay(config=RunConfig(engine="litert"), answered=answered, replay=labelled)
    text = device_replay_text(DeviceReplay(device=DeviceInfo(address="local:"), goldens=goldens, replays=(one,)))
    assert "most: \ufffd[2Jclass 0 of image 0" in text
    assert "\x1b" not in text


@pytest.mark.parametrize(
    ("share", "said"), [(0, "0%"), (0.0001, "<1%"), (0.56, "56%"), (1.5, "150%"), (float("inf"), "-")]
)
def test_a_small_share_is_not_called_none(files, share, said):
    goldens = read_goldens(files["int8.tflite"])
    answered = Inference(outputs=goldens.answers[0], engine="e", engine_version="1", delegate="none")
    apart = Distance(largest=share * goldens.record["tolerance"]["largest"], mean=0)
    replay = replace(goldens.compare(answered), distance=apart)
    one = DelegateReplay(config=RunConfig(engine="litert"), answered=answered, replay=replay)
    found = DeviceReplay(device=DeviceInfo(address="local:"), goldens=goldens, replays=(one,))
    (row,) = (line for line in device_replay_text(found).splitlines() if line.startswith("e 1"))
    assert row.split()[9] == said


def test_kernels_of_another_processor_may_differ_by_more(files):
    goldens = read_goldens(files["int8.tflite"])
    here = goldens.compare(Inference(outputs=goldens.answers[0], engine="e", engine_version="1", machine=None))
    there = goldens.compare(Inference(outputs=goldens.answers[0], engine="e", engine_version="1", machine="mips"))
    assert here.tolerance == Distance(**goldens.record["tolerance"])
    assert there.tolerance == here.tolerance.times(OTHER_MACHINE_MARGIN)


@pytest.mark.parametrize(("steps", "passed"), [(1, True), (3, False)])
@pytest.mark.parametrize("name", ["int8.tflite", "int8.onnx"])
def test_all_outputs_may_be_off_by_one_step_of_rounding(files, name, steps, passed):
    goldens = read_goldens(files[name])
    goldens = replace(goldens, record={**goldens.record, "tolerance": {"largest": 0.0, "mean": 0.0}})
    expected = goldens.answers[0]
    step = 1 if expected.dtype == np.int8 else np.float32(1 / 255)
    moved = np.where(expected > expected.mean(), expected - steps * step, expected + steps * step).astype(
        expected.dtype
    )
    replay = goldens.compare(Inference(outputs=moved, engine="e", engine_version="1"))
    assert replay.passed is passed
