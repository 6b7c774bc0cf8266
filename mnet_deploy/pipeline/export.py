"""From a checkpoint to checked files with sidecars."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mnet_deploy.artifact import Artifact, sidecar_path
from mnet_deploy.converters.options import FileFormat
from mnet_deploy.errors import ForeignHead
from mnet_deploy.labels import read_labels, require_labels
from mnet_deploy.models.load import LoadedModel, load_model, require_file_or_name
from mnet_deploy.models.shipped_checkpoint import LABELS_NAME as SHIPPED_LABELS
from mnet_deploy.models.shipped_checkpoint import SHIPPED, shipped_path
from mnet_deploy.output_folder import OutputFolder
from mnet_deploy.pipeline.candidates import Candidate, candidates, file_names
from mnet_deploy.pipeline.check import Checked, check
from mnet_deploy.pipeline.export_job import ExportJob, prepare
from mnet_deploy.pipeline.goldens import goldens_path
from mnet_deploy.pipeline.request import ExportRequest
from mnet_deploy.progress import Progress
from mnet_deploy.quiet import silenced_native_output

LABELS_NAME = "labels.txt"
_CHECKS_AT_ONCE = 2  # each waits for a child process that computes on one core


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportResult:
    """What an export wrote.

    Attributes:
        artifacts: those that passed, as (path, sidecar).
        rejected: those that failed, as (path of the kept file, what it misses).
    """

    artifacts: tuple[tuple[Path, Artifact], ...]
    rejected: tuple[tuple[Path, tuple[str, ...]], ...]


def export(request: ExportRequest, progress: Progress) -> ExportResult:
    """Build once, convert to each precision, check each file, then write all of them.

    Raises:
        SpecError: unusable input, or a folder that cannot be written.
        ConversionError: the converter failed.
        DeviceError: the engine that checks the files is missing or crashed.
    """
    require_file_or_name(request.weights)
    labels = read_labels(request.labels) if request.labels is not None else None
    loaded, keras_model = _load(request)
    if request.weights == SHIPPED and labels is None and loaded.trained and loaded.spec.classes is not None:
        labels = read_labels(shipped_path(SHIPPED_LABELS))
    if labels is not None:
        require_labels(labels, loaded.spec.classes, origin=str(request.labels or SHIPPED_LABELS))
    names = _planned_names(request, loaded.spec.name, labels)
    with OutputFolder(request.out, stem=loaded.spec.name, names=names, force=request.force) as folder:
        job = prepare(request, loaded, labels, progress, keras_model)
        result = _convert_and_check(job, folder, progress)
        if labels is not None and result.artifacts:
            folder.stage(LABELS_NAME, _label_file(labels))
        progress.stage("writing")
        folder.commit()
    progress.done()
    return result


def _load(request: ExportRequest) -> tuple[LoadedModel, Any]:
    """Return the model, and the Keras model that TensorFlow must convert where the classifier is the user's own."""
    try:
        return load_model(request.weights, request.spec_overrides, seed=request.seed), None
    except ForeignHead as problem:
        if request.formats != (FileFormat.TFLITE,):
            raise
        with silenced_native_output():  # TensorFlow logs from C++ as it is imported
            from mnet_deploy.pipeline.keras_fallback import load_with_own_head

        return load_with_own_head(request.weights, request.spec_overrides, seed=request.seed, problem=problem)


def _planned_names(request: ExportRequest, stem: str, labels: tuple[str, ...] | None) -> dict[str, bytes | None]:
    """Return the files that may be written, with their content where it is known: models may share a label file."""
    files = file_names(request, stem, labels)
    beside = (place(Path(name)).name for name in files for place in (sidecar_path, goldens_path))
    names: dict[str, bytes | None] = dict.fromkeys((*files, *beside))
    return names if labels is None else names | {LABELS_NAME: _label_file(labels)}


def _label_file(labels: tuple[str, ...]) -> bytes:
    return ("\n".join(labels) + "\n").encode()


@contextmanager
def _cancelled_on_error(executor: ThreadPoolExecutor) -> Iterator[ThreadPoolExecutor]:
    """Wait for nothing that has not begun where the body fails or is interrupted."""
    try:
        yield executor
    finally:
        executor.shutdown(cancel_futures=True)


def _convert_and_check(job: ExportJob, folder: OutputFolder, progress: Progress) -> ExportResult:
    """Convert one file after the other; while one is checked in a child process, the next one is converted."""
    artifacts, rejected = [], []
    progress.stage("running the float model")
    _ = job.float_pass, job.golden_images  # before the checks, which share them
    with _cancelled_on_error(ThreadPoolExecutor(_CHECKS_AT_ONCE)) as checks:
        checking: list[tuple[Candidate, Future[Checked]]] = []
        for candidate in candidates(job, progress):
            path = folder.stage(candidate.name, candidate.content)
            checking.append((candidate, checks.submit(check, job, candidate, path)))
        for candidate, future in checking:
            progress.stage(f"checking {candidate.name}")
            checked = future.result()
            if checked.failures:
                rejected.append((folder.reject(candidate.name), checked.failures))
                continue
            sidecar = sidecar_path(Path(candidate.name)).name
            for name, content in {sidecar: checked.artifact.to_json().encode(), **checked.companions}.items():
                folder.stage(name, content)
            artifacts.append((job.request.out / candidate.name, checked.artifact))
    return ExportResult(artifacts=tuple(artifacts), rejected=tuple(rejected))
