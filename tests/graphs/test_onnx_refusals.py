"""What an .onnx may ask for: one line for an opset, an op or weights that are not there, or must not be read."""

import json
import os
import random
import subprocess
import sys

import numpy as np
import pytest

from mnet_deploy.child_process import ChildResult
from mnet_deploy.cli import main
from mnet_deploy.errors import CommandFailed, SpecError
from mnet_deploy.graph_facts import op_histogram
from mnet_deploy.graph_readers import read_graph
from mnet_deploy.graph_readers.graph import RefusedFile, shown
from mnet_deploy.runners.local import infer

MUTATIONS = 400


@pytest.fixture
def read(onnx):
    """Return the reader itself, without the child process around it."""
    from mnet_deploy.graph_readers.onnx_graph import read

    return read


def network(onnx, *nodes, opsets=(("", 17),), ir_version=8, stored=(), functions=()):
    """Return a model that reads x and writes y, both 1x3 floats; by default with a single Relu."""
    helper, floats = onnx.helper, onnx.TensorProto.FLOAT
    read, wrote = (helper.make_tensor_value_info(name, floats, [1, 3]) for name in "xy")
    graph = helper.make_graph(nodes or [helper.make_node("Relu", ["x"], ["y"])], "g", [read], [wrote], list(stored))
    imports = [helper.make_opsetid(*opset) for opset in opsets]
    return helper.make_model(graph, opset_imports=imports, ir_version=ir_version, functions=list(functions))


def written(model, folder, name="m.onnx"):
    path = folder / name
    path.write_bytes(model.SerializeToString())
    return path


OPSETS = {
    "newer": ([("", 99)], r"opset 1 to \d+ of ai.onnx, which onnx .* knows; received 99: .* \(17 runs everywhere\)"),
    "zero": ([("", 0)], "received 0"),
    "other name": ([("ai.onnx", 99)], "opset 1 to .* received 99"),
    "machine learning": ([("", 17), ("ai.onnx.ml", 99)], "of ai.onnx.ml, .* received 99"),
    "engine": ([("", 17), ("com.microsoft", 9)], "opset 1 to 1 of com.microsoft, .* received 9"),
    "unknown domain": ([("", 17), ("example.org", 3)], "received 'example.org' 3: a domain of custom ops"),
    "none": ([("ai.onnx.ml", 1)], r"received none of ai.onnx for 'ai.onnx::Relu' \(node 'y'\)"),
}


@pytest.mark.parametrize("name", OPSETS)
def test_an_unknown_opset_is_named_with_those_that_are_known(name, onnx, read, tmp_path):
    opsets, expected = OPSETS[name]
    with pytest.raises(RefusedFile, match=expected):
        read(written(network(onnx, opsets=opsets), tmp_path))


def test_a_newer_format_is_refused(onnx, read, tmp_path):
    with pytest.raises(RefusedFile, match=rf"IR version {onnx.IR_VERSION} or lower, .* received 99"):
        read(written(network(onnx, ir_version=99), tmp_path))


def branch(onnx, node):
    """Return an If whose branches are a graph with that node only."""
    wrote = onnx.helper.make_tensor_value_info("inner", onnx.TensorProto.FLOAT, [1, 3])
    graph = onnx.helper.make_graph([node], "branch", [], [wrote])
    return onnx.helper.make_node("If", ["yes"], ["y"], then_branch=graph, else_branch=graph)


def custom(onnx):
    return network(onnx, onnx.helper.make_node("Whirl", ["x"], ["y"], "odd", domain="example.org"))


def custom_with_opset(onnx):
    node = onnx.helper.make_node("Whirl", ["x"], ["y"], "odd", domain="example.org")
    return network(onnx, node, opsets=[("", 17), ("example.org", 1)])


def not_standard(onnx):
    return network(onnx, onnx.helper.make_node("Whirl", ["x"], ["y"], "odd"))


