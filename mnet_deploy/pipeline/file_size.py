"""How large an exported file will be, before it is exported."""

from mnet_deploy.cost import CostEstimate, Precision
from mnet_deploy.errors import SpecError

# What the writers put around kernels and biases, counted in files that they wrote: bytes for each folded bias (scales
# and zero points of its kernel and of itself), for each layer with a kernel, and for each other layer.
_FRAMES: dict[tuple[str, str], tuple[int, int, int]] = {
    ("tflite", "fp32"): (0, 318, 172),
    ("tflite", "fp16"): (0, 511, 172),
    ("tflite", "int8"): (24, 427, 172),
    ("onnx", "fp32"): (0, 325, 132),
    ("onnx", "fp16"): (0, 484, 152),
    ("onnx", "int8"): (13, 992, 498),
}


def predicted_size_bytes(cost: CostEstimate, file_format: str, precision: Precision) -> int:
    """Return the size of a file of trained weights: within 0.1 % for fp32, fp16 and int8.

    A .tflite of random weights is up to 1.5 % smaller: their biases are all zero, and equal ones are stored once.
    dynamic and int16x8 are written by another converter; they are counted like int8 and may be 15 % smaller, or larger.

    Raises:
        SpecError: another format.
    """
    if file_format not in ("tflite", "onnx"):
        raise SpecError(f"a file's size is predicted for tflite and onnx. Received: {file_format!r}")
    key = (file_format, str(precision))
    per_bias, per_kernel, per_other = _FRAMES.get(key, _FRAMES[file_format, "int8"])
    kernels = sum(layer.weight_count > 0 for layer in cost.layers)
    others = len(cost.layers) - kernels
    return cost.stored_bytes(precision) + per_bias * cost.bias_count + per_kernel * kernels + per_other * others
