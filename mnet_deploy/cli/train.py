"""Train a model of the family on folders of photos: one folder a class.

FOLDER holds the classes, or train/ with the classes and val/ (and test/) beside it; without a validation split one is
made. The result is a .keras checkpoint for `mnet export`, with labels.txt, the log (training.json), the learning
curve, the confusion matrix and a model card. A run that was stopped goes on with --resume.
"""

import argparse
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnet_deploy.cli.model_options import add_model_options, spec_overrides
from mnet_deploy.cli.values import member, number, whole_number
from mnet_deploy.errors import SpecError
from mnet_deploy.text_table import render_table

if TYPE_CHECKING:
    from mnet_deploy.models.training.options import TrainOptions

HELP = "train or fine-tune on class folders"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's options."""
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER", help="photos, one folder a class")
    parser.add_argument("--out", type=Path, default=Path("training"), metavar="FOLDER", help="(default training)")
    parser.add_argument("--weights", metavar="FILE|NAME", help="start: a checkpoint, imagenet, or random (default)")
    parser.add_argument("--resume", action="store_true", help="go on with a stopped run in --out")
    parser.add_argument("--force", action="store_true", help="replace an earlier result in --out")
    parser.add_argument("--test", action="store_true", help="evaluate the kept epoch on the test split, once")
    parser.add_argument("--qat", action="store_true", help="quantisation-aware fine-tuning of --weights")
    parser.add_argument(
        "--recipe",
        metavar="FILE|shipped",
        help="take model and recipe from a training.json, and compare the result with it; shipped: the one that made "
        "the checkpoint in this package",
    )
    add_model_options(parser)
    recipe = parser.add_argument_group("recipe")
    for option, (default, what) in _RECIPE.items():
        recipe.add_argument(f"--{option}", metavar="X", help=f"{what} (default {default})")
    recipe.add_argument("--teacher", type=Path, metavar="FILE", help="checkpoint whose answers are learned as well")
    recipe.add_argument("--normalization", metavar="RULE", help="of pixels, as in mnet export")
    card = parser.add_argument_group("model card")
    card.add_argument("--source", metavar="TEXT", help="where the photos come from")
    card.add_argument("--licence", metavar="TEXT", help="of the photos")


_RECIPE = {
    "epochs": ("60", "passes over the photos"),
    "settle-epochs": ("0", "more at the end, with light variation, from a tenth of the learning rate"),
    "batch-size": ("32", "photos a step"),
    "optimizer": ("adamw", "adamw, or rmsprop as in the paper"),
    "learning-rate": ("0.01", "at its peak"),
    "weight-decay": ("0.05", "of kernels, depthwise ones excepted"),
    "label-smoothing": ("0.1", "share of the target spread over all classes"),
    "mixup": ("0, off", "parameter of the mixing weights"),
    "dropout": ("0", "before the classifier"),
    "augmentation": ("light", "none, light or strong"),
    "batch-norm-momentum": ("0.9", "of the moving statistics"),
    "validation-share": ("0.15", "of the photos, without a split of their own"),
    "patience": ("never stop early", "epochs without a better validation before stopping"),
    "teacher-weight": ("0.5", "share of the teacher's answers in the target"),
    "seed": ("0", "of everything that is drawn"),
}


def run(args: argparse.Namespace) -> int:
    """Train and print what came of it."""
    from mnet_deploy.progress import Progress
    from mnet_deploy.quiet import silenced_native_output

    overrides = spec_overrides(args)
    if "classes" in overrides:
        raise SpecError("the classes come from the folders of --data. Received: --classes. Leave it out")
    options, earlier = _options(args, overrides)
    progress = Progress()
    progress.stage("starting TensorFlow")
    with silenced_native_output():
        from mnet_deploy.models.training.run import TrainRequest, train
    request = TrainRequest(
        data=args.data,
        out=args.out,
        options=options,
        resume=args.resume,
        force=args.force,
        use_test=args.test,
        notes={key: getattr(args, key) for key in ("source", "licence") if getattr(args, key)},
    )
    record = train(request, progress)
    progress.done()
    print(_summary(record, args.out, earlier))
    return 0


def _options(args: argparse.Namespace, overrides: dict[str, Any]) -> "tuple[TrainOptions, dict[str, Any] | None]":
    """Return the options, and the record that they were taken from if there is one; what is given wins."""
    from mnet_deploy.models.training.options import Augmentation, OptimizerName, TrainOptions
    from mnet_deploy.models.training.record import read_record, recipe_of
    from mnet_deploy.normalization import Normalization

    readers: dict[str, Callable[[str, str], Any]] = {
        **dict.fromkeys(("epochs", "settle_epochs", "batch_size", "patience", "seed"), whole_number),
        "optimizer": lambda text, option: member(OptimizerName, text, option),
        "augmentation": lambda text, option: member(Augmentation, text, option),
    }
    given = {}
    for option in _RECIPE:
        name = option.replace("-", "_")
        if getattr(args, name) is not None:
            given[name] = readers.get(name, number)(getattr(args, name), f"--{option}")
    if args.normalization is not None:
        given["normalization"] = Normalization.parse(args.normalization)
    given |= {name: value for name in ("weights", "teacher") if (value := getattr(args, name)) is not None}
    given |= {"qat": True} if args.qat else {}
    if args.recipe is None:
        return TrainOptions(spec_overrides=overrides, **given), None
    earlier = read_record(args.recipe)
    recipe = recipe_of(earlier)
    overrides = {**recipe.spec_overrides, **overrides}
    return dataclasses.replace(recipe, spec_overrides=overrides, **given), earlier


def _summary(record: dict[str, Any], out: Path, earlier: dict[str, Any] | None) -> str:
    rows = [*_accuracy_rows(record, ""), *(_accuracy_rows(earlier, " (recipe)") if earlier is not None else ())]
    table = render_table(("split", "photos", "top-1", "95 % interval"), rows, align="<>>>")
    result = record["result"]
    return (
        f"{table}\nkept: epoch {result['best_epoch']} of {result['epochs']}, chosen on validation\n"
        f"{result['images_per_s']:.0f} images/s; forward and backward alone {result['bound_images_per_s']:.0f}\n"
        f"checkpoint: {out / record['name']}.keras"
    )


def _accuracy_rows(record: dict[str, Any], suffix: str) -> list[tuple[str, ...]]:
    return [
        (name + suffix, str(split["photos"]), f"{split['top1']:.1%}", f"{split['low']:.1%} to {split['high']:.1%}")
        for name, split in record["result"]["accuracy"].items()
    ]
