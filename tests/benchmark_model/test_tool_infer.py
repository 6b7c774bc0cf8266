"""Answers of `benchmark_model`, with a script in its place; the engine's own are in tests/verify."""

from pathlib import Path

import numpy as np
import pytest
from answering_tool import RUNNER, starts, write_tool

from mnet_deploy.artifact import TensorInfo
from mnet_deploy.errors import CommandFailed, CommandTimeout, LinkLost, SpecError
from mnet_deploy.measurement.run_config import RunConfig
from mnet_deploy.runners.benchmark_model import tool_infer
from mnet_deploy.runners.benchmark_model.flags import Flavour
from mnet_deploy.runners.benchmark_model.tool_infer import infer_with_tool
from mnet_deploy.runners.local import Inference

INPUTS = np.arange(24, dtype=np.int8).reshape(2, 2, 2, 3) - np.int8(12)
OUTPUT = TensorInfo(name="out", shape=(1, 12), layout="NC", dtype="int8")


@pytest.fixture
def answer(session, tmp_path):
    """Ask a model that reverses the bytes of its input: `answer(what is asked for, **what the tool does)`."""

    def run(*, delegate="none", output=OUTPUT, inputs=INPUTS, least_nodes=None, options=(), name="m", **spec):
        model = tmp_path / f"{name}.tflite"
        model.write_bytes(b"a model")
        tool = write_tool(tmp_path, **{"engine": "reverse", **spec})
        config = RunConfig(
            engine="benchmark_model", delegate=delegate, session_options=options, cpu_affinity=(0,), threads=1
        )
        return infer_with_tool(session, tool, model, inputs, config=config, output=output, least_nodes=least_nodes)

    return run


def test_each_input_is_a_start_of_its_own(answer, session, tmp_path):
    found = answer()
    np.testing.assert_array_equal(found.outputs, INPUTS.reshape(2, 12)[:, ::-1])
    assert found == Inference(
        outputs=found.outputs,
        engine="benchmark_model",
        engine_version=RUNNER,
        machine="aarch64",
        delegate="none",
        runner=RUNNER,
    )
    first, second = starts(tmp_path)
    given = first.pop("input_layer_value_files")
    written = first.pop("output_filepath")
    assert first == {
        "graph": f"{session.folder}/0.tflite",
        "num_threads": "1",
        "num_runs": "1",
        "min_secs": "0",
        "max_secs": "120",
        "warmup_runs": "1",
        "warmup_min_secs": "0",
        "use_xnnpack": "false",
        "input_layer": "input",
        "input_layer_shape": "1,2,2,3",
    }
    name, _, path = given.partition(":")
    assert (name, Path(path).read_bytes()) == ("input", INPUTS[0].tobytes())
    assert len({given, second["input_layer_value_files"], written, second["output_filepath"]}) == 4


@pytest.mark.parametrize(("dtype", "count"), [("uint8", 12), ("int16", 6), ("float32", 3)])
def test_outputs_of_every_type(answer, dtype, count):
    output = TensorInfo(name="out", shape=(1, count), layout="NC", dtype=dtype)
    found = answer(output=output).outputs
    assert (found.dtype, found.shape, found.dtype.isnative) == (np.dtype(dtype), (2, count), True)
    expected = np.frombuffer(INPUTS.reshape(2, 12)[:, ::-1].tobytes(), np.dtype(dtype).newbyteorder("<"))
    assert found.tobytes() == expected.astype(dtype).tobytes()


def test_inputs_are_written_little_endian(answer):
    values = np.array([[1, 2], [3, 4]], dtype=">i2")
    output = TensorInfo(name="out", shape=(1, 4), layout="NC", dtype="uint8")
    assert answer(inputs=values, output=output).outputs.tolist() == [[0, 2, 0, 1], [0, 4, 0, 3]]


def test_a_name_with_commas_and_colons_is_no_matter(answer):
    assert len(answer(name="serving_default_x:0,1").outputs) == 2


def test_what_was_pushed_is_pushed_once(answer, session):
    answer()
    answer(delegate="xnnpack")
    pushed = [path.name for path in Path(session.folder).iterdir() if path.suffix in (".tflite", ".bin")]
    assert len([name for name in pushed if len(name) < 16]) == 1 + len(INPUTS)


@pytest.mark.parametrize(
    ("delegate", "nodes", "least", "said"),
    [
        ("none", {}, None, "none"),
        ("default", {}, None, None),  # the log does not say it
        ("xnnpack", {}, None, "xnnpack"),
        ("gpu", {}, None, "gpu"),
        ("nnapi", {}, None, "nnapi"),
        ("gpu", {"use_gpu": 30}, 30, "gpu"),
    ],
)
def test_what_computed(answer, delegate, nodes, least, said):
    assert answer(delegate=delegate, nodes=nodes, least_nodes=least).delegate == said


def test_a_delegate_that_moves_outputs(answer):
    usual, moved = answer(), answer(delegate="gpu", steps={"use_gpu": 1})
    assert set(np.abs(moved.outputs.astype(int) - usual.outputs).flat) == {1}


@pytest.mark.parametrize(
    ("asked", "spec", "words"),
    [
        (
            {},
            {"unknown": ["output_filepath"]},
            "this version of benchmark_model does not know --output_filepath=.* and",
        ),
        ({}, {"unknown": ["input_layer_value_files"]}, "does not know --input_layer_value_files=input:"),
        ({}, {"writes": False}, "the outputs of benchmark_model cannot be had: local: .*No such file"),
        ({}, {"most_bytes": 11}, r"expected 12 bytes of outputs, int8 \[1, 12\]\. Received: 11; .*no room left"),
        ({}, {"most_bytes": 0}, "Received: 0;"),
        ({}, {"more_bytes": 1}, "Received: 13;"),
        ({}, {"status": 1}, "benchmark_model ended with exit status 1"),
        ({"delegate": "gpu"}, {"nodes": {"use_gpu": 30}}, "all nodes were to run on gpu. Received: 30 of 31"),
        ({"delegate": "gpu", "least_nodes": 31}, {"nodes": {"use_gpu": 30}}, "at least 31 nodes were to run on gpu"),
    ],
)
def test_what_is_no_answer(answer, asked, spec, words):
    with pytest.raises(CommandFailed, match=words) as caught:
        answer(**asked, **spec)
    assert not isinstance(caught.value, LinkLost)
    named = "gpu delegate, " if asked else "no delegate, "
    assert str(caught.value).startswith(f"m.tflite on local (benchmark_model, {named}1 thread): ")
    assert "\n" not in str(caught.value)


def test_a_start_that_does_not_end(answer, monkeypatch):
    monkeypatch.setattr(tool_infer, "TIMEOUT_S", 0.5)
    with pytest.raises(CommandTimeout, match=r"did not end within 0\.5 s and was stopped; .*leave this delegate out"):
        answer(delegate="gpu", hangs="use_gpu")


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"flavour": Flavour.LITERT}, r"TensorFlow Lite's benchmark_model \(classic\).*Received: LiteRT's, https://x"),
        ({"options": ("input_layer=x",)}, "Received: a flag input_layer"),
        ({"options": ("num_runs=2",)}, "is set already"),
    ],
)
def test_what_the_tool_cannot_be_asked(answer, tmp_path, asked, words):
    with pytest.raises(SpecError, match=words):
        answer(**asked)
    assert starts(tmp_path) == []


def test_a_folder_that_the_tool_cannot_be_told(answer, session, tmp_path):
    session.folder = f"{tmp_path}/a:b"
    Path(session.folder).mkdir()
    with pytest.raises(SpecError, match="paths without commas and colons"):
        answer()
