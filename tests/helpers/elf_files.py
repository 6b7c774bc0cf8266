"""Small ELF files, made for tests: what the loader would look at, and no code."""

import struct

MACHINES = {"i386": 3, "arm": 40, "x86_64": 62, "aarch64": 183}
PAGE = 0x10000


class _Names:
    def __init__(self):
        self.table = b"\0"

    def add(self, name):
        self.table += name.encode() + b"\0"
        return len(self.table) - len(name.encode()) - 1


def _chained(structures, size):
    """Join structures of (bytes up to the distance, tail after it); each says how far away the next one lies."""
    joined = b""
    for number, (head, tail) in enumerate(structures):
        distance = 0 if number == len(structures) - 1 else size + len(tail)
        joined += head + struct.pack("<I", distance) + tail
    return joined


def _version_needs(names, needs):
    """Return the table of {library: versions}."""
    structures = []
    for library, versions in needs.items():
        inner = [(struct.pack("<I2HI", 0, 0, 2, names.add(version)), b"") for version in versions]
        head = struct.pack("<2H2I", 1, len(versions), names.add(library), 16)
        structures.append((head, _chained(inner, 16)))
    return _chained(structures, 16)


def _version_definitions(names, soname, versions):
    structures = []
    for number, name in enumerate((soname or "base", *versions), 1):
        head = struct.pack("<4H2I", 1, number == 1, number, 1, 0, 20)
        structures.append((head, struct.pack("<2I", names.add(name), 0)))
    return _chained(structures, 20)


def elf_bytes(
    machine="aarch64", *, bits=64, kind=3, interpreter=None, needed=(), soname=None, needs=None, defines=(), order=1
):
    """Return an ELF file. `needs` is {library: versions of symbols}, `defines` are the versions that it has."""
    word = "Q" if bits == 64 else "I"
    names = _Names()
    entries = [(1, names.add(name)) for name in needed] + ([(14, names.add(soname))] if soname else [])
    tables = [
        (0x6FFFFFFE, 0x6FFFFFFF, _version_needs(names, needs or {}), len(needs or {})),
        (0x6FFFFFFC, 0x6FFFFFFD, _version_definitions(names, soname, defines), len(defines) + 1 if defines else 0),
    ]
    header_bytes, segment_bytes = (64, 56) if bits == 64 else (52, 32)
    body_at = header_bytes + 3 * segment_bytes
    body = names.table
    entries.append((5, PAGE + body_at))
    for tag, count_tag, table, count in tables:
        if count:
            entries += [(tag, PAGE + body_at + len(body)), (count_tag, count)]
            body += table
    interpreter_at = body_at + len(body)
    body += (interpreter or "").encode() + b"\0"
    dynamic_at = body_at + len(body)
    dynamic = b"".join(struct.pack(f"<2{word}", *entry) for entry in [*entries, (0, 0)])
    body += dynamic
    segments = [(1, 0, PAGE, body_at + len(body)), (2, dynamic_at, PAGE + dynamic_at, len(dynamic))]
    segments.append((3 if interpreter else 4, interpreter_at, PAGE + interpreter_at, len(interpreter or "") + 1))
    start = b"\x7fELF" + bytes([bits // 32, order, 1]) + bytes(9)
    header = struct.pack(f"<2HI3{word}I6H", kind, MACHINES.get(machine, 8), 1, 0, header_bytes, 0, 0, header_bytes,
                         segment_bytes, len(segments), 0, 0, 0)  # fmt: skip
    return start + header + b"".join(_segment(bits, *segment) for segment in segments) + body


def _segment(bits, kind, offset, address, size):
    if bits == 64:
        return struct.pack("<2I6Q", kind, 4, offset, address, address, size, size, PAGE)
    return struct.pack("<8I", kind, offset, address, address, size, size, 4, PAGE)
