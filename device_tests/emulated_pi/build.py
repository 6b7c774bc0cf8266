"""Builds the files of the stand-in Raspberry Pi once and keeps them.

In them: an ssh server, Python 3.11 with venv and pip, user `pi`, the wheels of the engines in /opt/wheels (the stand-in
has no internet: `pip install --no-index --find-links /opt/wheels`), and an environment /opt/bench that has them.
"""

import contextlib
import functools
import hashlib
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from device_tests.emulated_pi import debian
from device_tests.emulated_pi.debian import SYSTEMS, System, guest
from device_tests.emulated_pi.host import prepare, run, say
from device_tests.emulated_pi.locks import locked

BUILD_TIMEOUT_S = 1500
# pip takes the tags of a platform that it does not run on one by one. Debian 12 has glibc 2.36.
GLIBC_MINORS = range(17, 37)

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
    """Return what the built files depend on, in 16 hexadecimal digits: these two modules say it all."""
    recipe = Path(__file__).read_bytes() + Path(debian.__file__).read_bytes()
    return hashlib.sha256(recipe).hexdigest()[:16]


def rootfs(architecture: str = "arm64") -> Path:
    """Return the folder with the files of a stand-in, built or unpacked where necessary. It must not be changed."""
    prepare()
    cache = cache_folder()
    cache.mkdir(parents=True, exist_ok=True)
    folder = cache / f"{architecture}-{key()}"
    archive = cache / f"{architecture}-{key()}.tar.zst"
    with locked(cache / f"{architecture}.lock", wait_s=BUILD_TIMEOUT_S):
        if not folder.is_dir():
            _remove_others(cache, architecture)
            if archive.is_file():
                _unpack(archive, folder)
            else:
                _build(SYSTEMS[architecture], archive, folder)
    return folder


def _remove_others(cache: Path, architecture: str) -> None:
    """Remove what older recipes and interrupted builds left."""
    for old in cache.glob(f"{architecture}-*"):
        if key() not in old.name and not _in_use(old):
            say(f"removing {old}")
            shutil.rmtree(old) if old.is_dir() else old.unlink()


def _in_use(folder: Path) -> bool:
    """Say whether some process has it mounted; mounts of a stand-in show in the lists of its own processes alone."""
    for mounts in Path("/proc").glob("[0-9]*/mounts"):
        with contextlib.suppress(OSError):
            if str(folder) in mounts.read_text():
                return True
    return False


def _unpack(archive: Path, folder: Path) -> None:
    say(f"unpacking {archive}")
    with _complete(folder) as part:
        run("tar", "--numeric-owner", "-C", part, "-I", "zstd", "-xpf", archive, timeout_s=600)


def _build(system: System, archive: Path, folder: Path) -> None:
    started = time.monotonic()
    say(f"building Debian for {system.architecture} (a minute or two, once)")
    with _complete(folder) as part:
        debian.unpack_packages(system, part)
        debian.set_up(part)
        (part / "usr/bin/vcgencmd").write_text(VCGENCMD)
        (part / "usr/bin/vcgencmd").chmod(0o755)
        say(f"installing {', '.join(system.wheels)}")
        _install_engines(system, part)
        packed = part.with_suffix(".tar.zst")
        run("tar", "--numeric-owner", "-C", part, "-I", "zstd -3 -T0", "-cf", packed, ".", timeout_s=600)
        packed.replace(archive)
    say(f"built {archive} in {time.monotonic() - started:.0f} s")


@contextlib.contextmanager
def _complete(folder: Path) -> Iterator[Path]:
    """Give a new folder that gets its name only when everything in it is complete."""
    part = Path(tempfile.mkdtemp(prefix=f"{folder.name.partition('-')[0]}-part-", dir=folder.parent))
    part.chmod(0o755)
    try:
        yield part
        part.replace(folder)
    finally:
        for left in (part.with_suffix(".tar.zst"), part):
            if left.exists():
                shutil.rmtree(left) if left.is_dir() else left.unlink()


def _install_engines(system: System, root: Path) -> None:
    tags = [f"manylinux_2_{minor}" for minor in GLIBC_MINORS] + ["manylinux2014", "linux"]
    platforms = [word for tag in tags for word in ("--platform", f"{tag}_{system.wheel_machine}")]
    target = ["--implementation", "cp", "--python-version", "3.11", "--abi", "cp311", "--abi", "abi3", "--abi", "none"]
    alone = ["--no-deps"] if system.from_debian else []
    pip = [sys.executable, "-m", "pip", "download", "-q", "--only-binary=:all:", *alone, *target, *platforms]
    run(*pip, "-d", root / "opt/wheels", *system.wheels, timeout_s=600)
    guest(root, "python3", "-m", "venv", *(["--system-site-packages"] if system.from_debian else []), "/opt/bench")
    offline = ["--no-index", "--find-links", "/opt/wheels", *alone]
    guest(root, "/opt/bench/bin/pip", "install", "-q", *offline, *system.wheels)
