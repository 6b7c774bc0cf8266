"""The agent's commands `time` and `layers`, run as a transport runs them: as a program of its own."""

import gc
import hashlib
import json
import os
import runpy
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mnet_deploy.converters.folded_graph import fold
from mnet_deploy.converters.onnx_float import write_float as onnx_float
from mnet_deploy.converters.options import OnnxOptions
from mnet_deploy.converters.tflite_writer import write_float as tflite_float
from mnet_deploy.models.weights import random_weights
from mnet_deploy.runners.on_device import agent
from mnet_deploy.spec import ModelSpec

AGENT = Path(agent.__file__)
SUMMARY_LINE = "  {op}   0.000   0.003   0.003   {share:.3f}%   80.000%   0.000   {calls}   {name}"
ROOT = Path(__file__).resolve().parents[2]
SPEC = ModelSpec(alpha=0.25, resolution_px=32, classes=10)
SHORT = ("--warmup-count", "3", "--warmup-s", "0", "--block-s", "0", "--min-count", "5")
ENDLESS = ("--warmup-s", "0", "--block-s", "1000", "--max-count", "10000000", "--deadline-s", "100")
TIMEOUT_S = 60


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Paths of a small float model by suffix."""
    folder, graph = tmp_path_factory.mktemp("models"), fold(SPEC, random_weights(SPEC, seed=0))
    contents = {"tflite": tflite_float(graph), "onnx": onnx_float(graph, OnnxOptions())}
    for suffix, content in contents.items():
        (folder / f"model.{suffix}").write_bytes(content)
    return {suffix: folder / f"model.{suffix}" for suffix in contents}


def command(name, model, *options, python=(sys.executable, "-I")):
    return [*python, str(AGENT), name, "--model", str(model), "--nonce", "n0", *map(str, options)]


def run(name, model, *options, status=0, **how):
    """Run the agent to its end with an open standard input; return its events."""
    started = start(name, model, *options, **how)
    with started:
        events = [json.loads(line) for line in started.stdout]
        assert started.wait(TIMEOUT_S) == status, events
    return events


def start(name, model, *options, python=(sys.executable, "-I"), **how):
    """Start the agent; its standard input stays open."""
    argv = command(name, model, *options, python=python)
    return subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, **how)


def named(events, name):
    (event,) = (event for event in events if event["event"] == name)
    return event


@pytest.mark.parametrize("suffix", ["tflite", "onnx"])
def test_a_block_is_complete(models, suffix, tmp_path):
    cpu = max(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    pinned = () if cpu is None else ("--affinity", cpu)
    events = run("time", models[suffix], *SHORT, *pinned, "--pid-file", tmp_path / "pid")
    assert [event["event"] for event in events] == ["start", "ready", "warmup", "samples", "usage", "end"]
    started, ready, warmup, samples, usage, end = events
    assert started["engine"] in {"ai-edge-litert", "tflite-runtime", "onnxruntime"}
    assert started["model_sha256"] == hashlib.sha256(models[suffix].read_bytes()).hexdigest()
    assert started["threads"] == 1
    assert started["affinity"] == (None if cpu is None else [cpu])
    assert min(ready["import_s"], ready["init_s"]) > 0
    assert (len(warmup["latency_s"]), len(samples["latency_s"])) == (3, 5)
    assert min(warmup["latency_s"] + samples["latency_s"]) > 0
    assert sum(samples["latency_s"]) < usage["wall_s"]
    assert usage["cpu_s"] > 0
    assert usage["peak_rss_bytes"] > 10_000_000  # NumPy alone needs more
    assert end == {"event": "end", "nonce": "n0", "count": 5}
    assert list(tmp_path.iterdir()) == []


def test_xnnpack_is_seen_in_the_graph(models):
    default = run("time", models["tflite"], *SHORT)[0]
    assert (default["delegate"], default["delegated_nodes"]) == ("xnnpack", default["nodes"])
    without = run("time", models["tflite"], *SHORT, "--delegate", "none")[0]
    assert (without["delegate"], without["delegated_nodes"], without["nodes"]) == ("none", 0, default["nodes"])


def test_samples_come_in_lines_of_bounded_length_up_to_the_largest_count(models):
    events = run("time", models["tflite"], "--warmup-s", "0", "--block-s", "1000", "--max-count", "2500")
    counts = [len(event["latency_s"]) for event in events if event["event"] == "samples"]
    assert counts == [1000, 1000, 500]
    assert named(events, "end")["count"] == 2500


def test_session_options_reach_onnxruntime(models):
    options = {"graph_optimization_level": "ORT_DISABLE_ALL", "session.intra_op.allow_spinning": "0"}
    given = [text for key, value in options.items() for text in ("--session-option", f"{key}={value}")]
    events = run("time", models["onnx"], *SHORT, *given, "--threads", "2")
    assert events[0]["session_options"] == {"intra_op_num_threads": "2", **options}
    plain, optimised = (
        named(run("layers", models["onnx"], "--runs", "1", *more), "layers")["ops"] for more in (given, ())
    )
    assert len(plain) > len(optimised)


@pytest.mark.parametrize(
    ("suffix", "options", "kind", "said"),
    [
        ("tflite", ("--engine", "onnxruntime"), "wrong_engine", "onnxruntime does not run model.tflite"),
        ("onnx", ("--engine", "litert"), "wrong_engine", "litert does not run model.onnx; onnxruntime does"),
        ("tflite", ("--affinity", "4095"), "affinity_refused", "no CPUs 4095"),
        ("tflite", ("--affinity", "one"), "affinity_refused", "ValueError"),
        ("tflite", ("--session-option", "a=1"), "option_refused", "is for onnxruntime"),
        ("onnx", ("--delegate", "none"), "option_refused", "has no delegate"),
        ("onnx", ("--session-option", "nonsense=1"), "option_refused", "takes no session option nonsense=1"),
        ("onnx", ("--session-option", "intra_op_num_threads=2"), "option_refused", "otherwise than --threads"),
    ],
)
def test_what_cannot_be_done_is_one_error_line(models, suffix, options, kind, said, tmp_path):
    events = run("time", models[suffix], *SHORT, *options, "--pid-file", tmp_path / "pid", status=1)
    assert [event["event"] for event in events] == ["error"]
    assert events[0]["kind"] == kind
    assert said in events[0]["message"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["missing.tflite", "cut.tflite", "cut.onnx", "empty.onnx", "noise.tflite"])
def test_a_model_that_the_engine_refuses(models, name, tmp_path):
    path = tmp_path / name
    content = models[path.suffix[1:]].read_bytes()
    contents = {"cut": content[: len(content) // 2], "empty": b"", "noise": bytes(range(256)) * 8}
    if path.stem in contents:
        path.write_bytes(contents[path.stem])
    (error,) = run("time", path, *SHORT, status=1)
    assert (error["event"], error["kind"]) == ("error", "model_refused")
    assert "\n" not in error["message"]


@pytest.mark.parametrize("name", ["time", "layers"])
def test_a_missing_engine_says_what_to_install(models, name):
    options = ("--engine", "litert")
    (error,) = run(name, models["tflite"], *options, status=1, python=(sys.executable, "-I", "-S"))
    assert (error["kind"], error["engine"]) == ("engine_missing", "litert")
    assert error["message"].endswith("pip install ai-edge-litert")


def test_a_system_without_affinity_says_so(monkeypatch):
    monkeypatch.delattr(agent.os, "sched_setaffinity", raising=False)
    with pytest.raises(agent.Refusal, match="has no sched_setaffinity; leave --affinity out") as caught:
        agent.set_affinity("0")
    assert caught.value.kind == "affinity_unavailable"


# What a test replaces in it decides how the engine behaves.
FAKE = """
import os, signal
import numpy as np
class OpResolverType: BUILTIN_WITHOUT_DEFAULT_DELEGATES = 1
class Interpreter:
    def __init__(self, **options): pass
    def allocate_tensors(self): os.write(1, b"INFO: "); print("allocated")
    def get_input_details(self):
        return [{"name": "in", "index": 0, "shape": [1, 2], "shape_signature": [-1, 2], "dtype": np.int8}]
    get_output_details = get_input_details
    def get_tensor_details(self): return []
    def set_tensor(self, index, values): pass
    def invoke(self): INVOKE
