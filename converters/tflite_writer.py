"""A folded or quantised model as .tflite: the ops that TensorFlow's converter writes for it, named after the layers."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from mnet_deploy.converters.folded_graph import FoldedGraph
from mnet_deploy.converters.options import IoType
from mnet_deploy.converters.quantized_graph import QuantizedGraph, QuantParams
from mnet_deploy.converters.tflite_nodes import SIGNATURE_OUTPUT, Quantization, TfliteNodes
from mnet_deploy.spec import Activation, LayerKind, LayerSpec, ModelSpec
from mnet_deploy.spec.families import INPUT_NAME, conv_padding

_OPS = schema.BuiltinOperator
_UINT8_SHIFT = 128  # the same value in uint8 and in int8
_PADDINGS = {"same": schema.Padding.SAME, "valid": schema.Padding.VALID}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Versions:
    """Versions of the ops for one element type, and the first TensorFlow Lite that knows all of them."""

    conv: int
    depthwise: int
    pad: int
    pool: int
    softmax: int
    concatenation: int
    first_runtime: bytes


# As TensorFlow documents them in lite/tools/versioning/op_version.cc and runtime_version.cc.
_FLOAT = _Versions(conv=1, depthwise=1, pad=1, pool=1, softmax=1, concatenation=1, first_runtime=b"1.6.0")
_INT8 = _Versions(conv=3, depthwise=3, pad=2, pool=2, softmax=2, concatenation=2, first_runtime=b"1.14.0")
_HALF_FIRST_RUNTIME = b"1.15.0"
_REQUANTIZE_VERSION = 2  # of QUANTIZE: from integers to integers
_REQUANTIZE_FIRST_RUNTIME = b"1.15.0"
_VERSION_BYTES = 16


def write_float(graph: FoldedGraph, *, half_weights: bool = False) -> bytes:
    """Return the model, which takes and gives float32, [1, height, width, channels].

    Args:
        graph: with folded weights.
        half_weights: store kernels and biases as float16; a DEQUANTIZE for each, which engines do once, at loading.
    """
    writer = _Writer(graph.spec, _FLOAT, "float32")
    writer.begin(INPUT_NAME, None)
    for layer in graph.layers:
        weights = None
        if layer.spec.kind.has_weights:
            kernel, bias = layer.require_weights()
            names = f"{layer.spec.name}/kernel", f"{layer.spec.name}/bias"
            store = writer.half if half_weights else writer.nodes.stored
            weights = [store(names[0], tflite_kernel(layer.spec, kernel)), store(names[1], bias)]
        writer.add(layer.spec, None, weights)
    first_runtime = _HALF_FIRST_RUNTIME if half_weights else _FLOAT.first_runtime
    return writer.finish(writer.tensors[INPUT_NAME], writer.last, first_runtime)


def write_int8(graph: QuantizedGraph, io: IoType = IoType.INT8) -> bytes:
    """Return the model; where input and output are not int8, a QUANTIZE or DEQUANTIZE stands at either end."""
    writer = _Writer(graph.spec, _INT8, "int8")
    given = writer.begin_as(io, graph.input)
    params = {INPUT_NAME: graph.input}
    for layer in graph.layers:
        weights = None
        if layer.spec.kind.has_weights:
            kernel, scale, bias = layer.require_weights()
            bias_scale = np.float32(params[layer.spec.inputs[0]].scale) * scale
            axis = 3 if layer.spec.kind is LayerKind.DEPTHWISE else 0
            weights = [
                writer.nodes.stored(
                    f"{layer.spec.name}/kernel", tflite_kernel(layer.spec, kernel), _per_channel(scale, axis)
                ),
                writer.nodes.stored(f"{layer.spec.name}/bias", bias, _per_channel(bias_scale, 0)),
            ]
        writer.add(layer.spec, layer.output, weights)
        params[layer.spec.name] = layer.output
    answered = writer.end_as(io, graph.layers[-1].output)
    requantizes = writer.nodes.uses(_OPS.QUANTIZE, _REQUANTIZE_VERSION)
    return writer.finish(given, answered, _REQUANTIZE_FIRST_RUNTIME if requantizes else _INT8.first_runtime)


class _Writer:
    """Appends one layer after the other; `dtype` is that of all activations."""

    def __init__(self, spec: ModelSpec, versions: _Versions, dtype: str) -> None:
        self.nodes = TfliteNodes()
        self.tensors: dict[str, int] = {}
        self.last = 0
        self._spec = spec
        self._versions = versions
        self._dtype = dtype
        self._params: dict[str, QuantParams | None] = {}
        self._shapes = {layer.name: layer.out_shape_hwc for layer in spec.layers()}

    def begin(self, name: str, params: QuantParams | None) -> None:
        """Add the input."""
        self._params[INPUT_NAME] = params
        size, channels = self._spec.resolution_px, self._spec.channels_in
        self.tensors[INPUT_NAME] = self.nodes.tensor(name, [1, size, size, channels], self._dtype, _one(params))

    def begin_as(self, io: IoType, params: QuantParams) -> int:
        """Add the input of a quantised model; return the tensor that the caller fills."""
        if io is IoType.INT8:
            self.begin(INPUT_NAME, params)
            return self.tensors[INPUT_NAME]
        size, channels = self._spec.resolution_px, self._spec.channels_in
        given = self.nodes.tensor(INPUT_NAME, [1, size, size, channels], _io_dtype(io), _io_params(io, params))
        self.begin(f"{INPUT_NAME}/int8", params)
        self.nodes.op(_OPS.QUANTIZE, _quantize_version(io), [given], self.tensors[INPUT_NAME])
        return given

    def end_as(self, io: IoType, params: QuantParams) -> int:
        """Return the tensor that the caller reads from a quantised model."""
        if io is IoType.INT8:
            return self.last
        answered = self.nodes.tensor(SIGNATURE_OUTPUT, self._out_shape(), _io_dtype(io), _io_params(io, params))
        if io is IoType.FLOAT:
            return self.nodes.op(_OPS.DEQUANTIZE, 2, [self.last], answered)
        return self.nodes.op(_OPS.QUANTIZE, _quantize_version(io), [self.last], answered)

    def half(self, name: str, values: NDArray[np.float32]) -> int:
        """Store float16 values; return the tensor of their float32 form."""
        stored = self.nodes.stored(f"{name}/half", values.astype(np.float16))
        return self.nodes.op(_OPS.DEQUANTIZE, 3, [stored], self.nodes.tensor(name, values.shape, "float32"))

    def add(self, layer: LayerSpec, params: QuantParams | None, weights: list[int] | None) -> None:
        """Append a layer."""
        self._params[layer.name] = params
        reads = [self.tensors[name] for name in layer.inputs]
        self.last = _WRITERS[layer.kind](self, layer, reads + (weights or []), params)
        self.tensors[layer.name] = self.last

    def convolution(self, layer: LayerSpec, reads: list[int], params: QuantParams | None) -> int:
        depthwise = layer.kind is LayerKind.DEPTHWISE
        options = schema.DepthwiseConv2DOptionsT() if depthwise else schema.Conv2DOptionsT()
        padding, zeros = conv_padding(layer)
        if zeros is not None:
            reads = [self._pad(layer, reads[0], zeros), *reads[1:]]
        options.padding = _PADDINGS[padding]
        options.strideH = options.strideW = layer.stride
        options.dilationHFactor = options.dilationWFactor = layer.dilation
        if layer.activation is Activation.RELU6:
            options.fusedActivationFunction = schema.ActivationFunctionType.RELU6
        if depthwise:
            options.depthMultiplier = 1
            return self._op(_OPS.DEPTHWISE_CONV_2D, self._versions.depthwise, layer, reads, params, options)
        return self._op(_OPS.CONV_2D, self._versions.conv, layer, reads, params, options)

    def concatenation(self, layer: LayerSpec, reads: list[int], params: QuantParams | None) -> int:
        options = schema.ConcatenationOptionsT()
        options.axis = 3
        named = zip(layer.inputs, reads, strict=True)
        reads = [self._in_steps_of(params, name, read, f"{layer.name}/{name}") for name, read in named]
        return self._op(_OPS.CONCATENATION, self._versions.concatenation, layer, reads, params, options)

    def global_pool(self, layer: LayerSpec, reads: list[int], params: QuantParams | None) -> int:
        options = schema.ReducerOptionsT()
        options.keepDims = True
        axes = self.nodes.stored(f"{layer.name}/axes", np.array([1, 2], np.int32))
        return self._op(_OPS.MEAN, self._versions.pool, layer, [*reads, axes], params, options)

    def softmax(self, layer: LayerSpec, reads: list[int], params: QuantParams | None) -> int:
        shape = [1, layer.out_shape_hwc[2]]
        target = self.nodes.stored(f"{layer.name}/shape", np.array(shape, np.int32))
        flat = self.nodes.tensor(f"{layer.name}/flat", shape, self._dtype, self._quantization_of(layer.inputs[0]))
        self.nodes.op(_OPS.RESHAPE, 1, [reads[0], target], flat)
        options = schema.SoftmaxOptionsT()
        options.beta = 1.0
        answer = self.nodes.tensor(layer.name, shape, self._dtype, _one(params))
        return self.nodes.op(_OPS.SOFTMAX, self._versions.softmax, [flat], answer, options)

    def finish(self, given: int, answered: int, first_runtime: bytes) -> bytes:
        """Return the file."""
        self.nodes.metadata("min_runtime_version", first_runtime.ljust(_VERSION_BYTES, b"\0"))
        return self.nodes.finish(given, answered, f"{self._spec.name}, written by mnet-deploy")

    def _op(
        self,
        builtin: int,
        version: int,
        layer: LayerSpec,
        reads: list[int],
        params: QuantParams | None,
        options: object,
    ) -> int:
        written = self.nodes.tensor(layer.name, [1, *layer.out_shape_hwc], self._dtype, _one(params))
        return self.nodes.op(builtin, version, reads, written, options)

    def _pad(self, layer: LayerSpec, read: int, zeros: tuple[tuple[int, int], tuple[int, int]]) -> int:
        (top, bottom), (left, right) = zeros
        height, width, channels = layer.in_shape_hwc
        shape = [1, height + top + bottom, width + left + right, channels]
        amounts = self.nodes.stored(f"{layer.name}/zeros", np.array([(0, 0), *zeros, (0, 0)], np.int32))
        padded = self.nodes.tensor(f"{layer.name}/padded", shape, self._dtype, self._quantization_of(layer.inputs[0]))
        return self.nodes.op(_OPS.PAD, self._versions.pad, [read, amounts], padded)

    def _in_steps_of(self, params: QuantParams | None, name: str, read: int, written: str) -> int:
        """Return a layer's tensor with these parameters: engines join int8 tensors of the same scale only."""
        if self._params[name] == params:
            return read
        joined = self.nodes.tensor(written, [1, *self._shapes[name]], self._dtype, _one(params))
        return self.nodes.op(_OPS.QUANTIZE, _REQUANTIZE_VERSION, [read], joined)

    def _quantization_of(self, name: str) -> Quantization | None:
        return _one(self._params.get(name))

    def _out_shape(self) -> list[int]:
        height, width, channels = self._spec.layers()[-1].out_shape_hwc
        return [1, channels] if self._spec.classes is not None else [1, height, width, channels]


