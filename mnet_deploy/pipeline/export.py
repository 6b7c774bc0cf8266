"""From a checkpoint to checked .tflite files with sidecars."""

import hashlib
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from mnet_deploy.artifact import Artifact, TensorInfo, sidecar_path
from mnet_deploy.converters import calibration as calibrate
from mnet_deploy.converters import fidelity, structure, tensorflow_converter
from mnet_deploy.cost import Precision
from mnet_deploy.graph_facts import op_histogram
from mnet_deploy.graph_readers import OpGraph, read_graph
from mnet_deploy.images import preprocessing
from mnet_deploy.labels import read_labels, require_labels
from mnet_deploy.models.builder import PREDICT_BATCH, build, predict, with_static_batch
from mnet_deploy.models.load import LoadedModel, load_model, require_file_or_name
from mnet_deploy.models.shipped_checkpoint import LABELS_NAME as SHIPPED_LABELS
from mnet_deploy.models.shipped_checkpoint import SHIPPED, shipped_path
from mnet_deploy.output_folder import OutputFolder
from mnet_deploy.pipeline.request import CalibrationFrom, ExportRequest, Io
from mnet_deploy.progress import Progress
from mnet_deploy.quiet import silenced_native_output
from mnet_deploy.runners import local
from mnet_deploy.spec import ModelSpec

