"""A stand-in phone: an adb daemon of our own in front of an Android-like arm64 system, and an adb server for it alone.

QEMU runs its programs. It shows whether the toolkit works, not how fast a phone is: times taken on it mean nothing.
"""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Self

from device_tests.emulated_phone import files
from device_tests.emulated_pi.host import CLEAN, StandInError

REPOSITORY = Path(__file__).resolve().parents[2]
START_TIMEOUT_S = 30
ADB_TIMEOUT_S = 30

# $1 files, $2 mount point, $3 size of /data/local/tmp, then the daemon. All mounts are in a namespace of its own. The
# shell stays the first process of its namespace, to bury processes whose parents have gone.
BOOT = """\
set -e
files=$1 root=$2 size=$3
shift 3
mount -t tmpfs -o mode=755 tmpfs "$root"
cd "$root"
mkdir -p system data/local/tmp proc sys dev sdcard
mount --bind "$files/system" system
mount -o remount,bind,ro system
mount -t tmpfs -o "mode=771,uid=2000,gid=2000,size=$size" tmpfs data/local/tmp
mount -t tmpfs -o "mode=777,noexec" tmpfs sdcard
mount -t proc proc proc
for device in null zero full random urandom; do : >"dev/$device"; mount --bind "/dev/$device" "dev/$device"; done
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
        done = subprocess.run(
            [*(WITHOUT_USB if USB.is_dir() else ()), self.adb, *arguments],
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

    Args:
        server: the adb server that is to know it.
        mode: how it answers, one of `adbd.MODES`; `number` is the seconds or bytes of modes that have such.
        shell_v2: whether it has shell protocol v2, as phones have since Android 7.
        storage_bytes: size of /data/local/tmp.
    """

    def __init__(
        self,
        server: AdbServer,
        *,
        mode: str = "ok",
        number: float = 0,
        shell_v2: bool = True,
        storage_bytes: int = 1 << 28,
    ) -> None:
        self.server = server
        self._options = {"mode": mode, "number": number, "shell_v2": shell_v2, "name": "standin", "model": "Stand-in"}
        self._storage_bytes = storage_bytes
        self._mount_point = Path(tempfile.mkdtemp(prefix="mnet-phone-"))
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

    def set_mode(self, mode: str, number: float = 0) -> None:
        self._order(f"mode {mode} {number}")

    def drop(self) -> None:
        """End the connection of adb's server once; it may come back."""
        self._order("drop")

    def stop(self) -> None:
        """Take it away: as if unplugged, or switched off. May be called twice."""
        if self._process is not None:
            self._process.kill()  # and with it all in its namespaces
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                pipe.close()
            self._process = None
            self.server.run("disconnect", self.serial)
        with contextlib.suppress(FileNotFoundError):
            self._mount_point.rmdir()

    def _start(self) -> None:
        daemon = (
            sys.executable,
            "-m",
            "device_tests.emulated_phone.adbd",
            self._mount_point,
            json.dumps(self._options),
        )
        boot = ("sh", "-c", f"exec 3<&0; {BOOT}", "sh", files.rootfs(), self._mount_point, str(self._storage_bytes))
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
