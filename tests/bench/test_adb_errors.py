"""What adb says comes from versions 29.0.6 and 36.0.0 and a stand-in phone, unless another source is named."""

from pathlib import Path

import pytest

from mnet_deploy.cli import main
from mnet_deploy.errors import DeviceUnavailable, LinkLost
from mnet_deploy.runners.transports.adb_errors import AdbTarget, adb_error
from mnet_deploy.runners.transports.address import DeviceAddress

ONLY = AdbTarget(address=DeviceAddress.parse("adb://"), adb=Path("/sdk/adb"), serial="")
WIFI = AdbTarget(address=DeviceAddress.parse("adb://10.0.0.7:5555"), adb=Path("/my sdk/adb"), serial="10.0.0.7:5555")
VENDOR_KEYS = (
    "This adb server's $ADB_VENDOR_KEYS is not set\n"
    "Try 'adb kill-server' if that seems wrong.\n"
    "Otherwise check for a confirmation dialog on your device.\n"
)

UNREACHED = {
    "unauthorized": (
        f"error: device unauthorized.\n{VENDOR_KEYS}",
        ["accept 'Allow USB debugging?'", "/sdk/adb kill-server"],
    ),
    "unauthorized, 36": (f"adb: device unauthorized.\n{VENDOR_KEYS}", ["accept 'Allow USB debugging?'"]),
    "authorizing": ("adb: device still authorizing\n", ["still connecting", "unlock its screen"]),
    "connecting": ("adb: device still connecting\n", ["still connecting"]),
    "offline": ("error: device offline\n", ["does not answer", "Developer options > USB debugging"]),
    "offline, 36": ("adb: device offline\n", ["does not answer"]),
    # AOSP, adb's transport.cpp and system/core/diagnose_usb
    "no permissions": (
        "error: insufficient permissions for device: user in plugdev group; are your udev rules wrong?\n"
        "See [http://developer.android.com/tools/device.html] for more information\n",
        ["udev rules", "android-sdk-platform-tools-common", "plugdev"],
    ),
    "recovery": ("error: device recovery\n", ["in the state recovery", "restart it"]),
    "none": ("error: no devices/emulators found\n", ["no phone is connected", "/sdk/adb devices -l must list it"]),
    "none, 36": ("adb: no devices/emulators found\n", ["no phone is connected"]),
    "two": ("error: more than one device/emulator\n", ["adb://SERIAL", "/sdk/adb devices -l lists them"]),
    "unknown": ("error: device 'R58M' not found\n", ["no phone R58M is connected", "/sdk/adb devices -l"]),
    "unknown to a push": (
        "adb: error: failed to get feature set: device 'R58M' not found\n",
        ["no phone R58M is connected"],
    ),
    # AOSP, adb's client/adb_client.cpp
    "another version": (
        "adb server version (39) doesn't match this client (41); killing...\nADB server didn't ACK\n",
        ["another version (39, this adb is 41)", "MNET_ADB"],
    ),
    "port in use": (
        "* failed to start daemon\nadb: cannot connect to daemon\n",
        ["adb's server cannot be used (* failed to start daemon)", "ANDROID_ADB_SERVER_PORT"],
    ),
    "anything else": ("adb: something new\n", ["adb could not start uname: adb: something new", "devices -l"]),
}


@pytest.mark.parametrize("case", UNREACHED)
def test_what_keeps_adb_from_the_phone_says_what_to_do(case):
    said, expected = UNREACHED[case]
    error = adb_error(ONLY, said, started=False, what="uname")
    assert type(error) is DeviceUnavailable
    message = str(error)
    assert message.startswith("adb://: ")
    assert "\n" not in message
    assert [words for words in expected if words not in message] == []


@pytest.mark.parametrize("said", ["", "error: closed\n", "adb: protocol fault (couldn't read status): Success\n"])
def test_a_connection_that_ends_before_the_program_starts_is_a_lost_link(said):
    error = adb_error(ONLY, said, started=False, what="uname")
    assert type(error) is LinkLost
    assert str(error).endswith("/sdk/adb devices -l lists it as a device (when uname was to be started)")


def test_a_programs_own_words_do_not_pass_for_those_of_adb():
    error = adb_error(ONLY, "error: device unauthorized.\n", started=True, what="cat")
    assert type(error) is LinkLost
    assert str(error).endswith("(while cat was running)")


def test_commands_to_run_name_the_phone_in_the_network():
    error = adb_error(WIFI, "error: device offline\n", started=False, what="uname")
    assert "run '/my sdk/adb' disconnect 10.0.0.7:5555, then '/my sdk/adb' connect 10.0.0.7:5555" in str(error)


def test_a_phone_needs_no_setup(capsys):
    assert main(["device", "setup", "--device", "adb://R58M"]) == 2
    assert capsys.readouterr().err == (
        "mnet: a phone needs no setup: mnet bench brings everything along. Received: --device adb://R58M\n"
    )
