"""benchmark_model on a stand-in phone, the reference runner in its place: latencies are emulated and mean nothing."""

import platform
import shutil
import subprocess
import sys
import time

import pytest

from device_tests.conftest import MNET
from device_tests.reference_runner import build
from mnet_deploy.errors import CommandFailed, CommandTimeout
from mnet_deploy.measurement.measurement import MeasuredFile
from mnet_deploy.measurement.run_config import Protocol, RunConfig
from mnet_deploy.progress import Progress
from mnet_deploy.runners.agent_events import AgentRefusal
from mnet_deploy.runners.benchmark_model.flags import Flavour
from mnet_deploy.runners.benchmark_model.profile_run import profile_layers
from mnet_deploy.runners.benchmark_model.timed_run import ToolTimer
from mnet_deploy.runners.benchmark_model.tool import find_tool
from mnet_deploy.runners.device_programs import DevicePrograms, phone_keeper
from mnet_deploy.runners.device_session import DeviceSession
from mnet_deploy.runners.native.engine_library import arm_library
from mnet_deploy.runners.timed_block import Candidate
from mnet_deploy.runners.transports.adb_transport import AdbTransport
from mnet_deploy.runners.transports.address import DeviceAddress
from mnet_deploy.runners.transports.deadline import Deadline

pytestmark = [
    pytest.mark.emulated_only,
    pytest.mark.parametrize("adb_server", ["on PATH"], indirect=True),
]
DOWNLOAD_S = 250.0
TIMEOUT_S = 60
RUNNER = "mnet-deploy reference runner 1, LiteRT 2.3.0"
QUICK = Protocol(warmup_count=1, warmup_s=0, min_count=3, block_s=0, block_timeout_s=60)
LINUX_LOADER = "/lib/ld-linux.so.0"
NO_PROCESSOR = 0xFFFE  # an instruction set that nothing runs
MACHINE_AT = 18  # in the header of an ELF file


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    """Return {what it is: folder with a tool and its library}."""
    pytest.importorskip("ziglang")
    right, other, linux = (tmp_path_factory.mktemp(name) for name in ("right", "other", "linux"))
    library = arm_library("litert", Deadline.after(DOWNLOAD_S), Progress()).path
    shutil.copy(build.build(right), other)
    shutil.copy(library, right)
    build.other_library(other)
    target = f"{platform.machine()}-linux-gnu.2.34"  # of another machine QEMU runs, and has words of its own for this
    build.build(linux, target=target, loader=LINUX_LOADER)
    build.other_library(linux, target=target)
    return {"right": right, "of another version": other, "for Linux": linux}


