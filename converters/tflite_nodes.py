"""A .tflite under construction: tensors, ops and stored data over the schema that ai-edge-litert ships."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

IDENTIFIER = b"TFL3"
SCHEMA_VERSION = 3
SIGNATURE = b"serving_default"  # the name that runtimes' signature calls expect
SIGNATURE_INPUT, SIGNATURE_OUTPUT = "input", "output"
_ALIGNMENT_BYTES = 16  # of stored data, as the schema's `force_align` asks, which its Python classes do not follow
_TYPES = {
    "float32": schema.TensorType.FLOAT32,
    "float16": schema.TensorType.FLOAT16,
    "int32": schema.TensorType.INT32,
    "int8": schema.TensorType.INT8,
    "uint8": schema.TensorType.UINT8,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantization:
    """Scale and zero point of a tensor: one of each, or one for each entry of an axis."""

    scale: NDArray[np.float32]
    zero_point: NDArray[np.int64]
    axis: int = 0


class _AlignedBuffer(schema.BufferT):  # type: ignore[misc] # the schema has no type information
    def Pack(self, builder: flatbuffers.Builder) -> int:  # noqa: N802 - the name that the schema's classes call
        data = None
        if self.data is not None:
            content = bytes(self.data)
            builder.StartVector(1, len(content), _ALIGNMENT_BYTES)
            builder.head -= len(content)
            builder.Bytes[builder.head : builder.head + len(content)] = content
            data = builder.EndVector()
        schema.BufferStart(builder)
        if data is not None:
            schema.BufferAddData(builder, data)
        return int(schema.BufferEnd(builder))


class TfliteNodes:
    """Collects what a model is made of; tensors are known by the number that adding them returns."""

    def __init__(self) -> None:
        self._buffers = [_AlignedBuffer()]  # the first one is empty: that of tensors without stored data
        self._buffer_of: dict[bytes, int] = {}
        self._tensors: list[schema.TensorT] = []
        self._operators: list[schema.OperatorT] = []
        self._codes: dict[tuple[int, int], int] = {}
        self._metadata: list[schema.MetadataT] = []

    def tensor(self, name: str, shape: Sequence[int], dtype: str, quantization: Quantization | None = None) -> int:
        """Add a tensor that is computed or given."""
        return self._add_tensor(name, shape, dtype, 0, quantization)

    def stored(self, name: str, values: NDArray[Any], quantization: Quantization | None = None) -> int:
        """Add a stored tensor."""
        buffer = self._add_buffer(np.ascontiguousarray(values).tobytes())
        return self._add_tensor(name, values.shape, str(values.dtype), buffer, quantization)

    def op(self, builtin: int, version: int, inputs: Sequence[int], output: int, options: Any = None) -> int:  # noqa: ANN401
        """Add an op of the schema's `BuiltinOperator`; return its output."""
        operator = schema.OperatorT()
        operator.opcodeIndex = self._codes.setdefault((builtin, version), len(self._codes))
        operator.inputs, operator.outputs = list(inputs), [output]
        if options is not None:
            operator.builtinOptions = options
            kind = type(options).__name__.removesuffix("T")
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, kind)
        self._operators.append(operator)
        return output

    def uses(self, builtin: int, version: int) -> bool:
        """Whether an op of this version was added."""
        return (builtin, version) in self._codes

    def metadata(self, name: str, content: bytes) -> None:
        """Add an entry of the model's metadata."""
        entry = schema.MetadataT()
        entry.name, entry.buffer = name, self._add_buffer(content)
        self._metadata.append(entry)

    def finish(self, given: int, answered: int, description: str) -> bytes:
        """Return the file, whose input and output are these tensors."""
        graph = schema.SubGraphT()
        graph.name = "main"
        graph.tensors, graph.operators = self._tensors, self._operators
        graph.inputs, graph.outputs = [given], [answered]
        model = schema.ModelT()
        model.version, model.description = SCHEMA_VERSION, description
        model.subgraphs, model.buffers = [graph], self._buffers
        model.operatorCodes = [_operator_code(*key) for key in self._codes]
        model.metadata = self._metadata
        model.signatureDefs = [self._signature(given, answered)]
        builder = flatbuffers.Builder(sum(len(buffer.data or b"") for buffer in self._buffers) + (1 << 16))
        builder.Finish(model.Pack(builder), file_identifier=IDENTIFIER)
        return bytes(builder.Output())

    def _add_buffer(self, content: bytes) -> int:
        """Store bytes, equal ones once; return the number of their buffer."""
        if content in self._buffer_of:
            return self._buffer_of[content]
        buffer = _AlignedBuffer()
        buffer.data = content
        self._buffers.append(buffer)
        self._buffer_of[content] = len(self._buffers) - 1
        return self._buffer_of[content]

    def _add_tensor(
        self, name: str, shape: Sequence[int], dtype: str, buffer: int, quantization: Quantization | None
    ) -> int:
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.type = name, list(shape), _TYPES[dtype]
        tensor.buffer, tensor.hasRank = buffer, True
        if quantization is not None:
            tensor.quantization = schema.QuantizationParametersT()
            tensor.quantization.scale = quantization.scale
            tensor.quantization.zeroPoint = quantization.zero_point
            tensor.quantization.quantizedDimension = quantization.axis
        self._tensors.append(tensor)
        return len(self._tensors) - 1

    def _signature(self, given: int, answered: int) -> schema.SignatureDefT:
        signature = schema.SignatureDefT()
        signature.signatureKey, signature.subgraphIndex = SIGNATURE, 0
        signature.inputs, signature.outputs = [], []
        for named, name, index in (
            (signature.inputs, SIGNATURE_INPUT, given),
            (signature.outputs, SIGNATURE_OUTPUT, answered),
        ):
            entry = schema.TensorMapT()
            entry.name, entry.tensorIndex = name, index
            named.append(entry)
        return signature


def _operator_code(builtin: int, version: int) -> schema.OperatorCodeT:
    code = schema.OperatorCodeT()
    code.builtinCode, code.version = builtin, version
    code.deprecatedBuiltinCode = min(builtin, 127)  # an int8 that runtimes before 2.4 read
    return code
