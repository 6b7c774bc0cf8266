"""Our wheel, installed on a Raspberry Pi without any of the libraries that only the desk needs, measures there, too."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from device_tests.mnet_runs import ONE_BLOCK

pytestmark = [pytest.mark.emulated_only, pytest.mark.timeout(900)]
ROOT = Path(__file__).resolve().parent.parent
INSTALLED_FROM = ("pyproject.toml", "README.md", "LICENSE", "mnet_deploy", "converters", "runners", "models")
WHEELS = "/opt/wheels"
ONLY_AT_THE_DESK = ("tensorflow", "keras", "h5py", "PIL", "onnx", "onnxruntime", "safetensors", "matplotlib")
MISSING = f"""\
from importlib.util import find_spec
print([name for name in {ONLY_AT_THE_DESK} if find_spec(name)])
"""
TIMEOUT_S = 280


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Build the wheel from a copy, so that what earlier builds have left in the checkout is not in it."""
    folder = tmp_path_factory.mktemp("wheel")
    copied = folder / "copy"
    copied.mkdir()
    for name in INSTALLED_FROM:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copyfile
        copy(ROOT / name, copied / name)
    command = (sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, copied)
    subprocess.run(command, check=True, timeout=TIMEOUT_S)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def here(pi, wheel, tiny_models):
    """Install it into an environment of its own on the device; return a function that runs a command line there."""
    folder = "/home/pi/wheel-test"

    def run(command, *, status=0):
        done = pi.ssh(f"cd {folder} && {command}", timeout_s=TIMEOUT_S)
        assert done.returncode == status, done.stdout + done.stderr
        return done

    assert pi.ssh(f"mkdir {folder}").returncode == 0
    model = tiny_models[".tflite"]
    for file in (wheel, model, model.with_name(f"{model.name}.json")):
        pi.client.push(file, f"{folder}/{file.name}")
    run("python3 -m venv --without-pip env")
    pip = f"python3 -m pip --python env/bin/python install --quiet --no-compile --no-index --find-links {WHEELS}"
    run(f"{pip} ./{wheel.name} ai-edge-litert")
    yield run
    assert pi.ssh(f"rm -r {folder}").returncode == 0


def test_only_what_is_needed_is_there(here):
    assert here(f'env/bin/python -c "{MISSING}"').stdout == "[]\n"


def test_help(here):
    assert "bench" in here("env/bin/mnet --help").stdout
    assert "--device" in here("env/bin/mnet bench --help").stdout


def test_it_measures_the_device_that_it_runs_on(pi, here, tiny_models):
    model = tiny_models[".tflite"].name
    done = here(f"env/bin/mnet bench {model} --device local: {' '.join(ONE_BLOCK)} --json")
    (one,) = json.loads(done.stdout)["measurements"]
    assert len(one["latency_s"]) >= 2
    assert (one["device"]["address"], one["device"]["model"][:12]) == ("local:", "Raspberry Pi")
    assert (one["engine"]["name"], one["engine"]["delegate"]) == ("ai-edge-litert", "xnnpack")
    assert one["emulated"] == "qemu-user"
    assert one["file"]["model"] is not None  # the sidecar was read
    listed = here("env/bin/mnet results list").stdout.splitlines()
    assert model in listed[-1]
    assert "emulated by qemu-user" in here("env/bin/mnet results show").stdout
    assert (pi.processes(), pi.temporary_files()) == ([], [])


def test_what_is_not_installed_is_named_with_the_remedy(here, tiny_models):
    model = tiny_models[".tflite"].name
    done = here(f"cp {model} other.onnx && env/bin/mnet bench other.onnx", status=3)
    assert done.stderr.splitlines()[-1].endswith("pip install 'mnet-deploy[onnx]'")
