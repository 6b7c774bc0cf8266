"""The C libraries of the engines, as their Python packages bring them: for 64-bit ARM, and for this machine."""

import csv
import hashlib
import importlib.metadata
import io
import zipfile
import zlib
from base64 import urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from mnet_deploy.errors import ResultFormatError, ToolMissing
from mnet_deploy.measurement.engine_packages import ENGINE_PACKAGES
from mnet_deploy.progress import Progress
from mnet_deploy.runners.elf import read_elf
from mnet_deploy.runners.kept_folder import kept_folder
from mnet_deploy.runners.setup.wheel_table import WHEELS, Wheel
from mnet_deploy.runners.setup.wheelhouse import pip_download
from mnet_deploy.runners.setup.wheels import WheelTarget
from mnet_deploy.runners.transports.deadline import Deadline

# What mnet-runner is written for. LiteRT's C interface still changes with its minor versions (LiteRtCreateModelFromFile
# got an argument), so that its library has to be of these; ONNX Runtime hands out older interfaces, too.
LITERT_VERSION = "2.3.0"
ONNXRUNTIME_VERSION = "1.31.1"
VERSIONS = {"litert": LITERT_VERSION, "onnxruntime": ONNXRUNTIME_VERSION}
ARCHITECTURE = "aarch64"
_MEMBERS = {"litert": "ai_edge_litert/libLiteRt.so", "onnxruntime": "onnxruntime/capi/libonnxruntime.so.{version}"}
_LARGEST_BYTES = 256 << 20
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineLibrary:
    """The shared library that holds an engine.

    Attributes:
        engine: `litert` or `onnxruntime`.
        version: of the package that it came in.
        path: of the file on this machine.
    """

    engine: str
    version: str
    path: Path


def arm_library(engine: str, deadline: Deadline, progress: Progress) -> EngineLibrary:
    """Return the library for 64-bit ARM, from the wheel of the package index or kept from an earlier time.

    Raises:
        ToolMissing: this Python has no pip.
        CommandFailed: the wheel cannot be downloaded.
        CommandTimeout: the deadline passed.
        ResultFormatError: the wheel is broken, or has no such library.
    """
    version = VERSIONS[engine]

    def make(folder: Path) -> None:
        progress.stage(f"downloading {ENGINE_PACKAGES[engine].package} {version} for 64-bit ARM")
        _take_library(_download(_wheel(engine), folder, deadline), member, folder)

    member = _MEMBERS[engine].format(version=version)
    folder = kept_folder(f"native-libraries/{engine}-{version}-{ARCHITECTURE}", make, deadline)
    return EngineLibrary(engine=engine, version=version, path=folder / Path(member).name)


def installed_library(engine: str) -> EngineLibrary:
    """Return the library of the engine that is installed beside this package.

    Raises:
        ToolMissing: it is not installed, is of another version than mnet-runner needs, or brings no such library.
    """
    package = ENGINE_PACKAGES[engine].package
    try:
        distribution = importlib.metadata.distribution(package)
    except importlib.metadata.PackageNotFoundError:
        raise ToolMissing(package, f"python -m pip install {package}=={VERSIONS[engine]}") from None
    version = distribution.version
    if engine == "litert" and _minor(version) != _minor(LITERT_VERSION):
        raise ToolMissing(
            f"{package} {_minor(LITERT_VERSION)}, which mnet-runner is written for,",
            f"{version} is: python -m pip install {package}=={LITERT_VERSION}",
        )
    path = Path(str(distribution.locate_file(_MEMBERS[engine].format(version=version))))
    if not path.is_file():
        raise ToolMissing(path.name, f"{package} {version} of this system does not bring it; use another engine")
    return EngineLibrary(engine=engine, version=version, path=path)


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


def _wheel(engine: str) -> Wheel:
    """Return the row of the wheel; all its Pythons have the same library."""
    return next(
        wheel
        for wheel in WHEELS
        if (wheel.engine, wheel.version) == (engine, VERSIONS[engine]) and wheel.platform.endswith(f"_{ARCHITECTURE}")
    )


def _download(wheel: Wheel, folder: Path, deadline: Deadline) -> Path:
    requirement = f"{ENGINE_PACKAGES[wheel.engine].package}=={wheel.version}"
    target = WheelTarget(python=wheel.pythons[-1], bits=64, machine=ARCHITECTURE, glibc=wheel.least_glibc)
    found = pip_download(
        [requirement],
        target,
        folder,
        deadline,
        dependencies=False,
        what=f"the libraries of {requirement} for 64-bit ARM",
        advice="connect this machine to the package index for the first time; they are kept",
    )
    if len(found) != 1:
        raise ResultFormatError(f"pip download {requirement}: expected one wheel. Received: {len(found)}")
    return found[0]


def _take_library(wheel: Path, member: str, folder: Path) -> None:
    """Take one file out of a wheel, compare it with the wheel's own record, and remove the wheel."""
    target = folder / Path(member).name
    try:
        with zipfile.ZipFile(wheel) as archive:
            digest, size_bytes = _recorded(archive, member, wheel.name)
            with archive.open(member) as source, target.open("xb") as copy:
                received = _copy(source, copy.write, size_bytes)
    except (zipfile.BadZipFile, zlib.error, csv.Error, KeyError, ValueError, RuntimeError, EOFError) as error:
        raise ResultFormatError(f"{wheel.name}: expected a wheel with {member}. Received: {error}") from None
    if received != digest:
        raise ResultFormatError(f"{wheel.name}: {member} is not what its RECORD says; download it again")
    elf = read_elf(target)
    if (elf.machine, elf.bits, elf.soname is None) != (ARCHITECTURE, 64, False):
        raise ResultFormatError(f"{wheel.name}: {member} is no library for 64-bit ARM but for {elf.machine}")
    wheel.unlink()


def _recorded(archive: zipfile.ZipFile, member: str, wheel: str) -> tuple[str, int]:
    """Return digest and size of a file as the wheel's RECORD has them (the binary distribution format of packages)."""
    name = "-".join(wheel.split("-")[:2]) + ".dist-info/RECORD"
    if archive.getinfo(name).file_size > _CHUNK_BYTES:
        raise ResultFormatError(f"{wheel}: its RECORD is too large")
    with archive.open(name) as file:
        rows = list(csv.reader(io.TextIOWrapper(file, encoding="utf-8", errors="replace")))
    found = [(row[1], int(row[2])) for row in rows if len(row) == 3 and row[0] == member and row[2].isdecimal()]
    if len(found) != 1 or found[0][1] > _LARGEST_BYTES:
        raise ResultFormatError(f"{wheel}: its RECORD does not say what {member} is")
    return found[0]


def _copy(source: IO[bytes], write: Callable[[bytes], int], size_bytes: int) -> str:
    """Copy as many bytes and return their digest in the way of RECORD; more than these end in another digest."""
    digest = hashlib.sha256()
    left = size_bytes + 1
    while left > 0 and (chunk := source.read(min(_CHUNK_BYTES, left))):
        digest.update(chunk)
        write(chunk)
        left -= len(chunk)
    return "sha256=" + urlsafe_b64encode(digest.digest()).decode().rstrip("=")
