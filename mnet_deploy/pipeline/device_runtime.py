"""What runs models on a device: the engines of its Python, our C program, and TensorFlow Lite's official tool."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from mnet_deploy.measurement.engine_packages import ENGINE_PACKAGES
from mnet_deploy.measurement.run_config import BENCHMARK_MODEL, Protocol
from mnet_deploy.progress import Progress
from mnet_deploy.runners.device_programs import Agent, DevicePrograms, PythonAgent, python_keeper
from mnet_deploy.runners.device_session import DeviceSession
from mnet_deploy.runners.setup.device_python import DevicePython, device_python
from mnet_deploy.runners.timed_block import Candidate, TimeBlock, TimedBlock, time_block
from mnet_deploy.runners.transports.address import DeviceAddress
from mnet_deploy.runners.transports.deadline import Deadline
from mnet_deploy.runners.transports.transport import Transport

CONNECT_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceRuntime:
    """What runs models on one device.

    Attributes:
        keeper: starts the program that holds the device.
        engines: version of each engine that can be used, by its name; None where that is not known.
        missing: says, in a line, why an engine that is not among them cannot be used.
        agent: makes the program that runs models, with these engines.
        affinity: the cores that programs run on unless others are asked for; None for all.
        time_with_tool: runs a block with the official tool; None where there is none.
    """

    keeper: tuple[str, ...]
    engines: Mapping[str, str | None]
    missing: Callable[[str], str]
    agent: Callable[[Collection[str], Progress], Agent]
    affinity: tuple[int, ...] | None = None
    time_with_tool: TimeBlock | None = None

    def programs(self, engines: Collection[str], progress: Progress) -> DevicePrograms:
        """Return what a session runs that uses these engines."""
        packaged = [engine for engine in engines if engine != BENCHMARK_MODEL]
        return DevicePrograms(keeper=self.keeper, agent=self.agent(packaged, progress) if packaged else None)

    def time_one(self, session: DeviceSession, candidate: Candidate, remote: str, protocol: Protocol) -> TimedBlock:
        """Run one block with the engine that the candidate names; see `time_block`."""
        tool = self.time_with_tool if candidate.config.engine == BENCHMARK_MODEL else None
        return (tool or time_block)(session, candidate, remote, protocol)


def find_runtime(transport: Transport) -> DeviceRuntime:
    """Find out what runs models on a device; nothing is changed there.

    Raises:
        DeviceUnavailable: nothing does; the message says what to do.
        DeviceError: it cannot be reached, or is lost.
    """
    python = device_python(transport, Deadline.after(CONNECT_TIMEOUT_S))
    return DeviceRuntime(
        keeper=python_keeper(python.path),
        engines=python.engines,
        missing=lambda engine: _not_installed(engine, transport.address, python),
        agent=lambda engines, progress: PythonAgent(python.path),
    )


def _not_installed(engine: str, address: DeviceAddress, python: DevicePython) -> str:
    if engine == BENCHMARK_MODEL:
        return f"{address.label}: {engine} has to be brought along: give --benchmark-model FILE"
    reason = python.unusable.get(engine, f"it is not installed in {python.path}")
    remedy = (
        f"pip install 'mnet-deploy[{ENGINE_PACKAGES[engine].extra}]'"
        if address.scheme == "local"
        else f"mnet device setup --device {address} --engine {engine}"
    )
    return f"{address.label}: {engine} cannot be used there: {reason}; {remedy}"
