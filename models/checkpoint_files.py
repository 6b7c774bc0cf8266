"""Read the weights of Keras files as files: no framework is imported, nothing is deserialised or executed.

Keras 3 cannot load whole-model `.h5` files of older releases that hold a DepthwiseConv2D (its configuration gained and
lost arguments): the arrays in them are read here like any others.
"""

import hashlib
import io
import json
import re
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from mnet_deploy.errors import SpecError
from mnet_deploy.models import timm_files
from mnet_deploy.models.keras_config import flat_layers
from mnet_deploy.models.stored_layer import StoredLayer
from mnet_deploy.models.weights import FloatArray
from mnet_deploy.spec import Padding

# Beside the layers of a Keras 3 file lie these, with variables of their own.
_NO_LAYERS = ("optimizer", "loss_tracker", "compile_metrics", "metrics", "_")
_LAYERS_OF_TF_KERAS = "_layer_checkpoint_dependencies"
# What the readers of damaged or foreign files raise, their own errors and those of the code between them.
_DAMAGE = (
    AttributeError,
    EOFError,
    IndexError,
    KeyError,
    MemoryError,
    NotImplementedError,
    OSError,
    OverflowError,
    RecursionError,
    RuntimeError,
    TypeError,
    ValueError,
    zipfile.BadZipFile,
    zlib.error,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """What a file holds.

    Attributes:
        path: the file.
        sha256: of the file.
        layers: those with arrays, in the order they were made.
        config: the model's configuration where the file has one (`.keras`, whole-model `.h5`), else None.
        padding: where the format implies it (PyTorch's is symmetric), else None.
    """

    path: Path
    sha256: str
    layers: tuple[StoredLayer, ...]
    config: dict[str, Any] | None
    padding: Padding | None = None


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a `.keras`, `.weights.h5` or legacy `.h5` file, or timm's weights in a `.safetensors` file.

    Raises:
        SpecError: no such file, or not one of these formats, or damaged.
    """
    if not path.is_file():
        what = "a folder" if path.is_dir() else "nothing there"
        raise SpecError(f"{path}: expected a .keras, .weights.h5, .h5 or .safetensors checkpoint. Received: {what}")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise SpecError(f"{path}: expected a checkpoint that can be read. Received: {error.strerror}") from error
    if not content:
        raise SpecError(f"{path}: expected a checkpoint. Received: an empty file. Copy it again")
    padding = None
    try:
        if timm_files.is_safetensors(content):
            layers, config, padding = timm_files.read_safetensors(content), None, timm_files.PADDING
        else:
            layers, config = _read(content)
    except SpecError as error:
        raise SpecError(f"{path}: {error}") from error
    except _DAMAGE as error:
        raise SpecError(
            f"{path}: expected a .keras, .weights.h5, .h5 or .safetensors checkpoint. Received: a damaged or foreign "
            f"file ({str(error) or type(error).__name__}). Copy it again or save it anew from Keras"
        ) from error
    if not layers:
        raise SpecError(f"{path}: expected a checkpoint with weights. Received: a file without any")
    return Checkpoint(
        path=path, sha256=hashlib.sha256(content).hexdigest(), layers=layers, config=config, padding=padding
    )


def _read(content: bytes) -> tuple[tuple[StoredLayer, ...], dict[str, Any] | None]:
    if content[:2] == b"PK":
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            config = json.loads(archive.read("config.json"))
            weights = archive.read("model.weights.h5")
        with h5py.File(io.BytesIO(weights), "r") as file:
            return tuple(_with_classes(_keras3_layers(file), config)), config
    with h5py.File(io.BytesIO(content), "r") as file:
        group = file.get("model_weights", file)
        if "layer_names" not in group.attrs:
            return tuple(_keras3_layers(file)), None
        config_text = file.attrs.get("model_config")
        config = json.loads(config_text) if config_text is not None else None
        return tuple(_with_classes(_legacy_layers(group), config)), config


def _with_classes(layers: Iterable[StoredLayer], config: dict[str, Any] | None) -> Iterator[StoredLayer]:
    classes = {layer.get("name"): kind for kind, layer in flat_layers(config or {})}
    return (replace(layer, class_name=classes.get(layer.name)) for layer in layers)


def _keras3_layers(file: h5py.File) -> Iterator[StoredLayer]:
    """Yield the layers of a Keras 3 file: `layers/conv2d_1/vars/0`, numbered within each class as they were made.

    Nested models come first: the body of a classifier that was built around it.
    """
    groups: list[tuple[str, h5py.Group]] = []

    def collect(path: str, item: h5py.Group | h5py.Dataset) -> None:
        is_vars = path.endswith("/vars") and isinstance(item, h5py.Group) and len(item)
        if is_vars and (path.startswith(_LAYERS_OF_TF_KERAS) or not path.startswith(_NO_LAYERS)):
            groups.append((path.removesuffix("/vars"), item))

    file.visititems(collect)
    for path, group in sorted(groups, key=lambda entry: (-entry[0].count("/"), _natural(entry[0]))):
        arrays = tuple(_array(group[key]) for key in sorted(group, key=_natural))
        name = _text(group.attrs["name"]) if "name" in group.attrs else path.rsplit("/", 1)[-1]
        yield StoredLayer(name=name, path=path, arrays=arrays)


def _legacy_layers(group: h5py.Group) -> Iterator[StoredLayer]:
    """Yield the layers of an HDF5 file with `layer_names`; a nested model is one group that holds several."""
    for layer_name in group.attrs["layer_names"]:
        layer = group[_text(layer_name)]
        by_owner: dict[str, list[str]] = {}
        for weight_name in map(_text, layer.attrs["weight_names"]):
            by_owner.setdefault(weight_name.rpartition("/")[0], []).append(weight_name)
        for owner, names in by_owner.items():
            arrays = tuple(_array(layer[name]) for name in names)
            yield StoredLayer(name=owner.rpartition("/")[2], path=names[0], arrays=arrays)


def _array(dataset: h5py.Dataset) -> FloatArray:
    return np.asarray(dataset[()], dtype=np.float32)


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _natural(text: str) -> list[tuple[int, str]]:
    """Return a sort key in which conv2d < conv2d_1 < conv2d_2 < conv2d_10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", text)]
