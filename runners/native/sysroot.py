"""The C and C++ libraries of a 64-bit ARM Linux, brought to phones because the engines' libraries are built for them.

They come from the first of: the folder that MNET_ARM64_SYSROOT names, this machine (Debian's packages for cross
compiling or of the arm64 architecture), and the packages for cross compiling that apt downloads, which needs no root.
"""

import os
import platform
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mnet_deploy.child_process import run_child
from mnet_deploy.errors import CommandFailed, SpecError, ToolMissing
from mnet_deploy.progress import Progress
from mnet_deploy.runners.elf import ElfFile, read_elf
from mnet_deploy.runners.kept_folder import from_home, kept_folder
from mnet_deploy.runners.transports.deadline import Deadline

VARIABLE = "MNET_ARM64_SYSROOT"
LOADER = "ld-linux-aarch64.so.1"
C_LIBRARY = "libc.so.6"
PACKAGES = ("libc6-arm64-cross", "libgcc-s1-arm64-cross", "libstdc++6-arm64-cross")
HOW_TO_MAKE = (
    f"set {VARIABLE} to a folder with the C and C++ libraries of a 64-bit ARM Linux, such as a copy of "
    "/usr/lib/aarch64-linux-gnu/*.so.* of a 64-bit Raspberry Pi OS 12 or later"
)
# Below a root, or a folder with the libraries themselves.
_PLACES = (
    *(".", "lib/aarch64-linux-gnu", "usr/lib/aarch64-linux-gnu", "lib64", "usr/lib64", "lib", "usr/lib"),
    "usr/aarch64-linux-gnu/lib",
)
_HERE = (Path("/usr/aarch64-linux-gnu"), Path("/"))
_RELEASE = re.compile(rb"release version (\d{1,4}\.\d{1,4})")
_LOADED = re.compile(r".+\.so\.\d+")  # as programs name them
_GET = 'cd "$1" && shift && exec apt-get "$@"'  # it downloads into the folder that it runs in


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmLibraries:
    """Libraries that together need no others.

    Attributes:
        files: by the name that the loader looks for, the loader's own among them.
        c_library: `glibc 2.36`.
        origin: where they come from, in words.
    """

    files: dict[str, Path]
    c_library: str
    origin: str


class _Unfit(Exception):
    """Why a folder's libraries do not do, in words."""


def arm_libraries(programs: Sequence[Path], deadline: Deadline, progress: Progress) -> ArmLibraries:
    """Return all that the programs and libraries need to be loaded, themselves not among them.

    Raises:
        SpecError: the named folder has them not, or not new enough.
        ToolMissing: there is no such folder, and no apt.
        CommandFailed: apt could not download them.
        CommandTimeout: the deadline passed.
    """
    given = [read_elf(path) for path in programs]
    named = os.environ.get(VARIABLE)
    if named:
        try:
            return _collect(given, from_home(named), f"{VARIABLE}={named}")
        except _Unfit as unfit:
            raise SpecError(f"{VARIABLE}={named}: {unfit}; {HOW_TO_MAKE}") from None
    for root in _HERE:
        with suppress(_Unfit):
            return _collect(given, root, f"{root} of this machine")
    return _of_packages(given, deadline, progress)


def _of_packages(given: Sequence[ElfFile], deadline: Deadline, progress: Progress) -> ArmLibraries:
    system = _system()

    def make(folder: Path) -> None:
        progress.stage(f"downloading {', '.join(PACKAGES)}")
        _unpack_packages(folder, deadline)

    folder = kept_folder(f"arm64-sysroot/{system}", make, deadline)
    try:
        return _collect(given, folder, f"{', '.join(PACKAGES)} of {system}")
    except _Unfit as unfit:
        raise SpecError(f"the arm64-cross packages of {system} do not do: {unfit}; {HOW_TO_MAKE}") from None


def _system() -> str:
    """Return what the packages belong to: with another release of the system come newer ones."""
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        release = {}
    words = (release.get("ID", "linux"), release.get("VERSION_ID") or release.get("VERSION_CODENAME", "unknown"))
    return "-".join(re.sub(r"[^\w.]", "", word) for word in words)


