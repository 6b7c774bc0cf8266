"""What the writers of .onnx share: a list of nodes that grows, stored tensors, and the checked model at the end."""

import json
from collections.abc import Iterable
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from mnet_deploy.converters.options import BatchSize, Layout, OnnxOptions
from mnet_deploy.errors import ConversionError
from mnet_deploy.spec import ModelSpec
from mnet_deploy.spec.families import INPUT_NAME

# Every onnxruntime since 1.12 runs this pair. Left alone, onnx 1.23 writes opset 28 and IR 14, which onnxruntime 1.31
# refuses; newer opsets have nothing that a MobileNet needs.
OPSET = 17
IR_VERSION = 8
OUTPUT_NAME = "output"


class Nodes:
    """Nodes and stored tensors of a graph under construction.

    Every tensor has the name of the node that writes it.
    """

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._stored: dict[str, onnx.TensorProto] = {}

    def add(self, op_type: str, name: str, reads: Iterable[str], **attributes: Any) -> str:  # noqa: ANN401 - onnx's union
        """Append a node; return the name of what it writes."""
        self._nodes.append(helper.make_node(op_type, list(reads), [name], name=name, **attributes))
        return name

    def store(self, name: str, values: NDArray[Any]) -> str:
        """Store a tensor, once for each name; return the name."""
        if name not in self._stored:
            self._stored[name] = numpy_helper.from_array(np.ascontiguousarray(values), name)
        return name

    def has(self, name: str) -> bool:
        """Whether a node or a stored tensor of this name exists."""
        return name in self._stored or any(node.name == name for node in self._nodes)

    def finish(self, spec: ModelSpec, last: str, options: OnnxOptions, *, dtype: int = TensorProto.FLOAT) -> bytes:
        """Return the model with `last` as its output, checked.

        Args:
            spec: gives the shapes of input and output.
            last: the tensor that is the model's output; renamed.
            options: of the file.
            dtype: element type of input and output.

        Raises:
            ConversionError: onnx's checker refuses the model, which would be a defect of the writer.
        """
        for node in self._nodes:
            node.output[:] = [OUTPUT_NAME if tensor == last else tensor for tensor in node.output]
            node.input[:] = [OUTPUT_NAME if tensor == last else tensor for tensor in node.input]
        graph = helper.make_graph(
            self._nodes,
            spec.name,
            [helper.make_tensor_value_info(INPUT_NAME, dtype, input_shape(spec, options))],
            [helper.make_tensor_value_info(OUTPUT_NAME, dtype, _output_shape(spec, options))],
            list(self._stored.values()),
        )
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="mnet-deploy"
        )
        helper.set_model_props(model, {"spec": json.dumps(spec.to_json()), **options.metadata})
        return checked(model)


def checked(model: onnx.ModelProto) -> bytes:
    """Return a model's bytes after onnx's checker and its full shape inference.

    Raises:
        ConversionError: they refuse it.
    """
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ConversionError(f"the .onnx that was written is not valid: {error}") from error
    return bytes(model.SerializeToString())


def with_outputs(content: bytes, names: Iterable[str]) -> bytes:
    """Return a model whose tensors of these names are outputs as well, behind its own.

    Engines fuse a quantised layer only where nobody reads the floats inside: of an int8 model ask for the quantised
    tensors.
    """
    model = onnx.load_from_string(content)
    known = {value.name for value in model.graph.output}
    model.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names if name not in known)
    return bytes(model.SerializeToString())


def input_shape(spec: ModelSpec, options: OnnxOptions) -> list[int | str]:
    """Return the shape of the input with the batch first."""
    size, channels = spec.resolution_px, spec.channels_in
    image = [channels, size, size] if options.layout is Layout.NCHW else [size, size, channels]
    return [_batch(options), *image]


def _output_shape(spec: ModelSpec, options: OnnxOptions) -> list[int | str]:
    height, width, channels = spec.layers()[-1].out_shape_hwc
    return [_batch(options), channels] if spec.classes is not None else [_batch(options), channels, height, width]


def _batch(options: OnnxOptions) -> int | str:
    return "batch" if options.batch is BatchSize.DYNAMIC else 1
