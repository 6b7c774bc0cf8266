"""Check predicted latencies against others that the model has not seen.

--device measures models that --model was not fitted on, in the same way (engine, precision, threads and delegate are
the model's), and prints predicted, measured and error. Exit status 1: an error is beyond --max-error.

    mnet latency check --device ssh://pi@raspberrypi.local --model pi4.json
    mnet latency check --device ssh://pi@raspberrypi.local --model pi4.json 0.35-96 0.6-200

--published predicts the grids of published latencies that mnet ships from parts of themselves; --grids does the same
for a CSV of the same form: the columns source, device, system, precision, stat and a0.25_r128 to a1.0_r224, in
milliseconds. These two need SciPy: pip install 'mnet-deploy[fit]'.
"""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from mnet_deploy.cli.latency_fit import KEEP_HELP
from mnet_deploy.cli.model_options import specs_of_words
from mnet_deploy.cli.protocol_options import add_protocol_arguments, given_protocol_options, protocol_of
from mnet_deploy.cli.values import fraction
from mnet_deploy.errors import SpecError

if TYPE_CHECKING:
    from mnet_deploy.latency import LatencyModel
    from mnet_deploy.pipeline.latency_points import PointsRequest

HELP = "hold predictions against published or measured latencies"
EXIT_BEYOND = 1
DEFAULT_MAX_ERROR = 0.10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the action's options."""
    against = parser.add_mutually_exclusive_group(required=True)
    against.add_argument("--device", metavar="ADDRESS", help="measure on local:, ssh://[user@]host or adb://[SERIAL]")
    against.add_argument("--published", action="store_true", help="the published grids that mnet ships")
    against.add_argument("--grids", type=Path, metavar="FILE", help="published grids of a CSV")
    parser.add_argument("--json", action="store_true", help="print JSON")
    device = parser.add_argument_group("with --device")
    device.add_argument("specs", nargs="*", metavar="SPEC", help="what to measure (default: five models between those)")
    device.add_argument("--model", type=Path, metavar="FILE", help="what mnet latency fit wrote")
    device.add_argument("--max-error", metavar="SHARE", help="that counts as good (default 10%%)")
    device.add_argument("--keep", type=Path, metavar="FOLDER", help=KEEP_HELP)
    add_protocol_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Run the action."""
    if args.device is not None:
        return _on_device(args)
    _refuse_what_is_of_devices(args)
    from mnet_deploy.pipeline.latency_published import published_json, published_text

    if args.json:
        print(json.dumps(published_json(args.grids), indent=2, ensure_ascii=False))
    else:
        print(published_text(args.grids))
    return 0


def _refuse_what_is_of_devices(args: argparse.Namespace) -> None:
    of_devices = {"SPEC": args.specs or None, "--model": args.model, "--max-error": args.max_error, "--keep": args.keep}
    given = [option for option, value in of_devices.items() if value is not None] + given_protocol_options(args)
    if given:
        raise SpecError(f"{given[0]} is for --device. Received: published grids as well; leave one of them out")


def _on_device(args: argparse.Namespace) -> int:
    if args.model is None:
        raise SpecError("--device checks a model. Received: no --model; mnet latency fit makes one")
    specs = specs_of_words(args.specs, "SPEC")
    max_error = DEFAULT_MAX_ERROR if args.max_error is None else fraction(args.max_error, "--max-error")
    from mnet_deploy.latency.model_file import read_model
    from mnet_deploy.pipeline.latency_device_check import check_on_device
    from mnet_deploy.pipeline.latency_device_text import check_text
    from mnet_deploy.progress import Progress

    model = read_model(args.model)
    progress = Progress()
    check = check_on_device(model, _request(args, model), specs, max_error, progress)
    print(json.dumps(check.to_json(), indent=2) if args.json else check_text(check))
    for warning in check.measured.warnings:
        progress.note(warning)
    return 0 if check.passed else EXIT_BEYOND


def _request(args: argparse.Namespace, model: "LatencyModel") -> "PointsRequest":
    from mnet_deploy.pipeline.latency_device_check import engine_and_format
    from mnet_deploy.pipeline.latency_points import PointsRequest
    from mnet_deploy.runners.transports.address import DeviceAddress

    engine, file_format = engine_and_format(model.setting)
    return PointsRequest(
        device=DeviceAddress.parse(args.device),
        precision=model.setting.precision,
        file_format=file_format,
        engine=engine,
        delegate="none" if model.setting.delegate == "none" else "default",
        threads=model.setting.threads or 1,
        protocol=protocol_of(args),
        keep=args.keep,
    )
