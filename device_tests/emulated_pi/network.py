"""The network of a stand-in: a namespace of its own, joined to this machine by one cable, 10.213.INDEX.0/30."""

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

from device_tests.emulated_pi.host import StandInError, run

KILL_TIMEOUT_S = 20


class Network:
    def __init__(self, index: int) -> None:
        self.namespace = f"mnet-pi-{index}"
        self._cable = f"mnet-pi-{index}"  # names of interfaces have at most 15 characters
        self._host_ip = f"10.213.{index}.1"
        self.ip = f"10.213.{index}.2"

    def create(self) -> None:
        run("ip", "netns", "add", self.namespace)
        run("ip", "link", "add", self._cable, "type", "veth", "peer", "name", "eth0", "netns", self.namespace)
        run("ip", "addr", "add", f"{self._host_ip}/30", "dev", self._cable)
        run("ip", "link", "set", self._cable, "up")
        run("ip", "-n", self.namespace, "addr", "add", f"{self.ip}/30", "dev", "eth0")
        for interface in ("lo", "eth0"):
            run("ip", "-n", self.namespace, "link", "set", interface, "up")

    def plug(self, *, connected: bool) -> None:
        # At the far end: this end keeps its route, so packets vanish instead of leaving by another interface.
        run("ip", "-n", self.namespace, "link", "set", "eth0", "up" if connected else "down")

    def pids(self) -> list[int]:
        """Return the processes in it, as numbered by this machine."""
        if not self.exists():
            return []
        return [int(pid) for pid in run("ip", "netns", "pids", self.namespace).split()]

    def kill_all(self) -> None:
        deadline = time.monotonic() + KILL_TIMEOUT_S
        while pids := self.pids():
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if time.monotonic() > deadline:
                raise StandInError(
                    f"expected the processes of {self.namespace} to end within {KILL_TIMEOUT_S} s: {pids}"
                )
            time.sleep(0.02)

    def exists(self) -> bool:
        return Path("/run/netns", self.namespace).exists()

    def remove(self) -> None:
        """Remove it and all processes in it, also what is left of one that was removed halfway."""
        self.kill_all()
        if self.exists():
            run("ip", "netns", "delete", self.namespace)  # the cable goes with it, but not at once
        if Path("/sys/class/net", self._cable).exists():
            with suppress(StandInError):
                run("ip", "link", "delete", self._cable)
