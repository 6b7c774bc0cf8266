"""The published figures beside ours, as text for a terminal."""

from itertools import groupby
from textwrap import fill

from mnet_deploy.cost.published import PublishedFigure, Quantity, explanations, published_figures
from mnet_deploy.spec import Family
from mnet_deploy.text_table import render_table

WIDTH = 100
INTRODUCTION = """\
Published figures beside ours. Ours count the whole network with its classifier (no top: without
it); params are kernels, biases, and batch norm's gamma and beta; flash is what an int8 file stores,
int8 kernels and folded int32 biases. Models are mobilenet_v1 (1.0-224: alpha 1.0 at 224 px) unless
they name another family."""
HEADER = ("", "figure of", "counted as", "what", "published", "ours", "")
NAMES = {
    Quantity.MACS: "MACs",
    Quantity.PARAMS: "params",
    Quantity.MACS_SHARE: "MACs",
    Quantity.KERNELS_SHARE: "kernels",
    Quantity.INT8_FLASH: "flash",
}


def published_text() -> str:
    """Return a table a source and the numbered explanations of all differences."""
    figures = published_figures()
    numbers = {note: index for index, note in enumerate(dict.fromkeys(f.note for f in figures if f.note), start=1)}
    tables = [
        f"{source}\n\n{render_table(HEADER, [_row(figure, numbers) for figure in group], align='<<<<>><')}"
        for source, group in groupby(figures, key=lambda figure: figure.source)
    ]
    notes = "\n".join(
        fill(explanations()[note], WIDTH, initial_indent=f"[{number}] ".rjust(5), subsequent_indent=" " * 5)
        for note, number in numbers.items()
    )
    differing = sum(bool(figure.note) for figure in figures)
    summary = f"{len(figures) - differing} of {len(figures)} figures agree as rounded. The other {differing}:"
    return "\n\n".join((INTRODUCTION, *tables, summary, notes))


def _row(figure: PublishedFigure, numbers: dict[str, int]) -> list[str]:
    return [
        figure.table,
        figure.row,
        counted_as(figure),
        NAMES[figure.quantity],
        f"{figure.published} {figure.unit}" if figure.unit else f"{int(figure.published):,}",
        ours_text(figure),
        f"[{numbers[figure.note]}]" if figure.note else "",
    ]


def counted_as(figure: PublishedFigure) -> str:
    """Return which of our models stands beside a figure, as far as it is not the default one."""
    spec = figure.spec
    extras = [
        *(["no top"] if spec.classes is None else [f"{spec.classes} classes"] if spec.classes != 1000 else []),
        *([f"{spec.channels_in} channel"] if spec.channels_in != 3 else []),
    ]
    name = f"{spec.alpha_text}-{spec.resolution_px}" if spec.family is Family.MOBILENET_V1 else spec.name
    return ", ".join([name, *extras])


def ours_text(figure: PublishedFigure) -> str:
    """Return our count in the figure's unit, with three decimals unless it counts single units."""
    ours = figure.counted()
    return f"{float(ours):.3f} {figure.unit}" if figure.unit else f"{int(ours):,}"
