"""A stand-in phone: an adb daemon of our own in front of an Android-like arm64 system, and an adb server for it alone.

QEMU runs its programs. It shows whether the toolkit works, not how fast a phone is: times taken on it mean nothing.
"""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Self

from device_tests.emulated_phone import files
from device_tests.emulated_phone.hardware import PHONES, cores, cpuinfo, write_sys
from device_tests.emulated_phone.phone_state import State, write_properties, write_state
from device_tests.emulated_pi.hardware import loadavg, meminfo, overwrite
from device_tests.emulated_pi.host import CLEAN, StandInError

REPOSITORY = Path(__file__).resolve().parents[2]
START_TIMEOUT_S = 30
ADB_TIMEOUT_S = 30

# $1 files, $2 folder of this run, $3 options of /data/local/tmp, then the daemon. All mounts are in a namespace of its
# own. The shell stays the first process of its namespace, to bury processes whose parents have gone.
BOOT = """\
set -e
files=$1 own=$2 options=$3
shift 3
mount -t tmpfs -o mode=755 tmpfs "$own/root"
cd "$own/root"
mkdir -p system data/local/tmp proc sys dev sdcard
chmod 771 data data/local
mount --bind "$files/system" system
mount -o remount,bind,ro system
mount --bind "$own/state" system/standin
mount --bind "$own/sys" sys
mount -t tmpfs -o "mode=771,uid=2000,gid=2000,$options" tmpfs data/local/tmp
mount -t tmpfs -o "mode=777,noexec" tmpfs sdcard
mount -t proc proc proc
for file in cpuinfo meminfo loadavg; do mount --bind "$own/$file" "proc/$file"; done
for device in null zero full random urandom; do : >"dev/$device"; mount --bind "/dev/$device" "dev/$device"; done
ln -s /proc/self/fd dev/fd
ln -s /system/bin bin
ln -s /system/etc etc
cd /
"$@" <&3 &
wait $!
"""


# A server takes hold of all phones on USB cables, those of this machine's user: it must not see them.
USB = Path("/dev/bus/usb")
WITHOUT_USB = ("unshare", "--mount", "sh", "-c", f'mount -t tmpfs tmpfs {USB} && exec "$@"', "sh")


