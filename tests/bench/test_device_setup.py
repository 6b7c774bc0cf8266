"""Setting a device up: in which order what is asked, sent and run, and what a failure leaves."""

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass, field

import pytest

from mnet_deploy.errors import CommandFailed, CommandTimeout, DeviceUnavailable, LinkLost, SpecError
from mnet_deploy.progress import Progress
from mnet_deploy.runners.setup import device_setup
from mnet_deploy.runners.setup.device_python import MARKER, device_python
from mnet_deploy.runners.setup.device_setup import SetupRequest, set_up
from mnet_deploy.runners.transports.address import DeviceAddress
from mnet_deploy.runners.transports.deadline import Deadline
from mnet_deploy.runners.transports.fake_transport import FakeProcess
from mnet_deploy.runners.transports.transport import CommandResult, Transport

BASE = "/home/pi/.local/share/mnet-deploy"
WHEELS = f"{BASE}/wheels.abcdef"
SEND = json.dumps({"event": "send", "folder": WHEELS})
ENDS_WELL = ('{"event": "stage", "text": "making the environment"}', '{"event": "end", "path": "python"}')
BOOKWORM = {"python_version": "3.11.2", "python_bits": "64", "python_platform": "linux-aarch64", "glibc": "glibc 2.36"}
BOOKWORM_32 = {**BOOKWORM, "python_bits": "32"}  # Python names the kernel's platform


@dataclass
class Device(Transport):
    """A device whose answers are chosen by what is asked; `calls` tells what was."""

    userland: dict = field(default_factory=lambda: dict(BOOKWORM))
    packages: dict = field(default_factory=dict)
    set_up: bool = False
    python: str | None = "/usr/bin/python3"
    venv: bool = True
    numpy: str | None = None
    index: bool = False
    free_kib: int = 10_000_000
    held_by: str = ""
    lines: tuple = ENDS_WELL
    push_error: Exception | None = None
    calls: list = field(default_factory=list)
    orders: list = field(default_factory=list)
    process: FakeProcess | None = None
    address: DeviceAddress = field(default_factory=lambda: DeviceAddress.parse("ssh://pi@raspberrypi"))

    def run(self, argv, *, deadline, stdin=b""):
        assert not deadline.expired
        name, stdout, code = self.answer(argv)
        self.calls.append(name)
        return CommandResult(argv=tuple(argv), return_code=code, stdout=stdout, stderr="")

    def answer(self, argv):
        if list(argv[:3]) == ["sh", "-s", "userland"]:
            return "probe", self.probe(), 0
        if argv[0] == sys.executable:
            return "look", self.look(), 0
        if "exec" in argv[2] and "command -v python3" in argv[2]:
            return "look", self.look(), 0
        if "download" in argv:
            return "index", "", 0 if self.index else 1
        if "import numpy" in argv[-1]:
            return "numpy", f"{self.numpy}\n", 0 if self.numpy else 1
        raise AssertionError(argv)

    def probe(self):
        facts = {"home": "/home/pi", "free_home_kib": f"{self.free_kib} /home/pi"}
        if self.python:
            facts |= {"python": self.python, "python_venv": str(int(self.venv)), "python_pip": "1", **self.userland}
        return "".join(f"{key}={value}\n" for key, value in facts.items()) + "end=probe\n"

    def look(self):
        if self.python is None:
            return '{"missing": true}\n'
        version = self.userland["python_version"]
        found = {"path": self.python, "version": version, "packages": self.packages, "set_up": self.set_up}
        return f"Welcome to my Pi!\n{json.dumps(found)}\n"

    def start(self, argv, *, deadline):
        if "--owner" in argv:
            return self.keeper(argv)
        self.calls.append("build")
        self.orders.append(json.loads(argv[-1]))
        if self.lines[-1].startswith('{"event": "end"'):
            packages = (re.split("==", requirement) for requirement in self.orders[-1]["requirements"])
            self.packages, self.set_up = {"numpy": "1.24.2", **dict(packages)}, True
        code = 0 if self.set_up else 1
        lines = (*[SEND] * self.orders[-1]["wheels"], *self.lines)
        self.process = FakeProcess({"lines": lines, "return_code": code, "stdout": "", "stderr": ""}, argv)
        return self.process

    def keeper(self, argv):
        """Return what holds the device, or is told who else does."""
        self.calls.append("hold")
        events = [{"event": "ready", "folder": "/tmp/mnet-bench-x", "pid": 7, "swept": [], "not_restored": []}]
        events.append({"event": "end", "why": "end", "not_restored": []})
        if self.held_by:
            events = [{"event": "refused", "kind": "busy", "message": self.held_by}]
        lines = [json.dumps(event) for event in events]
        return FakeProcess({"lines": lines, "return_code": int(bool(self.held_by)), "stdout": "", "stderr": ""}, argv)

    def push(self, local, remote, *, deadline):
        self.calls.append(f"push {remote}")
        if self.push_error:
            raise self.push_error
        return local.stat().st_size

    def pull(self, remote, local, *, deadline):
        raise NotImplementedError

    def close(self):
        pass


