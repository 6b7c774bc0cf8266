"""`mnet device list` and `check`: what is found, in words and as JSON."""

import json
import socket
import threading
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from mnet_deploy.cli import main
from mnet_deploy.measurement.device_info import Conditions, DeviceInfo
from mnet_deploy.pipeline import device_check
from mnet_deploy.pipeline.device_check import check_on, check_text, throttle_text
from mnet_deploy.runners.transports import ssh_hosts
from mnet_deploy.runners.transports.address import DeviceAddress
from mnet_deploy.runners.transports.deadline import Deadline
from mnet_deploy.runners.transports.ssh_hosts import configured_aliases, reachable_hosts
from mnet_deploy.runners.transports.transport import CommandResult, Transport

RECORDED = Path(__file__).parent / "recorded"
BANNER = b"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u10\r\n"


@dataclass
class Recorded(Transport):
    """The stand-in Pi as it answered the probe; `look` is what its Python says of its engines."""

    look: dict = field(default_factory=dict)
    python: bool = True
    edit: tuple = ()
    address: DeviceAddress = field(default_factory=lambda: DeviceAddress.parse("ssh://pi4"))

    def run(self, argv, *, deadline, stdin=b""):
        name = argv[2] if argv[1] == "-s" else "look"
        if name == "look":
            stdout = json.dumps(self.look) + "\n" if self.python else '{"missing": true}\n'
        else:
            stdout = (RECORDED / f"probe_{name}_emulated_pi4.txt").read_text(encoding="utf-8")
        if name == "userland" and not self.python:
            stdout = "home=/home/pi\nend=probe\n"
        if name == "userland" and self.edit:
            assert self.edit[0] in stdout
            stdout = stdout.replace(*self.edit)
        return CommandResult(argv=tuple(argv), return_code=0, stdout=stdout, stderr="")

    def start(self, argv, *, deadline):
        raise NotImplementedError

    push = pull = start

    def close(self):
        pass


def python(**packages):
    named = {name.replace("_", "-"): version for name, version in packages.items()}
    return {"path": "/usr/bin/python3", "version": "3.11.2", "packages": named, "set_up": False}


def check(**options):
    return check_on(Recorded(**options), Deadline.after(60))


def test_a_device_with_an_engine_is_ready():
    found = check(look=python(numpy="1.26.4", onnxruntime="1.31.1"))
    lines = check_text(found).splitlines()
    assert found.ready
    assert lines[0].startswith("ssh://pi4  Raspberry Pi 4 Model B Rev 1.5")
    assert lines[1] == "emulated by qemu-user: times say nothing of a real device"
    assert lines[-1] == "ready"
    assert {line.split()[0]: " ".join(line.split()[1:]) for line in lines[2:-1]} == {
        "clocks": "at most 1800 MHz, now 600 MHz, governor ondemand",
        "state": f"48.7 °C, never throttled since it was started, {found.conditions.busy_cores:.1f} cores busy",
        "userland": "Python 3.11, 64-bit (aarch64), glibc 2.36",
        "litert": "fits: 2.3.0",
        "tflite-runtime": "fits: 2.14.0",
        "onnxruntime": "installed: 1.31.1",
        "python": "/usr/bin/python3 (3.11.2, NumPy 1.26.4)",
    }


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"look": python()}, "no engine is installed in /usr/bin/python3; mnet device setup --device ssh://pi4"),
        ({"look": python(numpy="2.4.6", tflite_runtime="2.14.0")}, "compiled for NumPy 1, and NumPy 2.4.6"),
        ({"look": python(), "edit": ("python_venv=1", "python_venv=0")}, "its Python has no venv"),
        ({"look": python(), "edit": ("version=3.11.2", "version=3.8.1")}, "Python 3.9 or later"),
        ({"look": python(), "edit": ("version=3.11.2", "version=3.15.0")}, "no 64-bit aarch64 Linux wheel"),
        ({"python": False}, "sudo apt install python3-venv, then mnet device setup --device ssh://pi4"),
    ],
)
def test_a_device_that_is_not_ready_says_what_to_do(options, said):
    found = check(**options)
    assert not found.ready
    assert check_text(found).splitlines()[-1].startswith("not ready: ssh://pi4: ")
    assert said in check_text(found).splitlines()[-1]


