"""A quantised model as .onnx: every tensor passes a QuantizeLinear/DequantizeLinear pair, which engines fuse away.

Signed activations and signed weights ("S8S8"), which x86 and ARM engines both run fast. Two other forms are traps in
ONNX Runtime 1.31 on x86: operators such as QLinearConv with signed activations written out run 17 times slower, and
unsigned weights 2.4 times.
"""

from collections.abc import Callable

import numpy as np

from mnet_deploy.converters.onnx_float import conv_attributes, onnx_kernel
from mnet_deploy.converters.onnx_qdq import ELEMENT_TYPES, QdqNodes, for_onnx
from mnet_deploy.converters.options import IoType, Layout, OnnxOptions
from mnet_deploy.converters.quantized_graph import QuantizedGraph, QuantizedLayer, QuantParams
from mnet_deploy.errors import ConversionError
from mnet_deploy.spec import LayerKind, ModelSpec
from mnet_deploy.spec.families import INPUT_NAME


def write_int8(graph: QuantizedGraph, options: OnnxOptions, io: IoType = IoType.FLOAT) -> bytes:
    """Return the model.

    Raises:
        ConversionError: a softmax over a single class, or see `Nodes.finish`.
    """
    require_several_classes(graph.spec)
    writer = _Int8Writer()
    last = writer.write(for_onnx(graph), options, io)
    return writer.nodes.finish(graph.spec, last, options, dtype=ELEMENT_TYPES[io])


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
        self.nodes = QdqNodes()
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
        return self.nodes.quantize(f"{last}.{io}", real, graph.layers[-1].output, unsigned=io is IoType.UINT8)

    def _read_input(self, params: QuantParams, layout: Layout, io: IoType) -> None:
        real = INPUT_NAME
        if io is not IoType.FLOAT:
            real = self.nodes.dequantize(INPUT_NAME, params, unsigned=io is IoType.UINT8)
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
            self.nodes.weight(f"{spec.name}.weight", onnx_kernel(kernel), scale),
            self.nodes.weight(f"{spec.name}.bias", bias, np.float32(self._params_of[spec.inputs[0]].scale) * scale),
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
        self._stored_as[name] = self.nodes.quantize(f"{name}.quantized", tensor, params)

    def _read(self, name: str) -> str:
        """Return a layer's tensor, dequantised (once, however many read it)."""
        return self.nodes.dequantize(self._stored_as[name], self._params_of[name])


_WRITERS: dict[LayerKind, Callable[[_Int8Writer, QuantizedLayer, list[str]], str]] = {
    LayerKind.CONVOLUTION: _Int8Writer.convolution,
    LayerKind.DEPTHWISE: _Int8Writer.convolution,
    LayerKind.POINTWISE: _Int8Writer.convolution,
    LayerKind.CLASSIFIER: _Int8Writer.convolution,
    LayerKind.CONCATENATION: _Int8Writer.concatenation,
    LayerKind.GLOBAL_POOL: _Int8Writer.global_pool,
    LayerKind.SOFTMAX: _Int8Writer.softmax,
}
