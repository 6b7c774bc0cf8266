"""A stand-in Raspberry Pi: an ssh server, Python and three engines, all arm64, on a machine that is none.

QEMU runs its programs; it has a network address, processes and files of its own, and faked hardware. It shows whether
the toolkit works, not how fast a Raspberry Pi is: times taken on it mean nothing.
"""

import atexit
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from device_tests.emulated_pi import build, hardware
from device_tests.emulated_pi.host import CLEAN, StandInError
from device_tests.emulated_pi.locks import Lock
from device_tests.emulated_pi.network import Network
from device_tests.emulated_pi.run_files import PYTHON_FILES, VENV_FILES, Differences, RunFiles
from device_tests.emulated_pi.ssh_client import SshClient

STATE = Path("/run/mnet-emulated-pi")
INDICES = range(1, 64)
START_TIMEOUT_S = 60

# $1 rootfs, $2 folder of this run, $3 host name, $4 size of /tmp or empty. All mounts are in a namespace of its own.
BOOT = """\
set -e
hostname "$3"
mount -t overlay -o "lowerdir=$1,upperdir=$2/upper,workdir=$2/work" overlay "$2/root"
cd "$2/root"
mount -t proc proc proc
for file in cpuinfo meminfo loadavg; do mount --bind "$2/$file" "proc/$file"; done
mount --bind "$2/sys" sys
mount -t tmpfs -o mode=755 tmpfs run
mkdir run/sshd
mount -t tmpfs -o mode=755 tmpfs dev
for device in null zero full random urandom tty; do : >"dev/$device"; mount --bind "/dev/$device" "dev/$device"; done
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts dev/pts
mount -t tmpfs -o mode=1777 tmpfs dev/shm
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
ln -s fd/0 dev/stdin; ln -s fd/1 dev/stdout; ln -s fd/2 dev/stderr
[ -z "$4" ] || mount -t tmpfs -o "mode=1777,size=$4" tmpfs tmp
exec chroot . /usr/sbin/sshd -D -e
"""


