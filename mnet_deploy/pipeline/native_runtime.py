"""What runs models where Python does not: our C program with the engines' own libraries."""

from collections.abc import Callable, Collection
from importlib.util import find_spec

from mnet_deploy.errors import DeviceUnavailable
from mnet_deploy.measurement.core_groups import fastest_cores
from mnet_deploy.measurement.device_info import DeviceInfo
from mnet_deploy.measurement.run_config import BENCHMARK_MODEL
from mnet_deploy.pipeline.device_runtime import DeviceRuntime
from mnet_deploy.progress import Progress
from mnet_deploy.runners.benchmark_model.tool import HOW_TO_GET, TFLITE_NIGHTLY
from mnet_deploy.runners.device_programs import Agent, phone_keeper, python_keeper
from mnet_deploy.runners.elf import GlibcVersion
from mnet_deploy.runners.native.bundle import HOST, PHONE, PI, native_bundle
from mnet_deploy.runners.native.engine_library import VERSIONS
from mnet_deploy.runners.setup.device_python import look_for_python
from mnet_deploy.runners.setup.device_target import probe_target, target_of
from mnet_deploy.runners.transports.address import DeviceAddress
from mnet_deploy.runners.transports.deadline import Deadline
from mnet_deploy.runners.transports.transport import Transport

ABI = "arm64-v8a"
COMPILER = "ziglang"
BRING_THE_TOOL = f"bring the official tool with --benchmark-model FILE ({HOW_TO_GET})"
BRING_THE_32_BIT_TOOL = (
    f"bring the official tool with --benchmark-model FILE (TensorFlow Lite's is at {TFLITE_NIGHTLY}"
    "android_arm_benchmark_model)"
)
NOTE = (
    "models run in this toolkit's own C program, which is experimental: on the processor only, in the engine's Linux "
    f"build with a C library of its own. For what apps run, {BRING_THE_TOOL}"
)


def phone_runtime(device: DeviceInfo) -> DeviceRuntime:
    """Return what runs models on a phone: on its fastest cores, or more where there are more threads than those."""
    problem = phone_problem(device)
    return DeviceRuntime(
        keeper=phone_keeper(),
        profiles=False,
        engines={} if problem else VERSIONS,
        missing=lambda engine: _missing(engine, device.address, problem),
        agent=_agent_for(PHONE, DeviceAddress.parse(device.address)),
        affinity=lambda threads: fastest_cores(device, at_least=threads),
        agent_note=NOTE,
    )


def phone_problem(device: DeviceInfo) -> str | None:
    """Return why our C program cannot run on a phone, and what to do; None if it can."""
    abis = device.android.abis if device.android else ()
    if ABI not in abis:
        known = ", ".join(abis) or "nothing that it names"
        return f"it runs {known}, and our C program is for {ABI}; {BRING_THE_32_BIT_TOOL}"
    if find_spec(COMPILER) is None:
        return f"our C program has to be built first: pip install 'mnet-deploy[android]'; or {BRING_THE_TOOL}"
    return None


def native_runtime(transport: Transport, deadline: Deadline) -> DeviceRuntime:
    """Return our C program where Python is, too: on this machine, or on a Raspberry Pi.

    Raises:
        DeviceUnavailable: there is no Python, which holds the device (it needs no engine), or it is no 64-bit ARM.
        DeviceError: the device cannot be reached, or is lost.
    """
    address, target = transport.address, HOST
    keeper = python_keeper(look_for_python(transport, deadline).path)
    glibc = None
    if address.scheme != "local":
        target, userland = PI, target_of(probe_target(transport, deadline)[0])
        glibc = userland.glibc
        if userland.architecture != "aarch64" or glibc is None:
            raise _unfit(address, "64-bit ARM with glibc", str(userland))
    return DeviceRuntime(
        keeper=keeper,
        profiles=False,
        engines=VERSIONS,
        missing=lambda engine: _missing(engine, address.label, None),
        agent=_agent_for(target, address, glibc),
    )


def _agent_for(
    target: str, address: DeviceAddress, glibc: GlibcVersion | None = None
) -> Callable[[Collection[str], Progress], Agent]:
    def agent(engines: Collection[str], progress: Progress) -> Agent:
        bundle = native_bundle(sorted(engines), target=target, progress=progress)
        needed = bundle.needs_glibc
        if glibc and needed and glibc < needed:
            raise _unfit(address, f"glibc {_dotted(needed)} or later", f"glibc {_dotted(glibc)}")
        return bundle

    return agent


def _unfit(address: DeviceAddress, needed: str, received: str) -> DeviceUnavailable:
    return DeviceUnavailable(
        f"{address.label}: our C program needs {needed}. Received: {received}; leave --runner native out"
    )


def _dotted(version: GlibcVersion) -> str:
    return ".".join(map(str, version))


def _missing(engine: str, address: str, problem: str | None) -> str:
    if engine == BENCHMARK_MODEL:
        return f"{address}: {engine} has to be brought along: --benchmark-model FILE"
    if problem and engine in VERSIONS:
        return f"{address}: {engine} cannot be used there: {problem}"
    return f"{address}: {engine} cannot be used there: our C program has {' and '.join(VERSIONS)}; leave --engine out"
