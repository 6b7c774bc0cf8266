"""Which `benchmark_model` is used: a file of this machine or one from an address, known by its SHA-256."""

import mmap
import re
from dataclasses import dataclass
from pathlib import Path

from mnet_deploy.errors import SpecError
from mnet_deploy.progress import Progress
from mnet_deploy.runners.benchmark_model.download import (
    Opener,
    digest_of,
    download,
    is_address,
    require_https,
)
from mnet_deploy.runners.benchmark_model.flags import Flavour
from mnet_deploy.runners.elf import ElfFile, read_elf
from mnet_deploy.runners.kept_folder import from_home
from mnet_deploy.terminal import printable

OPTION = "--benchmark-model"
LIBRARY = "libLiteRt.so"
# Where the publishers keep them: LiteRT-CLI, litert_cli/core/constants.py; LiteRT, g3doc/performance/measurement.md.
LITERT_BINARIES = "https://storage.googleapis.com/litert/binaries/VERSION/android_arm64/"
TFLITE_NIGHTLY = (
    "https://storage.googleapis.com/tensorflow-nightly-public/prod/tensorflow/release/lite/tools/nightly/latest/"
)
HOW_TO_GET = (
    f"LiteRT's benchmark_model and its {LIBRARY} are at {LITERT_BINARIES} (VERSION such as 2.2.0), the nightly "
    f"build of TensorFlow Lite's at {TFLITE_NIGHTLY}android_aarch64_benchmark_model"
)
_CHANGING = re.compile("/(latest|nightly)/")
_SHA256 = re.compile("[0-9a-fA-F]{64}")
# Libraries that come with the tool, not with the system: names without a path, as they become names on the device.
_ITS_OWN = re.compile(r"(?:libLiteRt|libtensorflow|libtflite)[^/]*|libc\+\+_shared\.so")
# Names of flags that only one of the two has are in its file.
_MARKS = {
    Flavour.CLASSIC: (b"use_xnnpack", b"enable_op_profiling"),
    Flavour.LITERT: (b"use_npu", b"dispatch_library_path"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Companion:
    """A library that is brought with the tool.

    Attributes:
        name: that the tool looks for.
        path: of the file on this machine.
        sha256: of it.
        source: path or address where it came from.
    """

    name: str
    path: Path
    sha256: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkTool:
    """A `benchmark_model`.

    Attributes:
        path: of the file on this machine.
        sha256: of it.
        source: path or address, as it was given.
        flavour: which of the two programs of that name it is.
        elf: for what it is built, and what it needs.
        companions: libraries that are brought with it.
    """

    path: Path
    sha256: str
    source: str
    flavour: Flavour
    elf: ElfFile
    companions: tuple[Companion, ...] = ()

    @property
    def machine(self) -> str:
        """Its instruction set."""
        return self.elf.machine

    @property
    def origin(self) -> str:
        """Where it and its libraries came from: a library holds what computes, so it is named with its digest."""
        return "; ".join((self.source, *(f"{each.name} {each.sha256} from {each.source}" for each in self.companions)))


def find_tool(
    source: str,
    sha256: str | None = None,
    *,
    library: str | None = None,
    library_sha256: str | None = None,
    flavour: str | None = None,
    progress: Progress,
    opener: Opener | None = None,
) -> BenchmarkTool:
    """Return the tool that the user means.

    Args:
        source: a path, or an https address.
        sha256: of the file; an address needs it.
        library: `libLiteRt.so` of the same version, given the same way; None for the one beside the tool.
        library_sha256: of that.
        flavour: one of `Flavour`; None where the file shows it.
        progress: shows a download.
        opener: opens addresses.

    Raises:
        SpecError: something is missing, is another file than it has to be, or does not fit the tool.
        DeviceError: an address cannot be reached.
    """
    path, digest = _file(source, sha256, OPTION, "benchmark_model", progress, opener)
    elf = read_elf(path)
    if elf.interpreter is None and elf.soname is not None:
        raise SpecError(f"{source}: expected a program. Received: the library {elf.soname}")
    given = None
    if library is not None:
        option = f"{OPTION}-library"
        library_path, library_digest = _file(library, library_sha256, option, LIBRARY, progress, opener)
        given = Companion(name=LIBRARY, path=library_path, sha256=library_digest, source=library)
    elif library_sha256 is not None:
        raise SpecError(f"{OPTION}-library-sha256 is the digest of a library: give {OPTION}-library as well")
    return BenchmarkTool(
        path=path,
        sha256=digest,
        source=source,
        flavour=_flavour(path, flavour),
        elf=elf,
        companions=tuple(_fitting(each, elf) for each in _companions(elf, path.parent, given)),
    )


def _file(
    source: str, sha256: str | None, option: str, name: str, progress: Progress, opener: Opener | None
) -> tuple[Path, str]:
    """Return the file on this machine and its digest, which is the one that was given, if any."""
    if sha256 is not None and not _SHA256.fullmatch(sha256):
        raise SpecError(f"{option}-sha256 has 64 hexadecimal digits. Received: {printable(sha256)!r}")
    expected = sha256.lower() if sha256 else None
    if is_address(source):
        return _from_address(source, expected, option, name, progress, opener)
    path = from_home(source)
    if not path.is_file():
        raise SpecError(f"{option} is a file or an https address. Received: {printable(source)}, which is no file")
    digest = digest_of(path)
    if expected not in (None, digest):
        raise SpecError(f"{source}: its SHA-256 has to be {expected}. Received: {digest}; it is another file")
    return path, digest


def _from_address(
    url: str, sha256: str | None, option: str, name: str, progress: Progress, opener: Opener | None
) -> tuple[Path, str]:
    require_https(url)
    if sha256 is None:
        raise SpecError(
            f"an address needs the SHA-256 of what is there ({option}-sha256), so that nothing else is ever run. "
            f"Received: {url} alone; get the file once, and give what `sha256sum FILE` prints. {HOW_TO_GET}"
        )
    if found := _CHANGING.search(url):
        progress.note(
            f"{url} changes ({found[1]}): what is there later has another SHA-256; an address of one version stays"
        )
    return download(url, sha256, name=name, progress=progress, opener=opener), sha256


def _flavour(path: Path, asked: str | None) -> Flavour:
    if asked is not None:
        if asked not in tuple(Flavour):
            raise SpecError(f"{OPTION}-flavour is {' or '.join(Flavour)}. Received: {printable(asked)!r}")
        return Flavour(asked)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        found = [flavour for flavour, marks in _MARKS.items() if all(content.find(mark) >= 0 for mark in marks)]
    if len(found) != 1:
        what = "flags of both" if found else "no flags of either"
        raise SpecError(
            f"{path.name}: two programs are called benchmark_model, TensorFlow Lite's (classic) and LiteRT's. "
            f"Received: a file with {what}; say which it is: {OPTION}-flavour {' or '.join(Flavour)}"
        )
    return found[0]


def _companions(elf: ElfFile, folder: Path, given: Companion | None) -> list[Companion]:
    """Return the libraries to bring: the given one, and those beside the tool that it needs."""
    found = [] if given is None else [given]
    for name in elf.needed:
        path = folder / name
        if not _ITS_OWN.fullmatch(name) or (given is not None and name == given.name):
            continue
        if path.is_file():
            found.append(Companion(name=name, path=path, sha256=digest_of(path), source=str(path)))
        elif name == LIBRARY:
            raise SpecError(
                f"this benchmark_model needs {LIBRARY} of its own version. Received: none; put it beside the tool, or "
                f"give it with {OPTION}-library"
            )
        else:
            raise SpecError(f"this benchmark_model needs {name}. Received: none; put it beside the tool, into {folder}")
    return found


def _fitting(companion: Companion, tool: ElfFile) -> Companion:
    elf = read_elf(companion.path)
    if (elf.machine, elf.bits) != (tool.machine, tool.bits):
        raise SpecError(
            f"benchmark_model is built for {tool.machine} ({tool.bits} bits). Received: {companion.name} for "
            f"{elf.machine} ({elf.bits} bits); take both from one folder of one version"
        )
    return companion
