"""`mnet bench` and `mnet device` from the desk to a phone and back: what they measure, say, store and take away."""

import json
import shutil

import pytest

from device_tests.mnet_runs import ONE_BLOCK, SHORT_BLOCKS, until
from device_tests.phone_runs import PhoneRun
from device_tests.reference_runner import build
from mnet_deploy.progress import Progress
from mnet_deploy.runners.native.engine_library import VERSIONS, arm_library
from mnet_deploy.runners.transports.deadline import Deadline

pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.parametrize("adb_server", ["on PATH"], indirect=True),
]
DOWNLOAD_S = 250.0
TWO_BLOCKS = (*SHORT_BLOCKS, "--min-blocks", "2", "--max-blocks", "2")
FAST_CORES = [4, 5, 6, 7]
EMULATED = "emulated by qemu-user: times say nothing of a real device"


@pytest.fixture
def mnet(phone, adb_server, tmp_path):
    """Run `mnet` with a phone to its end and return the run; it leaves nothing on either side."""
    count = 0

    def run(*words, status=0):
        nonlocal count
        count += 1
        folder = tmp_path / f"run{count}"
        folder.mkdir()
        with PhoneRun(folder, *words, "--device", phone.address, server=adb_server) as started:
            assert started.end() == status, started.said()
        assert started.leftovers(phone) == []
        until(lambda: not phone.processes(), "the end of the shell that held the phone")
        assert phone.temporary_files() == []
        return started

    return run


@pytest.fixture(scope="module")
def tool(tmp_path_factory):
    """Return the stand-in's benchmark_model, with LiteRT's library beside it."""
    pytest.importorskip("ziglang")
    folder = tmp_path_factory.mktemp("tool")
    shutil.copy(arm_library("litert", Deadline.after(DOWNLOAD_S), Progress()).path, folder / "libLiteRt.so")
    return build.build(folder)


def emulated(phone):
    return "qemu-user" if hasattr(phone, "set_state") else None


def rules_of(measurement):
    return {reason["rule"] for reason in measurement["reasons"]}


def test_both_formats_run_in_our_own_program(mnet, phone, tiny_models):
    run = mnet("bench", *tiny_models.values(), *TWO_BLOCKS, "--json")
    document = json.loads(run.stdout)
    measured = document["measurements"]
    assert [one["config"]["engine"] for one in measured] == ["litert", "onnxruntime"]
    assert [[block["number"] for block in one["blocks"]] for one in measured] == [[0, 3], [1, 2]]
    for one in measured:
        engine, device = one["engine"], one["device"]
        assert engine["version"] == VERSIONS[one["config"]["engine"]]
        assert (engine["runner"], engine["python"]) == ("mnet-runner", None)
        assert engine["c_library"].startswith("glibc 2.")
        assert len(engine["runner_sha256"]) == 64
        assert one["config"]["cpu_affinity"] == (FAST_CORES if emulated(phone) else engine["affinity"])
        assert device["emulated"] == emulated(phone)
        assert int(device["android"]["sdk"]) >= 26
        assert len(one["latency_s"]) == sum(block["count"] for block in one["blocks"])
        assert one["after"]["thermal_status"] == 0 or not emulated(phone)
        assert "glibc_on_android" in rules_of(one)
    assert [warning for warning in document["warnings"] if warning.startswith("models run in this toolkit's own C")]
    assert len(run.stored()) == 1


@pytest.mark.emulated_only
def test_the_table_says_what_ran_where(mnet, tiny_models):
    run = mnet("bench", tiny_models[".tflite"], *ONE_BLOCK)
    lines = run.stdout.splitlines()
    assert lines[0].startswith("adb://127.0.0.1:")
    assert "Android 14 (API 34)" in lines[0]
    assert lines[1] == EMULATED
    assert any(line.startswith("timed by mnet-runner (sha256 ") for line in lines)
    assert "bound to cores 4,5,6,7 (mask f0)" in lines
    assert any("emulated" in line and "SUSPECT" in line for line in lines)


@pytest.mark.emulated_only
def test_the_official_tool_gives_summaries_and_is_named_for_what_it_is(mnet, tiny_models, tool):
    options = ("--benchmark-model", tool, "--benchmark-model-flavour", "classic", "--delegate", "xnnpack,none")
    run = mnet("bench", tiny_models[".tflite"], *options, *TWO_BLOCKS, "--json")
    document = json.loads(run.stdout)
    for one, delegate in zip(document["measurements"], ("xnnpack", "none"), strict=True):
        assert (one["config"]["engine"], one["engine"]["delegate"]) == ("benchmark_model", delegate)
        assert one["latency_s"] is None
        assert all(block["median_s"] > 0 for block in one["blocks"])
        assert one["engine"]["runner"].startswith("mnet-deploy reference runner")
        assert one["engine"]["runner_source"].startswith(str(tool))
        assert {"summary_only", "reference_runner"} <= rules_of(one)
    with_delegate, without = (one["engine"] for one in document["measurements"])
    assert "executed by the delegate" in with_delegate["delegate_evidence"]
    assert without["delegated_nodes"] == 0
    assert not [warning for warning in document["warnings"] if "C program" in warning]


@pytest.mark.emulated_only
def test_a_phone_is_checked_and_listed(mnet, phone, adb_server, tmp_path):
    phone.set_state(thermal_status=2, battery_level=11)
    check = mnet("device", "check", "--json")
    found = json.loads(check.stdout)
    assert (found["ready"], found["native_engines"]) == (True, VERSIONS)
    assert found["conditions"]["thermal_status"] == 2
    said = mnet("device", "check").stdout
    assert "thermal status 2 (moderate), battery 11%" in said
    assert said.splitlines()[-1] == "ready"
    folder = tmp_path / "list"
    folder.mkdir()
    with PhoneRun(folder, "device", "list", "--json", server=adb_server) as listed:
        assert listed.end() == 0
    phones = [one for one in json.loads(listed.stdout)["devices"] if one["address"] == phone.address]
    assert [(one["answers"], one["state"]) for one in phones] == [(True, "answers")]


def test_the_clock_of_a_phone_is_not_set(mnet, tiny_models):
    run = mnet("bench", tiny_models[".tflite"], *ONE_BLOCK, "--pin", status=3)
    assert len(run.messages) == 1
    assert "root" in run.messages[0]
