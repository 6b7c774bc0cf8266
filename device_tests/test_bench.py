"""`mnet bench` from the desk to a device and back: what it measures, says, stores, and refuses to compare."""

import json

import numpy as np
import pytest

from device_tests.mnet_runs import ONE_BLOCK, SHORT_BLOCKS, Run, make_ready, until
from mnet_deploy.artifact import file_sha256, read_artifact
from mnet_deploy.runners.device_events import InferStart
from mnet_deploy.runners.device_programs import python_programs
from mnet_deploy.runners.device_session import DeviceSession
from mnet_deploy.runners.local import infer
from mnet_deploy.runners.setup.device_python import device_python
from mnet_deploy.runners.transports.address import DeviceAddress
from mnet_deploy.runners.transports.deadline import Deadline
from mnet_deploy.runners.transports.ssh_transport import SshTransport

pytestmark = pytest.mark.timeout(900)
INPUTS = 4
TIMEOUT_S = 180.0
TWO_BLOCKS = (*SHORT_BLOCKS, "--min-blocks", "2", "--max-blocks", "2")
LABEL = "emulated by qemu-user: times say nothing of a real device"


@pytest.fixture(scope="module")
def device(pi):
    """Return the device for all tests; a real one has been set up by its owner."""
    if hasattr(pi, "path"):
        make_ready(pi)
    return pi


def emulated(pi):
    return "qemu-user" if hasattr(pi, "path") else None


def mnet(pi, folder, *words, status=0):
    """Run `mnet` to its end in a folder and return the run."""
    run = Run(folder, *words, ssh_config=pi.ssh_config)
    with run:
        assert run.end() == status, run.said()
    return run


def bench(pi, folder, *words, status=0):
    return mnet(pi, folder, "bench", "--device", pi.address, *words, status=status)


@pytest.mark.parametrize("suffix", [".tflite", ".onnx"])
def test_int8_answers_are_those_of_this_machine(device, tiny_models, tmp_path, suffix):
    model = tiny_models[suffix]
    inputs = inputs_for(suffix)
    np.save(tmp_path / "inputs.npy", inputs)
    transport = SshTransport(DeviceAddress.parse(device.address), config=device.ssh_config)
    with transport, DeviceSession(transport, programs=python_programs(python_of(transport))) as session:
        outputs = f"{session.folder}/outputs.npy"
        options = ["--model", session.push(model), "--inputs", session.push(tmp_path / "inputs.npy")]
        answer = session.run_agent("infer", [*options, "--outputs", outputs], what=model.name, timeout_s=TIMEOUT_S)
        transport.pull(outputs, tmp_path / "outputs.npy", deadline=Deadline.after(TIMEOUT_S))
    assert answer.first(InferStart).machine == "aarch64"
    here = infer(model, inputs)
    assert answer.first(InferStart).engine_version == here.engine_version
    np.testing.assert_array_equal(np.load(tmp_path / "outputs.npy"), here.outputs)


def inputs_for(suffix):
    random = np.random.default_rng(6)
    if suffix == ".tflite":
        return random.integers(-128, 128, (INPUTS, 64, 64, 3), dtype=np.int8)
    return random.uniform(-1, 1, (INPUTS, 3, 64, 64)).astype(np.float32)


def python_of(transport):
    return device_python(transport, Deadline.after(TIMEOUT_S)).path


@pytest.fixture(scope="module")
def both(device, tiny_models, tmp_path_factory):
    """Measure both formats with one and two threads in one run; return the run."""
    files = tiny_models.values()
    return bench(device, tmp_path_factory.mktemp("both"), *files, "--threads", "1,2", *TWO_BLOCKS, "--json")


def measurements_of(run):
    return json.loads(run.stdout)["measurements"]


def test_one_run_measures_files_and_threads_in_turn(both, tiny_models):
    measured = measurements_of(both)
    assert [(one["file"]["file"], one["config"]["engine"], one["config"]["threads"]) for one in measured] == [
        (tiny_models[suffix].name, engine, threads)
        for suffix, engine in ((".tflite", "litert"), (".onnx", "onnxruntime"))
        for threads in (1, 2)
    ]
    assert [[block["number"] for block in one["blocks"]] for one in measured] == [[0, 7], [1, 6], [2, 5], [3, 4]]
    assert {one["stopped"] for one in measured} <= {"blocks", "interval"}


