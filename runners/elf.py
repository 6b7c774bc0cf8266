"""Reads of an ELF file what decides where it runs: instruction set, loader, libraries, versions of their symbols.

The layout is that of the System V ABI (gABI, chapters 4 and 5), the versions those of the Linux Standard Base (Core,
"Symbol Versioning"). Section headers are not needed, and are often stripped. Files come from outside: every offset,
count and name is checked, and nothing is followed backwards, so that a broken file ends the reading soon.
"""

import re
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from mnet_deploy.errors import SpecError

MACHINES = {3: "i386", 40: "arm", 62: "x86_64", 183: "aarch64", 243: "riscv"}
# What a file that is no program or library may be instead: downloads and checkouts go wrong in these ways.
_OTHER_KINDS = (
    (b"#!", "a script"),
    (b"MZ", "a Windows program"),
    (b"\xcf\xfa\xed\xfe", "a macOS program"),
    (b"\xca\xfe\xba\xbe", "a macOS program"),
    (b"PK\x03\x04", "a zip archive or an APK"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"version https://git-lfs", "the pointer of a file in Git LFS, not the file itself (git lfs pull gets it)"),
    (b"<", "a web page: what is at the address is not the file"),
)
_RELOCATABLE, _EXECUTABLE, _SHARED = 1, 2, 3
_LOAD, _DYNAMIC, _INTERP = 1, 2, 3
_NEEDED, _STRTAB, _SONAME = 1, 5, 14
_VERDEF, _VERDEFNUM, _VERNEED, _VERNEEDNUM = 0x6FFFFFFC, 0x6FFFFFFD, 0x6FFFFFFE, 0x6FFFFFFF
_BASE_VERSION = 1  # flag of the definition that names the library itself
_MOST_SEGMENTS, _MOST_ENTRIES, _MOST_VERSIONS = 100, 2_000, 5_000
_LONGEST_NAME_BYTES = 1_000
_GLIBC = re.compile(r"GLIBC_(\d{1,4})\.(\d{1,4})(?:\.\d{1,4})?")

GlibcVersion = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class ElfFile:
    """A program or a shared library.

    Attributes:
        path: where it was read.
        bits: of a pointer, 32 or 64.
        machine: `aarch64`, `arm`, `x86_64`, `i386`, `riscv`, or `machine 8` with the number of another one.
        interpreter: the loader that the system starts it with; None for libraries and static programs.
        needed: names of the libraries that the loader looks for.
        soname: the name that others need it by; None if it has none.
        version_needs: of these libraries, the versions of symbols that it needs, by the library's name.
        version_definitions: the versions of symbols that it has itself.
    """

    path: Path
    bits: int
    machine: str
    interpreter: str | None
    needed: tuple[str, ...]
    soname: str | None
    version_needs: dict[str, tuple[str, ...]]
    version_definitions: tuple[str, ...]

    @property
    def needs_glibc(self) -> GlibcVersion | None:
        """The oldest glibc that it runs with; None if it needs none."""
        return newest_glibc(version for versions in self.version_needs.values() for version in versions)


def newest_glibc(versions: Iterable[str]) -> GlibcVersion | None:
    """Return the highest of the versions that are glibc's, such as `GLIBC_2.34`; None if there is none."""
    found = (match for match in map(_GLIBC.fullmatch, versions) if match)
    return max(((int(match[1]), int(match[2])) for match in found), default=None)


def read_elf(path: Path) -> ElfFile:
    """Read a program or a shared library.

    Raises:
        SpecError: it cannot be read, is something else, or is broken.
    """
    if not path.is_file():
        raise SpecError(f"{path}: expected a program or a shared library. Received: {_no_file(path)}")
    try:
        with path.open("rb") as file:
            return _Reader(file, path, path.stat().st_size).read()
    except OSError as error:
        raise SpecError(f"{path}: cannot be read ({error.strerror})") from error
    except _Broken as broken:
        raise SpecError(f"{path}: not a whole program or library ({broken}); copy or download it again") from None


class _Broken(Exception):
    """What is wrong with the file, in words."""


def _no_file(path: Path) -> str:
    if path.is_dir():
        return "a folder"
    return "something else" if path.exists() else "nothing of that name"


@dataclass(frozen=True, slots=True)
class _Layout:
    """The structures of files of one width.

    Attributes:
        header: of the file.
        segment: of a program header.
        fields: which values of that are the kind, the offset, the address and the size in the file.
        entry: of the dynamic section.
    """

    header: struct.Struct
    segment: struct.Struct
    fields: tuple[int, int, int, int]
    entry: struct.Struct


_LAYOUTS = {
    32: _Layout(struct.Struct("<16x2HI3II6H"), struct.Struct("<8I"), (0, 1, 2, 4), struct.Struct("<2I")),
    64: _Layout(struct.Struct("<16x2HI3QI6H"), struct.Struct("<2I6Q"), (0, 2, 3, 5), struct.Struct("<2Q")),
}
_NEED, _NEED_VERSION = struct.Struct("<2H3I"), struct.Struct("<I2H2I")
_DEFINITION, _DEFINITION_NAME = struct.Struct("<4H3I"), struct.Struct("<2I")


@dataclass(frozen=True, slots=True)
class _Segment:
    kind: int
    offset: int
    address: int
    size_bytes: int


