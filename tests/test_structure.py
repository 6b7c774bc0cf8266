import re
from dataclasses import replace

import pytest

from mnet_deploy.converters.structure import expected_pads, tflite_failures
from mnet_deploy.cost import Precision
from mnet_deploy.graph_readers import Op, OpGraph, Tensor
from mnet_deploy.spec import Activation, LayerKind, ModelSpec

SPEC = ModelSpec(alpha=0.25, resolution_px=32, classes=5)


def quantised(name, shape, *, channels=1, constant=False):
    return Tensor(
        name=name, shape=shape, dtype="int8", scale=(0.1,) * channels, zero_point=(0,) * channels, constant=constant
    )


def int8_graph(spec):
    """Return the graph that a faultless int8 file has, as far as the checks look at it."""
    tensors = {"input": quantised("input", (1, spec.resolution_px, spec.resolution_px, spec.channels_in))}
    ops = []
    for layer in spec.layers():
        tensors[layer.name] = quantised(layer.name, (1, *layer.out_shape_hwc))
        reads = layer.inputs
        if layer.kind.has_weights:
            channels, kernel = layer.out_shape_hwc[2], f"{layer.name}/kernel"
            shape = (1, 3, 3, channels) if layer.kind is LayerKind.DEPTHWISE else (channels, 1, 1, 1)
            tensors[kernel] = quantised(kernel, shape, channels=channels, constant=True)
            reads = (*reads, kernel)
        kind = {LayerKind.DEPTHWISE: "DEPTHWISE_CONV_2D"}.get(layer.kind, "CONV_2D") if layer.kind.has_weights else "X"
        fused = {"fused_activation_function": "RELU6" if layer.activation is Activation.RELU6 else "NONE"}
        ops.append(Op(name=layer.name, op_type=kind, inputs=reads, outputs=(layer.name,), attributes=fused))
    return OpGraph(format="tflite", inputs=("input",), outputs=(ops[-1].name,), tensors=tensors, ops=tuple(ops))


GOOD = int8_graph(SPEC)


def with_op(name, **changes):
    return replace(GOOD, ops=tuple(replace(op, **changes) if op.name == name else op for op in GOOD.ops))


def with_tensor(name, **changes):
    return replace(GOOD, tensors={**GOOD.tensors, name: replace(GOOD.tensors[name], **changes)})


def with_extra(op_type, *, stored_shape):
    stored = Tensor(name="extra", shape=stored_shape, dtype="int8", scale=(1.0,), zero_point=(0,), constant=True)
    extra = Op(name="extra op", op_type=op_type, inputs=("input", "extra"), outputs=())
    return replace(GOOD, tensors={**GOOD.tensors, "extra": stored}, ops=(*GOOD.ops, extra))


def test_a_faultless_graph_has_no_failures():
    assert tflite_failures(GOOD, SPEC, Precision.INT8) == ()


def test_a_network_of_single_channels_is_no_failure():
    # One channel has one scale: that is a scale per channel.
    spec = ModelSpec(alpha=0.01, resolution_px=32, classes=1)
    assert tflite_failures(int8_graph(spec), spec, Precision.INT8) == ()


@pytest.mark.parametrize(
    ("graph", "failure"),
    [
        (with_op("conv_dw_3", attributes={}), "26 of 27 ReLU6 are fused"),
        (with_extra("PAD", stored_shape=(4, 2)), "1 PAD ops, 0 expected"),
        (with_extra("MUL", stored_shape=(8,)), r"1 batch normalisations are not folded \(extra op"),
        (with_tensor("conv_dw_3/kernel", scale=(0.1,), zero_point=(0,)), "27 of 28 kernels have a scale per channel"),
        (with_tensor("conv_dw_3", dtype="float32", scale=()), r"2 ops compute in float \(conv_dw_3"),
        (with_op("conv_dw_3", op_type="CONV_2D"), r"\(16, 12\) convolutions and depthwise ones, \(15, 13\) expected"),
    ],
)
def test_each_fault_is_named_with_its_figure(graph, failure):
    (found,) = tflite_failures(graph, SPEC, Precision.INT8)
    assert re.match(failure, found)


def test_a_scalar_factor_is_no_batch_normalisation():
    assert tflite_failures(with_extra("MUL", stored_shape=()), SPEC, Precision.INT8) == ()


def test_float_files_have_float_ops_and_no_scales():
    tensors = {name: replace(tensor, dtype="float32", scale=()) for name, tensor in GOOD.tensors.items()}
    assert tflite_failures(replace(GOOD, tensors=tensors), SPEC, Precision.FP32) == ()


@pytest.mark.parametrize(
    ("resolution_px", "padding", "pads"),
    [
        # At multiples of 32 every size is even until the last stride: Keras' padding is SAME throughout.
        *((size, padding, 0) for size in (32, 96, 128, 160, 192, 224) for padding in ("keras", "same")),
        # PyTorch's symmetric padding differs from SAME at each of the five strides on an even size ...
        (224, "symmetric", 5),
        (32, "symmetric", 5),
        # ... and is SAME on an odd one: 33 -> 17 -> 9 -> 5 -> 3 -> 2.
        (33, "symmetric", 0),
        # 200 -> 100 -> 50 -> 25 -> 12 (25 is odd: Keras pads (0, 1), of which no kernel reads the zeros) -> 6.
        (200, "keras", 0),
        (200, "same", 0),
        # 97 -> 49 -> 24 -> 12 -> 6 -> 3
        (97, "keras", 0),
    ],
)
def test_padding_and_resolution_force_this_many_pads(resolution_px, padding, pads):
    assert expected_pads(ModelSpec(resolution_px=resolution_px, padding=padding)) == pads
