"""Count what a file costs from its own graph, without its spec."""

from dataclasses import replace
from math import prod

from mnet_deploy.cost.estimate import CostEstimate, LayerCost, peak_elements
from mnet_deploy.cost.graph_shapes import GraphShapes, graph_shapes
from mnet_deploy.cost.op_table import Counter, OpView, counter_of
from mnet_deploy.cost.ops_without_macs import has_no_macs
from mnet_deploy.graph_facts import AFFINE_OPS, BATCH_NORM_OPS, DEQUANTISE_OPS, QUANTISE_OPS, is_float
from mnet_deploy.graph_readers import Op, OpGraph, Tensor

_NO_PARAMETERS = QUANTISE_OPS | DEQUANTISE_OPS | {"Resize", "Upsample", "Clip", "Pad", "PADV2"}
_SHIFTS = frozenset({"ADD", "SUB", "Add", "Sub"})
_BIAS_ROLES = ("/bias", "/beta")
_UNTRAINED_ROLES = ("/moving_mean", "/moving_variance")


def estimate_graph(graph: OpGraph, *, title: str) -> CostEstimate:
    """Count the ops of a file's main graph for one image.

    Ops that only prepare stored weights (a cast, a dequantisation) have no row: they run once, before the first image.
    Ops that runtimes and exporters fold into the op before them have one, with nothing read or written. A kernel that
    several ops read is counted with the first.
    """
    shapes = graph_shapes(graph)
    running = [op for op in graph.ops if not op.outputs or any(name not in shapes.stored for name in op.outputs)]
    counted: set[str] = set()
    layers = tuple(_layer(graph, shapes, op, counted) for op in running)
    folded = _with_folded_batch_norms(shapes, running, layers)
    return CostEstimate(
        title=title,
        layers=folded,
        peak_elements=_peak(graph, shapes, running),
        uncounted=tuple(layer.name for layer in folded if layer.macs is None),
    )


def _layer(graph: OpGraph, shapes: GraphShapes, op: Op, counted: set[str]) -> LayerCost:
    counter = counter_of(graph.format, op.op_type)
    reads = _reads(graph, shapes, op)
    data = op.inputs[counter.data] if counter and counter.data < len(op.inputs) else (reads or [""])[0]
    kind, macs = _kind_and_macs(graph, shapes, op, counter, data)
    kernel, bias, batch_norm = _parameters(graph, shapes, op, counter, counted)
    folded = bool(op.outputs) and op.outputs[0] in shapes.merged
    return LayerCost(
        name=op.name,
        kind=kind,
        in_shape=shapes.hwc(data),
        out_shape=shapes.hwc(op.outputs[0]) if op.outputs else None,
        macs=macs,
        weight_count=kernel,
        bias_count=bias + batch_norm,
        own_bias_count=bias,
        batch_norm_count=batch_norm,
        in_elements=0 if folded else _total(shapes, reads),
        out_elements=0 if folded else _total(shapes, op.outputs),
    )


def _reads(graph: OpGraph, shapes: GraphShapes, op: Op) -> list[str]:
    """Return the activations that an op reads, each once."""
    return [name for name in dict.fromkeys(op.inputs) if name in graph.tensors and name not in shapes.stored]


def _total(shapes: GraphShapes, names: list[str] | tuple[str, ...]) -> int | None:
    elements = [shapes.elements(name) for name in names]
    return None if None in elements else sum(count or 0 for count in elements)


def _kind_and_macs(
    graph: OpGraph, shapes: GraphShapes, op: Op, counter: Counter | None, data: str
) -> tuple[str, int | None]:
    if counter is None:
        return op.op_type, 0 if has_no_macs(graph.format, op.op_type) else None
    kernels = tuple(_kernel_shape(graph, shapes, op, index) for index in counter.kernels)
    known = tuple(kernel for kernel in kernels if kernel is not None and len(kernel) >= counter.kernel_rank)
    if len(known) != len(kernels) or not op.outputs:
        return op.op_type, None
    left = graph.tensors.get(op.inputs[0])
    view = OpView(
        data=shapes.of_image.get(data),
        out=shapes.of_image.get(op.outputs[0]),
        kernels=known,
        left=left.shape if left else None,
        channels_first=graph.format == "onnx" or op.attributes.get("data_format") == "channels_first",
        attributes=op.attributes,
    )
    return counter.kind(view), counter.macs(view)