@dataclass(slots=True)
class _Reader:
    file: BinaryIO
    path: Path
    size_bytes: int
    segments: list[_Segment] = field(default_factory=list)
    dynamic: dict[int, list[int]] = field(default_factory=dict)
    versions_read: int = 0

    def read(self) -> ElfFile:
        bits = self._bits()
        layout = _LAYOUTS[bits]
        kind, machine, _, _, table_at, _, _, _, entry_bytes, entry_count, *_ = self._unpack(layout.header, 0)
        if kind not in (_EXECUTABLE, _SHARED):
            what = "an object file" if kind == _RELOCATABLE else "an ELF file of another kind"
            raise SpecError(f"{self.path}: expected a program or a shared library. Received: {what}")
        self._read_segments(layout, table_at, entry_bytes, entry_count)
        self._read_dynamic(layout)
        interpreters = [self._text(segment.offset) for segment in self.segments if segment.kind == _INTERP]
        return ElfFile(
            path=self.path,
            bits=bits,
            machine=MACHINES.get(machine, f"machine {machine}"),
            interpreter=next(iter(interpreters), None),
            needed=tuple(map(self._name, self.dynamic.get(_NEEDED, ()))),
            soname=next(map(self._name, self.dynamic.get(_SONAME, ())), None),
            version_needs={library: tuple(versions) for library, versions in self._version_needs()},
            version_definitions=tuple(self._version_definitions()),
        )

    def _bits(self) -> int:
        start = self._up_to(0, 64)
        if not start.startswith(b"\x7fELF"):
            otherwise = "a file of another kind" if start else "an empty file"
            what = next((what for magic, what in _OTHER_KINDS if start.lstrip().startswith(magic)), otherwise)
            raise SpecError(f"{self.path}: expected a program or a shared library (ELF). Received: {what}")
        width, order = start[4:6].ljust(2, b"\0")
        if width not in (1, 2) or order not in (1, 2):
            raise _Broken("its header is cut off or unknown")
        if order == 2:
            raise SpecError(f"{self.path}: is built for a big-endian system, and no device here is one")
        return 32 * width

    def _read_segments(self, layout: _Layout, table_at: int, entry_bytes: int, count: int) -> None:
        if count > _MOST_SEGMENTS or (count and entry_bytes != layout.segment.size):
            raise _Broken(f"{count} segments, described in {entry_bytes} bytes each")
        for number in range(count):
            values = self._unpack(layout.segment, table_at + number * entry_bytes)
            segment = _Segment(*(values[index] for index in layout.fields))
            if segment.kind == _LOAD and segment.offset + segment.size_bytes > self.size_bytes:
                raise _Broken("it is cut off")
            self.segments.append(segment)

    def _read_dynamic(self, layout: _Layout) -> None:
        segment = next((segment for segment in self.segments if segment.kind == _DYNAMIC), None)
        if segment is None:
            return
        count = segment.size_bytes // layout.entry.size
        if count > _MOST_ENTRIES:
            raise _Broken(f"{count} dynamic entries")
        for tag, value in layout.entry.iter_unpack(self._at(segment.offset, count * layout.entry.size)):
            if tag == 0:
                return
            self.dynamic.setdefault(tag, []).append(value)

    def _version_needs(self) -> Iterator[tuple[str, list[str]]]:
        for at, (_, count, library, first, _) in self._chain(_NEED, self._table(_VERNEED), self._count(_VERNEEDNUM), 4):
            versions = self._chain(_NEED_VERSION, at + first, count, 4)
            yield self._name(library), [self._name(name) for _, (_, _, _, name, _) in versions]

    def _version_definitions(self) -> Iterator[str]:
        for at, (_, flags, _, _, _, first, _) in self._chain(
            _DEFINITION, self._table(_VERDEF), self._count(_VERDEFNUM), 6
        ):
            if not flags & _BASE_VERSION:  # of its names the first is its own, the others are of what it builds on
                yield self._name(self._unpack(_DEFINITION_NAME, at + first)[0])

    def _chain(
        self, layout: struct.Struct, at: int | None, count: int, next_field: int
    ) -> Iterator[tuple[int, tuple[int, ...]]]:
        """Yield structures that each say how far behind them the next one lies, with their places."""
        if at is None:
            return
        for _ in range(count):
            self.versions_read += 1
            if self.versions_read > _MOST_VERSIONS:
                raise _Broken(f"more than {_MOST_VERSIONS} versions of symbols")
            values = self._unpack(layout, at)
            yield at, values
            if values[next_field] == 0:
                return
            at += values[next_field]

    def _table(self, tag: int) -> int | None:
        """Return where in the file a table lies that the dynamic section names by its address in memory."""
        address = next(iter(self.dynamic.get(tag, ())), None)
        if address is None:
            return None
        for segment in self.segments:
            if segment.kind == _LOAD and 0 <= address - segment.address < segment.size_bytes:
                return segment.offset + address - segment.address
        raise _Broken("a table lies outside of it")

    def _count(self, tag: int) -> int:
        return next(iter(self.dynamic.get(tag, ())), 0)

    def _name(self, offset: int) -> str:
        strings = self._table(_STRTAB)
        if strings is None:
            raise _Broken("names without a table of names")
        return self._text(strings + offset)

    def _text(self, at: int) -> str:
        text, end, _ = self._up_to(at, _LONGEST_NAME_BYTES).partition(b"\0")
        try:
            name = text.decode("utf-8")
        except UnicodeDecodeError:
            name = ""
        if not end or not name.isprintable() or not name:
            raise _Broken("a name in it is none")
        return name

    def _unpack(self, layout: struct.Struct, at: int) -> tuple[int, ...]:
        return layout.unpack(self._at(at, layout.size))

    def _at(self, at: int, size_bytes: int) -> bytes:
        found = self._up_to(at, size_bytes)
        if len(found) != size_bytes:
            raise _Broken("it is cut off")
        return found

    def _up_to(self, at: int, size_bytes: int) -> bytes:
        if at > self.size_bytes:
            raise _Broken("it is cut off")
        self.file.seek(at)
        return self.file.read(size_bytes)
