"""mnet-runner, built for this machine, against the agent: the same command line, lines, answers and errors."""

import hashlib
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from mnet_deploy.converters.calibrated_quantizer import quantize_plainly
from mnet_deploy.converters.folded_graph import fold
from mnet_deploy.converters.onnx_float import write_float as onnx_float
from mnet_deploy.converters.onnx_int8 import write_int8 as onnx_int8
from mnet_deploy.converters.options import IoType, OnnxOptions
from mnet_deploy.converters.tflite_writer import write_float as tflite_float
from mnet_deploy.converters.tflite_writer import write_int8 as tflite_int8
from mnet_deploy.errors import SpecError
from mnet_deploy.models.weights import random_weights
from mnet_deploy.runners.device_events import End, InferStart, Ready, Refused, Samples, Start, Usage, Warmup, read_event
from mnet_deploy.runners.native.build import build_runner, host_target
from mnet_deploy.runners.native.engine_library import VERSIONS, installed_library
from mnet_deploy.runners.on_device import agent
from mnet_deploy.spec import ModelSpec

try:
    TARGET = host_target()
except SpecError:
    TARGET = None
pytestmark = pytest.mark.skipif(
    TARGET is None or find_spec("ziglang") is None,
    reason="needs Linux with glibc, and the compiler: pip install ziglang",
)

SPEC = ModelSpec(alpha=0.25, resolution_px=32, classes=10)
SHORT = ("--warmup-count", "3", "--warmup-s", "0", "--block-s", "0", "--min-count", "5")
ENDLESS = ("--warmup-s", "0", "--warmup-count", "1", "--block-s", "1000", "--max-count", "10000000")
TIMEOUT_S = 60
EVENTS = {kind.NAME: kind for kind in (Start, Ready, Warmup, Samples, Usage, End)}


@pytest.fixture(scope="module")
def runner(tmp_path_factory):
    """The program with the libraries that are installed here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        argv = [str(build_runner(TARGET))]
    for engine in VERSIONS:
        found = installed_library(engine)
        argv += ["--library", f"{engine}={found.path}", "--library-version", f"{engine}={found.version}"]
    return argv


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Paths of small models by name."""
    folder, graph = tmp_path_factory.mktemp("models"), fold(SPEC, random_weights(SPEC, seed=0))
    images = np.random.default_rng(0).uniform(-1, 1, (8, 32, 32, 3)).astype(np.float32)
    quantized = quantize_plainly(graph, images)
    contents = {
        "fp32.tflite": tflite_float(graph),
        "int8.tflite": tflite_int8(quantized),
        "uint8.tflite": tflite_int8(quantized, IoType.UINT8),
        "fp32.onnx": onnx_float(graph, OnnxOptions()),
        "int8.onnx": onnx_int8(quantized, OnnxOptions()),
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    (folder / "failing.onnx").write_bytes(failing_onnx())
    (folder / "places.onnx").write_bytes(places_onnx())
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(folder / "fp32.ort")
    options.add_session_config_entry("session.save_model_format", "ORT")
    onnxruntime.InferenceSession(contents["fp32.onnx"], options, providers=["CPUExecutionProvider"])
    return {path.name: path for path in folder.iterdir()}


def failing_onnx():
    """Return a model that takes an index out of its input, and fails where there is no such place."""
    nodes = [
        helper.make_node("Mul", ["x", "factor"], ["large"]),
        helper.make_node("Cast", ["large"], ["index"], to=TensorProto.INT64),
        helper.make_node("Gather", ["two", "index"], ["y"]),
    ]
    values = [
        onnx.numpy_helper.from_array(np.float32(1e6), "factor"),
        onnx.numpy_helper.from_array(np.float32([1, 2]), "two"),
    ]
    given, answered = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4]) for name in "xy")
    graph = helper.make_graph(nodes, "failing", [given], [answered], values)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8).SerializeToString()


def places_onnx():
    """Return a model that answers with the places of what is not zero, so that its values decide on the shape."""
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])
    answered = helper.make_tensor_value_info("y", TensorProto.INT64, [2, "count"])
    graph = helper.make_graph([helper.make_node("NonZero", ["x"], ["y"])], "places", [given], [answered])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8).SerializeToString()


def start(program, name, model, *options, **how):
    argv = [*program, name, "--model", str(model), "--nonce", "n0", *map(str, options)]
    return subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, **how)


def run(program, name, model, *options, status=0):
    """Run a program to its end with an open standard input; return its events."""
    with start(program, name, model, *options) as started:
        events = [json.loads(line) for line in started.stdout]
        assert started.wait(TIMEOUT_S) == status, events
    return events


