"""Read a graph in this very process: in the child of `read_graph`, or a file that the caller has just written."""

import importlib
from pathlib import Path

from mnet_deploy.errors import ToolMissing
from mnet_deploy.graph_readers.graph import OpGraph

_READERS = {
    "tflite": "mnet_deploy.graph_readers.tflite_graph",
    "onnx": "mnet_deploy.graph_readers.onnx_graph",
    "keras": "mnet_deploy.graph_readers.keras_graph",
}
_EXTRAS = {"tflite": "litert", "onnx": "onnx", "keras": "export"}


def read_here(graph_format: str, path: Path) -> OpGraph:
    try:
        reader = importlib.import_module(_READERS[graph_format])
    except ModuleNotFoundError as error:
        extra = _EXTRAS[graph_format]
        raise ToolMissing(
            f"the Python package {error.name}", f"reading .{graph_format} needs it: pip install 'mnet-deploy[{extra}]'"
        ) from None
    graph: OpGraph = reader.read(path)
    return graph