class AdbServer:
    """An adb server with a port and a home of its own: nobody else's is touched, and no real phone."""

    def __init__(self, adb: Path) -> None:
        self.adb = adb
        self.home = Path(tempfile.mkdtemp(prefix="mnet-adb-home-"))
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self.environment = {
            "HOME": str(self.home),
            "TMPDIR": str(self.home),
            "ANDROID_ADB_SERVER_PORT": str(port),
            "ADB_LOCAL_TRANSPORT_MAX_PORT": "5553",  # no looking for emulators of others
            "ADB_MDNS_AUTO_CONNECT": "0",  # nor for phones in the network
        }

    def run(self, *arguments: str) -> str:
        """Run adb and return all that it says."""
        return self.run_other(self.adb, *arguments)

    def run_other(self, adb: Path, *arguments: str) -> str:
        """Run another adb against this server's port: one of another version ends the server and starts its own."""
        done = subprocess.run(
            [*(WITHOUT_USB if USB.is_dir() else ()), adb, *arguments],
            env={"PATH": os.environ["PATH"], **self.environment},
            timeout=ADB_TIMEOUT_S,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return done.stdout

    def __enter__(self) -> Self:
        self.run("start-server")
        return self

    def __exit__(self, *_: object) -> None:
        self.run("kill-server")
        shutil.rmtree(self.home, ignore_errors=True)


class EmulatedPhone:
    """A running stand-in, from `with` to its end.

    Its programs may choose any of its eight cores and see that they did, but run on those of this machine.

    Args:
        server: the adb server that is to know it.
        hardware: what it is, one of `hardware.PHONES`. The 32-bit one has 32-bit programs only, but this machine's
            kernel would run 64-bit ones that were copied to it.
        android: its version, from 12 to 14.
        mode: how it answers, one of `adbd.MODES`; `number` is the seconds, bytes or files of modes that have such.
        shell_v2: whether it has shell protocol v2, as phones have since Android 7.
        storage_bytes: size of /data/local/tmp.
        noexec: whether nothing in /data/local/tmp may be run.
        model: its name.
    """

    def __init__(
        self,
        server: AdbServer,
        *,
        hardware: str = "arm64",
        android: int = 14,
        mode: str = "ok",
        number: float = 0,
        shell_v2: bool = True,
        storage_bytes: int = 1 << 28,
        noexec: bool = False,
        model: str = "Stand-in phone",
    ) -> None:
        self.server = server
        self.hardware = PHONES[hardware]
        self._options = {
            "mode": mode,
            "number": number,
            "shell_v2": shell_v2,
            "name": "standin",
            "model": model,
            "cpu": self.hardware.cpu,
            "cores": list(cores(self.hardware)),
        }
        self._android = android
        self._storage = f"size={storage_bytes}{',noexec' if noexec else ''}"
        self._state = State()
        self.folder = Path(tempfile.mkdtemp(prefix="mnet-phone-"))
        self._process: subprocess.Popen[str] | None = None
        self.serial = ""

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def address(self) -> str:
        return f"adb://{self.serial}"

    # Faults

    def set_mode(self, mode: str, number: float = 0) -> None:
        self._order(f"mode {mode} {number}")

    def drop(self) -> None:
        """End the connection of adb's server once; it may come back."""
        self._order("drop")

    def unplug(self) -> None:
        """Pull the cable: adb no longer lists it. Programs inside go on, but those that adb's daemon had started."""
        self._order("unplug")
        self.server.run("disconnect", self.serial)

    def plug_in(self) -> None:
        self._order("plug")
        self.connect()

    # Hardware

    def set_state(self, **changes: object) -> None:
        """Change what it shows of itself: the attributes of `State`."""
        self._state = replace(self._state, **changes)
        write_state(self.folder / "state", self._state, android=self._android)

    def set_highest_clock(self, clock_hz: float, *, cluster: int = -1) -> None:
        """Limit the clock of a cluster's cores, as Android does where they get hot; by default of the fastest."""
        policy = self.folder / "sys" / self.hardware.clusters[cluster].policy
        overwrite(policy / "scaling_max_freq", f"{clock_hz / 1000:.0f}\n")

    def set_load(self, load: float) -> None:
        overwrite(self.folder / "loadavg", loadavg(load))

    # Looking inside

    def path(self, inside: str) -> Path:
        """Return where this machine finds one of its files, '/data/local/tmp' for example."""
        return Path(f"/proc/{self._first()}/root{self.folder}/root") / inside.lstrip("/")

    def temporary_files(self) -> list[str]:
        """Return the files and folders in /data/local/tmp."""
        folder = self.path("/data/local/tmp")
        return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))

    def processes(self) -> list[str]:
        """Return the command lines inside."""
        return [" ".join(words) for _, words in self.commands()]

    def kill(self, part: str, number: int = signal.SIGKILL) -> bool:
        """Send a signal to a program inside with that in its command line; return whether there is one.

        A shell around it does not count: `sh -c TEXT sh ARGUMENT...`, where the program is among the arguments.
        """
        for pid, words in self.commands():
            if part in " ".join(words) and words[3:4] != ["sh"]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
                    return True
        return False

    def commands(self) -> Iterator[tuple[int, list[str]]]:
        """Give the processes inside: number on this machine, and command line."""
        own = Path(f"/proc/{self._first()}/ns/pid").readlink()
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if (folder / "ns/pid").readlink() != own:
                    continue
                words = (folder / "cmdline").read_text(encoding="utf-8", errors="replace").split("\0")[:-1]
                if len(words) > 2 and words[0].endswith("-binfmt-P"):  # QEMU, the file, then what it was given
                    yield int(folder.name), words[2:]

    def _first(self) -> int:
        """Return its first process, as numbered by this machine."""
        children = []
        if self._process is not None:
            pid = self._process.pid
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8").split()
        if not children:
            raise StandInError("this phone is switched off")
        return int(children[0])

    # Starting and ending

    def stop(self) -> None:
        """Switch it off. May be called twice."""
        if self._process is not None:
            self._process.kill()  # and with it all in its namespaces
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                pipe.close()
            self._process = None
            self.server.run("disconnect", self.serial)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _start(self) -> None:
        self._write_files()
        rootfs = files.rootfs(self.hardware.architecture)
        daemon = ("-m", "device_tests.emulated_phone.adbd", self.folder / "root", json.dumps(self._options))
        boot = ("sh", "-c", f"exec 3<&0; {BOOT}", "sh", rootfs, self.folder, self._storage, sys.executable)
        self._process = subprocess.Popen(
            ["unshare", "--mount", "--pid", "--fork", "--kill-child", *boot, *daemon],
            cwd=REPOSITORY,
            env={**CLEAN, "PYTHONPATH": str(REPOSITORY), "PYTHONDONTWRITEBYTECODE": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        port = self._process.stdout.readline().strip()
        if not port.isdecimal():
            raise StandInError(f"the stand-in phone did not start. It said: {port or 'nothing'}")
        self.serial = f"127.0.0.1:{port}"
        self.connect()

    def _write_files(self) -> None:
        for name in ("root", "state", "sys"):
            (self.folder / name).mkdir()
        self.folder.chmod(0o755)
        write_sys(self.folder / "sys", self.hardware)
        write_properties(self.folder / "state", self.hardware, android=self._android, model=str(self._options["model"]))
        write_state(self.folder / "state", self._state, android=self._android)
        for name, text in {
            "cpuinfo": cpuinfo(self.hardware),
            "meminfo": meminfo(self.hardware),
            "loadavg": loadavg(0.2),
        }.items():
            (self.folder / name).write_text(text)

    def connect(self) -> None:
        """Let adb's server connect, and wait until it has."""
        said = self.server.run("connect", self.serial)
        if self._options["mode"] in ("unauthorized", "mute", "authorize-after"):
            return
        deadline = time.monotonic() + START_TIMEOUT_S
        while self.server.run("-s", self.serial, "get-state").strip() != "device":
            if time.monotonic() > deadline:
                raise StandInError(f"adb did not reach the stand-in phone within {START_TIMEOUT_S} s. It said: {said}")
            time.sleep(0.05)

    def _order(self, line: str) -> None:
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        if self._process.stdout.readline() != "done\n":
            raise StandInError(f"the stand-in phone refused the order {line!r}")
