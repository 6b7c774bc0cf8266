"""The files of an export, converted but not checked yet: each conversion is done once."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from typing import Any

from mnet_deploy.converters import tflite_writer
from mnet_deploy.converters.onnx_float import write_float
from mnet_deploy.converters.onnx_int8 import write_int8
from mnet_deploy.converters.onnx_x86 import write_int8_x86
from mnet_deploy.converters.options import FileFormat, IoType, Layout, OnnxOptions, Tune
from mnet_deploy.converters.ort_file import to_ort
from mnet_deploy.converters.pixel_input import for_pixels
from mnet_deploy.converters.quantized_graph import QuantizedGraph
from mnet_deploy.cost import Precision
from mnet_deploy.images import preprocessing
from mnet_deploy.pipeline.export_job import ExportJob
from mnet_deploy.pipeline.request import ExportRequest
from mnet_deploy.progress import Progress
from mnet_deploy.quiet import silenced_native_output

TWIN_SUFFIX = "_uint8"  # app frameworks take uint8 pixels; an int8 .tflite with labels gets such a twin
OPERATORS_SUFFIX = ".required_operators.config"  # as ONNX Runtime's own converter names it
ONNX_RUNTIME = {"engine": "onnxruntime", "session_options": {"intra_op_num_threads": 1}, "call": "run"}
TENSORFLOW_PRECISIONS = (Precision.DYNAMIC, Precision.INT16X8)


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A converted file that has not been checked.

    Attributes:
        name: of the file.
        file_format: of the file.
        precision: of the weights.
        io: element type of input and output.
        content: of the file.
        layout: of its input.
        tune: what it is arranged for.
        mobile: see `Artifact`.
        described_by: of an .ort the .onnx that it was made from, whose graph can be read; None for other files.
        companions: further files that belong to it, by name.
        tool_versions: of what wrote it.
        derived_from: sha256 of the file that it was derived from; None if it was converted from the model.
    """

    name: str
    file_format: FileFormat
    precision: Precision
    io: IoType
    content: bytes
    layout: Layout = Layout.NHWC
    tune: Tune = Tune.PORTABLE
    mobile: dict[str, Any] | None = None
    described_by: bytes | None = None
    companions: dict[str, bytes] = field(default_factory=dict)
    tool_versions: dict[str, str] = field(default_factory=dict)
    derived_from: str | None = None

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()


def file_names(request: ExportRequest, stem: str, labels: tuple[str, ...] | None) -> list[str]:
    """Return the names of all files that `candidates` yields and of their companions."""
    names = []
    for chosen in request.formats:
        names += [_name(request, stem, chosen, precision) for precision in request.precisions]
    if _wants_twin(request, labels):
        names.append(f"{stem}_int8{TWIN_SUFFIX}.tflite")
    if FileFormat.ORT in request.formats:
        names += [f"{stem}_{precision}{OPERATORS_SUFFIX}" for precision in request.precisions]
    return names


def candidates(job: ExportJob, progress: Progress) -> Iterator[Candidate]:
    """Convert to each format and precision."""
    if FileFormat.TFLITE in job.request.formats:
        yield from _tflite_candidates(job, progress)
    if job.request.onnx_formats:
        yield from _onnx_candidates(job, progress)


def _name(request: ExportRequest, stem: str, file_format: FileFormat, precision: Precision) -> str:
    tuned = file_format is FileFormat.ONNX and precision is Precision.INT8 and request.tune is not Tune.PORTABLE
    return f"{stem}_{precision}{f'_{request.tune}' if tuned else ''}.{file_format}"


def _wants_twin(request: ExportRequest, labels: tuple[str, ...] | None) -> bool:
    has_int8 = FileFormat.TFLITE in request.formats and Precision.INT8 in request.precisions
    return labels is not None and has_int8 and request.io is not IoType.UINT8


