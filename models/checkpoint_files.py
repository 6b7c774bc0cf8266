"""Read the weights of Keras files as files: no framework is imported, nothing is deserialised or executed.

Keras 3 cannot load whole-model `.h5` files of older releases that hold a DepthwiseConv2D (its configuration gained and
lost arguments): the arrays in them are read here like any others.
"""

import hashlib
import io
import json
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from mnet_deploy.errors import SpecError
from mnet_deploy.models.weights import FloatArray

_KERAS3_ROOTS = ("layers", "_layer_checkpoint_dependencies")  # beside them lie optimizer state and metrics


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredLayer:
    """The arrays of one layer as a file has them.

    Attributes:
        name: the layer's name; the file's own group name where it does not keep it.
        path: where in the file; contains the layer's class in Keras 3 files.
        arrays: in Keras' order.
    """

    name: str
    path: str
    arrays: tuple[FloatArray, ...]

    @property
    def is_batch_norm(self) -> bool:
        return len(self.arrays) == 4 and all(array.ndim == 1 for array in self.arrays)

    @property
    def is_depthwise(self) -> bool:
        return self.arrays[0].ndim == 4 and bool(re.search(r"depthwise|(^|_)dw(_|$)", f"{self.path}/{self.name}"))

    @property
    def is_convolution(self) -> bool:
        return self.arrays[0].ndim == 4 and not self.is_depthwise

    @property
    def is_dense(self) -> bool:
        return self.arrays[0].ndim == 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """What a file holds.

    Attributes:
        path: the file.
        sha256: of the file.
        layers: those with arrays, in the order they were made.
        config: the model's configuration where the file has one (`.keras`, whole-model `.h5`), else None.
    """

    path: Path
    sha256: str
    layers: tuple[StoredLayer, ...]
    config: dict[str, Any] | None


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a `.keras`, `.weights.h5` or legacy `.h5` file.

    Raises:
        SpecError: no such file, or not one of these formats, or damaged.
    """
    if not path.is_file():
        what = "a folder" if path.is_dir() else "nothing there"
        raise SpecError(f"{path}: expected a .keras, .weights.h5 or .h5 checkpoint. Received: {what}")
    content = path.read_bytes()
    if not content:
        raise SpecError(f"{path}: expected a checkpoint. Received: an empty file. Copy it again")
    try:
        layers, config = _read(content)
    except (OSError, KeyError, ValueError, RuntimeError, zipfile.BadZipFile, json.JSONDecodeError) as error:
        raise SpecError(
            f"{path}: expected a .keras, .weights.h5 or .h5 checkpoint. Received: a damaged or foreign file "
            f"({str(error) or type(error).__name__}). Copy it again or save it anew from Keras"
        ) from error
    if not layers:
        raise SpecError(f"{path}: expected a checkpoint with weights. Received: a file without any")
    return Checkpoint(path=path, sha256=hashlib.sha256(content).hexdigest(), layers=layers, config=config)


def _read(content: bytes) -> tuple[tuple[StoredLayer, ...], dict[str, Any] | None]:
    if content[:2] == b"PK":
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            config = json.loads(archive.read("config.json"))
            weights = archive.read("model.weights.h5")
        with h5py.File(io.BytesIO(weights), "r") as file:
            return tuple(_keras3_layers(file)), config
    with h5py.File(io.BytesIO(content), "r") as file:
        if any(root in file for root in _KERAS3_ROOTS):
            return tuple(_keras3_layers(file)), None
        config_text = file.attrs.get("model_config")
        config = json.loads(config_text) if config_text is not None else None
        return tuple(_legacy_layers(file.get("model_weights", file))), config


def _keras3_layers(file: h5py.File) -> Iterator[StoredLayer]:
    """Yield the layers of a Keras 3 file: `layers/conv2d_1/vars/0`, numbered within each class as they were made."""
    groups: list[tuple[str, h5py.Group]] = []

    def collect(path: str, item: h5py.Group | h5py.Dataset) -> None:
        is_vars = path.endswith("/vars") and isinstance(item, h5py.Group) and len(item)
        if is_vars and path.startswith(_KERAS3_ROOTS):
            groups.append((path.removesuffix("/vars"), item))

    file.visititems(collect)
    for path, group in sorted(groups, key=lambda entry: _natural(entry[0])):
        arrays = tuple(_array(group[key]) for key in sorted(group, key=_natural))
        name = _text(group.attrs["name"]) if "name" in group.attrs else path.rsplit("/", 1)[-1]
        yield StoredLayer(name=name, path=path, arrays=arrays)


def _legacy_layers(group: h5py.Group) -> Iterator[StoredLayer]:
    """Yield the layers of an HDF5 file with `layer_names`; a nested model is one group that holds several."""
    for layer_name in group.attrs["layer_names"]:
        layer = group[_text(layer_name)]
        by_owner: dict[str, list[FloatArray]] = {}
        for weight_name in layer.attrs["weight_names"]:
            owner = _text(weight_name).rsplit("/", 1)[0]
            by_owner.setdefault(owner, []).append(_array(layer[_text(weight_name)]))
        for owner, arrays in by_owner.items():
            yield StoredLayer(name=owner.rsplit("/", 1)[-1], path=_text(layer_name), arrays=tuple(arrays))


def _array(dataset: h5py.Dataset) -> FloatArray:
    return np.asarray(dataset[()], dtype=np.float32)


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _natural(text: str) -> list[tuple[int, str]]:
    """Return a sort key in which conv2d < conv2d_1 < conv2d_2 < conv2d_10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", text)]
