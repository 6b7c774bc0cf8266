"""Measure latency on a device, with a verdict.

A device is local: (this machine), ssh://[user@]host[:port], reached by the system's ssh with your own configuration, or
adb://[SERIAL], a phone; `mnet device check` says whether it is ready. Each block is one process that warms up and then
times single inferences of one file, engine, delegate and number of threads; all configurations get one block a round,
forwards and backwards in turn, until the 95 % interval of the median (drawn from blocks, never from single inferences)
is within 2 %.

    mnet bench model_int8.tflite
    mnet bench model_int8.tflite model_int8.onnx --device ssh://pi@raspberrypi.local --threads 1,4
    mnet bench model_int8.tflite --device adb://
    mnet bench model_int8.tflite --device adb:// --benchmark-model ./benchmark_model --delegate xnnpack,gpu
    mnet bench new.tflite --versus old.tflite

The verdict says what the number is worth: VALID, SUSPECT (to be read with its reasons) or INVALID (not to be used).
Conditions before and after (throttling, temperature, clocks, governor, other load) are part of it.

Every run is stored in mnet-results/: a small JSON for git, and every single latency beside it. Exit status 1: a
measurement is INVALID, or slower than --baseline allows; 3: the device failed, or the baseline is not comparable.
"""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from mnet_deploy.cli.device import ADDRESS
from mnet_deploy.cli.protocol_options import add_protocol_arguments, protocol_of
from mnet_deploy.cli.tool_options import add_tool_arguments, tool_request
from mnet_deploy.cli.values import duration_s, fraction, names, whole_number
from mnet_deploy.errors import SpecError

if TYPE_CHECKING:
    from mnet_deploy.measurement.run_config import Protocol
    from mnet_deploy.pipeline.bench_report import BenchReport
    from mnet_deploy.pipeline.bench_request import BenchRequest
    from mnet_deploy.progress import Progress

MOST_CORES = 4096  # Linux has no more
_CORES = "--affinity takes cores such as 2,3 or 0-3, or all. Received: {!r}"
HELP = "measure latency on this machine, over ssh or on a phone, with a verdict"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's options."""
    parser.add_argument("artifacts", type=Path, nargs="+", metavar="ARTIFACT", help=".tflite, .onnx or .ort files")
    parser.add_argument("--device", default="local:", metavar="ADDRESS", help=f"{ADDRESS} (default: local:)")
    _add_configurations(parser)
    add_tool_arguments(parser)
    add_protocol_arguments(parser)
    _add_questions(parser)
    parser.add_argument(
        "--results", type=Path, default=Path("mnet-results"), metavar="FOLDER", help="the store (default: mnet-results)"
    )
    parser.add_argument("--no-store", action="store_true", help="store nothing")
    parser.add_argument("--json", action="store_true", help="print JSON, with every single latency")


