"""The way in: which format a file has, and its graph, parsed by a child process.

A damaged or hostile file can crash a parser, fill the memory or loop; then the child ends, not the caller.
"""

import json
import os
import stat
import sys
from enum import StrEnum
from pathlib import Path
from typing import Any

from mnet_deploy.child_process import ChildResult, run_child
from mnet_deploy.errors import CommandFailed, CommandTimeout, SpecError, ToolMissing
from mnet_deploy.graph_readers.graph import OpGraph, graph_from_json

_MEMORY_LIMIT_BYTES = 4 << 30
_PROTOBUF_LIMIT_BYTES = 2 << 30  # one message must be smaller (protobuf.dev, "Proto Limits")
_TFLITE_IDENTIFIER = b"TFL3"
_ORT_IDENTIFIER = b"ORTM"
_ZIP_MAGIC = b"PK\x03\x04"
_HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"


class GraphFormat(StrEnum):
    """The formats whose graph can be read."""

    TFLITE = "tflite"
    ONNX = "onnx"
    KERAS = "keras"


def read_graph(path: Path, *, timeout_s: float = 60) -> OpGraph:
    """Return the main graph of a .tflite, .onnx or .keras file.

    Raises:
        SpecError: not such a file, or a damaged one.
        ToolMissing: the library that reads this format is not installed.
    """
    path = Path(path)
    graph_format = detect_format(path)
    if graph_format is GraphFormat.ONNX and path.stat().st_size >= _PROTOBUF_LIMIT_BYTES:
        raise SpecError(
            f"{path}: expected an .onnx of less than 2 GiB, the limit of its format; received {path.stat().st_size}"
            " bytes: save the model with its weights in a file beside it"
        )
    command = [sys.executable, "-P", "-m", "mnet_deploy.graph_readers.child", str(graph_format), os.fspath(path)]
    try:
        result = run_child(
            command,
            timeout_s=timeout_s,
            memory_limit_bytes=_MEMORY_LIMIT_BYTES + 8 * path.stat().st_size,
            environment={"OPENBLAS_NUM_THREADS": "1"},  # its threads would use up the address space for nothing
        )
    except CommandTimeout:
        raise SpecError(
            f"{path}: expected a .{graph_format} graph that can be read within {timeout_s:g} s; received one that"
            " cannot (a damaged file, or a very busy machine)"
        ) from None
    except CommandFailed as error:
        raise SpecError(f"{path}: the {graph_format} reader was stopped: {error}") from None
    return _graph_of(path, graph_format, result)


def detect_format(path: Path) -> GraphFormat:
    """Return the format of a file by its first bytes; raises `SpecError` if it is none of ours."""
    head = _first_bytes(path)
    if head[4:8] == _TFLITE_IDENTIFIER:
        return GraphFormat.TFLITE
    if head[4:8] == _ORT_IDENTIFIER:
        raise SpecError(f"{path}: expected a .tflite, .onnx or .keras file; received an .ort: take its .onnx")
    if head.startswith(_ZIP_MAGIC):
        return GraphFormat.KERAS
    if head.startswith(_HDF5_MAGIC):
        raise SpecError(
            f"{path}: expected a graph (.tflite, .onnx or .keras); received an HDF5 file: load it with Keras and save"
            " it as .keras"
        )
    if path.suffix == ".tflite":
        raise SpecError(f"{path}: expected the identifier 'TFL3' at byte 4 of a .tflite; received {head[4:8]!r}")
    if path.suffix == ".keras":
        raise SpecError(f"{path}: expected a zip archive, which a .keras is; received a file that starts with {head!r}")
    return GraphFormat.ONNX  # protobuf has no magic number: only its parser can tell


def _first_bytes(path: Path) -> bytes:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            kind = "a folder" if stat.S_ISDIR(status.st_mode) else "something that is not a regular file"
            raise SpecError(f"{path}: expected a .tflite, .onnx or .keras file; received {kind}")
        with path.open("rb") as file:
            head = file.read(8)
    except OSError as error:
        raise SpecError(
            f"{path}: expected a readable .tflite, .onnx or .keras file; received: {error.strerror}"
        ) from None
    if not head:
        raise SpecError(f"{path}: expected a .tflite, .onnx or .keras file; received an empty file")
    return head


def _graph_of(path: Path, graph_format: GraphFormat, result: ChildResult) -> OpGraph:
    answer = _answer(result)
    if "missing" in answer:
        raise ToolMissing(answer["missing"], answer["how_to_install"])
    if "refused" in answer:
        raise SpecError(f"{path}: {answer['refused']}")
    if "error" in answer:
        raise _unreadable(path, graph_format, answer["error"])
    if result.return_code != 0 or "graph" not in answer:
        raise SpecError(
            f"{path}: the {graph_format} reader ended with {result.ending} while parsing; the file is probably damaged"
        )
    try:
        return graph_from_json(answer["graph"])
    except SpecError as error:
        raise _unreadable(path, graph_format, str(error)) from None


def _unreadable(path: Path, graph_format: GraphFormat, reason: str) -> SpecError:
    # Whatever has no mark of another format was tried as ONNX.
    guessed = graph_format is GraphFormat.ONNX and path.suffix != ".onnx"
    expected = "a .tflite, .onnx or .keras" if guessed else f"a whole .{graph_format}"
    return SpecError(f"{path}: expected {expected} file; received one that cannot be read: {reason}")


def _answer(result: ChildResult) -> dict[str, Any]:
    """Return what the child said; empty if it ended before it could."""
    try:
        answer = json.loads(result.stdout)
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}
