"""Builds mnet-runner, our C program, with Zig's C compiler, which has the C libraries of its targets with it."""

import hashlib
import platform
import re
import shutil
import sys
from importlib import metadata
from pathlib import Path

from mnet_deploy.child_process import ChildResult, run_child
from mnet_deploy.errors import CommandFailed, SpecError, ToolMissing
from mnet_deploy.progress import Progress
from mnet_deploy.runners.kept_folder import kept_folder
from mnet_deploy.runners.transports.deadline import Deadline

RUNNER = "mnet-runner"
SOURCES = Path(__file__).parent
# The number is the oldest glibc that the program runs with. From 2.34 on it is one library, without libdl and
# libpthread; LiteRT's library needs 2.34 itself.
ARM64 = "aarch64-linux-gnu.2.34"
X86_64 = "x86_64-linux-gnu.2.28"
TIMEOUT_S = 300.0
_TARGET = re.compile(r"(aarch64|x86_64)-linux-gnu\.2\.\d{1,2}")
_FLAGS = (
    "-std=c11",
    "-D_DEFAULT_SOURCE",
    "-O2",
    "-s",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-pthread",
    "-Wl,--build-id=none",
)
_LIBRARIES = ("-ldl", "-lm")
_PACKAGE = "ziglang"


def host_target() -> str:
    """Return the target for this machine.

    Raises:
        SpecError: the program cannot run here.
    """
    machine = platform.machine()
    if sys.platform != "linux" or platform.libc_ver()[0] != "glibc" or machine not in ("aarch64", "x86_64"):
        raise SpecError(f"{RUNNER} runs on Linux with glibc, x86_64 or aarch64. Received: {sys.platform} {machine}")
    return X86_64 if machine == "x86_64" else ARM64


def build_runner(target: str, *, progress: Progress | None = None, deadline: Deadline | None = None) -> Path:
    """Return the program, built for a target; it is kept for the next time.

    Args:
        target: as Zig names it, with the oldest glibc: `ARM64`, `X86_64` or one like them.
        progress: shows that it is built.
        deadline: for all of it; None is a generous one.

    Raises:
        SpecError: a target of another form, or the program cannot be kept.
        ToolMissing: the compiler is not installed.
        CommandFailed: it failed.
        CommandTimeout: it did not end in time.
    """
    if not _TARGET.fullmatch(target):
        raise SpecError(f"a target is one like {ARM64} or {X86_64}. Received: {target}")
    deadline = deadline or Deadline.after(TIMEOUT_S)
    name = f"native-runner/{target}-{_digest(target, _compiler_version())[:16]}"
    return kept_folder(name, lambda folder: _build(target, folder, progress or Progress(), deadline), deadline) / RUNNER


def _compiler_version() -> str:
    try:
        return metadata.version(_PACKAGE)
    except metadata.PackageNotFoundError:
        raise ToolMissing(
            _PACKAGE, "a C compiler is needed to build what runs on the device: pip install 'mnet-deploy[android]'"
        ) from None


def _digest(target: str, compiler_version: str) -> str:
    """Return a digest of all that the program depends on."""
    digest = hashlib.sha256(repr((target, compiler_version, _FLAGS, _LIBRARIES)).encode())
    for path in sorted(SOURCES.glob("*.[ch]")):
        digest.update(f"{path.name} {path.stat().st_size}\n".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _build(target: str, folder: Path, progress: Progress, deadline: Deadline) -> None:
    sources = [str(path) for path in sorted(SOURCES.glob("*.c"))]
    made, zig_cache = folder / RUNNER, folder / "zig"  # the latter has 25 MB and saves few seconds: not kept
    command = [sys.executable, "-m", _PACKAGE, "cc", "-target", target, *_FLAGS, f"-ffile-prefix-map={SOURCES}=."]
    progress.stage(f"building {RUNNER} for {target}")
    try:
        end = run_child(
            [*command, *sources, "-o", str(made), *_LIBRARIES],
            timeout_s=deadline.remaining_s,
            environment={"ZIG_LOCAL_CACHE_DIR": str(zig_cache), "ZIG_GLOBAL_CACHE_DIR": str(zig_cache)},
        )
    finally:
        shutil.rmtree(zig_cache, ignore_errors=True)
        progress.done()
    if end.return_code != 0 or not made.is_file():
        raise _failure(end, target)


def _failure(end: ChildResult, target: str) -> CommandFailed:
    errors = [line for line in end.stderr.splitlines() if "error:" in line]
    detail = (errors or [end.last_line])[0]
    return CommandFailed(
        f"{RUNNER} could not be built for {target} ({end.ending}): {detail}; try another version of {_PACKAGE}",
        command=end.command,
        return_code=end.return_code,
        output=end.stderr,
    )
