"""Whether the stored tensors of an .onnx are whole, in the file itself or in one beside it; none of them is opened."""

import re
import stat
from math import prod
from pathlib import Path, PurePosixPath, PureWindowsPath

from onnx import TensorProto, helper

from mnet_deploy.graph_readers.graph import RefusedFile, shown

_BITS_OF_A_BYTE = 8
_BITS_WITHOUT_NUMBER = {"FLOAT": 32, "DOUBLE": 64, "BOOL": 8}
_COMPLEX = (TensorProto.COMPLEX64, TensorProto.COMPLEX128)


def require_weights(tensor: TensorProto, folder: Path) -> None:
    """Raise a `RefusedFile` unless a tensor's values are where it says and as many as it says.

    Args:
        tensor: stored in the model or, by its `data_location`, in another file.
        folder: of the model; a file with weights must lie in it.
    """
    elements, bits = _element_count(tensor), _bits(tensor)
    size_bytes = 0 if bits is None else (elements * bits + _BITS_OF_A_BYTE - 1) // _BITS_OF_A_BYTE
    if tensor.data_location == TensorProto.EXTERNAL:
        _require_external(tensor, folder, size_bytes)
    elif tensor.HasField("raw_data"):
        if len(tensor.raw_data) != size_bytes:
            raise _wrong_size(tensor, f"{size_bytes} bytes", f"{len(tensor.raw_data)}")
    elif bits is None or bits >= _BITS_OF_A_BYTE:  # narrower ones share the fields in ways that onnx changed
        values = len(getattr(tensor, helper.tensor_dtype_to_field(tensor.data_type)))
        expected = elements * 2 if tensor.data_type in _COMPLEX else elements
        if values != expected:
            raise _wrong_size(tensor, f"{expected} values", f"{values}")


def _element_count(tensor: TensorProto) -> int:
    known = tensor.data_type in TensorProto.DataType.values() and tensor.data_type != TensorProto.UNDEFINED
    if not known:
        raise RefusedFile(
            f"expected tensor {shown(tensor.name)} to have an element type that onnx knows; received type"
            f" {tensor.data_type}: export the model again"
        )
    if any(size < 0 for size in tensor.dims):
        raise _wrong_size(tensor, "a shape without negative sizes", f"{list(tensor.dims)[:8]}")
    return prod(tensor.dims)


def _bits(tensor: TensorProto) -> int | None:
    """Return the width of an element by the name of its type (UINT4, BFLOAT16, FLOAT8E4M3FN); None for text."""
    name = str(TensorProto.DataType.Name(tensor.data_type))
    width = re.match(r"[A-Z]+(\d+)", name)
    return int(width[1]) if width else _BITS_WITHOUT_NUMBER.get(name)


def _wrong_size(tensor: TensorProto, expected: str, received: str) -> RefusedFile:
    return RefusedFile(
        f"expected {expected} for tensor {shown(tensor.name)} of shape {_shape_shown(tensor)}; received {received}:"
        " the file is damaged, export the model again"
    )


def _shape_shown(tensor: TensorProto) -> str:
    return "x".join(map(str, list(tensor.dims)[:8])) or "()"


def _require_external(tensor: TensorProto, folder: Path, size_bytes: int) -> None:
    entries = {entry.key: entry.value for entry in tensor.external_data}
    path = _inside(entries.get("location", ""), tensor, folder)
    offset_bytes = _number(entries, "offset", 0, tensor)
    length_bytes = _number(entries, "length", size_bytes, tensor)
    if length_bytes != size_bytes:
        raise _wrong_size(tensor, f"{size_bytes} bytes", f"{length_bytes}")
    found_bytes = path.stat().st_size
    if offset_bytes + length_bytes > found_bytes:
        raise RefusedFile(
            f"expected {offset_bytes + length_bytes} bytes in {shown(path.name)}, with the weights of tensor"
            f" {shown(tensor.name)}; received {found_bytes}: copy that file again"
        )


def _number(entries: dict[str, str], key: str, default: int, tensor: TensorProto) -> int:
    text = entries.get(key, str(default))
    if not (text.isascii() and text.isdecimal() and len(text) < 20):
        raise _wrong_size(tensor, f"a number of bytes as the {key} of its data", shown(text))
    return int(text)


def _inside(location: str, tensor: TensorProto, folder: Path) -> Path:
    """Return the regular file that a location names; refuses one that is not in the folder, by name or by link."""
    path = PurePosixPath(location.replace("\\", "/"))
    rule = f"expected the weights of tensor {shown(tensor.name)} in a file in the folder of the .onnx"
    advice = "save the model with its weights beside it"
    if not location or "\0" in location:
        raise RefusedFile(f"{rule}; received no file name: {advice}")
    if path.is_absolute() or PureWindowsPath(location).drive:
        raise RefusedFile(f"{rule}; received the absolute path {shown(location)}: {advice}")
    if ".." in path.parts:
        raise RefusedFile(f"{rule}; received a path out of it, {shown(location)}: {advice}")
    try:
        found = (folder / location).resolve(strict=True)
        regular = stat.S_ISREG(found.stat().st_mode)
    except (OSError, RuntimeError) as error:  # RuntimeError: links in a circle
        reason = getattr(error, "strerror", None) or "a link to itself"
        raise RefusedFile(f"{rule}, {shown(location)}; received: {reason}: copy that file there as well") from None
    if not found.is_relative_to(folder.resolve()):
        raise RefusedFile(f"{rule}; received a link out of it, {shown(location)}: copy the file itself there")
    if not regular:
        raise RefusedFile(f"{rule}; received {shown(location)}, which is not a regular file: {advice}")
    return found
