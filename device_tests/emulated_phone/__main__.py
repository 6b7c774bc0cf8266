"""Start a stand-in phone by hand, until Enter or Ctrl-C: python -m device_tests.emulated_phone [OPTIONS].

While it runs it takes changes from its input, a line each: `set NAME=VALUE...` (thermal_status=3, cpu_c=71.5 and other
attributes of phone_state.State), `clock HERTZ` (the highest of the fastest cores), `mode NAME [NUMBER]`, `drop`,
`unplug`, `plug`, `look` (what runs and lies about inside).
"""

import argparse
import json
import shutil
import signal
import sys
from contextlib import suppress
from pathlib import Path

from device_tests.emulated_phone import files
from device_tests.emulated_phone.adbd import MODES
from device_tests.emulated_phone.emulated_phone import AdbServer, EmulatedPhone
from device_tests.emulated_phone.hardware import PHONES
from device_tests.emulated_phone.phone_state import ANDROID_SDKS
from device_tests.emulated_pi.host import StandInError


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m device_tests.emulated_phone", description=__doc__.splitlines()[0])
    parser.add_argument("--hardware", choices=PHONES, default="arm64", help="what it is (default: %(default)s)")
    parser.add_argument("--android", type=int, choices=ANDROID_SDKS, default=14, help="its version")
    parser.add_argument("--adb", type=Path, help="the adb executable (default: the one on PATH)")
    parser.add_argument("--mode", choices=MODES, default="ok", help="how it answers (default: %(default)s)")
    parser.add_argument("--number", type=float, default=0, help="seconds of authorize-after, bytes of drop-after")
    parser.add_argument("--no-shell-v2", action="store_true", help="as before Android 7")
    parser.add_argument("--storage", type=int, default=1 << 28, metavar="BYTES", help="size of /data/local/tmp")
    parser.add_argument("--noexec", action="store_true", help="nothing in /data/local/tmp may be run")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # it cleans up then, too
    try:
        files.rootfs(PHONES[args.hardware].architecture)
        adb = args.adb or Path(shutil.which("adb") or "adb")
        options = {name: getattr(args, name) for name in ("hardware", "android", "mode", "number", "noexec")}
        options |= {"shell_v2": not args.no_shell_v2, "storage_bytes": args.storage}
        with AdbServer(adb) as server, EmulatedPhone(server, **options) as phone:
            exports = {**server.environment, "MNET_ADB": str(adb), "ANDROID_SERIAL": phone.serial}
            print("export", *(f"{name}={value}" for name, value in exports.items()), flush=True)
            print(f"# {phone.address}", flush=True)
            with suppress(KeyboardInterrupt):
                while line := sys.stdin.readline().strip():
                    obey(phone, *line.split())
    except StandInError as error:
        print(f"emulated_phone: {error}", file=sys.stderr)
        return 3
    return 0


def obey(phone: EmulatedPhone, order: str, *words: str) -> None:
    """Carry out a line of the input."""
    try:
        match order:
            case "set":
                phone.set_state(
                    **{name: json.loads(value) for name, _, value in (word.partition("=") for word in words)}
                )
            case "clock":
                phone.set_highest_clock(float(words[0]))
            case "mode":
                phone.set_mode(words[0], *map(float, words[1:]))
            case "drop" | "unplug" | "plug":
                getattr(phone, {"plug": "plug_in"}.get(order, order))()
            case "look":
                print(*phone.processes(), *phone.temporary_files(), sep="\n")
            case _:
                print(f"not an order: {order}")
    except (TypeError, ValueError, IndexError, StandInError) as error:
        print(f"{order}: {error}")
    print("done", flush=True)


if __name__ == "__main__":
    sys.exit(main())
