"""Choices that a file is written by; no framework is imported for them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class FileFormat(StrEnum):
    """Kinds of files; `ort` is ONNX Runtime's own, which its reduced build for phones reads."""

    TFLITE = "tflite"
    ONNX = "onnx"
    ORT = "ort"


class IoType(StrEnum):
    """Element type of the input and output of an int8 file."""

    INT8 = "int8"
    UINT8 = "uint8"
    FLOAT = "float"


class Layout(StrEnum):
    """Order of the axes of an .onnx input."""

    NCHW = "nchw"
    NHWC = "nhwc"


class BatchSize(StrEnum):
    """Whether the first axis of an .onnx is fixed."""

    ONE = "1"
    DYNAMIC = "dynamic"


class Tune(StrEnum):
    """What an int8 .onnx is arranged for; the answers are the same.

    `portable` is the plain graph. `x86` rearranges the first layers for ONNX Runtime's kernels on x86-64.
    """

    PORTABLE = "portable"
    X86 = "x86"


class Effort(StrEnum):
    """What an int8 export takes time for.

    `fast` corrects biases. `best` also rounds the weights of a layer together.
    """

    FAST = "fast"
    BEST = "best"


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxOptions:
    """What does not change the answers of an .onnx.

    Attributes:
        layout: of the input.
        batch: size of the first axis of input and output.
        metadata: further text for `metadata_props`, beside the spec.
    """

    layout: Layout = Layout.NCHW
    batch: BatchSize = BatchSize.ONE
    metadata: Mapping[str, str] = field(default_factory=dict)
