"""Debian 12 for ARM, unpacked from its packages and set up by hand.

Every program is Debian's own. Its installation scripts are left out: under emulation they take minutes, and the little
of them that counts here (accounts, links, compiled Python modules) is done below. PAM stays unconfigured and off.
"""

import contextlib
import os
import re
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from device_tests.emulated_pi.host import CLEAN, StandInError, run, say

SUITE = "bookworm"
MERGED_USR = "/usr/share/mmdebstrap/hooks/merged-usr"
MIRROR_VARIABLE = "MNET_DEBIAN_MIRROR"  # for machines that run another system
DOWNLOAD_TIMEOUT_S = 900
GUEST_TIMEOUT_S = 600
TRIES = 3  # a mirror in the middle of its update refuses for some seconds
PACKAGES = (
    "base-files",
    "base-passwd",
    "bash",
    "coreutils",
    "dash",
    "debianutils",
    "diffutils",
    "findutils",
    "grep",
    "gzip",
    "hostname",
    "iproute2",
    "libc-bin",
    "libstdc++6",
    "login",
    "mawk",
    "mount",
    "ncurses-base",
    "ncurses-bin",
    "openssh-server",
    "passwd",
    "procps",
    "python3-minimal",
    "python3-pip",
    "python3-venv",
    "sed",
    "sysvinit-utils",
    "tar",
    "util-linux",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """A Debian of one architecture with what our engines need.

    Attributes:
        packages: Debian packages beside `PACKAGES`.
        wheels: what is installed in /opt/bench, and lies in /opt/wheels with what it needs.
        wheel_machine: the machine's name in names of wheels.
        from_debian: whether NumPy comes from Debian, because it has no wheel.
    """

    architecture: str
    packages: tuple[str, ...] = ()
    wheels: tuple[str, ...]
    wheel_machine: str
    from_debian: bool = False


SYSTEMS = {
    "arm64": System(
        architecture="arm64",
        wheels=("ai-edge-litert==2.3.0", "onnxruntime==1.31.1", "tflite-runtime==2.14.0", "numpy==1.26.4"),
        wheel_machine="aarch64",
    ),
    "armhf": System(
        architecture="armhf",
        packages=("python3-numpy",),
        wheels=("tflite-runtime==2.14.0",),
        wheel_machine="armv7l",
        from_debian=True,
    ),
}


def unpack_packages(system: System, root: Path) -> None:
    """Fill an empty folder."""
    packages = ",".join((*PACKAGES, *system.packages))
    options = [f"--aptopt={option}" for option in ('Acquire::Languages "none"', 'Acquire::Retries "3"', *apt_options())]
    what = (f"--architectures={system.architecture}", "--variant=extract", f"--include={packages}")
    command = (
        "mmdebstrap",
        *what,
        f"--hook-dir={MERGED_USR}",
        *options,
        SUITE,
        str(root),
        f"deb {mirror()} {SUITE} main",
    )
    for attempt in range(1, TRIES + 1):
        try:
            run(*command, timeout_s=DOWNLOAD_TIMEOUT_S)
            return
        except StandInError as error:
            if attempt == TRIES:
                raise
            say(f"attempt {attempt} of {TRIES} failed, trying again: {error}")
            shutil.rmtree(root)
            root.mkdir()
            time.sleep(15)


def set_up(root: Path) -> None:
    """Do what the installation scripts would have done."""
    for source, target in (
        ("usr/share/base-passwd/passwd.master", "etc/passwd"),
        ("usr/share/base-passwd/group.master", "etc/group"),
        ("usr/share/openssh/sshd_config", "etc/ssh/sshd_config"),
        ("usr/share/libc-bin/nsswitch.conf", "etc/nsswitch.conf"),
    ):
        shutil.copyfile(root / source, root / target)
    (root / "etc/resolv.conf").unlink(missing_ok=True)  # a copy of this machine's; the stand-in has no internet
    (root / "usr/bin/awk").symlink_to("mawk")
    (root / "usr/bin/which").symlink_to("which.debianutils")
    for library in ("blas", "lapack"):
        for file in root.glob(f"usr/lib/*/{library}/lib{library}.so.3"):
            (file.parent.parent / file.name).symlink_to(f"{library}/{file.name}")
    guest(root, "ldconfig")
    guest(root, "useradd", "--system", "--home-dir", "/run/sshd", "--shell", "/usr/sbin/nologin", "sshd")
    guest(root, "useradd", "--create-home", "--shell", "/bin/bash", "--groups", "video", "pi")
    guest(root, "usermod", "--password", "*", "pi")  # no password, but not locked: a key may log in
    guest(root, "python3", "-m", "compileall", "-q", "-j", "0", "/usr/lib/python3.11", "/usr/lib/python3")


def guest(root: Path, *command: str) -> str:
    """Run a program of the new system, with none of the mounts it will have."""
    return run("chroot", root, *command, env={**CLEAN, "HOME": "/root"}, timeout_s=GUEST_TIMEOUT_S)


def mirror() -> str:
    """Return the mirror that this machine itself installs Debian from."""
    if given := os.environ.get(MIRROR_VARIABLE):
        return given
    with contextlib.suppress(StandInError):
        for line in run("apt-get", "indextargets", "--format", "$(LABEL) $(COMPONENT) $(REPO_URI)").splitlines():
            label, component, address = line.split(" ", 2)
            if (label, component) == ("Debian", "main"):
                return address.rstrip("/")
    raise StandInError(f"the stand-in is made from a Debian mirror, and apt names none here; set {MIRROR_VARIABLE}")


def apt_options() -> list[str]:
    """Return how this machine reaches its mirrors: proxies, and whether dates are checked."""
    dumped = run("apt-config", "dump", "--no-empty", "--format", '%f "%v"%n', "Acquire").splitlines()
    return [line for line in dumped if re.match(r"Acquire::(https?|Check-[A-Za-z-]+)[: ]", line)]
