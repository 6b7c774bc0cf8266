"""How quantised tensors are written in .onnx: integers with QuantizeLinear and DequantizeLinear around them."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from mnet_deploy.converters.onnx_nodes import Nodes
from mnet_deploy.converters.options import IoType
from mnet_deploy.converters.quantized_graph import QuantizedGraph, QuantParams
from mnet_deploy.spec import LayerKind

ELEMENT_TYPES = {IoType.FLOAT: TensorProto.FLOAT, IoType.INT8: TensorProto.INT8, IoType.UINT8: TensorProto.UINT8}
_UINT8_SHIFT = 128  # between a value in int8 and the same one in uint8


# A softmax answers up to 1, which must be a stored value. TFLite's scale of 1/256 ends just below: there ONNX Runtime's
# fused kernel overflows and answers 0 to a certain class, up to 1.28 on ARM and in .ort files.
SOFTMAX_PARAMS = QuantParams(scale=float(np.float32(1 / 255)), zero_point=-128)


def for_onnx(graph: QuantizedGraph) -> QuantizedGraph:
    """Return a model whose softmax has `SOFTMAX_PARAMS`; the rest stays as it is."""
    layers = (
        replace(layer, output=SOFTMAX_PARAMS) if layer.spec.kind is LayerKind.SOFTMAX else layer
        for layer in graph.layers
    )
    return replace(graph, layers=tuple(layers))


class QdqNodes(Nodes):
    """Nodes of a graph whose activations are int8, or uint8 where `unsigned` says so."""

    def quantize(self, name: str, real: str, params: QuantParams, *, unsigned: bool = False) -> str:
        """Append a QuantizeLinear; return the stored tensor."""
        return self.add("QuantizeLinear", name, [real, *self._params(params, unsigned=unsigned)])

    def dequantize(self, stored: str, params: QuantParams, *, unsigned: bool = False) -> str:
        """Return a stored tensor's real values: one DequantizeLinear, however many read it."""
        name = f"{stored}.real"
        if not self.has(name):
            self.add("DequantizeLinear", name, [stored, *self._params(params, unsigned=unsigned)])
        return name

    def weight(self, name: str, values: NDArray[Any], scale: NDArray[np.float32]) -> str:
        """Store integers with a scale for each entry of the first axis; return the tensor of real values."""
        zero_points = np.zeros(len(scale), values.dtype)
        reads = [self.store(f"{name}.quantized", values), self.store(f"{name}.scale", scale)]
        return self.add("DequantizeLinear", name, [*reads, self.store(f"{name}.zero_point", zero_points)], axis=0)

    def _params(self, params: QuantParams, *, unsigned: bool) -> list[str]:
        """Return the names of scale and zero point; equal ones are stored once."""
        zero_point = np.uint8(params.zero_point + _UINT8_SHIFT) if unsigned else np.int8(params.zero_point)
        return [
            self.store(f"scale.{params.scale:.9g}", np.array(params.scale, np.float32)),
            self.store(f"zero_point.{zero_point.dtype}.{zero_point}", np.array(zero_point)),
        ]
