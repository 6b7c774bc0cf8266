"""Measure a few models on a device, and learn from them how long any other takes there.

Five models (0.25-128, 0.25-224, 1.0-128, 1.0-224, 0.5-160), or more with --also, are exported with random weights and
measured in turns by the protocol of mnet bench, which takes one to five minutes. INVALID measurements are refused,
SUSPECT ones are named in the model. The back-test predicts each of the models from the others.

    mnet latency fit --out here.json
    mnet latency fit --device ssh://pi@raspberrypi.local --precision fp32 --threads 4 --out pi4_fp32_4.json
    mnet latency fit --device adb:// --also conv_mobilenet 0.5-160 0.75-192 --out phone.json

A model holds for one device, engine and version, precision, delegate, number of threads and clock.
Needs SciPy: pip install 'mnet-deploy[fit]'.
"""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from mnet_deploy.cli.model_options import specs_of_words
from mnet_deploy.cli.protocol_options import add_protocol_arguments, protocol_of
from mnet_deploy.cli.values import member, whole_number

if TYPE_CHECKING:
    from mnet_deploy.pipeline.latency_points import PointsRequest

KEEP_HELP = "for the exported files; what is there already is used again (default: they are removed)"
HELP = "measure a few models on a device, and write a model of latency"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the action's options."""
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the model, a .json")
    parser.add_argument("--force", action="store_true", help="replace a file that exists")
    parser.add_argument("--device", default="local:", metavar="ADDRESS", help="where (default: local:)")
    parser.add_argument("--precision", default="int8", metavar="P", help="of the files: int8 (default) or fp32")
    parser.add_argument("--format", default="tflite", metavar="F", help="of the files: tflite (default) or onnx")
    parser.add_argument("--threads", default="1", metavar="N", help="of the engine (default 1)")
    parser.add_argument(
        "--engine", metavar="E", help="litert, tflite-runtime or onnxruntime (default: the first that is there)"
    )
    parser.add_argument(
        "--delegate", default="default", metavar="D", help="default (XNNPACK) or none, of .tflite files"
    )
    parser.add_argument(
        "--also",
        nargs="+",
        action="extend",
        default=[],
        metavar="SPEC",
        help="models besides the five, such as 0.75-192",
    )
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help=KEEP_HELP)
    add_protocol_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print the model as JSON")


def run(args: argparse.Namespace) -> int:
    """Measure, fit, write, print."""
    request, also = _request(args), specs_of_words(args.also, "--also")
    from mnet_deploy.latency.model_file import model_to_json
    from mnet_deploy.pipeline.latency_device_text import model_text
    from mnet_deploy.pipeline.latency_fit import fit_on_device
    from mnet_deploy.progress import Progress

    progress = Progress()
    result = fit_on_device(request, also, args.out, progress, force=args.force)
    print(json.dumps(model_to_json(result.model), indent=2) if args.json else model_text(result.model))
    for warning in result.warnings:
        progress.note(warning)
    progress.note(f"{args.out} written")
    return 0


def _request(args: argparse.Namespace) -> "PointsRequest":
    from mnet_deploy.converters.options import FileFormat
    from mnet_deploy.pipeline.latency_points import PointsRequest
    from mnet_deploy.precision import Precision
    from mnet_deploy.runners.transports.address import DeviceAddress

    return PointsRequest(
        device=DeviceAddress.parse(args.device),
        precision=member(Precision, args.precision, "--precision"),
        file_format=member(FileFormat, args.format, "--format"),
        engine=args.engine,
        delegate=args.delegate,
        threads=whole_number(args.threads, "--threads"),
        protocol=protocol_of(args),
        keep=args.keep,
    )
