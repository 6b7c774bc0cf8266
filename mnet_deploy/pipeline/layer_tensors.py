"""Where a file keeps the output of each layer, and reading it for some images."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from mnet_deploy.artifact import TensorInfo
from mnet_deploy.converters.onnx_nodes import with_outputs
from mnet_deploy.graph_facts import DEQUANTISE_OPS, QUANTISE_OPS
from mnet_deploy.graph_readers import GraphFormat, OpGraph, read_graph
from mnet_deploy.progress import Progress
from mnet_deploy.runners import local
from mnet_deploy.spec import ModelSpec
from mnet_deploy.spec.families import INPUT_NAME
from mnet_deploy.spec.layer_spec import Shape

FloatArray = NDArray[np.float32]

LAYER_IMAGES = 32  # enough for the noise of a layer: it has thousands of elements an image
_CHUNK_ELEMENTS = 40_000_000  # of all layers, in memory at once: 160 MB in float32, 7 images at 1.0-224
# What converters append to a layer's name: the layer fused into it (`_relu`), a number that makes it unique, the form.
_APPENDED = r"(_bn|_relu)?(_\d+)?(\.quantized)?"
_SEPARATORS = re.compile("[;/]")  # TensorFlow joins paths of scopes with `;` where ops were fused
_CONVERTING_OPS = QUANTISE_OPS | DEQUANTISE_OPS


def in_chunks(images: FloatArray, spec: ModelSpec, progress: Progress) -> Iterator[FloatArray]:
    """Yield images a few at a time: as many as the outputs of all layers fit into memory for."""
    step = max(1, _CHUNK_ELEMENTS // sum(layer.out_elements for layer in spec.layers()))
    for start in range(0, len(images), step):
        progress.stage(f"layers of image {start + 1} of {len(images)}")
        yield images[start : start + step]
    progress.done()


def find_layer_tensors(graph: OpGraph, spec: ModelSpec) -> dict[str, TensorInfo]:
    """Return the input and each layer's output, after its activation, by layer name; `INPUT_NAME` is the input.

    Of a quantised graph the integer tensors. Layers are told by their names, as parts of the names of tensors; input
    and last layer by their place. A layer that is not found, or not with as many elements, is left out.
    """
    layers = spec.layers()
    found = {INPUT_NAME: _last_integer(graph, _forward(graph, graph.inputs[0]))}
    found |= {layer.name: name for layer in layers[:-1] if (name := _written_by(graph, layer.name)) is not None}
    found[layers[-1].name] = _last_integer(graph, _backward(graph, graph.outputs[0]))
    shapes = {INPUT_NAME: (spec.resolution_px, spec.resolution_px, spec.channels_in)}
    shapes |= {layer.name: layer.out_shape_hwc for layer in layers}
    tensors = {layer: _info(graph, name, shapes[layer]) for layer, name in found.items()}
    return {layer: tensor for layer, tensor in tensors.items() if prod(tensor.shape) == prod(shapes[layer])}


def _written_by(graph: OpGraph, layer: str) -> str | None:
    """Return the last tensor that has the layer's name, before all others one that begins with it."""
    pattern = re.compile(re.escape(layer) + _APPENDED)
    ops = (op for op in graph.ops if op.op_type not in DEQUANTISE_OPS and op.op_type != "QUANTIZE")
    outputs = [name for op in ops for name in op.outputs if _names(name, pattern)]
    begins = [name for name in outputs if _names(name.partition(";")[0], pattern)]
    return next(reversed(begins or outputs), None)


def _names(tensor: str, pattern: re.Pattern[str]) -> bool:
    return any(pattern.fullmatch(part) for part in _SEPARATORS.split(tensor))


def _forward(graph: OpGraph, name: str) -> Iterator[str]:
    """Yield a tensor and what quantising and dequantising ops make of it."""
    yield name
    for op in graph.ops:
        if op.op_type in _CONVERTING_OPS and op.inputs[0] == name:
            yield from _forward(graph, op.outputs[0])
            return


def _backward(graph: OpGraph, name: str) -> Iterator[str]:
    """Yield a tensor and what quantising and dequantising ops made it of."""
    yield name
    for op in graph.ops:
        if op.op_type in _CONVERTING_OPS and name in op.outputs:
            yield from _backward(graph, op.inputs[0])
            return


def _last_integer(graph: OpGraph, names: Iterable[str]) -> str:
    """Return the innermost quantised tensor of a chain that begins outside; its beginning if there is none."""
    chain = list(names)
    return next((name for name in reversed(chain) if graph.tensors[name].scale), chain[0])


def _info(graph: OpGraph, name: str, shape_hwc: Shape) -> TensorInfo:
    tensor = graph.tensors[name]
    shape = tuple(size or 1 for size in tensor.shape or ())
    height, width, channels = shape_hwc
    # An .onnx has the channels first but at its input; a cube is no input.
    is_nhwc = graph.format != GraphFormat.ONNX or (shape[1:] == shape_hwc != (channels, height, width))
    return TensorInfo(
        name=name,
        shape=shape,
        layout="NC" if len(shape) == len("NC") else "NHWC" if is_nhwc else "NCHW",
        dtype=tensor.dtype,
        scale=tensor.scale[0] if len(tensor.scale) == 1 else None,
        zero_point=tensor.zero_point[0] if len(tensor.zero_point) == 1 else None,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerReader:
    """A file whose layers can be read.

    Attributes:
        path: of the file; of an .onnx one that has the layers as outputs.
        input: of the file.
        tensors: by layer name.
    """

    path: Path
    input: TensorInfo
    tensors: dict[str, TensorInfo] = field(default_factory=dict)

    @classmethod
    def open(cls, path: Path, spec: ModelSpec, given: TensorInfo, *, copy: Path) -> Self:
        """Find the layers in a file.

        Args:
            path: a .tflite or .onnx.
            spec: of its model.
            given: the input of the file.
            copy: where a copy with more outputs may be written.

        Raises:
            SpecError: the file cannot be read.
        """
        graph = read_graph(path)
        tensors = find_layer_tensors(graph, spec)
        if graph.format == GraphFormat.ONNX:
            inside = [tensor.name for tensor in tensors.values() if tensor.name not in graph.inputs]
            # parsed by a child process above: a damaged file ends there
            copy.write_bytes(with_outputs(path.read_bytes(), inside))
            path = copy
        return cls(path=path, input=given, tensors=tensors)

    def read(self, images: FloatArray) -> dict[str, NDArray[Any]]:
        """Return what each layer writes, as stored.

        Args:
            images: [images, height, width, channels], normalised.
        """
        stored = self.input.store(images)
        inside = [tensor.name for tensor in self.tensors.values() if tensor.name != self.input.name]
        found = local.infer(self.path, stored, tensors=inside).tensors
        return {layer: found.get(tensor.name, stored) for layer, tensor in self.tensors.items()}

    def real(self, layer: str, stored: NDArray[Any]) -> FloatArray:
        """Return what a layer wrote as real values [images, elements], the channels last.

        Then neighbouring pixels of a row that are stored as one with more channels lie as in any other file.
        """
        return self.tensors[layer].real(stored).reshape(len(stored), -1)
