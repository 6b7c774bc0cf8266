"""What make hands on to `mnet`, with a stand-in for the installed command that prints its arguments."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
OPTIONS = (
    "WEIGHTS",
    "CALIBRATION",
    "LABELS",
    "CLASSES",
    "ALPHA",
    "RESOLUTION",
    "PRECISION",
    "IO",
    "LAYOUT",
    "BATCH",
    "TUNE",
    "OUT",
    "FORCE",
)
CLEAN_ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
CLEAN_ENVIRONMENT = {name: value for name, value in CLEAN_ENVIRONMENT.items() if name not in (*OPTIONS, "DATA")}

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")


@pytest.fixture
def make(tmp_path):
    """Return a function that runs make beside a fake .venv and returns its output lines."""
    for name in ("Makefile", "pyproject.toml", "mnet_deploy/__init__.py", "tools/check_host.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    mnet = tmp_path / ".venv" / "bin" / "mnet"
    mnet.parent.mkdir(parents=True)
    mnet.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    mnet.chmod(0o755)
    for stamp in (".core", ".export", ".train", ".dev"):
        (tmp_path / ".venv" / stamp).touch()

    def run(*arguments, **environment):
        done = subprocess.run(
            ["make", *arguments], cwd=tmp_path, env=CLEAN_ENVIRONMENT | environment, capture_output=True, text=True
        )
        return done.returncode, (done.stdout + done.stderr).splitlines()

    return run


def test_help_is_the_default_and_lists_every_target(make):
    status, lines = make()
    assert status == 0
    targets = {line.split()[1] for line in lines if line.startswith("  make ")}
    for target in (
        "install",
        "export-tflite",
        "export-onnx",
        "cost",
        "test",
        "lint",
        "typecheck",
        "check",
        "wheel-check",
        "bench-self",
    ):
        assert target in targets


def test_export_with_nothing_set_may_be_run_again(make):
    assert make("export-tflite") == (0, ["export", "--format", "tflite", "--out", "exports/default", "--force"])


@pytest.mark.parametrize(
    "value",
    ["my weights.h5", "a'b", 'a"b', "a$b", "$(shell touch made)", "`touch made`", "a;touch made", "*", "-x", "ä"],
)
@pytest.mark.parametrize("given_by", ["argument", "environment"])
def test_values_reach_the_command_as_they_are(make, tmp_path, value, given_by):
    arguments, environment = ([f"WEIGHTS={value}"], {}) if given_by == "argument" else ([], {"WEIGHTS": value})
    assert make("export-tflite", *arguments, **environment) == (
        0,
        ["export", "--format", "tflite", "--weights", value],
    )
    assert not (tmp_path / "made").exists()


def test_every_option_is_handed_on(make):
    _, lines = make("export-onnx", *(f"{name}=x" for name in OPTIONS[:-1]), "FORCE=1")
    expected = [text for name in OPTIONS[:-1] for text in (f"--{name.lower()}", "x")]
    assert lines == ["export", "--format", "onnx", *expected, "--force"]


@pytest.mark.parametrize("force", ["FORCE=", "FORCE=0"])
def test_files_stay_unless_forced(make, force):
    assert make("export-tflite", "OUT=here", force)[1] == ["export", "--format", "tflite", "--out", "here"]


def test_cost_takes_the_model(make):
    assert make("cost", "ALPHA=0.5", "RESOLUTION=160")[1] == ["cost", "--alpha", "0.5", "--resolution", "160"]


def test_an_old_python_is_refused_in_one_line(make, tmp_path):
    old = tmp_path / "python3.9"
    old.write_text("#!/bin/sh\necho 'make: Python 3.11 or newer is needed' >&2\nexit 1\n")
    old.chmod(0o755)
    shutil.rmtree(tmp_path / ".venv")
    status, lines = make("cost", f"PYTHON={old}")
    assert status == 2
    assert lines[0] == "make: Python 3.11 or newer is needed"
    assert not (tmp_path / ".venv").exists()


def test_the_shipped_checkpoint_is_trained_again_by_its_own_recipe(make):
    expected = ["train", "--recipe", "shipped", "--data", "my photos", "--test", "--out", "again", "--force"]
    assert make("train-default", "DATA=my photos", "OUT=again", "FORCE=1") == (0, expected)


def test_training_again_needs_the_photos(make):
    status, lines = make("train-default")
    assert status == 2
    assert "give DATA=" in lines[0]