def test_every_latency_is_kept(both):
    for one in measurements_of(both):
        counts = [block["count"] for block in one["blocks"]]
        assert min(counts) >= 2
        assert len(one["latency_s"]) == sum(counts)
        assert all(latency_s > 0 for latency_s in one["latency_s"])
        assert all(len(block["warmup_s"]) >= 1 for block in one["blocks"])
        medians = [np.median(one["latency_s"][block["first"] :][: block["count"]]) for block in one["blocks"]]
        assert one["median_s"] == np.median(medians)
        assert all(block["init_s"] > 0 and block["peak_rss_bytes"] > 1 << 20 for block in one["blocks"])


def test_engines_and_verdicts_are_named(both, device, tiny_models):
    for one in measurements_of(both):
        litert = one["config"]["engine"] == "litert"
        assert one["engine"]["name"] == ("ai-edge-litert" if litert else "onnxruntime")
        assert one["engine"]["version"].split(".")[0].isdigit()
        assert one["engine"]["delegate"] == ("xnnpack" if litert else "cpu")
        assert one["engine"]["machine"] == "aarch64"
        assert one["engine"]["threads"] == one["config"]["threads"]
        assert one["file"]["sha256"] == file_sha256(tiny_models[".tflite" if litert else ".onnx"])
        assert one["verdict"] in ("SUSPECT", "INVALID")  # so short a run never counts
        assert "weaker_protocol" in [reason["rule"] for reason in one["reasons"]]
        assert one["deviations"]["min_blocks"] == 2
        assert one["emulated"] == emulated(device)
        assert one["device"]["address"] == device.address


def test_what_is_stored_is_what_was_said(both, device):
    (stored,) = both.stored()
    said = json.loads(both.stdout)
    assert said["stored"] == f"mnet-results/{next(both.folder.glob('mnet-results/*.json')).name}"
    assert [one["median_s"] for one in stored["measurements"]] == [one["median_s"] for one in said["measurements"]]
    assert stored["raw"]["samples"] == [len(one["latency_s"]) for one in said["measurements"]]
    assert both.messages == [f"stored as {said['stored']}"]
    assert both.leftovers(device) == []


def test_the_store_shows_it(both, device):
    listed = mnet(device, both.folder, "results", "list").stdout.splitlines()
    assert len(listed) == 2 + 4  # header, line, measurements
    shown = mnet(device, both.folder, "results", "show").stdout
    as_json = json.loads(mnet(device, both.folder, "results", "show", "--json").stdout)
    assert [len(one["latency_s"]) for one in as_json["measurements"]] == as_json_counts(both)
    if emulated(device):
        assert all("(emulated)" in line for line in listed[2:])
        assert LABEL in shown
        assert {one["emulated"] for one in as_json["measurements"]} == {"qemu-user"}
        assert next(both.folder.glob("mnet-results/*.json")).stem.rpartition("-")[0].endswith("-emulated")


def as_json_counts(run):
    return [len(one["latency_s"]) for one in measurements_of(run)]


def test_the_text_labels_what_is_emulated(device, tiny_models, tmp_path):
    said = bench(device, tmp_path, tiny_models[".onnx"], *ONE_BLOCK, "--no-store").stdout
    assert tiny_models[".onnx"].name in said
    assert (LABEL in said) == bool(emulated(device))
    assert ("SUSPECT emulated" in said or "INVALID emulated" in said) == bool(emulated(device))
    assert not (tmp_path / "mnet-results").exists()


def test_another_device_is_no_baseline(device, tiny_models, tmp_path):
    file = tiny_models[".tflite"]
    mnet(device, tmp_path, "bench", file, "--device", "local:", *TWO_BLOCKS)
    run = bench(device, tmp_path, file, *TWO_BLOCKS, "--baseline", "latest", "--json", status=3)
    said = json.loads(run.stdout)
    assert said["baseline"]["status"] == "not_comparable"
    condition = "emulated no and emulated qemu-user" if emulated(device) else "device model"
    (sentence,) = said["baseline"]["sentences"]
    assert f"can be compared. Received: {condition}" in sentence
    assert len(said["measurements"]) == 1  # measured, said and stored nevertheless
    here, there = (path.stem for path in sorted(tmp_path.glob("mnet-results/*.json"), key=is_there(run)))
    refused = mnet(device, tmp_path, "results", "diff", here, there, status=2)
    assert f"Received: {condition}" in refused.messages[0]
    assert refused.stdout == ""


