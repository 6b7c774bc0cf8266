"""The engines of a device are looked for where the agent will look for them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from mnet_deploy.errors import DeviceUnavailable
from mnet_deploy.runners.setup import device_python
from mnet_deploy.runners.transports.address import DeviceAddress
from mnet_deploy.runners.transports.deadline import Deadline
from mnet_deploy.runners.transports.transport import CommandResult

SOON = Deadline.after(3600)
CODE = device_python._LOOK.replace("MARKER", "marker").replace("PACKAGES", '[("mnet-fake", "mnet_fake")]')


class Device:
    """A device whose Python answers; `argv` is what it was asked with."""

    def __init__(self, address, answer):
        self.address, self.answer = DeviceAddress.parse(address), answer

    def run_check(self, argv, *, deadline):
        self.argv = argv
        return CommandResult(argv=tuple(argv), return_code=0, stdout=json.dumps(self.answer), stderr="")


def found(**changes):
    packages = {"numpy": "2.0.0"}
    return {"path": "/python3", "version": "3.11.2", "packages": packages, "set_up": False, **changes}


def base_python():
    """Return an interpreter that is in no environment, which would not look into the user's folder at all."""
    path = Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}"
    return str(path) if path.exists() else sys.executable


def looked(home, folder=None):
    argv = [base_python(), "-I", "-c", CODE]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, cwd=folder, env={"HOME": str(home)})
    return json.loads(done.stdout)


def test_what_is_installed_for_one_user_is_said_and_not_used(tmp_path):
    argv = [base_python(), "-c", "import site; print(site.getusersitepackages())"]
    said = subprocess.run(argv, capture_output=True, text=True, check=True, env={"HOME": str(tmp_path)})
    module = Path(said.stdout.strip()) / "mnet_fake"
    assert module.is_relative_to(tmp_path)
    assert looked(tmp_path)["user_only"] == []
    module.mkdir(parents=True)
    (module / "__init__.py").touch()
    assert (looked(tmp_path)["packages"], looked(tmp_path)["user_only"]) == ({}, ["mnet-fake"])


def test_the_working_folder_is_not_searched(tmp_path):
    (tmp_path / "mnet_fake.py").touch()
    assert looked(tmp_path, tmp_path)["packages"] == {}


@pytest.mark.parametrize("address", ["local:", "ssh://pi4"])
def test_it_is_started_as_the_agent_is(address):
    device = Device(address, found(packages={"numpy": "2.0.0", "onnxruntime": "1.2"}))
    assert dict(device_python.device_python(device, SOON).engines) == {"onnxruntime": "1.2"}
    assert device.argv[1] == "-I" or ' -I -c "$1"' in device.argv[2]


def test_an_engine_of_one_user_has_its_reason():
    device = Device("ssh://pi4", found(user_only=["onnxruntime"]))
    assert "for one user only" in device_python.look_for_python(device, SOON).unusable["onnxruntime"]
    with pytest.raises(DeviceUnavailable, match=r"onnxruntime cannot be used: it is installed for one user only"):
        device_python.device_python(device, SOON)
