"""Read the graph of any .tflite, .onnx or .keras file, in a child process."""

from mnet_deploy.graph_readers.graph import Op, OpGraph, Tensor
from mnet_deploy.graph_readers.read import GraphFormat, detect_format, read_graph

__all__ = ["GraphFormat", "Op", "OpGraph", "Tensor", "detect_format", "read_graph"]
