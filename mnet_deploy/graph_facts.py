"""What can be said of a file by looking at its graph: pure functions, used to inspect files and to check exports."""

from collections import Counter
from math import prod

from mnet_deploy.graph_readers import Op, OpGraph, Tensor

# Words of all three formats; they do not collide.
QUANTISE_OPS = frozenset({"QUANTIZE", "QuantizeLinear", "DynamicQuantizeLinear"})
DEQUANTISE_OPS = frozenset({"DEQUANTIZE", "DequantizeLinear"})
WEIGHTED_OPS = frozenset(
    {"CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "FULLY_CONNECTED", "CONV_3D", "CONV_3D_TRANSPOSE"}
    | {"BATCH_MATMUL", "Conv", "ConvTranspose", "ConvInteger", "QLinearConv", "Gemm", "MatMul", "MatMulInteger"}
    | {"QLinearMatMul", "com.microsoft::FusedConv", "com.microsoft::QGemm"}
    | {"Conv1D", "Conv2D", "Conv3D", "DepthwiseConv1D", "DepthwiseConv2D", "SeparableConv1D", "SeparableConv2D"}
    | {"Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose", "Dense"}
)
PAD_OPS = frozenset({"PAD", "PADV2", "MIRROR_PAD", "Pad", "ZeroPadding1D", "ZeroPadding2D", "ZeroPadding3D"})
BATCH_NORM_OPS = frozenset({"BatchNormalization"})
AFFINE_OPS = frozenset({"MUL", "ADD", "SUB", "DIV", "Mul", "Add", "Sub", "Div"})
CLIP_OPS = frozenset({"Relu", "Clip", "LeakyRelu", "PRelu", "HardSwish", "HardSigmoid", "Sigmoid", "Identity"})
# Ops of an .onnx whose first input and output are (batch, channels, spatial...).
_CHANNELS_FIRST_OPS = frozenset(
    {"Conv", "ConvTranspose", "ConvInteger", "QLinearConv", "com.microsoft::FusedConv", "MaxPool", "AveragePool"}
    | {"GlobalAveragePool", "GlobalMaxPool", "BatchNormalization", "InstanceNormalization", "LRN", "DepthToSpace"}
    | {"SpaceToDepth", "LpPool", "GlobalLpPool", "com.microsoft::QLinearGlobalAveragePool"}
)
_AXES_CHANGED = frozenset(
    {"Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Gather", "MatMul", "Gemm", "Permute", "Dense"}
)
_STORED_INTEGERS = frozenset({"int8", "uint8", "int4", "uint4", "int2", "int16", "uint16"})


def op_histogram(graph: OpGraph) -> dict[str, int]:
    """Return how often each op type occurs, the most frequent first."""
    return dict(Counter(op.op_type for op in graph.ops).most_common())


def float_ops(graph: OpGraph) -> tuple[str, ...]:
    """Return the names of the ops that compute on float tensors, in order.

    Not among them: ops that quantise and dequantise where the graph begins and ends or between two integer ops, ops
    that only prepare stored weights, and in an .onnx with quantise/dequantise pairs the ops between such a pair, which
    runtimes execute on integers.
    """
    integer_like = _between_pairs(graph) | set(constant_tensors(graph))
    names = []
    for op in graph.ops:
        if op.op_type in QUANTISE_OPS | DEQUANTISE_OPS:
            continue
        touched = [graph.tensors[name] for name in (*op.inputs, *op.outputs) if name in graph.tensors]
        if any(is_float(tensor) and tensor.name not in integer_like for tensor in touched):
            names.append(op.name)
    return tuple(names)


def fused_relu6_count(graph: OpGraph) -> int:
    """Return how many ops of a .tflite carry a ReLU6 inside."""
    return sum(op.attributes.get("fused_activation_function") == "RELU6" for op in graph.ops)


def fused_activations(graph: OpGraph) -> dict[str, int]:
    """Return how often each activation is fused into another op."""
    found = (fused_activation(op) for op in graph.ops)
    return dict(Counter(name for name in found if name is not None).most_common())


def fused_activation(op: Op) -> str | None:
    """Return the activation that an op carries inside: `RELU6` in a .tflite, `relu6` in a .keras; None if none."""
    name = op.attributes.get("fused_activation_function")
    if name is None and op.op_type in WEIGHTED_OPS:
        name = op.attributes.get("activation")
    return name if isinstance(name, str) and name.lower() not in ("none", "linear") else None


def pad_count(graph: OpGraph) -> int:
    """Return the number of ops that do nothing but pad."""
    return sum(op.op_type in PAD_OPS for op in graph.ops)


def unfolded_batch_norms(graph: OpGraph) -> tuple[str, ...]:
    """Return the names of the batch normalisations that are still ops of their own, in order.

    A .tflite has no such op: what a converter leaves of one is a MUL, ADD or SUB with a stored vector (scalars are
    something else, such as the scaling of the input).
    """
    stored = constant_tensors(graph) if graph.format == "tflite" else {}
    return tuple(
        op.name
        for op in graph.ops
        if op.op_type in BATCH_NORM_OPS
        or (op.op_type in AFFINE_OPS and any(_is_vector(stored[name]) for name in op.inputs if name in stored))
    )


def per_channel_weights(graph: OpGraph) -> tuple[int, int]:
    """Return how many quantised weight tensors have a scale per output channel, and how many a single one.

    A weight tensor is a stored integer tensor with a scale that a convolution or matrix product reads as its kernel.
    One with a single output channel has a scale per channel either way.
    """
    kernels = [(op, tensor) for op, tensor in _kernels(graph) if tensor.dtype in _STORED_INTEGERS and tensor.scale]
    per_channel = sum(len(tensor.scale) > 1 or _channels_out(op, tensor) == 1 for op, tensor in kernels)
    return per_channel, len(kernels) - per_channel


def kernel_tensors(graph: OpGraph) -> tuple[Tensor, ...]:
    """Return the stored kernels of all convolutions and matrix products, each once, as they lie in the file."""
    return tuple(tensor for _, tensor in _kernels(graph))


def _kernels(graph: OpGraph) -> list[tuple[Op, Tensor]]:
    """Return the stored kernels, each with the first op that reads it."""
    stored = constant_tensors(graph)
    found: dict[str, tuple[Op, Tensor]] = {}
    for op in graph.ops:
        if op.op_type not in WEIGHTED_OPS:
            continue
        for tensor in (stored[name] for name in op.inputs if name in stored):
            if len(tensor.shape or ()) >= 2:
                found.setdefault(tensor.name, (op, tensor))
    return list(found.values())


def _channels_out(op: Op, kernel: Tensor) -> int | None:
    if not kernel.shape:
        return None
    return kernel.shape[-1 if op.op_type in ("DEPTHWISE_CONV_2D", "MatMul", "Gemm") else 0]


def constant_tensors(graph: OpGraph) -> dict[str, Tensor]:
    """Return every tensor that does not depend on the input, by name, as the tensor that is stored for it.

    A stored tensor maps to itself; the result of a cast, dequantisation or transposition of one to the stored one.
    """
    stored = {tensor.name: tensor for tensor in graph.tensors.values() if tensor.constant}
    for op in graph.ops:
        reads = [name for name in op.inputs if name]
        if reads and all(name in stored for name in reads):
            stored.update((name, stored[reads[0]]) for name in op.outputs)
    return stored


def channels_first_tensors(graph: OpGraph) -> frozenset[str]:
    """Return the image tensors whose axes are (batch, channels, height, width); all others have the channels last.

    Known from the convolutions and pools that read or write them, and passed on through ops that keep the axes.
    """
    found: set[str] = set()
    for op in (*graph.ops, *reversed(graph.ops)):  # forward to what they feed, backward to what feeds them
        images = {name for name in (*op.inputs, *op.outputs) if _is_image(graph, name)}
        if _is_channels_first(graph, op) or (op.op_type not in _AXES_CHANGED and images & found):
            found |= images
    return frozenset(found)


def layout(graph: OpGraph, name: str) -> str | None:
    """Return the axes of a tensor where they are known: `NHWC`, `NCHW` or `NC`."""
    rank = len(graph.tensors[name].shape or ())
    if rank == 4 and name in channels_first_tensors(graph):
        return "NCHW"
    if rank == 4 and graph.format != "onnx":
        return "NHWC"
    return "NC" if rank == 2 else None


def _is_image(graph: OpGraph, name: str) -> bool:
    tensor = graph.tensors.get(name)
    return tensor is not None and not tensor.constant and len(tensor.shape or ()) >= 3


def _is_channels_first(graph: OpGraph, op: Op) -> bool:
    if graph.format == "keras":
        return op.attributes.get("data_format") == "channels_first"
    return graph.format == "onnx" and op.op_type in _CHANNELS_FIRST_OPS


def is_float(tensor: Tensor) -> bool:
    """Whether a tensor holds floating-point numbers."""
    return "float" in tensor.dtype


def precision_found(graph: OpGraph) -> str:
    """Return in words how the file computes: `float32`, `float16 weights`, `full int8`, ..."""
    kernels = {tensor.dtype for tensor in kernel_tensors(graph)}
    on_float = bool(float_ops(graph))
    if not kernels:
        return "unknown: no convolution or matrix product with stored weights"
    if not on_float:
        if _computes_in(graph, "int16"):
            return "int16x8: int16 activations, int8 weights"
        return f"full {', '.join(sorted(kernels))}"
    if kernels & _STORED_INTEGERS:
        how = "dynamic range" if _computes_on_integers(graph) else "weight-only"
        return f"{how}: integer weights, float activations"
    if kernels == {"float32"}:
        return "float32"
    if kernels <= {"float16", "float32"}:
        return "float16" if _computes_in(graph, "float16") else "float16 weights, float32 activations"
    return f"mixed: {', '.join(sorted(kernels))} weights, float activations"


def _computes_in(graph: OpGraph, dtype: str) -> bool:
    outputs = (graph.tensors.get(name) for op in graph.ops if op.op_type in WEIGHTED_OPS for name in op.outputs)
    return any(tensor is not None and tensor.dtype == dtype for tensor in outputs)


def _computes_on_integers(graph: OpGraph) -> bool:
    """Whether convolutions and matrix products read integer kernels themselves, not ones turned into floats before."""
    read = (graph.tensors.get(name) for op in graph.ops if op.op_type in WEIGHTED_OPS for name in op.inputs[1:])
    return any(tensor is not None and tensor.constant and tensor.dtype in _STORED_INTEGERS for tensor in read)


def _is_vector(tensor: Tensor) -> bool:
    return tensor.shape is not None and None not in tensor.shape and prod(size or 0 for size in tensor.shape) > 1


def _between_pairs(graph: OpGraph) -> set[str]:
    """Return the float tensors between a dequantising and a quantising op, which stand for integers.

    Outputs that go into a quantising op only, directly or through an activation, and inputs that come from a
    dequantising op. Where the two are not on both sides of an op, the op still touches another float tensor.
    """
    readers: dict[str, list[Op]] = {}
    for op in graph.ops:
        for name in op.inputs:
            readers.setdefault(name, []).append(op)
    inside = {name for op in graph.ops if op.op_type == "DequantizeLinear" for name in op.outputs}
    for op in reversed(graph.ops):
        for name in op.outputs:
            users = readers.get(name, [])
            if users and name not in graph.outputs and all(_ends_in_integers(user, inside) for user in users):
                inside.add(name)
    return inside


def _ends_in_integers(user: Op, inside: set[str]) -> bool:
    return user.op_type == "QuantizeLinear" or (
        user.op_type in CLIP_OPS and bool(user.outputs) and all(name in inside for name in user.outputs)
    )
