"""The adb daemon of a stand-in phone: what the real adb client and server talk to, and the faults of its connection.

Started by `emulated_phone.py` inside the phone's namespaces: python adbd.py ROOT OPTIONS (JSON). It prints its port,
then takes orders from its input, a line each: `mode NAME [NUMBER]`, `drop`, `unplug` or `plug`; it ends with its input.
"""

import asyncio
import json
import os
import sys
import traceback
from contextlib import suppress
from pathlib import Path

from device_tests.emulated_phone import affinity
from device_tests.emulated_phone.packets import LARGEST_DATA, VERSION, Packet, Stream, read_packet
from device_tests.emulated_phone.shell_service import run_shell
from device_tests.emulated_phone.sync_service import run_sync

FEATURES = ("shell_v2", "cmd", "stat_v2", "fixed_push_mkdir")
ADDRESS = "127.0.0.1"
SLOW_S = 0.05  # a packet
TOKEN, SIGNATURE, PUBLIC_KEY = 1, 2, 3
MODES = (
    *("ok", "unauthorized", "authorize-after", "mute", "freeze", "slow"),
    *("drop-after", "drop-in-push", "drop-in-pull"),
)


class Phone:
    """What all connections share: the mode, and the faults that it stands for."""

    def __init__(self, root: str, options: dict) -> None:
        self.root, self.options = root, options
        self.links: set[Link] = set()
        self.thawed = asyncio.Event()
        self.set_mode(options["mode"], options["number"])

    def set_mode(self, mode: str, number: float = 0) -> None:
        if mode not in MODES:
            raise ValueError(f"a mode is one of {', '.join(MODES)}. Received: {mode}")
        self.mode, self.number = mode, number
        self.bytes_left = number
        self.thawed.clear() if mode == "freeze" else self.thawed.set()

    def drop(self) -> None:
        for link in self.links:
            link.drop()

    async def pass_on(self, size: int) -> None:
        """Let a packet through, later, or never."""
        await self.thawed.wait()
        if self.mode == "slow":
            await asyncio.sleep(SLOW_S)
        if self.mode == "drop-after":
            self.bytes_left -= size
            if self.bytes_left < 0:
                self.drop()
                self.set_mode("ok")
                raise ConnectionError("dropped")

    def copying(self, way: str) -> None:
        """Drop the connection in the midst of a file, if that is the mode; its number is of files that go well."""
        if self.mode != f"drop-in-{way}":
            return
        if self.number >= 1:
            self.number -= 1
        else:
            self.drop()
            self.set_mode("ok")

    @property
    def banner(self) -> bytes:
        name, model = self.options["name"], self.options["model"]
        features = ",".join(each for each in FEATURES if each != "shell_v2" or self.options["shell_v2"])
        return (
            f"device::ro.product.name={name};ro.product.model={model};ro.product.device={name};features={features}"
        ).encode()


class Link:
    """One connection of an adb server."""

    def __init__(self, phone: Phone, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._phone, self._reader, self._writer = phone, reader, writer
        self.largest_data = LARGEST_DATA
        self._streams: dict[int, Stream] = {}
        self._tasks: set[asyncio.Task] = set()
        self._last_number = 0

    def drop(self) -> None:
        self._writer.transport.abort()

    async def send(self, packet: Packet) -> None:
        await self._phone.pass_on(len(packet.data))
        self._writer.write(packet.encode())
        await self._writer.drain()

    async def serve(self) -> None:
        try:
            while True:
                packet = await read_packet(self._reader)
                await self._phone.pass_on(len(packet.data))
                await self._handle(packet)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._writer.close()
            for stream in self._streams.values():
                stream.end()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _handle(self, packet: Packet) -> None:
        if packet.command == b"CNXN":
            self.largest_data = min(LARGEST_DATA, packet.second)
            await self._greet()
        elif packet.command == b"AUTH":
            await self._authorize(packet)
        elif packet.command == b"OPEN":
            self._open(packet)
        elif stream := self._streams.get(packet.second):
            await self._pass(stream, packet)

    async def _greet(self) -> None:
        if self._phone.mode == "mute":
            return
        if self._phone.mode in ("unauthorized", "authorize-after"):
            await self.send(Packet(b"AUTH", TOKEN, 0, os.urandom(20)))
        else:
            await self._accept()

    async def _accept(self) -> None:
        await self.send(Packet(b"CNXN", VERSION, LARGEST_DATA, self._phone.banner))

    async def _authorize(self, packet: Packet) -> None:
        if packet.first == SIGNATURE:  # of a key that is not known: the host tries the next one, then shows its own
            await self.send(Packet(b"AUTH", TOKEN, 0, os.urandom(20)))
        elif packet.first == PUBLIC_KEY and self._phone.mode == "authorize-after":
            await asyncio.sleep(self._phone.number)  # someone reads the question on the screen
            await self._accept()

    def _open(self, packet: Packet) -> None:
        self._last_number += 1
        stream = Stream(self, self._last_number, packet.first)
        self._streams[stream.number] = stream
        task = asyncio.create_task(self._serve_stream(stream, packet.data.rstrip(b"\0").decode("utf-8", "replace")))
        self._tasks.add(task)
        task.add_done_callback(self._served)

    def _served(self, task: asyncio.Task) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            traceback.print_exception(error)
            self.drop()  # rather than to leave the host waiting

    async def _pass(self, stream: Stream, packet: Packet) -> None:
        if packet.command == b"OKAY":
            stream.acknowledged.set()
        elif packet.command == b"WRTE":
            stream.received.feed_data(packet.data)
            await self.send(Packet(b"OKAY", stream.number, stream.peer))
        elif not stream.ended.is_set():
            with suppress(ConnectionError):
                await stream.close()
            stream.end()

    async def _serve_stream(self, stream: Stream, service: str) -> None:
        kind, _, argument = service.partition(":")
        root = self._phone.root
        known = kind.split(",")[0] in ("shell", "exec", "sync")
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            if not known:
                await self.send(Packet(b"CLSE", 0, stream.peer))
                return
            await self.send(Packet(b"OKAY", stream.number, stream.peer))
            if kind == "sync":
                await run_sync(stream, root, self._phone.copying)
            else:
                await run_shell(stream, root, argument, framed="v2" in kind.split(","), cpu=self._phone.options["cpu"])
        self._streams.pop(stream.number, None)


async def main(root: str, options: dict) -> None:
    phone = Phone(root, options)

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = Link(phone, reader, writer)
        phone.links.add(link)
        try:
            await link.serve()
        finally:
            phone.links.discard(link)

    server = await asyncio.start_server(connected, ADDRESS, 0)
    port = server.sockets[0].getsockname()[1]
    print(port, flush=True)
    orders = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    while words := (await orders.readline()).decode().split():
        if words[0] == "mode":
            phone.set_mode(words[1], float(words[2]))
        elif words[0] == "plug":
            server = await asyncio.start_server(connected, ADDRESS, port)
        else:
            if words[0] == "unplug":
                server.close()
            phone.drop()
        print("done", flush=True)
    os._exit(0)  # whatever it still serves


if __name__ == "__main__":
    given = json.loads(sys.argv[2])
    affinity.answer_for(given["cores"], Path(sys.argv[1]) / "proc")
    asyncio.run(main(sys.argv[1], given))
