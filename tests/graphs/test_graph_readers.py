"""Graphs of good files, and one line for every bad one."""

import json
import os
import random
import subprocess
import sys
import zipfile

import pytest

from mnet_deploy.cli import main
from mnet_deploy.cost.graph_cost import estimate_graph
from mnet_deploy.errors import MnetError, SpecError, ToolMissing
from mnet_deploy.graph_facts import (
    channels_first_tensors,
    float_ops,
    fused_activations,
    fused_relu6_count,
    layout,
    op_histogram,
    pad_count,
    per_channel_weights,
    precision_found,
    unfolded_batch_norms,
)
from mnet_deploy.graph_readers import GraphFormat, Op, OpGraph, Tensor, detect_format, read_graph
from mnet_deploy.graph_readers.graph import graph_from_json

DAMAGED_COPIES = 25  # of each format


@pytest.fixture(scope="session")
def schema():
    reason = "needs the .tflite schema: pip install 'mnet-deploy[litert]'"
    return pytest.importorskip("ai_edge_litert.schema_py_generated", reason=reason)


@pytest.fixture(scope="session")
def tiny_tflite(schema):
    """Return a .tflite with a custom op that leaves out an input, a second graph, equal names, a dynamic batch."""
    import flatbuffers

    def tensor(name, shape, signature=None, buffer=0):
        found = schema.TensorT()
        found.name, found.shape, found.shapeSignature, found.buffer = name, shape, signature, buffer
        return found

    code = schema.OperatorCodeT()
    code.builtinCode, code.customCode = schema.BuiltinOperator.CUSTOM, b"Made\xffUp"
    code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
    op = schema.OperatorT()
    op.opcodeIndex, op.inputs, op.outputs = 0, [0, -1, 1], [2]
    main_graph = schema.SubGraphT()
    main_graph.tensors = [tensor("x", [1, 4], [-1, 4]), tensor("x", [4], buffer=1), tensor("", [1, 4], [-1, 4])]
    main_graph.inputs, main_graph.outputs, main_graph.operators = [0], [2], [op]
    other = schema.SubGraphT()
    other.tensors, other.inputs, other.outputs, other.operators = [], [], [], []
    weights = schema.BufferT()
    weights.data = [0] * 16
    model = schema.ModelT()
    model.version, model.description = 3, "made by hand"
    model.operatorCodes, model.subgraphs, model.buffers = [code], [main_graph, other], [schema.BufferT(), weights]
    builder = flatbuffers.Builder(0)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def test_a_tflite_made_by_hand(tiny_tflite, tmp_path):
    path = tmp_path / "no_suffix"
    path.write_bytes(tiny_tflite)
    graph = read_graph(path)
    assert (graph.format, graph.inputs, graph.outputs) == ("tflite", ("x",), ("#2",))
    assert graph.ops == (Op(name="#2", op_type="CUSTOM:Made\ufffdUp", inputs=("x", "", "x#1"), outputs=("#2",)),)
    assert graph.tensors["x"] == Tensor(name="x", shape=(None, 4), dtype="float32")
    assert graph.tensors["x#1"] == Tensor(name="x#1", shape=(4,), dtype="float32", constant=True)
    assert graph.metadata == {"description": "made by hand", "schema_version": "3", "subgraphs": "2"}


def test_files_packed_behind_a_tflite_are_named(tiny_tflite, tmp_path):
    path = tmp_path / "labelled.tflite"
    path.write_bytes(tiny_tflite)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("labels.txt", "cat\ndog\n")
    assert read_graph(path).metadata["packed_files"] == "labels.txt"