@pytest.fixture
def bundle(bundles):
    """Return a folder with the reference runner and LiteRT's library, as the official tool comes with it."""
    return bundles["right"]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Return {precision: file} of a small model."""
    folder = tmp_path_factory.mktemp("models")
    options = ("--weights", "random", "--alpha", "0.25", "--resolution", "64", "--classes", "10", "--effort", "fast")
    formats = ("--format", "tflite", "--precision", "int8,fp32", "--calibration-count", "10")
    subprocess.run(
        [sys.executable, "-c", MNET, "export", *options, *formats, "--out", str(folder)], check=True, timeout=250
    )
    return {precision: next(folder.glob(f"*_{precision}.tflite")) for precision in ("int8", "fp32")}


@pytest.fixture(autouse=True)
def environment(bundles, models, adb_server, monkeypatch):
    """Lead our own adb to that server, and no further; what is built before needs the real home."""
    monkeypatch.delenv("ANDROID_SERIAL", raising=False)
    monkeypatch.setenv("MNET_ADB", str(adb_server.adb))
    for name, value in adb_server.environment.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def phone(fresh_phone):
    return fresh_phone()


@pytest.fixture
def session(phone):
    transport = AdbTransport(DeviceAddress.parse(phone.address))
    with transport, DeviceSession(transport, programs=DevicePrograms(keeper=phone_keeper())) as held:
        yield held


def candidate(model, **config):
    file = MeasuredFile(file=model.name, sha256="0" * 64, size_bytes=model.stat().st_size)
    return Candidate(path=model, file=file, config=RunConfig(engine="benchmark_model", **config))


def block(session, bundle, model, protocol=QUICK, *, least_nodes=None, **config):
    tool = find_tool(str(bundle / "benchmark_model"), progress=Progress())
    return ToolTimer(tool, least_nodes=least_nodes).time_block(
        session, candidate(model, **config), session.push(model), protocol
    )


def test_a_block(session, bundle, models):
    tool = find_tool(str(bundle / "benchmark_model"), progress=Progress())
    assert (tool.flavour, tool.machine, tool.elf.interpreter) == (Flavour.CLASSIC, "aarch64", build.LOADER)
    assert [each.name for each in tool.companions] == ["libLiteRt.so"]
    timer, what = ToolTimer(tool), candidate(models["int8"], threads=2, cpu_affinity=(4, 5))
    first, second = (timer.time_block(session, what, session.push(what.path), QUICK) for _ in range(2))
    assert first.engine == second.engine
    assert first.block.latency_s is None
    assert first.block.median_s > 0
    assert first.block.init_s > 0
    engine = first.engine
    assert (engine.name, engine.runner, engine.runner_sha256) == ("benchmark_model", RUNNER, tool.sha256)
    assert (engine.machine, engine.threads, engine.affinity, engine.delegate) == ("aarch64", 2, (4, 5), None)


def test_delegates(session, bundle, models):
    engine = block(session, bundle, models["fp32"], delegate="xnnpack").engine
    assert (engine.delegate, engine.delegated_nodes, engine.nodes) == ("xnnpack", 31, 31)
    assert engine.delegate_evidence.startswith("Replacing 31 out of 31 node(s) with delegate (TfLiteXNNPackDelegate)")
    engine = block(session, bundle, models["fp32"], delegate="none").engine
    assert (engine.delegate, engine.delegated_nodes) == ("none", 0)


def test_a_delegate_that_does_not_take_all(session, bundle, models):
    with pytest.raises(CommandFailed, match="at least 2 nodes were to run on xnnpack"):
        block(session, bundle, models["int8"], delegate="xnnpack", least_nodes=2)
    engine = block(session, bundle, models["int8"], delegate="xnnpack").engine
    assert (engine.delegate, engine.delegated_nodes) == ("xnnpack", None)
    assert "partially executed by the delegate" in engine.delegate_evidence


def test_what_it_cannot_do(session, bundle, models):
    with pytest.raises(CommandFailed, match="does not know --use_gpu=true"):
        block(session, bundle, models["int8"], delegate="gpu")
    with pytest.raises(CommandFailed, match="does not know --verbose=true and ran without"):
        block(session, bundle, models["int8"], session_options=("verbose=true",))
    tool = find_tool(str(bundle / "benchmark_model"), progress=Progress())
    with pytest.raises(AgentRefusal, match="--enable_op_profiling=true") as caught:
        profile_layers(session, candidate(models["int8"]), tool)
    assert caught.value.kind == "layers_unavailable"


def test_no_model(session, bundle, tmp_path):
    model = tmp_path / "m.tflite"
    model.write_bytes(b"no model at all")
    with pytest.raises(CommandFailed, match=r"^m\.tflite .* exit status 1 \(model_refused: .*no valid "):
        block(session, bundle, model)


def test_a_library_of_another_version(session, bundles, models):
    with pytest.raises(CommandFailed, match=rf"of different versions .*{build.BOUND}.* one folder of one version"):
        block(session, bundles["of another version"], models["int8"])


@pytest.mark.parametrize("affinity", [None, (0,)])
def test_a_program_for_another_processor(session, bundle, models, tmp_path, affinity):
    spoilt = shutil.copytree(bundle, tmp_path / "spoilt")
    for name in ("benchmark_model", "libLiteRt.so"):
        content = bytearray((spoilt / name).read_bytes())
        content[MACHINE_AT : MACHINE_AT + 2] = NO_PROCESSOR.to_bytes(2, "little")
        (spoilt / name).write_bytes(content)
    with pytest.raises(CommandFailed, match=r"a program for another processor .*take the build for the device"):
        block(session, spoilt, models["int8"], cpu_affinity=affinity)


def test_a_program_for_linux(session, bundles, models):
    with pytest.raises(CommandFailed, match=r"no loader for benchmark_model .*for Linux does not start on Android"):
        block(session, bundles["for Linux"], models["int8"])


def test_a_block_that_takes_too_long_is_ended_there(session, phone, bundle, models):
    endless = Protocol(warmup_count=1, warmup_s=0, min_count=3, block_s=1000, block_timeout_s=3)
    with pytest.raises(CommandTimeout, match=r"within 3 s .*--block-timeout"):
        block(session, bundle, models["int8"], protocol=endless)
    deadline = time.monotonic() + TIMEOUT_S
    while any("benchmark_model" in each for each in phone.processes()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
