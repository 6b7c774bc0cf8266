"""The kinds of convolution as text for a terminal of 100 columns."""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from textwrap import fill

from mnet_deploy.cost.convolution_claims import claims
from mnet_deploy.cost.convolution_words import SYMBOLS, WORDS
from mnet_deploy.cost.convolutions import (
    ConvolutionCost,
    ConvolutionKind,
    ConvolutionShape,
    compare,
    count_convolution,
)
from mnet_deploy.cost.estimate import Precision
from mnet_deploy.cost.separability import Matrix, Separability
from mnet_deploy.text_table import render_table

WIDTH = 100
LEGEND = """\
of std.   MACs as a part of those of the standard convolution
params    elements of the kernels: no bias, no batch norm
activ. B  bytes of activations that all passes read and write for one image at {precision}
MACs/B    arithmetic intensity: MACs for each byte of activations and kernels that is moved
field     side of the square of input pixels that reach an output pixel"""


def comparison_text(shape: ConvolutionShape, precision: Precision) -> str:
    """Return a row a kind at one shape, and what each keeps and loses."""
    costs, left_out = compare(shape)
    header = ("kind", "output", "MACs", "of std.", "params", "activ. B", "MACs/B", "field")
    rows = [_comparison_row(cost, costs[0], precision) for cost in costs]
    words = "\n".join(_kept_and_lost(cost.kind) for cost in costs)
    reasons = [_bullet(kind, f"left out: {reason}.") for kind, reason in left_out.items()]
    sections = [
        _heading(shape),
        render_table(header, rows, align="<>>>>>>>"),
        LEGEND.format(precision=precision),
        words,
        *reasons,
    ]
    return "\n\n".join(sections)


def kind_text(kind: ConvolutionKind, shape: ConvolutionShape, precision: Precision) -> str:
    """Return one kind: its formula, its passes with their sums, and its words."""
    cost = count_convolution(kind, shape)
    standard = count_convolution(ConvolutionKind.STANDARD, shape)
    words = WORDS[kind]
    rows = [
        [layer.name, _sides(layer.in_shape), _sides(layer.out_shape), f"{layer.macs:,}", f"{layer.params:,}", moved]
        for layer in cost.passes.layers
        for moved in [f"{layer.moved_bytes(precision):,}"]
    ]
    passes = cost.passes
    total = ["total", "", "", f"{passes.macs:,}", f"{passes.params:,}", f"{cost.moved_bytes(precision):,}"]
    table = render_table(("pass", "input", "output", "MACs", "params", "activ. B"), [*rows, (), total], align="<>>>>>")
    facts = (
        ("MACs", f"{words.formula} = {passes.macs:,}"),
        ("of std.", f"{_part(cost, standard)} of {standard.passes.macs:,}"),
        ("MACs/B", f"{cost.intensity(precision):.2f} (standard: {standard.intensity(precision):.2f})"),
        ("field", f"{words.field} = {cost.field_px} px"),
        ("keeps", f"{words.keeps}."),
        ("loses", f"{words.loses}."),
        ("source", words.source),
    )
    lines = "\n".join(_labelled(label, text) for label, text in facts)
    symbols = fill(f"{SYMBOLS}. Bytes at {precision}.", WIDTH)
    return f"{kind} on {_heading(shape, [kind])}\n\n{table}\n\n{lines}\n\n{symbols}"


def claims_text() -> str:
    """Return the errors that are copied from page to page, with ours beside them."""
    blocks = [
        "\n".join(
            [
                fill(f"{number}. {claim.claim}", WIDTH, subsequent_indent="   "),
                _labelled("example", claim.about),
                _labelled("ours", claim.right),
                _labelled("why", claim.why),
            ]
        )
        for number, claim in enumerate(claims(), start=1)
    ]
    return "\n\n".join(["Misprints and half-truths about convolutions, with what we count.", *blocks])


def separability_text(found: Separability) -> str:
    """Return whether a kernel separates, into what, and what is lost otherwise."""
    height, width = len(found.matrix), len(found.matrix[0])
    whole, passes = height * width, height + width
    saved = "" if passes < whole else ": nothing is saved"
    lines = [_matrix(found.matrix), ""]
    if found.column is not None and found.row is not None:
        lines += [
            f"separates: rank 1, the column ({_numbers(found.column)}) times the row ({_numbers(found.row)}).",
            f"{passes} instead of {whole} multiplications an output pixel{saved}.",
        ]
    elif found.rank == 0:
        lines += ["separates: rank 0, all zeros."]
    else:
        lines += [
            f"does not separate: rank {found.rank}, a sum of {found.rank} products of a column and a row.",
            f"Exactly that takes {found.rank * passes} multiplications an output pixel, the whole kernel {whole}.",
            f"The nearest kernel that separates keeps {found.kept:.1%} of the energy (sum of squares).",
        ]
    return "\n".join(lines)


def _comparison_row(cost: ConvolutionCost, standard: ConvolutionCost, precision: Precision) -> list[str]:
    return [
        str(cost.kind),
        _sides(cost.out_shape),
        f"{cost.passes.macs:,}",
        _part(cost, standard),
        f"{cost.passes.params:,}",
        f"{cost.moved_bytes(precision):,}",
        f"{cost.intensity(precision):.2f}",
        str(cost.field_px),
    ]


def _heading(shape: ConvolutionShape, kinds: Iterable[ConvolutionKind] = tuple(ConvolutionKind)) -> str:
    """Return the shape, with groups and dilation only if one of the kinds has them."""
    names = " ".join(kinds)
    extras = [
        f"{shape.kernel_px}x{shape.kernel_px} kernels",
        f"stride {shape.stride}",
        f"padding {shape.padding}",
        *([f"groups {shape.group_count}"] if "grouped" in names else []),
        *([f"dilation {shape.dilation}"] if "dilated" in names else []),
    ]
    return f"{_sides(shape.in_shape)}, {shape.channels_out} filters: {', '.join(extras)}"


def _part(cost: ConvolutionCost, standard: ConvolutionCost) -> str:
    return f"{cost.passes.macs / standard.passes.macs:.4f}"


def _labelled(label: str, text: str) -> str:
    return fill(f"{label:<10}{text}", WIDTH, subsequent_indent=" " * 10)


def _kept_and_lost(kind: ConvolutionKind) -> str:
    words = WORDS[kind]
    return _bullet(kind, f"keeps {words.keeps}; loses {words.loses}.")


def _bullet(kind: ConvolutionKind, text: str) -> str:
    return fill(f"{kind}: {text}", WIDTH, subsequent_indent="  ")


def _sides(shape: Sequence[int] | None) -> str:
    return "x".join(map(str, shape or ()))


def _numbers(values: Sequence[Fraction]) -> str:
    return ", ".join(map(str, values))


def _matrix(matrix: Matrix) -> str:
    cells = [[str(value) for value in row] for row in matrix]
    width = max(len(cell) for row in cells for cell in row)
    return "\n".join("  ".join(f"{cell:>{width}}" for cell in row) for row in cells)