def test_the_graph_of_an_int8_tflite(files):
    graph = read_graph(files["mobilenet_int8.tflite"])
    assert op_histogram(graph) == {"CONV_2D": 15, "DEPTHWISE_CONV_2D": 13, "MEAN": 1, "RESHAPE": 1, "SOFTMAX": 1}
    (image,) = (graph.tensors[name] for name in graph.inputs)
    (scores,) = (graph.tensors[name] for name in graph.outputs)
    assert (image.shape, image.dtype, layout(graph, image.name)) == ((1, 128, 128, 3), "int8", "NHWC")
    assert image.scale == pytest.approx([2 / 255], rel=0.01)  # images in -1..1, 255 steps
    assert (scores.shape, scores.dtype, scores.scale, scores.zero_point) == ((1, 1000), "int8", (1 / 256,), (-128,))
    first = graph.ops[0].attributes
    assert (first["stride_h"], first["padding"], first["fused_activation_function"]) == (2, "SAME", "RELU6")


PRECISIONS = {
    "mobilenet_fp32.tflite": ("float32", (0, 0)),
    "mobilenet_fp16.tflite": ("float16 weights, float32 activations", (0, 0)),
    "mobilenet_int8.tflite": ("full int8", (28, 0)),
    "mobilenet.keras": ("float32", (0, 0)),
}


@pytest.mark.parametrize("name", PRECISIONS)
def test_precision_is_found_in_the_graph(name, files):
    graph = read_graph(files[name])
    assert (precision_found(graph), per_channel_weights(graph)) == PRECISIONS[name]
    assert (float_ops(graph) == ()) is ("int8" in name)


def test_dynamic_range_is_told_from_full_integer(files):
    graph = read_graph(files["mobilenet_dynamic.tflite"])
    assert precision_found(graph) == "dynamic range: integer weights, float activations"
    assert per_channel_weights(graph) == (19, 0)  # the converter leaves kernels of fewer than 1,024 elements alone
    assert len(float_ops(graph)) == len(graph.ops)


@pytest.mark.parametrize("name", ["mobilenet_fp32.tflite", "mobilenet_int8.tflite"])
def test_a_converted_network_of_the_family_is_folded_and_fused(name, files):
    graph = read_graph(files[name])
    assert (fused_relu6_count(graph), pad_count(graph), unfolded_batch_norms(graph)) == (27, 0, ())
    assert fused_activations(graph) == {"RELU6": 27}


def test_what_is_left_of_a_batch_norm_is_found(files):
    assert unfolded_batch_norms(read_graph(files["mixed.keras"])) == ("folded", "kept")
    left = read_graph(files["mixed_fp32.tflite"])
    assert [op.op_type for op in left.ops if op.name in unfolded_batch_norms(left)] == ["MUL", "ADD"]


ONNX_PRECISIONS = {
    "folded": ("float32", (0, 0)),
    "batch_norm": ("float32", (0, 0)),
    "qdq": ("full int8", (28, 0)),
    "qoperator": ("full int8", (28, 0)),
    "dynamic": ("dynamic range: integer weights, float activations", (0, 0)),
}


@pytest.mark.parametrize("name", ONNX_PRECISIONS)
def test_the_graph_of_an_onnx(name, onnx_files):
    graph = read_graph(onnx_files[name])
    assert (precision_found(graph), per_channel_weights(graph)) == ONNX_PRECISIONS[name]
    assert (float_ops(graph) == ()) is name.startswith("q")
    assert len(unfolded_batch_norms(graph)) == (27 if name == "batch_norm" else 0)
    assert (graph.inputs, graph.tensors["input"].shape, layout(graph, "input")) == (
        ("input",),
        (1, 3, 128, 128),
        "NCHW",
    )
    assert None not in [graph.tensors[out].shape for op in graph.ops for out in op.outputs if "scale" not in out]


def test_one_float_op_among_integer_ones_is_found(onnx, onnx_files, tmp_path):
    model = onnx.load(onnx_files["qdq"])
    pool = next(node for node in model.graph.node if node.op_type == "GlobalAveragePool")
    quantise = next(node for node in model.graph.node if node.input[0] == pool.output[0])
    model.graph.node.insert(list(model.graph.node).index(quantise), onnx.helper.make_node("Erf", pool.output, ["e"]))
    quantise.input[0] = "e"
    onnx.save(model, tmp_path / "float_op.onnx")
    graph = read_graph(tmp_path / "float_op.onnx")
    assert float_ops(graph) == (pool.output[0], "e")


