"""Measure files on a device: find out what they are and what can run them, hold the device, measure, judge."""

from collections.abc import Sequence
from dataclasses import dataclass

from mnet_deploy.errors import DeviceError
from mnet_deploy.measurement.measurement import MeasuredFile, Measurement
from mnet_deploy.pipeline.bench_files import BenchFile, read_bench_file
from mnet_deploy.pipeline.bench_layers import TimedLayers, time_layers
from mnet_deploy.pipeline.bench_plan import plan
from mnet_deploy.pipeline.bench_request import BenchRequest
from mnet_deploy.pipeline.runtime_choice import choose_runtime
from mnet_deploy.progress import Progress
from mnet_deploy.runners.device_session import DeviceSession, SessionOptions
from mnet_deploy.runners.measure import MeasuringRun
from mnet_deploy.runners.transports.open_transport import open_transport
from mnet_deploy.runners.transports.transport import Transport

PINNED_GOVERNOR = "performance"


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


def bench(request: BenchRequest, progress: Progress) -> BenchResult:
    """Measure the files.

    Raises:
        SpecError: a file, or what it should run with, cannot be used.
        DeviceError: the device cannot be used; what happens once it is being measured on is in the result instead.
    """
    found = tuple(read_bench_file(path) for path in request.files)
    with open_transport(request.device) as transport:
        return bench_on(transport, found, request, progress)


def bench_on(
    transport: Transport, found: Sequence[BenchFile], request: BenchRequest, progress: Progress
) -> BenchResult:
    """Measure files on a device that a transport leads to; see `bench`."""
    progress.stage(f"connecting to {request.device}")
    runtime = choose_runtime(transport, request, progress)
    candidates = plan(found, request, runtime)
    programs = runtime.programs({candidate.config.engine for candidate in candidates}, progress)
    options = SessionOptions(pin=PINNED_GOVERNOR if request.protocol.pin else None)
    session = DeviceSession(transport, programs=programs, options=options)
    run = MeasuringRun(session, candidates, request.protocol, time_one=runtime.time_one, show=progress.stage)
    error: DeviceError | KeyboardInterrupt | None = None
    layers: tuple[TimedLayers, ...] = ()
    try:
        with session:
            run.measure()
            error = next(iter(run.refusals), None)
            if request.layers:
                tool = runtime.tool.tool if runtime.tool else None
                layers = time_layers(
                    session, candidates, tool, {each.file.sha256: each.artifact for each in found}, progress
                )
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
        warnings=(*runtime.notes(programs), *session.warnings, *(str(refusal) for refusal in run.refusals[1:])),
        error=error,
    )