"""


@pytest.fixture
def fake(tmp_path, models):
    """Return a function that times with an engine that is made for it."""

    def timed(package, invoke, *, status):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").touch()
        (tmp_path / package / "interpreter.py").write_text(FAKE.replace("INVOKE", invoke), encoding="utf-8")
        how = {"python": (sys.executable, "-P"), "env": {**os.environ, "PYTHONPATH": str(tmp_path)}}
        engine = {"ai_edge_litert": "litert", "tflite_runtime": "tflite-runtime"}[package]
        return run("time", models["tflite"], *SHORT, "--engine", engine, status=status, **how)

    return timed


def test_what_an_engine_prints_stays_out_of_the_lines(fake):
    events = fake("ai_edge_litert", 'print("running")', status=0)
    assert named(events, "end")["count"] == 5
    assert named(events, "start")["delegate"] is None  # this engine does not show its graph


def test_an_engine_that_fails_while_running(fake):
    events = fake("ai_edge_litert", 'raise RuntimeError("node 3\\n failed")', status=1)
    assert events[-1]["kind"] == "run_failed"
    assert events[-1]["message"] == "RuntimeError: node 3 failed"


def test_an_engine_that_crashes_leaves_no_error_line(fake):
    events = fake("ai_edge_litert", "os.kill(os.getpid(), signal.SIGSEGV)", status=-signal.SIGSEGV)
    assert [event["event"] for event in events] == ["start", "ready"]


@pytest.mark.skipif(np.__version__.startswith("1."), reason="NumPy 1 is what tflite-runtime wants")
def test_tflite_runtime_with_numpy_2_is_refused_before_it_crashes(fake):
    (error,) = fake("tflite_runtime", "pass", status=1)
    assert error["kind"] == "engine_broken"
    assert "needs 'numpy<2'" in error["message"]


@pytest.fixture
def block_of_a_thousand_seconds(models, tmp_path):
    """An agent in the middle of a long block, and its file for the process number."""
    process = start("time", models["tflite"], *ENDLESS, "--pid-file", tmp_path / "pid")
    with process:
        assert [json.loads(process.stdout.readline())["event"] for _ in range(2)] == ["start", "ready"]
        assert (tmp_path / "pid").read_text(encoding="ascii") == f"{process.pid}\n"
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


def python_3_9():
    found = runpy.run_path(str(ROOT / "tools" / "oldest_engines.py"))["_find_python"]("3.9")
    if found is None:
        pytest.skip("needs python3.9: on the PATH, or of pyenv")
    return str(found)


@pytest.fixture(scope="module", params=["this Python", "Python 3.9"])
def any_python(request):
    return (sys.executable, "-I") if request.param == "this Python" else (python_3_9(), "-I")


@pytest.fixture
def stuck(tmp_path):
    """A model that never comes: a pipe that nobody writes to."""
    os.mkfifo(tmp_path / "model.tflite")
    return tmp_path / "model.tflite"


@pytest.mark.parametrize("name", ["time", "layers", "infer"])
def test_a_program_that_hangs_ends_at_the_deadline(any_python, stuck, name):
    files = ("--inputs", stuck, "--outputs", stuck) if name == "infer" else ()
    assert run(name, stuck, *files, "--deadline-s", "0.2", status=agent.EXIT_DEADLINE, python=any_python) == []


def test_a_program_that_hangs_ends_with_standard_input(any_python, stuck):
    with start("time", stuck, python=any_python) as process:
        process.stdin.close()
        assert process.wait(TIMEOUT_S) == agent.EXIT_STDIN_ENDED


def test_sigterm_ends_it_even_where_it_was_ignored(any_python, stuck, tmp_path):
    shell = ("sh", "-c", 'trap "" TERM; exec "$@"', "sh")
    with start("time", stuck, "--pid-file", tmp_path / "pid", python=(*shell, *any_python)) as process:
        while not (tmp_path / "pid").exists():
            assert process.poll() is None
        process.terminate()
        assert process.wait(TIMEOUT_S) == -signal.SIGTERM


def test_help_needs_neither_numpy_nor_an_engine(any_python):
    done = subprocess.run([*any_python, AGENT, "time", "--help"], capture_output=True, text=True, check=True)
    assert "--warmup-count" in done.stdout


def test_an_alarm_ends_a_program_whose_watchdog_cannot_run():
    script = (
        "import argparse, ctypes; from mnet_deploy.runners.on_device import agent; agent.ALARM_AFTER_DEADLINE_S = 0.1;"
        "agent.watch(argparse.Namespace(deadline_s=0.1, pid_file='')); ctypes.PyDLL(None).sleep(1000)"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE) as process:
        assert process.wait(TIMEOUT_S) == -signal.SIGALRM


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux' /proc")
def test_peak_memory_is_not_that_of_the_program_that_started_it():
    held = b"x" * 400_000_000
    script = "from mnet_deploy.runners.on_device import agent; print(agent.peak_rss_bytes())"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert 1_000_000 < int(done.stdout) < len(held) / 2


@pytest.mark.parametrize(("min_count", "max_count", "expected"), [(1, 100, 1), (7, 100, 7), (7, 3, 3)])
def test_the_loop_keeps_to_its_counts(min_count, max_count, expected):
    calls = []
    latencies_ns = agent.timed_loop(lambda: calls.append(0), block_s=0.0, min_count=min_count, max_count=max_count)
    assert len(latencies_ns) == len(calls) == expected


def test_the_loop_keeps_to_its_time(monkeypatch):
    ticks_ns = iter(range(0, 10**12, 10**8))  # every look at the clock costs 0.1 s
    monkeypatch.setattr(agent.time, "perf_counter_ns", lambda: next(ticks_ns))
    latencies_ns = agent.timed_loop(lambda: None, block_s=1.0, min_count=1, max_count=100)
    assert latencies_ns.tolist() == [10**8] * 5
    assert agent.in_seconds(latencies_ns) == [0.1] * 5


def test_the_collector_of_garbage_rests_during_the_loop():
    with agent.garbage_left():
        assert not gc.isenabled()
    assert gc.isenabled()


@pytest.mark.parametrize(
    ("kernel", "bytes_of_a_pointer", "expected"),
    [
        ("aarch64", 8, "aarch64"),
        ("aarch64", 4, "armv7l"),
        ("armv8l", 4, "armv7l"),
        ("armv6l", 4, "armv6l"),
        ("x86_64", 8, "x86_64"),
        ("x86_64", 4, "i686"),
    ],
)
def test_the_machine_is_that_of_the_program_not_of_the_kernel(monkeypatch, kernel, bytes_of_a_pointer, expected):
    monkeypatch.setattr(agent.platform, "machine", lambda: kernel)
    monkeypatch.setattr(agent.struct, "calcsize", lambda form: bytes_of_a_pointer)
    assert agent.machine() == expected


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "int32"])
def test_random_integers_use_the_whole_range_and_are_the_same_every_time(dtype):
    values, limits = agent.random_values([1, 100, 100, 3], dtype), np.iinfo(dtype)
    assert values.dtype == dtype
    assert (values == agent.random_values([1, 100, 100, 3], dtype)).all()
    assert values.min() < 0.99 * limits.min + 0.01 * limits.max
    assert values.max() > 0.01 * limits.min + 0.99 * limits.max


def test_random_floats_are_in_range():
    values = agent.random_values([1000], np.float16)
    assert values.dtype == np.float16
    assert -1 <= values.min() < -0.9
    assert 0.9 < values.max() <= 1


@pytest.mark.parametrize("batch", [-1, None, "batch", 1])
def test_an_open_batch_is_one(batch):
    assert agent.require_known("input", [batch, 32, 32, 3]) == [1, 32, 32, 3]


def test_other_open_sizes_are_refused():
    with pytest.raises(agent.Refusal, match="known shape but for the batch"):
        agent.require_known("input", ["batch", "height", 32, 3])


def test_nodes_of_a_delegate_are_those_between_its_tensors():
    def node(index, reads, writes):
        return {"index": index, "inputs": np.array(reads), "outputs": np.array(writes)}

    nodes = [node(0, [0, 10], [1]), node(1, [1, -1], [2]), node(2, [1], [3]), node(3, [2, 3], [4]), node(4, [4], [5])]
    assert agent.nodes_between(node(5, [0, 10], [4]), nodes) == 4
    assert agent.nodes_between(node(5, [1], [2]), nodes) == 1
    assert agent.nodes_between(node(5, [1], [4, 5]), nodes) == 4


@pytest.mark.parametrize("suffix", ["tflite", "onnx"])
def test_layers_lists_every_op_with_its_time(models, suffix):
    events = run("layers", models[suffix], "--runs", "20")
    assert [event["event"] for event in events] == ["start", "ready", "layers", "end"]
    found = named(events, "layers")
    assert found["source"] == {"tflite": "LiteRT profiler", "onnx": "onnxruntime profile"}[suffix]
    assert found["runs"] == 20
    assert found["total_s"] > 0
    assert [op["index"] for op in found["ops"]] == list(range(len(found["ops"])))
    convolutions = [op for op in found["ops"] if any(word in op["op"] for word in ("Conv", "Fully Connected"))]
    assert len(convolutions) == sum(layer.kind.has_weights for layer in SPEC.layers())
    assert {op["count"] for op in convolutions} == {1}
    assert sum(op["mean_s"] for op in convolutions) > 0  # one alone may take less than a microsecond


@pytest.mark.parametrize("options", [("--threads", "2"), ("--delegate", "none")])
def test_the_profiler_of_litert_has_limits(models, options):
    error = run("layers", models["tflite"], *options, status=1)[-1]
    assert (error["event"], error["kind"]) == ("error", "layers_unavailable")
    assert "one thread" in error["message"]


@pytest.mark.parametrize(("runs", "expected"), [(1, [1]), (10, [1] * 10), (23, [3, 3, 3, *[2] * 7])])
def test_batches_hold_all_runs(runs, expected):
    assert agent.batches(runs) == expected


def summary(*ops, total_us):
    """Return what LiteRT says of (op, name, microseconds, calls)."""
    lines = [
        SUMMARY_LINE.format(op=op, name=name, share=100 * time_us / total_us, calls=calls)
        for op, name, time_us, calls in ops
    ]
    parts = ["== Run Order ==", "  [node type]  [start]", *lines, "== Top by Computation Time ==", *reversed(lines)]
    return "\n".join([*parts, "", f"Timings (microseconds): count=2 curr={total_us}"])


def summaries(*totals_us):
    """Yield what LiteRT says after two runs, after four, ...: an op at 4/5 of the time, one at the rest."""
    for number, total_us in enumerate(totals_us, start=1):
        first = ("Delegate/Mean (ND) Reduce", "[Delegate]:0", total_us * 0.8, 2 * number)
        yield summary(first, ("SOFTMAX", "[Builtin]:1", total_us * 0.2, 6 * number), total_us=total_us), 2


def test_one_batch_on_a_busy_machine_does_not_move_the_times():
    assert agent.litert_ops(summaries(100, 90_000, 90_100, 90_200)) == [
        {"index": 0, "name": "[Delegate]:0", "op": "Delegate/Mean (ND) Reduce", "mean_s": 4e-05, "count": 1},
        {"index": 1, "name": "[Builtin]:1", "op": "SOFTMAX", "mean_s": 1e-05, "count": 3},
    ]


def test_summaries_that_start_anew_are_refused():
    first = next(summaries(100))
    with pytest.raises(ValueError, match="do not go on from each other"):
        agent.litert_ops([first, first])


@pytest.mark.parametrize("text", ["", "Timings (microseconds): count=1 curr=3", "== Run Order ==\n a b c\n"])
def test_a_summary_in_another_form_is_no_list_of_ops(text):
    with pytest.raises(ValueError, match="another form"):
        agent.parse_summary(text)
