"""Which Python of a device runs the agent, and which engines it has."""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mnet_deploy.errors import DeviceUnavailable, ResultFormatError
from mnet_deploy.measurement.engine_packages import ENGINE_PACKAGES
from mnet_deploy.runners.address import DeviceAddress
from mnet_deploy.runners.deadline import Deadline
from mnet_deploy.runners.transport import CommandResult, Transport

OLDEST_PYTHON = (3, 9)  # of the agent
TIMEOUT_S = 60.0  # a Pi Zero needs seconds to start Python from a cold card

# Sets $venv: the environment that `mnet device setup` makes on a device; it is whole when the marker is in it.
MARKER = "mnet-ready.json"
SET_VENV = 'venv="${XDG_DATA_HOME:-$HOME/.local/share}/mnet-deploy/venv"'
_FIND = f"""{SET_VENV}
if [ -f "$venv/{MARKER}" ]; then
  python="$venv/bin/python"
  if [ ! -x "$python" ]; then printf '{{"broken": "%s"}}\\n' "$venv"; exit 0; fi
elif ! python=$(command -v python3); then
  echo '{{"missing": true}}'; exit 0
fi
exec "$python" -c "$1"
"""

# Runs there, and has to do so on any Python 3. Nothing is imported: an engine takes seconds to load on a Pi, and a
# broken one may end the process. The working folder must not be searched; a file numpy.py may lie in it.
_LOOK = """
import json, os, sys
sys.path[:] = [entry for entry in sys.path if entry]
found = {"path": sys.executable, "version": "%d.%d.%d" % sys.version_info[:3], "packages": {},
         "set_up": os.path.exists(os.path.join(sys.prefix, "MARKER"))}
try:
    from importlib import metadata, util
except ImportError:
    metadata = None
for package, module in () if metadata is None else PACKAGES:
    try:
        if util.find_spec(module) is not None:
            found["packages"][package] = metadata.version(package)
    except metadata.PackageNotFoundError:
        found["packages"][package] = None
print(json.dumps(found))
"""

_PACKAGES = (("numpy", "numpy"), *((engine.package, engine.module) for engine in ENGINE_PACKAGES.values()))


@dataclass(frozen=True, slots=True, kw_only=True)
class DevicePython:
    """The Python that runs the agent on a device.

    Attributes:
        path: of the interpreter, on the device.
        version: such as `3.11.2`.
        numpy: version of NumPy.
        engines: version of each engine that can be used, by its name in `measurement.run_config.ENGINES`; None where
            the installation does not say.
        unusable: why an engine that is installed cannot be used, by its name.
        set_up: whether it is the environment that `mnet device setup` made.
    """

    path: str
    version: str
    numpy: str | None
    engines: Mapping[str, str | None]
    unusable: Mapping[str, str]
    set_up: bool


def device_python(transport: Transport, deadline: Deadline) -> DevicePython:
    """Return the Python that runs the agent: the environment that was set up, else the system's.

    On this machine it is the one that runs now. Engines are looked up, not loaded.

    Raises:
        DeviceUnavailable: no Python, one that is too old, or one without any engine; the message says what to do.
    """
    found = look_for_python(transport, deadline)
    if not found.engines:
        raise DeviceUnavailable(_no_engine(transport, found))
    return found


def look_for_python(transport: Transport, deadline: Deadline) -> DevicePython:
    """Return the same as `device_python`, with or without an engine.

    Raises:
        DeviceUnavailable: no Python, or one that is too old.
    """
    code = _LOOK.replace("MARKER", MARKER).replace("PACKAGES", repr(_PACKAGES))
    local = transport.address.scheme == "local"
    argv = [sys.executable, "-c", code] if local else ["sh", "-c", _FIND, "sh", code]
    result = transport.run_check(argv, deadline=deadline.within(TIMEOUT_S))
    return _checked(transport, _answer(transport, result))


def no_python(address: DeviceAddress) -> DeviceUnavailable:
    """Return the error that says how to get one."""
    return DeviceUnavailable(
        f"{address}: there is no python3; on the device, sudo apt install python3-venv, "
        f"then mnet device setup --device {address}"
    )


def require_version(address: DeviceAddress, version: str) -> None:
    """Raise `DeviceUnavailable` if a Python is older than `OLDEST_PYTHON`."""
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST_PYTHON:
        oldest = ".".join(map(str, OLDEST_PYTHON))
        raise DeviceUnavailable(
            f"{address}: Python {oldest} or later is needed, which Raspberry Pi OS 11 and later have. "
            f"Received: {version}. Upgrade its system"
        )


def _answer(transport: Transport, result: CommandResult) -> dict[str, Any]:
    """Return the last line: what a login script prints comes before."""
    try:
        answer = json.loads(result.stdout.strip().splitlines()[-1])
    except (IndexError, ValueError):
        answer = None
    if not isinstance(answer, dict):
        received = result.stdout.strip()[-80:]
        raise ResultFormatError(f"{transport.address}: expected one line of JSON from Python. Received: {received!r}")
    return answer


def _checked(transport: Transport, answer: dict[str, Any]) -> DevicePython:
    if "missing" in answer:
        raise no_python(transport.address)
    if "broken" in answer:
        raise DeviceUnavailable(
            f"{transport.address}: the Python of {answer['broken']} is gone (was the system upgraded?); "
            f"mnet device setup --device {transport.address} --force makes it anew"
        )
    require_version(transport.address, answer["version"])
    engines, unusable = _sort_engines(answer["packages"])
    return DevicePython(
        path=answer["path"],
        version=answer["version"],
        numpy=answer["packages"].get("numpy"),
        engines=engines,
        unusable=unusable,
        set_up=answer["set_up"],
    )


def _sort_engines(packages: Mapping[str, str | None]) -> tuple[dict[str, str | None], dict[str, str]]:
    """Return the engines that can be used, and why others cannot."""
    installed = {
        name: packages[engine.package] for name, engine in ENGINE_PACKAGES.items() if engine.package in packages
    }
    if "numpy" not in packages:
        return {}, dict.fromkeys(installed, "NumPy is not installed beside it")
    numpy = packages["numpy"] or ""
    if "tflite-runtime" in installed and not numpy.startswith(("0.", "1.")):
        del installed["tflite-runtime"]
        return installed, {"tflite-runtime": f"it was compiled for NumPy 1, and NumPy {numpy} is installed"}
    return installed, {}


def _no_engine(transport: Transport, found: DevicePython) -> str:
    seen = "; ".join(f"{name} cannot be used: {reason}" for name, reason in found.unusable.items())
    problem = seen or f"no engine is installed in {found.path}"
    if transport.address.scheme == "local":
        return f"local: {problem}; {found.path} -m pip install 'mnet-deploy[litert]' (or [onnx])"
    force = " --force" if found.set_up else ""
    return f"{transport.address}: {problem}; mnet device setup --device {transport.address}{force}"