def test_functions_of_an_onnx_are_unfolded(onnx, tmp_path):
    helper, floats = onnx.helper, onnx.TensorProto.FLOAT
    opset = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    body = [helper.make_node("Relu", ["a"], ["b"]), helper.make_node("Neg", ["b"], ["c"])]
    function = helper.make_function("own", "Both", ["a"], ["c"], body, opset[:1])
    read, wrote = (helper.make_tensor_value_info(name, floats, [1, 3]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Both", ["x"], ["y"], domain="own")], "g", [read], [wrote])
    onnx.save(helper.make_model(graph, opset_imports=opset, functions=[function]), tmp_path / "f.onnx")
    assert op_histogram(read_graph(tmp_path / "f.onnx")) == {"Relu": 1, "Neg": 1}


def test_layers_of_a_keras_file_keep_names_shapes_and_options(files, models):
    graph = read_graph(files["mobilenet.keras"])
    layers = [layer for layer in models["mobilenet"].layers if type(layer).__name__ != "InputLayer"]
    assert [(op.name, op.op_type) for op in graph.ops] == [(layer.name, type(layer).__name__) for layer in layers]
    assert [graph.tensors[op.outputs[0]].shape for op in graph.ops] == [layer.output.shape for layer in layers]
    assert graph.ops[0].attributes["strides"] == [2, 2]
    assert graph.metadata["model"] == models["mobilenet"].name


def test_channels_first_is_seen_in_every_tensor_that_shares_the_axes(keras, tmp_path):
    layers = keras.layers
    image = keras.Input((3, 8, 8))
    summed = layers.Add(name="sum")([layers.Conv2D(3, 3, padding="same", data_format="channels_first")(image), image])
    keras.Model(image, layers.Reshape((8, 8, 3), name="turned")(summed)).save(tmp_path / "first.keras")
    graph = read_graph(tmp_path / "first.keras")
    assert layout(graph, graph.inputs[0]) == layout(graph, "sum") == "NCHW"
    assert "turned" not in channels_first_tensors(graph)


def test_the_legacy_lists_of_keras_2_are_read(tmp_path):
    def layer(kind, called, inbound, **config):
        return {"class_name": kind, "name": called, "config": {"name": called, **config}, "inbound_nodes": inbound}

    inner = {
        "name": "inner",
        "layers": [
            layer("InputLayer", "pixels", [], batch_input_shape=[None, 8, 8, 3]),
            layer("Conv2D", "conv", [[["pixels", 0, 0, {}]]], filters=4, kernel_size=[3, 3], padding="valid"),
        ],
        "input_layers": [["pixels", 0, 0]],
        "output_layers": [["conv", 0, 0]],
    }
    outer = {
        "name": "outer",
        "layers": [
            layer("InputLayer", "image", [], batch_input_shape=[None, 8, 8, 3]),
            layer("Functional", "inner", [[["image", 0, 0, {}]]], **inner),
            layer("Flatten", "flat", [[["inner", 1, 0, {}]]]),
        ],
        "input_layers": [["image", 0, 0]],
        "output_layers": [["flat", 0, 0]],
    }
    path = tmp_path / "keras2.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", json.dumps({"class_name": "Functional", "config": outer}))
    graph = read_graph(path)
    assert [op.name for op in graph.ops] == ["inner/conv", "flat"]
    assert graph.tensors["flat"].shape == (None, 6 * 6 * 4)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("mobilenet.keras", "keras"), ("mobilenet_int8.tflite", "tflite")],
)
def test_the_format_is_seen_in_the_bytes_whatever_the_name(name, expected, files, tmp_path):
    renamed = tmp_path / "renamed.onnx"
    renamed.symlink_to(files[name])
    assert detect_format(renamed) is GraphFormat(expected)
    assert read_graph(renamed).format == expected