def newer_than_its_opset(onnx):
    return network(onnx, onnx.helper.make_node("Gelu", ["x"], ["y"], "odd"))  # since opset 20


def in_a_branch(onnx):
    yes = onnx.helper.make_tensor("yes", onnx.TensorProto.BOOL, [], [True])
    return network(onnx, branch(onnx, onnx.helper.make_node("Whirl", ["x"], ["inner"], "odd")), stored=[yes])


def in_a_function(onnx):
    helper = onnx.helper
    body = [helper.make_node("Whirl", ["a"], ["b"], "odd")]
    function = helper.make_function("own", "Turn", ["a"], ["b"], body, [helper.make_opsetid("", 17)])
    node = helper.make_node("Turn", ["x"], ["y"], domain="own")
    return network(onnx, node, opsets=[("", 17), ("own", 1)], functions=[function])


CUSTOM_OPS = {
    custom: "example.org::Whirl",
    custom_with_opset: "example.org::Whirl",
    not_standard: "ai.onnx::Whirl",
    newer_than_its_opset: "ai.onnx::Gelu",
    in_a_branch: "ai.onnx::Whirl",
    in_a_function: "ai.onnx::Whirl",
}


@pytest.mark.parametrize("model", CUSTOM_OPS)
def test_a_custom_op_is_named_with_its_node(model, onnx, read, tmp_path):
    with pytest.raises(RefusedFile, match=rf"opset 17 .* received '{CUSTOM_OPS[model]}' \(node 'odd'\)"):
        read(written(model(onnx), tmp_path))


MALFORMED = {
    "too few inputs": (("Gemm", ["x"], ["y"]), {}, r"expected 2 to 3 inputs for 'ai.onnx::Gemm' .* received 1:"),
    "too many inputs": (("Relu", ["x", "x"], ["y"]), {}, "expected 1 inputs .* received 2"),
    "too many outputs": (("Relu", ["x"], ["y", "z"]), {}, "expected 1 outputs .* received 2"),
    "no outputs": (("Relu", ["x"], []), {}, "expected an output with a name for 'ai.onnx::Relu' .* received none"),
    "no name": (("Relu", ["x"], [""]), {}, "expected an output with a name for 'ai.onnx::Relu' .* received none"),
    "variadic": (("Concat", [], ["y"]), {"axis": 1}, "expected 1 or more inputs .* received 0"),
    "attribute": (("Softmax", ["x"], ["y"]), {"axis": [1]}, "an attribute of type int .* received ints as 'axis'"),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_node_that_is_no_call_of_its_op_is_refused(name, onnx, read, tmp_path):
    node, attributes, expected = MALFORMED[name]
    with pytest.raises(RefusedFile, match=expected):
        read(written(network(onnx, onnx.helper.make_node(*node, **attributes)), tmp_path))


def test_ops_of_onnx_runtime_are_read_and_no_others_of_its_domain(onnx, read, tmp_path):
    pytest.importorskip("onnxruntime", reason="needs ONNX Runtime: pip install 'mnet-deploy[onnx]'")
    opsets = [("", 17), ("com.microsoft", 1)]
    for op_type, known in (("QuickGelu", True), ("Whirl", False)):
        node = onnx.helper.make_node(op_type, ["x"], ["y"], domain="com.microsoft")
        path = written(network(onnx, node, opsets=opsets), tmp_path)
        if known:
            assert op_histogram(read(path)) == {"com.microsoft::QuickGelu": 1}
        else:
            with pytest.raises(RefusedFile, match=r"com\.microsoft::Whirl"):
                read(path)


def test_without_onnx_runtime_its_ops_are_taken_on_trust(onnx, read, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "mnet_deploy.graph_readers.onnx_engine_ops", None)
    node = onnx.helper.make_node("Whirl", ["x"], ["y"], domain="com.microsoft")
    path = written(network(onnx, node, opsets=[("", 17), ("com.microsoft", 1)]), tmp_path)
    assert op_histogram(read(path)) == {"com.microsoft::Whirl": 1}
    with pytest.raises(RefusedFile, match="example"):
        read(written(custom(onnx), tmp_path))


def test_a_file_that_onnx_runtime_saved_is_read(onnx, read, tmp_path):
    """It declares all domains of the engine, used or not."""
    engine = pytest.importorskip("onnxruntime", reason="needs ONNX Runtime: pip install 'mnet-deploy[onnx]'")
    options = engine.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "saved.onnx")
    options.log_severity_level = 3
    engine.InferenceSession(network(onnx).SerializeToString(), options, providers=["CPUExecutionProvider"])
    assert op_histogram(read(tmp_path / "saved.onnx")) == {"Relu": 1}