def refusal(program, name, model, *options):
    (event,) = run(program, name, model, *options, status=1)
    assert event["event"] == "error"
    return read_event(Refused, event, "it")


AGENT = (sys.executable, "-I", agent.__file__)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("fp32.tflite", ()),
        ("fp32.tflite", ("--no-xnnpack",)),
        ("int8.tflite", ()),
        ("int8.tflite", ("--no-xnnpack",)),
        ("uint8.tflite", ()),
        ("fp32.onnx", ()),
        ("fp32.onnx", ("--no-optimizer",)),
        ("int8.onnx", ()),
        ("fp32.ort", ()),
    ],
)
def test_the_answers_are_the_agents_to_the_last_bit(runner, models, tmp_path, name, options):
    kind = np.dtype(name.partition(".")[0].replace("fp", "float") if name.endswith("tflite") else "float32")
    layout = (32, 32, 3) if name.endswith("tflite") else (3, 32, 32)
    np.save(tmp_path / "in.npy", agent.random_values((4, *layout), kind))
    said = []
    for program, out in ((AGENT, "theirs.npy"), (runner, "ours.npy")):
        files = ("--inputs", tmp_path / "in.npy", "--outputs", tmp_path / out)
        started, *_, end = run(program, "infer", models[name], *files, *options)
        assert end == {"event": "end", "nonce": "n0", "count": 4}
        said.append(read_event(InferStart, started, "it"))
    assert said[1] == replace(said[0], runner="mnet-runner")
    assert (tmp_path / "ours.npy").read_bytes() == (tmp_path / "theirs.npy").read_bytes()
    assert len(np.unique(np.load(tmp_path / "ours.npy"), axis=0)) > 1


@pytest.mark.parametrize("name", ["fp32.tflite", "int8.tflite", "uint8.tflite", "fp32.onnx", "int8.onnx", "fp32.ort"])
def test_a_block_is_complete_and_says_what_the_agent_says(runner, models, tmp_path, name):
    cpu = max(os.sched_getaffinity(0))
    options = (*SHORT, "--affinity", cpu, "--pid-file", tmp_path / "pid")
    events = run(runner, "time", models[name], *options)
    assert [event["event"] for event in events] == ["start", "ready", "warmup", "samples", "usage", "end"]
    started, ready, warmup, samples, usage, end = (read_event(EVENTS[event["event"]], event, "it") for event in events)
    assert started.affinity == (cpu,)
    assert min(ready.import_s, ready.init_s) > 0
    assert (len(warmup.latency_s), len(samples.latency_s)) == (3, 5)
    assert min(warmup.latency_s + samples.latency_s) > 0
    assert 0 < sum(samples.latency_s) < usage.wall_s
    assert usage.cpu_s > 0
    assert usage.peak_rss_bytes > 1_000_000
    assert end == End(nonce="n0", count=5)
    assert (events[0]["runner"], events[0]["runner_version"]) == ("mnet-runner", "1")
    assert list(tmp_path.iterdir()) == []
    theirs = run(AGENT, "time", models[name], *options)[0]
    others = {"pid", "runner", "runner_version", "python", "numpy", "delegate_evidence"}
    assert {key: value for key, value in events[0].items() if key not in others} == {
        key: value for key, value in theirs.items() if key not in others
    }


def test_without_a_delegate_every_node_runs_by_itself(runner, models):
    default = run(runner, "time", models["int8.tflite"], *SHORT)[0]
    without = run(runner, "time", models["int8.tflite"], *SHORT, "--delegate", "none")[0]
    assert (default["delegate"], without["delegate"]) == ("xnnpack", "none")
    assert 0 == without["delegated_nodes"] < default["delegated_nodes"] <= default["nodes"] == without["nodes"]
    assert "profiler" in default["delegate_evidence"]


def test_samples_come_in_lines_of_bounded_length_up_to_the_largest_count(runner, models):
    events = run(runner, "time", models["int8.tflite"], "--warmup-s", "0", "--block-s", "1000", "--max-count", "2500")
    assert [len(event["latency_s"]) for event in events if event["event"] == "samples"] == [1000, 1000, 500]
    assert events[-1]["count"] == 2500


@pytest.mark.parametrize(("min_count", "max_count", "expected"), [(1, 100, 1), (7, 100, 7), (7, 3, 3)])
def test_the_loop_keeps_to_its_counts(runner, models, min_count, max_count, expected):
    options = ("--warmup-s", "0", "--block-s", "0", "--min-count", min_count, "--max-count", max_count)
    assert run(runner, "time", models["int8.tflite"], *options)[-1]["count"] == expected


