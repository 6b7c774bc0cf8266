"""Check a converted file, its graph against the spec, its answers against the float model; describe it in a sidecar."""

import tempfile
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from mnet_deploy.artifact import Artifact, TensorInfo
from mnet_deploy.converters import fidelity, structure
from mnet_deploy.converters.onnx_qdq import for_onnx
from mnet_deploy.converters.options import FileFormat, IoType, Layout
from mnet_deploy.converters.quantized_graph import QuantParams
from mnet_deploy.cost import Precision
from mnet_deploy.graph_facts import op_histogram
from mnet_deploy.graph_readers import OpGraph
from mnet_deploy.graph_readers.read_here import read_here
from mnet_deploy.images import preprocessing
from mnet_deploy.models.load import LoadedModel
from mnet_deploy.pipeline.candidates import ONNX_RUNTIME, Candidate, int8_graph
from mnet_deploy.pipeline.export_job import FEWEST_IMAGES, ExportJob
from mnet_deploy.pipeline.goldens import golden_input, make_goldens
from mnet_deploy.pipeline.request import CalibrationFrom
from mnet_deploy.runners import local


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """A file that was read back and run.

    Attributes:
        artifact: its sidecar.
        failures: what it misses, a phrase each; empty if nothing.
        companions: further files that belong to it, by name: its golden answers.
    """

    artifact: Artifact
    failures: tuple[str, ...]
    companions: dict[str, bytes] = field(repr=False)


def check(job: ExportJob, candidate: Candidate, path: Path) -> Checked:
    """Read the file back and run it in a child process."""
    graph = _graph(candidate, path)
    given, answered = _tensor(graph, graph.inputs[0], candidate), _tensor(graph, graph.outputs[0], candidate)
    if candidate.file_format is not FileFormat.TFLITE and candidate.io is not IoType.FLOAT:
        written = for_onnx(int8_graph(job, candidate.io))
        given, answered = _quantized(given, written.input), _quantized(answered, written.layers[-1].output)
    golden = golden_input(given, job.request.normalization, job.golden_images.pixels)
    inference = local.infer(path, [given.store(job.inputs), golden])
    outputs, golden_outputs = np.split(inference.outputs, [len(job.inputs)])
    compared = fidelity.compare(
        job.float_pass.outputs, answered.real(outputs), classifier=job.loaded.spec.classes is not None
    )
    wrong = _structure_failures(job, candidate, graph)
    unfit = _unfit_for_accuracy(job, candidate.precision)
    judged = not unfit  # what random weights or a calibration without photos answer says nothing about the converter
    failures = (*wrong, *(fidelity.failures(compared, candidate.precision) if judged else ()))
    checks = {
        "engine": f"{inference.engine} {inference.engine_version}",
        "structure": list(wrong) or "passed",
        "fidelity": compared.to_json(),
        "fidelity_judged": judged,
    }
    artifact = _sidecar(job, candidate, graph, (given, answered), checks, unfit, inference)
    if failures:
        return Checked(artifact=artifact, failures=failures, companions={})
    usual = replace(inference, outputs=golden_outputs)
    goldens = make_goldens(path, artifact, job.golden_images, usual=usual, source=candidate.described_by)
    if goldens is None:
        return Checked(artifact=artifact, failures=failures, companions=candidate.companions)
    companions = {**candidate.companions, goldens.record["file"]: goldens.content}
    return Checked(artifact=replace(artifact, goldens=goldens.record), failures=failures, companions=companions)


def _graph(candidate: Candidate, path: Path) -> OpGraph:
    if candidate.described_by is None:
        return read_here(candidate.file_format, path)
    with tempfile.TemporaryDirectory(prefix="mnet-") as folder:
        source = Path(folder, "source.onnx")
        source.write_bytes(candidate.described_by)
        return read_here(FileFormat.ONNX, source)


def _structure_failures(job: ExportJob, candidate: Candidate, graph: OpGraph) -> tuple[str, ...]:
    spec = job.loaded.spec
    if job.keras_model is not None:
        return structure.foreign_head_failures(graph, candidate.precision)
    if candidate.file_format is FileFormat.TFLITE:
        return structure.tflite_failures(graph, spec, candidate.precision)
    return structure.onnx_failures(graph, spec, candidate.precision, candidate.tune)


