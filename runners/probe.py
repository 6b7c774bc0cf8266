"""Ask a device what it is and in which state; all it needs to have is a POSIX shell."""

from importlib.resources import files

from mnet_deploy.measurement.device_info import Conditions, DeviceInfo
from mnet_deploy.runners import probe_answers
from mnet_deploy.runners.answers import Answers, parse_answers
from mnet_deploy.runners.probe_answers import PythonOnDevice, Userland
from mnet_deploy.runners.transports.deadline import Deadline
from mnet_deploy.runners.transports.transport import Transport

ACTIVITY_WINDOW_S = 0.3  # of 100 ticks a second: what takes 3 % of a core shows


def probe_device(transport: Transport, deadline: Deadline) -> DeviceInfo:
    """Return what a device is.

    Raises:
        DeviceError: it cannot be reached, has no POSIX shell, or is lost meanwhile.
    """
    return probe_answers.device_info(_ask(transport, deadline, "device"), str(transport.address))


def probe_conditions(transport: Transport, deadline: Deadline, *, busy: bool) -> Conditions:
    """Return the state of a device.

    Args:
        transport: the way to it.
        deadline: for all of it.
        busy: whether to watch for `ACTIVITY_WINDOW_S` what runs there; else `busy_cores` is None.

    Raises:
        DeviceError: as `probe_device`.
    """
    window = [f"{ACTIVITY_WINDOW_S:g}"] if busy else []
    return probe_answers.conditions(_ask(transport, deadline, "conditions", *window))


def probe_userland(transport: Transport, deadline: Deadline, *, python: str = "python3") -> Userland:
    """Return what can be installed on a device.

    Args:
        transport: the way to it.
        deadline: for all of it.
        python: name or path of the interpreter that is looked at.

    Raises:
        DeviceError: as `probe_device`.
    """
    return probe_answers.userland(_ask(transport, deadline, "userland", python))


def probe_python(transport: Transport, deadline: Deadline, *, python: str = "python3") -> PythonOnDevice | None:
    """Return that Python of a device; None if it is not there or does not run.

    Raises:
        DeviceError: as `probe_device`.
    """
    return probe_userland(transport, deadline, python=python).python


def _ask(transport: Transport, deadline: Deadline, *arguments: str) -> Answers:
    script = (files("mnet_deploy.runners.on_device") / "probe.sh").read_bytes()
    result = transport.run_check(["sh", "-s", *arguments], deadline=deadline, stdin=script)
    return parse_answers(result.stdout)
