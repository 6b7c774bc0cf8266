"""Reading ELF files: those of this machine, made ones of each kind, and broken ones."""

import platform
import random
import struct
import sys
from pathlib import Path

import pytest
from elf_files import elf_bytes

from mnet_deploy.errors import SpecError
from mnet_deploy.runners.elf import newest_glibc, read_elf
from mnet_deploy.runners.program_fit import require_runs_on

MUTATIONS = 1_000
LIBRARY = {
    "needed": ("libm.so.6", "libc.so.6"),
    "soname": "libengine.so.1",
    "needs": {"libm.so.6": ("GLIBC_2.29",), "libc.so.6": ("GLIBC_2.17", "GLIBC_2.34", "GLIBC_PRIVATE")},
    "defines": ("VERS_1.0", "VERS_2.0"),
}


@pytest.fixture
def write(tmp_path):
    def write(content, name="program"):
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return write


@pytest.mark.skipif(sys.platform != "linux", reason="its programs are no ELF files")
def test_the_python_that_runs_this():
    elf = read_elf(Path(sys.executable).resolve())
    assert elf.machine == platform.machine()
    assert elf.bits == struct.calcsize("P") * 8
    assert "ld-" in elf.interpreter
    assert any(name.startswith("libc.") for name in elf.needed)
    if platform.libc_ver()[0] == "glibc":
        assert (2, 0) < elf.needs_glibc <= tuple(int(part) for part in platform.libc_ver()[1].split(".")[:2])


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("machine", ["aarch64", "arm", "x86_64", "i386", "machine 8"])
def test_all_that_is_asked_for(write, machine, bits):
    elf = read_elf(write(elf_bytes(machine, bits=bits, interpreter="/system/bin/linker64", **LIBRARY)))
    assert (elf.machine, elf.bits, elf.interpreter) == (machine, bits, "/system/bin/linker64")
    assert (elf.needed, elf.soname) == (LIBRARY["needed"], LIBRARY["soname"])
    assert elf.version_needs == LIBRARY["needs"]
    assert elf.version_definitions == LIBRARY["defines"]
    assert elf.needs_glibc == (2, 34)


def test_a_static_program_has_none_of_it(write):
    elf = read_elf(write(elf_bytes("aarch64", kind=2)))
    assert (elf.interpreter, elf.needed, elf.soname, elf.version_needs, elf.needs_glibc) == (None, (), None, {}, None)


@pytest.mark.parametrize(
    ("versions", "expected"),
    [
        ([], None),
        (["GLIBCXX_3.4.30", "GLIBC_PRIVATE", "GLIBC_ABI_DT_RELR"], None),
        (["GLIBC_2.9", "GLIBC_2.34", "GLIBC_2.4"], (2, 34)),
        (["GLIBC_2.2.5"], (2, 2)),
    ],
)
def test_the_newest_glibc_is_found_by_number(versions, expected):
    assert newest_glibc(versions) == expected


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "an empty file"),
        (b"#!/bin/sh\n", "a script"),
        (b"MZ\x90\0", "a Windows program"),
        (b"\xcf\xfa\xed\xfe\x0c\0\0\1", "a macOS program"),
        (b"PK\x03\x04\x14", "a zip archive or an APK"),
        (b"\n<!DOCTYPE html>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"TFL3", "a file of another kind"),
        (b"\x7fELF", "cut off"),
        (b"\x7fELF\x02\x01\x01", "cut off"),
        (elf_bytes("aarch64")[:70], "cut off"),
        (elf_bytes("aarch64", **LIBRARY)[:-40], "cut off"),
        (elf_bytes("aarch64", kind=1), "an object file"),
        (elf_bytes("aarch64", kind=4), "another kind"),
        (elf_bytes("aarch64", order=2), "big-endian"),
    ],
)
def test_what_is_no_program_is_named(write, content, words):
    with pytest.raises(SpecError) as caught:
        read_elf(write(content))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_folders_and_missing_files_are_named(tmp_path):
    with pytest.raises(SpecError, match="Received: a folder"):
        read_elf(tmp_path)
    with pytest.raises(SpecError, match="nothing of that name"):
        read_elf(tmp_path / "benchmark_model")


