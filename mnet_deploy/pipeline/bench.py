"""Measure files on a device: find out what they are and what can run them, hold the device, measure, judge."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from mnet_deploy.artifact import Artifact, file_sha256, read_artifact, sidecar_path
from mnet_deploy.errors import DeviceError, DeviceUnavailable, SpecError
from mnet_deploy.measurement.engine_packages import ENGINE_PACKAGES
from mnet_deploy.measurement.measurement import MeasuredFile, Measurement
from mnet_deploy.measurement.run_config import DELEGATES, ENGINES, MOST_BLOCKS, Protocol, RunConfig
from mnet_deploy.pipeline.bench_layers import TimedLayers, time_layers
from mnet_deploy.progress import Progress
from mnet_deploy.runners.device_programs import python_programs
from mnet_deploy.runners.device_session import DeviceSession, SessionOptions
from mnet_deploy.runners.measure import MeasuringRun
from mnet_deploy.runners.setup.device_python import DevicePython, device_python
from mnet_deploy.runners.timed_block import Candidate
from mnet_deploy.runners.transports.address import DeviceAddress
from mnet_deploy.runners.transports.deadline import Deadline
from mnet_deploy.runners.transports.open_transport import open_transport, require_python_there
from mnet_deploy.runners.transports.transport import Transport

CONNECT_TIMEOUT_S = 60.0
PINNED_GOVERNOR = "performance"
SUSTAINED_BLOCK_S = 20.0  # between blocks the device rests while a process starts: keep that share small
_ENGINES_FOR = {".tflite": ("litert", "tflite-runtime"), ".onnx": ("onnxruntime",), ".ort": ("onnxruntime",)}


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchRequest:
    """The options of `mnet bench` that say what is measured where.

    Attributes:
        files: .tflite, .onnx and .ort files, with or without sidecar.
        device: where.
        engines: each file runs on those of them that can run it; empty for the first one that is installed there.
        delegates: `default`, `none` or both.
        threads: numbers of threads, each measured for itself.
        cpu_affinity: numbers of the cores that may be used; None for all.
        protocol: when it is enough.
        layers: whether each layer is timed as well.
        sustain: whether one file is to be kept running.
    """

    files: tuple[Path, ...]
    device: DeviceAddress
    engines: tuple[str, ...] = ()
    delegates: tuple[str, ...] = ("default",)
    threads: tuple[int, ...] = (1,)
    cpu_affinity: tuple[int, ...] | None = None
    protocol: Protocol = field(default_factory=Protocol)
    layers: bool = False
    sustain: bool = False

    def __post_init__(self) -> None:
        """Refuse what no device could be asked for, before one is.

        Raises:
            SpecError: an unknown engine or delegate, no thread, or the same twice.
        """
        for option, values, known in (
            ("--engine", self.engines, ENGINES),
            ("--delegate", self.delegates, DELEGATES),
        ):
            for value in values:
                if value not in known:
                    raise SpecError(f"{option} takes {', '.join(known)}. Received: {value!r}")
        if not self.threads or min(self.threads) < 1 or not self.delegates:
            raise SpecError(f"--threads takes numbers from 1 on. Received: {', '.join(map(str, self.threads))}")
        for option, given in (
            ("a file", [os.fspath(path.resolve()) for path in self.files]),
            ("--engine", self.engines),
            ("--delegate", self.delegates),
            ("--threads", self.threads),
        ):
            if len(set(given)) != len(given):
                raise SpecError(f"{option} is given twice. Received: {', '.join(map(str, given))}")


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchResult:
    """What a run gave.

    Attributes:
        measurements: one for each file, engine, delegate and number of threads, judged.
        files: what the request's files are, in its order.
        layers: times of single layers, if they were asked for.
        warnings: what the user should know of the device.
        error: what cut the run off; the measurements are what there was until then. None if nothing did.
    """

    measurements: tuple[Measurement, ...]
    files: tuple[MeasuredFile, ...]
    layers: tuple[TimedLayers, ...] = ()
    warnings: tuple[str, ...] = ()
    error: DeviceError | KeyboardInterrupt | None = None


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


def sustaining(protocol: Protocol, duration_s: float, *, block_s: float | None) -> Protocol:
    """Return the protocol that keeps one file running for a time.

    Args:
        protocol: what else holds.
        duration_s: of the whole.
        block_s: of a block; None for a length that leaves the device little rest.
    """
    return replace(
        protocol,
        block_s=max(protocol.block_s, min(SUSTAINED_BLOCK_S, duration_s / protocol.min_blocks))
        if block_s is None
        else block_s,
        max_interval=None,
        max_blocks=MOST_BLOCKS,
        time_limit_s=duration_s,
    )


def bench(request: BenchRequest, progress: Progress) -> BenchResult:
    """Measure the files.

    Raises:
        SpecError: a file, or what it should run with, cannot be used.
        DeviceError: the device cannot be used; what happens once it is being measured on is in the result instead.
    """
    require_python_there(request.device, "mnet bench")
    found = tuple(read_bench_file(path) for path in request.files)
    with open_transport(request.device) as transport:
        return bench_on(transport, found, request, progress)


def bench_on(
    transport: Transport, found: Sequence[BenchFile], request: BenchRequest, progress: Progress
) -> BenchResult:
    """Measure files on a device that a transport leads to; see `bench`."""
    progress.stage(f"connecting to {request.device}")
    python = device_python(transport, Deadline.after(CONNECT_TIMEOUT_S))
    candidates = plan(found, request, python)
    options = SessionOptions(pin=PINNED_GOVERNOR if request.protocol.pin else None)
    session = DeviceSession(transport, programs=python_programs(python.path), options=options)
    run = MeasuringRun(session, candidates, request.protocol, show=progress.stage)
    error: DeviceError | KeyboardInterrupt | None = None
    layers: tuple[TimedLayers, ...] = ()
    try:
        with session:
            run.measure()
            error = next(iter(run.refusals), None)
            if request.layers:
                layers = time_layers(session, candidates, {each.file.sha256: each.artifact for each in found}, progress)
    except (DeviceError, KeyboardInterrupt) as caught:
        if not run.measurements():
            raise
        error = caught  # what was measured before is worth keeping
    finally:
        progress.done()
    return BenchResult(
        measurements=run.measurements(),
        files=tuple(each.file for each in found),
        layers=layers,
        warnings=(*session.warnings, *(str(refusal) for refusal in run.refusals[1:])),
        error=error,
    )


def read_bench_file(path: Path) -> BenchFile:
    """Find out what a file is.

    Raises:
        SpecError: it is not there, of another format, or not the one that its sidecar describes.
    """
    if path.suffix not in _ENGINES_FOR:
        raise SpecError(f"mnet bench takes .tflite, .onnx and .ort files. Received: {path}")
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


def plan(found: Sequence[BenchFile], request: BenchRequest, python: DevicePython) -> tuple[Candidate, ...]:
    """Return what is to be measured, in the order of a round.

    Raises:
        SpecError: an engine is asked for that runs none of the files, or more than one way to sustain.
        DeviceUnavailable: an engine is not installed there.
    """
    candidates = tuple(
        Candidate(
            path=each.path,
            file=each.file,
            config=RunConfig(
                engine=engine,
                delegate=delegate,
                threads=threads,
                cpu_affinity=request.cpu_affinity,
                session_options=each.session_options if engine == "onnxruntime" else (),
            ),
        )
        for each in found
        for engine in _engines_of(each, request, python)
        for delegate in (request.delegates if engine != "onnxruntime" else ("default",))
        for threads in request.threads
    )
    if request.sustain and len(candidates) > 1:
        raise SpecError(f"--sustain keeps one file running, one way. Received: {', '.join(map(str, candidates))}")
    idle = set(request.engines) - {candidate.config.engine for candidate in candidates}
    if idle:
        raise SpecError(f"--engine {', '.join(sorted(idle))}: runs none of the files; leave it out")
    return candidates


def _engines_of(each: BenchFile, request: BenchRequest, python: DevicePython) -> tuple[str, ...]:
    wanted = tuple(name for name in each.engines if name in request.engines) if request.engines else each.engines
    if request.engines and not wanted:
        raise SpecError(
            f"{each.path.name} runs on {' or '.join(each.engines)}. Received: --engine {','.join(request.engines)}"
        )
    usable = tuple(name for name in wanted if name in python.engines)
    if request.engines and (missing := [name for name in wanted if name not in usable]):
        raise DeviceUnavailable(_not_installed(missing[0], request, python))
    if not usable:
        raise DeviceUnavailable(_not_installed(each.engines[0], request, python))
    return usable if request.engines else usable[:1]


def _not_installed(engine: str, request: BenchRequest, python: DevicePython) -> str:
    reason = python.unusable.get(engine, f"it is not installed in {python.path}")
    remedy = (
        f"pip install 'mnet-deploy[{ENGINE_PACKAGES[engine].extra}]'"
        if request.device.scheme == "local"
        else f"mnet device setup --device {request.device} --engine {engine}"
    )
    return f"{request.device.label}: {engine} cannot be used there: {reason}; {remedy}"
