"""Run single layers of a quantised model on many images at once, with ONNX Runtime's integer kernels.

The quantiser works through the layers in order and needs what each one really puts out. Activations are uint8 here
(int8 plus 128), NHWC.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from mnet_deploy.converters.onnx_float import conv_attributes, onnx_kernel
from mnet_deploy.converters.onnx_nodes import IR_VERSION, OPSET
from mnet_deploy.converters.quantized_graph import QuantizedLayer, QuantParams
from mnet_deploy.spec import LayerKind

Stored = NDArray[np.uint8]
SHIFT = 128  # from int8 to uint8
_BATCH = 16


def store(params: QuantParams, values: NDArray[np.floating]) -> Stored:
    """Return real values as uint8, [images, ...]."""
    stored = np.empty(values.shape, np.uint8)
    for image, value in zip(stored, values, strict=True):  # one at a time: the steps between take four times the memory
        image[...] = params.store(value).view(np.uint8) + np.uint8(SHIFT)
    return stored


def real(params: QuantParams, stored: Stored) -> NDArray[np.float32]:
    """Return what uint8 values stand for."""
    return (stored.astype(np.float32) - np.float32(params.zero_point + SHIFT)) * np.float32(params.scale)


def run_layer(layer: QuantizedLayer, inputs: Sequence[tuple[Stored, QuantParams]]) -> Stored:
    """Return a layer's output.

    Args:
        layer: any but a softmax.
        inputs: [images, height, width, channels] of each layer that it reads, with its parameters.
    """
    if layer.spec.kind.has_weights:
        return _convolution(layer, *inputs[0])
    if layer.spec.kind is LayerKind.CONCATENATION:
        return np.concatenate([_with_params(stored, params, layer.output) for stored, params in inputs], axis=3)
    if layer.spec.kind is LayerKind.GLOBAL_POOL:
        stored, params = inputs[0]
        means = stored.mean(axis=(1, 2), keepdims=True, dtype=np.float64) - (params.zero_point + SHIFT)
        return store(layer.output, means * params.scale)
    raise ValueError(f"{layer.spec.name}: expected a layer that is not the last; received a {layer.spec.kind}")


def _with_params(stored: Stored, params: QuantParams, wanted: QuantParams) -> Stored:
    return stored if params == wanted else store(wanted, real(params, stored))


def _convolution(layer: QuantizedLayer, stored: Stored, params: QuantParams) -> Stored:
    session = onnxruntime.InferenceSession(_one_layer(layer, params), providers=["CPUExecutionProvider"])
    output = np.empty((len(stored), *layer.spec.out_shape_hwc), np.uint8)
    for start in range(0, len(stored), _BATCH):  # what the session holds beside input and output stays small
        output[start : start + _BATCH] = session.run(None, {"x": stored[start : start + _BATCH]})[0]
    return output


def _one_layer(layer: QuantizedLayer, params: QuantParams) -> bytes:
    """Return a model of one QLinearConv, in ONNX Runtime's form of it that has the channels last."""
    kernel, kernel_scale, bias = layer.require_weights()
    stored: dict[str, NDArray[Any] | np.generic] = {
        "x_scale": np.float32(params.scale),
        "x_zero_point": np.uint8(params.zero_point + SHIFT),
        "w": onnx_kernel(kernel),
        "w_scale": kernel_scale,
        "w_zero_point": np.zeros(len(kernel_scale), np.int8),
        "y_scale": np.float32(layer.output.scale),
        "y_zero_point": np.uint8(layer.output.zero_point + SHIFT),
        "bias": bias,
    }
    domain = "com.microsoft"
    attributes: dict[str, Any] = {"channels_last": 1, **conv_attributes(layer.spec)}
    node = helper.make_node("QLinearConv", ["x", *stored], ["y"], domain=domain, **attributes)
    shapes = (("x", layer.spec.in_shape_hwc), ("y", layer.spec.out_shape_hwc))
    given, answered = (helper.make_tensor_value_info(name, TensorProto.UINT8, ["n", *shape]) for name, shape in shapes)
    tensors = [numpy_helper.from_array(np.ascontiguousarray(value), name) for name, value in stored.items()]
    graph = helper.make_graph([node], layer.spec.name, [given], [answered], tensors)
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(domain, 1)]
    return bytes(helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION).SerializeToString())
