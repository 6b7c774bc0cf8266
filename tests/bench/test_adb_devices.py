"""Listing phones asks adb's server alone, whatever its version, and no phone."""

import socket
import threading
from contextlib import contextmanager

import pytest

from mnet_deploy.pipeline.device_list import list_devices, list_json, list_text
from mnet_deploy.runners.transports.adb_devices import connected_phones
from mnet_deploy.runners.transports.deadline import Deadline

# AOSP, packages/modules/adb/transport.cpp: append_transport; the last two lines are none of it.
LISTED = """\
41181FDJH002GH         device usb:1-1 product:shiba model:Pixel_8 device:shiba transport_id:1
192.168.1.20:5555      offline product:x model:A_B device:y transport_id:2
R58M123ABC             unauthorized usb:1-3 transport_id:3
0123456789             no permissions (missing udev rules? user is in the plugdev group); see [http://x] usb:1-4
????????????           no permissions usb:1-5
-oProxyCommand=x       device
"""


@contextmanager
def adb_server(answer):
    """Answer `host:devices-l` as adb's server does."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve():
            link, _ = listening.accept()
            with link:
                size = int(link.recv(4), 16)
                assert link.recv(size) == b"host:devices-l"
                said = answer.encode()
                link.sendall(b"OKAY" + f"{len(said):04x}".encode() + said)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield str(listening.getsockname()[1])
        thread.join(60)


def test_every_state_is_told_apart(monkeypatch):
    with adb_server(LISTED) as port:
        monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", port)
        phones = connected_phones(Deadline.after(60))
    assert [(str(phone.address), phone.ready, phone.state, phone.model) for phone in phones] == [
        ("adb://41181FDJH002GH", True, "device", "Pixel 8"),
        ("adb://192.168.1.20:5555", False, "offline", "A B"),
        ("adb://R58M123ABC", False, "unauthorized", None),
        ("adb://0123456789", False, "no permissions", None),
    ]


def test_phones_are_listed_with_what_to_run_next(monkeypatch, tmp_path, violations):
    (tmp_path / "config").touch()
    monkeypatch.setenv("MNET_SSH_CONFIG", str(tmp_path / "config"))
    with adb_server(LISTED) as port:
        monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", port)
        devices = list_devices()
    assert violations(list_json(devices)) == []
    assert [device.answers for device in devices] == [True, True, False, False, False]
    line = list_text(devices).splitlines()[3]
    assert line.split("  ") == ["adb://41181FDJH002GH", *line.split("  ")[1:]]
    assert "answers (Pixel 8)" in line
    assert line.endswith("mnet device check --device adb://41181FDJH002GH")


@pytest.mark.parametrize("environment", [{"PATH": "/nowhere"}, {"ADB_SERVER_SOCKET": "tcp:x:1", "PATH": "/nowhere"}])
def test_without_adb_there_are_no_phones(monkeypatch, environment):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(port))
    monkeypatch.delenv("ANDROID_HOME", raising=False)
    monkeypatch.delenv("ANDROID_SDK_ROOT", raising=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert connected_phones(Deadline.after(60)) == ()