def with_external(onnx, location, *, in_attribute=False, **entries):
    """Return a model whose 3x3 weight (36 bytes) lies in another file."""
    weight = onnx.TensorProto(name="w", data_type=onnx.TensorProto.FLOAT, dims=[3, 3])
    weight.data_location = onnx.TensorProto.EXTERNAL
    for key, value in {"location": location, **entries}.items():
        weight.external_data.add(key=key, value=value)
    product = onnx.helper.make_node("MatMul", ["x", "w"], ["y"])
    if not in_attribute:
        return network(onnx, product, stored=[weight])
    return network(onnx, onnx.helper.make_node("Constant", [], ["w"], value=weight), product)


@pytest.fixture
def folder(tmp_path):
    """Return a folder with 36 bytes beside the model, links in and out of it, and a secret outside."""
    folder = tmp_path / "model"
    (folder / "sub").mkdir(parents=True)
    (tmp_path / "secret").write_bytes(bytes(36))
    (folder / "weights.bin").write_bytes(bytes(36))
    (folder / "link_in").symlink_to("weights.bin")
    (folder / "link_out").symlink_to(tmp_path / "secret")
    (folder / "sub" / "up").symlink_to(tmp_path)
    (folder / "circle").symlink_to("circle")
    os.mkfifo(folder / "pipe")
    return folder


@pytest.mark.parametrize("location", ["weights.bin", "./weights.bin", "link_in"])
def test_weights_beside_the_file_are_fine_and_not_opened(location, onnx, read, folder):
    (folder / "weights.bin").chmod(0)
    graph = read(written(with_external(onnx, location), folder))
    assert (graph.tensors["w"].shape, graph.tensors["w"].constant) == ((3, 3), True)
    assert graph.metadata["external_data"] == location


OUTSIDE = {
    "../secret": "a path out of it, '../secret'",
    "sub/../../secret": "a path out of it",
    "..\\secret": "a path out of it",
    "/etc/passwd": "the absolute path '/etc/passwd'",
    "C:\\weights.bin": "the absolute path",
    "link_out": "a link out of it, 'link_out'",
    "sub/up/secret": "a link out of it",
    "circle": "'circle'; received: ",
    "gone.bin": "'gone.bin'; received: No such file or directory: copy that file there as well",
    "sub": "'sub', which is not a regular file",
    "pipe": "'pipe', which is not a regular file",
    "": "received no file name",
    "\0": "received no file name",
}