class EmulatedPi:
    """A running stand-in, from `start` (or `with`) to `stop`.

    Args:
        name: Its host name, and its name in `ssh_config`.
        cpu: What QEMU imitates: `cortex-a72` is a Raspberry Pi 4, `cortex-a76` a Raspberry Pi 5, `cortex-a15` a
            Raspberry Pi 4 with the 32-bit system and tflite-runtime alone.
        index: Its network is 10.213.INDEX.0/30; by default the first free one.
        folder: Where its files go while it runs; by default a temporary folder.
        authorize_key: Whether the key logs in. Without, the server wants a password that nobody has.
        wrong_host_key: Whether `known_hosts` names another key than the server has.
        hide_python: No Python 3 at all.
        hide_venv: Python as Debian installs it on its own: `python3 -m venv` and pip are missing.
        small_tmp_bytes: Size of /tmp; by default it shares the disk.
        governor_writable: Whether user `pi` may set the governor.
    """

    def __init__(
        self,
        name: str = "pi4",
        *,
        cpu: str = "cortex-a72",
        index: int | None = None,
        folder: Path | None = None,
        authorize_key: bool = True,
        wrong_host_key: bool = False,
        hide_python: bool = False,
        hide_venv: bool = False,
        small_tmp_bytes: int | None = None,
        governor_writable: bool = False,
    ) -> None:
        self.name = name
        self.user = "pi"
        self.port = 22
        self.python = "/opt/bench/bin/python"  # has the engines
        self._cpu = cpu
        self._board = hardware.BOARDS[cpu]
        self._wanted_index = index
        self._wanted_folder = folder
        self._small_tmp_bytes = small_tmp_bytes
        self._differences = Differences(
            authorize_key=authorize_key,
            wrong_host_key=wrong_host_key,
            hidden=(*(PYTHON_FILES if hide_python else ()), *(VENV_FILES if hide_venv else ())),
            governor_writable=governor_writable,
        )
        self._cleanup = ExitStack()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # Power

    def start(self) -> None:
        """Build the files where necessary, start it, and return when its ssh server answers."""
        self._rootfs = build.rootfs(self._board.architecture)
        remove_leftovers()
        atexit.register(self.stop)
        try:
            self.index = self._take_index()
            self._network = Network(self.index)
            self.host = self.ip = self._network.ip
            self.address = f"ssh://{self.user}@{self.ip}"
            self._make_folder()
            self._network.remove()
            self._cleanup.callback(self._network.remove)
            self._network.create()
            files = RunFiles(self.folder, name=self.name, ip=self.ip, cpu=self._cpu)
            files.write(self._differences)
            self.sys_dir, self.key = files.sys_dir, files.key
            self.known_hosts, self.ssh_config = files.known_hosts, files.ssh_config
            self.client = SshClient(self.name, ("-F", str(self.ssh_config)))
            self.power_on()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Remove its processes, its network and its files. Stopping twice is fine."""
        atexit.unregister(self.stop)
        self._cleanup.close()
        if self._process:
            self._process.wait(timeout=10)
            self._process = None

    def power_on(self) -> None:
        """Start it again after `power_cut`, with the files it had."""
        self._network.plug(connected=True)
        size = str(self._small_tmp_bytes or "")
        namespaces = ("unshare", "--mount", "--pid", "--uts", "--fork", "--kill-child", "--propagation", "private")
        inside = (*namespaces, "sh", "-c", BOOT, "sh", self._rootfs, self.folder, self.name, size)
        with (self.folder / "sshd.log").open("ab") as log:
            self._process = subprocess.Popen(
                ["ip", "netns", "exec", self._network.namespace, *inside],
                env={**CLEAN, "QEMU_CPU": self._cpu},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the tests alone; they stop it then
            )
        self._await_ssh()

    def power_cut(self) -> None:
        """End everything inside at once; who is connected hears nothing of it."""
        self._network.plug(connected=False)
        self._network.kill_all()
        if self._process:
            self._process.wait(timeout=10)

    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    # Faults

    def link_down(self) -> None:
        """Pull the network cable: packets vanish in both directions, programs inside go on."""
        self._network.plug(connected=False)

    def link_up(self) -> None:
        self._network.plug(connected=True)

    def kill_sessions(self) -> None:
        """Kill the servers of all open ssh connections; the one that takes new connections stays."""
        init = self._init()
        for pid, words in self._commands():
            if pid != init and Path(words[0]).name == "sshd":
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    # Hardware

    def set_temperature_c(self, temperature_c: float) -> None:
        self._set(hardware.TEMPERATURE, f"{temperature_c * 1000:.0f}")

    def set_governor(self, governor: str) -> None:
        self._set(f"{hardware.POLICY}/scaling_governor", governor)

    def governor(self) -> str:
        return (self.sys_dir / hardware.POLICY / "scaling_governor").read_text(encoding="utf-8").strip()

    def set_clock_hz(self, clock_hz: float) -> None:
        for name in ("scaling_cur_freq", "cpuinfo_cur_freq"):
            self._set(f"{hardware.POLICY}/{name}", f"{clock_hz / 1000:.0f}")

    def set_throttled(self, bits: int) -> None:
        """Set what `vcgencmd get_throttled` answers; the bits are in Raspberry Pi's documentation of vcgencmd."""
        self._set(hardware.THROTTLED, f"{bits:x}")

    def set_load(self, load: float) -> None:
        hardware.overwrite(self.folder / "loadavg", hardware.loadavg(load))

    def _set(self, name: str, value: str) -> None:
        hardware.overwrite(self.sys_dir / name, f"{value}\n")

    # Looking inside

    def ssh(self, command: str, *, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
        """Run a command line of its shell."""
        return self.client.run(command, timeout_s=timeout_s)

    def path(self, inside: str) -> Path:
        """Return where this machine finds one of its files, '/tmp' for example."""
        root = Path(f"/proc/{self._init()}/root") if self.running() else self.folder / "upper"
        return root / inside.lstrip("/")

    def processes(self) -> list[str]:
        """Return the command lines inside, without those of the ssh server."""
        return [" ".join(words) for _, words in self._commands() if Path(words[0]).name != "sshd"]

    def temporary_files(self) -> list[str]:
        """Return the files and folders in /tmp, /var/tmp and /dev/shm."""
        found = []
        for place in ("/tmp", "/var/tmp", "/dev/shm"):
            folder = self.path(place)
            found += [f"{place}/{path.relative_to(folder)}" for path in folder.rglob("*")]
        return sorted(found)

    def _commands(self) -> Iterator[tuple[int, list[str]]]:
        for pid in self._network.pids():
            with suppress(OSError):
                words = Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8", errors="replace").split("\0")[:-1]
                if len(words) > 2 and words[0].endswith(
                    "-binfmt-P"
                ):  # the interpreter, the file, then what it was given
                    yield pid, words[2:]

    def _init(self) -> int:
        """Return the first process inside, as numbered by this machine."""
        if not self._process:
            raise StandInError(f"{self.name} is not running")
        pid = self._process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8").split()
        if not children:
            raise StandInError(f"{self.name} has no processes: its power is cut")
        return int(children[0])

    # Starting

    def _take_index(self) -> int:
        STATE.mkdir(exist_ok=True)
        for index in INDICES if self._wanted_index is None else (self._wanted_index,):
            with suppress(BlockingIOError):
                lock = Lock(STATE / f"{index}.lock")
                self._cleanup.callback(lock.release)
                return index
        raise StandInError(f"another stand-in runs on index {self._wanted_index or INDICES}. Stop it, then try again")

    def _make_folder(self) -> None:
        """Make the folder of this run and note it for who may have to remove it, should this process be killed."""
        if self._wanted_folder:
            self._wanted_folder.mkdir()
            self.folder = self._wanted_folder.resolve()
        else:
            self.folder = Path(tempfile.mkdtemp(prefix="mnet-pi-"))
        self._cleanup.callback(_remove_folder, self.index, self.folder)
        (STATE / f"{self.index}.json").write_text(json.dumps({"folder": str(self.folder)}), encoding="utf-8")
        self.folder.chmod(0o755)

    def _await_ssh(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._greets():
            if not self.running() or time.monotonic() > deadline:
                said = (self.folder / "sshd.log").read_text(encoding="utf-8", errors="replace").strip().splitlines()
                raise StandInError(
                    f"expected {self.name} to answer within {START_TIMEOUT_S} s. It said: {' / '.join(said[-3:])}"
                )
            time.sleep(0.05)

    def _greets(self) -> bool:
        try:
            with socket.create_connection((self.ip, self.port), timeout=5) as connection:
                return connection.recv(4) == b"SSH-"
        except OSError:
            return False


def remove_leftovers() -> None:
    """Remove what stand-ins left whose process was killed."""
    for note in STATE.glob("*.json"):
        index = int(note.stem)
        with suppress(BlockingIOError):  # its process lives
            lock = Lock(STATE / f"{index}.lock")
            try:
                Network(index).remove()
                if note.exists():
                    _remove_folder(index, Path(json.loads(note.read_text(encoding="utf-8"))["folder"]))
            finally:
                lock.release()


def _remove_folder(index: int, folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)
    (STATE / f"{index}.json").unlink(missing_ok=True)