@pytest.mark.parametrize(("packages", "status"), [({"numpy": "2.4.6", "ai_edge_litert": "2.3.0"}, 0), ({}, 3)])
def test_check_as_json_and_exit_status(monkeypatch, capsys, violations, packages, status):
    monkeypatch.setattr(device_check, "open_transport", lambda address: Recorded(look=python(**packages)))
    assert main(["device", "check", "--device", "ssh://pi4", "--json"]) == status
    document = json.loads(capsys.readouterr().out)
    assert violations(document) == []
    assert document["ready"] is (status == 0)
    assert document["conditions"]["temperature_c"] == pytest.approx(48.7)


@pytest.mark.parametrize(
    ("bits", "expected"),
    [
        (None, "not known whether it throttles"),
        (0, "never throttled since it was started"),
        (0x50005, "now under-voltage, throttling; since it was started under-voltage, throttling"),
        (0x80000, "since it was started the soft temperature limit"),
        (0x2, "now a capped clock"),
    ],
)
def test_throttle_bits_in_words(bits, expected):
    assert throttle_text(bits) == expected


def test_a_state_that_nobody_knows_is_not_zero():
    assert device_check._state(DeviceInfo(address="local:"), Conditions()) == "not known whether it throttles"


def test_names_of_the_configuration_that_are_no_patterns(tmp_path, monkeypatch):
    monkeypatch.setattr(ssh_hosts, "USER_CONFIG", tmp_path / "config")
    (tmp_path / "config").write_text(
        'Include more/*\nHost pi4 "pi 5" *.lan !bad\n  HostName 10.0.0.1\nhost=zero # a comment\nHost pi4\nHost "open\n'
    )
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "b").write_text("Host second\nInclude more/b\n")
    (tmp_path / "more" / "a").write_text("  Host first\n")
    assert configured_aliases(tmp_path / "config") == ("first", "second", "pi4", "pi 5", "zero")
    assert configured_aliases(tmp_path / "absent") == ()


@pytest.fixture
def server():
    """Answer as an ssh server does; return the port."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer():
            with listening.accept()[0] as connection:
                connection.sendall(BANNER)

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        yield listening.getsockname()[1]
        thread.join(60)


def closed_port():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return listening.getsockname()[1]


def write_config(path, port):
    path.write_text(
        f"Host here\n  HostName 127.0.0.1\n  Port {port}\n"
        f"Host closed\n  HostName 127.0.0.1\n  Port {closed_port()}\n"
        "Host repositories\n  HostName 127.0.0.1\n  User git\n"
        "Host behind\n  ProxyJump here\n"
    )


def test_hosts_are_asked_without_logging_in(tmp_path, server):
    write_config(tmp_path / "config", server)
    found = {host.address.host: host for host in reachable_hosts(Deadline.after(60), tmp_path / "config")}
    assert list(found) == ["here", "closed", "behind"]
    assert {name: host.answers for name, host in found.items()} == {"here": True, "closed": False, "behind": None}
    assert found["here"].server == "OpenSSH_9.2p1 Debian-2+deb12u10"
    assert "is there, but no ssh at port" in found["closed"].state


def test_when_the_time_is_up_nobody_answers(tmp_path, server):
    write_config(tmp_path / "config", server)
    hosts = reachable_hosts(Deadline.after(0), tmp_path / "config")
    assert True not in [host.answers for host in hosts]
    with socket.create_connection(("127.0.0.1", server)) as connection:
        assert connection.recv(9) == BANNER[:9]  # which nobody had taken before


def test_list_names_the_next_command(tmp_path, server, monkeypatch, capsys, violations):
    write_config(tmp_path / "config", server)
    monkeypatch.setenv("MNET_SSH_CONFIG", str(tmp_path / "config"))
    monkeypatch.setattr("mnet_deploy.pipeline.device_list.connected_phones", lambda deadline: ())
    assert main(["device", "list", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert violations(document) == []
    following = {device["address"]: device["next_command"] for device in document["devices"]}
    assert following == {
        "local:": "mnet device check --device local:",
        "ssh://here": "mnet device check --device ssh://here",
        "ssh://closed": "ssh closed",
        "ssh://behind": "mnet device check --device ssh://behind",
    }


def test_list_as_a_table(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MNET_SSH_CONFIG", str(tmp_path / "absent"))
    assert main(["device", "list"]) == 0
    assert capsys.readouterr().out.splitlines()[2].split() == [
        "local:", "this", "machine", "mnet", "device", "check", "--device", "local:"
    ]  # fmt: skip
