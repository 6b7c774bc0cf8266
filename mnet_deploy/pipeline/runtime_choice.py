"""Find out what runs models on a device, and what of it is asked for."""

from dataclasses import replace

from mnet_deploy.errors import SpecError
from mnet_deploy.measurement.device_info import DeviceInfo
from mnet_deploy.measurement.engine_packages import ENGINE_PACKAGES
from mnet_deploy.measurement.run_config import BENCHMARK_MODEL
from mnet_deploy.pipeline.bench_request import BenchRequest, ToolRequest
from mnet_deploy.pipeline.device_runtime import DeviceRuntime, Tool
from mnet_deploy.pipeline.native_runtime import native_runtime, phone_runtime
from mnet_deploy.progress import Progress
from mnet_deploy.runners.benchmark_model.timed_run import ToolTimer
from mnet_deploy.runners.benchmark_model.tool import BenchmarkTool, find_tool
from mnet_deploy.runners.device_programs import PythonAgent, python_keeper
from mnet_deploy.runners.probe import probe_device
from mnet_deploy.runners.program_fit import require_runs_on
from mnet_deploy.runners.setup.device_python import DevicePython, device_python
from mnet_deploy.runners.transports.address import DeviceAddress
from mnet_deploy.runners.transports.deadline import Deadline
from mnet_deploy.runners.transports.transport import Transport

CONNECT_TIMEOUT_S = 60.0
# Instruction sets of programs that a kernel runs.
_RUNS = {"x86_64": ("x86_64", "i386"), "aarch64": ("aarch64", "arm"), "armv7l": ("arm",), "armv6l": ("arm",)}


def choose_runtime(transport: Transport, request: BenchRequest, progress: Progress) -> DeviceRuntime:
    """Return what runs the request's files; on the device nothing is changed.

    Raises:
        SpecError: what is asked for does not fit the device, or the tool is not what it has to be.
        DeviceUnavailable: nothing runs models there; the message says what to do.
        DeviceError: it cannot be reached, or is lost.
    """
    address, deadline = transport.address, Deadline.after(CONNECT_TIMEOUT_S)
    phone = address.scheme == "adb"
    if phone and request.runner == "agent":
        raise SpecError(f"--runner agent needs Python on the device, which phones have not. Received: {address}")
    device = probe_device(transport, deadline) if phone or request.tool else None
    if phone and device is not None:
        runtime = phone_runtime(device)
    elif request.runner == "native":
        runtime = native_runtime(transport, deadline)
    else:
        runtime = _python_runtime(address, device_python(transport, deadline))
    if request.tool is None or device is None:
        return runtime
    return _with_tool(runtime, request.tool, device, progress)


def _python_runtime(address: DeviceAddress, python: DevicePython) -> DeviceRuntime:
    return DeviceRuntime(
        keeper=python_keeper(python.path),
        engines=python.engines,
        missing=lambda engine: _not_installed(engine, address, python),
        agent=lambda engines, progress: PythonAgent(python.path),
    )


def _not_installed(engine: str, address: DeviceAddress, python: DevicePython) -> str:
    if engine == BENCHMARK_MODEL:
        return f"{address.label}: {engine} has to be brought along: --benchmark-model FILE"
    reason = python.unusable.get(engine, f"it is not installed in {python.path}")
    remedy = (
        f"pip install 'mnet-deploy[{ENGINE_PACKAGES[engine].extra}]'"
        if address.scheme == "local"
        else f"mnet device setup --device {address} --engine {engine}"
    )
    return f"{address.label}: {engine} cannot be used there: {reason}; {remedy}"


def _with_tool(runtime: DeviceRuntime, asked: ToolRequest, device: DeviceInfo, progress: Progress) -> DeviceRuntime:
    tool = find_tool(
        asked.source,
        asked.sha256,
        library=asked.runtime_library,
        library_sha256=asked.runtime_library_sha256,
        flavour=asked.flavour,
        progress=progress,
    )
    _require_fit(tool, device)
    timer = ToolTimer(tool, least_nodes=asked.delegated_nodes)
    engines = {**runtime.engines, BENCHMARK_MODEL: None}
    return replace(runtime, engines=engines, tool=Tool(tool=tool, timer=timer))


def _require_fit(tool: BenchmarkTool, device: DeviceInfo) -> None:
    if device.android is not None:
        require_runs_on(tool.elf, abis=device.android.abis)
    elif tool.machine not in _RUNS.get(device.machine or "", (tool.machine,)):
        raise SpecError(
            f"{tool.path.name} is built for {tool.machine}; {device.address} is {device.machine}: take another build"
        )