def _unfit_for_accuracy(job: ExportJob, precision: Precision) -> tuple[str, ...]:
    reasons = []
    if not job.loaded.body_trained:
        reasons.append("random weights: its answers mean nothing")
    elif not job.loaded.head_trained:
        reasons.append("the classifier is new and random: its answers mean nothing")
    elif _lacks_photos(job, precision):
        reasons.append(
            f"calibrated on {job.calibration.source} images, not on photos: its accuracy is unknown until mnet verify "
            "measures it"
        )
    elif _lacks_variety(job, precision):
        reasons.append(
            f"calibrated on {job.distinct_images} different images, fewer than {FEWEST_IMAGES}: its accuracy is "
            "unknown until mnet verify measures it"
        )
    return tuple(reasons)


def _lacks_variety(job: ExportJob, precision: Precision) -> bool:
    is_calibrated = precision in (Precision.INT8, Precision.INT16X8) and not job.by_statistics
    return is_calibrated and job.distinct_images < FEWEST_IMAGES


def _lacks_photos(job: ExportJob, precision: Precision) -> bool:
    """Whether a file needed photos that were not there: noise is none, and TensorFlow's converter corrects nothing."""
    if job.request.calibration is not None:
        return False
    is_noise = job.request.calibration_source is CalibrationFrom.NOISE
    is_stock = precision is Precision.INT16X8 or (precision is Precision.INT8 and job.keras_model is not None)
    return is_stock or (precision is Precision.INT8 and is_noise)


def _tensor(graph: OpGraph, name: str, candidate: Candidate) -> TensorInfo:
    tensor = graph.tensors[name]
    shape = tuple(size or 1 for size in tensor.shape or ())
    is_tflite = candidate.file_format is FileFormat.TFLITE
    image_layout = "NHWC" if is_tflite or (name == graph.inputs[0] and candidate.layout is Layout.NHWC) else "NCHW"
    return TensorInfo(
        name=name,
        shape=shape,
        layout=image_layout if len(shape) == 4 else "NC",
        dtype=tensor.dtype,
        scale=tensor.scale[0] if tensor.scale else None,
        zero_point=tensor.zero_point[0] if tensor.zero_point else None,
    )


def _quantized(tensor: TensorInfo, params: QuantParams) -> TensorInfo:
    """Return what a tensor means: an .onnx has scale and zero point in its ops, not with its input and output."""
    shift = 128 if tensor.dtype == "uint8" else 0
    return replace(tensor, scale=params.scale, zero_point=params.zero_point + shift)


def _sidecar(
    job: ExportJob,
    candidate: Candidate,
    graph: OpGraph,
    tensors: tuple[TensorInfo, TensorInfo],
    checks: dict[str, Any],
    unfit: tuple[str, ...],
    inference: local.Inference,
) -> Artifact:
    return Artifact(
        file=candidate.name,
        file_format=str(candidate.file_format),
        precision=str(candidate.precision),
        io=str(candidate.io),
        sha256=candidate.sha256,
        size_bytes=len(candidate.content),
        spec=job.loaded.spec,
        normalization=job.request.normalization,
        preprocessing=preprocessing(job.loaded.spec.resolution_px),
        input=tensors[0],
        output=tensors[1],
        op_histogram=op_histogram(graph),
        labels=job.labels,
        weights=_weights_record(job.loaded),
        calibration=_calibration_record(job),
        checks=checks,
        unfit_for_accuracy=unfit,
        tool_versions={
            **{name: version(name) for name in ("mnet-deploy", "numpy", "onnxruntime")},
            **candidate.tool_versions,
            inference.engine: str(inference.engine_version),
        },
        tune=None if candidate.file_format is FileFormat.TFLITE else str(candidate.tune),
        runtime=None if candidate.file_format is FileFormat.TFLITE else ONNX_RUNTIME,
        quantizer=_quantizer_record(job, candidate),
        mobile=candidate.mobile,
        derived_from=candidate.derived_from,
    )


def _quantizer_record(job: ExportJob, candidate: Candidate) -> dict[str, Any] | None:
    if candidate.precision is not Precision.INT8 or job.keras_model is not None:
        return None
    report = job.quantizer_report
    return {"effort": str(job.request.effort), "report": None if report is None else report.to_json()}


def _weights_record(loaded: LoadedModel) -> dict[str, Any]:
    return {
        "origin": loaded.origin,
        "path": str(loaded.path) if loaded.path else None,
        "sha256": loaded.sha256,
        "trained": loaded.trained,
        "notes": list(loaded.notes),
    }


def _calibration_record(job: ExportJob) -> dict[str, Any]:
    images = job.calibration
    return {
        "source": str(CalibrationFrom.STATISTICS if job.by_statistics else images.source),
        "count": images.count,
        "seed": images.seed,
        "digest": images.digest,
        "skipped": list(images.skipped),
    }
