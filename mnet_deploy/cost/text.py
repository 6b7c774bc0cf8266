"""Cost estimates as text for a terminal of 100 columns."""

from textwrap import fill

from mnet_deploy.cost.estimate import PRECISIONS, CostEstimate, LayerCost, Precision, by_kind, estimate, estimate_layers
from mnet_deploy.cost.grid import GRID_ALPHAS, GRID_RESOLUTIONS_PX, cost_grid
from mnet_deploy.cost.published import PublishedFigure, Quantity, explanations, published_figures
from mnet_deploy.cost.standard import as_standard_convolutions
from mnet_deploy.spec import Family, LayerKind, ModelSpec
from mnet_deploy.text_table import render_table
from mnet_deploy.units import format_kib

UNKNOWN = "?"
WIDTH = 100
LEGEND = """\
params    kernels, biases, and batch norm's gamma and beta
weight B  bytes of kernels and biases in an exported {precision} file, batch norm folded into them
activ. B  bytes of activations that the layer reads and writes for one image at {precision}"""
FILE_LEGEND = """\
params    kernels, biases, and batch norm's gamma and beta, as far as the file still has them
weight B  bytes of kernels and biases at {precision}, batch norm folded into them
activ. B  bytes of activations that the ops read and write for one image at {precision}
Bytes are counted from the elements at the precision asked for, whatever the file's own is."""
SIZES_LEGEND = """\
peak activations: the most bytes alive at once, layers run in order, nothing computed in place.
A CPU computes fp16 and dynamic files with fp32 activations."""


def spec_text(spec: ModelSpec, precision: Precision) -> str:
    """Return everything that `mnet cost` says of a model."""
    cost = estimate(spec)
    sections = (
        f"{_heading(spec)}\n\n{layer_table(cost, precision)}\n\n{LEGEND.format(precision=precision)}",
        totals_text(cost),
        shares_text(spec, cost),
        standard_text(spec, cost, precision),
        grid_text(spec),
    )
    return "\n\n".join(sections)


def graph_text(cost: CostEstimate, precision: Precision) -> str:
    """Return what `mnet cost FILE` says: a row a kind of op, and the ops that could not be counted."""
    rows = [[group.title, f"{len(group.layers):,}", *_counts(group, precision)] for group in by_kind(cost)]
    total = ["total", f"{len(cost.layers):,}", *_counts(cost, precision)]
    header = ("kind of op", "ops", "MACs", "params", "weight B", "activ. B")
    table = render_table(header, [*rows, (), total], align="<>>>>>")
    sections = [f"{cost.title}\n\n{table}\n\n{FILE_LEGEND.format(precision=precision)}", totals_text(cost)]
    if cost.uncounted:
        kinds = {layer.name: layer.kind for layer in cost.layers}
        names = "\n".join(f"  {kinds.get(name, UNKNOWN)}: {name}" for name in cost.uncounted)
        sections.append(
            f"MACs not counted, shown as {UNKNOWN} above ({len(cost.uncounted)} of {len(cost.layers)} ops):\n{names}"
        )
    return "\n\n".join(sections)


def layer_table(cost: CostEstimate, precision: Precision) -> str:
    """Return a row a layer and their sums."""
    rows = [[layer.name, layer.kind, _shape(layer.out_shape), *_counts(layer, precision)] for layer in cost.layers]
    header = ("layer", "kind", "output", "MACs", "params", "weight B", "activ. B")
    return render_table(header, [*rows, (), ["total", "", "", *_counts(cost, precision)]], align="<<>>>>>")


def totals_text(cost: CostEstimate) -> str:
    """Return the totals with what they are made of, and the bytes at each precision."""
    classifier = sum(layer.macs or 0 for layer in cost.layers if layer.kind == LayerKind.CLASSIFIER)
    without = f"{cost.macs - classifier:,} without the classifier" if classifier else ""
    made_of = f"kernels {cost.weight_count:,} + biases {cost.own_bias_count:,} + batch norm {cost.batch_norm_count:,}"
    counts = [
        ("MACs", _macs(cost), without),
        ("params", f"{cost.params:,}", made_of),
        ("folded biases", f"{cost.bias_count:,}", "what an exported file has instead of biases and batch norm"),
    ]
    sizes = [
        (each, *map(_kib, (cost.stored_bytes(each), cost.moved_bytes(each), cost.peak_bytes(each))))
        for each in PRECISIONS
    ]
    header = ("precision", "weights (flash)", "activations moved", "peak activations")
    return "\n\n".join(
        (
            render_table(("whole model", "", ""), counts, align="<><"),
            render_table(header, sizes, align="<>>>"),
            SIZES_LEGEND,
        )
    )


def _kib(size_bytes: int | None) -> str:
    return UNKNOWN if size_bytes is None else format_kib(size_bytes)