def _kernel_shape(graph: OpGraph, shapes: GraphShapes, op: Op, index: int) -> tuple[int, ...] | None:
    """Return the shape of a weight as the op reads it (dequantised, transposed), or of activations in its place."""
    name = op.inputs[index] if index < len(op.inputs) else ""
    for tensor in (graph.tensors.get(name), shapes.stored.get(name)):
        if tensor is not None and tensor.shape is not None and None not in tensor.shape:
            return tuple(size for size in tensor.shape if size is not None)
    return shapes.of_image.get(name)


def _parameters(
    graph: OpGraph, shapes: GraphShapes, op: Op, counter: Counter | None, counted: set[str]
) -> tuple[int, int, int]:
    """Return the elements of the kernels, of the biases, and of a batch normalisation's scale and shift.

    Converters store equal biases (zeros, before training) once; a bias counts with every kernel that counts.
    """
    totals = {"kernel": 0, "bias": 0, "batch_norm": 0, "none": 0}
    for index, name in enumerate(op.inputs):
        tensor = shapes.stored.get(name)
        if tensor is None:
            continue
        role = _role(graph, op, counter, index, tensor)
        if tensor.name not in counted or (role == "bias" and totals["kernel"]):
            totals[role] += _size(tensor)
        if role != "none":
            counted.add(tensor.name)
    return totals["kernel"], totals["bias"], totals["batch_norm"]


def _role(graph: OpGraph, op: Op, counter: Counter | None, index: int, tensor: Tensor) -> str:
    if counter is not None:
        return "kernel" if index in counter.kernels else "bias" if index == counter.bias else "none"
    if not (tensor.scale or is_float(tensor)):
        return "none"  # indices, sizes, axes
    if op.op_type in BATCH_NORM_OPS:
        untrained = tensor.name.endswith(_UNTRAINED_ROLES) if graph.format == "keras" else index > 2
        return "none" if untrained else "batch_norm"
    if op.op_type in _NO_PARAMETERS or "QLinear" in op.op_type or (op.op_type in AFFINE_OPS and _size(tensor) == 1):
        return "none"  # factors of the format or of the input's scaling, nothing that was trained
    is_bias = op.op_type in _SHIFTS or (graph.format == "keras" and tensor.name.endswith(_BIAS_ROLES))
    return "bias" if is_bias else "kernel"


def _size(tensor: Tensor) -> int:
    return prod(size or 0 for size in tensor.shape or ())


def _with_folded_batch_norms(
    shapes: GraphShapes, ops: list[Op], layers: tuple[LayerCost, ...]
) -> tuple[LayerCost, ...]:
    """Give the bias that folding a batch normalisation leaves to the op that it is folded into."""
    writers = {name: place for place, op in enumerate(ops) for name in op.outputs}
    found = list(layers)
    for place, op in enumerate(ops):
        target = shapes.merged.get(op.outputs[0]) if op.outputs else None
        if op.op_type in BATCH_NORM_OPS and target is not None:
            into = writers[target]
            channels = (layers[into].out_shape or (0,))[-1]
            found[into] = replace(found[into], bias_count=channels)
            found[place] = replace(found[place], bias_count=0)
    return tuple(found)


def _peak(graph: OpGraph, shapes: GraphShapes, ops: list[Op]) -> int | None:
    """Return the most elements alive at once; None if a shape is not known."""
    steps: list[tuple[str, list[str], int]] = []
    for op in ops:
        reads = [shapes.merged.get(name, name) for name in _reads(graph, shapes, op)]
        for name in op.outputs:
            if name in shapes.merged:
                continue
            elements = shapes.elements(name)
            if elements is None:
                return None
            steps.append((name, reads, elements))
    given = {name: shapes.elements(name) for name in graph.inputs}
    if None in given.values():
        return None
    kept = [shapes.merged.get(name, name) for name in graph.outputs]
    return peak_elements(steps, {name: elements or 0 for name, elements in given.items()}, kept=kept)