@pytest.fixture(autouse=True)
def downloads(monkeypatch):
    """Download nothing; return the plans that wheels were wanted for."""
    wanted = []

    def download(plan, target, folder, deadline):
        wanted.append((plan, target))
        for requirement in plan.requirements:
            (folder / f"{requirement.partition('=')[0]}.whl").write_bytes(b"wheel")
        return tuple(sorted(folder.glob("*.whl")))

    monkeypatch.setattr(device_setup, "download_wheels", download)
    return wanted


def make(device, **request):
    return set_up(device, SetupRequest(**request), Progress())


def test_offline_the_wheels_are_sent_when_the_device_waits_for_them(downloads):
    device = Device()
    result = make(device)
    pushes = [f"push {WHEELS}/{name}.whl" for name in ("ai-edge-litert", "numpy", "onnxruntime")]
    assert device.calls == ["probe", "look", "index", "hold", "build", *pushes, "look"]
    assert result.made == "offline"
    assert dict(result.python.engines) == {"litert": "2.3.0", "onnxruntime": "1.31.1"}
    order = device.orders[0]
    assert order["wheels"] is True
    assert device.process.written == "go\n"
    assert order["requirements"] == ["ai-edge-litert==2.3.0", "onnxruntime==1.31.1", "numpy==2.4.6"]
    assert order["imports"] == {"litert": "ai_edge_litert.interpreter", "onnxruntime": "onnxruntime"}
    assert not order["system_packages"]
    assert len(downloads) == 1


@pytest.mark.parametrize(("index", "online", "asked"), [(True, None, True), (False, True, False), (True, True, False)])
def test_online_nothing_is_sent(downloads, index, online, asked):
    device = Device(index=index)
    assert make(device, online=online).made == "online"
    assert device.calls == ["probe", "look", *["index"] * asked, "hold", "build", "look"]
    assert device.orders[0]["wheels"] is False
    assert downloads == []


def test_offline_is_not_asked_whether_it_is_online():
    device = Device(index=True)
    assert make(device, online=False).made == "offline"
    assert "index" not in device.calls


LITERT = {"numpy": "2.4.6", "ai-edge-litert": "2.3.0"}


@pytest.mark.parametrize("engines", [(), ("litert",)])
def test_what_is_there_is_left_alone(engines):
    device = Device(packages=LITERT, set_up=True)
    assert make(device, engines=engines).made == "already"
    assert device.calls == ["probe", "look"]


def test_an_engine_is_added_to_those_that_are_there():
    device = Device(packages=LITERT, set_up=True)
    assert set(make(device, engines=("onnxruntime",)).python.engines) == {"litert", "onnxruntime"}


def test_force_makes_it_anew_with_these_alone():
    device = Device(packages=LITERT, set_up=True)
    assert set(make(device, engines=("onnxruntime",), force=True).python.engines) == {"onnxruntime"}


def test_engines_of_the_system_do_not_stand_in_for_an_environment():
    device = Device(packages=LITERT)
    assert make(device).made == "offline"


def test_32_bit_uses_the_numpy_of_the_system(downloads):
    device = Device(userland=BOOKWORM_32, numpy="1.24.2")
    result = make(device)
    assert dict(result.python.engines) == {"tflite-runtime": "2.14.0"}
    assert device.orders[0]["system_packages"]
    assert device.orders[0]["requirements"] == ["tflite-runtime==2.14.0"]
    assert downloads[0][1].architecture == "armv7l"


@pytest.mark.parametrize(
    ("device", "request_", "said"),
    [
        (
            Device(python=None),
            {},
            "sudo apt install python3-venv, then mnet device setup --device ssh://pi@raspberrypi",
        ),
        (Device(venv=False), {}, "sudo apt install python3-venv, then mnet device setup --device ssh://pi@raspberrypi"),
        (Device(userland={**BOOKWORM, "python_version": "3.7.3"}), {}, "Python 3.9 or later"),
        (Device(userland=BOOKWORM_32), {}, "sudo apt install python3-numpy"),
        (Device(userland=BOOKWORM_32, numpy="1.19.5"), {}, "needs NumPy 1.23 or later and before 2. Received: 1.19.5"),
        (Device(userland=BOOKWORM_32, numpy="2.2.4"), {}, "needs NumPy 1.23 or later and before 2. Received: 2.2.4"),
        (Device(userland=BOOKWORM_32), {"engines": ("litert",)}, "What fits is --engine tflite-runtime"),
        (Device(userland={**BOOKWORM_32, "python_version": "3.13.5"}), {}, "Use a 64-bit Raspberry Pi OS"),
        (Device(free_kib=1000), {}, "Received: 1000.0 KiB free"),
    ],
)
def test_a_refusal_changes_nothing_there(device, request_, said):
    with pytest.raises(DeviceUnavailable) as refused:
        make(device, **request_)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
    assert set(device.calls) <= {"probe", "look", "numpy"}


