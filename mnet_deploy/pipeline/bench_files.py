"""The files to measure: what they are, and which engines can run them."""

from dataclasses import dataclass
from pathlib import Path

from mnet_deploy.artifact import Artifact, file_sha256, read_artifact, sidecar_path
from mnet_deploy.errors import SpecError
from mnet_deploy.measurement.measurement import MeasuredFile
from mnet_deploy.measurement.run_config import BENCHMARK_MODEL

_ENGINES_FOR = {
    ".tflite": ("litert", "tflite-runtime", BENCHMARK_MODEL),
    ".onnx": ("onnxruntime",),
    ".ort": ("onnxruntime",),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchFile:
    """A file to measure, and what is known of it; `artifact` is None without sidecar."""

    path: Path
    file: MeasuredFile
    artifact: Artifact | None

    @property
    def engines(self) -> tuple[str, ...]:
        """The engines that can run it, the preferred one first."""
        return _ENGINES_FOR[self.path.suffix]

    @property
    def session_options(self) -> tuple[str, ...]:
        """What its sidecar says ONNX Runtime has to be told; the number of threads is the run's."""
        options = ((self.artifact.runtime or {}) if self.artifact else {}).get("session_options", {})
        return tuple(f"{key}={value}" for key, value in options.items() if key != "intra_op_num_threads")


def read_bench_file(path: Path) -> BenchFile:
    """Find out what a file is.

    Raises:
        SpecError: it is not there, of another format, or not the one that its sidecar describes.
    """
    require_runnable(path, "mnet bench")
    if not path.is_file():
        raise SpecError(f"{path}: expected a file to measure. Received: none there; `mnet export` makes some")
    artifact = read_artifact(path) if sidecar_path(path).is_file() else None
    file = MeasuredFile(
        file=path.name,
        sha256=file_sha256(path),
        size_bytes=path.stat().st_size,
        model=artifact.spec.name if artifact else None,
        precision=artifact.precision if artifact else None,
        tune=artifact.tune if artifact else None,
        notes=artifact.unfit_for_accuracy if artifact else (),
    )
    return BenchFile(path=path, file=file, artifact=artifact)


def require_runnable(path: Path, what: str) -> None:
    """Raise `SpecError` for a file that no engine runs."""
    if path.suffix not in _ENGINES_FOR:
        raise SpecError(f"{what} takes .tflite, .onnx and .ort files. Received: {path}")
