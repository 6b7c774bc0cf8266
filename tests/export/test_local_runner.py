import ast
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mnet_deploy.errors import CommandFailed, CommandTimeout, LinkLost, ToolMissing
from mnet_deploy.graph_readers import read_graph
from mnet_deploy.runners import local
from mnet_deploy.runners.on_device import agent

INPUTS = np.arange(6, dtype=np.float32).reshape(3, 2)
ENGINES = ("ai_edge_litert", "tflite_runtime", "onnxruntime")

# What the real agent does; ENDING is the test's.
FAKE = """
import json, os, signal, sys
import numpy as np
options = dict(zip(sys.argv[2::2], sys.argv[3::2]))
inputs = np.load(options["--inputs"])
end = {"event": "end", "nonce": options["--nonce"], "count": len(inputs)}
def say(**fields): print(json.dumps(fields), flush=True)
say(event="start", engine="fake", engine_version="1.2", python="3")
np.save(options["--outputs"], inputs * 2)
ENDING
"""


@pytest.fixture
def with_agent(tmp_path, monkeypatch):
    """Return a function that runs `local.infer` with an agent that ends in another way."""

    def run(ending, *, without="", **options):
        fake = FAKE.replace("ENDING", ending).replace(f"{without}=", "other=" if without else "=")
        (tmp_path / "agent.py").write_text(fake, encoding="utf-8")
        monkeypatch.setattr(local, "files", lambda package: tmp_path)
        return local.infer(tmp_path / "model.tflite", INPUTS, **options)

    return run


def test_a_complete_answer_is_returned_with_its_engine(with_agent):
    result = with_agent("say(**end)")
    assert (result.outputs == INPUTS * 2).all()
    assert (result.engine, result.engine_version) == ("fake", "1.2")


def test_what_an_engine_prints_between_the_lines_is_no_line(with_agent):
    result = with_agent('print("INFO: delegate"); print("[1]"); say(**end); print("bye")')
    assert result.engine == "fake"


@pytest.mark.parametrize(
    "ending",
    [
        "",
        'print(json.dumps(end)[:-3], end="")',
        'say(**{**end, "nonce": "of another run"})',
        'say(**end); say(event="start")',
    ],
)
def test_an_answer_without_its_last_line_is_no_answer(with_agent, ending):
    with pytest.raises(LinkLost, match=r"model\.tflite: the agent ended without its last line; run it again"):
        with_agent(ending)


def test_an_answer_to_fewer_inputs_is_no_answer(with_agent):
    with pytest.raises(LinkLost, match=r"model\.tflite: 3 inputs were given and 2 answered; run it again"):
        with_agent('say(**{**end, "count": 2})')


@pytest.mark.parametrize("field", ["engine", "engine_version"])
def test_a_first_line_without_the_engine_is_no_answer(with_agent, field):
    with pytest.raises(LinkLost, match=rf"model\.tflite: what arrived is damaged: start has {field}"):
        with_agent("say(**end)", without=field)


@pytest.mark.parametrize(
    "damage", ["os.remove(path)", "open(path, 'wb').close()", "os.truncate(path, 100)", "os.truncate(path, 130)"]
)
def test_answers_that_cannot_be_read_are_a_lost_link(with_agent, damage):
    with pytest.raises(LinkLost, match="answers cannot be read"):
        with_agent(f'path = options["--outputs"]; {damage}; say(**end)')


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGKILL])
def test_a_crash_of_the_engine_is_named_by_its_signal(with_agent, number):
    with pytest.raises(CommandFailed, match=rf"model\.tflite: the engine was killed by {number.name}") as caught:
        with_agent(f"os.kill(os.getpid(), {int(number)})")
    assert caught.value.return_code == -number


def test_an_exception_in_the_agent_is_said_in_its_own_words(with_agent):
    with pytest.raises(CommandFailed, match=r"exit status 1 .RuntimeError: no such op: FLEX.") as caught:
        with_agent('raise RuntimeError("no such op: FLEX")')
    assert "Traceback" in caught.value.output


def test_a_missing_engine_says_what_to_install(with_agent):
    with pytest.raises(ToolMissing, match=r"pip install 'mnet-deploy\[litert\]'"):
        with_agent('say(event="error", kind="engine_missing", message="no tflite_runtime", engine=None); sys.exit(1)')


def test_an_agent_that_hangs_is_stopped(with_agent, monkeypatch):
    monkeypatch.setattr(local, "START_TIMEOUT_S", 1.0)
    monkeypatch.setattr(local, "TIMEOUT_PER_INPUT_S", 0.0)
    with pytest.raises(CommandTimeout, match="did not end within 1 s"):
        with_agent("signal.pause()")


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x1c\x00\x00\x00TFL3" + bytes(200)])
def test_garbage_is_one_line(tmp_path, content):
    path = tmp_path / "garbage.tflite"
    path.write_bytes(content)
    with pytest.raises(CommandFailed, match=r"garbage\.tflite: \w+Error: ") as caught:
        local.infer(path, INPUTS)
    assert "\n" not in str(caught.value)


