"""Make the environment that the agent runs in on a device, from the package index or from wheels sent there."""

import json
import tempfile
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from mnet_deploy.errors import CommandFailed, CommandTimeout, DeviceError, DeviceUnavailable, SpecError
from mnet_deploy.measurement.engine_packages import ENGINE_PACKAGES
from mnet_deploy.progress import Progress
from mnet_deploy.runners.device_events import (
    LONGEST_TEXT,
    Event,
    Refused,
    Send,
    Stage,
    event_of,
    read_event,
)
from mnet_deploy.runners.device_programs import python_programs
from mnet_deploy.runners.device_session import DeviceSession
from mnet_deploy.runners.probe_answers import PythonOnDevice
from mnet_deploy.runners.setup.device_python import (
    MARKER,
    SET_VENV,
    DevicePython,
    device_python,
    look_for_python,
)
from mnet_deploy.runners.setup.device_target import (
    plan_for,
    probe_target,
    require_space,
    require_system_numpy,
    require_venv,
    target_of,
)
from mnet_deploy.runners.setup.wheelhouse import download_wheels
from mnet_deploy.runners.setup.wheels import Plan
from mnet_deploy.runners.transports.deadline import Deadline
from mnet_deploy.runners.transports.transport import CommandResult, RemoteProcess, Transport
from mnet_deploy.units import format_bytes

TIMEOUT_S = 1800.0  # of everything; a Pi Zero 2 needs minutes to unpack the wheels
INDEX_TIMEOUT_S = 30.0

# Its own pip asks, so that a mirror in the device's configuration counts. Without pip the wheels come from here.
_REACHES_INDEX = (
    "-m",
    "pip",
    "download",
    "--no-deps",
    "--no-cache-dir",
    "--retries",
    "0",
    "--timeout",
    "10",
    "--quiet",
)
_ASKED_FOR = "tqdm"  # small, and in every index
_IN_A_FOLDER = """
folder=$(mktemp -d) || exit 1
trap 'rm -rf -- "$folder"' EXIT
trap 'exit 1' HUP INT TERM
cd "$folder" && TMPDIR=$folder "$@" --dest .
"""
_END = "end"
_BUILD = f'{SET_VENV}\nexec "$1" -I -c "$2" "$venv" "$3"'


