"""Tables for a terminal."""

from collections.abc import Iterable, Sequence

from mnet_deploy.terminal import printable

GAP = "  "


def render_table(header: Sequence[str], rows: Iterable[Sequence[str]], *, align: str) -> str:
    """Return aligned columns, with a rule under the header and no newline at the end.

    Cells may come from a device or a file: what would move the cursor is replaced.

    Args:
        header: the column titles.
        rows: cells as text; an empty row draws a rule, e.g. above a total.
        align: one `<` or `>` a column.

    Raises:
        ValueError: a row or `align` has another number of columns than the header.
    """
    lines = [tuple(header), (), *(tuple(map(printable, row)) for row in rows)]
    widths = [max(len(cell) for cell in column) for column in zip(*filter(None, lines), strict=True)]
    rule = GAP.join("-" * width for width in widths)
    return "\n".join(_line(cells, widths, align) if cells else rule for cells in lines)


def _line(cells: Sequence[str], widths: Sequence[int], align: str) -> str:
    padded = (f"{cell:{side}{width}}" for cell, side, width in zip(cells, align, widths, strict=True))
    return GAP.join(padded).rstrip()
