"""Ctrl-C, a stop, and two exports at once, each in a process of its own."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

STEM = "mobilenet_v1_0.25_64"
OPTIONS = [
    "--weights",
    "random",
    "--alpha",
    "0.25",
    "--resolution",
    "64",
    "--classes",
    "5",
    "--calibration-count",
    "20",
]
INTERRUPTED = 130
pytestmark = pytest.mark.skipif(not Path("/proc/self/maps").is_file(), reason="needs a /proc file system")


@pytest.fixture
def start(mnet_command, tmp_path):
    """Return a function that starts an export into tmp_path/out/new; its temporary files go to tmp_path/tmp."""
    (tmp_path / "tmp").mkdir()
    started = []

    def run(*options):
        command = [*mnet_command, "export", *OPTIONS, "--out", str(tmp_path / "out" / "new"), *options]
        environment = {**os.environ, "TMPDIR": str(tmp_path / "tmp")}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        started.append(subprocess.Popen(command, env=environment, **pipes))
        return started[-1]

    yield run
    for process in started:
        process.kill()
        process.communicate()


def wait_until(process, happened):
    while not happened():
        assert process.poll() is None, f"ended before: {process.communicate()}"
        time.sleep(0.01)


def loads(library):
    return lambda process, folder: library in Path(f"/proc/{process.pid}/maps").read_text()


def is_locked(process, folder):
    return any(folder.rglob("*.lock"))


def is_converting(process, folder):
    return any((folder / "tmp").iterdir())  # the converter passes the model on through a file


def is_checking(process, folder):
    return any(folder.rglob("*.part"))


LONG = ["--calibration-count", "200"]  # the rest takes seconds
DYNAMIC = ["--precision", "dynamic"]  # TensorFlow's converter


@pytest.mark.parametrize(
    ("options", "phase", "delay_s", "number"),
    [
        ([], loads("onnxruntime"), 0.0, signal.SIGINT),
        ([], is_locked, 0.0, signal.SIGHUP),  # the terminal was closed
        (LONG, is_locked, 0.3, signal.SIGINT),  # it draws images, runs them in float, quantises
        (LONG, is_locked, 1.0, signal.SIGTERM),
        ([], is_checking, 0.0, signal.SIGINT),
        (DYNAMIC, loads("tensorflow"), 0.0, signal.SIGINT),
        (DYNAMIC, is_converting, 1.0, signal.SIGTERM),  # inside the converter's native code
    ],
)
def test_an_interrupt_at_any_time_is_one_line_and_leaves_nothing(start, tmp_path, options, phase, delay_s, number):
    process = start(*options)
    wait_until(process, lambda: phase(process, tmp_path))
    time.sleep(delay_s)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    *notes, last = err.splitlines()
    assert (process.returncode, out, last) == (INTERRUPTED, "", "mnet: interrupted")
    assert all(line.startswith("mnet: dynamic range is slower") for line in notes)  # said as the conversion begins
    assert [path.name for path in tmp_path.rglob("*")] == ["tmp"]


def test_an_impatient_second_interrupt_leaves_nothing_either(start, tmp_path):
    process = start("--precision", "dynamic")
    wait_until(process, lambda: is_converting(process, tmp_path))
    for _ in range(20):
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            time.sleep(0.02)
    process.communicate(timeout=60)
    assert process.returncode != 0
    assert list(tmp_path.glob("out/**/*")) == []


def test_of_two_exports_of_the_same_model_one_succeeds_and_the_other_says_so(start, mnet, tmp_path):
    process = start("--json")
    wait_until(process, lambda: is_locked(process, tmp_path))
    folder = tmp_path / "out" / "new"
    second = mnet("export", *OPTIONS, "--out", folder)
    assert second.status == 2
    assert f"another export is writing {STEM} there" in second.error_line
    third = mnet("export", *OPTIONS, "--alpha", "0.05", "--out", folder)  # another name: it may share the folder
    assert third.status == 0
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert [sidecar["file"] for sidecar in json.loads(out)] == [f"{STEM}_int8.tflite"]
    files = [f"mobilenet_v1_{alpha}_64_int8.tflite" for alpha in ("0.05", "0.25")]
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        [*files, *(f"{name}{beside}" for name in files for beside in (".json", ".goldens.npz"))]
    )


@pytest.mark.parametrize(
    "verb",
    [
        "raise_signal(SIGINT)",
        # As TensorFlow and Keras do in places: an error of their own in its stead, or nothing at all.
        "exec('try: raise_signal(SIGINT)\\nexcept BaseException: raise TypeError')",
        "exec('try: raise_signal(SIGINT)\\nexcept BaseException: pass\\nraise_if_interrupted()')",
    ],
)
def test_an_interrupt_is_one_whatever_a_library_makes_of_it(verb):
    script = f"""
import sys
from signal import SIGINT, raise_signal
from mnet_deploy import cli
from mnet_deploy.interrupts import raise_if_interrupted
cli.VERBS["cost"].run = lambda arguments: {verb}
sys.exit(cli.main(["cost"]))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (INTERRUPTED, "", "mnet: interrupted\n")


def test_an_interrupt_that_is_ignored_stays_ignored():
    # A job that a shell starts in the background ignores Ctrl-C.
    script = (
        "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); from mnet_deploy import cli; cli.main(['cost']); "
    )
    script += "signal.raise_signal(signal.SIGINT)"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, check=False).returncode == 0
