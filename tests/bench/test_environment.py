"""The program that makes the environment on a device, run here: with wheels made for the test and a real `venv`."""

import ast
import json
import os
import subprocess
import sys
import zipfile
from importlib.resources import files
from pathlib import Path

import pytest

SOURCE = (files("mnet_deploy.runners.on_device") / "environment.py").read_text(encoding="utf-8")
MARKER = "ready.json"
TIMEOUT_S = 120
ENGINE = "import os\n"
WHEEL = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def write_wheel(folder, name, code):
    """Write a wheel with one module."""
    path = folder / f"{name}-1.0-py3-none-any.whl"
    info = f"{name}-1.0.dist-info"
    content = {
        f"{name}.py": code,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{info}/WHEEL": WHEEL,
    }
    record = "".join(f"{entry},,\n" for entry in [*content, f"{info}/RECORD"])
    with zipfile.ZipFile(path, "w") as file:
        for entry, text in {**content, f"{info}/RECORD": record}.items():
            file.writestr(entry, text)
    return path


class Place:
    """A user's folder on a device."""

    def __init__(self, folder):
        self.base = folder / "share" / "mnet-deploy"
        self.venv = self.base / "venv"

    def start(self, *, wheels=True, engine=ENGINE, **changes):
        """Start it and send the wheels."""
        usual = {
            "requirements": ["engine==1.0", "numpy==1.0"],
            "wheels": wheels,
            "system_packages": False,
            "imports": {"litert": "engine"},
            "marker": MARKER,
            "timeout_s": TIMEOUT_S,
        }
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
        environment["TMPDIR"] = str(self.base.parent.parent / "tmp")
        Path(environment["TMPDIR"]).mkdir(exist_ok=True)
        command = [sys.executable, "-c", SOURCE, str(self.venv), json.dumps({**usual, **changes})]
        pipe = subprocess.PIPE
        process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=environment)
        self.first = json.loads(process.stdout.readline())
        if self.first["event"] == "send":
            write_wheel(Path(self.first["folder"]), "numpy", "")
            write_wheel(Path(self.first["folder"]), "engine", engine)
            process.stdin.write("go\n")
            process.stdin.flush()
        return process

    def make(self, **changes):
        """Run it to its end; return (exit status, last event)."""
        process = self.start(**changes)
        lines = process.stdout.read().splitlines()
        errors = process.stderr.read()
        process.stdin.close()
        process.stdout.close()
        process.stderr.close()
        assert errors == ""
        return process.wait(TIMEOUT_S), json.loads(lines[-1]) if lines else self.first

    def left(self):
        """Return what is in its folder, and in that for temporary files."""
        folders = (self.base, self.base.parent.parent / "tmp")
        return sorted(path.name for folder in folders for path in folder.glob("*"))


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


def test_it_runs_on_the_oldest_python():
    ast.parse(SOURCE, feature_version=(3, 9))


def fake_environment(place, *, ready):
    place.venv.mkdir(parents=True)
    (place.venv / "old").touch()
    (place.venv / (MARKER if ready else "mnet-unfinished")).touch()
    (place.base / "wheels.old").mkdir()


def test_an_older_environment_is_replaced_by_a_whole_one(place):
    fake_environment(place, ready=True)
    status, last = place.make()
    assert (status, last["event"]) == (0, "end")
    assert place.left() == ["venv"]
    assert not (place.venv / "old").exists()
    assert json.loads((place.venv / MARKER).read_text())["requirements"] == ["engine==1.0", "numpy==1.0"]
    assert not (place.venv / "mnet-unfinished").exists()
    subprocess.run([last["path"], "-c", "import engine"], check=True)


@pytest.mark.parametrize(
    ("changes", "older", "kind", "said"),
    [
        ({"requirements": ["absent==1.0"]}, False, "pip", "No matching distribution found for absent==1.0"),
        ({"engine": "raise ImportError('no such symbol')"}, True, "import", "ImportError: no such symbol"),
        ({"engine": "import os\nos.kill(os.getpid(), 11)"}, False, "import", "killed by SIGSEGV"),
        ({"timeout_s": 0.3}, False, "time", "did not end in time"),
        ({"timeout_s": 0.3}, True, "time", "did not end in time"),
    ],
)
def test_a_failure_leaves_what_was_there_before(place, changes, older, kind, said):
    if older:
        fake_environment(place, ready=True)
    status, last = place.make(**changes)
    assert (status, last["event"], last["kind"]) == (1, "error", kind)
    assert said in last["message"]
    assert place.left() == ["venv"] * older
    assert (place.venv / "old").exists() is older


@pytest.mark.parametrize("older", [False, True])
def test_what_a_killed_setup_has_left_is_put_right(place, older):
    fake_environment(place, ready=False)
    if older:  # that one had moved it aside
        place.venv.with_name("venv.previous").mkdir()
    assert place.make(timeout_s=0.1)[0] == 1
    assert place.left() == ["venv"] * older
    assert not (place.venv / "old").exists()


def test_a_folder_of_somebody_else_stays(place):
    place.venv.mkdir(parents=True)
    (place.venv / "mine").touch()
    status, last = place.make()
    assert (status, last["kind"]) == (1, "foreign")
    assert (place.venv / "mine").exists()
    assert place.left() == ["venv"]


@pytest.mark.parametrize(("how", "stage"), [("stdin", "loading"), ("SIGTERM", "making")])
def test_it_stops_when_the_link_is_gone(place, how, stage):
    process = place.start(engine="import time\ntime.sleep(600)")
    for line in process.stdout:
        if stage in line:
            break
    if how == "stdin":
        process.stdin.close()
    else:
        process.terminate()
    last = json.loads(process.stdout.readlines()[-1])
    assert (process.wait(TIMEOUT_S), last["kind"]) == (1, "stopped")
    assert place.left() == []
    for stream in (process.stdin, process.stdout, process.stderr):
        stream.close()


def test_two_at_once_do_not_disturb_each_other(place):
    first = place.start(engine="import time\ntime.sleep(2)")
    status, last = place.make()
    assert (status, last["kind"]) == (1, "busy")
    assert json.loads(first.stdout.readlines()[-1])["event"] == "end"
    for stream in (first.stdin, first.stdout, first.stderr):
        stream.close()
    assert first.wait(TIMEOUT_S) == 0
    assert place.left() == ["venv"]
