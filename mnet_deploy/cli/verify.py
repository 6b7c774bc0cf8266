"""Measure the accuracy of an exported file on labelled photos, beside the float model it was made from.

With --twin, compare it with another file of the same model, such as a .tflite with an .onnx: scales, zero points and
SQNR of each layer, and how often both answer the same. Exit status 1: they agree less with each other than with the
float model, or one is more accurate by more than chance explains.

--data has one folder of photos a class. The folders' names are looked up in the labels given at the export, in a
class_ids.txt or labels.txt in the folder or beside it, or in --classes-file; otherwise, where there are as many
folders as classes, their sorted order is that of the model's outputs. With --twin the photos need no classes, and
without --data images are generated. JSON has the figures as fractions: float_top1, int8_top1, ...
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mnet_deploy.errors import SpecError
from mnet_deploy.text_table import render_table

if TYPE_CHECKING:
    from mnet_deploy.artifact import Artifact
    from mnet_deploy.pipeline.verify import Verification
    from mnet_deploy.progress import Progress

HELP = "measure accuracy on labelled photos, float beside converted"
EXIT_NO_TWINS = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's options."""
    parser.add_argument("artifact", type=Path, metavar="ARTIFACT", help="a file that mnet export wrote")
    parser.add_argument("--twin", type=Path, metavar="ARTIFACT", help="another file of the same model to compare with")
    parser.add_argument(
        "--data", type=Path, metavar="FOLDER", help="photos, one folder a class (not needed with --twin)"
    )
    parser.add_argument(
        "--classes-file", type=Path, metavar="FILE", help="names of the class folders in the order of the outputs"
    )
    parser.add_argument("--weights", metavar="FILE", help="the checkpoint (default: the one that the sidecar names)")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Verify or compare, and print the figures."""
    if args.twin is not None:
        return _run_twins(args)
    if args.data is None:
        raise SpecError("mnet verify measures accuracy on labelled photos: give --data FOLDER, or --twin ARTIFACT")
    from mnet_deploy.pipeline.verify import verify
    from mnet_deploy.progress import Progress

    progress = Progress()
    result = verify(args.artifact, args.data, class_file=args.classes_file, weights=args.weights, progress=progress)
    print(json.dumps(result.to_json(), indent=2) if args.json else _table(result))
    _say_what_to_know(progress, result.notes, result.artifact)
    return 0


def _run_twins(args: argparse.Namespace) -> int:
    from mnet_deploy.pipeline.twins import compare_twins
    from mnet_deploy.pipeline.twins_text import twins_text
    from mnet_deploy.progress import Progress

    progress = Progress()
    found = compare_twins(
        args.artifact, args.twin, data=args.data, class_file=args.classes_file, weights=args.weights, progress=progress
    )
    print(json.dumps(found.to_json(), indent=2) if args.json else twins_text(found))
    _say_what_to_know(progress, found.notes, found.a, found.b)
    return EXIT_NO_TWINS if found.warnings else 0


def _say_what_to_know(progress: "Progress", notes: Sequence[str], *artifacts: "Artifact") -> None:
    reasons = dict.fromkeys(reason for artifact in artifacts for reason in artifact.unfit_for_accuracy)
    for note in (*notes, *(f"unfit for accuracy: {reason}" for reason in reasons)):
        progress.note(note)


def _table(result: "Verification") -> str:
    rows = [(result.artifact.file, f"{result.converted.top1:.1%}", f"{result.converted.top5:.1%}")]
    if result.reference is not None:
        rows.insert(0, ("float model", f"{result.reference.top1:.1%}", f"{result.reference.top5:.1%}"))
    table = render_table(("", "top-1", "top-5"), rows, align="<>>")
    agreement = "" if result.top1_agreement is None else f"; same best class on {result.top1_agreement:.1%}"
    return f"{table}\n{result.images} images{agreement}"