@pytest.mark.parametrize("error", [LinkLost("gone"), CommandFailed("full", command=[], return_code=1, output="")])
def test_wheels_that_do_not_arrive_end_it_on_the_device_too(error):
    device = Device(push_error=error)
    with pytest.raises(type(error)):
        make(device)
    assert device.process.written == ""
    with pytest.raises(LinkLost, match="was stopped"):
        device.process.write("go")


@pytest.mark.parametrize(
    ("kind", "error", "said"),
    [
        ("busy", DeviceUnavailable, "try again when it has ended"),
        ("foreign", DeviceUnavailable, "why"),
        ("venv", CommandFailed, "the environment could not be made"),
        ("pip", CommandFailed, "pip could not install"),
        ("import", CommandFailed, "does not load there"),
        ("time", CommandFailed, "the setup was not finished"),
    ],
)
def test_what_the_device_says_is_an_error_with_advice(kind, error, said):
    device = Device(lines=(json.dumps({"event": "error", "kind": kind, "message": "why"}),))
    with pytest.raises(error) as failed:
        make(device)
    assert said in str(failed.value)
    assert "why" in str(failed.value)


def test_an_end_without_a_word_is_an_error():
    device = Device(lines=('{"event": "stage", "text": "making the environment"}',))
    with pytest.raises(CommandFailed, match="exit status 1"):
        make(device)


def test_a_device_that_is_too_slow_to_say_whether_it_is_online_is_not():
    class Slow(Device):
        def answer(self, argv):
            if "download" in argv:
                raise CommandTimeout("no answer")
            return super().answer(argv)

    assert make(Slow()).made == "offline"


def test_this_machine_is_left_alone():
    device = Device(address=DeviceAddress.parse("local:"), packages={})
    with pytest.raises(DeviceUnavailable, match=r"pip install 'mnet-deploy\[litert,onnx\]'"):
        make(device)


def test_engines_that_do_not_exist_are_refused():
    with pytest.raises(SpecError, match="Received: 'tensorflow'"):
        SetupRequest(engines=("tensorflow",))


class Home(Device):
    """A device on which the shell really runs, with a home folder of the test."""

    def __init__(self, folder, path):
        super().__init__()
        self.environment = {"HOME": str(folder), "PATH": path}

    def run(self, argv, *, deadline, stdin=b""):
        done = subprocess.run(["/bin/sh", *argv[1:]], capture_output=True, text=True, env=self.environment, check=False)
        return CommandResult(argv=tuple(argv), return_code=done.returncode, stdout=done.stdout, stderr=done.stderr)


def fake_venv(home, python):
    folder = home / ".local/share/mnet-deploy/venv"
    (folder / "bin").mkdir(parents=True)
    (folder / MARKER).touch()
    (folder / "bin/python").symlink_to(python)


SOON = Deadline.after(600)


def test_the_environment_comes_before_the_systems_python(tmp_path):
    fake_venv(tmp_path, "/bin/echo")
    home = Home(tmp_path, os.environ["PATH"])
    result = home.run(["sh", "-c", device_setup.SET_VENV + '; echo "$venv"'], deadline=SOON)
    assert result.stdout.strip() == str(tmp_path / ".local/share/mnet-deploy/venv")
    with pytest.raises(Exception, match="expected one line of JSON"):  # what echo says
        device_python(home, SOON)


def test_an_environment_whose_python_is_gone_is_named(tmp_path):
    fake_venv(tmp_path, tmp_path / "gone")
    with pytest.raises(DeviceUnavailable, match="--force makes it anew"):
        device_python(Home(tmp_path, os.environ["PATH"]), SOON)


def test_a_device_without_python_is_told_so(tmp_path):
    with pytest.raises(DeviceUnavailable, match="sudo apt install python3-venv"):
        device_python(Home(tmp_path, str(tmp_path)), SOON)


@pytest.mark.parametrize(
    ("packages", "set_up_", "said"),
    [
        ({}, False, "no engine is installed in /usr/bin/python3; mnet device setup --device ssh://pi@raspberrypi"),
        ({"ai-edge-litert": "2.3.0"}, False, "NumPy is not installed beside it"),
        ({"tflite-runtime": "2.14.0", "numpy": "2.4.6"}, True, "compiled for NumPy 1, and NumPy 2.4.6"),
    ],
)
def test_no_engine_that_can_be_used(packages, set_up_, said):
    with pytest.raises(DeviceUnavailable) as refused:
        device_python(Device(packages=packages, set_up=set_up_), SOON)
    assert said in str(refused.value)
    assert str(refused.value).endswith("--force") is set_up_


def test_a_device_that_is_measured_on_is_left_alone(downloads):
    device = Device(held_by="ann on desk since noon")
    with pytest.raises(DeviceUnavailable, match="is being measured on by ann on desk"):
        set_up(device, SetupRequest(online=True), Progress())
    assert "build" not in device.calls
