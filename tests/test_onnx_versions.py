"""The opset and IR version of our .onnx files, and the oldest engines that `make oldest-engines` tries them in."""

import runpy
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
OLDEST_OF_OPSET_17 = "1.12"  # both the onnx that defines it and the ONNX Runtime that runs it


@pytest.fixture(scope="module")
def versions():
    return pytest.importorskip("mnet_deploy.converters.onnx_nodes", reason="needs the extra onnx", exc_type=ImportError)


@pytest.fixture(scope="module")
def engines(versions):
    pytest.importorskip("onnxruntime", reason="needs the extra onnx")
    return runpy.run_path(str(ROOT / "tools" / "oldest_engines.py"))


def test_the_ir_version_is_the_one_that_came_with_the_opset(versions):
    from onnx import helper

    opset = [helper.make_opsetid("", versions.OPSET)]
    assert helper.find_min_ir_version_for(opset) == versions.IR_VERSION
    (release,) = [row[0] for row in helper.VERSION_TABLE if row[1:3] == (versions.IR_VERSION, versions.OPSET)]
    assert release.rpartition(".")[0] == OLDEST_OF_OPSET_17


def test_the_oldest_engines_are_tried(engines):
    """That of the opset, and the one that the extra of this project's own environment begins with."""
    tried = {engine.onnxruntime.rpartition(".")[0] for engine in engines["ENGINES"]}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (required,) = [
        text for text in project["project"]["optional-dependencies"]["onnx"] if text.startswith("onnxruntime>=")
    ]
    oldest_here = required.removeprefix("onnxruntime>=").partition(",")[0]
    assert {OLDEST_OF_OPSET_17, oldest_here} <= tried


@pytest.mark.parametrize(
    ("version", "numpy"), [("1.12.0", "numpy<2"), ("1.18.1", "numpy<2"), ("1.19.0", "numpy"), ("1.31.1", "numpy")]
)
def test_engines_from_before_numpy_2_get_numpy_1(version, numpy, engines):
    engine = engines["Engine"].parse(f"3.9:{version}")
    assert engine.requirements == (f"onnxruntime=={version}", numpy)


def test_a_python_that_is_not_here_is_skipped_and_said(engines, tmp_path, capsys):
    engine = engines["Engine"].parse("9.99:1.19.2")
    assert engines["_try"](engine, [], tmp_path) is None
    assert capsys.readouterr().out == (
        "Python 9.99, onnxruntime 1.19.2: skipped, there is no python9.99 here (on PATH or in pyenv)\n"
    )