def test_names_that_would_spoil_a_terminal_are_refused(write):
    with pytest.raises(SpecError, match="a name in it is none"):
        read_elf(write(elf_bytes("aarch64", needed=("lib\x1b[2Jc.so",))))


@pytest.mark.parametrize("bits", [32, 64])
def test_broken_files_are_refused_in_one_line(write, bits):
    # Numbers as they break counts, offsets and sizes, at random places; more often where tables begin.
    whole = elf_bytes("aarch64", bits=bits, interpreter="/system/bin/linker64", **LIBRARY)
    chance = random.Random(7)
    refused = []
    for _ in range(MUTATIONS):
        broken = bytearray(whole)
        for _ in range(chance.randint(1, 4)):
            value = chance.choice([0, 1, 0x7F, 0xFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, chance.getrandbits(32)])
            at = chance.randrange(16, len(broken) - 4)
            struct.pack_into(chance.choice(["<I", ">I"]), broken, at, value)
        if chance.random() < 0.1:
            del broken[chance.randrange(len(broken)) :]
        try:
            read_elf(write(bytes(broken)))
        except SpecError as error:
            refused.append(str(error))
    assert 0 < len(refused) < MUTATIONS
    assert [line for line in refused if "\n" in line] == []


def test_endless_tables_are_given_up(write):
    versions = tuple(f"GLIBC_2.{number}" for number in range(5_000))
    with pytest.raises(SpecError, match="more than 5000 versions of symbols"):
        read_elf(write(elf_bytes("aarch64", needs={"libc.so.6": versions})))


@pytest.mark.parametrize(
    ("machine", "bits", "abis", "words"),
    [
        (
            "x86_64",
            64,
            ("arm64-v8a",),
            "64-bit x86_64; this phone runs arm64-v8a; take the build named android_aarch64",
        ),
        ("aarch64", 64, ("armeabi-v7a", "armeabi"), "runs armeabi-v7a, armeabi; take the build named android_arm"),
        ("arm", 32, ("arm64-v8a",), "built for 32-bit arm (armeabi-v7a)"),
        ("machine 8", 32, ("riscv64",), "32-bit machine 8; this phone runs riscv64; take a build for Android"),
    ],
)
def test_a_program_for_another_phone_is_refused(write, machine, bits, abis, words):
    elf = read_elf(write(elf_bytes(machine, bits=bits, interpreter="/system/bin/linker64"), "benchmark_model"))
    with pytest.raises(SpecError) as caught:
        require_runs_on(elf, abis=abis)
    assert str(caught.value).startswith("benchmark_model is built for ")
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("machine", "bits", "interpreter", "abis"),
    [
        ("aarch64", 64, "/system/bin/linker64", ("arm64-v8a", "armeabi-v7a")),
        ("arm", 32, "/system/bin/linker", ("arm64-v8a", "armeabi-v7a", "armeabi")),
        ("aarch64", 64, None, ("arm64-v8a",)),
        ("aarch64", 64, "/system/bin/linker64", ()),
        ("x86_64", 64, "/system/bin/linker64", ("x86_64", "arm64-v8a")),
    ],
)
def test_a_program_for_the_phone_passes(write, machine, bits, interpreter, abis):
    require_runs_on(read_elf(write(elf_bytes(machine, bits=bits, interpreter=interpreter))), abis=abis)


def test_a_program_for_linux_on_computers_is_refused(write):
    elf = read_elf(write(elf_bytes("aarch64", interpreter="/lib/ld-linux-aarch64.so.1"), "benchmark_model"))
    with pytest.raises(SpecError, match=r"built for Linux on computers: /lib/ld-linux-aarch64\.so\.1 starts it"):
        require_runs_on(elf, abis=("arm64-v8a",))
