"""A folded model as .onnx in float32, or with float16 weights: standard ops only, node names are layer names."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from mnet_deploy.converters.folded_graph import FoldedGraph, FoldedLayer
from mnet_deploy.converters.onnx_nodes import Nodes
from mnet_deploy.converters.options import Layout, OnnxOptions
from mnet_deploy.spec import Activation, LayerKind, LayerSpec
from mnet_deploy.spec.families import INPUT_NAME
from mnet_deploy.spec.layer_spec import RELU6_MAX


def write_float(graph: FoldedGraph, options: OnnxOptions, *, half_weights: bool = False) -> bytes:
    """Return the model, which takes and gives float32.

    Args:
        graph: with folded weights.
        options: of the file.
        half_weights: store kernels and biases as float16, with a Cast to float32 that engines do once, at loading.

    Raises:
        ConversionError: see `Nodes.finish`.
    """
    writer = _FloatWriter(half_weights=half_weights)
    last = writer.write(graph, options)
    return writer.nodes.finish(graph.spec, last, options)


class _FloatWriter:
    """Appends one layer after the other."""

    def __init__(self, *, half_weights: bool) -> None:
        self.nodes = Nodes()
        self._half_weights = half_weights
        self._tensor_of = {INPUT_NAME: INPUT_NAME}

    def write(self, graph: FoldedGraph, options: OnnxOptions) -> str:
        """Append all layers; return the tensor of the last one."""
        if options.layout is Layout.NHWC:
            self._tensor_of[INPUT_NAME] = self.nodes.add("Transpose", "input_nchw", [INPUT_NAME], perm=[0, 3, 1, 2])
        for layer in graph.layers:
            reads = [self._tensor_of[name] for name in layer.spec.inputs]
            self._tensor_of[layer.spec.name] = _WRITERS[layer.spec.kind](self, layer, reads)
        return self._tensor_of[graph.layers[-1].spec.name]

    def convolution(self, layer: FoldedLayer, reads: list[str]) -> str:
        spec = layer.spec
        kernel, bias = layer.require_weights()
        stored = [self._weight(f"{spec.name}.weight", onnx_kernel(kernel)), self._weight(f"{spec.name}.bias", bias)]
        tensor = self.nodes.add("Conv", spec.name, [*reads, *stored], **conv_attributes(spec))
        if spec.activation is not Activation.RELU6:
            return tensor
        limits = [
            self.nodes.store("relu6.min", np.array(0, np.float32)),
            self.nodes.store("relu6.max", np.array(RELU6_MAX, np.float32)),
        ]
        return self.nodes.add("Clip", f"{spec.name}_relu", [tensor, *limits])

    def concatenation(self, layer: FoldedLayer, reads: list[str]) -> str:
        return self.nodes.add("Concat", layer.spec.name, reads, axis=1)

    def global_pool(self, layer: FoldedLayer, reads: list[str]) -> str:
        return self.nodes.add("GlobalAveragePool", layer.spec.name, reads)

    def softmax(self, layer: FoldedLayer, reads: list[str]) -> str:
        flat = self.nodes.add("Flatten", f"{layer.spec.name}_flat", reads, axis=1)
        return self.nodes.add("Softmax", layer.spec.name, [flat], axis=1)

    def _weight(self, name: str, values: NDArray[np.float32]) -> str:
        if not self._half_weights:
            return self.nodes.store(name, values)
        stored = self.nodes.store(f"{name}.half", values.astype(np.float16))
        return self.nodes.add("Cast", name, [stored], to=TensorProto.FLOAT)


_WRITERS: dict[LayerKind, Callable[[_FloatWriter, FoldedLayer, list[str]], str]] = {
    LayerKind.CONVOLUTION: _FloatWriter.convolution,
    LayerKind.DEPTHWISE: _FloatWriter.convolution,
    LayerKind.POINTWISE: _FloatWriter.convolution,
    LayerKind.CLASSIFIER: _FloatWriter.convolution,
    LayerKind.CONCATENATION: _FloatWriter.concatenation,
    LayerKind.GLOBAL_POOL: _FloatWriter.global_pool,
    LayerKind.SOFTMAX: _FloatWriter.softmax,
}


def onnx_kernel(kernel: NDArray[Any]) -> NDArray[Any]:
    """Return a kernel [height, width, in per group, out] in ONNX's order [out, in per group, height, width]."""
    return kernel.transpose(3, 2, 0, 1)


def conv_attributes(spec: LayerSpec) -> dict[str, int | list[int]]:
    """Return the attributes of a Conv; `pads` has the zeros of the top, left, bottom and right."""
    return {
        "kernel_shape": [spec.kernel_px] * 2,
        "strides": [spec.stride] * 2,
        "dilations": [spec.dilation] * 2,
        "pads": list(spec.padding_tlbr),
        "group": spec.groups,
    }