FloatArray = NDArray[np.float32]
LABELS_NAME = "labels.txt"
TWIN_SUFFIX = "_uint8"  # app frameworks take uint8 pixels; an int8 file with labels gets such a twin
_SLOW = {
    Precision.DYNAMIC: "dynamic range is slower than fp32 on a CPU (8.4 ms against 5.1 for 1.0-224; int8 takes 1.8)",
    Precision.INT16X8: "int16x8 has no fast CPU kernels (208 ms for 1.0-224; int8 takes 1.8)",
}  # measured with LiteRT 2.3, one thread, x86-64 with AVX-512 VNNI


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportResult:
    """What an export wrote.

    Attributes:
        artifacts: those that passed, as (path, sidecar).
        rejected: those that failed, as (path of the kept file, what it misses).
    """

    artifacts: tuple[tuple[Path, Artifact], ...]
    rejected: tuple[tuple[Path, tuple[str, ...]], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """What all files of one export share."""

    request: ExportRequest
    loaded: LoadedModel
    labels: tuple[str, ...] | None
    calibration: calibrate.CalibrationSet
    inputs: FloatArray
    reference: Future[FloatArray]
    model: keras.Model


@dataclass(frozen=True, slots=True, kw_only=True)
class _Candidate:
    """A converted file that has not been checked."""

    name: str
    precision: Precision
    io: str
    content: bytes
    derived_from: str | None = None


def export(request: ExportRequest, progress: Progress) -> ExportResult:
    """Build once, convert to each precision, check each file, then write all of them.

    Raises:
        SpecError: unusable input, or a folder that cannot be written.
        ConversionError: the converter failed.
        DeviceError: the engine that checks the files is missing or crashed.
    """
    require_file_or_name(request.weights)
    labels = read_labels(request.labels) if request.labels is not None else None
    loaded = load_model(request.weights, request.spec_overrides, seed=request.seed)
    if request.weights == SHIPPED and labels is None and loaded.trained and loaded.spec.classes is not None:
        labels = read_labels(shipped_path(SHIPPED_LABELS))
    if labels is not None:
        require_labels(labels, loaded.spec.classes, origin=str(request.labels))
    names = _file_names(request, loaded.spec.name, labels)
    with (
        OutputFolder(request.out, stem=loaded.spec.name, names=names, force=request.force) as folder,
        ThreadPoolExecutor(1) as background,
    ):
        job = _prepare(request, loaded, labels, background, progress)
        result = _convert_and_check(job, folder, progress)
        if labels is not None and result.artifacts:
            folder.stage(LABELS_NAME, _label_file(labels))
        progress.stage("writing")
        folder.commit()
    progress.done()
    return result


def _file_names(request: ExportRequest, stem: str, labels: tuple[str, ...] | None) -> dict[str, bytes | None]:
    """Return the files that may be written, with their content where it is known: models may share a label file."""
    files = [f"{stem}_{precision}.tflite" for precision in request.precisions]
    if _wants_twin(request, labels):
        files.append(f"{stem}_int8{TWIN_SUFFIX}.tflite")
    names: dict[str, bytes | None] = dict.fromkeys((*files, *(sidecar_path(Path(name)).name for name in files)))
    return names if labels is None else names | {LABELS_NAME: _label_file(labels)}


def _label_file(labels: tuple[str, ...]) -> bytes:
    return ("\n".join(labels) + "\n").encode()


def _wants_twin(request: ExportRequest, labels: tuple[str, ...] | None) -> bool:
    return labels is not None and Precision.INT8 in request.precisions and request.io is not Io.UINT8


def _prepare(
    request: ExportRequest,
    loaded: LoadedModel,
    labels: tuple[str, ...] | None,
    background: ThreadPoolExecutor,
    progress: Progress,
) -> _Job:
    """Read the images, build the model, and start the float reference: it runs while the first file is converted."""
    spec = loaded.spec
    for note in loaded.notes if loaded.body_trained else ():  # random weights are said once, with the result
        progress.note(note)
    progress.stage("reading calibration images")
    images = _calibration_images(request, spec, progress)
    for note in images.notes:
        progress.note(note)
    inputs = request.normalization.for_channels(spec.channels_in).apply(images.pixels)
    progress.stage("building the model")
    with silenced_native_output():  # Keras warns of a softmax over a single class, for example
        model = build(spec, loaded.weights)
        predict(model, inputs[:PREDICT_BATCH])  # traces the model in this thread; after that another one may run it
        static = with_static_batch(model)
    return _Job(
        request=request,
        loaded=loaded,
        labels=labels,
        calibration=images,
        inputs=inputs,
        reference=background.submit(predict, model, inputs),
        model=static,
    )


def _calibration_images(request: ExportRequest, spec: ModelSpec, progress: Progress) -> calibrate.CalibrationSet:
    options: dict[str, Any] = {"count": request.calibration_count, "seed": request.seed}
    options |= {"resolution_px": spec.resolution_px, "channels": spec.channels_in}
    if request.calibration is not None:
        return calibrate.from_folder(
            request.calibration,
            **options,
            on_progress=lambda done, count: progress.stage(f"reading calibration photos: {done} of {count}"),
        )
    if request.calibration_source is CalibrationFrom.NOISE:
        return calibrate.noise(**options)
    return calibrate.generated(**options)


def _convert_and_check(job: _Job, folder: OutputFolder, progress: Progress) -> ExportResult:
    artifacts, rejected = [], []
    for candidate in _candidates(job, progress):
        path = folder.stage(candidate.name, candidate.content)
        progress.stage(f"checking {candidate.name}")
        artifact, failures = _check(job, candidate, path)
        if failures:
            rejected.append((folder.reject(candidate.name), failures))
            continue
        folder.stage(sidecar_path(Path(candidate.name)).name, artifact.to_json().encode())
        artifacts.append((job.request.out / candidate.name, artifact))
    return ExportResult(artifacts=tuple(artifacts), rejected=tuple(rejected))


def _candidates(job: _Job, progress: Progress) -> Iterator[_Candidate]:
    """Convert to each precision once; files that differ in their interface only are derived from one conversion."""
    stem = job.loaded.spec.name
    for precision in job.request.precisions:
        if precision in _SLOW:
            progress.note(_SLOW[precision])
        progress.stage(f"converting to {precision}")
        content = tensorflow_converter.convert(job.model, precision, job.inputs)
        main = _Candidate(name=f"{stem}_{precision}.tflite", precision=precision, io="float", content=content)
        if precision is not Precision.INT8:
            yield main
            continue
        main = _with_io(main, job.request.io)
        yield main
        if _wants_twin(job.request, job.labels):
            digest = hashlib.sha256(main.content).hexdigest()
            twin = replace(main, name=f"{stem}_int8{TWIN_SUFFIX}.tflite", content=content, derived_from=digest)
            yield _with_io(twin, Io.UINT8)


def _with_io(candidate: _Candidate, io: Io) -> _Candidate:
    if io is Io.FLOAT:
        return candidate
    return replace(candidate, io=str(io), content=tensorflow_converter.with_io(candidate.content, io))


def _check(job: _Job, candidate: _Candidate, path: Path) -> tuple[Artifact, tuple[str, ...]]:
    """Read the file back and run it in a child process; return its sidecar and what it misses."""
    spec, precision = job.loaded.spec, candidate.precision
    graph = read_graph(path)
    given, answered = _tensor(graph, graph.inputs[0]), _tensor(graph, graph.outputs[0])
    inference = local.infer(path, given.store(job.inputs))
    compared = fidelity.compare(
        job.reference.result(), answered.real(inference.outputs), classifier=spec.classes is not None
    )
    wrong = structure.structure_failures(graph, spec, precision)
    unfit = _unfit_for_accuracy(job, precision)
    judged = not unfit  # what random weights or a calibration without photos answer says nothing about the converter
    failures = (*wrong, *(fidelity.failures(compared, precision) if judged else ()))
    checks = {
        "engine": f"{inference.engine} {inference.engine_version}",
        "structure": "passed" if not wrong else list(wrong),
        "fidelity": compared.to_json(),
        "fidelity_judged": judged,
    }
    return _sidecar(job, candidate, graph, (given, answered), checks, unfit, inference), failures


def _unfit_for_accuracy(job: _Job, precision: Precision) -> tuple[str, ...]:
    reasons = []
    if not job.loaded.body_trained:
        reasons.append("random weights: its answers mean nothing")
    elif not job.loaded.head_trained:
        reasons.append("the classifier is new and random: its answers mean nothing")
    elif precision in (Precision.INT8, Precision.INT16X8) and job.request.calibration is None:
        reasons.append(
            f"calibrated on {job.calibration.source} images, not on photos: its accuracy is unknown until mnet verify "
            "measures it"
        )
    return tuple(reasons)


def _tensor(graph: OpGraph, name: str) -> TensorInfo:
    tensor = graph.tensors[name]
    shape = tuple(size or 1 for size in tensor.shape or ())
    return TensorInfo(
        name=name,
        shape=shape,
        layout="NHWC" if len(shape) == 4 else "NC",
        dtype=tensor.dtype,
        scale=tensor.scale[0] if tensor.scale else None,
        zero_point=tensor.zero_point[0] if tensor.zero_point else None,
    )


def _sidecar(
    job: _Job,
    candidate: _Candidate,
    graph: OpGraph,
    tensors: tuple[TensorInfo, TensorInfo],
    checks: dict[str, Any],
    unfit: tuple[str, ...],
    inference: local.Inference,
) -> Artifact:
    return Artifact(
        file=candidate.name,
        file_format="tflite",
        precision=str(candidate.precision),
        io=candidate.io,
        sha256=hashlib.sha256(candidate.content).hexdigest(),
        size_bytes=len(candidate.content),
        spec=job.loaded.spec,
        normalization=job.request.normalization,
        preprocessing=preprocessing(job.loaded.spec.resolution_px),
        input=tensors[0],
        output=tensors[1],
        op_histogram=op_histogram(graph),
        labels=job.labels,
        weights=_weights_record(job.loaded),
        calibration=_calibration_record(job.calibration),
        checks=checks,
        unfit_for_accuracy=unfit,
        tool_versions={
            **{name: version(name) for name in ("mnet-deploy", "keras", "numpy")},
            "tensorflow": tensorflow_converter.VERSION,
            inference.engine: str(inference.engine_version),
        },
        derived_from=candidate.derived_from,
    )


def _weights_record(loaded: LoadedModel) -> dict[str, Any]:
    return {
        "origin": loaded.origin,
        "path": str(loaded.path) if loaded.path else None,
        "sha256": loaded.sha256,
        "trained": loaded.trained,
        "notes": list(loaded.notes),
    }


def _calibration_record(images: calibrate.CalibrationSet) -> dict[str, Any]:
    return {
        "source": str(images.source),
        "count": images.count,
        "seed": images.seed,
        "digest": images.digest,
        "skipped": list(images.skipped),
    }
