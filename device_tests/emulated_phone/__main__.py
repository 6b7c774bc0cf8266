"""Start a stand-in phone by hand, until Enter or Ctrl-C: python -m device_tests.emulated_phone [--mode MODE]."""

import argparse
import shutil
import sys
from contextlib import suppress
from pathlib import Path

from device_tests.emulated_phone import files
from device_tests.emulated_phone.adbd import MODES
from device_tests.emulated_phone.emulated_phone import AdbServer, EmulatedPhone
from device_tests.emulated_pi.host import StandInError


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m device_tests.emulated_phone", description=__doc__)
    parser.add_argument("--adb", type=Path, help="the adb executable (default: the one on PATH)")
    parser.add_argument("--mode", choices=MODES, default="ok", help="how it answers (default: %(default)s)")
    parser.add_argument("--number", type=float, default=0, help="seconds of authorize-after, bytes of drop-after")
    parser.add_argument("--no-shell-v2", action="store_true", help="as before Android 7")
    args = parser.parse_args()
    try:
        files.rootfs()
        adb = args.adb or Path(shutil.which("adb") or "adb")
        options = {"mode": args.mode, "number": args.number, "shell_v2": not args.no_shell_v2}
        with AdbServer(adb) as server, EmulatedPhone(server, **options) as phone:
            exports = {**server.environment, "MNET_ADB": str(adb), "ANDROID_SERIAL": phone.serial}
            print("export", *(f"{name}={value}" for name, value in exports.items()), flush=True)
            print(f"# {phone.address}", flush=True)
            with suppress(KeyboardInterrupt):
                sys.stdin.readline()
    except StandInError as error:
        print(f"emulated_phone: {error}", file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
