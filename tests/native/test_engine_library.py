"""The engines' libraries: out of wheels that are as expected, out of others, and out of what is installed."""

import platform
import sys
from types import SimpleNamespace

import pytest
from elf_files import elf_bytes
from wheel_files import record_line

from mnet_deploy.child_process import ChildResult
from mnet_deploy.errors import CommandFailed, ResultFormatError, ToolMissing
from mnet_deploy.progress import Progress
from mnet_deploy.runners.elf import read_elf
from mnet_deploy.runners.native import engine_library
from mnet_deploy.runners.native.engine_library import VERSIONS, arm_library, installed_library
from mnet_deploy.runners.setup import wheelhouse
from mnet_deploy.runners.transports.deadline import Deadline

FILES = {"litert": "libLiteRt.so", "onnxruntime": "libonnxruntime.so.1.31.1"}
MEMBER = "ai_edge_litert/libLiteRt.so"


def library(engine="litert"):
    return arm_library(engine, Deadline.after(60), Progress())


@pytest.mark.parametrize("engine", VERSIONS)
def test_the_library_is_taken_out_and_kept(index, cache, engine):
    first = library(engine)
    assert (first.engine, first.version) == (engine, VERSIONS[engine])
    assert first.path == cache / f"native-libraries/{engine}-{VERSIONS[engine]}-aarch64" / FILES[engine]
    assert read_elf(first.path).machine == "aarch64"
    assert sorted(path.name for path in first.path.parent.iterdir()) == sorted(["SHA256SUMS", FILES[engine]])
    assert library(engine) == first
    [(requirement, target, dependencies)] = index.asked
    assert requirement.endswith(f"=={VERSIONS[engine]}")
    assert (target.architecture, dependencies) == ("aarch64", False)


def other_machine(files):
    files[MEMBER] = elf_bytes("x86_64", soname="libLiteRt.so")


def a_program(files):
    files[MEMBER] = elf_bytes(interpreter="/lib/ld-linux-aarch64.so.1")


@pytest.mark.parametrize(
    ("change", "record", "words"),
    [
        (dict.clear, None, "its RECORD does not say what ai_edge_litert/libLiteRt.so is"),
        (None, "", "expected a wheel with ai_edge_litert/libLiteRt.so"),
        (None, f"{MEMBER},sha256=AAAA,10\n", "is not what its RECORD says"),
        (None, record_line(MEMBER, b"another"), "is not what its RECORD says"),
        (None, f"{MEMBER},,\n", "does not say what"),
        (None, f"{MEMBER},sha256=AAAA,{1 << 40}\n", "does not say what"),
        (None, "x" * (2 << 20), "RECORD is too large"),
        (dict.clear, record_line(MEMBER, b""), "expected a wheel with"),
        (other_machine, None, "no library for 64-bit ARM but for x86_64"),
        (a_program, None, "no library for 64-bit ARM"),
    ],
)
def test_a_wheel_that_is_something_else_is_refused(index, cache, change, record, words):
    if change:
        change(index.files["ai-edge-litert"])
    index.record = record
    with pytest.raises(ResultFormatError, match=words) as caught:
        library()
    assert "\n" not in str(caught.value)
    assert not (cache / "native-libraries/litert-2.3.0-aarch64").exists()


def test_a_wheel_that_is_cut_off_is_refused(index, monkeypatch):
    def download(*arguments, **words):
        [wheel] = index.download(*arguments, **words)
        wheel.write_bytes(wheel.read_bytes()[:200])
        return (wheel,)

    monkeypatch.setattr(engine_library, "pip_download", download)
    with pytest.raises(ResultFormatError, match="expected a wheel with"):
        library()


def test_without_a_network_it_says_what_to_do(monkeypatch, cache):
    line = "ERROR: No matching distribution found for ai-edge-litert==2.3.0"

    def run(command, **options):
        assert "--no-deps" in command
        return ChildResult(command=tuple(command), return_code=1, stdout=b"", stderr=f"{line}\n")

    monkeypatch.setattr(wheelhouse, "run_child", run)
    with pytest.raises(CommandFailed, match=r"ai-edge-litert==2\.3\.0 for 64-bit ARM cannot be downloaded here: ERROR"):
        library()


@pytest.mark.skipif(sys.platform != "linux", reason="the packages of other systems bring other files")
@pytest.mark.parametrize("engine", VERSIONS)
def test_the_installed_library_is_one_for_this_machine(engine):
    pytest.importorskip({"litert": "ai_edge_litert", "onnxruntime": "onnxruntime"}[engine])
    found = installed_library(engine)
    assert read_elf(found.path).machine == platform.machine()
    assert found.version in found.path.name or engine == "litert"


@pytest.mark.parametrize(
    ("engine", "version", "words"),
    [
        (
            "litert",
            "2.4.0",
            r"ai-edge-litert 2\.3, which mnet-runner is written for, is not installed here; 2\.4\.0 is",
        ),
        ("litert", "2.3.9", "of this system does not bring it"),
        ("onnxruntime", "1.99.0", r"libonnxruntime\.so\.1\.99\.0 is not installed"),
    ],
)
def test_an_installed_package_that_does_not_do_is_named(monkeypatch, tmp_path, engine, version, words):
    package = SimpleNamespace(version=version, locate_file=lambda name: tmp_path / name)
    monkeypatch.setattr(engine_library.importlib.metadata, "distribution", lambda name: package)
    with pytest.raises(ToolMissing, match=words):
        installed_library(engine)


def test_a_package_that_is_missing_is_named(monkeypatch):
    def missing(name):
        raise engine_library.importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(engine_library.importlib.metadata, "distribution", missing)
    with pytest.raises(ToolMissing, match=r"pip install onnxruntime==1\.31\.1"):
        installed_library("onnxruntime")
