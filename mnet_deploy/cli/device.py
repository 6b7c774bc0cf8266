"""See which devices there are, whether one is ready for mnet bench, and make it ready.

A device is local: (this machine), ssh://[user@]host[:port], where host may be an alias of your ssh configuration, or
adb://[SERIAL], a phone. list names the phones that adb knows, and tries whether the hosts of your ssh configuration
answer, without logging in. check looks and changes nothing; exit status 3: not ready, and the last line says what to
do. setup makes a virtual environment with the engines in ~/.local/share/mnet-deploy/venv on the device, from the
package index or, if the device does not reach that, from wheels that this machine downloads and sends. It needs no
root, and leaves nothing if it fails. A phone needs no setup: mnet bench brings everything along, and takes it away.
"""

import argparse
import json

from mnet_deploy.errors import SpecError
from mnet_deploy.progress import Progress

HELP = "list devices, check one, set one up"
EXIT_NOT_READY = 3
ADDRESS = "local:, ssh://[user@]host[:port] or adb://[SERIAL]"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's options."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="this machine, phones, and the hosts of your ssh configuration")
    check = actions.add_parser("check", help="what a device is, which engines fit, whether it is ready")
    setup = actions.add_parser("setup", help="install the engines there")
    for action in (check, setup):
        action.add_argument("--device", required=True, metavar="ADDRESS", help=ADDRESS)
    for action in (listing, check):
        action.add_argument("--json", action="store_true", help="print JSON")
    setup.add_argument(
        "--engine",
        default="",
        metavar="E,...",
        help="litert, tflite-runtime, onnxruntime (default: litert, or tflite-runtime where that does not fit, and "
        "onnxruntime)",
    )
    way = setup.add_mutually_exclusive_group()
    way.add_argument("--online", action="store_true", help="the device itself gets the wheels (default: if it can)")
    way.add_argument("--offline", action="store_true", help="this machine downloads the wheels and sends them")
    setup.add_argument("--force", action="store_true", help="make the environment anew, with these engines alone")


def run(args: argparse.Namespace) -> int:
    """Run the verb's action."""
    return {"list": _list, "check": _check, "setup": _setup}[args.action](args)


def _list(args: argparse.Namespace) -> int:
    from mnet_deploy.pipeline.device_list import list_devices, list_json, list_text

    devices = list_devices()
    print(json.dumps(list_json(devices), indent=2) if args.json else list_text(devices))
    return 0


def _check(args: argparse.Namespace) -> int:
    from mnet_deploy.pipeline.device_check import check_device, check_text
    from mnet_deploy.runners.transports.address import DeviceAddress

    progress = Progress()
    address = DeviceAddress.parse(args.device)
    progress.stage(f"looking at {address}")
    check = check_device(address)
    progress.done()
    print(json.dumps(check.to_json(), indent=2) if args.json else check_text(check))
    return 0 if check.ready else EXIT_NOT_READY


def _setup(args: argparse.Namespace) -> int:
    from mnet_deploy.runners.setup.device_setup import SetupRequest, set_up
    from mnet_deploy.runners.transports.address import DeviceAddress
    from mnet_deploy.runners.transports.open_transport import open_transport

    request = SetupRequest(engines=_engines(args.engine), online=_online(args.online, args.offline), force=args.force)
    address = DeviceAddress.parse(args.device)
    if address.scheme == "adb":
        raise SpecError(f"a phone needs no setup: mnet bench brings everything along. Received: --device {address}")
    progress = Progress()
    with open_transport(address) as transport:
        result = set_up(transport, request, progress)
    progress.done()
    engines = ", ".join(f"{name} {version or ''}".rstrip() for name, version in result.python.engines.items())
    done = "is set up already" if result.made == "already" else f"is set up ({result.made})"
    print(f"{transport.address} {done}: {engines}, NumPy {result.python.numpy}, {result.python.path}")
    return 0


def _engines(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if text and not names:
        raise SpecError(f"--engine takes names of engines. Received: {text!r}")
    return names


def _online(online: bool, offline: bool) -> bool | None:
    return True if online else False if offline else None
