"""Read the first subgraph of a .tflite through the schema alone: no interpreter is loaded.

Runs in the child process of `read_graph` (the flatbuffer is not verified, any field may hold anything).
"""

import mmap
import re
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from ai_edge_litert import schema_py_generated as schema

from mnet_deploy.errors import SpecError
from mnet_deploy.graph_readers.graph import Op, OpGraph, Tensor

_TEXT_METADATA = "min_runtime_version"
_MAX_RANK = 16


def _names(enum: type) -> dict[int, str]:
    return {number: name for name, number in vars(enum).items() if isinstance(number, int)}


_OPS = _names(schema.BuiltinOperator)
_DTYPES = {number: name.lower() for number, name in _names(schema.TensorType).items()}
_ENUM_OPTIONS = {
    "fused_activation_function": _names(schema.ActivationFunctionType),
    "padding": _names(schema.Padding),
    "weights_format": _names(schema.FullyConnectedOptionsWeightsFormat),
}


def read(path: Path) -> OpGraph:
    """Return the graph of a .tflite; raises anything at all on a damaged one."""
    with path.open("rb") as file:
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)  # the weights are never read
    model = schema.Model.GetRootAs(data, 0)
    if model.SubgraphsLength() < 1:
        raise SpecError("it holds no graph")
    graph = _graph(model)
    return replace(graph, metadata=graph.metadata | _packed_files(path))


def _graph(model: schema.Model) -> OpGraph:
    subgraph = model.Subgraphs(0)
    names = _unique_names(subgraph)
    tensors = [_tensor(model, subgraph.Tensors(index), name) for index, name in enumerate(names)]
    return OpGraph(
        format="tflite",
        inputs=tuple(names[index] for index in _vector(subgraph, "Inputs") if index >= 0),
        outputs=tuple(names[index] for index in _vector(subgraph, "Outputs") if index >= 0),
        tensors={tensor.name: tensor for tensor in tensors},
        ops=tuple(_op(model, subgraph.Operators(index), names) for index in range(subgraph.OperatorsLength())),
        metadata=_metadata(model),
    )


def _unique_names(subgraph: schema.SubGraph) -> list[str]:
    """Return a name for each tensor: its own, with its number where that is empty or taken."""
    names: list[str] = []
    taken: set[str] = set()
    for index in range(subgraph.TensorsLength()):
        name = _text(subgraph.Tensors(index).Name())
        unique = name if name and name not in taken else f"{name}#{index}"
        taken.add(unique)
        names.append(unique)
    return names


def _vector(owner: object, field: str) -> list[int]:
    """Return a vector of integers; a length beyond the file's end raises."""
    if getattr(owner, f"{field}IsNone")():
        return []
    return [int(value) for value in getattr(owner, f"{field}AsNumpy")()]


def _text(value: bytes | None) -> str:
    return "" if value is None else value.decode("utf-8", "replace")


def _tensor(model: schema.Model, tensor: schema.Tensor, name: str) -> Tensor:
    quantisation = tensor.Quantization()
    scale: tuple[float, ...] = ()
    zero_point: tuple[int, ...] = ()
    if quantisation is not None and not quantisation.ScaleIsNone():
        scale = tuple(float(value) for value in quantisation.ScaleAsNumpy())
        zero_point = tuple(_vector(quantisation, "ZeroPoint"))
    return Tensor(
        name=name,
        shape=_shape(tensor),
        dtype=_DTYPES.get(tensor.Type(), f"type {tensor.Type()}"),
        scale=scale,
        zero_point=zero_point,
        constant=_is_stored(model, tensor),
    )


def _shape(tensor: schema.Tensor) -> tuple[int | None, ...] | None:
    """Return the shape with None for dimensions that the caller chooses; None if the rank is unknown too.

    An empty vector is a scalar in a converter's file; only `has_rank` tells it from an unknown rank, and only newer
    converters write that, so that an empty shape is taken for a scalar.
    """
    shape = _vector(tensor, "ShapeSignature") or _vector(tensor, "Shape")
    if len(shape) > _MAX_RANK:
        raise SpecError(f"a tensor with {len(shape)} dimensions")
    return tuple(None if size < 0 else size for size in shape)


