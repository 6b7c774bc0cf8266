"""`mnet verify FILE --layers`: each layer beside float, what is wrong in sentences, and all of it as a page."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from mnet_deploy.errors import SpecError
from mnet_deploy.text_table import render_table

if TYPE_CHECKING:
    from mnet_deploy.pipeline.layer_diagnosis import LayerDiagnosis
    from mnet_deploy.pipeline.layer_statistics import LayerFigures
    from mnet_deploy.progress import Progress

EXIT_FINDINGS = 1
_HEADER = ("layer", "SQNR dB", "cosine", "mean shift", "saturated", "range")
_UNKNOWN = "-"


def add_layer_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of a diagnosis by layers."""
    parser.add_argument(
        "--layers", action="store_true", help="compare each layer with the float model, and say what is wrong"
    )
    parser.add_argument("--page", type=Path, metavar="FILE.html", help="write the same, with the accuracy, as a page")
    parser.add_argument("--force", action="store_true", help="with --page: replace a file that exists")


def run_layers(args: argparse.Namespace) -> int:
    """Diagnose `args.artifact`, print the figures and, with `args.page`, write the page."""
    from mnet_deploy.pipeline.layer_diagnosis import diagnose_layers
    from mnet_deploy.progress import Progress

    if args.page is not None:
        _require_free(args.page, force=args.force)
        import mnet_deploy.pipeline.diagnosis_page  # noqa: F401 - fails now, not at the end, where jinja2 is missing
    progress = Progress()
    found = diagnose_layers(
        args.artifact, data=args.data, class_file=args.classes_file, weights=args.weights, progress=progress
    )
    if args.page is not None:
        _write_page(args, found, progress)
    print(json.dumps(found.to_json(), indent=2) if args.json else layers_text(found))
    unfit = (f"unfit for accuracy: {reason}" for reason in found.artifact.unfit_for_accuracy)
    for note in (*found.notes, *unfit):
        progress.note(note)
    return EXIT_FINDINGS if found.findings else 0


def layers_text(found: "LayerDiagnosis") -> str:
    """Return everything that is said of the layers on standard output."""
    table = render_table(_HEADER, [_row(layer) for layer in found.layers], align="<>>>>>")
    how = f"against the float model, over {found.images} images"
    sentences = [f"{one.cause}: {one.what}. {one.remedy}." for one in found.findings] or ["no layer stands out"]
    return "\n".join((table, how, "", *sentences))


def _row(layer: "LayerFigures") -> tuple[str, ...]:
    return (
        layer.layer,
        _UNKNOWN if layer.sqnr_db is None else f"{layer.sqnr_db:.1f}",
        _UNKNOWN if layer.cosine is None else f"{layer.cosine:.4f}",
        _UNKNOWN if layer.mean_shift is None else f"{layer.mean_shift:.3f}",
        _UNKNOWN if layer.saturated is None else f"{max(layer.saturated, 0):.1%}",
        _UNKNOWN if layer.stored_range is None else "{:.3g} to {:.3g}".format(*layer.stored_range),
    )


def _require_free(page: Path, *, force: bool) -> None:
    if page.exists() and not (force and page.is_file()):
        raise SpecError(f"{page} exists already and is not overwritten. Give --force, or another --page")


def _write_page(args: argparse.Namespace, found: "LayerDiagnosis", progress: "Progress") -> None:
    from mnet_deploy.output_folder import OutputFolder
    from mnet_deploy.pipeline.diagnosis_page import diagnosis_page
    from mnet_deploy.pipeline.evaluation_images import find_images
    from mnet_deploy.pipeline.verify import verify

    verification = None
    if args.data is not None and find_images(found.artifact, args.data, args.classes_file).classes is not None:
        verification = verify(
            args.artifact,
            args.data,
            class_file=args.classes_file,
            weights=args.weights,
            progress=progress,
            diagnose=not args.no_diagnosis,
        )
    content = diagnosis_page(found, verification).encode()
    name = args.page.name
    with OutputFolder(args.page.parent, stem=name, names={name: None}, force=args.force) as folder:
        folder.stage(name, content)
        folder.commit()
