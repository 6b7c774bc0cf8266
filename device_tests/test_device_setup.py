"""`mnet device` against the stand-in: made ready from wheels that this machine downloads, and every refusal."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from device_tests.conftest import MNET

BASE = ".local/share/mnet-deploy"
TIMEOUT_S = 280  # emulated, a setup takes a minute or two

pytestmark = [pytest.mark.emulated_only, pytest.mark.timeout(600)]


def mnet(pi, *arguments):
    """Run `mnet device`; return (exit status, stdout, last line of stderr)."""
    command = [sys.executable, "-c", MNET, "device", *arguments]
    environment = {**os.environ, "MNET_SSH_CONFIG": str(pi.ssh_config)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=TIMEOUT_S, check=False)
    return done.returncode, done.stdout, "".join(done.stderr.splitlines()[-1:])


def left(pi):
    """Return what is in the folder that mnet keeps in the user's on the device; None without such a folder."""
    folder = Path(pi.path(f"/home/pi/{BASE}"))
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else None


def imports(pi, modules):
    return pi.ssh(f"ORT_DISABLE_TELEMETRY=1 {BASE}/venv/bin/python -c 'import {modules}'").returncode == 0


def test_a_device_is_made_ready_offline(fresh_pi):
    pi = fresh_pi("setup")
    status, said, _ = mnet(pi, "check", "--device", pi.address)
    assert status == 3
    assert f"mnet device setup --device {pi.address}" in said.splitlines()[-1]

    status, said, error = mnet(pi, "setup", "--device", pi.address)
    assert (status, error) == (0, "")
    assert said.startswith(f"{pi.address} is set up (offline): litert 2.3.0, onnxruntime 1.31.1, NumPy 2")
    assert left(pi) == ["venv"]
    assert imports(pi, "ai_edge_litert.interpreter, onnxruntime")

    status, said, _ = mnet(pi, "check", "--json", "--device", pi.address)
    found = json.loads(said)
    assert (status, found["ready"], found["problem"]) == (0, True, None)
    assert found["python"]["set_up"]
    assert found["python"]["path"] == f"/home/pi/{BASE}/venv/bin/python"
    assert found["device"]["emulated"] == "qemu-user"

    status, said, _ = mnet(pi, "setup", "--device", pi.address)
    assert status == 0
    assert "is set up already" in said
    assert (pi.processes(), pi.temporary_files()) == ([], [])


def test_tflite_runtime_gets_the_numpy_it_was_compiled_for(fresh_pi):
    pi = fresh_pi("setup")
    status, said, error = mnet(pi, "setup", "--device", pi.address, "--engine", "tflite-runtime")
    assert (status, error) == (0, "")
    assert "tflite-runtime 2.14.0, NumPy 1.26.4" in said
    assert imports(pi, "tflite_runtime.interpreter")


@pytest.mark.parametrize("option", ["hide_python", "hide_venv"])
def test_what_python_lacks_is_named_with_the_next_command(fresh_pi, option):
    pi = fresh_pi("setup", **{option: True})
    status, said, error = mnet(pi, "setup", "--device", pi.address)
    assert (status, said) == (3, "")
    assert "sudo apt install python3-venv, then mnet device setup --device" in error
    assert left(pi) is None


def test_an_index_that_is_out_of_reach_leaves_nothing(fresh_pi):
    pi = fresh_pi("setup")
    status, said, error = mnet(pi, "setup", "--device", pi.address, "--engine", "tflite-runtime", "--online")
    assert (status, said) == (3, "")
    assert "--offline sends the wheels from here" in error
    assert left(pi) is None


def has(pi, beginning):
    return any(name.startswith(beginning) for name in left(pi) or [])


@pytest.mark.parametrize(
    ("while_", "what", "status"),
    [("wheels.", "interrupt", 130), ("venv", "session", 3), ("venv", "link", 3)],
)
def test_what_cuts_a_setup_off_leaves_nothing_on_the_device(fresh_pi, while_, what, status):
    pi = fresh_pi("setup")
    command = [sys.executable, "-c", MNET, "device", "setup", "--offline", "--engine", "tflite-runtime"]
    environment = {**os.environ, "MNET_SSH_CONFIG": str(pi.ssh_config)}
    with subprocess.Popen(
        [*command, "--device", pi.address],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        env=environment,
    ) as process:
        wait_until(lambda: has(pi, while_))
        if what == "interrupt":
            process.send_signal(signal.SIGINT)
        elif what == "session":
            pi.kill_sessions()
        else:
            pi.link_down()
        _, said = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == status
    assert said.splitlines()[-1].startswith("mnet: ")
    pi.link_up()
    wait_until(lambda: pi.processes() == [])
    assert (left(pi), pi.temporary_files()) == (None, [])


def wait_until(condition):
    """Wait for something that the device does by itself; the time limit of the test ends it."""
    while not condition():
        time.sleep(0.2)


def test_the_list_tells_what_answers(fresh_pi):
    pi = fresh_pi("setup")
    status, said, _ = mnet(pi, "list", "--json")
    devices = {device["address"]: device for device in json.loads(said)["devices"]}
    assert status == 0
    assert devices["local:"]["answers"] is True
    assert devices[f"ssh://{pi.name}"]["server"].startswith("OpenSSH_9.2")
    pi.link_down()
    said = json.loads(mnet(pi, "list", "--json")[1])
    assert [device["answers"] for device in said["devices"] if device["address"] == f"ssh://{pi.name}"] == [False]
