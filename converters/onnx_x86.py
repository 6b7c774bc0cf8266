"""The quantised model as .onnx for ONNX Runtime on x86-64: the same answers, arranged for its fused kernels.

Activations are uint8, the form that those kernels take (ONNX Runtime converts int8 into it when it loads a file, but
not next to an input or output in int8). `onnx_x86_plan` decides on the form of each layer.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from mnet_deploy.converters.onnx_blocking import (
    PLAIN,
    Blocking,
    blocked_kernel,
    dense_kernel,
    require_row_geometry,
)
from mnet_deploy.converters.onnx_float import onnx_kernel
from mnet_deploy.converters.onnx_int8 import require_several_classes
from mnet_deploy.converters.onnx_qdq import ELEMENT_TYPES, QdqNodes, for_onnx
from mnet_deploy.converters.onnx_x86_plan import LayerPlan, plan_x86
from mnet_deploy.converters.options import IoType, Layout, OnnxOptions
from mnet_deploy.converters.quantized_graph import QuantizedGraph, QuantizedLayer, QuantParams
from mnet_deploy.spec import LayerKind, LayerSpec
from mnet_deploy.spec.families import INPUT_NAME

_TO_NCHW, _TO_NHWC = [0, 3, 1, 2], [0, 2, 3, 1]
_ZEROS = -1  # in a list of stored channels: one that pads

Channels = NDArray[np.intp]
_Number = TypeVar("_Number", np.int8, np.int32, np.float32)


def write_int8_x86(graph: QuantizedGraph, options: OnnxOptions, io: IoType = IoType.FLOAT) -> bytes:
    """Return the model.

    Raises:
        ConversionError: a softmax over a single class, or see `Nodes.finish`.
    """
    require_several_classes(graph.spec)
    writer = _X86Writer(plan_x86(graph.spec))
    last = writer.write(for_onnx(graph), options, io)
    return writer.nodes.finish(graph.spec, last, options, dtype=ELEMENT_TYPES[io])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tensor:
    """A tensor in uint8.

    Attributes:
        name: of the stored tensor.
        params: as int8.
        shape_hw: height and width in pixels.
        channels: the model's channel that each stored one holds, `_ZEROS` for those that pad.
        pixels: in one position.
        layout: of the stored tensor.
    """

    name: str
    params: QuantParams
    shape_hw: tuple[int, int]
    channels: Channels = field(repr=False)
    pixels: int = 1
    layout: Layout = Layout.NCHW


class _X86Writer:
    """Appends one layer after the other.

    Rows are blocked by Reshape in NHWC order. ONNX Runtime runs convolutions in that order, so every Transpose beside
    such a Reshape is cancelled by one of its own, and the Reshape moves no byte.
    """

    def __init__(self, plans: Mapping[str, LayerPlan]) -> None:
        self.nodes = QdqNodes()
        self._plans = plans
        self._tensors: dict[str, _Tensor] = {}

    def write(self, graph: QuantizedGraph, options: OnnxOptions, io: IoType) -> str:
        """Append all layers; return the tensor of the model's output."""
        self._tensors[INPUT_NAME] = self._input(graph, options.layout, io)
        for layer in graph.layers:
            _WRITERS[layer.spec.kind](self, layer)
        last = graph.layers[-1].spec.name
        stored, params = self._view(self._tensors[last], pixels=1), self._tensors[last].params
        if io is IoType.UINT8:
            return stored
        real = self.nodes.dequantize(stored, params, unsigned=True)
        return real if io is IoType.FLOAT else self.nodes.quantize(f"{last}.{io}", real, params)

    def _input(self, graph: QuantizedGraph, layout: Layout, io: IoType) -> _Tensor:
        name, params, spec = INPUT_NAME, graph.input, graph.spec
        if io is not IoType.UINT8:
            real = self.nodes.dequantize(name, params) if io is IoType.INT8 else name
            name = self.nodes.quantize(f"{name}.quantized", real, params, unsigned=True)
        shape_hw = (spec.resolution_px, spec.resolution_px)
        return _Tensor(name=name, params=params, shape_hw=shape_hw, channels=np.arange(spec.channels_in), layout=layout)

    def convolution(self, layer: QuantizedLayer) -> None:
        spec, plan = layer.spec, self._plans[layer.spec.name]
        given, pixels = self._tensors[spec.inputs[0]], plan.blocking.write_px
        kernel, scale, bias = layer.require_weights()
        is_depthwise = spec.kind is LayerKind.DEPTHWISE
        channels = given.channels if is_depthwise else _padded(spec.out_shape_hwc[2], plan.channels)
        kernel = _stored(kernel if is_depthwise else _stored(kernel, given.channels, axis=2), channels, axis=3)
        groups = len(channels) if is_depthwise and plan.blocking == PLAIN else 1
        if is_depthwise and groups == 1:
            kernel = dense_kernel(kernel)
        scale = np.tile(_stored(scale, channels, fill=1), pixels)
        reads = [
            self._read(given, pixels=plan.blocking.read_px),
            self.nodes.weight(f"{spec.name}.weight", onnx_kernel(blocked_kernel(kernel, spec, plan.blocking)), scale),
            self.nodes.weight(
                f"{spec.name}.bias", np.tile(_stored(bias, channels), pixels), np.float32(given.params.scale) * scale
            ),
        ]
        written = self.nodes.add("Conv", spec.name, reads, **_attributes(spec, plan.blocking, groups))
        self._quantize(layer, written, channels, pixels=pixels)

    def concatenation(self, layer: QuantizedLayer) -> None:
        given = [self._tensors[name] for name in layer.spec.inputs]
        before = np.cumsum([0, *(np.count_nonzero(tensor.channels != _ZEROS) for tensor in given)])
        channels = [
            np.where(tensor.channels == _ZEROS, _ZEROS, tensor.channels + first)
            for tensor, first in zip(given, before, strict=False)
        ]
        reads = [self._read(tensor) for tensor in given]
        self._quantize(layer, self.nodes.add("Concat", layer.spec.name, reads, axis=1), np.concatenate(channels))

    def global_pool(self, layer: QuantizedLayer) -> None:
        given = self._tensors[layer.spec.inputs[0]]
        self._quantize(layer, self.nodes.add("GlobalAveragePool", layer.spec.name, [self._read(given)]), given.channels)

    def softmax(self, layer: QuantizedLayer) -> None:
        name, given = layer.spec.name, self._tensors[layer.spec.inputs[0]]
        nhwc = self.nodes.add("Transpose", f"{name}_nhwc", [given.name], perm=_TO_NHWC)
        flat = self.nodes.add("Flatten", f"{name}_flat", [nhwc], axis=1)
        real = self.nodes.dequantize(flat, given.params, unsigned=True)
        self._quantize(layer, self.nodes.add("Softmax", name, [real], axis=1), given.channels)

    def _quantize(self, layer: QuantizedLayer, written: str, channels: Channels, *, pixels: int = 1) -> None:
        """Quantise what a layer wrote, and note it."""
        name, params = layer.spec.name, layer.output
        stored = self.nodes.quantize(f"{name}.quantized", written, params, unsigned=True)
        self._tensors[name] = _Tensor(
            name=stored, params=params, shape_hw=layer.spec.out_shape_hwc[:2], channels=channels, pixels=pixels
        )

    def _read(self, tensor: _Tensor, *, pixels: int = 1) -> str:
        """Return the real values of a tensor in NCHW order with some pixels in one position."""
        return self.nodes.dequantize(self._view(tensor, pixels=pixels), tensor.params, unsigned=True)

    def _view(self, tensor: _Tensor, *, pixels: int) -> str:
        """Return a tensor in NCHW order with some pixels in one position."""
        name = tensor.name
        if pixels == tensor.pixels and tensor.layout is Layout.NCHW:
            return name
        if tensor.layout is Layout.NCHW:
            name = self._once("Transpose", f"{tensor.name}.nhwc", [name], perm=_TO_NHWC)
        if pixels != tensor.pixels:
            height, width = tensor.shape_hw
            shape = np.array([0, height, width // pixels, pixels * len(tensor.channels)])  # 0: the batch, as it is
            stored = self.nodes.store(f"shape.{'.'.join(map(str, shape))}", shape)
            name = self._once("Reshape", f"{tensor.name}.by{pixels}_nhwc", [name, stored])
        return self._once("Transpose", f"{tensor.name}.by{pixels}", [name], perm=_TO_NCHW)

    def _once(self, op_type: str, name: str, reads: list[str], **attributes: list[int]) -> str:
        return name if self.nodes.has(name) else self.nodes.add(op_type, name, reads, **attributes)


def _padded(count: int, stored: int) -> Channels:
    return np.concatenate([np.arange(count), np.full(stored - count, _ZEROS)])


def _stored(values: NDArray[_Number], channels: Channels, *, axis: int = 0, fill: int = 0) -> NDArray[_Number]:
    """Return an array with the stored channels along an axis, filled where they pad."""
    widths = [(0, 0)] * values.ndim
    widths[axis] = (0, 1)
    filled = np.pad(values, widths, constant_values=fill)
    return filled.take(channels, axis=axis, mode="wrap")  # `_ZEROS` is the last entry


def _attributes(spec: LayerSpec, blocking: Blocking, groups: int) -> dict[str, int | list[int]]:
    """Return the attributes of a Conv that reads and writes blocked rows."""
    row = require_row_geometry(spec, blocking)
    top, _, bottom, _ = spec.padding_tlbr
    return {
        "kernel_shape": [spec.kernel_px, row.kernel],
        "strides": [spec.stride, row.stride],
        "pads": [top, row.before, bottom, row.after],
        "group": groups,
    }


_WRITERS: dict[LayerKind, Callable[[_X86Writer, QuantizedLayer], None]] = {
    LayerKind.CONVOLUTION: _X86Writer.convolution,
    LayerKind.DEPTHWISE: _X86Writer.convolution,
    LayerKind.POINTWISE: _X86Writer.convolution,
    LayerKind.CLASSIFIER: _X86Writer.convolution,
    LayerKind.CONCATENATION: _X86Writer.concatenation,
    LayerKind.GLOBAL_POOL: _X86Writer.global_pool,
    LayerKind.SOFTMAX: _X86Writer.softmax,
}
