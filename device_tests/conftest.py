"""Fixtures of the device tests: a stand-in Raspberry Pi and phone, or a real one given with --device."""

import importlib.util
import shutil
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
DOWNLOAD_S = 250.0
sys.path.insert(0, str(ROOT))  # this folder is not installed: it is imported as `device_tests` from the repository

from device_tests.emulated_phone import files
from device_tests.emulated_phone.emulated_phone import AdbServer, EmulatedPhone
from device_tests.emulated_pi import build
from device_tests.emulated_pi.emulated_pi import EmulatedPi
from device_tests.emulated_pi.host import StandInError
from device_tests.mnet_runs import MNET
from device_tests.phone_runs import PhoneRun
from device_tests.real_phone import RealPhone, UsersAdbServer
from device_tests.real_pi import RealPi
from device_tests.reference_runner import build as reference_runner
from mnet_deploy.progress import Progress
from mnet_deploy.runners.native.bundle import PHONE, native_bundle
from mnet_deploy.runners.native.engine_library import arm_library
from mnet_deploy.runners.transports.deadline import Deadline


def pytest_addoption(parser):
    group = parser.getgroup("device")
    group.addoption(
        "--device",
        metavar="ADDRESS",
        help="a real device instead of the stand-ins: ssh://[USER@]HOST[:PORT], or adb://[SERIAL], a phone",
    )
    group.addoption("--device-python", default="python3", help="its Python with the engines (default: %(default)s)")


def pytest_configure(config):
    config.addinivalue_line("markers", "emulated_only: what a real device cannot be put through")
    config.addinivalue_line("markers", "armhf: starts a 32-bit stand-in, whose files are built beforehand")


def pytest_collection_modifyitems(config, items):
    """Skip what needs the stand-in where the device is real."""
    if not config.getoption("--device"):
        return
    for item in items:
        if item.get_closest_marker("emulated_only") or {"fresh_pi", "fresh_phone"} & set(item.fixturenames):
            item.add_marker(pytest.mark.skip(reason="needs the stand-in, and --device gives a real one"))


def pytest_collection_finish(session):
    """Build the stand-in's files before the first test: that takes minutes, and tests have a time limit."""
    config = session.config
    needed = any({"pi", "fresh_pi"} & set(item.fixturenames) for item in session.items)
    if not needed or config.getoption("--device") or config.getoption("collectonly"):
        return
    with config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        try:
            build.rootfs()
            if any(item.get_closest_marker("armhf") for item in session.items):
                build.rootfs("armhf")
        except StandInError as error:
            pytest.exit(str(error), returncode=3)


@pytest.fixture(scope="session")
def pi(pytestconfig):
    """A running Raspberry Pi 4 for all tests that leave it as they found it."""
    address = pytestconfig.getoption("--device")
    if address and not address.startswith("ssh://"):
        pytest.skip("needs a Raspberry Pi, and --device gives another device: --device ssh://[USER@]HOST[:PORT]")
    if address:
        yield RealPi(address, pytestconfig.getoption("--device-python"))
    else:
        with EmulatedPi("pi4") as started:
            yield started


@pytest.fixture
def fresh_pi():
    """Start stand-ins for one test: `fresh_pi(**options of EmulatedPi)`."""
    with ExitStack() as stack:
        yield lambda name="fresh", **options: stack.enter_context(EmulatedPi(name, **options))


def adb_of(name):
    """Return an adb executable: Debian's, or the newer one that the package adbutils brings."""
    files.rootfs()  # which installs Debian's
    if name == "on PATH":
        return Path(shutil.which("adb"))
    package = importlib.util.find_spec("adbutils")
    if package is None:
        pytest.skip("needs the package adbutils")
    return Path(package.submodule_search_locations[0]) / "binaries" / "adb"


@pytest.fixture(scope="module", params=["on PATH", "of adbutils"])
def adb_server(request):
    """Run an adb server for stand-in phones alone; a real phone has the user's own."""
    if address := request.config.getoption("--device"):
        if not address.startswith("adb://"):
            pytest.skip("needs a phone, and --device gives another device: --device adb://[SERIAL]")
        yield UsersAdbServer()
        return
    with AdbServer(adb_of(request.param)) as started:
        yield started


@pytest.fixture
def fresh_phone(adb_server):
    """Start stand-in phones for one test: `fresh_phone(**options of EmulatedPhone)`."""
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(EmulatedPhone(adb_server, **options))


@pytest.fixture
def phone(request, adb_server):
    """A running phone, real or not."""
    if address := request.config.getoption("--device"):
        return RealPhone(address, adb_server)
    return request.getfixturevalue("fresh_phone")()


@pytest.fixture
def adb_environment(adb_server, monkeypatch):
    """Lead our own adb to that server, and no further."""
    monkeypatch.delenv("ANDROID_SERIAL", raising=False)
    monkeypatch.setenv("MNET_ADB", str(adb_server.adb))
    for name, value in adb_server.environment.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory):
    """Return {suffix: file} of a small int8 model, as .tflite (int8 in and out) and .onnx (float in and out)."""
    folder = tmp_path_factory.mktemp("tiny")
    options = ("--weights", "random", "--alpha", "0.25", "--resolution", "64", "--classes", "10")
    formats = ("--format", "tflite,onnx", "--precision", "int8", "--calibration-count", "10")
    command = (sys.executable, "-c", MNET, "export", *options, *formats, "--effort", "fast")
    subprocess.run([*command, "--out", str(folder)], check=True, timeout=250)
    return {suffix: next(folder.glob(f"*{suffix}")) for suffix in (".tflite", ".onnx")}


@pytest.fixture(scope="session")
def phone_bundle():
    """Build and fetch what mnet brings to phones, which takes a while the first time."""
    pytest.importorskip("ziglang")
    return native_bundle(["litert"], target=PHONE, progress=Progress())


@pytest.fixture
def bench_phone(tmp_path, tiny_models, phone_bundle, adb_server):
    """Return a function that starts `mnet bench` with the tiny .tflite on a phone: `bench_phone(phone, *options)`."""
    started = []

    def start_one(phone, *options, verb="bench", device=None, file=None):
        folder = tmp_path / f"run{len(started)}"
        folder.mkdir()
        words = (verb, file or tiny_models[".tflite"], "--device", device or phone.address, *options)
        started.append(PhoneRun(folder, *words, server=adb_server))
        return started[-1]

    yield start_one
    for run in started:
        run.__exit__()


@pytest.fixture(scope="session")
def phone_tools(tmp_path_factory, phone_bundle):
    """Return {what it is: the stand-in's benchmark_model, with a library beside it}."""
    right, other, host = (tmp_path_factory.mktemp(name) for name in ("right", "other", "host"))
    shutil.copy(reference_runner.build(right), other)
    shutil.copy(arm_library("litert", Deadline.after(DOWNLOAD_S), Progress()).path, right)
    reference_runner.other_library(other)
    shutil.copy(sys.executable, host / "benchmark_model")
    folders = {"right": right, "of two versions": other, "for this machine": host}
    return {name: folder / "benchmark_model" for name, folder in folders.items()}
