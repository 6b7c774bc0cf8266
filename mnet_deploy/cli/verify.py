"""Measure the accuracy of a file on labelled photos, beside the float model it was made from, and say what is lost.

A .tflite or .onnx image classifier of any origin will do. Beside a file that mnet export wrote, a sidecar says how
photos are prepared; of others the graph says size, layout and type of the input, and --normalization, --bgr, --squash
and --resolution say the rest. Usual mistakes of that preparation are then tried on the same photos, and named where
the photos leave no doubt (--no-diagnosis leaves that out).

With --layers, compare each layer with the float model instead and say in sentences what is wrong; --page writes that as
HTML. With --goldens, replay the images and answers that the export kept beside the file; with --device, on a device,
with each set of kernels that its engine has. --benchmark-model has TensorFlow Lite's own tool answer there, on the
delegates that --delegate names: how far does each output move on the GPU?

With --twin, compare it with another file of the same model, such as a .tflite with an .onnx: scales, zero points and
SQNR of each layer, and how often both answer the same. Exit status 1: they agree less with each other than with the
float model, or one is more accurate by more than chance explains.

--data has one folder of photos a class. The folders' names are looked up in the labels given at the export, in a
class_ids.txt or labels.txt in the folder or beside it, or in --classes-file; otherwise, where there are as many
folders as classes, their sorted order is that of the model's outputs. A file without sidecar may have one output more
than there are names: a background class that comes first. With --twin the photos need no classes, and
without --data images are generated. JSON has the figures as fractions: float_top1, int8_top1
(file_top1 without sidecar), ...
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mnet_deploy.cli.values import whole_number
from mnet_deploy.cli.verify_goldens import add_replay_arguments, refuse_other_replays, run_replay
from mnet_deploy.cli.verify_layers import add_layer_arguments, run_layers
from mnet_deploy.errors import SpecError

if TYPE_CHECKING:
    from mnet_deploy.artifact import Artifact
    from mnet_deploy.pipeline.foreign import Told
    from mnet_deploy.progress import Progress

HELP = "measure accuracy on labelled photos, float beside converted"
EXIT_NO_TWINS = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's options."""
    parser.add_argument("artifact", type=Path, metavar="ARTIFACT", help="a .tflite or .onnx image classifier")
    parser.add_argument("--twin", type=Path, metavar="ARTIFACT", help="another file of the same model to compare with")
    parser.add_argument(
        "--data", type=Path, metavar="FOLDER", help="photos, one folder a class (not needed with --twin)"
    )
    parser.add_argument(
        "--classes-file", type=Path, metavar="FILE", help="names of the class folders in the order of the outputs"
    )
    parser.add_argument("--weights", metavar="FILE", help="the checkpoint (default: the one that the sidecar names)")
    parser.add_argument(
        "--normalization", metavar="N", help="of a file without sidecar: -1..1, 0..1, imagenet, 0..255 or MEAN/STD"
    )
    parser.add_argument("--resolution", metavar="PX", help="of a file without sidecar whose input may have any size")
    parser.add_argument(
        "--bgr", action="store_true", help="of a file without sidecar: the channels are blue, green, red"
    )
    parser.add_argument(
        "--squash", action="store_true", help="of a file without sidecar: whole photos, not their centre"
    )
    parser.add_argument(
        "--no-diagnosis", action="store_true", help="leave out what takes several times as long: trying alternatives"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_layer_arguments(parser)
    add_replay_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Verify or compare, and print the figures."""
    _refuse_what_is_not_used(args)
    if args.goldens or args.device is not None:
        return run_replay(args)
    if args.layers or args.page is not None:
        return run_layers(args)
    if args.twin is not None:
        return _run_twins(args)
    if args.data is None:
        raise SpecError("mnet verify measures accuracy on labelled photos: give --data FOLDER, or --twin ARTIFACT")
    from mnet_deploy.pipeline.verify import verify
    from mnet_deploy.pipeline.verify_text import preparation_sentences, verification_text
    from mnet_deploy.progress import Progress

    progress = Progress()
    result = verify(
        args.artifact,
        args.data,
        class_file=args.classes_file,
        weights=args.weights,
        progress=progress,
        told=_told(args),
        diagnose=not args.no_diagnosis,
    )
    if args.json:
        print(json.dumps({**result.to_json(), "diagnosis": list(preparation_sentences(result))}, indent=2))
    else:
        print(verification_text(result))
    _say_what_to_know(progress, result.notes, *([result.artifact] if result.artifact else []))
    return 0


def _refuse_what_is_not_used(args: argparse.Namespace) -> None:
    chosen = [
        name
        for name, given in (
            ("--twin", args.twin is not None),
            ("--layers or --page", args.layers or args.page is not None),
            ("--device" if args.device is not None else "--goldens", args.goldens or args.device is not None),
        )
        if given
    ]
    if len(chosen) > 1:
        raise SpecError(f"mnet verify does one thing at a time. Received: {' and '.join(chosen)}")
    if chosen and any((args.normalization, args.resolution, args.bgr, args.squash)):
        raise SpecError(f"{chosen[0]} takes the preparation of photos from the sidecar. Leave out what says otherwise")
    if (args.goldens or args.device is not None) and args.data is not None:
        raise SpecError(f"{chosen[0]} has images of its own. Received: --data as well")
    refuse_other_replays(args)
    if args.force and args.page is None:
        raise SpecError("--force is for --page. Received: it alone")


def _told(args: argparse.Namespace) -> "Told":
    from mnet_deploy.normalization import Normalization
    from mnet_deploy.pipeline.foreign import Told

    return Told(
        normalization=Normalization.parse(args.normalization) if args.normalization else None,
        resolution_px=whole_number(args.resolution, "--resolution") if args.resolution else None,
        bgr=args.bgr,
        squash=args.squash,
    )


def _run_twins(args: argparse.Namespace) -> int:
    from mnet_deploy.pipeline.foreign import Told
    from mnet_deploy.pipeline.twins import compare_twins
    from mnet_deploy.pipeline.twins_text import twins_text
    from mnet_deploy.progress import Progress

    if _told(args) != Told():
        raise SpecError(
            "--twin compares files whose sidecars say how photos are prepared. Leave out what says otherwise"
        )
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