@dataclass(frozen=True, slots=True, kw_only=True)
class SetupRequest:
    """What is wanted.

    Attributes:
        engines: names; empty for those that fit, without tflite-runtime where LiteRT fits.
        online: whether the device gets the wheels from the package index; None finds out.
        force: make the environment anew, with these engines alone.
    """

    engines: tuple[str, ...] = ()
    online: bool | None = None
    force: bool = False

    def __post_init__(self) -> None:
        """Refuse engines that do not exist."""
        for engine in self.engines:
            if engine not in ENGINE_PACKAGES:
                raise SpecError(f"an engine is one of {', '.join(ENGINE_PACKAGES)}. Received: {engine!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class SetupResult:
    """What is there now.

    Attributes:
        python: the environment.
        made: `already` (nothing was done), `online` or `offline`.
    """

    python: DevicePython
    made: str


def set_up(transport: Transport, request: SetupRequest, progress: Progress) -> SetupResult:
    """Make the environment on a device, or leave it as it is if it has what is wanted.

    Nothing is left of it if it fails; an environment that was there before stays.

    Raises:
        DeviceUnavailable: no Python, no venv, no wheels that fit, no space, or somebody measures or sets up there.
        CommandFailed: the wheels cannot be downloaded, sent or installed, or an engine does not load.
        DeviceError: the device cannot be reached, or is lost.
    """
    deadline = Deadline.after(TIMEOUT_S)
    progress.stage(f"looking at {transport.address}")
    python, userland = probe_target(transport, deadline)
    target = target_of(python)
    existing = _existing(transport, deadline)
    here = transport.address.scheme == "local"
    if existing is not None and _suffices(existing, request, here=here):
        return SetupResult(python=existing, made="already")
    planned = plan_for(transport, target, _wanted(existing, request))
    if here:
        raise _not_here(python, planned)
    require_venv(transport, python)
    require_system_numpy(transport, python, planned, deadline)
    require_space(transport, userland)
    online = _reaches_index(transport, python, deadline) if request.online is None else request.online
    with tempfile.TemporaryDirectory(prefix="mnet-wheels-") as folder:
        wheels: tuple[Path, ...] = ()
        if not online:
            progress.stage(f"downloading wheels for {target}")
            wheels = download_wheels(planned, target, Path(folder), deadline)
        # Whoever measures there would lose the engine that runs, and times meanwhile would be wrong.
        with DeviceSession(transport, programs=python_programs(python.path, agent=False)) as session:
            session.allow(deadline.remaining_s)
            _Build(transport, progress, deadline, wheels).run(python, planned)
    return SetupResult(python=device_python(transport, deadline), made="online" if online else "offline")


def _existing(transport: Transport, deadline: Deadline) -> DevicePython | None:
    """Return the Python that is used so far; None if what was set up is broken."""
    try:
        return look_for_python(transport, deadline)
    except DeviceUnavailable:
        return None


def _suffices(existing: DevicePython, request: SetupRequest, *, here: bool) -> bool:
    """Whether nothing is to be done; engines of the system's Python count where they are asked for by name."""
    if request.force or not set(request.engines) <= set(existing.engines):
        return False
    return bool(existing.engines) and (existing.set_up or here or bool(request.engines))


def _wanted(existing: DevicePython | None, request: SetupRequest) -> tuple[str, ...]:
    """Return the engines: those that are set up already stay."""
    if request.force or not request.engines or existing is None or not existing.set_up:
        return request.engines
    return (*request.engines, *(engine for engine in existing.engines if engine not in request.engines))


def _not_here(python: PythonOnDevice, planned: Plan) -> DeviceUnavailable:
    own = ", in an environment of its own" if "tflite-runtime" in planned.engines else ""
    extras = ",".join(ENGINE_PACKAGES[engine].extra for engine in planned.engines)
    return DeviceUnavailable(
        f"local: is measured with the Python that mnet runs in, which setup leaves alone; "
        f"{python.path} -m pip install 'mnet-deploy[{extras}]'{own}"
    )


def _reaches_index(transport: Transport, python: PythonOnDevice, deadline: Deadline) -> bool:
    """Whether the device reaches PyPI: if only a mirror, it gets the wheels from here, unless it is told --online."""
    try:
        result = transport.run(
            ["sh", "-c", _IN_A_FOLDER, "sh", python.path, *_REACHES_INDEX, _ASKED_FOR],
            deadline=deadline.within(INDEX_TIMEOUT_S),
        )
    except CommandTimeout:
        return False
    return result.return_code == 0


@dataclass(frozen=True, slots=True)
class _Build:
    """`environment.py` at work on a device: all that it makes there goes with it, should it not come to its end."""

    transport: Transport
    progress: Progress
    deadline: Deadline
    wheels: tuple[Path, ...]

    def run(self, python: PythonOnDevice, planned: Plan) -> None:
        order = {
            "requirements": planned.requirements,
            "wheels": bool(self.wheels),
            "system_packages": planned.system_numpy,
            "imports": {engine: ENGINE_PACKAGES[engine].loads for engine in planned.engines},
            "marker": MARKER,
            "timeout_s": self.deadline.remaining_s,
        }
        source = (files("mnet_deploy.runners.on_device") / "environment.py").read_text(encoding="utf-8")
        argv = ["sh", "-c", _BUILD, "sh", python.path, source, json.dumps(order)]
        process = self.transport.start(argv, deadline=self.deadline)
        try:
            last = self._follow(process)
            result = process.wait(self.deadline)
        finally:
            process.stop()
        if last is None or last["event"] != _END:
            raise _failed(self.transport, last, result, offline=bool(self.wheels))

    def _follow(self, process: RemoteProcess) -> Event | None:
        """Show what it does, send what it waits for, and return the last event; None if there was none."""
        last, who = None, self.transport.address.label
        for line in process.lines(self.deadline):
            event = event_of(line)  # None: what a login script prints
            if event is None:
                continue
            last = event
            if event["event"] == Stage.NAME:
                self.progress.stage(read_event(Stage, event, who).text)
            elif event["event"] == Send.NAME:
                self._send(read_event(Send, event, who).folder)
                process.write("go\n")
        return last

    def _send(self, folder: str) -> None:
        for number, wheel in enumerate(self.wheels, 1):
            what = f"{wheel.name.split('-')[0]} ({format_bytes(wheel.stat().st_size)})"
            self.progress.stage(f"sending wheel {number} of {len(self.wheels)}, {what}")
            self.transport.push(wheel, f"{folder}/{wheel.name}", deadline=self.deadline)


def _failed(transport: Transport, last: Event | None, result: CommandResult, *, offline: bool) -> DeviceError:
    who, kind, said = transport.address.label, "", result.last_line or result.ending
    if last is not None and last["event"] == Refused.NAME:
        refused = read_event(Refused, last, who)
        kind, said = refused.kind, refused.message or said
    said = said[:LONGEST_TEXT]
    advice = {
        "busy": "try again when it has ended",
        "foreign": "",
        "venv": "the environment could not be made; sudo apt install python3-venv on the device, and look at its disk",
        "pip": "pip could not install" if offline else "pip could not install; --offline sends the wheels from here",
        "import": "an engine does not load there; try another one with --engine",
    }.get(kind, "the setup was not finished")
    words = f"{who}: {advice} ({said})" if advice else f"{who}: {said}"
    if kind in ("busy", "foreign"):
        return DeviceUnavailable(words)
    return CommandFailed(words, command=("environment.py",), return_code=result.return_code, output=result.stderr)
