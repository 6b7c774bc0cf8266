"""Builds the files of the stand-in phones once and keeps them: an Android-like /system, of Debian's ARM packages.

The shell is mksh and most programs are toybox, which are Android's own; busybox gives the few that Debian's toybox
lacks. What belongs to Android alone (getprop, dumpsys, settings, cmd) are scripts that show files, which
`phone_state.py` writes.

There is no bionic: linker64 is glibc's loader, changed to look for libraries in /system/lib64, where glibc's are. So a
program for Android does not run here; one that is built for glibc with /system/bin/linker64 as its interpreter runs
as one for bionic would on a phone. A loader that is brought along finds nothing of the phone's, as on a phone.
"""

import functools
import hashlib
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from device_tests.emulated_pi import debian
from device_tests.emulated_pi.host import prepare, run, say
from device_tests.emulated_pi.locks import locked

# Found once: a test that gives adb another home must not move it.
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mnet-deploy" / "emulated-phone"
BUILD_TIMEOUT_S = 600
PACKAGES = "mksh,toybox,busybox-static,libstdc++6,libgcc-s1"
SHELL, TOYBOX, BUSYBOX = "usr/lib/klibc/bin/mksh", "usr/bin/toybox", "usr/bin/busybox"
FROM_BUSYBOX = (
    *("awk", "bc", "bunzip2", "bzcat", "bzip2", "dd", "diff", "expr", "getopt", "gunzip", "gzip", "more", "stty"),
    *("tr", "vi", "zcat"),
)
NOT_ON_PHONES = (
    *("arch", "ascii", "bunzip2", "bzcat", "eject", "ftpget", "ftpput", "gunzip", "host", "httpd", "hexedit"),
    *("killall5", "login", "mcookie", "mkpasswd", "nbd-server", "oneit", "passwd", "pwgen", "shred", "sntp", "su"),
    *("w", "wget", "who", "zcat"),
)
LIBRARIES = ("libc.so.6", "libcrypt.so.1", "libdl.so.2", "libgcc_s.so.1", "libm.so.6", "libpthread.so.0", "librt.so.1")
# Android's C library knows these by itself.
ACCOUNTS = {
    "passwd": "root:x:0:0::/:/system/bin/sh\nshell:x:2000:2000::/:/system/bin/sh\n",
    "group": "root:x:0:\nshell:x:2000:\n",
}
STATE = "system/standin"  # what a running phone shows is mounted there
SCRIPTS = {
    "getprop": """\
#!/system/bin/sh
while IFS='=' read -r name value; do
    if [ $# = 0 ]; then echo "[$name]: [$value]"; elif [ "$name" = "$1" ]; then echo "$value"; exit; fi
done </system/standin/properties
if [ $# != 0 ]; then echo "$2"; fi
""",
    "dumpsys": """\
#!/system/bin/sh
case $1 in
'' | */*) echo "this stand-in answers for a service that is named" >&2; exit 1 ;;
esac
if [ -r "/system/standin/dumpsys/$1" ]; then exec cat "/system/standin/dumpsys/$1"; fi
echo "Can't find service: $1" >&2
""",
    "settings": """\
#!/system/bin/sh
if [ "$1 $2" = "get global" ]; then
    while IFS='=' read -r name value; do
        if [ "$name" = "$3" ]; then echo "$value"; exit; fi
    done </system/standin/settings
    echo null
else
    echo "this stand-in knows settings get global NAME" >&2
    exit 255
fi
""",
    "cmd": """\
#!/system/bin/sh
echo "cmd: Can't find service: $1" >&2
exit 20
""",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """A processor architecture, as Debian and Android call its parts."""

    folder: str  # of the libraries, in Debian
    loader: str  # as programs of Debian name it
    linker: str
    libraries: str


SYSTEMS = {
    "arm64": System(
        folder="aarch64-linux-gnu", loader="/lib/ld-linux-aarch64.so.1", linker="linker64", libraries="lib64"
    ),
    "armhf": System(folder="arm-linux-gnueabihf", loader="/lib/ld-linux-armhf.so.3", linker="linker", libraries="lib"),
}


@functools.cache
def rootfs(architecture: str = "arm64") -> Path:
    """Return the folder with a phone's files, built where necessary. It must not be changed."""
    prepare()
    CACHE.mkdir(parents=True, exist_ok=True)
    folder = CACHE / f"{architecture}-{hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:16]}"
    with locked(CACHE / f"{architecture}.lock", wait_s=BUILD_TIMEOUT_S):
        if not folder.is_dir():
            _build(architecture, folder)
    return folder


def _build(architecture: str, folder: Path) -> None:
    say(f"building the files of a phone for {architecture} (a few seconds, once)")
    with tempfile.TemporaryDirectory(prefix="part-", dir=folder.parent) as scratch:
        unpacked, part = Path(scratch) / "debian", Path(scratch) / "phone"
        _unpack(architecture, unpacked)
        (part / "system/bin").mkdir(parents=True)
        (part / "system/etc").mkdir()
        (part / STATE).mkdir()
        part.chmod(0o755)
        _copy_libraries(SYSTEMS[architecture], unpacked, part / "system")
        _copy_programs(SYSTEMS[architecture], unpacked, part)
        for name, text in SCRIPTS.items():
            (part / "system/bin" / name).write_text(text)
            (part / "system/bin" / name).chmod(0o755)
        for name, text in ACCOUNTS.items():
            (part / "system/etc" / name).write_text(text)
        part.replace(folder)


def _copy_libraries(system: System, unpacked: Path, target: Path) -> None:
    """Copy the loader, which looks for libraries in the phone's folder alone, and them."""
    (target / system.libraries).mkdir()
    source = unpacked / "usr/lib" / system.folder
    for name in (*LIBRARIES, "libstdc++.so.6"):
        shutil.copy(source / name, target / system.libraries / name)
    loader = (unpacked / f"usr{system.loader}").read_bytes()
    old = f"/lib/{system.folder}/".encode()
    new = f"/system/{system.libraries}".encode().ljust(len(old), b"/")
    _write_program(target / "bin" / system.linker, loader.replace(old, new))


def _copy_programs(system: System, unpacked: Path, part: Path) -> None:
    programs = part / "system/bin"
    shutil.copy(unpacked / SHELL, programs / "sh")
    shutil.copy(unpacked / BUSYBOX, programs / "busybox")
    old = f"{system.loader}\0".encode()
    new = f"/system/bin/{system.linker}".encode().ljust(len(old), b"\0")
    _write_program(programs / "toybox", (unpacked / TOYBOX).read_bytes().replace(old, new))
    for name in run("chroot", part, "/system/bin/toybox").split():
        if name not in NOT_ON_PHONES:
            (programs / name).symlink_to("toybox")
    for name in FROM_BUSYBOX:
        (programs / name).symlink_to("busybox")


def _write_program(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    path.chmod(0o755)


def _unpack(architecture: str, root: Path) -> None:
    """Fill a new folder with the packages and what they need."""
    options = [f"--aptopt={option}" for option in ('Acquire::Languages "none"', *debian.apt_options())]
    what = (f"--architectures={architecture}", "--variant=extract", f"--include={PACKAGES}")
    source = f"deb {debian.mirror()} {debian.SUITE} main"
    run(
        *("mmdebstrap", *what, f"--hook-dir={debian.MERGED_USR}", *options, debian.SUITE, root, source),
        timeout_s=BUILD_TIMEOUT_S,
    )