def _tflite_candidates(job: ExportJob, progress: Progress) -> Iterator[Candidate]:
    for precision in job.request.precisions:
        progress.stage(f"writing {precision} .tflite")
        name = _name(job.request, job.stem, FileFormat.TFLITE, precision)
        if precision in TENSORFLOW_PRECISIONS or job.keras_model is not None:
            with silenced_native_output():  # TensorFlow logs from C++ as it is imported
                from mnet_deploy.pipeline.tensorflow_candidates import converted

            twin = f"{job.stem}_int8{TWIN_SUFFIX}.tflite" if _wants_twin(job.request, job.labels) else None
            yield from converted(job, precision, name, twin, progress)
            continue
        main = Candidate(
            name=name,
            file_format=FileFormat.TFLITE,
            precision=precision,
            io=_io(job.request, precision, IoType.INT8),
            content=_tflite_content(job, precision, _io(job.request, precision, IoType.INT8)),
        )
        yield main
        if precision is Precision.INT8 and _wants_twin(job.request, job.labels):
            yield replace(
                main,
                name=f"{job.stem}_int8{TWIN_SUFFIX}.tflite",
                io=IoType.UINT8,
                content=_tflite_content(job, precision, IoType.UINT8),
                derived_from=main.sha256,
            )


def _io(request: ExportRequest, precision: Precision, default: IoType) -> IoType:
    return request.io or default if precision is Precision.INT8 else IoType.FLOAT


def _tflite_content(job: ExportJob, precision: Precision, io: IoType) -> bytes:
    if precision is Precision.INT8:
        return tflite_writer.write_int8(int8_graph(job, io), io)
    return tflite_writer.write_float(job.folded, half_weights=precision is Precision.FP16)


def _onnx_candidates(job: ExportJob, progress: Progress) -> Iterator[Candidate]:
    request = job.request
    for precision in request.precisions:
        progress.stage(f"writing {precision} .onnx")
        is_int8 = precision is Precision.INT8
        main = Candidate(
            name=_name(request, job.stem, FileFormat.ONNX, precision),
            file_format=FileFormat.ONNX,
            precision=precision,
            io=_io(request, precision, IoType.FLOAT),
            content=_onnx_content(job, precision),
            layout=request.layout,
            tune=request.tune if is_int8 else Tune.PORTABLE,
            tool_versions={"onnx": version("onnx")},
        )
        if FileFormat.ONNX in request.formats:
            yield main
        if FileFormat.ORT in request.formats:
            progress.stage(f"converting to {precision} .ort")
            yield _ort_candidate(job, main)


def _onnx_content(job: ExportJob, precision: Precision) -> bytes:
    request = job.request
    options = OnnxOptions(layout=request.layout, batch=request.batch, metadata=_metadata(job))
    if precision is not Precision.INT8:
        return write_float(job.folded, options, half_weights=precision is Precision.FP16)
    write = write_int8_x86 if request.tune is Tune.X86 else write_int8
    io = _io(request, precision, IoType.FLOAT)
    return write(int8_graph(job, io), options, io)


def int8_graph(job: ExportJob, io: IoType) -> QuantizedGraph:
    """Return the model that a file with such an input is written from."""
    return for_pixels(job.quantized, job.request.normalization) if io is IoType.UINT8 else job.quantized


def _metadata(job: ExportJob) -> dict[str, str]:
    """Return what an app needs to prepare images and to name classes, as JSON by name."""
    found: dict[str, Any] = {
        "normalization": job.request.normalization.to_json(),
        "preprocessing": preprocessing(job.loaded.spec.resolution_px),
    }
    if job.labels is not None:
        found["labels"] = list(job.labels)
    return {name: json.dumps(value, ensure_ascii=False) for name, value in found.items()}


def _ort_candidate(job: ExportJob, source: Candidate) -> Candidate:
    converted = to_ort(source.content)
    operators = f"{job.stem}_{source.precision}{OPERATORS_SUFFIX}"
    return replace(
        source,
        name=_name(job.request, job.stem, FileFormat.ORT, source.precision),
        file_format=FileFormat.ORT,
        content=converted.content,
        described_by=source.content,
        mobile={"usability": converted.usability, "required_operators": operators},
        companions={operators: converted.required_operators.encode()},
        tool_versions={**source.tool_versions, "onnxruntime": version("onnxruntime")},
        derived_from=source.sha256,
    )
