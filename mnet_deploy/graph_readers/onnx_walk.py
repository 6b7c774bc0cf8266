"""Everything in an .onnx model, however deep: the graphs in attributes, the functions, the training graphs."""

from collections.abc import Iterable, Iterator

from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, SparseTensorProto, TensorProto


def with_inner(nodes: Iterable[NodeProto]) -> Iterator[NodeProto]:
    """Yield nodes and those of the graphs in their attributes (If, Loop, Scan)."""
    for node in nodes:
        yield node
        for attribute in node.attribute:
            for graph in _graphs(attribute):
                yield from with_inner(graph.node)


def stored_tensors(model: ModelProto) -> Iterator[TensorProto]:
    """Yield every tensor that a model stores."""
    yield from _graph_tensors(model.graph)
    for function in model.functions:
        yield from _node_tensors(function.node)
    for training in model.training_info:
        yield from _graph_tensors(training.initialization)
        yield from _graph_tensors(training.algorithm)


def _graph_tensors(graph: GraphProto) -> Iterator[TensorProto]:
    yield from graph.initializer
    yield from _parts(graph.sparse_initializer)
    yield from _node_tensors(graph.node)


def _node_tensors(nodes: Iterable[NodeProto]) -> Iterator[TensorProto]:
    for node in with_inner(nodes):
        for attribute in node.attribute:
            yield from attribute.tensors
            yield from _parts(attribute.sparse_tensors)
            if attribute.HasField("t"):
                yield attribute.t
            if attribute.HasField("sparse_tensor"):
                yield from _parts([attribute.sparse_tensor])
            for graph in _graphs(attribute):
                yield from graph.initializer
                yield from _parts(graph.sparse_initializer)


def _graphs(attribute: AttributeProto) -> Iterator[GraphProto]:
    yield from attribute.graphs
    if attribute.HasField("g"):
        yield attribute.g


def _parts(tensors: Iterable[SparseTensorProto]) -> Iterator[TensorProto]:
    for tensor in tensors:
        yield tensor.values
        yield tensor.indices
