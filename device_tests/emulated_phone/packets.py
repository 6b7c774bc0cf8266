"""The packets of adb's protocol (AOSP, packages/modules/adb: protocol.txt), and the streams that share a connection."""

import asyncio
import struct
from dataclasses import dataclass

HEADER = struct.Struct("<4s5I")
VERSION = 0x01000001  # from here on the checksum is not looked at
LARGEST_DATA = 1 << 18
KNOWN = (b"CNXN", b"AUTH", b"OPEN", b"OKAY", b"WRTE", b"CLSE")


@dataclass(frozen=True, slots=True)
class Packet:
    command: bytes
    first: int
    second: int
    data: bytes = b""

    def encode(self) -> bytes:
        magic = int.from_bytes(self.command, "little") ^ 0xFFFFFFFF
        head = HEADER.pack(self.command, self.first, self.second, len(self.data), sum(self.data) & 0xFFFFFFFF, magic)
        return head + self.data


async def read_packet(reader: asyncio.StreamReader) -> Packet:
    """Read one; IncompleteReadError at the end of the connection."""
    command, first, second, size, _, _ = HEADER.unpack(await reader.readexactly(HEADER.size))
    if command not in KNOWN or size > LARGEST_DATA:
        raise ConnectionError(f"not a packet of adb's: {command!r} with {size} bytes")
    return Packet(command, first, second, await reader.readexactly(size))


class Stream:
    """One service's stream: what it writes waits for the host's acknowledgement, as adb's protocol wants it."""

    def __init__(self, link, number: int, peer: int) -> None:
        self._link, self.number, self.peer = link, number, peer
        self.received = asyncio.StreamReader()
        self.acknowledged = asyncio.Event()
        self.ended = asyncio.Event()  # by the host, or with the connection
        self._writing = asyncio.Lock()

    async def write(self, data: bytes) -> None:
        """Send it and wait until the host has taken it; ConnectionError if it never will."""
        async with self._writing:
            for start in range(0, len(data), self._link.largest_data):
                self.acknowledged.clear()
                await self._send(b"WRTE", data[start : start + self._link.largest_data])
                await self.acknowledged.wait()

    async def close(self) -> None:
        await self._send(b"CLSE")

    def end(self) -> None:
        """Take note that the host has closed it."""
        self.ended.set()
        self.acknowledged.set()
        self.received.feed_eof()

    async def _send(self, command: bytes, data: bytes = b"") -> None:
        if self.ended.is_set():
            raise ConnectionError("the host has closed this stream")
        await self._link.send(Packet(command, self.number, self.peer, data))
