"""Builds or runs a stand-in Raspberry Pi by hand.

    python device_tests/emulated_pi build [--architecture armhf]
    python device_tests/emulated_pi run --name pi4 [--cpu cortex-a76] [--index 9] [--folder FOLDER]

`run` prints how to reach it and stays until Ctrl-C. Needs root.
"""

import argparse
import signal
import sys
import time
from pathlib import Path
from types import FrameType

from device_tests.emulated_pi import build, debian, hardware
from device_tests.emulated_pi.emulated_pi import EmulatedPi
from device_tests.emulated_pi.host import StandInError


def main() -> int:
    parser = argparse.ArgumentParser(description="a stand-in Raspberry Pi")
    commands = parser.add_subparsers(dest="command", required=True)
    files = commands.add_parser("build", help="build its files, or find them built")
    files.add_argument("--architecture", default="arm64", choices=sorted(debian.SYSTEMS))
    run = commands.add_parser("run", help="start one and keep it until Ctrl-C")
    run.add_argument("--name", default="pi4", help="its host name (default: %(default)s)")
    run.add_argument("--cpu", default="cortex-a72", choices=sorted(hardware.BOARDS))
    run.add_argument("--index", type=int, help="its address is 10.213.INDEX.2 (default: the first free one)")
    run.add_argument("--folder", type=Path, help="new folder for its files (default: a temporary one)")
    run.add_argument("--governor-writable", action="store_true", help="let user pi set the governor")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, _stop)
    try:
        if args.command == "build":
            print(build.rootfs(args.architecture))
        else:
            stay(args)
    except StandInError as error:
        print(f"emulated_pi: {error}", file=sys.stderr)
        return 3
    except KeyboardInterrupt:
        return 130
    return 0


def stay(args: argparse.Namespace) -> None:
    started = time.monotonic()
    options = {"cpu": args.cpu, "index": args.index, "folder": args.folder}
    with EmulatedPi(args.name, governor_writable=args.governor_writable, **options) as pi:
        print(f"{pi.name} answers after {time.monotonic() - started:.1f} s; Ctrl-C stops it. Reach it with:")
        print(f"  ssh -F {pi.ssh_config} {pi.name}", flush=True)
        signal.pause()


def _stop(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
