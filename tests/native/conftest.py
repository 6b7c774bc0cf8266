from pathlib import Path

import pytest
from elf_files import elf_bytes
from wheel_files import write_wheel

from mnet_deploy.runners.native import engine_library, sysroot

GLIBC = tuple(f"GLIBC_2.{minor}" for minor in (17, 28, 34))
ENGINE_NEEDS = {"libc.so.6": ("GLIBC_2.34",), "libstdc++.so.6": ("GLIBCXX_3.4.30",)}
LITERT = elf_bytes(soname="libLiteRt.so", needed=("libm.so.6", "libstdc++.so.6", "libc.so.6"), needs=ENGINE_NEEDS)
ONNXRUNTIME = elf_bytes(soname="libonnxruntime.so.1", needed=("libdl.so.2", "libc.so.6", "ld-linux-aarch64.so.1"))
RELEASE = b"GNU C Library (Debian GLIBC 2.36-8) stable release version 2.36.\n"
# As Debian's packages for cross compiling have them, with others that nobody asks for.
SYSTEM = {
    "ld-linux-aarch64.so.1": elf_bytes(soname="ld-linux-aarch64.so.1", defines=GLIBC) + RELEASE,
    "libc.so.6": elf_bytes(soname="libc.so.6", needed=("ld-linux-aarch64.so.1",), defines=GLIBC) + RELEASE,
    "libm.so.6": elf_bytes(soname="libm.so.6", needed=("libc.so.6",), defines=GLIBC),
    "libdl.so.2": elf_bytes(soname="libdl.so.2", needed=("libc.so.6",), defines=GLIBC),
    "libgcc_s.so.1": elf_bytes(soname="libgcc_s.so.1", needed=("libc.so.6",), defines=("GCC_3.0",)),
    "libstdc++.so.6": elf_bytes(
        soname="libstdc++.so.6",
        needed=("libm.so.6", "libgcc_s.so.1"),
        needs={"libgcc_s.so.1": ("GCC_3.0",)},
        defines=("GLIBCXX_3.4", "GLIBCXX_3.4.30"),
    ),
    "libutil.so.1": elf_bytes(soname="libutil.so.1", needed=("libc.so.6",)),
}
RUNNER = elf_bytes(interpreter="/lib/ld-linux-aarch64.so.1", needed=("libc.so.6",), needs={"libc.so.6": GLIBC[:1]})


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """Nothing of this machine is found, and nothing is left on it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("MNET_ARM64_SYSROOT", raising=False)
    monkeypatch.setattr(sysroot, "_HERE", ())
    return tmp_path / "cache/mnet-deploy"


@pytest.fixture
def runner(tmp_path, cache):
    path = tmp_path / "built-runner"
    path.write_bytes(RUNNER)
    return path


def write_system(folder, files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture
def system(tmp_path, monkeypatch, cache):
    """A folder with the libraries of a 64-bit ARM Linux, named in the environment."""
    folder = write_system(tmp_path / "sysroot", SYSTEM)
    monkeypatch.setenv("MNET_ARM64_SYSROOT", str(folder))
    return folder


@pytest.fixture
def index(monkeypatch, cache):
    """A package index with the two wheels; tests change `files` and look at `asked`."""
    index = Index()
    monkeypatch.setattr(engine_library, "pip_download", index.download)
    return index


class Index:
    def __init__(self):
        self.asked = []
        self.files = {
            "ai-edge-litert": {"ai_edge_litert/libLiteRt.so": LITERT},
            "onnxruntime": {"onnxruntime/capi/libonnxruntime.so.1.31.1": ONNXRUNTIME},
        }
        self.record = None

    def download(self, requirements, target, folder, deadline, **words):
        [requirement] = requirements
        package, _, version = requirement.partition("==")
        self.asked.append((requirement, target, words["dependencies"]))
        name = f"{package.replace('-', '_')}-{version}-cp311-cp311-manylinux_2_28_aarch64.whl"
        return (write_wheel(Path(folder) / name, self.files[package], record=self.record),)