def is_there(run):
    stored = json.loads(run.stdout)["stored"]
    return lambda path: str(path).endswith(stored)


@pytest.mark.emulated_only
def test_the_engine_of_2023(device, tiny_models, tmp_path):
    """On a real device another engine may be set up; tflite-runtime needs NumPy 1."""
    run = bench(device, tmp_path, tiny_models[".tflite"], "--engine", "tflite-runtime", *ONE_BLOCK, "--json")
    (one,) = measurements_of(run)
    assert (one["engine"]["name"], one["engine"]["version"]) == ("tflite-runtime", "2.14.0")
    assert one["engine"]["delegate"] in ("xnnpack", "none")
    assert len(one["latency_s"]) >= 2


@pytest.mark.armhf
def test_a_32_bit_system(fresh_pi, tiny_models, tmp_path):
    pi = fresh_pi(cpu="cortex-a15")
    make_ready(pi)
    (one,) = measurements_of(bench(pi, tmp_path, tiny_models[".tflite"], *ONE_BLOCK, "--json"))
    assert (one["engine"]["name"], one["engine"]["machine"]) == ("tflite-runtime", "armv7l")
    assert one["emulated"] == "qemu-user"
    refused = bench(pi, tmp_path, tiny_models[".onnx"], *ONE_BLOCK, status=3)
    assert "onnxruntime cannot be used there: it is not installed" in refused.messages[0]
    assert (pi.processes(), pi.temporary_files()) == ([], [])


def test_an_engine_that_the_file_does_not_run_on(device, tiny_models, tmp_path):
    run = bench(device, tmp_path, tiny_models[".tflite"], "--engine", "onnxruntime", *ONE_BLOCK, status=2)
    assert run.messages == [
        f"{tiny_models['.tflite'].name} runs on litert or tflite-runtime or benchmark_model. "
        "Received: --engine onnxruntime"
    ]


def test_the_layers_are_those_of_the_model(device, tiny_models, tmp_path):
    run = bench(device, tmp_path, *tiny_models.values(), *ONE_BLOCK, "--layers", "--json")
    timed = {one["engine"]: one for one in json.loads(run.stdout)["layers"]}
    names = [layer.name for layer in read_artifact(tiny_models[".tflite"]).spec.layers()]
    assert {engine: one["unavailable"] for engine, one in timed.items()} == {"litert": None, "onnxruntime": None}
    assert timed["litert"]["source"] == "LiteRT profiler"
    assert timed["onnxruntime"]["source"] == "onnxruntime profile"
    for one in timed.values():
        assert [layer["name"] for layer in one["layers"]] == names
        convolutions = [layer for layer in one["layers"] if "conv" in layer["kind"]]
        assert all(layer["time_s"] > 0 for layer in convolutions)
        assert one["sum_s"] > 0


def test_pinning_sets_the_governor_and_sets_it_back(fresh_pi, tiny_models, tmp_path):
    pi = fresh_pi(governor_writable=True)
    make_ready(pi)
    before = pi.governor()
    words = ("bench", tiny_models[".tflite"], "--device", pi.address, *TWO_BLOCKS, "--pin", "--json")
    with Run(tmp_path, *words, ssh_config=pi.ssh_config) as run:
        run.until_round(1, pi)
        assert pi.governor() == "performance" != before
        assert run.end() in (0, 1), run.said()
    assert pi.governor() == before
    (one,) = measurements_of(run)
    assert {state["governor"] for state in (one["before"], one["after"])} == {"performance"}
    assert one["deviations"]["pin"] is True
    assert (pi.processes(), pi.temporary_files()) == ([], [])


def test_check_says_ready(device, tmp_path):
    run = mnet(device, tmp_path, "device", "check", "--device", device.address)
    assert run.stdout.splitlines()[-1] == "ready"
    found = json.loads(mnet(device, tmp_path, "device", "check", "--json", "--device", device.address).stdout)
    assert found["ready"] is True
    assert found["device"]["emulated"] == emulated(device)
    assert {"litert", "onnxruntime"} <= set(found["python"]["engines"])


@pytest.mark.emulated_only
def test_nothing_is_left(device):
    """After all of the above; a real device has processes and files of its own."""
    until(lambda: not device.processes(), "an end")
    assert device.temporary_files() == []
