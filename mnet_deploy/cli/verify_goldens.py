"""`mnet verify FILE --goldens`: ask a file again what it answered when it was exported, here or on a device."""

import argparse
import json
from functools import partial

from mnet_deploy.cli.tool_options import add_tool_arguments, tool_request
from mnet_deploy.errors import SpecError

EXIT_FAILED = 1


def add_replay_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of a replay."""
    parser.add_argument(
        "--goldens", action="store_true", help="replay the answers that the export kept beside the file, and compare"
    )
    parser.add_argument(
        "--no-xnnpack", action="store_true", help="with --goldens: run a .tflite with LiteRT's own kernels"
    )
    parser.add_argument(
        "--device",
        metavar="ADDRESS",
        help="replay the goldens there: local:, ssh://[user@]host[:port] or adb://[SERIAL]",
    )
    parser.add_argument(
        "--engine",
        metavar="E,...",
        help="with --device: litert, tflite-runtime, onnxruntime, benchmark_model (default: the first that is there)",
    )
    parser.add_argument(
        "--delegate",
        metavar="D,...",
        help="with --device, for .tflite files: default (what the engine takes by itself) and none (default: both); "
        "with --benchmark-model also xnnpack, gpu and nnapi",
    )
    add_tool_arguments(parser)


def refuse_other_replays(args: argparse.Namespace) -> None:
    """Raise `SpecError` if options of a replay are given that it would not use."""
    if args.no_xnnpack and not args.goldens and args.device is None:
        raise SpecError("--no-xnnpack is for --goldens. Received: it alone")
    if args.no_xnnpack and args.device is not None:
        raise SpecError(
            "--device runs a .tflite with and without XNNPACK, or as --delegate says. Received: --no-xnnpack as well"
        )
    of_devices = {"--engine": args.engine, "--delegate": args.delegate, "--benchmark-model": tool_request(args)}
    for option, given in of_devices.items():
        if given is not None and args.device is None:
            raise SpecError(f"{option} is for --device. Received: it alone")


def run_replay(args: argparse.Namespace) -> int:
    """Replay the goldens of `args.artifact` and print how far the answers are apart."""
    if args.device is not None:
        return _run_on_device(args)
    from mnet_deploy.pipeline.goldens import replay_goldens
    from mnet_deploy.pipeline.goldens_text import replay_text
    from mnet_deploy.runners import local

    replay = replay_goldens(args.artifact, infer=partial(local.infer, xnnpack=not args.no_xnnpack))
    print(json.dumps(replay.to_json(), indent=2) if args.json else replay_text(replay))
    return 0 if replay.passed and replay.same_file else EXIT_FAILED


def _run_on_device(args: argparse.Namespace) -> int:
    from mnet_deploy.cli.values import names
    from mnet_deploy.pipeline.device_goldens import replay_on_device
    from mnet_deploy.pipeline.goldens_text import device_replay_text
    from mnet_deploy.progress import Progress
    from mnet_deploy.runners.transports.address import DeviceAddress

    progress = Progress()
    device = DeviceAddress.parse(args.device)
    found = replay_on_device(
        args.artifact,
        device,
        progress,
        engines=names(args.engine or ""),
        delegates=names(args.delegate or ""),
        tool=tool_request(args),
    )
    print(json.dumps(found.to_json(), indent=2) if args.json else device_replay_text(found))
    for warning in found.warnings:
        progress.note(warning)
    if found.refusals:
        raise found.refusals[0]
    return 0 if found.passed else EXIT_FAILED
