"""The files of one run of a stand-in: its faked hardware, what differs from the built files, and how ssh reaches it."""

import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from device_tests.emulated_pi import hardware
from device_tests.emulated_pi.host import run

USER = "pi"
USER_ID = 1000
PYTHON_FILES = ("usr/bin/python3", "usr/bin/python3.11")
VENV_FILES = ("usr/lib/python3.11/ensurepip", "usr/lib/python3/dist-packages/pip", "usr/bin/pip", "usr/bin/pip3")


@dataclass(frozen=True, slots=True, kw_only=True)
class Differences:
    """What is unlike a Raspberry Pi in order; `hidden` are files that it lacks."""

    authorize_key: bool
    wrong_host_key: bool
    hidden: tuple[str, ...]
    governor_writable: bool


class RunFiles:
    """`folder` is empty before `write`; afterwards `upper` in it lies over the built files."""

    def __init__(self, folder: Path, *, name: str, ip: str, cpu: str) -> None:
        self._folder = folder
        self._name = name
        self._ip = ip
        self._cpu = cpu
        self._board = hardware.BOARDS[cpu]
        self.sys_dir = folder / "sys"
        self.key = folder / "id_ed25519"
        self.known_hosts = folder / "known_hosts"
        self.ssh_config = folder / "ssh_config"

    def write(self, differences: Differences) -> None:
        for name in ("upper", "work", "root", "sys"):
            (self._folder / name).mkdir()
        hardware.write_sys(self.sys_dir, self._board, governor_writable=differences.governor_writable)
        for name, text in (
            ("cpuinfo", hardware.cpuinfo(self._board)),
            ("meminfo", hardware.meminfo(self._board)),
            ("loadavg", hardware.loadavg(0.05)),
        ):
            (self._folder / name).write_text(text, encoding="utf-8")
        for name in differences.hidden:
            # This is how overlayfs says that a file of the layer below is gone.
            os.mknod(self._changed(name), stat.S_IFCHR, os.makedev(0, 0))
        self._write_identity()
        self._write_server(differences)
        self._write_client()

    def _changed(self, name: str) -> Path:
        """Return where a file inside goes that is new or different in this run."""
        file = self._folder / "upper" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        return file

    def _write_identity(self) -> None:
        identity = hashlib.md5(self._name.encode(), usedforsecurity=False).hexdigest()
        self._changed("etc/machine-id").write_text(f"{identity}\n", encoding="utf-8")
        self._changed("etc/hostname").write_text(f"{self._name}\n", encoding="utf-8")
        self._changed("etc/hosts").write_text(f"127.0.0.1 localhost\n127.0.1.1 {self._name}\n", encoding="utf-8")

    def _write_server(self, differences: Differences) -> None:
        settings = (
            f"SetEnv QEMU_CPU={self._cpu} QEMU_UNAME={self._board.kernel}",
            "UsePAM no",
            f"PasswordAuthentication {'no' if differences.authorize_key else 'yes'}",
        )
        self._changed("etc/ssh/sshd_config.d/stand-in.conf").write_text("\n".join(settings) + "\n", encoding="utf-8")
        public = _new_key(self.key)
        if differences.authorize_key:
            self._authorize(public)
        host_key = _new_key(self._changed("etc/ssh/ssh_host_ed25519_key"))
        if differences.wrong_host_key:
            host_key = _new_key(self._folder / "another_host_key")
        self.known_hosts.write_text(f"{self._ip} {host_key}", encoding="utf-8")

    def _authorize(self, public_key: str) -> None:
        file = self._changed(f"home/{USER}/.ssh/authorized_keys")
        file.write_text(public_key, encoding="utf-8")
        for path, mode in ((file, 0o600), (file.parent, 0o700), (file.parent.parent, 0o755)):
            path.chmod(mode)
            os.chown(path, USER_ID, USER_ID)

    def _write_client(self) -> None:
        lines = (
            f"Host {self._name} {self._ip}",
            f"  HostName {self._ip}",
            f"  User {USER}",
            f"  IdentityFile {self.key}",
            "  IdentitiesOnly yes",
            f"  UserKnownHostsFile {self.known_hosts}",
            "  GlobalKnownHostsFile /dev/null",
            "  StrictHostKeyChecking yes",
        )
        self.ssh_config.write_text("\n".join(lines) + "\n", encoding="utf-8")
        if "SUDO_UID" in os.environ:  # who asked for it may use the key
            os.chown(self.key, int(os.environ["SUDO_UID"]), -1)


def _new_key(file: Path) -> str:
    """Make a pair of keys, the public one beside it with the ending .pub, and return the public one."""
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "stand-in", "-f", file)
    return Path(f"{file}.pub").read_text(encoding="utf-8")
