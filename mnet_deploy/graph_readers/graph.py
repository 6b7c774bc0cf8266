"""The graph of a file, whatever its format: what inspecting and counting need of it."""

from dataclasses import dataclass, field
from typing import Any

from mnet_deploy.errors import SpecError

_NAME_SHOWN_CHARACTERS = 60


class RefusedFile(SpecError):
    """A file that could be parsed, but not used; the message is whole: expected, received, what to try."""


def shown(name: str) -> str:
    """Return a name from a file as it can be printed in a line: quoted, escaped, not too long."""
    cut = name if len(name) <= _NAME_SHOWN_CHARACTERS else f"{name[:_NAME_SHOWN_CHARACTERS]}..."
    return ascii(cut)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """A tensor of a file's graph.

    Attributes:
        name: unique within the graph.
        shape: with the batch as stored in the file; None where a dimension (or the whole) is unknown.
        dtype: NumPy's name of the element type, e.g. `int8`.
        scale: quantisation scales, one a tensor or one a channel; empty for a float tensor.
        zero_point: as many as scales.
        constant: stored in the file (a weight), not computed.
    """

    name: str
    shape: tuple[int | None, ...] | None
    dtype: str
    scale: tuple[float, ...] = ()
    zero_point: tuple[int, ...] = ()
    constant: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Op:
    """An operation of a file's graph.

    Attributes:
        name: the op's own name where the format has one, else that of its output.
        op_type: the format's own word for it, e.g. `DEPTHWISE_CONV_2D`, `Conv`, `Conv2D`.
        inputs: names of the tensors read, constants included, in the format's order.
        outputs: names of the tensors written.
        attributes: of the format, as JSON values: strides, groups, padding, fused activation...
    """

    name: str
    op_type: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpGraph:
    """The main graph of a file.

    Attributes:
        format: `tflite`, `onnx` or `keras`.
        inputs: names of the graph's inputs (weights apart).
        outputs: names of its outputs.
        tensors: by name.
        ops: in the order they run.
        metadata: what the file says of itself (description, producer, opset, metadata names), as text.
    """

    format: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    tensors: dict[str, Tensor]
    ops: tuple[Op, ...]
    metadata: dict[str, str] = field(default_factory=dict)


def graph_from_json(data: dict[str, Any]) -> OpGraph:
    """Rebuild a graph from `json.loads(json.dumps(dataclasses.asdict(graph)))`, where tuples have become lists.

    Raises:
        SpecError: it names tensors that it does not describe.
    """
    graph = OpGraph(
        format=data["format"],
        inputs=tuple(data["inputs"]),
        outputs=tuple(data["outputs"]),
        tensors={name: _tensor_from_json(tensor) for name, tensor in data["tensors"].items()},
        ops=tuple(_op_from_json(op) for op in data["ops"]),
        metadata=data["metadata"],
    )
    needed = {*graph.inputs, *graph.outputs, *(name for op in graph.ops for name in op.outputs)}
    if unknown := needed - graph.tensors.keys():
        raise SpecError(f"its graph names a tensor that it does not describe: {min(unknown)!r}")
    return graph


def _tensor_from_json(data: dict[str, Any]) -> Tensor:
    shape = data["shape"]
    return Tensor(
        name=data["name"],
        shape=None if shape is None else tuple(shape),
        dtype=data["dtype"],
        scale=tuple(data["scale"]),
        zero_point=tuple(data["zero_point"]),
        constant=data["constant"],
    )


def _op_from_json(data: dict[str, Any]) -> Op:
    return Op(
        name=data["name"],
        op_type=data["op_type"],
        inputs=tuple(data["inputs"]),
        outputs=tuple(data["outputs"]),
        attributes=data["attributes"],
    )
