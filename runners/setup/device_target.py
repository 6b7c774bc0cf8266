"""What engines can be installed on a device with: its Python, the C library, the system's NumPy, and space."""

import platform
import sys

from mnet_deploy.errors import DeviceUnavailable
from mnet_deploy.runners.probe import probe_userland
from mnet_deploy.runners.probe_answers import PythonOnDevice, Userland
from mnet_deploy.runners.setup.device_python import no_python, require_version, version_pair
from mnet_deploy.runners.setup.wheels import Plan, WheelTarget, plan
from mnet_deploy.runners.transports.deadline import Deadline
from mnet_deploy.runners.transports.transport import Transport
from mnet_deploy.units import format_bytes

PROBE_TIMEOUT_S = 60.0
NEEDED_BYTES = 400 << 20  # LiteRT and ONNX Runtime take 204 MiB, and their wheels 51 meanwhile


def probe_target(transport: Transport, deadline: Deadline) -> tuple[PythonOnDevice, Userland]:
    """Return the Python that an environment is made with, and what is around it.

    Raises:
        DeviceUnavailable: there is none that can be used; the message has the next command.
    """
    name = sys.executable if transport.address.scheme == "local" else "python3"
    userland = probe_userland(transport, deadline.within(PROBE_TIMEOUT_S), python=name)
    if userland.broken_python is not None:
        raise DeviceUnavailable(
            f"{transport.address.label}: {userland.broken_python} does not run; on the device, "
            f"sudo apt install --reinstall python3-minimal"
        )
    if userland.python is None:
        raise no_python(transport.address)
    require_version(transport.address, userland.python.version)
    return userland.python, userland


def target_of(python: PythonOnDevice) -> WheelTarget:
    """Return what wheels have to fit; raises `DeviceUnavailable` if a version is none."""
    system, _, machine = python.platform.partition("-")
    machine = machine.rpartition("-")[2]  # of macosx-14.0-arm64
    if machine == "universal2":
        machine = platform.machine()  # of a Mac, which is always this machine
    glibc = version_pair(python.path, python.glibc) if python.glibc else None
    return WheelTarget(
        python=version_pair(python.path, python.version),
        bits=python.bits,
        machine=machine,
        system="macos" if system == "macosx" else "linux",
        glibc=glibc,
    )


def plan_for(transport: Transport, target: WheelTarget, engines: tuple[str, ...] = ()) -> Plan:
    """Return what to install; raises `DeviceUnavailable` as `plan` does, with the device's address."""
    try:
        return plan(target, engines)
    except DeviceUnavailable as error:
        raise DeviceUnavailable(f"{transport.address.label}: {error}") from None


def require_venv(transport: Transport, python: PythonOnDevice) -> None:
    """Raise `DeviceUnavailable` with the next command if no environment can be made."""
    if not python.has_venv:
        raise DeviceUnavailable(
            f"{transport.address.label}: its Python has no venv; on the device, sudo apt install python3-venv, "
            f"then mnet device setup --device {transport.address}"
        )


def require_system_numpy(transport: Transport, python: PythonOnDevice, planned: Plan, deadline: Deadline) -> None:
    """Raise `DeviceUnavailable` if a plan needs the system's NumPy, and that is not there or does not fit."""
    if planned.least_numpy is None:
        return
    code = "import numpy; print(numpy.__version__)"
    result = transport.run([python.path, "-I", "-c", code], deadline=deadline.within(PROBE_TIMEOUT_S))
    if result.return_code != 0:
        raise DeviceUnavailable(
            f"{transport.address.label}: NumPy has no wheel for 32-bit systems; on the device, "
            f"sudo apt install python3-numpy, then mnet device setup --device {transport.address}"
        )
    found = (result.stdout.split() or [""])[-1]
    if not planned.least_numpy <= version_pair(f"{transport.address.label}: NumPy", found) < (2, 0):
        least = ".".join(map(str, planned.least_numpy))
        raise DeviceUnavailable(
            f"{transport.address.label}: {planned.requirements[0]} needs NumPy {least} or later and before 2. "
            f"Received: {found}, the system's. Use Raspberry Pi OS 12, or a 64-bit system"
        )


def require_space(transport: Transport, userland: Userland) -> None:
    """Raise `DeviceUnavailable` if the user's folder is too full."""
    free = userland.free_home_bytes
    if free is not None and free < NEEDED_BYTES:
        raise DeviceUnavailable(
            f"{transport.address.label}: {format_bytes(NEEDED_BYTES)} are needed in {userland.home}. "
            f"Received: {format_bytes(free)} free. Remove something there"
        )