def test_a_missing_model_is_one_line(tmp_path):
    with pytest.raises(CommandFailed, match=r"missing\.tflite: FileNotFoundError: "):
        local.infer(tmp_path / "missing.tflite", INPUTS)


AGENT = Path(agent.__file__)


def test_the_agent_is_python_3_9():
    tree = ast.parse(AGENT.read_text(encoding="utf-8"), feature_version=(3, 9))
    matches = [node for node in ast.walk(tree) if isinstance(node, ast.Match)]
    assert matches == []


def test_the_agent_needs_the_standard_library_numpy_and_an_engine_only():
    tree = ast.parse(AGENT.read_text(encoding="utf-8"))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    roots = {name.partition(".")[0] for name in imported}
    assert roots - set(sys.stdlib_module_names) == {"numpy", *ENGINES}


def test_the_agent_says_start_and_end_on_json_lines(colour_export, colour_inputs, tmp_path):
    given, answered = tmp_path / "in.npy", tmp_path / "out.npy"
    np.save(given, colour_inputs)
    model = colour_export / "mobilenet_v1_0.25_32_int8.tflite"
    options = ["--model", model, "--inputs", given, "--outputs", answered, "--nonce", "n0"]
    done = subprocess.run([sys.executable, "-I", AGENT, "infer", *options], capture_output=True, text=True, check=True)
    first, last = map(json.loads, done.stdout.splitlines())
    assert first["event"] == "start"
    assert first["engine"] in {"ai-edge-litert", "tflite-runtime"}
    assert last == {"event": "end", "nonce": "n0", "count": len(colour_inputs)}
    assert np.load(answered).argmax(axis=1).tolist() == [0, 1, 2, 3, 4]


def test_local_numbers_are_those_of_the_agent_whatever_the_threads(colour_export, colour_inputs):
    model = colour_export / "mobilenet_v1_0.25_32_int8.tflite"
    one, two = (local.infer(model, colour_inputs, threads=threads).outputs for threads in (1, 2))
    assert one.dtype == np.int8
    assert (one == two).all()


def test_inputs_of_another_shape_or_type_are_one_line(colour_export, colour_inputs):
    model = colour_export / "mobilenet_v1_0.25_32_int8.tflite"
    for wrong in (colour_inputs.astype(np.float32), colour_inputs[:, :16]):
        with pytest.raises(CommandFailed, match=r"tflite: ValueError: Cannot set tensor"):
            local.infer(model, wrong)


INNER = """
names = json.load(open(options["--tensors"]))
np.savez(options["--tensors-out"], **{str(number): inputs + number for number in range(len(names))})
"""


def test_tensors_inside_the_model_come_by_name(with_agent):
    result = with_agent(f"{INNER}say(**end)", tensors=("a/b;c", "d"))
    assert {name: values.tolist() for name, values in result.tensors.items()} == {
        "a/b;c": INPUTS.tolist(),
        "d": (INPUTS + 1).tolist(),
    }
    assert with_agent("say(**end)").tensors == {}


@pytest.mark.parametrize(
    "damage",
    ["os.remove(path)", "os.truncate(path, 100)", "np.savez(path)", "open(path, 'wb').close()"],
)
def test_tensors_that_cannot_be_read_are_a_lost_link(with_agent, damage):
    with pytest.raises(LinkLost, match="answers cannot be read"):
        with_agent(f'{INNER}path = options["--tensors-out"]; {damage}; say(**end)', tensors=("a",))


def test_an_int8_file_gives_the_values_between_its_ops(colour_export, colour_inputs):
    model = colour_export / "mobilenet_v1_0.25_32_int8.tflite"
    graph = read_graph(model)
    first, last = graph.ops[0].outputs[0], graph.outputs[0]
    result = local.infer(model, colour_inputs, tensors=(first, last))
    assert result.tensors[first].shape == (5, 16, 16, 8)
    assert result.tensors[first].dtype == np.int8
    assert (result.tensors[last] == result.outputs).all()
    with pytest.raises(CommandFailed, match=r"ValueError: the model has no tensor nowhere"):
        local.infer(model, colour_inputs, tensors=("nowhere",))


@pytest.mark.parametrize("module", ["mnet_deploy.converters.onnx_float", "mnet_deploy.converters.float_pass"])
def test_onnx_runtime_leaves_nothing_behind_and_reports_nothing(tmp_path, module):
    """Its packages report to Microsoft by default, and keep an identifier in the folder for temporary files."""
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    command = [sys.executable, "-c", f"import {module}, onnxruntime"]
    subprocess.run(command, env=environment | {"TMPDIR": str(tmp_path)}, check=True)
    assert list(tmp_path.iterdir()) == []
