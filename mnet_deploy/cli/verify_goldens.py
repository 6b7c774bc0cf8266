"""`mnet verify FILE --goldens`: ask a file again what it answered when it was exported."""

import argparse
import json
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

from mnet_deploy.text_table import render_table

if TYPE_CHECKING:
    from mnet_deploy.pipeline.golden_tolerance import Distance
    from mnet_deploy.pipeline.goldens import GoldenReplay

EXIT_FAILED = 1


def add_replay_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of a replay."""
    parser.add_argument(
        "--goldens", action="store_true", help="replay the answers that the export kept beside the file, and compare"
    )
    parser.add_argument(
        "--no-xnnpack", action="store_true", help="with --goldens: run a .tflite with LiteRT's own kernels"
    )


def run_replay(args: argparse.Namespace) -> int:
    """Replay the goldens of `args.artifact` and print how far the answers are apart."""
    from mnet_deploy.pipeline.goldens import replay_goldens
    from mnet_deploy.runners import local

    replay = replay_goldens(args.artifact, infer=partial(local.infer, xnnpack=not args.no_xnnpack))
    print(json.dumps(replay.to_json(), indent=2) if args.json else replay_text(replay))
    return 0 if replay.passed and replay.same_file else EXIT_FAILED


def replay_text(replay: "GoldenReplay") -> str:
    """Return what is said of a replay on standard output."""
    rows = [_row("apart", replay.distance), _row("allowed", replay.tolerance)]
    unit = "" if replay.unit == "1" else f", in {replay.unit}"
    lines = [
        render_table(("", "largest", "mean"), rows, align="<>>"),
        f"{replay.images} golden images, {replay.engine}{unit}",
    ]
    return "\n".join((*lines, *_verdict(replay)))


def _row(name: str, distance: "Distance") -> tuple[str, str, str]:
    return name, f"{distance.largest:.3g}", f"{distance.mean:.3g}"


def _verdict(replay: "GoldenReplay") -> list[str]:
    passed = "exactly" if replay.equal else "but for what kernels differ by"
    answers = f"the answers are those of the export, {passed}"
    found = list(_warnings(replay))
    if not replay.same_file:
        other = "" if found else f". {answers[:1].upper()}{answers[1:]}, but to other images they may not be"
        found.append(f"WARNING: the file is not the one that was exported, its sha256 differs: copy it again{other}")
    return found or [answers]


def _warnings(replay: "GoldenReplay") -> Iterator[str]:
    if not replay.same_input:
        yield (
            "WARNING: the same images gave another input than at the export: look for another decoder, crop or "
            "normalisation"
        )
    if not replay.distance.within(replay.tolerance):
        yield (
            "WARNING: the answers are further apart than kernels differ: the file is damaged, or the engine computes "
            "something else. Copy the file again, or try another engine or delegate"
        )
    elif replay.altered:
        yield "WARNING: the file was changed, and its answers with it, though by less than kernels differ"