def _unpack_packages(folder: Path, deadline: Deadline) -> None:
    """Download the packages with apt, which checks their signatures, and keep their libraries."""
    for tool in ("apt-get", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise ToolMissing(tool, HOW_TO_MAKE)
    scratch = folder / "scratch"
    scratch.mkdir()
    get = ["sh", "-c", _GET, "sh", str(scratch), "download", "-q", *PACKAGES]
    result = run_child(get, timeout_s=deadline.remaining_s, environment={"LC_ALL": "C"})
    if result.return_code != 0:
        errors = [line for line in result.stderr.splitlines() if line.startswith("E:")]
        raise CommandFailed(
            f"apt-get download {' '.join(PACKAGES)}: {(errors or [result.last_line])[0]}; sudo apt-get update may "
            f"help; otherwise {HOW_TO_MAKE}",
            command=("apt-get", *get[5:]),
            return_code=result.return_code,
            output=result.stderr,
        )
    for package in sorted(scratch.glob("*.deb")):
        unpack = ["dpkg-deb", "--extract", str(package), str(scratch / "root")]
        run_child(unpack, timeout_s=deadline.remaining_s).require_success()
    for library in sorted((scratch / "root").glob("usr/aarch64-linux-gnu/lib/*")):
        if _LOADED.fullmatch(library.name):
            shutil.copyfile(library, folder / library.name)
    shutil.rmtree(scratch)


def _collect(given: Sequence[ElfFile], root: Path, origin: str) -> ArmLibraries:
    """Follow what is needed from library to library, as the loader will."""
    found: dict[str, ElfFile] = {}
    waiting = [*given, *(found.setdefault(name, _find(root, name)) for name in (LOADER, C_LIBRARY))]
    brought = {name: elf for elf in given for name in (elf.soname, elf.path.name) if name}
    while waiting:
        elf = waiting.pop()
        for name in elf.needed:
            if name not in found and name not in brought:
                waiting.append(found.setdefault(name, _find(root, name)))
    _require_versions([*given, *found.values()], {**brought, **found})
    release = _release(found[C_LIBRARY])
    if release != _release(found[LOADER]):
        raise _Unfit(f"{LOADER} and {C_LIBRARY} there are of different versions")
    files = {name: elf.path for name, elf in sorted(found.items())}
    return ArmLibraries(files=files, c_library=f"glibc {release}", origin=origin)


def _find(root: Path, name: str) -> ElfFile:
    if "/" in name:
        raise _Unfit(f"a library is needed by a path: {name}")
    for path in _inside(root, name):
        try:
            elf = read_elf(path)
        except SpecError:
            continue  # a script for linkers has such names as well
        if (elf.machine, elf.bits) == ("aarch64", 64):
            return elf
    raise _Unfit(f"{name} for 64-bit ARM is not in it")


def _inside(root: Path, name: str) -> Iterator[Path]:
    """Yield the files of that name; a link out of the root leads to this machine's own libraries."""
    base = root.resolve()
    for place in _PLACES:
        try:
            path = (base / place / name).resolve()
            is_inside = path.is_file() and path.is_relative_to(base)
        except (OSError, RuntimeError):  # it may not be looked at, or is a loop of links
            continue
        if is_inside:
            yield path


def _require_versions(elves: Iterable[ElfFile], by_name: dict[str, ElfFile]) -> None:
    for elf in elves:
        for library, versions in elf.version_needs.items():
            provider = by_name.get(library)
            missing = sorted(set(versions) - set(provider.version_definitions if provider else ()))
            if missing:
                raise _Unfit(f"{elf.path.name} needs {missing[-1]}, and {library} there is too old for it")


def _release(library: ElfFile) -> str:
    """Return glibc's version by what its loader and library say of themselves: not every one has symbols of its own."""
    said = _RELEASE.search(library.path.read_bytes())
    if said is None:
        raise _Unfit(f"{library.path.name} does not say which glibc it is of")
    return said[1].decode()
