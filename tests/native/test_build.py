"""The compiler's part of mnet-runner: what is built, when, and what happens where it cannot be."""

import sys
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

import pytest

from mnet_deploy.child_process import ChildResult
from mnet_deploy.errors import CommandFailed, SpecError, ToolMissing
from mnet_deploy.runners.elf import read_elf
from mnet_deploy.runners.native import build
from mnet_deploy.runners.native.build import ARM64, X86_64, build_runner, host_target

VERSION = "0.17.0"


@pytest.fixture
def compiler(monkeypatch, cache):
    """A compiler that writes what it was asked; tests change `ended` and look at `asked`."""
    compiler = Compiler()
    monkeypatch.setattr(build, "run_child", compiler)
    monkeypatch.setattr(build.metadata, "version", lambda name: compiler.version)
    return compiler


class Compiler:
    def __init__(self):
        self.asked, self.version, self.ended, self.said = [], VERSION, 0, ""

    def __call__(self, command, *, timeout_s, environment):
        self.asked.append(list(command))
        made = command[command.index("-o") + 1]
        if self.ended == 0:
            Path(made).write_bytes(b"program")
        return ChildResult(command=tuple(command), return_code=self.ended, stdout=b"", stderr=self.said)


def test_it_is_built_once_for_each_target(compiler, cache):
    first = build_runner(ARM64)
    assert first.name == "mnet-runner"
    assert first.read_bytes() == b"program"
    assert first.is_relative_to(cache / "native-runner")
    assert build_runner(ARM64) == first
    assert build_runner(X86_64) != first
    assert [command[command.index("-target") + 1] for command in compiler.asked] == [ARM64, X86_64]
    assert compiler.asked[0][:4] == [sys.executable, "-m", "ziglang", "cc"]


def test_another_compiler_or_another_source_builds_it_anew(compiler, monkeypatch, tmp_path):
    first = build_runner(ARM64)
    compiler.version = "0.18.0"
    second = build_runner(ARM64)
    monkeypatch.setattr(build, "SOURCES", tmp_path)
    (tmp_path / "main.c").write_text("int main(void) { return 0; }\n", encoding="utf-8")
    third = build_runner(ARM64)
    (tmp_path / "main.c").write_text("int main(void) { return 1; }\n", encoding="utf-8")
    assert len({first, second, third, build_runner(ARM64)}) == 4


def test_what_was_changed_is_built_anew(compiler):
    build_runner(ARM64).write_bytes(b"something else")
    assert build_runner(ARM64).read_bytes() == b"program"
    assert len(compiler.asked) == 2


def test_a_compiler_that_fails_says_why_and_leaves_nothing(compiler, cache):
    compiler.ended, compiler.said = 1, "main.c:3:1: error: expected expression\n1 error generated.\n"
    with pytest.raises(CommandFailed, match=r"main.c:3:1: error: expected expression; try another version of ziglang"):
        build_runner(ARM64)
    assert [path.name for path in (cache / "native-runner").iterdir() if not path.name.endswith(".lock")] == []


def test_a_missing_compiler_is_named(monkeypatch, cache):
    def missing(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(build.metadata, "version", missing)
    with pytest.raises(ToolMissing, match=r"ziglang is not installed here; .*pip install 'mnet-deploy\[android\]'"):
        build_runner(ARM64)


@pytest.mark.parametrize("target", ["aarch64-linux-musl", "aarch64-linux-gnu", "x86_64-linux-gnu.2.28 -v", ""])
def test_a_target_of_another_form_is_refused(target):
    with pytest.raises(SpecError, match="a target is one like aarch64-linux-gnu"):
        build_runner(target)


@pytest.mark.parametrize(
    ("system", "c_library", "machine", "expected"),
    [("linux", "glibc", "x86_64", X86_64), ("linux", "glibc", "aarch64", ARM64)],
)
def test_this_machine_has_a_target(monkeypatch, system, c_library, machine, expected):
    pretend(monkeypatch, system, c_library, machine)
    assert host_target() == expected


@pytest.mark.parametrize(
    ("system", "c_library", "machine"),
    [("linux", "glibc", "riscv64"), ("linux", "", "x86_64"), ("darwin", "", "arm64")],
)
def test_other_machines_have_none(monkeypatch, system, c_library, machine):
    pretend(monkeypatch, system, c_library, machine)
    with pytest.raises(SpecError, match=f"Received: {system} {machine}"):
        host_target()


def pretend(monkeypatch, system, c_library, machine):
    monkeypatch.setattr(build.sys, "platform", system)
    monkeypatch.setattr(build.platform, "machine", lambda: machine)
    monkeypatch.setattr(build.platform, "libc_ver", lambda: (c_library, "2.36"))


@pytest.mark.skipif(find_spec("ziglang") is None, reason="needs the compiler: pip install ziglang")
def test_for_phones_it_needs_one_library_alone(cache):
    program = read_elf(build_runner(ARM64))
    assert (program.machine, program.bits, program.needed) == ("aarch64", 64, ("libc.so.6",))
    assert (program.needs_glibc or (99, 0)) <= (2, 34)