LIBRARIES = {"tensorflow", "keras", "onnx", "onnxruntime", "ai_edge_litert", "flatbuffers", "numpy", "h5py"}
LOADED = """
import sys
from mnet_deploy.graph_readers import child
child.main(sys.argv[1:])
print(*{name.partition(".")[0] for name in sys.modules}, file=sys.stderr)
assert not any(name.startswith("ai_edge_litert.interpreter") for name in sys.modules)
"""


@pytest.mark.parametrize(
    ("name", "allowed"),
    [
        ("mobilenet.keras", set()),
        ("mobilenet_int8.tflite", {"ai_edge_litert", "flatbuffers", "numpy"}),
        ("folded", {"onnx", "numpy"}),
    ],
)
def test_only_the_library_of_the_format_is_loaded(name, allowed, files, onnx_files):
    path = {**files, **onnx_files}[name]
    command = [sys.executable, "-c", LOADED, str(detect_format(path)), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert set(done.stderr.split()) & LIBRARIES == allowed


@pytest.mark.parametrize(
    ("suffix", "package", "extra"), [("tflite", "ai_edge_litert", "litert"), ("onnx", "onnx", "onnx")]
)
def test_a_missing_library_is_named_with_its_extra(suffix, package, extra, tiny_tflite, tmp_path, monkeypatch):
    path = tmp_path / f"model.{suffix}"
    path.write_bytes(tiny_tflite if suffix == "tflite" else b"\x08\x08")
    blocked = tmp_path / "blocked"
    blocked.mkdir()
    # Stands before site-packages and hides what is installed there.
    message = f"raise ModuleNotFoundError('hidden', name={package!r})"
    (blocked / f"{package}.py").write_text(message)
    monkeypatch.setenv("PYTHONPATH", str(blocked))
    with pytest.raises(ToolMissing, match=rf"{package} is not installed here.*pip install 'mnet-deploy\[{extra}\]'"):
        read_graph(path)


@pytest.mark.parametrize("name", ["mixed_int8.tflite", "mixed.keras", "batch_norm"])
@pytest.mark.parametrize("lost_bytes", [1000, 100, 20])
def test_a_file_without_its_end_is_refused(name, lost_bytes, files, onnx_files, tmp_path):
    whole = {**files, **onnx_files}[name]
    path = tmp_path / f"cut{whole.suffix}"
    path.write_bytes(whole.read_bytes()[:-lost_bytes])
    with pytest.raises(SpecError, match="cannot be read"):
        read_graph(path)


def write_zip(path, **members):
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in members.items():
            archive.writestr(f"{name}.json", text)


def subclassed(path):
    write_zip(path, config='{"class_name": "Mine", "config": {"name": "mine"}}')


def unconnected(path):
    layers = [{"class_name": "ReLU", "name": "r", "config": {}, "inbound_nodes": [[["nowhere", 0, 0, {}]]]}]
    config = {"class_name": "Functional", "config": {"layers": layers, "input_layers": [], "output_layers": []}}
    write_zip(path, config=json.dumps(config))


def sparse(path):
    """A file that claims 8 GiB and holds nothing but a header."""
    path.write_bytes(b"\x1c\x00\x00\x00TFL3")
    os.truncate(path, 8 << 30)


def huge_lengths(path):
    """A flatbuffer whose root table lies far outside of it, and then vectors of four billion elements."""
    path.write_bytes(b"\xff\xff\xff\x7fTFL3" + b"\xff" * 4096)


BAD_FILES = {
    "empty.tflite": (lambda path: path.write_bytes(b""), "an empty file"),
    "empty.onnx": (lambda path: path.write_bytes(b""), "an empty file"),
    "short.tflite": (lambda path: path.write_bytes(b"\x1c\0"), "identifier 'TFL3'"),
    "text.tflite": (lambda path: path.write_text("not a model"), "identifier 'TFL3'"),
    "identifier.tflite": (lambda path: path.write_bytes(b"\x1c\0\0\0TFL2" + bytes(99)), "received b'TFL2'"),
    "header.tflite": (lambda path: path.write_bytes(b"\x1c\0\0\0TFL3"), "cannot be read"),
    "huge.tflite": (huge_lengths, "cannot be read"),
    "sparse.tflite": (sparse, "cannot be read|holds no graph|was stopped"),
    "noise.tflite": (lambda path: path.write_bytes(b"\x1c\0\0\0TFL3" + random.Random(0).randbytes(9999)), "cannot be"),
    "text.onnx": (lambda path: path.write_text("not a model"), "cannot be read"),
    "noise.onnx": (lambda path: path.write_bytes(random.Random(0).randbytes(9999)), "cannot be read"),
    "nothing.onnx": (lambda path: path.write_bytes(b"\x08\x08"), "no ONNX model"),
    "text.keras": (lambda path: path.write_text("not a model"), "a zip archive"),
    "cut.keras": (lambda path: path.write_bytes(b"PK\x03\x04" + bytes(99)), "cannot be read"),
    "other.keras": (lambda path: write_zip(path, other="{}"), r"without config.json.*it has other.json"),
    "broken.keras": (lambda path: write_zip(path, config="{"), "cannot be read"),
    "list.keras": (lambda path: write_zip(path, config="[]"), "not a JSON object"),
    "deep.keras": (lambda path: write_zip(path, config="[" * 100_000), "nested too deeply"),
    "subclassed.keras": (subclassed, r"model \(Mine\) is a class of its own"),
    "unconnected.keras": (unconnected, "layer r reads a tensor that no layer writes"),
    "checkpoint.keras": (lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(99)), "received an HDF5 file"),
    "folder.tflite": (lambda path: path.mkdir(), "received a folder"),
    "pipe.onnx": (os.mkfifo, "not a regular file"),
    "nowhere.onnx": (lambda path: path.symlink_to("missing"), "No such file or directory"),
    "missing.tflite": (lambda path: None, "No such file or directory"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_file_is_one_line_that_names_it(name, tmp_path, capfd):
    write, expected = BAD_FILES[name]
    path = tmp_path / name
    write(path)
    with pytest.raises(SpecError, match=expected) as caught:
        read_graph(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert main(["inspect", str(path)]) == 2
    captured = capfd.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("mnet: ")
    assert captured.err.count("\n") == 1


def damaged(data, seed):
    """Return a copy that is cut off, or has some bytes changed, or both."""
    chance = random.Random(seed)
    copy = bytearray(data)
    if seed % 2:
        del copy[chance.randrange(8, len(copy)) :]
    if seed % 3:
        # The first half: in the files here the graph comes before most of the weights.
        for _ in range(chance.choice((1, 10, 100))):
            copy[chance.randrange(8, max(9, len(copy) // 2))] = chance.randrange(256)
    return bytes(copy)


@pytest.mark.parametrize("kind", ["tflite", "onnx"])
def test_damaged_copies_are_read_or_refused_in_one_line(kind, files, onnx_files, tmp_path):
    source = files["mixed_int8.tflite"] if kind == "tflite" else onnx_files["batch_norm"]
    data = source.read_bytes()
    refusals = {}
    for seed in range(DAMAGED_COPIES):
        path = tmp_path / f"{seed}.{kind}"
        path.write_bytes(damaged(data, seed))
        try:
            graph = read_graph(path, timeout_s=20)
            assert estimate_graph(graph, title=path.name).macs >= 0  # nothing in the graph may stop the counting
        except MnetError as error:
            refusals[path] = error
    assert len(refusals) > DAMAGED_COPIES // 4  # else the damage would not test anything
    assert {type(error) for error in refusals.values()} == {SpecError}
    assert [path for path, error in refusals.items() if not str(error).startswith(f"{path}: ")] == []
    assert [path for path, error in refusals.items() if len(str(error).splitlines()) != 1] == []


CHILD = "mnet_deploy.graph_readers.child"


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "killed by SIGSEGV while parsing"),
        ("print('garbage')", "exit status 0 while parsing"),
        ("raise SystemExit(7)", "exit status 7 while parsing"),
        ("import time; time.sleep(60)", "that can be read within 1 s"),
        ("print('x' * 100_000_000)", "wrote more than"),
    ],
)
def test_a_reader_that_fails_is_one_line(code, expected, tiny_tflite, tmp_path, monkeypatch):
    path = tmp_path / "model.tflite"
    path.write_bytes(tiny_tflite)

    def stand_in(command, **options):
        assert command[3] == CHILD
        return run_child([sys.executable, "-c", code], **options)

    from mnet_deploy.child_process import run_child

    monkeypatch.setattr("mnet_deploy.graph_readers.read.run_child", stand_in)
    with pytest.raises(SpecError, match=expected) as caught:
        read_graph(path, timeout_s=1 if "sleep" in code else 60)
    assert str(path) in str(caught.value)


def test_an_op_that_writes_a_tensor_of_another_graph_is_refused():
    op = {"name": "o", "op_type": "ADD", "inputs": [], "outputs": ["gone"], "attributes": {}}
    data = {"format": "tflite", "inputs": [], "outputs": [], "tensors": {}, "ops": [op], "metadata": {}}
    with pytest.raises(SpecError, match="names a tensor that it does not describe: 'gone'"):
        graph_from_json(data)


def test_float_ops_are_those_that_compute_not_those_at_the_boundary():
    types = {"image": "float32", "q": "int8", "r": "int8", "scores": "float32"}
    tensors = {name: Tensor(name=name, shape=(1, 4), dtype=dtype) for name, dtype in types.items()}
    chain = [("QUANTIZE", "image", "q"), ("SOFTMAX", "q", "r"), ("DEQUANTIZE", "r", "scores")]
    ops = [Op(name=wrote, op_type=kind, inputs=(read,), outputs=(wrote,)) for kind, read, wrote in chain]
    graph = OpGraph(format="tflite", inputs=("image",), outputs=("scores",), tensors=tensors, ops=tuple(ops))
    assert float_ops(graph) == ()
    last = Op(name="top", op_type="LOGISTIC", inputs=("scores",), outputs=("image",))
    graph = OpGraph(format="tflite", inputs=("image",), outputs=("image",), tensors=tensors, ops=(*ops, last))
    assert float_ops(graph) == ("top",)


def test_a_kernel_with_one_output_channel_has_a_scale_per_channel_either_way():
    shapes = {"x": (1, 1, 1, 8), "y": (1, 1, 1, 1), "w": (1, 1, 1, 8)}
    tensors = {name: Tensor(name=name, shape=shape, dtype="int8", scale=(0.1,)) for name, shape in shapes.items()}
    tensors["w"] = Tensor(name="w", shape=shapes["w"], dtype="int8", scale=(0.1,), zero_point=(0,), constant=True)
    kinds = {"CONV_2D": (1, 0), "DEPTHWISE_CONV_2D": (0, 1)}  # the channels of a depthwise kernel come last
    for kind, expected in kinds.items():
        op = Op(name="y", op_type=kind, inputs=("x", "w"), outputs=("y",))
        graph = OpGraph(format="tflite", inputs=("x",), outputs=("y",), tensors=tensors, ops=(op,))
        assert per_channel_weights(graph) == expected


def test_an_ort_is_told_from_a_damaged_onnx(tmp_path):
    path = tmp_path / "model.ort"
    path.write_bytes(b"\0\0\0\0ORTM and more")
    with pytest.raises(SpecError, match=r"received an \.ort: take its \.onnx"):
        read_graph(path)
