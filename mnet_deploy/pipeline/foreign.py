"""Image classifiers that this toolkit did not write: what their graph says, and the usual where it says nothing."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mnet_deploy.artifact import TensorInfo
from mnet_deploy.errors import SpecError
from mnet_deploy.graph_readers import OpGraph, Tensor, read_graph
from mnet_deploy.graph_readers.graph import shown
from mnet_deploy.normalization import WHITE, Normalization
from mnet_deploy.pipeline.photo_model import PhotoModel
from mnet_deploy.pipeline.preparation import Preparation
from mnet_deploy.runners import local

MAX_RESOLUTION_PX = 4096  # beyond any classifier of photos; keeps a file from asking for all memory
_RAW_TYPES = ("uint8", "int8")  # as wide as a pixel
_TYPES = (*_RAW_TYPES, "float32", "float16", "int16")


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What the user says of a file; None where the file or the usual decides.

    Attributes:
        normalization: from 8-bit pixels to the model's real input.
        resolution_px: side of the square input.
        bgr: whether the model wants blue first.
        squash: whether the model wants whole photos, scaled to the square.
    """

    normalization: Normalization | None = None
    resolution_px: int | None = None
    bgr: bool = False
    squash: bool = False


def open_foreign(path: Path, told: Told) -> tuple[PhotoModel, tuple[str, ...]]:
    """Describe an image classifier by its graph; return also what the user should know.

    Raises:
        SpecError: no .tflite or .onnx, or not one image in and one score a class out.
        DeviceError: an engine is missing or crashed.
    """
    graph = read_graph(path)
    if graph.format not in ("tflite", "onnx"):
        raise SpecError(f"{path}: an engine runs .tflite and .onnx files. Received: a .{graph.format}. Export it first")
    given, resolution_px, channels = _image_input(path, _only(path, graph, "input"), told.resolution_px)
    output = _only(path, graph, "output")
    if output.dtype not in _TYPES:
        raise _not(path, f"scores in {', '.join(_TYPES)}", f"an output of type {output.dtype}")
    if told.normalization and given.scale is None and "int" in given.dtype:
        raise SpecError(
            f"{path}: its {given.dtype} input has no scale, it takes pixels as they are. Leave out --normalization"
        )
    classes = _classes(output)
    if classes is None:
        classes = _classes_when_run(path, given, resolution_px, channels)
    if classes < 2:
        raise _not(path, "one score for each of 2 or more classes", f"an output of shape {_text(output)}")
    model = PhotoModel(
        path=path,
        input=given,
        output=_tensor(output, layout="NC"),
        resolution_px=resolution_px,
        channels_in=channels,
        classes=classes,
        labels=None,
        preparation=Preparation(
            normalization=told.normalization or _usual_normalization(given), bgr=told.bgr, squash=told.squash
        ),
    )
    return model, () if told.normalization else (_assumed(model),)


def _only(path: Path, graph: OpGraph, end: str) -> Tensor:
    names = graph.inputs if end == "input" else graph.outputs
    if len(names) != 1:
        listed = ", ".join(shown(name) for name in names[:3]) + (", ..." if len(names) > 3 else "")
        raise _not(path, f"one {end}", f"{len(names)} {end}s{f' ({listed})' if names else ''}")
    return graph.tensors[names[0]]


def _image_input(path: Path, tensor: Tensor, resolution_px: int | None) -> tuple[TensorInfo, int, int]:
    """Return the input, with the side of the image and its channels.

    Raises:
        SpecError: it is no square image of 1 or 3 channels, or nobody says how large.
    """
    shape = tensor.shape or ()
    received = f"an input of shape {_text(tensor)} and type {tensor.dtype}"
    places = [place for place in (3, 1) if len(shape) == 4 and shape[place] in (3, 1)]
    if not places or tensor.dtype not in _TYPES or shape[0] not in (None, 1):
        expected = f"an input of one image with 1 or 3 channels in {', '.join(_TYPES)}"
        raise _not(path, expected, received)
    place = max(places, key=lambda place: shape[place] == 3)  # 1 x 1 x height x 3 is no image; colour is the rule
    sides = {side for side in (shape[1:3] if place == 3 else shape[2:4]) if side is not None}
    if len(sides) > 1:
        raise _not(path, "a square image", received)
    side = _side(path, max(sides, default=None), resolution_px)
    return _tensor(tensor, layout="NHWC" if place == 3 else "NCHW"), side, shape[place] or 0


def _side(path: Path, stored: int | None, told: int | None) -> int:
    side = stored if told is None else told
    if side is None:
        raise SpecError(f"{path}: its input may have any size. Give the side of the square with --resolution PX")
    if stored not in (None, side):
        raise SpecError(f"{path}: the input is {stored} px. Received: --resolution {told}. Leave it out")
    if not 1 <= side <= MAX_RESOLUTION_PX:
        raise SpecError(f"{path}: an image of 1 to {MAX_RESOLUTION_PX} px a side is needed. Received: {side} px")
    return side


def _tensor(tensor: Tensor, *, layout: str) -> TensorInfo:
    """Describe a tensor; a scale without zero point, or several of them, says nothing here."""
    quantised = len(tensor.scale) == 1 and "float" not in tensor.dtype
    return TensorInfo(
        name=tensor.name,
        shape=tuple(size or 1 for size in tensor.shape or ()),
        layout=layout,
        dtype=tensor.dtype,
        scale=tensor.scale[0] if quantised else None,
        zero_point=(tensor.zero_point or (0,))[0] if quantised else None,
    )


def _usual_normalization(given: TensorInfo) -> Normalization:
    """Return what makes pixels the stored values of an 8-bit input, and -1..1 for any other."""
    if given.dtype not in _RAW_TYPES:
        return Normalization()
    lowest = float(np.iinfo(given.dtype).min)
    if given.scale is None or given.zero_point is None:
        return Normalization.from_range(lowest, lowest + WHITE)
    return Normalization.from_range(*((end - given.zero_point) * given.scale for end in (lowest, lowest + WHITE)))


def _classes(output: Tensor) -> int | None:
    """Return how many scores the output has, 0 if it has no such row of them; None if the graph does not say."""
    sizes = (output.shape or ())[1:]
    if not sizes or None in sizes:
        return None
    return max(size or 1 for size in sizes) if sum(size != 1 for size in sizes) <= 1 else 0


def _classes_when_run(path: Path, given: TensorInfo, side: int, channels: int) -> int:
    grey = np.full((1, side, side, channels), 128, np.uint8)
    outputs = local.infer(path, given.store(_usual_normalization(given).apply(grey))).outputs
    return int(outputs.size) if max(outputs.shape, default=0) == outputs.size else 0


def _assumed(model: PhotoModel) -> str:
    what = "pixels as they are" if model.input.dtype in _RAW_TYPES else "pixels scaled to -1..1"
    return f"no sidecar says how photos are prepared: {what} were taken; --normalization says otherwise"


def _not(path: Path, expected: str, received: str) -> SpecError:
    return SpecError(f"{path}: an image classifier has {expected}. Received: {received}")


def _text(tensor: Tensor) -> str:
    if tensor.shape is None:
        return "unknown"
    return " x ".join("?" if size is None else str(size) for size in tensor.shape) or "one number"
