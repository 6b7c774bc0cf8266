"""Where the time goes: the engine's own profile of each file, mapped to the layers of its model."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mnet_deploy.artifact import Artifact
from mnet_deploy.measurement.json_values import as_value
from mnet_deploy.measurement.run_config import BENCHMARK_MODEL, RunConfig
from mnet_deploy.progress import Progress
from mnet_deploy.runners.agent_events import AgentRefusal
from mnet_deploy.runners.benchmark_model.profile_run import profile_layers
from mnet_deploy.runners.benchmark_model.tool import BenchmarkTool
from mnet_deploy.runners.device_events import Layers
from mnet_deploy.runners.device_session import DeviceSession
from mnet_deploy.runners.layer_times import LayerTimes, layer_table, layer_times
from mnet_deploy.runners.timed_block import Candidate

RUNS = 50
TIMEOUT_S = 300.0
PROFILED_THREADS = 1  # LiteRT's profiler has no other choice, and one thread's times add up


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedLayers:
    """The layers of one file on one engine.

    Attributes:
        file: name of the file.
        engine: one of `RUN_ENGINES`.
        times: of its layers; None if they cannot be had.
        unavailable: why not; empty if they can.
    """

    file: str
    engine: str
    times: LayerTimes | None
    unavailable: str = ""

    def text(self) -> str:
        """Return the table, or why there is none."""
        title = f"Layers of {self.file}, {self.engine}, one thread (profiled, apart from the timed runs)"
        return f"{title}\n\n{layer_table(self.times)}" if self.times else f"{title}: not available: {self.unavailable}"

    def to_json(self) -> dict[str, Any]:
        """Return the figures."""
        known: dict[str, Any] = {"file": self.file, "engine": self.engine, "unavailable": self.unavailable or None}
        if self.times is None:
            return known
        return known | {
            "source": self.times.source,
            "total_s": self.times.total_s,
            "sum_s": self.times.sum_s,
            "layers": [
                {"name": each.layer.name, "kind": str(each.layer.kind), "macs": each.layer.macs, "time_s": each.time_s}
                for each in self.times.layers
            ],
            "unmapped": [{"name": op.name, "op": op.op, "time_s": op.time_s} for op in self.times.unmapped],
        }


def time_layers(
    session: DeviceSession,
    candidates: Sequence[Candidate],
    tool: BenchmarkTool | None,
    artifacts: dict[str, Artifact | None],
    progress: Progress,
) -> tuple[TimedLayers, ...]:
    """Profile each file once on each of its engines.

    Args:
        session: with the device.
        candidates: what was timed; threads and delegates do not matter here.
        tool: that profiles what `benchmark_model` timed.
        artifacts: the sidecar of each file by the file's sha256; None where it has none.
        progress: shows what is being done.

    Raises:
        DeviceError: the device or the link failed. That a profile cannot be had is in the result instead.
    """
    different = {(each.file.sha256, each.config.engine): each for each in reversed(candidates)}
    timed = []
    for candidate in reversed(different.values()):
        progress.stage(f"layers of {candidate.file.file}, {candidate.config.engine}")
        timed.append(_time_one(session, candidate, tool, artifacts[candidate.file.sha256]))
    return tuple(timed)


def _time_one(
    session: DeviceSession, candidate: Candidate, tool: BenchmarkTool | None, artifact: Artifact | None
) -> TimedLayers:
    of_the_tool = candidate.config.engine == BENCHMARK_MODEL
    if artifact is None:
        return _without(candidate, "it has no sidecar, which names the layers; export it with mnet export")
    try:
        layers = profile_layers(session, candidate, tool) if of_the_tool and tool else _agent_layers(session, candidate)
    except AgentRefusal as refusal:
        if refusal.kind != "layers_unavailable":
            raise
        return _without(candidate, str(refusal))
    times = layer_times(artifact.spec.layers(), map(as_value, layers.ops), layers.source, total_s=layers.total_s)
    return TimedLayers(file=candidate.file.file, engine=candidate.config.engine, times=times)


def _agent_layers(session: DeviceSession, candidate: Candidate) -> Layers:
    answer = session.run_agent(
        "layers",
        _options(session.push(candidate.path), candidate.config),
        what=f"{candidate.file.file} on {session.transport.address.label}",
        timeout_s=TIMEOUT_S,
    )
    return answer.first(Layers)


def _without(candidate: Candidate, why: str) -> TimedLayers:
    return TimedLayers(file=candidate.file.file, engine=candidate.config.engine, times=None, unavailable=why)


def _options(remote: str, config: RunConfig) -> list[str]:
    options = ["--model", remote, "--engine", config.engine, "--threads", str(PROFILED_THREADS), "--runs", str(RUNS)]
    for option in config.session_options:
        options += ["--session-option", option]
    return options
