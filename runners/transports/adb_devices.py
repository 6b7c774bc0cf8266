"""Which phones adb knows, in every state; none of them is asked anything."""

import re
from dataclasses import dataclass

from mnet_deploy.errors import DeviceError, MnetError
from mnet_deploy.runners.transports.adb_client import find_adb, said_by, short_answer
from mnet_deploy.runners.transports.adb_server import listed_devices
from mnet_deploy.runners.transports.address import DeviceAddress
from mnet_deploy.runners.transports.deadline import Deadline
from mnet_deploy.terminal import printable

# `SERIAL STATE usb:1-2 product:shiba model:Pixel_8 device:shiba transport_id:3`; a state may have blanks in it.
_LINE = re.compile(r"(?P<serial>\S+)\s+(?P<state>.+?)(?P<facts>(?:\s+[a-z_]+:\S+)*)\s*")
_MODEL = re.compile(r"\bmodel:(\S+)")
_MOST = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class AdbPhone:
    """A phone that adb knows.

    Attributes:
        address: with its serial.
        ready: whether adb calls it a device, which runs programs.
        state: what adb calls it, without advice.
        model: None where adb does not know it yet.
    """

    address: DeviceAddress
    ready: bool
    state: str
    model: str | None


def connected_phones(deadline: Deadline) -> tuple[AdbPhone, ...]:
    """Return the phones that adb's server knows; it is started if none runs and adb is installed.

    Raises:
        DeviceError: adb did not answer.
    """
    said = listed_devices(deadline)
    if said is None:
        try:
            adb = find_adb()
        except MnetError:
            return ()  # who has no adb has no phone to list
        done = short_answer([str(adb), "devices", "-l"], deadline, "adb devices")
        if done.return_code != 0:
            raise DeviceError(f"adb devices ended with {done.ending}: {done.last_line}")
        said = said_by(done)
    return tuple(phone for line in said.splitlines()[:_MOST] if (phone := _phone(line)))


def _phone(line: str) -> AdbPhone | None:
    found = None if line.startswith("List of devices") else _LINE.fullmatch(line)
    if found is None:
        return None
    try:
        address = DeviceAddress(scheme="adb", host=found["serial"])
    except MnetError:
        return None  # such as the dots in place of a serial that adb may not read
    model = _MODEL.search(found["facts"])
    return AdbPhone(
        address=address,
        ready=found["state"] == "device",
        state=printable(found["state"].partition(" (")[0].partition(";")[0]),
        model=printable(model[1].replace("_", " ")) if model else None,
    )
