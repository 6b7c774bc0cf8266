"""A quantised model as .onnx: every tensor passes a QuantizeLinear/DequantizeLinear pair, which engines fuse away.

Signed activations and signed weights ("S8S8"), which x86 and ARM engines both run fast. Two other forms are traps in
ONNX Runtime 1.31 on x86: operators such as QLinearConv with signed activations written out run 17 times slower, and
unsigned weights 2.4 times.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from mnet_deploy.converters.onnx_float import conv_attributes, onnx_kernel
from mnet_deploy.converters.onnx_nodes import Nodes
from mnet_deploy.converters.options import IoType, Layout, OnnxOptions
from mnet_deploy.converters.quantized_graph import QuantizedGraph, QuantizedLayer, QuantParams
from mnet_deploy.errors import ConversionError
from mnet_deploy.spec import LayerKind, ModelSpec
from mnet_deploy.spec.families import INPUT_NAME

_ONNX_TYPES = {IoType.FLOAT: TensorProto.FLOAT, IoType.INT8: TensorProto.INT8, IoType.UINT8: TensorProto.UINT8}
_UINT8_SHIFT = 128  # the same value in uint8 and in int8


def write_int8(graph: QuantizedGraph, options: OnnxOptions, io: IoType = IoType.FLOAT) -> bytes:
    """Return the model.

    Raises:
        ConversionError: a softmax over a single class, or see `Nodes.finish`.
    """
    require_several_classes(graph.spec)
    writer = _Int8Writer()
    last = writer.write(graph, options, io)
    return writer.nodes.finish(graph.spec, last, options, dtype=_ONNX_TYPES[io])


def require_several_classes(spec: ModelSpec) -> None:
    """Refuse the one softmax that ONNX Runtime 1.31 computes wrongly in int8: over one class it answers 0, not 1.

    Raises:
        ConversionError: the model has a single class.
    """
    if spec.classes == 1:
        raise ConversionError(
            "an int8 .onnx needs two classes or more: over one, where 1 is the only answer, ONNX Runtime's quantised "
            "softmax answers 0. Received: 1 class. Export it as .tflite, or with --precision fp32"
        )


class _Int8Writer:
    """Appends one layer after the other; each reads the dequantised and writes the quantised form of a tensor."""

    def __init__(self) -> None:
        self.nodes = Nodes()
        self._stored_as: dict[str, str] = {}  # layer: its int8 tensor
        self._params_of: dict[str, QuantParams] = {}

    def write(self, graph: QuantizedGraph, options: OnnxOptions, io: IoType) -> str:
        """Append all layers; return the tensor of the model's output."""
        self._read_input(graph.input, options.layout, io)
        for layer in graph.layers:
            written = _WRITERS[layer.spec.kind](self, layer, [self._read(name) for name in layer.spec.inputs])
            self._quantize(layer.spec.name, written, layer.output)
        last = graph.layers[-1].spec.name
        real = self._read(last)
        if io is IoType.FLOAT:
            return real
        params = self._stored(graph.layers[-1].output, unsigned=io is IoType.UINT8)
        return self.nodes.add("QuantizeLinear", f"{last}.{io}", [real, *params])

    def _read_input(self, params: QuantParams, layout: Layout, io: IoType) -> None:
        real = INPUT_NAME
        if io is not IoType.FLOAT:
            stored = self._stored(params, unsigned=io is IoType.UINT8)
            real = self.nodes.add("DequantizeLinear", f"{INPUT_NAME}.{io}", [INPUT_NAME, *stored])
        self._quantize(INPUT_NAME, real, params)
        if layout is Layout.NHWC:
            image = self._read(INPUT_NAME)
            self._quantize(
                f"{INPUT_NAME}_nchw",
                self.nodes.add("Transpose", f"{INPUT_NAME}_nchw", [image], perm=[0, 3, 1, 2]),
                params,
            )
            self._stored_as[INPUT_NAME] = self._stored_as[f"{INPUT_NAME}_nchw"]

    def convolution(self, layer: QuantizedLayer, reads: list[str]) -> str:
        spec = layer.spec
        kernel, scale, bias = layer.require_weights()
        stored = [
            self._weight(f"{spec.name}.weight", onnx_kernel(kernel), scale),
            self._weight(f"{spec.name}.bias", bias, np.float32(self._params_of[spec.inputs[0]].scale) * scale),
        ]
        return self.nodes.add("Conv", spec.name, [*reads, *stored], **conv_attributes(spec))

    def concatenation(self, layer: QuantizedLayer, reads: list[str]) -> str:
        return self.nodes.add("Concat", layer.spec.name, reads, axis=1)

    def global_pool(self, layer: QuantizedLayer, reads: list[str]) -> str:
        return self.nodes.add("GlobalAveragePool", layer.spec.name, reads)

    def softmax(self, layer: QuantizedLayer, reads: list[str]) -> str:
        flat = f"{layer.spec.name}_flat"
        self._quantize(flat, self.nodes.add("Flatten", flat, reads, axis=1), self._params_of[layer.spec.inputs[0]])
        return self.nodes.add("Softmax", layer.spec.name, [self._read(flat)], axis=1)

    def _quantize(self, name: str, tensor: str, params: QuantParams) -> None:
        """Quantise a tensor and note it as that of a layer."""
        self._params_of[name] = params
        self._stored_as[name] = self.nodes.add("QuantizeLinear", f"{name}.quantized", [tensor, *self._stored(params)])

    def _read(self, name: str) -> str:
        """Return a layer's tensor, dequantised (once, however many read it)."""
        real = f"{self._stored_as[name]}.real"
        if not self.nodes.has(real):
            self.nodes.add("DequantizeLinear", real, [self._stored_as[name], *self._stored(self._params_of[name])])
        return real

    def _stored(self, params: QuantParams, *, unsigned: bool = False) -> list[str]:
        """Return the names of scale and zero point; equal ones are stored once."""
        zero_point = np.uint8(params.zero_point + _UINT8_SHIFT) if unsigned else np.int8(params.zero_point)
        return [
            self.nodes.store(f"scale.{params.scale:.9g}", np.array(params.scale, np.float32)),
            self.nodes.store(f"zero_point.{zero_point.dtype}.{zero_point}", np.array(zero_point)),
        ]

    def _weight(self, name: str, values: NDArray[Any], scale: NDArray[np.float32]) -> str:
        """Store integers with a scale for each entry of the first axis; return the tensor of real values."""
        zero_points = np.zeros(len(scale), values.dtype)
        reads = [self.nodes.store(f"{name}.quantized", values), self.nodes.store(f"{name}.scale", scale)]
        return self.nodes.add(
            "DequantizeLinear", name, [*reads, self.nodes.store(f"{name}.zero_point", zero_points)], axis=0
        )


_WRITERS: dict[LayerKind, Callable[[_Int8Writer, QuantizedLayer, list[str]], str]] = {
    LayerKind.CONVOLUTION: _Int8Writer.convolution,
    LayerKind.DEPTHWISE: _Int8Writer.convolution,
    LayerKind.POINTWISE: _Int8Writer.convolution,
    LayerKind.CLASSIFIER: _Int8Writer.convolution,
    LayerKind.CONCATENATION: _Int8Writer.concatenation,
    LayerKind.GLOBAL_POOL: _Int8Writer.global_pool,
    LayerKind.SOFTMAX: _Int8Writer.softmax,
}