@pytest.mark.parametrize("location", OUTSIDE)
def test_weights_elsewhere_are_refused_with_the_reason(location, onnx, read, folder):
    for in_attribute in (False, True):
        path = written(with_external(onnx, location, in_attribute=in_attribute), folder)
        with pytest.raises(RefusedFile) as caught:
            read(path)
        assert OUTSIDE[location] in str(caught.value)
        assert "of tensor 'w' in a file in the folder of the .onnx" in str(caught.value)


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ({"offset": "1"}, "37 bytes in 'weights.bin', .* received 36"),
        ({"length": "37"}, "expected 36 bytes for tensor 'w' of shape 3x3; received 37"),
        ({"offset": "-1"}, "a number of bytes as the offset of its data .* received '-1'"),
        ({"length": "9" * 99}, "a number of bytes as the length"),
    ],
)
def test_weights_beside_the_file_must_be_all_there(entries, expected, onnx, read, folder):
    with pytest.raises(RefusedFile, match=expected):
        read(written(with_external(onnx, "weights.bin", **entries), folder))


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"dims": [1 << 40, 1 << 40], "raw_data": bytes(4)}, f"expected {4 << 80} bytes .* received 4"),
        ({"dims": [3], "raw_data": bytes(8)}, "expected 12 bytes for tensor 'w' of shape 3; received 8"),
        ({"dims": [1 << 62], "float_data": [0.0]}, f"expected {1 << 62} values .* received 1"),
        ({"dims": [3, -1], "raw_data": b""}, r"without negative sizes .* received \[3, -1\]"),
        ({"dims": [1], "data_type": 0, "raw_data": b""}, "an element type that onnx knows; received type 0"),
        ({"dims": [1], "data_type": 99, "raw_data": b""}, "an element type that onnx knows; received type 99"),
    ],
)
def test_a_tensor_that_claims_another_size_than_it_has_is_refused(fields, expected, onnx, read, tmp_path):
    weight = onnx.TensorProto(**{"name": "w", "data_type": onnx.TensorProto.FLOAT, **fields})
    with pytest.raises(RefusedFile, match=expected):
        read(written(network(onnx, stored=[weight]), tmp_path))


@pytest.mark.parametrize(
    ("kind", "values", "packed"),
    [
        ("INT4", 3, 2),
        ("UINT2", 5, 2),
        ("FLOAT8E4M3FN", 3, 3),
        ("BFLOAT16", 3, 6),
        ("DOUBLE", 2, 16),
        ("COMPLEX64", 2, 16),
    ],
)
def test_types_are_counted_in_bits(kind, values, packed, onnx, read, tmp_path):
    if not hasattr(onnx.TensorProto, kind):
        pytest.skip(f"onnx {onnx.__version__} does not know {kind}")
    number = getattr(onnx.TensorProto, kind)
    weight = onnx.TensorProto(name="w", data_type=number, dims=[values], raw_data=bytes(packed))
    assert read(written(network(onnx, stored=[weight]), tmp_path)).tensors["w"].shape == (values,)
    weight.raw_data = bytes(packed + 1)
    with pytest.raises(RefusedFile, match=f"expected {packed} bytes"):
        read(written(network(onnx, stored=[weight]), tmp_path))


def test_more_than_the_format_can_hold_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "huge.onnx"
    path.write_bytes(b"\x08\x08")
    os.truncate(path, 2 << 30)
    with pytest.raises(SpecError, match=r"an \.onnx of less than 2 GiB, .* received 2147483648 bytes"):
        read_graph(path)


@pytest.mark.parametrize("verb", ["inspect", "cost"])
def test_a_refusal_is_one_line_and_exit_status_2(verb, onnx, tmp_path, capfd):
    path = written(custom(onnx), tmp_path)
    assert main([verb, str(path)]) == 2
    captured = capfd.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"mnet: {path}: expected ops of opset 17 or of ONNX Runtime; received 'example.org")
    assert captured.err.count("\n") == 1


def test_names_from_a_file_cannot_break_the_line(onnx, read, tmp_path):
    node = onnx.helper.make_node("Whirl", ["x"], ["y"], "one\ntwo \x1b[31m\u202e" + "x" * 999)
    with pytest.raises(RefusedFile) as caught:
        read(written(network(onnx, node), tmp_path))
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400
    assert shown("conv_1") == "'conv_1'"


def without_kernel(onnx):
    """The standard allows Relu on int16, ONNX Runtime has no code for it."""
    model = network(onnx)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.elem_type = onnx.TensorProto.INT16
    return model


def of_unequal_shapes(onnx):
    return network(onnx, onnx.helper.make_node("MatMul", ["x", "x"], ["y"]))