def _add_configurations(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what runs: every combination is measured")
    group.add_argument("--threads", default="1", metavar="N,...", help="numbers of threads (default: 1)")
    group.add_argument(
        "--engine",
        default="",
        metavar="E,...",
        help="litert, tflite-runtime, onnxruntime, benchmark_model (default: for each file the first that is there)",
    )
    group.add_argument(
        "--delegate",
        default="default",
        metavar="D,...",
        help="for .tflite files: default (what the engine takes by itself) and none; with --benchmark-model also "
        "xnnpack, gpu and nnapi",
    )
    group.add_argument(
        "--affinity",
        metavar="CORES",
        help="cores that may be used: 2,3 or 0-3 or all (default: the fastest of a phone, else all)",
    )
    group.add_argument(
        "--runner",
        metavar="R",
        help="what calls the engine: agent (Python) or native (a C program; default on phones, which have no Python)",
    )


def _add_questions(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("questions")
    group.add_argument("--versus", type=Path, metavar="B", help="compare each file with this one, measured in turn")
    group.add_argument("--baseline", metavar="RUN", help="compare with a stored run (a file, or its name in the store)")
    group.add_argument("--max-slowdown", metavar="SHARE", help="what --baseline allows (default: 5%%)")
    group.add_argument("--sustain", metavar="TIME", help="keep one file running for this long, such as 30m")
    group.add_argument(
        "--layers",
        action="store_true",
        help="time each layer as well, in runs of their own (on phones with --benchmark-model only)",
    )


def run(args: argparse.Namespace) -> int:
    """Measure, store, print."""
    _refuse_what_does_not_go_together(args)
    request = _request(args)
    from mnet_deploy.pipeline.bench_report import bench_and_report
    from mnet_deploy.pipeline.bench_text import report_text
    from mnet_deploy.progress import Progress
    from mnet_deploy.results.store import find

    progress = Progress()
    report = bench_and_report(
        request,
        progress,
        versus=args.versus is not None,
        baseline=None if args.baseline is None else find(args.results, args.baseline),
        max_slowdown=0.05 if args.max_slowdown is None else fraction(args.max_slowdown, "--max-slowdown"),
        store=None if args.no_store else args.results,
    )
    print(json.dumps(report.to_json(), indent=2) if args.json else report_text(report))
    _say_what_to_know(progress, report)
    if report.error is not None:
        raise report.error
    return report.exit_status


def _say_what_to_know(progress: "Progress", report: "BenchReport") -> None:
    for warning in report.warnings:
        progress.note(warning)
    if report.stored is not None:
        progress.note(f"stored as {report.stored}")


def _refuse_what_does_not_go_together(args: argparse.Namespace) -> None:
    if args.max_slowdown is not None and args.baseline is None:
        raise SpecError("--max-slowdown is of --baseline. Received: no --baseline")
    if args.sustain is not None:
        for option, given in (
            ("--versus", args.versus is not None),
            ("--baseline", args.baseline is not None),
            ("more than one file", len(args.artifacts) > 1),
            ("more than one number of threads", "," in args.threads),
            ("--max-blocks, --max-interval or --time-limit", _any(args.max_blocks, args.max_interval, args.time_limit)),
        ):
            if given:
                raise SpecError(f"--sustain keeps one file running for its time. Received: {option} as well")


def _any(*values: object) -> bool:
    return any(value is not None for value in values)


def _request(args: argparse.Namespace) -> "BenchRequest":
    from mnet_deploy.pipeline.bench_request import BenchRequest
    from mnet_deploy.runners.transports.address import DeviceAddress

    files = [*args.artifacts, *([args.versus] if args.versus is not None else [])]
    return BenchRequest(
        files=tuple(files),
        device=DeviceAddress.parse(args.device),
        engines=names(args.engine),
        delegates=names(args.delegate),
        threads=tuple(whole_number(text, "--threads") for text in names(args.threads)),
        cpu_affinity=_affinity(args.affinity),
        protocol=_protocol(args),
        layers=args.layers,
        sustain=args.sustain is not None,
        runner=args.runner,
        tool=tool_request(args),
    )


def _protocol(args: argparse.Namespace) -> "Protocol":
    from mnet_deploy.pipeline.bench_request import SUSTAINED_BLOCK_S, sustaining

    if args.sustain is None:
        return protocol_of(args)
    block_s = None if args.block is None else duration_s(args.block, "--block")
    protocol = protocol_of(args, longest_block_s=SUSTAINED_BLOCK_S)
    return sustaining(protocol, duration_s(args.sustain, "--sustain"), block_s=block_s)


def _affinity(text: str | None) -> tuple[int, ...] | None:
    return None if text is None else () if text.strip() == "all" else _cores(text)


def _cores(text: str) -> tuple[int, ...]:
    cores: list[int] = []
    for part in names(text):
        first, dash, last = part.partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise SpecError(_CORES.format(text))
        low = whole_number(first, "--affinity")
        high = whole_number(last, "--affinity") if dash else low
        if high >= MOST_CORES:
            raise SpecError(f"--affinity takes cores below {MOST_CORES}. Received: {text!r}")
        cores += range(low, high + 1)
    if not cores or len(set(cores)) != len(cores):
        raise SpecError(_CORES.format(text))
    return tuple(cores)
