"""Profiles that engines wrote: `record_layers.py` beside this file runs them again."""

import json
from pathlib import Path

import pytest

from mnet_deploy.runners.layer_times import LITERT, TOOL_PROFILE, layer_table, layer_times
from mnet_deploy.spec import LayerKind, ModelSpec

DATA = Path(__file__).parent / "data"
RECORDS = sorted(path.stem.removeprefix("layers_") for path in DATA.glob("layers_*.json"))
SUM_TOLERANCE = 1e-9
CONVOLUTIONS = ("Conv", "Fully Connected")


def recorded(name):
    record = json.loads((DATA / f"layers_{name}.json").read_text(encoding="utf-8"))
    return ModelSpec.from_json(record["spec"]).layers(), record


def times_of(name):
    layers, record = recorded(name)
    return layer_times(layers, record["ops"], record["source"], total_s=record["total_s"])


def test_there_is_a_record_of_each_form():
    assert len(RECORDS) == 14


@pytest.mark.parametrize("name", RECORDS)
def test_no_time_is_lost(name):
    _, record = recorded(name)
    times = times_of(name)
    assert times.sum_s == pytest.approx(sum(op["mean_s"] for op in record["ops"]), rel=SUM_TOLERANCE)
    assert sum(len(layer.ops) for layer in times.layers) + len(times.unmapped) == len(record["ops"])


@pytest.mark.parametrize("name", RECORDS)
def test_every_layer_with_weights_has_its_convolution(name):
    for entry in times_of(name).layers:
        if entry.layer.kind.has_weights:
            convolutions = [op for op in entry.ops if any(word in op.op for word in CONVOLUTIONS)]
            assert len(convolutions) == 1, entry.layer.name
            assert entry.time_s >= convolutions[0].time_s


@pytest.mark.parametrize("name", RECORDS)
def test_every_layer_has_an_op_of_its_kind(name):
    words = {
        LayerKind.CONCATENATION: ("Concat", "Copy"),
        LayerKind.GLOBAL_POOL: ("Mean", "AveragePool"),
        LayerKind.SOFTMAX: ("oftmax", "SOFTMAX"),
        LayerKind.DEPTHWISE: ("DWConv", "Conv"),
    }
    for entry in times_of(name).layers:
        wanted = words.get(entry.layer.kind, CONVOLUTIONS)
        assert any(word in op.op for op in entry.ops for word in wanted) or not entry.ops, entry.layer.name


@pytest.mark.parametrize(
    ("name", "without_ops"),
    [("mobilenet_v1_int8.tflite", []), ("dense1_mobilenet_int8.tflite", []), ("mobilenet_v1_int8.onnx", [])],
)
def test_layers_without_ops_are_unknown_not_zero(name, without_ops):
    assert [entry.layer.name for entry in times_of(name).layers if entry.time_s is None] == without_ops


@pytest.mark.parametrize("name", [name for name in RECORDS if name.endswith(".tflite")])
def test_what_litert_adds_belongs_to_no_layer(name):
    kinds = {op.op for op in times_of(name).unmapped}
    assert kinds <= {"Delegate/Static Reshape (NC)", "QUANTIZE"}


@pytest.mark.parametrize(
    ("called", "layer"),
    [
        ("conv_pw_1", "conv_pw_1"),
        ("conv_pw_1_relu_nchwc", "conv_pw_1"),
        ("conv_pw_13_token_106", "conv_pw_13"),
        ("conv1.quantized.by1_nhwc", "conv1"),
        ("conv1.quantized.real/duplicated_token_1", "conv1"),
        ("predictions_flat", "predictions"),
        ("conv_pw_14", None),
        ("conv_pw_1_own", None),
        ("Transpose_token_2", None),
        ("input.quantized", None),
        ("", None),
    ],
)
def test_onnx_runtimes_names(called, layer):
    op = {"name": called, "op": "Reorder", "mean_s": 1e-6, "count": 1}
    times = layer_times(ModelSpec().layers(), [op], "onnxruntime profile")
    assert [entry.layer.name for entry in times.layers if entry.ops] == ([layer] if layer else [])
    assert len(times.unmapped) == (layer is None)


def test_nameless_convolutions_are_not_guessed_if_one_is_missing():
    layers, record = recorded("mobilenet_v1_int8.onnx_1.19.2")
    ops = record["ops"]
    gone = next(op for op in ops if op["op"] == "QLinearConv")
    times = layer_times(layers, [op for op in ops if op is not gone], record["source"])
    assert {entry.layer.name for entry in times.layers if entry.ops} <= {
        "global_average_pooling2d",
        "conv_preds",
        "predictions",
    }
    assert sum(op.op == "QLinearConv" for op in times.unmapped) == len(layers) - 2 - 1


def test_ops_of_several_delegates_in_one_line_are_not_guessed():
    layers, record = recorded("mobilenet_v1_fp32.tflite")
    merged = {**record["ops"][14], "count": 7}  # conv_pw_7, and others that LiteRT lists together with it
    ops = [*record["ops"][:14], merged, *record["ops"][20:]]
    times = layer_times(layers, ops, LITERT)
    known = [entry.layer.name for entry in times.layers if entry.ops]
    assert known == [layer.name for layer in (*layers[:14], *layers[20:])]
    assert [op.count for op in times.unmapped if op.op == merged["op"]] == [7]


def test_benchmark_model_lists_ops_in_order_as_well():
    layers, record = recorded("mobilenet_v1_int8.tflite")
    by_tool, by_library = (layer_times(layers, record["ops"], source).layers for source in (TOOL_PROFILE, LITERT))
    assert by_tool == by_library


def test_another_graph_is_mapped_as_far_as_it_goes_alike():
    layers, record = recorded("mobilenet_v1_fp32.tflite")
    ops = [op for index, op in enumerate(record["ops"]) if index != 3]  # a depthwise layer was optimised away
    times = layer_times(layers, ops, LITERT)
    assert [entry.layer.name for entry in times.layers if not entry.ops] == ["conv_dw_2"]


def test_the_table_shows_the_sum_beside_the_call():
    times = times_of("mobilenet_v1_int8_uint8.tflite")
    lines = layer_table(times).splitlines()
    assert lines[2].startswith("conv1 ")
    assert "Convolution (NHWC, QC8) IGEMM" in lines[2]
    assert sum(line.startswith("(no layer)") for line in lines) == len(times.unmapped) == 3
    assert lines[-3].startswith("all ops")
    assert lines[-3].endswith("100.0%")
    assert lines[-2].startswith("a call without the profiler")
    assert lines[-1] == "source: LiteRT profiler"


def test_what_is_shorter_than_the_profiler_sees_is_not_called_nothing():
    op = {"name": "conv1", "op": "Conv", "mean_s": 0.0, "count": 1}
    lines = layer_table(layer_times(ModelSpec().layers(), [op], "onnxruntime profile")).splitlines()
    assert lines[2].split() == ["conv1", "Conv", "<", "1", "us"]


def test_a_layer_without_ops_and_an_unknown_total_in_the_table():
    text = layer_table(layer_times(ModelSpec().layers(), [], LITERT))
    assert text.splitlines()[2].split() == ["conv1", "?", "?", "?"]
    assert "without the profiler" not in text
