"""Builds the reference runner for 64-bit ARM and Android's loader, with the C compiler of the package ziglang."""

import subprocess
import sys
from pathlib import Path

from mnet_deploy.runners.native.build import ARM64
from mnet_deploy.runners.native.engine_library import LITERT_VERSION

HERE = Path(__file__).parent
ENGINE = HERE.parents[1] / "runners" / "native"
SOURCES = (
    *(HERE / name for name in ("reference_runner.c", "latencies.c", "result_file.c")),
    *(ENGINE / name for name in ("engine_litert.c", "library.c", "tensor.c", "timing.c")),
)
LOADER = "/system/bin/linker64"
BUILD_TIMEOUT_S = 300
BOUND = "LiteRtCreateModelFromFd"  # by the loader


def build(folder: Path, *, target: str = ARM64, loader: str = LOADER) -> Path:
    """Return the program, called benchmark_model as the tool is."""
    library, program = other_library(folder / "to-link", target=target, symbol=BOUND), folder / "benchmark_model"
    options = (
        "-O2",
        "-std=c11",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-D_DEFAULT_SOURCE",
        f'-DLIBRARY_VERSION="{LITERT_VERSION}"',
        f"-I{ENGINE}",
    )
    link = (f"-Wl,--dynamic-linker={loader}", "-Wl,-z,now", library, "-lm", "-ldl", "-lpthread")
    _compile(target, "-o", program, *options, *SOURCES, *link)
    return program


def other_library(folder: Path, *, target: str = ARM64, symbol: str = "LiteRtOfAnotherVersion") -> Path:
    """Return a libLiteRt.so that has nothing but one function."""
    folder.mkdir(parents=True, exist_ok=True)
    source, library = folder / "library.c", folder / "libLiteRt.so"
    source.write_text(f"int {symbol}(void) {{ return 1; }}\n")
    _compile(target, "-shared", "-fPIC", "-Wl,-soname,libLiteRt.so", "-o", library, source)
    return library


def _compile(target: str, *arguments: object) -> None:
    command = [sys.executable, "-m", "ziglang", "cc", "-target", target, *map(str, arguments)]
    subprocess.run(command, check=True, timeout=BUILD_TIMEOUT_S)
