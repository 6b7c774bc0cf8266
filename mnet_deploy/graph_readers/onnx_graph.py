"""Read the main graph of an .onnx, with shapes inferred; weights kept in other files are not opened.

Runs in the child process of `read_graph`. Constant nodes become stored tensors, local functions are inlined.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import onnx
import onnx.inliner
import onnx.shape_inference
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from mnet_deploy.errors import SpecError
from mnet_deploy.graph_readers.graph import Op, OpGraph, Tensor
from mnet_deploy.graph_readers.onnx_checks import require_readable

_KEPT_BYTES = 1 << 16  # larger weights are dropped before shapes are inferred: no shape is kept in them
_MAX_CHANNELS = 1 << 20
# Where an op keeps the (scale, zero point) of which tensor: tensor (as an input, or -1 the output), scale, zero point.
_QUANTISATION = {
    "DequantizeLinear": ((0, 1, 2),),
    "QuantizeLinear": ((-1, 1, 2),),
    "QLinearConv": ((0, 1, 2), (3, 4, 5), (-1, 6, 7)),
    "QLinearMatMul": ((0, 1, 2), (3, 4, 5), (-1, 6, 7)),
}
# Ops of ONNX Runtime whose output has the shape that a standard op gives these inputs.
_TWINS = {
    "FusedConv": ("Conv", (0, 1)),
    "QGemm": ("Gemm", (0, 3)),
    "QLinearAdd": ("Add", (0, 3)),
    "QLinearAveragePool": ("AveragePool", (0,)),
    "QLinearGlobalAveragePool": ("GlobalAveragePool", (0,)),
    "QLinearLeakyRelu": ("LeakyRelu", (0,)),
    "QLinearMul": ("Mul", (0, 3)),
    "QLinearSigmoid": ("Sigmoid", (0,)),
    "QLinearSoftmax": ("Softmax", (0,)),
}


def read(path: Path) -> OpGraph:
    """Return the graph of an .onnx; raises anything at all on a damaged one, `RefusedFile` on one of unknown ops."""
    model = onnx.load(str(path), load_external_data=False)
    if model.ir_version <= 0 or not model.HasField("graph") or not (model.graph.node or model.graph.output):
        raise SpecError("no ONNX model: the protobuf holds no IR version or no graph")
    require_readable(model, path.parent)
    metadata = _metadata(model)
    if model.functions:
        model = onnx.inliner.inline_local_functions(model)
    stored = _stored_tensors(model.graph)
    scales = _scales(model.graph, stored)
    for tensor in stored.values():
        if len(tensor.raw_data) > _KEPT_BYTES:
            tensor.ClearField("raw_data")
    ops = tuple(_op(node) for node in model.graph.node if node.op_type != "Constant")
    for node in model.graph.node:
        _replace_by_twin(node)
    try:
        model = onnx.shape_inference.infer_shapes(model, data_prop=True)
    except (onnx.shape_inference.InferenceError, ValueError) as error:
        metadata["shape_inference"] = f"failed: {' '.join(str(error).split())[:200]}"
    graph = model.graph
    return OpGraph(
        format="onnx",
        inputs=tuple(value.name for value in graph.input if value.name not in stored),
        outputs=tuple(value.name for value in graph.output),
        tensors=_tensors(graph, stored, scales),
        ops=ops,
        metadata=metadata,
    )


def _metadata(model: ModelProto) -> dict[str, str]:
    opsets = (f"{opset.domain or 'ai.onnx'} {opset.version}" for opset in model.opset_import)
    found = {
        "producer": f"{model.producer_name} {model.producer_version}".strip(),
        "description": model.doc_string,
        "ir_version": str(model.ir_version),
        "opset": ", ".join(opsets),
        "metadata_names": ", ".join(entry.key for entry in model.metadata_props),
        "external_data": ", ".join(sorted(_external_files(model.graph))),
    }
    return {name: text for name, text in found.items() if text}


def _external_files(graph: GraphProto) -> set[str]:
    return {
        entry.value
        for tensor in graph.initializer
        if tensor.data_location == TensorProto.EXTERNAL
        for entry in tensor.external_data
        if entry.key == "location"
    }


def _stored_tensors(graph: GraphProto) -> dict[str, TensorProto]:
    found = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            found[node.output[0]] = _constant_value(node)
    return found


def _constant_value(node: NodeProto) -> TensorProto:
    """Return what a Constant node holds; text and sparse tensors as an empty tensor of that name."""
    for attribute in node.attribute:
        if attribute.type == AttributeProto.TENSOR:
            tensor: TensorProto = attribute.t
            return tensor
        if attribute.type in (AttributeProto.INT, AttributeProto.FLOAT, AttributeProto.INTS, AttributeProto.FLOATS):
            value = helper.get_attribute_value(attribute)
            whole = attribute.type in (AttributeProto.INT, AttributeProto.INTS)
            sizes = [len(value)] if isinstance(value, list | tuple) else []
            data = value if isinstance(value, list | tuple) else [value]
            return helper.make_tensor(node.output[0], TensorProto.INT64 if whole else TensorProto.FLOAT, sizes, data)
    return TensorProto(name=node.output[0], data_type=TensorProto.UNDEFINED)


def _replace_by_twin(node: NodeProto) -> None:
    """Turn an op that shape inference does not know into a standard one that writes the same shape."""
    twin = _TWINS.get(node.op_type) if node.domain == "com.microsoft" else None
    if twin is None:
        return
    op_type, places = twin
    reads = [node.input[place] for place in places]
    node.domain, node.op_type = "", op_type
    del node.input[:]
    node.input.extend(reads)


def _scales(graph: GraphProto, stored: dict[str, TensorProto]) -> dict[str, tuple[list[float], list[int]]]:
    """Return scale and zero point of the quantised tensors whose parameters are stored."""
    found = {}
    for node in graph.node:
        for tensor, scale, zero_point in _QUANTISATION.get(node.op_type, ()):
            scales = _values(node, scale, stored)
            name = node.output[0] if tensor < 0 else node.input[tensor]
            if scales:
                zeros = [int(value) for value in _values(node, zero_point, stored)]
                found[name] = (scales, zeros or [0] * len(scales))
    return found


def _values(node: NodeProto, index: int, stored: dict[str, TensorProto]) -> list[float]:
    tensor = stored.get(node.input[index]) if index < len(node.input) else None
    if tensor is None or tensor.data_location == TensorProto.EXTERNAL or sum(tensor.dims) > _MAX_CHANNELS:
        return []
    return [float(value) for value in numpy_helper.to_array(tensor).reshape(-1)]


def _tensors(
    graph: GraphProto, stored: dict[str, TensorProto], scales: dict[str, tuple[list[float], list[int]]]
) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    values: Iterable[ValueInfoProto] = (*graph.value_info, *graph.input, *graph.output)
    for value in values:
        found[value.name] = _tensor(value.name, _shape(value), value.type.tensor_type.elem_type, scales)
    for name, tensor in stored.items():
        found[name] = _tensor(name, tuple(tensor.dims), tensor.data_type, scales, constant=True)
    for node in graph.node:  # what shape inference could not say anything about
        for name in node.output:
            if name and name not in found:
                found[name] = _tensor(name, None, TensorProto.UNDEFINED, scales)
    return found


def _tensor(
    name: str,
    shape: tuple[int | None, ...] | None,
    dtype: int,
    scales: dict[str, tuple[list[float], list[int]]],
    *,
    constant: bool = False,
) -> Tensor:
    scale, zero_point = scales.get(name, ([], []))
    return Tensor(
        name=name,
        shape=shape,
        dtype="unknown" if dtype == TensorProto.UNDEFINED else _dtype(dtype),
        scale=tuple(scale),
        zero_point=tuple(zero_point),
        constant=constant,
    )


def _dtype(number: int) -> str:
    name = str(TensorProto.DataType.Name(number)).lower()
    return {"float": "float32", "double": "float64"}.get(name, name)


def _shape(value: ValueInfoProto) -> tuple[int | None, ...] | None:
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        return None
    return tuple(
        size.dim_value if size.HasField("dim_value") and size.dim_value >= 0 else None for size in tensor.shape.dim
    )


def _op(node: NodeProto) -> Op:
    outputs = tuple(node.output)
    standard = node.domain in ("", "ai.onnx")
    return Op(
        name=node.name or next(filter(None, outputs), node.op_type),
        op_type=node.op_type if standard else f"{node.domain}::{node.op_type}",
        inputs=tuple(node.input),
        outputs=tuple(name for name in outputs if name),
        attributes={attribute.name: _attribute(attribute) for attribute in node.attribute if _is_plain(attribute)},
    )


_PLAIN = frozenset(
    {AttributeProto.INT, AttributeProto.FLOAT, AttributeProto.STRING, AttributeProto.INTS, AttributeProto.FLOATS}
)


def _is_plain(attribute: AttributeProto) -> bool:
    return attribute.type in _PLAIN


def _attribute(attribute: AttributeProto) -> Any:  # noqa: ANN401 - the format's own union
    value = helper.get_attribute_value(attribute)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value if isinstance(value, int | float | str) else list(value)
