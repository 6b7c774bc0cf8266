"""Which Python of a device runs the agent, and which engines it has."""

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from mnet_deploy.errors import CommandFailed, DeviceUnavailable
from mnet_deploy.measurement.engine_packages import ENGINE_PACKAGES
from mnet_deploy.measurement.json_values import read_as
from mnet_deploy.runners.device_events import object_of
from mnet_deploy.runners.transports.address import DeviceAddress
from mnet_deploy.runners.transports.deadline import Deadline
from mnet_deploy.runners.transports.transport import CommandResult, Transport
from mnet_deploy.terminal import printable

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
exec "$python" -I -c "$1"
"""

# Runs there, and has to do so on any Python 3. Nothing is imported: an engine takes seconds to load on a Pi, and a
# broken one may end the process. Like the agent it is started with -I, so that both find the same.
_LOOK = """
import json, os, site, sys
found = {"path": sys.executable, "version": "%d.%d.%d" % sys.version_info[:3], "packages": {}, "user_only": [],
         "set_up": os.path.exists(os.path.join(sys.prefix, "MARKER"))}
try:
    from importlib import machinery, metadata, util
except ImportError:
    metadata = None
for package, module in () if metadata is None else PACKAGES:
    try:
        if util.find_spec(module) is not None:
            found["packages"][package] = metadata.version(package)
        elif sys.prefix == sys.base_prefix and machinery.PathFinder.find_spec(module, [site.getusersitepackages()]):
            found["user_only"].append(package)
    except metadata.PackageNotFoundError:
        found["packages"][package] = None
print(json.dumps(found))
"""

_PACKAGES = (("numpy", "numpy"), *((engine.package, engine.module) for engine in ENGINE_PACKAGES.values()))


_USER_ONLY = "it is installed for one user only (pip install --user), which the agent does not look at"


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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """What `_LOOK` prints, without the packages."""

    path: str
    version: str
    set_up: bool
    user_only: tuple[str, ...] = ()


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
    argv = [sys.executable, "-I", "-c", code] if local else ["sh", "-c", _FIND, "sh", code]
    result = transport.run_check(argv, deadline=deadline.within(TIMEOUT_S))
    return _checked(transport, result)


def no_python(address: DeviceAddress) -> DeviceUnavailable:
    """Return the error that says how to get one."""
    return DeviceUnavailable(
        f"{address.label}: there is no python3; on the device, sudo apt install python3-venv, "
        f"then mnet device setup --device {address}"
    )


def require_version(address: DeviceAddress, version: str) -> None:
    """Raise `DeviceUnavailable` if a Python is older than `OLDEST_PYTHON`."""
    if version_pair(address.label, version) < OLDEST_PYTHON:
        oldest = ".".join(map(str, OLDEST_PYTHON))
        raise DeviceUnavailable(
            f"{address.label}: Python {oldest} or later is needed, which Raspberry Pi OS 11 and later have. "
            f"Received: {version}. Upgrade its system"
        )


def version_pair(who: str, version: str) -> tuple[int, int]:
    """Return the first two numbers of a version; raises `DeviceUnavailable` if it is none."""
    found = re.match(r"([0-9]{1,4})\.([0-9]{1,4})", version)
    if found is None:
        raise DeviceUnavailable(f"{who}: expected a version such as 3.11. Received: {version[:40]!r}")
    return int(found[1]), int(found[2])


def _checked(transport: Transport, result: CommandResult) -> DevicePython:
    """Return what the last line says; what a login script prints comes before."""
    address = transport.address
    lines = result.stdout.strip().splitlines() or [""]
    answer = object_of(lines[-1]) or {}
    if "missing" in answer:
        raise no_python(address)
    if "broken" in answer:
        raise DeviceUnavailable(
            f"{address.label}: the Python of {answer['broken']} is gone (was the system upgraded?); "
            f"mnet device setup --device {address} --force makes it anew"
        )
    try:
        found = read_as(_Found, answer, "it")
        packages = _versions(answer.get("packages"))
    except (ValueError, RecursionError):
        words = f"{address.label}: expected one line of JSON from Python. Received: {printable(lines[-1][-80:])!r}"
        raise CommandFailed(words, command=result.argv, return_code=result.return_code, output=result.stderr) from None
    require_version(address, found.version)
    engines, unusable = _sort_engines(packages)
    hidden = {name: _USER_ONLY for name, each in ENGINE_PACKAGES.items() if each.package in found.user_only}
    return DevicePython(
        path=found.path,
        version=found.version,
        numpy=packages.get("numpy"),
        engines=engines,
        unusable=unusable | hidden,
        set_up=found.set_up,
    )


def _versions(packages: object) -> dict[str, str | None]:
    """Return the packages if they are some; raises `ValueError` else."""
    if not isinstance(packages, dict) or not all(isinstance(each, str | None) for each in packages.values()):
        raise ValueError("packages have versions")
    return packages


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
    return f"{transport.address.label}: {problem}; mnet device setup --device {transport.address}{force}"
