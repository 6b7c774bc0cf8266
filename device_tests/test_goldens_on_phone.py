"""`mnet verify --device adb://...`: what a file answered when it was exported, asked of it on a stand-in phone."""

import json
import shutil

import pytest

from device_tests.mnet_runs import until
from device_tests.phone_runs import PhoneRun
from device_tests.reference_runner import build
from mnet_deploy.artifact import read_artifact
from mnet_deploy.progress import Progress
from mnet_deploy.runners.native.engine_library import arm_library
from mnet_deploy.runners.transports.deadline import Deadline

pytestmark = [
    pytest.mark.emulated_only,
    pytest.mark.timeout(900),
    pytest.mark.parametrize("adb_server", ["on PATH"], indirect=True),
]
DOWNLOAD_S = 250.0
DEVICE_FAILED = 3  # exit status
RUNNER = "mnet-deploy reference runner 1, LiteRT 2.3.0"


@pytest.fixture(scope="module")
def tool(tmp_path_factory):
    """Return the stand-in's benchmark_model, with LiteRT's library beside it."""
    pytest.importorskip("ziglang")
    folder = tmp_path_factory.mktemp("tool")
    shutil.copy(arm_library("litert", Deadline.after(DOWNLOAD_S), Progress()).path, folder / "libLiteRt.so")
    return build.build(folder)


@pytest.fixture
def replay(fresh_phone, adb_server, tiny_models, tmp_path):
    """Run `mnet verify --json` on a phone to its end: (its JSON, the run); it leaves nothing on either side."""

    def run(*options, suffix=".tflite", status=0):
        phone = fresh_phone()
        words = ("verify", tiny_models[suffix], "--device", phone.address, "--json", *options)
        with PhoneRun(tmp_path, *words, server=adb_server) as started:
            assert started.end() == status, started.said()
        assert started.leftovers(phone) == []
        assert phone.temporary_files() == []
        until(lambda: not phone.processes(), "an end of the keeper's shell, which is the last one")
        found = json.loads(started.stdout)
        assert found["emulated"]
        return found, started

    return run


def answers(found):
    return {(one["engine"], one["asked_delegate"]): one for one in found["replays"]}


def test_our_program_answers_as_exported(replay, tiny_models):
    found, _ = replay()
    assert (found["passed"], found["same_file"]) == (True, True)
    usual, bare = (answers(found)["ai-edge-litert", delegate] for delegate in ("default", "none"))
    assert {one["machine"] for one in (usual, bare)} == {"aarch64"}
    assert (usual["equal"], usual["moved_by_steps"]) == (True, {})
    assert bare["distance"]["largest"] <= read_artifact(tiny_models[".tflite"]).goldens["tolerance"]["largest"]
    found, _ = replay(suffix=".onnx")
    (one,) = found["replays"]
    assert (one["engine"], one["delegate"], one["passed"]) == ("onnxruntime", "cpu", True)


def test_the_tool_answers_as_our_program_does(replay, tool):
    """Both call the same library, each through a program of its own: what one of them gets wrong shows."""
    options = ("--benchmark-model", tool, "--engine", "benchmark_model,litert")
    found = answers(replay(*options)[0])
    for delegate in ("default", "none"):
        ours, tools = found["ai-edge-litert", delegate], found["benchmark_model", delegate]
        assert (tools["engine_version"], tools["machine"], tools["passed"]) == (RUNNER, "aarch64", True)
        for figure in ("outputs", "moved", "moved_by_steps", "distance"):
            assert tools[figure] == ours[figure]
    assert found["benchmark_model", "none"]["delegate"] == "none"


def test_a_delegate_that_is_not_there_or_takes_less_is_refused(replay, tool):
    options = ("--benchmark-model", tool, "--delegate", "gpu,xnnpack,none", "--benchmark-model-nodes", "2")
    found, run = replay(*options, status=DEVICE_FAILED)
    assert list(answers(found)) == [("benchmark_model", "none")]
    unknown, partly = found["refusals"]
    assert "does not know --use_gpu=true" in unknown
    assert "at least 2 nodes were to run on xnnpack" in partly
    assert run.messages[-1] == unknown
