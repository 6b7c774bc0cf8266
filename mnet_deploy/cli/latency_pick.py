"""Choose a model by what it may cost and has to be good for, before it is trained.

Each --model says how fast models are on one device with one engine, number of threads and precision (mnet latency fit
makes it); give several to choose between these, too. Sizes and RAM are counted, accuracies are published ones of
ImageNet, with their source. What fits is ranked by top-1, then by latency.

    mnet latency pick --model pi4_int8.json --max-ms 30 --max-mb 2 --min-top1 60
    mnet latency pick --model pi4_int8.json pi4_fp32.json --max-ms 30 --measured --plot front.svg

Against --max-ms counts the upper end of the predicted interval, so that what fits on paper also fits on the device;
--point takes the prediction itself. If nothing fits, it says which limit is missed by how much. It also names the one
measurement that can be expected to change the choice most. Exit status 1: nothing fits.
"""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from mnet_deploy.cli.values import member, names, number, whole_number
from mnet_deploy.errors import SpecError

if TYPE_CHECKING:
    from mnet_deploy.pipeline.latency_pick import PickReport, PickRequest
    from mnet_deploy.selection import Budget

HELP = "choose a model by limits of latency, size, RAM and accuracy"
EXIT_NOTHING_FITS = 1
_PICTURES = (".svg", ".png")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the action's options."""
    parser.add_argument(
        "--model",
        dest="models",
        type=Path,
        nargs="+",
        action="extend",
        required=True,
        metavar="FILE",
        help="what mnet latency fit saved, one or several of one device",
    )
    limits = parser.add_argument_group("limits: those that are not given do not count")
    limits.add_argument("--max-ms", metavar="MS", help="latency of one inference, milliseconds")
    limits.add_argument("--max-mb", metavar="MB", help="size of the file, millions of bytes")
    limits.add_argument("--max-ram-mb", metavar="MB", help="activations alive at once, millions of bytes")
    limits.add_argument("--min-top1", metavar="PERCENT", help="published top-1 on ImageNet")
    limits.add_argument("--point", action="store_true", help="hold the prediction, not its upper end, against --max-ms")
    grid = parser.add_argument_group("what to choose from: lists are separated by commas")
    grid.add_argument("--family", metavar="LIST", help="(default: all five)")
    grid.add_argument("--alpha", metavar="LIST", help="width multipliers (default 1.0,0.75,0.5,0.25)")
    grid.add_argument("--resolution", metavar="LIST", help="sides of the input in px (default 224,192,160,128)")
    grid.add_argument("--classes", default="1000", metavar="N", help="outputs of the classifier (default 1000)")
    grid.add_argument(
        "--accuracy",
        default="slim",
        metavar="TABLE",
        help="of the published figures: slim (default), tflite-hosted, mlperf or paper",
    )
    parser.add_argument("--measured", action="store_true", help="take stored measurements where there are valid ones")
    parser.add_argument(
        "--results", type=Path, default=Path("mnet-results"), metavar="DIR", help="their folder (default mnet-results)"
    )
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the candidates as .svg or .png")
    parser.add_argument("--force", action="store_true", help="with --plot: replace a file that exists")
    parser.add_argument("--rows", default="10", metavar="N", help="of the ranking (default 10)")
    parser.add_argument("--json", action="store_true", help="print JSON, with all candidates that fit")


def run(args: argparse.Namespace) -> int:
    """Choose, and print the choice."""
    rows = max(1, whole_number(args.rows, "--rows"))
    request = _request(args)
    if args.plot is not None and args.plot.suffix not in _PICTURES:
        raise SpecError(f"--plot takes a file that ends in .svg or .png. Received: {args.plot}")
    from mnet_deploy.pipeline.latency_pick import pick_models
    from mnet_deploy.pipeline.latency_pick_text import pick_text
    from mnet_deploy.pipeline.pick_ways import read_ways
    from mnet_deploy.progress import Progress

    report = pick_models(read_ways(args.models), request)
    print(json.dumps(report.to_json(), indent=2) if args.json else pick_text(report, rows=rows))
    progress = Progress()
    for note in report.notes:
        progress.note(note)
    if args.plot is not None:
        _plot(report, args.plot, force=args.force)
        progress.note(f"{args.plot} written")
    return 0 if report.choice.ranked else EXIT_NOTHING_FITS


def _request(args: argparse.Namespace) -> "PickRequest":
    from mnet_deploy.cost.grid import GRID_ALPHAS, GRID_RESOLUTIONS_PX
    from mnet_deploy.pipeline.latency_pick import PickRequest
    from mnet_deploy.selection.published_accuracy import Release
    from mnet_deploy.spec import Family

    families = tuple(member(Family, name, "--family") for name in names(args.family or ""))
    alphas = tuple(number(text, "--alpha") for text in names(args.alpha or ""))
    sizes = tuple(whole_number(text, "--resolution") for text in names(args.resolution or ""))
    return PickRequest(
        budget=_budget(args),
        families=families or tuple(Family),
        alphas=alphas or GRID_ALPHAS,
        resolutions_px=sizes or GRID_RESOLUTIONS_PX,
        classes=whole_number(args.classes, "--classes"),
        release=member(Release, args.accuracy, "--accuracy"),
        results=args.results if args.measured else None,
    )


def _budget(args: argparse.Namespace) -> "Budget":
    from mnet_deploy.selection import Budget, LatencyEnd

    percent = _above_zero(args.min_top1, "--min-top1", 1.0)
    if percent is not None and not 1 <= percent <= 100:
        raise SpecError(f"--min-top1 is a percentage from 1 to 100, such as 60. Received: {args.min_top1}")
    return Budget(
        max_latency_s=_above_zero(args.max_ms, "--max-ms", 1e3, divide=True),
        max_size_bytes=_above_zero(args.max_mb, "--max-mb", 1e6),
        max_memory_bytes=_above_zero(args.max_ram_mb, "--max-ram-mb", 1e6),
        min_top1=None if percent is None else percent / 100,
        latency_end=LatencyEnd.POINT if args.point else LatencyEnd.HIGH,
    )


def _above_zero(text: str | None, option: str, scale: float, *, divide: bool = False) -> float | None:
    """Return an option's number times the scale, or divided by it: 30 / 1000 is 0.03, 30 * 0.001 is not."""
    if text is None:
        return None
    found = number(text, option)
    if found <= 0:
        raise SpecError(f"{option} takes a number above 0. Received: {text}. Leave it out for no limit")
    return found / scale if divide else found * scale


def _plot(report: "PickReport", path: Path, *, force: bool) -> None:
    from mnet_deploy.output_folder import OutputFolder
    from mnet_deploy.pipeline.latency_pick_plot import draw_pick

    content = draw_pick(report, path.suffix.removeprefix("."))
    with OutputFolder(path.parent, stem=path.name, names={path.name: content}, force=force, option="--plot") as folder:
        folder.stage(path.name, content)
        folder.commit()
