"""The shapes of a graph's tensors for one image, and which ops disappear when the graph is run."""

from dataclasses import dataclass
from math import prod

from mnet_deploy.graph_facts import CLIP_OPS, WEIGHTED_OPS, channels_first_tensors, constant_tensors
from mnet_deploy.graph_readers import Op, OpGraph, Tensor

Shape = tuple[int, ...]

_RESHAPES = frozenset({"RESHAPE", "SQUEEZE", "EXPAND_DIMS", "Reshape", "Flatten", "Squeeze", "Unsqueeze"})
_FOLDED = frozenset({"BatchNormalization"})
_NOTHING = frozenset(
    {"Identity", "Dropout", "SpatialDropout1D", "SpatialDropout2D", "GaussianNoise", "GaussianDropout"}
)
_ACTIVATIONS = CLIP_OPS | {"Activation", "ReLU", "ReLU6", "LeakyReLU", "PReLU", "Relu6", "ELU", "Tanh"}
_LATE_ACTIVATIONS = frozenset({"softmax", "log_softmax"})  # need the whole output: no runtime fuses them


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphShapes:
    """What counting needs to know of a graph's tensors.

    Attributes:
        of_image: shape by tensor without the batch; None if it is not known.
        channels_first: tensors whose image axes are channels, height, width.
        stored: the stored tensor behind each tensor that does not depend on the input.
        merged: the tensor that a tensor is a part of, for those written by ops that are folded into the op before.
    """

    of_image: dict[str, Shape | None]
    channels_first: frozenset[str]
    stored: dict[str, Tensor]
    merged: dict[str, str]

    def hwc(self, name: str) -> Shape | None:
        """Return the shape for one image with the channels last."""
        shape = self.of_image.get(name)
        if shape is None or name not in self.channels_first:
            return shape
        return (*shape[1:], shape[0])

    def elements(self, name: str) -> int | None:
        """Return the elements for one image; None if a dimension is not known."""
        shape = self.of_image.get(name)
        return None if shape is None else prod(shape)


def graph_shapes(graph: OpGraph) -> GraphShapes:
    """Return the shapes of a graph's tensors for one image."""
    stored = constant_tensors(graph)
    return GraphShapes(
        of_image=_image_shapes(graph, stored),
        channels_first=channels_first_tensors(graph),
        stored=stored,
        merged=_merged_tensors(graph, stored),
    )


def _image_shapes(graph: OpGraph, stored: dict[str, Tensor]) -> dict[str, Shape | None]:
    first = graph.tensors[graph.inputs[0]].shape if graph.inputs else None
    batch = first[0] if first else None
    found = {name: _image_shape(tensor.shape, batch) for name, tensor in graph.tensors.items()}
    mixed: set[str] = set()
    for op in graph.ops:
        reads = [name for name in op.inputs if name in graph.tensors and name not in stored]
        for name in op.outputs:
            shape = graph.tensors[name].shape
            if shape and shape[0] is None and (mixed & set(reads) or _merges_into_batch(op, name, reads, found)):
                mixed.add(name)
    return found | dict.fromkeys(mixed)


def _image_shape(shape: tuple[int | None, ...] | None, batch: int | None) -> Shape | None:
    """Return a shape without its batch; a first dimension that is no batch stays, a multiple of it is divided."""
    if not shape:
        return None if shape is None else ()
    head, rest = shape[0], tuple(size for size in shape[1:] if size is not None)
    if len(rest) != len(shape) - 1:
        return None
    if head is None or head == batch:
        return rest
    if batch and head % batch == 0:
        return (head // batch, *rest)
    return (head, *rest)


def _merges_into_batch(op: Op, name: str, reads: list[str], found: dict[str, Shape | None]) -> bool:
    """Whether a reshape hides other dimensions in the unknown first one, so that it is no batch any more."""
    if op.op_type not in _RESHAPES or not reads:
        return False
    before, after = found[reads[0]], found[name]
    return before is None or after is None or prod(before) != prod(after)


def _merged_tensors(graph: OpGraph, stored: dict[str, Tensor]) -> dict[str, str]:
    """Return which tensors are no memory of their own: name -> the tensor that holds them.

    In a .tflite every op runs. Runtimes for .onnx, and every exporter of a .keras, fold batch normalisation and
    activations into the convolution before them, and run ops between dequantising and quantising ones on integers.
    """
    if graph.format == "tflite":
        return {}
    read_by: dict[str, int] = {}
    for op in graph.ops:
        for name in set(op.inputs):
            read_by[name] = read_by.get(name, 0) + 1
    merged: dict[str, str] = {}
    fusing: set[str] = set()  # tensors that a convolution or matrix product writes, with what is folded into it
    for op in graph.ops:
        reads = [name for name in op.inputs if name in graph.tensors and name not in stored]
        if op.op_type in WEIGHTED_OPS:
            fusing.update(op.outputs)
        elif len(reads) == 1 and _is_folded(op, reads[0], graph, read_by, fusing):
            merged.update((name, merged.get(reads[0], reads[0])) for name in op.outputs)
            fusing.update(op.outputs if reads[0] in fusing else ())
    return merged


def _is_folded(op: Op, read: str, graph: OpGraph, read_by: dict[str, int], fusing: set[str]) -> bool:
    if op.op_type in _NOTHING or op.op_type == "DequantizeLinear":
        return op.outputs[0] not in graph.outputs
    if read_by[read] > 1 or read in graph.outputs:
        return False
    if op.op_type == "QuantizeLinear":
        return read not in graph.inputs
    if op.attributes.get("activation") in _LATE_ACTIVATIONS:
        return False
    return read in fusing and op.op_type in _FOLDED | _ACTIVATIONS
