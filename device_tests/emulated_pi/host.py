"""What this machine must offer to run a stand-in Raspberry Pi: Linux, root, some packages, and QEMU for arm64."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

BINFMT = Path("/proc/sys/fs/binfmt_misc")
HANDLERS = ("qemu-aarch64", "qemu-arm")
# Command that must be found -> Debian package that brings it.
TOOLS = {
    "qemu-aarch64-static": "qemu-user-static",
    "update-binfmts": "binfmt-support",
    "mmdebstrap": "mmdebstrap",
    "ssh": "openssh-client",
    "adb": "adb",
    "ip": "iproute2",
    "zstd": "zstd",
}
DEBIAN_KEYS = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
ALL_USERS = ["0", "0", "4294967295"]  # the map of users where root is root, and not that of a user namespace
# The environment of programs inside: nothing of this machine (proxies, certificates, PIP_*) may leak in.
CLEAN = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}


class StandInError(Exception):
    """The stand-in cannot be built or started; the message is one line."""


def run(*command: str | Path, env: Mapping[str, str] | None = None, timeout_s: float = 60, input: str = "") -> str:
    """Run a program on this machine and return its standard output; StandInError with its last words if it fails."""
    words = [str(word) for word in command]
    try:
        done = subprocess.run(
            words, env=env, timeout=timeout_s, input=input, capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        raise StandInError(f"{words[0]} is not installed. Install the package that brings it") from None
    except subprocess.TimeoutExpired:
        raise StandInError(f"`{' '.join(words)}` did not end within {timeout_s:g} s") from None
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip() or "nothing").splitlines()
        raise StandInError(f"`{' '.join(words)}` ended with status {done.returncode}. It said: {' / '.join(said[-3:])}")
    return done.stdout


def say(text: str) -> None:
    print(f"emulated_pi: {text}", file=sys.stderr, flush=True)


def prepare() -> None:
    """Make this machine ready, installing what is missing; StandInError names what it lacks."""
    if sys.platform != "linux":
        raise StandInError(
            f"the stand-in Raspberry Pi needs Linux. Received: {sys.platform}. Use --device ssh://pi@HOST"
        )
    if os.geteuid() != 0 or Path("/proc/self/uid_map").read_text().split() != ALL_USERS:
        raise StandInError(
            "the stand-in Raspberry Pi needs root (mounts, network and process namespaces). "
            "Run `make device-test`, which asks sudo, or use --device ssh://pi@HOST"
        )
    _install_packages()
    _register_arm()
    try:
        run("unshare", "--mount", "--net", "--pid", "--uts", "--fork", "true")
    except StandInError as error:
        raise StandInError(
            f"the stand-in Raspberry Pi needs the privilege to make mount, network and process namespaces "
            f"(in a container: --privileged). {error}"
        ) from None


def _install_packages() -> None:
    missing = [package for command, package in TOOLS.items() if not shutil.which(command, path=_search_path())]
    if not DEBIAN_KEYS.exists():
        missing.append("debian-archive-keyring")
    if not missing:
        return
    if not shutil.which("apt-get"):
        raise StandInError(
            f"the stand-in Raspberry Pi needs these packages, and there is no apt-get: {' '.join(missing)}"
        )
    say(f"installing {' '.join(missing)}")
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    run("apt-get", "update", "-q", env=env, timeout_s=300)
    run("apt-get", "install", "-q", "-y", "--no-install-recommends", *missing, env=env, timeout_s=600)


def _search_path() -> str:
    return f"{os.environ.get('PATH', '')}:{CLEAN['PATH']}"


def _register_arm() -> None:
    """Let the kernel run arm64 programs through QEMU."""
    if not (BINFMT / "register").exists():
        run("mount", "-t", "binfmt_misc", "binfmt_misc", BINFMT)
    for name in HANDLERS:
        if not (BINFMT / name).exists():
            run("update-binfmts", "--import")
            run("update-binfmts", "--enable", name)
        # F: the kernel has opened QEMU already, and needs no copy of it inside.
        entry = (BINFMT / name).read_text() if (BINFMT / name).exists() else ""
        if not re.search(r"^enabled$.*^flags: \w*F", entry, re.MULTILINE | re.DOTALL):
            raise StandInError(
                f"the kernel cannot run ARM programs: expected {BINFMT / name} to be enabled, with flag F. "
                f"Try `update-binfmts --enable {name}`"
            )