def _is_stored(model: schema.Model, tensor: schema.Tensor) -> bool:
    if tensor.Buffer() == 0:
        return False  # buffer 0 is empty by the format's definition
    buffer = model.Buffers(tensor.Buffer())
    if buffer is None:
        return False
    if buffer.Offset() > 1:  # kept behind the flatbuffer, as in files of more than 2 GB
        if buffer.Offset() + buffer.Size() > len(buffer._tab.Bytes):
            raise SpecError("it ends before its weights do")
        return True
    buffer.DataAsNumpy()  # raises if the file ends before the data does; copies nothing
    return bool(buffer.DataLength() > 0)


def _op(model: schema.Model, op: schema.Operator, names: list[str]) -> Op:
    outputs = tuple(names[index] for index in _vector(op, "Outputs") if index >= 0)
    op_type = _op_type(model.OperatorCodes(op.OpcodeIndex()))
    return Op(
        name=outputs[0] if outputs else op_type,
        op_type=op_type,
        inputs=tuple("" if index < 0 else names[index] for index in _vector(op, "Inputs")),  # -1: left out
        outputs=outputs,
        attributes=_attributes(op),
    )


def _op_type(code: schema.OperatorCode) -> str:
    # Old files have only the first field, which is one byte wide; new ones write the larger number to the second.
    number = max(code.DeprecatedBuiltinCode(), code.BuiltinCode())
    if number == schema.BuiltinOperator.CUSTOM:
        return f"CUSTOM:{_text(code.CustomCode())}"
    return _OPS.get(number, f"operator {number}")


def _attributes(op: schema.Operator) -> dict[str, Any]:
    """Return the op's options under the schema's names in snake case; enums as their names."""
    attributes: dict[str, Any] = {}
    for kind, creator, table in (
        (op.BuiltinOptionsType(), schema.BuiltinOptionsCreator, op.BuiltinOptions()),
        (op.BuiltinOptions2Type(), schema.BuiltinOptions2Creator, op.BuiltinOptions2()),
    ):
        options = creator(kind, table)
        for field, value in vars(options).items() if options is not None else ():
            name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", field).lower()
            value = _ENUM_OPTIONS[name].get(value, value) if name in _ENUM_OPTIONS else value
            if isinstance(value, str | int | float | bool):
                attributes[name] = value
    return attributes


def _metadata(model: schema.Model) -> dict[str, str]:
    found = {"description": _text(model.Description()), "schema_version": str(model.Version())}
    entries = [model.Metadata(index) for index in range(model.MetadataLength())]
    if entries:
        found["metadata_names"] = ", ".join(_text(entry.Name()) for entry in entries)
    for entry in entries:
        if _text(entry.Name()) == _TEXT_METADATA:
            buffer = model.Buffers(entry.Buffer())
            found[_TEXT_METADATA] = _text(bytes(buffer.DataAsNumpy())).rstrip("\0") if buffer.DataLength() else ""
    signatures = [model.SignatureDefs(index) for index in range(model.SignatureDefsLength())]
    if signatures:
        found["signatures"] = ", ".join(_text(signature.SignatureKey()) for signature in signatures)
    if model.SubgraphsLength() > 1:
        found["subgraphs"] = str(model.SubgraphsLength())
    return found


def _packed_files(path: Path) -> dict[str, str]:
    """Return the names of the files (labels) that a zip archive behind the flatbuffer holds."""
    if not zipfile.is_zipfile(path):
        return {}
    try:
        with zipfile.ZipFile(path) as archive:
            return {"packed_files": ", ".join(archive.namelist())}
    except zipfile.BadZipFile:
        return {}  # bytes of weights can look like the end of an archive
