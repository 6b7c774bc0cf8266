"""The C library that is brought to phones: from a named folder, this machine, and Debian's packages."""

import os
import shutil
import subprocess

import pytest
from elf_files import elf_bytes

from mnet_deploy.errors import CommandFailed, SpecError, ToolMissing
from mnet_deploy.progress import Progress
from mnet_deploy.runners.native import sysroot
from mnet_deploy.runners.native.sysroot import PACKAGES, arm_libraries
from mnet_deploy.runners.transports.deadline import Deadline

ONLY_C = {"ld-linux-aarch64.so.1", "libc.so.6"}
WITH_CPP = {*ONLY_C, "libm.so.6", "libstdc++.so.6", "libgcc_s.so.1"}


@pytest.fixture
def engine(tmp_path):
    path = tmp_path / "libLiteRt.so"
    path.write_bytes(elf_bytes(needed=("libstdc++.so.6", "libc.so.6"), needs={"libstdc++.so.6": ("GLIBCXX_3.4.30",)}))
    return path


def libraries(*programs):
    return arm_libraries(programs, Deadline.after(60), Progress())


def test_what_is_needed_is_followed_from_library_to_library(system, runner, engine):
    assert set(libraries(runner).files) == ONLY_C
    found = libraries(runner, engine)
    assert set(found.files) == WITH_CPP
    assert found.c_library == "glibc 2.36"
    assert found.origin == f"MNET_ARM64_SYSROOT={system}"
    assert found.files["libc.so.6"] == system / "libc.so.6"


def test_what_is_brought_already_is_not_looked_for(system, engine, tmp_path):
    other = tmp_path / "libother.so"
    other.write_bytes(elf_bytes(needed=("libLiteRt.so", "libc.so.6")))
    assert set(libraries(other, engine).files) == WITH_CPP


@pytest.mark.parametrize(
    "place", ["lib/aarch64-linux-gnu", "usr/lib/aarch64-linux-gnu", "lib", "usr/lib64", "usr/aarch64-linux-gnu/lib"]
)
def test_a_root_of_a_system_does_as_well(system, runner, tmp_path, monkeypatch, place):
    root = tmp_path / "root"
    (root / place).parent.mkdir(parents=True)
    shutil.move(system, root / place)
    monkeypatch.setenv("MNET_ARM64_SYSROOT", str(root))
    assert libraries(runner).files["libc.so.6"] == root / place / "libc.so.6"


def test_links_are_followed_inside_the_root_only(system, runner, tmp_path):
    (system / "libc.so.6").rename(system / "libc-2.36.so")
    (system / "libc.so.6").symlink_to("libc-2.36.so")
    assert libraries(runner).files["libc.so.6"] == system / "libc-2.36.so"
    (system / "libc-2.36.so").rename(tmp_path / "libc-2.36.so")
    (system / "libc.so.6").unlink()
    (system / "libc.so.6").symlink_to(tmp_path / "libc-2.36.so")
    with pytest.raises(SpecError, match=r"libc\.so\.6 for 64-bit ARM is not in it"):
        libraries(runner)


def remove(name):
    return lambda folder: (folder / name).unlink()


def replace_with(name, content):
    return lambda folder: (folder / name).write_bytes(content)


def older(folder):
    (folder / "libc.so.6").write_bytes((folder / "libc.so.6").read_bytes().replace(b"GLIBC_2.34", b"GLIBC_2.31"))


def a_loop(folder):
    (folder / "libm.so.6").unlink()
    (folder / "libm.so.6").symlink_to("libm.so.6")


def other_release(folder):
    (folder / "libc.so.6").write_bytes((folder / "libc.so.6").read_bytes().replace(b"version 2.36", b"version 2.37"))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (remove("libstdc++.so.6"), "libstdc++.so.6 for 64-bit ARM is not in it"),
        (remove("ld-linux-aarch64.so.1"), "ld-linux-aarch64.so.1 for 64-bit ARM is not in it"),
        (replace_with("libm.so.6", elf_bytes("x86_64")), "libm.so.6 for 64-bit ARM is not in it"),
        (replace_with("libm.so.6", b"/* GNU ld script */"), "libm.so.6 for 64-bit ARM is not in it"),
        (replace_with("libm.so.6", elf_bytes(needed=("/lib/libx.so",))), "needed by a path: /lib/libx.so"),
        (replace_with("libstdc++.so.6", elf_bytes(defines=("GLIBCXX_3.4",))), "needs GLIBCXX_3.4.30"),
        (older, "libother.so needs GLIBC_2.34, and libc.so.6 there is too old for it"),
        (replace_with("libm.so.6", elf_bytes(needed=("x" * 900,))), " for 64-bit ARM is not in it"),
        (a_loop, "libm.so.6 for 64-bit ARM is not in it"),
        (other_release, "are of different versions"),
        (replace_with("libc.so.6", elf_bytes(defines=("GLIBC_2.17", "GLIBC_2.34"))), "does not say which glibc"),
    ],
)  # fmt: skip
def test_a_folder_that_does_not_do_is_refused(system, runner, engine, tmp_path, damage, words):
    other = tmp_path / "libother.so"
    other.write_bytes(elf_bytes(needed=("libc.so.6",), needs={"libc.so.6": ("GLIBC_2.34",)}))
    damage(system)
    with pytest.raises(SpecError) as caught:
        libraries(runner, engine, other)
    assert words in str(caught.value)
    assert str(caught.value).startswith(f"MNET_ARM64_SYSROOT={system}: ")
    assert "such as a copy of /usr/lib/aarch64-linux-gnu" in str(caught.value)