def shares_text(spec: ModelSpec, cost: CostEstimate) -> str:
    """Return each kind's share of the MACs and kernels; for mobilenet_v1 beside the paper's Table 2."""
    groups = [group for group in by_kind(cost) if group.weight_count]
    header = ["kind of layer", "layers", "MACs", "kernels"]
    rows = [
        [
            group.title,
            str(len(group.layers)),
            f"{100 * group.macs / cost.macs:.2f} %",
            f"{100 * group.weight_count / cost.weight_count:.2f} %",
        ]
        for group in groups
    ]
    if spec.family is not Family.MOBILENET_V1:
        return render_table(header, rows, align="<>>>")
    header += ["MACs (paper)", "kernels (paper)"]
    table = render_table(header, [[*row, *_table2_cells(row[0])] for row in rows], align="<>>>>>")
    source = "(paper): Howard et al. 2017, arXiv 1704.04861, Table 2, for 1.0-224; it counts kernels only."
    notes = [_wrapped(f"* {explanations()[figure.note]}") for figure in _table2().values() if figure.note]
    return f"{table}\n\n" + "\n".join((source, *notes))


def _table2() -> dict[tuple[str, ...], PublishedFigure]:
    return {(*figure.layers, figure.quantity): figure for figure in published_figures() if figure.table == "Table 2"}


def _table2_cells(kind: str) -> list[str]:
    figures = [_table2()[f"kind:{kind}", quantity] for quantity in (Quantity.MACS_SHARE, Quantity.KERNELS_SHARE)]
    return [f"{figure.published} %{' *' if figure.note else '  '}" for figure in figures]


def standard_text(spec: ModelSpec, cost: CostEstimate, precision: Precision) -> str:
    """Return the ratios to the same network with standard convolutions."""
    layers = spec.layers()
    standard = as_standard_convolutions(layers)
    if standard is None:
        reason = (
            "it has no depthwise layer"
            if all(layer.kind is not LayerKind.DEPTHWISE for layer in layers)
            else "the outputs of its depthwise layers are read by several layers"
        )
        return _wrapped(f"Beside standard convolution: {spec.family} has no counterpart, because {reason}.")
    full = estimate_layers(standard, title="standard")
    pairs = [
        ("MACs", cost.macs, full.macs),
        ("params", cost.params, full.params),
        ("weight bytes", cost.stored_bytes(precision), full.stored_bytes(precision)),
        ("activation bytes", cost.moved_bytes(precision) or 0, full.moved_bytes(precision) or 0),
    ]
    rows = [(name, f"{ours:,}", f"{theirs:,}", f"{theirs / ours:.2f}") for name, ours, theirs in pairs]
    header = (f"at {precision}", "separable", "standard", "standard / separable")
    title = "Beside standard convolution (each depthwise and pointwise pair as one full 3x3 convolution):"
    return f"{title}\n\n{render_table(header, rows, align='<>>>')}"


def grid_text(spec: ModelSpec) -> str:
    """Return million MACs by alpha and resolution, and million parameters by alpha."""
    grid = cost_grid(spec)
    rows = [
        [
            str(alpha),
            *(f"{grid[alpha, size].macs / 1e6:.3f}" for size in GRID_RESOLUTIONS_PX),
            f"{grid[alpha, GRID_RESOLUTIONS_PX[0]].params / 1e6:.3f}",
        ]
        for alpha in GRID_ALPHAS
    ]
    header = ["alpha", *(f"{size} px" for size in GRID_RESOLUTIONS_PX), "params"]
    title = f"Other sizes of {spec.family}: million MACs by resolution, million parameters:"
    return f"{title}\n\n{render_table(header, rows, align='<' + '>' * (len(header) - 1))}"


def _heading(spec: ModelSpec) -> str:
    parts = [
        f"input {spec.resolution_px}x{spec.resolution_px}x{spec.channels_in}",
        f"{spec.classes} classes" if spec.classes else "no classifier",
        f"padding {spec.padding}",
        *([f"growth {spec.growth}"] if spec.growth else []),
    ]
    return f"{spec.name}: {', '.join(parts)}"


def _wrapped(text: str) -> str:
    return fill(text, WIDTH, subsequent_indent="  ")


def _counts(cost: CostEstimate | LayerCost, precision: Precision) -> list[str]:
    sizes = (cost.params, cost.stored_bytes(precision), cost.moved_bytes(precision))
    return [_macs(cost), *(UNKNOWN if size is None else f"{size:,}" for size in sizes)]


def _macs(cost: CostEstimate | LayerCost) -> str:
    incomplete = cost.uncounted if isinstance(cost, CostEstimate) else cost.macs is None
    if not incomplete:
        return f"{cost.macs:,}"
    return f"{cost.macs:,} + {UNKNOWN}" if cost.macs else UNKNOWN


def _shape(shape: tuple[int, ...] | None) -> str:
    return UNKNOWN if shape is None else "x".join(str(size) for size in shape)
