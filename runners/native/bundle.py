"""What is brought to a device beside mnet-runner, and how it is started there.

A phone has neither Python nor the C library that the engines' libraries are built for: glibc's loader, its libraries
and the engines' lie beside the runner, and the loader is what is started. With LiteRT 2.3.0 and glibc 2.36 that is
11 MB in all, with ONNX Runtime 1.31.1 30 MB.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from mnet_deploy.errors import SpecError
from mnet_deploy.progress import Progress
from mnet_deploy.runners.device_programs import Push
from mnet_deploy.runners.elf import GlibcVersion, read_elf
from mnet_deploy.runners.native.build import ARM64, RUNNER, build_runner, host_target
from mnet_deploy.runners.native.engine_library import VERSIONS, EngineLibrary, arm_library, installed_library
from mnet_deploy.runners.native.sysroot import LOADER, arm_libraries
from mnet_deploy.runners.transports.deadline import Deadline

PHONE = "phone"  # 64-bit ARM with another C library: brings its own
PI = "pi"  # 64-bit ARM Linux with glibc
HOST = "host"  # this machine
TARGETS = (PHONE, PI, HOST)
TIMEOUT_S = 900.0  # to build and download all


@dataclass(frozen=True, slots=True, kw_only=True)
class NativeBundle:
    """Files that run models on a device without Python.

    Attributes:
        target: what they are for.
        files: by the name that they have on the device, all in one folder, where they lie on this machine.
        libraries: of each engine, where its library lies: a name among `files`, or a path on the host.
        versions: of each engine.
        loader: the file that starts the runner; None where the system's own does.
        c_library: `glibc 2.36` where it is brought, None where it is the device's.
        runner_sha256: of the runner.
    """

    target: str
    files: Mapping[str, Path]
    libraries: Mapping[str, str]
    versions: Mapping[str, str]
    loader: str | None
    c_library: str | None
    runner_sha256: str

    @property
    def size_bytes(self) -> int:
        """Of all files."""
        return sum(path.stat().st_size for path in self.files.values())

    @property
    def needs_glibc(self) -> GlibcVersion | None:
        """The oldest glibc that the device has to have; None if it needs none of its own."""
        if self.loader is not None:
            return None
        return max((needed for path in self._loaded if (needed := read_elf(path).needs_glibc)), default=None)

    @property
    def _loaded(self) -> list[Path]:
        return [*self.files.values(), *(Path(library) for library in self.libraries.values() if "/" in library)]

    def argv_prefix(self, folder: str) -> list[str]:
        """Return what starts the runner in a folder of the device; a command and its options follow."""
        argv = [f"{folder}/{RUNNER}"]
        if self.loader is not None:
            argv = [f"{folder}/{self.loader}", "--library-path", folder, *argv]
        for engine, library in self.libraries.items():
            path = library if library not in self.files else f"{folder}/{library}"
            argv += ["--library", f"{engine}={path}", "--library-version", f"{engine}={self.versions[engine]}"]
        return argv

    def bring(self, push: Push, folder: str) -> tuple[str, ...]:
        """Copy the files into the session's folder, and return what starts the runner there."""
        for name, path in self.files.items():
            push(path, name=name, executable=name in (RUNNER, self.loader))
        return tuple(self.argv_prefix(folder))


def native_bundle(
    engines: Collection[str],
    *,
    target: str = PHONE,
    progress: Progress,
    runner: Path | None = None,
    deadline: Deadline | None = None,
) -> NativeBundle:
    """Gather the files; what has to be downloaded is kept for the next time.

    Args:
        engines: `litert`, `onnxruntime` or both.
        target: one of `TARGETS`.
        progress: shows downloads.
        runner: mnet-runner, built for that; None builds it.
        deadline: for all of it; None is a generous one.

    Raises:
        SpecError: another engine or target, or a C library on this machine that does not do.
        ResultFormatError: a package holds something else than expected.
        DeviceError: the runner cannot be built, or a library is not there and cannot be got.
    """
    _require_known(engines, target)
    deadline = deadline or Deadline.after(TIMEOUT_S)
    if runner is None:
        runner = build_runner(host_target() if target == HOST else ARM64, progress=progress, deadline=deadline)
    if target == HOST:
        return _bundle(target, runner, [installed_library(engine) for engine in engines])
    _require_arm(runner)
    libraries = [arm_library(engine, deadline, progress) for engine in engines]
    if target == PI:
        return _bundle(target, runner, libraries)
    brought = arm_libraries([runner, *(library.path for library in libraries)], deadline, progress)
    return _bundle(target, runner, libraries, brought.files, brought.c_library)


def _require_known(engines: Collection[str], target: str) -> None:
    if not engines or not set(engines) <= set(VERSIONS):
        raise SpecError(f"{RUNNER} runs {' and '.join(VERSIONS)}. Received: {', '.join(engines) or 'no engine'}")
    if target not in TARGETS:
        raise SpecError(f"{RUNNER} is brought to a {', '.join(TARGETS)}. Received: {target}")


def _require_arm(runner: Path) -> None:
    elf = read_elf(runner)
    if (elf.machine, elf.bits) != ("aarch64", 64):
        raise SpecError(f"{runner}: expected {RUNNER} for 64-bit ARM. Received: one built for {elf.machine}")


def _bundle(
    target: str,
    runner: Path,
    libraries: Sequence[EngineLibrary],
    system: Mapping[str, Path] | None = None,
    c_library: str | None = None,
) -> NativeBundle:
    own = {} if target == HOST else {library.path.name: library.path for library in libraries}
    return NativeBundle(
        target=target,
        files={RUNNER: runner, **own, **(system or {})},
        libraries={library.engine: str(library.path) if target == HOST else library.path.name for library in libraries},
        versions={library.engine: library.version for library in libraries},
        loader=LOADER if system else None,
        c_library=c_library,
        runner_sha256=sha256(runner.read_bytes()).hexdigest(),
    )