_WRITERS: dict[LayerKind, Callable[[_Writer, LayerSpec, list[int], QuantParams | None], int]] = {
    LayerKind.CONVOLUTION: _Writer.convolution,
    LayerKind.DEPTHWISE: _Writer.convolution,
    LayerKind.POINTWISE: _Writer.convolution,
    LayerKind.CLASSIFIER: _Writer.convolution,
    LayerKind.CONCATENATION: _Writer.concatenation,
    LayerKind.GLOBAL_POOL: _Writer.global_pool,
    LayerKind.SOFTMAX: _Writer.softmax,
}


def tflite_kernel(layer: LayerSpec, kernel: NDArray[Any]) -> NDArray[Any]:
    """Return a kernel [height, width, in per group, out] in TFLite's order.

    [out, height, width, in]; of a depthwise layer [1, height, width, out].
    """
    return kernel.transpose(2, 0, 1, 3) if layer.kind is LayerKind.DEPTHWISE else kernel.transpose(3, 0, 1, 2)


def _one(params: QuantParams | None, shift: int = 0) -> Quantization | None:
    if params is None:
        return None
    scale, zero_point = np.array([params.scale], np.float32), np.array([params.zero_point + shift], np.int64)
    return Quantization(scale=scale, zero_point=zero_point)


def _per_channel(scale: NDArray[np.float32], axis: int) -> Quantization:
    return Quantization(scale=scale, zero_point=np.zeros(len(scale), np.int64), axis=axis)


def _io_params(io: IoType, params: QuantParams) -> Quantization | None:
    return _one(params, _UINT8_SHIFT) if io is IoType.UINT8 else None


def _io_dtype(io: IoType) -> str:
    return "uint8" if io is IoType.UINT8 else "float32"


def _quantize_version(io: IoType) -> int:
    return _REQUANTIZE_VERSION if io is IoType.UINT8 else 1