@pytest.mark.parametrize("more", [0, 1, 7, 8, 9, 55, 56, 63, 64, 4096])
def test_the_digest_is_that_of_the_file(runner, models, tmp_path, more):
    content = models["int8.tflite"].read_bytes()
    (tmp_path / "model.tflite").write_bytes(content + bytes(-len(content) % 4096 + more))  # readers stop before
    started = run(runner, "time", tmp_path / "model.tflite", *SHORT)[0]
    assert started["model_sha256"] == hashlib.sha256((tmp_path / "model.tflite").read_bytes()).hexdigest()


def test_session_options_are_the_agents(runner, models):
    options = {
        "graph_optimization_level": "ORT_DISABLE_ALL",
        "execution_mode": "ORT_SEQUENTIAL",
        "enable_mem_pattern": "false",
        "enable_cpu_mem_arena": "true",
        "inter_op_num_threads": "1",
        "session.intra_op.allow_spinning": "0",
    }
    given = [text for key, value in options.items() for text in ("--session-option", f"{key}={value}")]
    ours, theirs = (
        run(program, "time", models["fp32.onnx"], *SHORT, *given, "--threads", "2")[0] for program in (runner, AGENT)
    )
    assert ours["session_options"] == theirs["session_options"] == {"intra_op_num_threads": "2", **options}


