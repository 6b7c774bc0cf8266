"""Ask a copy on a device what its goldens answer, with each set of kernels that its engines have there."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from mnet_deploy.artifact import file_sha256
from mnet_deploy.errors import CommandFailed, CommandTimeout, SpecError, ToolMissing
from mnet_deploy.measurement.device_info import DeviceInfo
from mnet_deploy.measurement.json_values import as_value
from mnet_deploy.measurement.measurement import MeasuredFile
from mnet_deploy.measurement.run_config import BENCHMARK_MODEL, DELEGATES, RunConfig
from mnet_deploy.pipeline.bench_files import BenchFile, require_runnable
from mnet_deploy.pipeline.bench_plan import plan
from mnet_deploy.pipeline.bench_request import BenchRequest, ToolRequest
from mnet_deploy.pipeline.device_runtime import DeviceRuntime
from mnet_deploy.pipeline.golden_tolerance import Distance
from mnet_deploy.pipeline.goldens import GoldenReplay, KeptGoldens, read_goldens
from mnet_deploy.pipeline.runtime_choice import choose_runtime
from mnet_deploy.progress import Progress
from mnet_deploy.runners.benchmark_model.tool import BenchmarkTool
from mnet_deploy.runners.benchmark_model.tool_infer import infer_with_tool, require_takes_inputs
from mnet_deploy.runners.device_infer import infer_on_device
from mnet_deploy.runners.device_session import DeviceSession
from mnet_deploy.runners.local import Inference
from mnet_deploy.runners.transports.address import DeviceAddress
from mnet_deploy.runners.transports.open_transport import open_transport
from mnet_deploy.runners.transports.transport import Transport

Refusal = CommandFailed | CommandTimeout | ToolMissing

# History: 1 = first.
DEVICE_REPLAY_FORMAT = "mnet.device-goldens/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class DelegateReplay:
    """What one engine answers there with one set of kernels.

    Attributes:
        config: the engine and the delegate that were asked for.
        answered: what ran, and its answers.
        replay: how far those are from the goldens.
    """

    config: RunConfig
    answered: Inference
    replay: GoldenReplay

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        replay, moved = self.replay, self.replay.moved
        share = replay.share
        steps = None if moved.by_steps is None else {str(step): count for step, count in moved.by_steps.items()}
        return {
            "engine": self.answered.engine,
            "engine_version": self.answered.engine_version,
            "machine": self.answered.machine,
            "runner": self.answered.runner,
            "c_library": self.answered.c_library,
            "asked_delegate": self.config.delegate,
            "delegate": self.answered.delegate,
            "passed": replay.passed,
            "equal": moved.count == 0,
            "same_engine": replay.same_engine,
            "same_input": replay.same_input,
            "outputs": moved.outputs,
            "moved": moved.count,
            "moved_by_steps": steps,
            "furthest": [as_value(one) for one in moved.furthest],
            "distance": replay.distance.to_json(),
            "share_of_tolerance": share if isfinite(share) else None,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceReplay:
    """What a copy answers on a device to the images of its goldens.

    Attributes:
        device: where.
        goldens: what was asked.
        replays: one for each engine and delegate that answered.
        refusals: why others did not.
        warnings: what the user should know of the device.
        tool: the `benchmark_model` that answered; None if none was brought.
    """

    device: DeviceInfo
    goldens: KeptGoldens
    replays: tuple[DelegateReplay, ...]
    refusals: tuple[Refusal, ...] = ()
    warnings: tuple[str, ...] = ()
    tool: BenchmarkTool | None = None

    @property
    def tolerance(self) -> Distance:
        """What answers may be apart on this kind of processor; that of the export, if none came."""
        return self.replays[0].replay.tolerance if self.replays else Distance(**self.goldens.record["tolerance"])

    @property
    def same_file(self) -> bool:
        """Whether the copy is byte for byte the file that was exported."""
        return all(one.replay.same_file for one in self.replays)

    @property
    def passed(self) -> bool:
        """Whether the file is the exported one and every delegate answers as the export did."""
        return not self.refusals and self.same_file and all(one.replay.passed for one in self.replays)

    def to_json(self) -> dict[str, Any]:
        """Return everything but the answers as JSON values."""
        record, tool = self.goldens.record, self.tool
        return {
            "format": DEVICE_REPLAY_FORMAT,
            "file": self.goldens.artifact.file,
            "device": as_value(self.device),
            "emulated": self.device.emulated,
            "passed": self.passed,
            "same_file": self.same_file if self.replays else None,
            "images": self.goldens.images,
            "exported_with": record["engine"],
            "tolerance": self.tolerance.to_json(),
            "unit": record["unit"],
            "benchmark_model": {"sha256": tool.sha256, "source": tool.origin} if tool else None,
            "replays": [one.to_json() for one in self.replays],
            "refusals": [str(refusal) for refusal in self.refusals],
        }


def replay_on_device(
    path: Path,
    device: DeviceAddress,
    progress: Progress,
    *,
    engines: Sequence[str] = (),
    delegates: Sequence[str] = (),
    tool: ToolRequest | None = None,
) -> DeviceReplay:
    """Ask a copy on a device what its goldens answer.

    Args:
        path: the copy on this machine; sidecar and goldens lie beside it.
        device: where.
        progress: told of each delegate.
        engines: of `run_config.RUN_ENGINES`; empty for the tool if there is one, else for the first one that is there.
        delegates: of `run_config.TOOL_DELEGATES`; empty for those that every engine has.
        tool: the official tool, which then is an engine as well.

    Raises:
        SpecError: the file, its goldens, an engine, a delegate or the tool cannot be used.
        ResultFormatError: sidecar or goldens are damaged.
        DeviceError: the device cannot be used, or was lost. What a single engine refused is in the result instead.
    """
    request = BenchRequest(
        files=(path,),
        device=device,
        engines=tuple(engines),
        delegates=tuple(delegates) or DELEGATES,
        cpu_affinity=(),  # all: cores change no answer
        tool=tool,
    )
    goldens = read_goldens(path)
    require_runnable(path, "--device")
    _require_use(path, request, delegates)
    with open_transport(device) as transport:
        try:
            return _replay(transport, goldens, request, progress)
        finally:
            progress.done()


def _require_use(path: Path, request: BenchRequest, delegates: Sequence[str]) -> None:
    """Raise `SpecError` for what would be left aside: nobody is to think that it was asked."""
    given = [name for name, there in (("--benchmark-model", request.tool), ("--delegate", delegates)) if there]
    if given and path.suffix != ".tflite":
        raise SpecError(f"{given[0]} is for .tflite files. Received: {path.name}; leave it out")
    if request.tool and request.engines and BENCHMARK_MODEL not in request.engines:
        raise SpecError(
            f"--benchmark-model is the engine {BENCHMARK_MODEL}. Received: --engine {','.join(request.engines)}, which "
            "leaves it out"
        )


def _replay(transport: Transport, goldens: KeptGoldens, request: BenchRequest, progress: Progress) -> DeviceReplay:
    progress.stage(f"connecting to {request.device}")
    runtime = choose_runtime(transport, request, progress)
    configs = _configs(goldens.path, request, runtime)
    if runtime.tool and any(config.engine == BENCHMARK_MODEL for config in configs):
        require_takes_inputs(runtime.tool.tool)
    programs = runtime.programs({config.engine for config in configs}, progress)
    replays: list[DelegateReplay] = []
    refusals: list[Refusal] = []
    with DeviceSession(transport, programs=programs) as session:
        device = session.device()
        for config in configs:
            progress.stage(f"{goldens.path.name} ({config})")
            try:
                answered = _answer(session, goldens, config, runtime, request)
                replays.append(DelegateReplay(config=config, answered=answered, replay=goldens.compare(answered)))
            except (CommandFailed, ToolMissing) as refusal:  # another engine or delegate may still answer
                refusals.append(refusal)
            except CommandTimeout as refusal:  # a driver hangs, or else the device does
                refusals.append(refusal)
                device = session.device()
    return DeviceReplay(
        device=device,
        goldens=goldens,
        replays=tuple(replays),
        refusals=tuple(refusals),
        warnings=(*runtime.notes(programs), *session.warnings),
        tool=runtime.tool.tool if runtime.tool else None,
    )


def _configs(path: Path, request: BenchRequest, runtime: DeviceRuntime) -> list[RunConfig]:
    """Return the engines and delegates to run, as a benchmark would."""
    file = MeasuredFile(file=path.name, sha256=file_sha256(path), size_bytes=path.stat().st_size)
    return [each.config for each in plan((BenchFile(path=path, file=file, artifact=None),), request, runtime)]


def _answer(
    session: DeviceSession, goldens: KeptGoldens, config: RunConfig, runtime: DeviceRuntime, request: BenchRequest
) -> Inference:
    if config.engine == BENCHMARK_MODEL and runtime.tool and request.tool:
        return infer_with_tool(
            session,
            runtime.tool.tool,
            goldens.path,
            goldens.inputs,
            config=config,
            output=goldens.artifact.output,
            least_nodes=request.tool.delegated_nodes,
        )
    return infer_on_device(session, goldens.path, goldens.inputs, engine=config.engine, delegate=config.delegate)
