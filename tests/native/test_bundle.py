"""What is brought to each kind of device, and how it is started there."""

import hashlib
import platform
import sys
from pathlib import Path

import pytest
from elf_files import elf_bytes

from mnet_deploy.errors import SpecError
from mnet_deploy.progress import Progress
from mnet_deploy.runners.native import build
from mnet_deploy.runners.native import bundle as bundling
from mnet_deploy.runners.native.bundle import native_bundle
from mnet_deploy.runners.transports.deadline import Deadline

LITERT = "libLiteRt.so"
ONNXRUNTIME = "libonnxruntime.so.1.31.1"
GLIBC = {"ld-linux-aarch64.so.1", "libc.so.6"}
CPP = {"libm.so.6", "libstdc++.so.6", "libgcc_s.so.1"}


@pytest.fixture
def bundle(runner, index):
    def bundle(*engines, target="phone"):
        return native_bundle(engines, target=target, runner=runner, progress=Progress(), deadline=Deadline.after(60))

    return bundle


@pytest.mark.parametrize(
    ("engines", "expected"),
    [
        (("litert",), {LITERT, *GLIBC, *CPP}),
        (("onnxruntime",), {ONNXRUNTIME, *GLIBC, "libdl.so.2"}),
        (("litert", "onnxruntime"), {LITERT, ONNXRUNTIME, *GLIBC, *CPP, "libdl.so.2"}),
    ],
)
def test_a_phone_gets_all_that_the_loader_will_ask_for(bundle, system, engines, expected):
    made = bundle(*engines)
    assert set(made.files) == {"mnet-runner", *expected}
    assert all(path.is_file() for path in made.files.values())
    assert (made.loader, made.c_library, made.needs_glibc) == ("ld-linux-aarch64.so.1", "glibc 2.36", None)
    assert made.size_bytes == sum(len(path.read_bytes()) for path in made.files.values())


def test_on_a_phone_the_loader_is_started(bundle, system, runner):
    made = bundle("litert", "onnxruntime")
    assert made.runner_sha256 == hashlib.sha256(runner.read_bytes()).hexdigest()
    assert made.argv_prefix("/data/local/tmp/a b") == [
        "/data/local/tmp/a b/ld-linux-aarch64.so.1",
        *("--library-path", "/data/local/tmp/a b", "/data/local/tmp/a b/mnet-runner"),
        *("--library", f"litert=/data/local/tmp/a b/{LITERT}", "--library-version", "litert=2.3.0"),
        *("--library", f"onnxruntime=/data/local/tmp/a b/{ONNXRUNTIME}", "--library-version", "onnxruntime=1.31.1"),
    ]


def test_a_pi_gets_no_c_library(bundle, monkeypatch):
    made = bundle("litert", target="pi")
    assert set(made.files) == {"mnet-runner", LITERT}
    assert (made.loader, made.c_library, made.needs_glibc) == (None, None, (2, 34))
    assert made.argv_prefix("/tmp/x") == [
        *("/tmp/x/mnet-runner", "--library", f"litert=/tmp/x/{LITERT}", "--library-version", "litert=2.3.0")
    ]


@pytest.mark.skipif(sys.platform != "linux", reason="the packages of other systems bring other files")
def test_this_machine_uses_what_is_installed(bundle, index):
    pytest.importorskip("onnxruntime")
    made = bundle("onnxruntime", target="host")
    assert set(made.files) == {"mnet-runner"}
    assert index.asked == []
    library = made.argv_prefix("/tmp/x")[2].removeprefix("onnxruntime=")
    assert Path(library).is_file()
    assert (made.loader, made.c_library) == (None, None)
    if platform.libc_ver()[0] == "glibc":
        assert (2, 17) <= made.needs_glibc <= (2, 28)


def test_the_files_are_pushed_and_programs_are_executable(bundle, system):
    pushed = {}

    def push(local, *, name=None, executable=False):
        pushed[name] = (local, executable)
        return f"/folder/{name}"

    made = bundle("litert")
    assert made.bring(push, "/folder") == tuple(made.argv_prefix("/folder"))
    assert {name: local for name, (local, _) in pushed.items()} == made.files
    assert {name for name, (_, executable) in pushed.items() if executable} == {"mnet-runner", "ld-linux-aarch64.so.1"}


@pytest.mark.parametrize(("target", "expected"), [("phone", build.ARM64), ("pi", build.ARM64), ("host", build.X86_64)])
def test_the_runner_is_built_for_the_target(runner, index, system, monkeypatch, target, expected):
    built = []

    def build_runner(wanted, *, progress, deadline):
        built.append(wanted)
        return runner

    monkeypatch.setattr(bundling, "build_runner", build_runner)
    monkeypatch.setattr(bundling, "host_target", lambda: build.X86_64)
    monkeypatch.setattr(
        bundling, "installed_library", lambda engine: bundling.arm_library(engine, Deadline.after(60), Progress())
    )
    assert native_bundle(["litert"], target=target, progress=Progress()).files["mnet-runner"] == runner
    assert built == [expected]


@pytest.mark.parametrize(("engines", "target"), [(("tflite-runtime",), "phone"), ((), "phone"), (("litert",), "watch")])
def test_what_cannot_be_bundled_is_refused(bundle, engines, target):
    with pytest.raises(SpecError, match="Received"):
        bundle(*engines, target=target)


def test_a_runner_for_another_machine_is_refused(bundle, runner, system):
    runner.write_bytes(elf_bytes("x86_64"))
    with pytest.raises(SpecError, match="built for x86_64"):
        bundle("litert")