@pytest.mark.parametrize(
    ("name", "options", "kind", "said"),
    [
        ("int8.tflite", ("--engine", "onnxruntime"), "wrong_engine", "onnxruntime does not run int8.tflite"),
        ("int8.onnx", ("--engine", "litert"), "wrong_engine", "litert does not run int8.onnx; onnxruntime does"),
        ("int8.tflite", ("--engine", "tflite-runtime"), "engine_missing", "has no C library"),
        ("int8.tflite", ("--affinity", "1023"), "affinity_refused", "no CPUs 1023"),
        ("int8.tflite", ("--affinity", "4095"), "affinity_refused", "Received: 4095"),
        ("int8.tflite", ("--affinity", "one"), "affinity_refused", "Received: one"),
        ("int8.tflite", ("--session-option", "a=1"), "option_refused", "is for onnxruntime"),
        ("int8.onnx", ("--delegate", "none"), "option_refused", "has no delegate"),
        ("int8.onnx", ("--session-option", "nonsense=1"), "option_refused", "takes no session option nonsense=1"),
        ("int8.onnx", ("--session-option", "execution_mode=1"), "option_refused", "takes no session option"),
        ("int8.onnx", ("--session-option", "intra_op_num_threads=2"), "option_refused", "otherwise than --threads"),
        ("failing.onnx", (), "run_failed", "call 1: Non-zero status code"),
    ],
)
def test_what_cannot_be_done_is_one_error_line(runner, models, tmp_path, name, options, kind, said):
    error = refusal(runner, "time", models[name], *SHORT, *options, "--pid-file", tmp_path / "pid")
    assert (error.kind, said in error.message) == (kind, True), error
    assert error.engine == (options[1] if "--engine" in options else None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("counts", [(4, 1), (1, 4)])
def test_answers_of_several_shapes_are_refused(runner, models, tmp_path, counts):
    np.save(tmp_path / "in.npy", np.array([[place < count for place in range(4)] for count in counts], np.float32))
    files = ("--inputs", tmp_path / "in.npy", "--outputs", tmp_path / "out.npy")
    error = refusal(runner, "infer", models["places.onnx"], *files)
    assert (error.kind, error.message.partition(":")[0]) == ("failed", "input 1")


def test_layers_are_the_agents(runner, models):
    assert refusal(runner, "layers", models["int8.tflite"], "--runs", "5").kind == "layers_unavailable"


def test_tensors_inside_are_the_agents(runner, models, tmp_path):
    files = ("--inputs", tmp_path / "in.npy", "--outputs", tmp_path / "out.npy", "--tensors", tmp_path / "names.json")
    assert refusal(runner, "infer", models["int8.tflite"], *files).kind == "option_refused"


@pytest.mark.parametrize(
    "name", ["missing.tflite", "cut.tflite", "cut.onnx", "empty.onnx", "empty.tflite", "noise.tflite", "noise.onnx"]
)
def test_a_model_that_the_engine_refuses(runner, models, tmp_path, name):
    path = tmp_path / name
    content = models[f"int8{path.suffix}"].read_bytes()
    contents = {"cut": content[: len(content) // 2], "empty": b"", "noise": bytes(range(256)) * 8}
    if path.stem in contents:
        path.write_bytes(contents[path.stem])
    assert refusal(runner, "time", path, *SHORT).kind == "model_refused"


def test_any_name_comes_back_as_text(runner, tmp_path):
    error = refusal(runner, "time", os.fsencode(tmp_path / 'a "b"\\\n\u00e9').decode() + "\udcff.tflite", *SHORT)
    assert 'a "b"\\ \u00e9\ufffd.tflite' in error.message


@pytest.mark.parametrize("engine", VERSIONS)
@pytest.mark.parametrize(
    ("library", "kind", "said"),
    [
        ("libnowhere.so", "engine_missing", "libnowhere.so: cannot open shared object file"),
        ("{folder}/gone.so", "engine_missing", "give it as --library {engine}=FILE"),
        ("{folder}/broken.so", "engine_broken", "broken.so"),
        ("libc.so.6", "engine_broken", "binary and library of different versions: this program was written for"),
    ],
)
def test_a_library_that_does_not_do(runner, models, tmp_path, engine, library, kind, said):
    (tmp_path / "broken.so").write_bytes(b"\x7fELF" + bytes(1000))
    name = {"litert": "int8.tflite", "onnxruntime": "int8.onnx"}[engine]
    program = [runner[0], "--library", f"{engine}={library.format(folder=tmp_path)}"]
    error = refusal(program, "time", models[name], *SHORT, "--engine", engine)
    assert (error.kind, error.engine) == (kind, engine)
    assert said.format(engine=engine) in error.message


@pytest.mark.parametrize(
    ("said", "name", "message"),
    [
        ("onnxruntime=1.0.0", "int8.onnx", "expected version 1.0.0 of onnxruntime. Received: "),
        ("litert=2.4.0", "int8.tflite", "written for ai-edge-litert 2.3.*, and the library is of 2.4.0"),
        ("litert=2.30.0", "int8.tflite", "the library is of 2.30.0"),
    ],
)
def test_a_library_of_another_version_is_refused(runner, models, said, name, message):
    error = refusal([*runner, "--library-version", said], "time", models[name], *SHORT)
    assert (error.kind, message in error.message) == ("engine_broken", True), error


def npy(header, data=bytes(3072), version=1, length=None):
    length = len(header) if length is None else length
    return b"\x93NUMPY" + bytes([version, 0]) + length.to_bytes(2 if version == 1 else 4, "little") + header + data


HEADER = b"{'descr': '|i1', 'fortran_order': False, 'shape': (1, 32, 32, 3), }\n"


def infer(program, models, folder, content):
    (folder / "in.npy").write_bytes(content)
    files = ("--inputs", folder / "in.npy", "--outputs", folder / "out.npy")
    return (program, "infer", models["int8.tflite"], *files)


@pytest.mark.parametrize("version", [1, 2, 3])
def test_every_version_of_the_format_is_read(runner, models, tmp_path, version):
    run(*infer(runner, models, tmp_path, npy(HEADER, version=version)))
    assert np.load(tmp_path / "out.npy").shape == (1, 10)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x93NUM",
        npy(HEADER)[:40],
        npy(HEADER)[:-1],
        npy(HEADER, version=4),
        npy(HEADER, length=60_000),
        npy(HEADER, version=2, length=1 << 31),
        npy(b"{}"),
        npy(HEADER.replace(b"False", b"True")),
        npy(HEADER.replace(b"|i1", b">i2"), bytes(6144)),
        npy(HEADER.replace(b"|i1", b"|O")),
        npy(HEADER.replace(b"|i1", b"<f4"), bytes(12288)),
        npy(HEADER.replace(b"(1, ", b"(0, ")),
        npy(HEADER.replace(b"(1, ", b"(-1, ")),
        npy(HEADER.replace(b"(1, ", b"(9223372036854775807, ")),
        npy(HEADER.replace(b"(1, ", b"(99999999999999999999, ")),
        npy(HEADER.replace(b"(1, 32", b"(2, 16")),
        npy(HEADER.replace(b"(1, 32, 32, 3)", b"(1, 3072)")),
        npy(HEADER.replace(b"(1, 32, 32, 3)", b"()"), bytes(1)),
        npy(HEADER.replace(b"(1, 32, 32, 3)", b"(" + b"1, " * 40 + b")")),
        npy(HEADER.replace(b", 3), }", b", 3")),
    ],
)
def test_inputs_that_are_damaged_or_do_not_fit(runner, models, tmp_path, content):
    assert refusal(*infer(runner, models, tmp_path, content)).kind == "failed"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "expected time, infer or layers. Received: nothing"),
        (["run"], "expected time, infer or layers. Received: run"),
        (["time", "--nonce", "n"], "--model and --nonce are needed"),
        (["time", "--model"], "--model takes a value"),
        (["time", "--modell", "m"], "there is no option --modell here"),
        (["time", "--inputs", "m"], "there is no option --inputs here"),
        (["time", "--library", "litert=m"], "there is no option --library here"),
        (["--library", "m", "time"], "--library takes KEY=VALUE. Received: m"),
        (["time", "--threads", "0"], "--threads takes a number from 1. Received: 0"),
        (["time", "--block-s", "nan"], "--block-s takes seconds. Received: nan"),
        (["time", "--engine", "torch"], "--engine takes litert or onnxruntime. Received: torch"),
        (["time", "--delegate", "gpu"], "--delegate takes default or none. Received: gpu"),
        (["infer", "--model", "m", "--nonce", "n"], "infer needs --inputs and --outputs"),
        (["time", "--model", "m", "--nonce", "n", "more"], "one argument too many: more"),
    ],
)
def test_a_wrong_command_line_ends_with_status_2(runner, arguments, said):
    done = subprocess.run([runner[0], *arguments], capture_output=True, text=True, timeout=TIMEOUT_S)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"mnet-runner: {said} (see --help)\n"


