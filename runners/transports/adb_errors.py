"""What adb says when it fails (versions 29 and 36), in words that say what to do, most often on the phone."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from mnet_deploy.errors import DeviceError, DeviceUnavailable, LinkLost
from mnet_deploy.runners.transports.address import DeviceAddress


@dataclass(frozen=True, slots=True, kw_only=True)
class AdbTarget:
    """Whom the user reaches how.

    Attributes:
        address: of the phone, as the user gave it.
        adb: the executable.
        serial: of the phone; empty for the only one.
    """

    address: DeviceAddress
    adb: Path
    serial: str

    def argv(self, *arguments: str) -> list[str]:
        """Return a command line for the phone."""
        return [str(self.adb), *(("-s", self.serial) if self.serial else ()), *arguments]

    def command(self, *arguments: str) -> str:
        """Return a command for the user to run."""
        return shlex.join([str(self.adb), *arguments])


_USB_DEBUGGING = "Settings > System > Developer options > USB debugging"

# (what adb says, what that means and what to do), the first that fits counts. Fields: the groups of the pattern, and
# those of `_fields`.
_UNREACHED = (
    (
        r"device unauthorized|failed to authenticate to",
        "the phone has not allowed this computer yet: unlock its screen and accept 'Allow USB debugging?' (tick "
        "'Always allow from this computer'); if it does not ask, unplug it, run {kill_server} and plug it in again",
    ),
    (
        r"device (?:still )?(?:authorizing|connecting)",
        "the phone is still connecting: unlock its screen, accept 'Allow USB debugging?' if it asks, and try again",
    ),
    (
        r"device (?:offline|detached)",
        "adb knows the phone, but it does not answer: unplug it and plug it in again, or switch USB debugging off and "
        "on ({usb_debugging}); over Wi-Fi run {disconnect}, then {connect}",
    ),
    (
        r"(?:no|insufficient) permissions",
        "this user may not open the phone's USB device: install the udev rules (sudo apt install "
        "android-sdk-platform-tools-common), join the group plugdev (sudo usermod -aG plugdev $USER, then log in "
        "again), run {kill_server} and plug the phone in again",
    ),
    (
        r"device (?P<state>recovery|rescue|sideload|bootloader|host)\b",
        "the phone is in the state {state}, and programs run only under Android itself: restart it",
    ),
    (
        r"no devices/emulators found",
        "no phone is connected: plug it in with a cable that carries data, and switch on USB debugging "
        "({usb_debugging}; developer options appear after seven taps on Settings > About phone > Build "
        "number); {devices} must list it",
    ),
    (
        r"more than one device",
        "several phones are connected: name one as adb://SERIAL; {devices} lists them",
    ),
    (
        r"device '(?P<serial>[^']*)' not found",
        "no phone {serial} is connected: {devices} lists those that are; is it plugged in and switched on? One in the "
        "network needs {connect} first",
    ),
    (
        r"server version \((?P<server>\d+)\) doesn't match this client \((?P<client>\d+)\)",
        "an adb server of another version ({server}, this adb is {client}) runs here, and the two would end each "
        "other: set MNET_ADB to that adb; or close the program that brought it, and run {kill_server}",
    ),
    (
        r"(?P<line>.*(?:cannot connect to daemon|failed to start daemon|failed to check server version|"
        r"could not install \*smartsocket\*|cannot bind).*)",
        "adb's server cannot be used ({line}): run {kill_server}, and look which other program has its port "
        "(ANDROID_ADB_SERVER_PORT, 5037 by default)",
    ),
)

# What it says when the connection ends while it copies; in a shell it says nothing, and may exit with 0.
_LOST = (
    r"failed to read copy response|couldn't read from device|failed to read stat response|protocol fault|error: closed|"
    r"failed to copy .*: (?:no response|.*(?:EOF|closed|Broken pipe|Connection reset))|connection reset|connect failed"
)


def adb_error(target: AdbTarget, said: str, *, started: bool, what: str) -> DeviceError:
    """Return the error that fits what adb said.

    Args:
        target: whom it was to reach.
        said: what it wrote; the program's own words, once that was started.
        started: whether the program had been started there.
        what: was to run, for messages.
    """
    if not started:
        if unreached := _explained(_UNREACHED, target, said):
            return DeviceUnavailable(f"{target.address}: {unreached}")
        if not is_lost(said) and (words := _last_words(said)):
            return DeviceUnavailable(f"{target.address}: adb could not start {what}: {words}; see {_devices(target)}")
    return lost_link(target, f"while {what} was running" if started else f"when {what} was to be started")


def is_lost(said: str) -> bool:
    """Return whether adb says, or keeps silent, that the connection ended."""
    return not said.strip() or re.search(_LOST, said) is not None


def lost_link(target: AdbTarget, when: str) -> LinkLost:
    """Return the error for a connection that ended; adb itself does not say so."""
    return LinkLost(
        f"{target.address}: the connection to the phone ended: it was unplugged or switched off, or adb's server was "
        f"ended here; run it again when {_devices(target)} lists it as a device ({when})"
    )


def _explained(rows: tuple[tuple[str, str], ...], target: AdbTarget, said: str) -> str | None:
    for pattern, words in rows:
        if found := re.search(pattern, said):
            groups = {name: value.strip() for name, value in found.groupdict().items() if value}
            return words.format(**{**_fields(target), **groups})
    return None


def _fields(target: AdbTarget) -> dict[str, str]:
    serial = target.serial or "HOST:PORT"
    return {
        "serial": serial,
        "kill_server": target.command("kill-server"),
        "devices": _devices(target),
        "connect": target.command("connect", serial if ":" in serial else "HOST:PORT"),
        "disconnect": target.command("disconnect", serial if ":" in serial else "HOST:PORT"),
        "usb_debugging": _USB_DEBUGGING,
    }


def _devices(target: AdbTarget) -> str:
    return target.command("devices", "-l")


def _last_words(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return lines[-1] if lines else ""
