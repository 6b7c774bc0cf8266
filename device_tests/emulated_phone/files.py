"""Builds the files of the stand-in phone once and keeps them: an Android-like /system, of Debian's arm64 packages.

Its shell is mksh, which is Android's own; the other programs are busybox. There is no Android library in it.
"""

import functools
import hashlib
import os
import shutil
import tempfile
from pathlib import Path

from device_tests.emulated_pi import debian
from device_tests.emulated_pi.host import prepare, run, say
from device_tests.emulated_pi.locks import locked

BUILD_TIMEOUT_S = 600
PACKAGES = "mksh,busybox-static"
SHELL, TOOLS = "usr/lib/klibc/bin/mksh", "usr/bin/busybox"
GETPROP = """\
#!/system/bin/sh
while IFS='=' read -r name value; do
    if [ $# = 0 ]; then echo "[$name]: [$value]"; elif [ "$name" = "$1" ]; then echo "$value"; fi
done </system/build.prop
"""
PROPERTIES = """\
ro.build.version.release=14
ro.build.version.sdk=34
ro.product.cpu.abilist=arm64-v8a
ro.product.manufacturer=mnet-deploy
ro.product.model=Stand-in phone
ro.soc.model=none
"""


@functools.cache  # a test that gives adb another home must not move it
def rootfs() -> Path:
    """Return the folder with the phone's files, built where necessary. It must not be changed."""
    prepare()
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mnet-deploy" / "emulated-phone"
    base.mkdir(parents=True, exist_ok=True)
    folder = base / hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:16]
    with locked(base / "lock", wait_s=BUILD_TIMEOUT_S):
        if not folder.is_dir():
            _build(folder)
    return folder


def _build(folder: Path) -> None:
    say("building the files of a phone (a few seconds, once)")
    with tempfile.TemporaryDirectory(prefix="part-", dir=folder.parent) as scratch:
        unpacked, part = Path(scratch) / "debian", Path(scratch) / "phone"
        _unpack(unpacked)
        programs = part / "system/bin"
        programs.mkdir(parents=True)
        part.chmod(0o755)
        shutil.copy(unpacked / TOOLS, programs / "busybox")
        run("chroot", part, "/system/bin/busybox", "--install", "-s", "/system/bin")
        (programs / "sh").unlink()
        shutil.copy(unpacked / SHELL, programs / "sh")
        (programs / "getprop").write_text(GETPROP)
        (programs / "getprop").chmod(0o755)
        (part / "system/build.prop").write_text(PROPERTIES)
        part.replace(folder)


def _unpack(root: Path) -> None:
    """Fill a new folder with the packages and what they need."""
    options = [f"--aptopt={option}" for option in ('Acquire::Languages "none"', *debian._apt_options())]
    what = ("--architectures=arm64", "--variant=extract", f"--include={PACKAGES}", f"--hook-dir={debian.MERGED_USR}")
    source = f"deb {debian._mirror()} {debian.SUITE} main"
    run("mmdebstrap", *what, *options, debian.SUITE, root, source, timeout_s=BUILD_TIMEOUT_S)