def test_help_says_how_it_is_called(runner):
    done = subprocess.run([runner[0], "--help"], capture_output=True, text=True, check=True, timeout=TIMEOUT_S)
    assert done.stdout.startswith("usage: mnet-runner [--library ENGINE=FILE]")


@pytest.fixture
def block_of_a_thousand_seconds(runner, models, tmp_path):
    """A runner in the middle of a long block."""
    with start(runner, "time", models["int8.tflite"], *ENDLESS, "--pid-file", tmp_path / "pid") as process:
        while not (tmp_path / "pid").exists() or (tmp_path / "pid").read_text("ascii") != f"{process.pid}\n":
            assert process.poll() is None
        yield process
        process.kill()


def test_the_end_of_standard_input_ends_a_long_block(block_of_a_thousand_seconds, tmp_path):
    block_of_a_thousand_seconds.stdin.write(b"still here\n")
    block_of_a_thousand_seconds.stdin.close()
    assert block_of_a_thousand_seconds.wait(TIMEOUT_S) == agent.EXIT_STDIN_ENDED
    assert block_of_a_thousand_seconds.stdout.read() == b""
    assert list(tmp_path.iterdir()) == []


def test_sigterm_ends_a_long_block(block_of_a_thousand_seconds):
    block_of_a_thousand_seconds.terminate()
    assert block_of_a_thousand_seconds.wait(TIMEOUT_S) == -signal.SIGTERM


def test_the_deadline_ends_a_long_block(runner, models, tmp_path):
    options = (*ENDLESS, "--deadline-s", "0.3", "--pid-file", tmp_path / "pid")
    assert run(runner, "time", models["int8.tflite"], *options, status=agent.EXIT_DEADLINE) == []
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def stuck(tmp_path):
    """A model that never comes: a pipe that nobody writes to."""
    os.mkfifo(tmp_path / "model.tflite")
    return tmp_path / "model.tflite"


@pytest.mark.parametrize("name", ["time", "infer"])
def test_a_program_that_hangs_ends_at_the_deadline(runner, stuck, name):
    files = ("--inputs", stuck, "--outputs", stuck) if name == "infer" else ()
    assert run(runner, name, stuck, *files, "--deadline-s", "0.2", status=agent.EXIT_DEADLINE) == []


def test_a_program_that_hangs_ends_with_standard_input(runner, stuck):
    with start(runner, "time", stuck) as process:
        process.stdin.close()
        assert process.wait(TIMEOUT_S) == agent.EXIT_STDIN_ENDED


def test_sigterm_ends_it_even_where_it_was_ignored(runner, stuck, tmp_path):
    shell = ("sh", "-c", 'trap "" TERM; exec "$@"', "sh")
    with start([*shell, *runner], "time", stuck, "--pid-file", tmp_path / "pid") as process:
        while not (tmp_path / "pid").exists():
            assert process.poll() is None
        process.terminate()
        assert process.wait(TIMEOUT_S) == -signal.SIGTERM


def test_infer_without_a_deadline_has_no_watchdog(runner, models, tmp_path):
    argv = infer(runner, models, tmp_path, npy(HEADER))
    with start(*argv) as process:
        process.stdin.close()
        assert process.wait(TIMEOUT_S) == 0
