"""Points of a latency model from a device: export the models, measure them in turns, refuse what is not to be used."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from mnet_deploy.artifact import read_artifact, sidecar_path
from mnet_deploy.converters.options import Effort, FileFormat
from mnet_deploy.errors import DeviceUnavailable, SpecError
from mnet_deploy.latency import Point, Setting
from mnet_deploy.measurement.comparable import require_comparable
from mnet_deploy.measurement.measurement import Measurement, Verdict
from mnet_deploy.measurement.run_config import Protocol
from mnet_deploy.pipeline.bench import bench
from mnet_deploy.pipeline.bench_request import BenchRequest
from mnet_deploy.pipeline.candidates import file_names
from mnet_deploy.pipeline.export import ExportResult, export
from mnet_deploy.pipeline.latency_setting import setting_of
from mnet_deploy.pipeline.request import ExportRequest
from mnet_deploy.precision import Precision
from mnet_deploy.progress import Progress
from mnet_deploy.runners.transports.address import DeviceAddress
from mnet_deploy.spec import ModelSpec

FIT_PRECISIONS = (Precision.INT8, Precision.FP32)
FIT_FORMATS = (FileFormat.TFLITE, FileFormat.ONNX)
_CALIBRATION_COUNT = 10  # the weights are random: scales only have to be numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class PointsRequest:
    """How models are exported and measured.

    Attributes:
        device: where.
        precision: of the files, one of `FIT_PRECISIONS`.
        file_format: of the files, one of `FIT_FORMATS`.
        engine: None for the first that is there and runs the format.
        delegate: `default` or `none`.
        threads: of the engine.
        protocol: of the measurements.
        keep: folder for the exported files, which are taken from there if they are there already; None: they are
            removed after the run.
    """

    device: DeviceAddress
    precision: Precision = Precision.INT8
    file_format: FileFormat = FileFormat.TFLITE
    engine: str | None = None
    delegate: str = "default"
    threads: int = 1
    protocol: Protocol = field(default_factory=Protocol)
    keep: Path | None = None

    def __post_init__(self) -> None:
        """Refuse what no model of latency is fitted for.

        Raises:
            SpecError: another precision or format.
        """
        if self.precision not in FIT_PRECISIONS:
            raise SpecError(f"--precision takes {', '.join(FIT_PRECISIONS)}. Received: {self.precision}")
        if self.file_format not in FIT_FORMATS:
            raise SpecError(f"--format takes {', '.join(FIT_FORMATS)}. Received: {self.file_format}")
        self.bench_request(())

    def bench_request(self, files: tuple[Path, ...]) -> BenchRequest:
        """Return the request that measures files in turns, in one run.

        Raises:
            SpecError: an unknown engine or delegate, or no thread.
        """
        return BenchRequest(
            files=files,
            device=self.device,
            engines=() if self.engine is None else (self.engine,),
            delegates=(self.delegate,),
            threads=(self.threads,),
            protocol=self.protocol,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredPoints:
    """What was measured.

    Attributes:
        setting: of all points.
        points: in the order of the specs.
        warnings: what the user should know of the device.
    """

    setting: Setting
    points: tuple[Point, ...]
    warnings: tuple[str, ...] = ()


def measure_points(request: PointsRequest, specs: Sequence[ModelSpec], progress: Progress) -> MeasuredPoints:
    """Export the models with random weights, and measure them in turns in one run.

    Raises:
        SpecError: they cannot be exported, or were measured under different conditions.
        DeviceError: the device cannot be used, or a measurement is INVALID.
    """
    with _folder(request) as folder:
        paths = [_exported(spec, request, folder, progress) for spec in specs]
        result = bench(request.bench_request(tuple(paths)), progress)
    if result.error is not None:
        raise result.error
    by_name = {measurement.file.file: measurement for measurement in result.measurements}
    measurements = [by_name[path.name] for path in paths]
    for measurement in measurements:
        _require_usable(measurement)
        require_comparable(measurements[0], measurement, but=("model",))
    setting = setting_of(measurements[0], request.precision)
    points = tuple(_point(spec, one, setting) for spec, one in zip(specs, measurements, strict=True))
    return MeasuredPoints(setting=setting, points=points, warnings=result.warnings)


@contextmanager
def _folder(request: PointsRequest) -> Iterator[Path]:
    if request.keep is not None:
        yield request.keep
        return
    with TemporaryDirectory(prefix="mnet-latency-") as folder:
        yield Path(folder)


def _exported(spec: ModelSpec, request: PointsRequest, folder: Path, progress: Progress) -> Path:
    """Return the file of a model; what was exported before is taken where it is of the same model."""
    order = ExportRequest(
        weights="random",
        spec_overrides={name: value for name, value in spec.to_json().items() if (name, value) != ("growth", None)},
        formats=(request.file_format,),
        precisions=(request.precision,),
        calibration_count=_CALIBRATION_COUNT,
        effort=Effort.FAST,
        out=folder,
    )
    path = folder / file_names(order, spec.name, None)[0]
    if path.is_file() and sidecar_path(path).is_file() and read_artifact(path).spec == spec:
        return path
    if path.exists():
        raise SpecError(
            f"{path}: expected {spec.name} with its sidecar, or no file. Received: another; --keep elsewhere"
        )
    progress.stage(f"exporting {path.name}")
    result = export(order, progress)
    if result.rejected:
        raise SpecError(f"{path.name}: expected a file that passes its checks. Received: {'; '.join(_reasons(result))}")
    return path


def _reasons(result: ExportResult) -> list[str]:
    return [failure for _, failures in result.rejected for failure in failures]


def _require_usable(measurement: Measurement) -> None:
    if measurement.verdict is Verdict.INVALID or measurement.median_s is None:
        reasons = (reason.text for reason in measurement.reasons if reason.verdict is Verdict.INVALID)
        raise DeviceUnavailable(
            f"a latency model is made of valid measurements. Received: {measurement.file.file} is INVALID: "
            f"{next(reasons, 'it has no median')}"
        )


def _point(spec: ModelSpec, measurement: Measurement, setting: Setting) -> Point:
    doubts = tuple(reason.text for reason in measurement.reasons)
    return Point(spec=spec, latency_s=measurement.median_s or 0.0, setting=setting, doubts=doubts)
