"""Builds the files of the stand-in Raspberry Pi once and keeps them: Debian 12 for arm64, with three engines.

In it: an ssh server, Python 3.11 with venv and pip, user `pi`, the wheels in /opt/wheels (the stand-in has no internet;
`pip install --no-index --find-links /opt/wheels`), and an environment /opt/bench that has them installed.
"""

import contextlib
import functools
import hashlib
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from device_tests.emulated_pi.host import CLEAN, StandInError, prepare, run, say
from device_tests.emulated_pi.locks import locked

SUITE = "bookworm"
PACKAGES = (
    "openssh-server",
    "python3-minimal",
    "python3-venv",
    "python3-pip",
    "ca-certificates",
    "procps",
    "iproute2",
)
WHEELS = ("ai-edge-litert==2.3.0", "onnxruntime==1.31.1", "tflite-runtime==2.14.0", "numpy==1.26.4")
PLATFORMS = ("manylinux2014_aarch64", "linux_aarch64", *(f"manylinux_2_{minor}_aarch64" for minor in range(17, 37)))
DEFAULT_MIRROR = "http://deb.debian.org/debian"
BUILD_TIMEOUT_S = 1500
TRIES = 3  # a mirror in the middle of its update refuses for some seconds

# Answers from the faked /sys, so that what a test writes there shows here at once.
VCGENCMD = """\
#!/bin/sh
case "$1 $2" in
  "get_throttled "*) echo "throttled=0x$(cat /sys/devices/platform/soc/soc:firmware/get_throttled)" ;;
  "measure_temp "*)
    read -r millidegrees </sys/class/thermal/thermal_zone0/temp
    echo "temp=$((millidegrees / 1000)).$((millidegrees % 1000 / 100))'C" ;;
  "measure_clock arm")
    read -r kilohertz </sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq
    echo "frequency(48)=$((kilohertz * 1000))" ;;
  *) echo 'error=1 error_msg="Command not registered"'; exit 255 ;;
esac
"""


def cache_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "mnet-deploy" / "emulated-pi"


@functools.cache
def key() -> str:
    """Return what a built rootfs depends on, in 16 hexadecimal digits: this file has it all."""
    return hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:16]


def rootfs() -> Path:
    """Return the folder with the files of the stand-in, built and unpacked where necessary. It must not be changed."""
    prepare()
    cache = cache_folder()
    cache.mkdir(parents=True, exist_ok=True)
    with locked(cache / "lock", wait_s=BUILD_TIMEOUT_S):
        archive, folder = cache / f"rootfs-{key()}.tar.zst", cache / f"rootfs-{key()}"
        if not folder.is_dir():
            _remove_others(cache)
            if archive.is_file():
                _unpack(archive, folder)
            else:
                _build(archive, folder)
    return folder


def _remove_others(cache: Path) -> None:
    for old in cache.glob("rootfs-*"):
        if key() not in old.name and not _in_use(old):
            say(f"removing {old}")
            shutil.rmtree(old) if old.is_dir() else old.unlink()
    for part in cache.glob("part-*"):
        shutil.rmtree(part)


def _in_use(folder: Path) -> bool:
    """Say whether some process has it mounted; mounts of a stand-in show in the lists of its own processes alone."""
    for mounts in Path("/proc").glob("[0-9]*/mounts"):
        with contextlib.suppress(OSError):
            if str(folder) in mounts.read_text():
                return True
    return False


def _unpack(archive: Path, folder: Path) -> None:
    say(f"unpacking {archive}")
    with _part(folder) as part:
        run("tar", "--numeric-owner", "-C", part, "-I", "zstd", "-xpf", archive, timeout_s=600)


def _build(archive: Path, folder: Path) -> None:
    started = time.monotonic()
    with _part(folder) as part:
        _debian(part)
        say(f"installing {', '.join(WHEELS)}")
        _guest(part, "useradd", "-m", "-s", "/bin/bash", "-G", "video", "pi")
        _guest(part, "usermod", "-p", "*", "pi")
        (part / "usr/bin/vcgencmd").write_text(VCGENCMD)
        (part / "usr/bin/vcgencmd").chmod(0o755)
        for host_key in (part / "etc/ssh").glob("ssh_host_*"):
            host_key.unlink()
        _wheels(part / "opt/wheels")
        _guest(part, "python3", "-m", "venv", "/opt/bench")
        _guest(part, "/opt/bench/bin/pip", "install", "-q", "--no-index", "--find-links", "/opt/wheels", *WHEELS)
        packed = archive.with_suffix(".part")
        run("tar", "--numeric-owner", "-C", part, "-I", "zstd -3 -T0", "-cf", packed, ".", timeout_s=600)
        packed.replace(archive)
    say(f"built {archive} in {time.monotonic() - started:.0f} s")


@contextlib.contextmanager
def _part(folder: Path) -> Iterator[Path]:
    """Give a new folder that gets its name only when everything in it is complete."""
    part = Path(tempfile.mkdtemp(prefix="part-", dir=folder.parent))
    part.chmod(0o755)
    try:
        yield part
        part.replace(folder)
    finally:
        if part.exists():
            shutil.rmtree(part)


def _debian(root: Path) -> None:
    say(f"building Debian {SUITE} for arm64 (some minutes, once)")
    options = [
        f"--aptopt={option}" for option in ('Acquire::Languages "none"', 'Acquire::Retries "3"', *_apt_options())
    ]
    command = ("mmdebstrap", "--arch=arm64", "--variant=minbase", f"--include={','.join(PACKAGES)}", *options)
    for attempt in range(1, TRIES + 1):
        try:
            run(*command, SUITE, root, f"deb {_mirror()} {SUITE} main", timeout_s=BUILD_TIMEOUT_S)
            return
        except StandInError as error:
            if attempt == TRIES:
                raise
            say(f"attempt {attempt} of {TRIES} failed, trying again: {error}")
            shutil.rmtree(root)
            root.mkdir()
            time.sleep(15)


def _mirror() -> str:
    """Return the mirror that this machine itself installs Debian from."""
    with contextlib.suppress(StandInError):
        for line in run("apt-get", "indextargets", "--format", "$(LABEL) $(COMPONENT) $(REPO_URI)").splitlines():
            label, component, address = line.split(" ", 2)
            if (label, component) == ("Debian", "main"):
                return address.rstrip("/")
    return DEFAULT_MIRROR


def _apt_options() -> list[str]:
    """Return how this machine reaches its mirrors: proxies, and whether dates are checked."""
    dumped = run("apt-config", "dump", "--no-empty", "--format", '%f "%v"%n', "Acquire").splitlines()
    return [line for line in dumped if re.match(r"Acquire::(https?|Check-[A-Za-z-]+)[: ]", line)]


def _wheels(folder: Path) -> None:
    platforms = [word for name in PLATFORMS for word in ("--platform", name)]
    target = ["--implementation", "cp", "--python-version", "3.11", "--abi", "cp311", "--abi", "abi3", "--abi", "none"]
    pip = (sys.executable, "-m", "pip", "download", "-q", "--only-binary=:all:", *target, *platforms, "-d", str(folder))
    run(*pip, *WHEELS, timeout_s=600)


def _guest(root: Path, *command: str) -> str:
    """Run a program of the stand-in, with none of its mounts."""
    return run("chroot", root, *command, env={**CLEAN, "HOME": "/root"}, timeout_s=600)