def test_this_machine_is_asked_before_packages_are(system, runner, monkeypatch):
    monkeypatch.delenv("MNET_ARM64_SYSROOT")
    monkeypatch.setattr(sysroot, "_HERE", (system / "nothing", system))
    assert libraries(runner).origin == f"{system} of this machine"


@pytest.fixture
def debian(system, tmp_path, monkeypatch):
    """apt-get and dpkg-deb of a machine whose package index has the libraries, in three packages."""
    monkeypatch.delenv("MNET_ARM64_SYSROOT")
    tools = tmp_path / "tools"
    tools.mkdir()
    write_tool(
        tools / "apt-get",
        f'[ "$1" = download ] && shift 2 && for each; do : >"${{each}}_2.36_all.deb"; done; pwd >>{tmp_path}/asked',
    )
    write_tool(
        tools / "dpkg-deb", f'mkdir -p "$3/usr/aarch64-linux-gnu/lib" && cp {system}/* "$3/usr/aarch64-linux-gnu/lib"'
    )
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    return tools


def write_tool(path, script):
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_packages_are_downloaded_and_unpacked_once(debian, runner, engine, cache, tmp_path):
    found = libraries(runner, engine)
    assert set(found.files) == WITH_CPP
    assert found.origin.startswith(", ".join(PACKAGES))
    assert cache / "arm64-sysroot" in found.files["libc.so.6"].parents
    assert libraries(runner, engine) == found
    assert len((tmp_path / "asked").read_text().splitlines()) == 1
    assert not (found.files["libc.so.6"].parent / "scratch").exists()


def test_packages_that_cannot_be_downloaded_are_named(debian, runner, cache):
    write_tool(
        debian / "apt-get",
        'echo "W: a warning" >&2; echo "E: Unable to locate package libc6-arm64-cross" >&2; exit 100',
    )
    with pytest.raises(CommandFailed, match="E: Unable to locate package libc6-arm64-cross; sudo") as caught:
        libraries(runner)
    assert caught.value.return_code == 100
    assert "\n" not in str(caught.value)
    assert [path.name for path in (cache / "arm64-sysroot").iterdir() if not path.name.endswith(".lock")] == []


def test_packages_that_are_too_old_are_named(debian, runner, engine, system):
    older(system)
    with pytest.raises(
        SpecError, match=r"arm64-cross packages of .* do not do: .*GLIBC_2\.34.*set MNET_ARM64_SYSROOT to a folder"
    ):
        libraries(runner, elf_that_needs(engine.parent, "GLIBC_2.34"))


def elf_that_needs(folder, version):
    path = folder / "libneeds.so"
    path.write_bytes(elf_bytes(needed=("libc.so.6",), needs={"libc.so.6": (version,)}))
    return path


def test_without_apt_it_says_what_to_do(runner, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolMissing, match="apt-get is not installed here; set MNET_ARM64_SYSROOT to a folder"):
        libraries(runner)


def test_real_tools_unpack_a_package(tmp_path, system, runner, debian, monkeypatch):
    # What dpkg-deb makes of a real package, where there is one to make it with.
    real = shutil.which("dpkg-deb", path=os.defpath)
    if real is None:
        pytest.skip("there is no dpkg-deb here")
    package = tmp_path / "package"
    (package / "DEBIAN").mkdir(parents=True)
    (package / "DEBIAN/control").write_text(
        "Package: p\nVersion: 1\nArchitecture: all\nMaintainer: m\nDescription: d\n"
    )
    shutil.copytree(system, package / "usr/aarch64-linux-gnu/lib")
    subprocess.run([real, "--build", package, tmp_path / "p.deb"], check=True, capture_output=True)
    write_tool(debian / "apt-get", f'cp {tmp_path}/p.deb "$PWD"')
    (debian / "dpkg-deb").unlink()
    assert set(libraries(runner).files) == ONLY_C
