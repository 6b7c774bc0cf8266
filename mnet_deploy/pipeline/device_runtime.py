"""What can run models on a device, in one form: Python's engines, our C program, TensorFlow Lite's own tool."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from mnet_deploy.measurement.run_config import BENCHMARK_MODEL, Protocol
from mnet_deploy.progress import Progress
from mnet_deploy.runners.benchmark_model.timed_run import ToolTimer
from mnet_deploy.runners.benchmark_model.tool import BenchmarkTool
from mnet_deploy.runners.device_programs import Agent, DevicePrograms
from mnet_deploy.runners.device_session import DeviceSession
from mnet_deploy.runners.timed_block import Candidate, TimedBlock, time_block


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A `benchmark_model` that is brought along.

    Attributes:
        tool: the program.
        timer: runs blocks with it.
    """

    tool: BenchmarkTool
    timer: ToolTimer


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceRuntime:
    """What can run models on one device.

    Attributes:
        keeper: starts the program that holds the device.
        engines: version of each engine that can be used, by its name; None where that is not known.
        missing: says, in a line, why an engine that is not among them cannot be used.
        agent: makes the program that runs models, with these engines.
        affinity: returns the cores that a number of threads runs on unless others are asked for; None for all.
        tool: TensorFlow Lite's own; None where it was not brought.
        profiles: whether the agent can time single layers.
        agent_note: what the user should know of the program that runs models; empty for nothing.
    """

    keeper: tuple[str, ...]
    engines: Mapping[str, str | None]
    missing: Callable[[str], str]
    agent: Callable[[Collection[str], Progress], Agent]
    affinity: Callable[[int], tuple[int, ...] | None] = lambda threads: None
    tool: Tool | None = None
    profiles: bool = True
    agent_note: str = ""

    def programs(self, engines: Collection[str], progress: Progress) -> DevicePrograms:
        """Return what a session runs that uses these engines."""
        packaged = [engine for engine in engines if engine != BENCHMARK_MODEL]
        return DevicePrograms(keeper=self.keeper, agent=self.agent(packaged, progress) if packaged else None)

    def notes(self, programs: DevicePrograms) -> tuple[str, ...]:
        """Return what the user should know of what a session runs."""
        return (self.agent_note,) if programs.agent and self.agent_note else ()

    def time_one(self, session: DeviceSession, candidate: Candidate, remote: str, protocol: Protocol) -> TimedBlock:
        """Run one block with the engine that the candidate names; see `time_block`."""
        run = self.tool.timer.time_block if self.tool and candidate.config.engine == BENCHMARK_MODEL else time_block
        return run(session, candidate, remote, protocol)
