"""The reference networks as text for a terminal of 100 columns."""

from itertools import groupby
from textwrap import fill

from mnet_deploy.cost.estimate import CostEstimate, LayerCost, Precision, by_kind
from mnet_deploy.cost.networks.published import (
    MACS,
    MEGA,
    PARAMS,
    TOP1,
    ReferenceFigure,
    count_network,
    reference_figures,
    reference_notes,
)
from mnet_deploy.text_table import render_table

WIDTH = 100
INTRODUCTION = """\
Networks that MobileNet is compared with, counted as mnet cost counts, beside published figures.
MACs and params in millions, for one image and 1000 classes, classifier included. Top-1 on ImageNet
in %, as published. mnet cost NETWORK shows one of them (of ours: mnet cost MODEL)."""
HEADER = ("network", "MACs", "params", "published: MACs", "params", "top-1", "source")


def networks_text() -> str:
    """Return a row a network and source, the sources, and the numbered explanations of all differences."""
    figures = reference_figures()
    notes = {note: number for number, note in enumerate(dict.fromkeys(f.note for f in figures if f.note), start=1)}
    sources = {source: chr(ord("A") + index) for index, source in enumerate(dict.fromkeys(f.source for f in figures))}
    rows = []
    for network, of_network in groupby(figures, key=lambda figure: figure.network):
        for index, (source, group) in enumerate(groupby(of_network, key=lambda figure: figure.source)):
            published = {figure.quantity: _published(figure, notes) for figure in group}
            ours = _ours(network) if index == 0 else ["", "", ""]
            rows.append([*ours, *(published.get(key, "") for key in (MACS, PARAMS, TOP1)), sources[source]])
    legend = "\n".join(f"{letter}  {source}" for source, letter in sources.items())
    explained = "\n".join(
        fill(reference_notes()[note], WIDTH, initial_indent=f"[{number}] ".rjust(5), subsequent_indent=" " * 5)
        for note, number in notes.items()
    )
    return "\n\n".join((INTRODUCTION, render_table(HEADER, rows, align="<>>>>><"), legend, explained))


def network_text(cost: CostEstimate, resolution_px: int, precision: Precision) -> str:
    """Return one network: a row a part, a row a kind of layer, and the sums."""
    parts = [(name, tuple(group)) for name, group in groupby(cost.layers, key=lambda layer: layer.name.split("/")[0])]
    header = ("part", "output", "MACs", "params", "weight B", "activ. B")
    rows = [[name, _shape(layers[-1]), *_counts(_sum(name, layers), precision)] for name, layers in parts]
    total = ["total", "", *_counts(cost, precision)]
    kinds = [[group.title, f"{len(group.layers):,}", *_counts(group, precision)] for group in by_kind(cost)]
    return "\n\n".join(
        (
            f"{cost.title}: input {resolution_px}x{resolution_px}x3, 1000 classes",
            render_table(header, [*rows, (), total], align="<>>>>>"),
            render_table(("kind of layer", "layers", *header[2:]), kinds, align="<>>>>>"),
            f"Bytes at {precision}. Branches of a part are summed; pooling and joining have no MACs.",
        )
    )


def _ours(network: str) -> list[str]:
    cost = count_network(network)
    return [network, f"{cost.macs / MEGA:,.1f}", f"{cost.params / MEGA:.3f}"]


def _published(figure: ReferenceFigure, notes: dict[str, int]) -> str:
    text = figure.published if figure.unit else f"{int(figure.published) / MEGA:.6f}"
    return f"{text} [{notes[figure.note]}]".rjust(5) if figure.note else f"{text}     "


def _sum(title: str, layers: tuple[LayerCost, ...]) -> CostEstimate:
    return CostEstimate(title=title, layers=layers, peak_elements=None)


def _counts(cost: CostEstimate, precision: Precision) -> list[str]:
    sizes = (cost.macs, cost.params, cost.stored_bytes(precision), cost.moved_bytes(precision))
    return [f"{size:,}" for size in sizes]


def _shape(layer: LayerCost) -> str:
    return "x".join(map(str, layer.out_shape or ()))