REFUSED_BY_THE_ENGINE = {without_kernel: "NOT_IMPLEMENTED", of_unequal_shapes: "Incompatible dimensions"}


@pytest.mark.parametrize("model", REFUSED_BY_THE_ENGINE)
def test_what_can_be_read_but_not_run_is_one_line(model, onnx, read, tmp_path):
    pytest.importorskip("onnxruntime", reason="needs ONNX Runtime: pip install 'mnet-deploy[onnx]'")
    path = written(model(onnx), tmp_path)
    assert read(path).outputs == ("y",)
    with pytest.raises(CommandFailed, match=REFUSED_BY_THE_ENGINE[model]) as caught:
        infer(path, np.zeros((1, 3), np.int16))
    assert str(caught.value).startswith("m.onnx: ")
    assert "\n" not in str(caught.value)


def mutated(data, seed):
    """Return a copy with flipped bits, without its end, or with a piece of it somewhere else."""
    chance = random.Random(seed)
    copy = bytearray(data)
    if seed % 4 < 2:
        for _ in range(chance.choice((1, 2))):
            copy[chance.randrange(len(copy))] ^= 1 << chance.randrange(8)
    elif seed % 4 == 2:
        del copy[chance.randrange(1, len(copy)) :]
    else:
        start, at = chance.randrange(len(copy)), chance.randrange(len(copy))
        piece = copy[start : start + chance.choice((2, 16, 128))]
        copy[at : at + chance.choice((0, len(piece)))] = piece
    return bytes(copy)


READ_ALL = """
import sys
from pathlib import Path
from mnet_deploy.graph_readers import child
for path in sorted(Path(sys.argv[1]).iterdir(), key=lambda path: int(path.stem)):
    print(child._answer("onnx", path), flush=True)
"""


@pytest.fixture
def small(onnx):
    """Return a model with few weights, so that most mutations hit the graph."""
    helper, random_number = onnx.helper, random.Random(0).uniform
    kernel = helper.make_tensor("w", onnx.TensorProto.FLOAT, [3, 3], [random_number(-1, 1) for _ in range(9)])
    scale, zero = (
        helper.make_tensor(name, kind, [], [value])
        for name, kind, value in (("s", onnx.TensorProto.FLOAT, 0.1), ("z", onnx.TensorProto.INT8, 3))
    )
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], "quantize"),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["r"], "dequantize"),
        helper.make_node("Gemm", ["r", "w"], ["d"], "dense", alpha=1.0, transB=1),
        helper.make_node("Softmax", ["d"], ["y"], "softmax", axis=1),
    ]
    return network(onnx, *nodes, stored=[kernel, scale, zero]).SerializeToString()


def test_mutations_are_told_or_refused_in_one_line(small, tmp_path, monkeypatch, capsys):
    """All are read by one child process, and each answer then goes through the two commands."""
    for seed in range(MUTATIONS):
        (tmp_path / f"{seed}.onnx").write_bytes(mutated(small, seed))
    done = subprocess.run(
        [sys.executable, "-c", READ_ALL, str(tmp_path)], capture_output=True, text=True, check=True, timeout=120
    )
    answers = done.stdout.splitlines()
    assert len(answers) == MUTATIONS
    statuses = []
    for seed, answer in enumerate(answers):
        json.loads(answer)
        result = ChildResult(command=("reader",), return_code=0, stdout=answer.encode(), stderr="")
        monkeypatch.setattr("mnet_deploy.graph_readers.read.run_child", lambda *_, _result=result, **__: _result)
        for verb in ("inspect", "cost"):
            statuses.append(main([verb, str(tmp_path / f"{seed}.onnx")]))
            err = capsys.readouterr().err
            assert (statuses[-1], err.count("\n")) in ((0, 0), (2, 1)), (seed, verb, err)
    assert 0.2 < statuses.count(2) / len(statuses) < 0.9  # else the mutations would not test anything
