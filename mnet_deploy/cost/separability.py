"""Whether a kernel is a column times a row (rank 1), so that two short passes compute exactly what it does."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import hypot

from mnet_deploy.errors import SpecError

Matrix = tuple[tuple[Fraction, ...], ...]
ITERATIONS = 200  # of the power method; kernels are small
MOST_SIDE = 31

# Filters of image processing, scaled to whole numbers.
KNOWN_KERNELS = {
    "box": "1 1 1; 1 1 1; 1 1 1",
    "gaussian": "1 2 1; 2 4 2; 1 2 1",
    "sobel": "1 0 -1; 2 0 -2; 1 0 -1",
    "prewitt": "1 0 -1; 1 0 -1; 1 0 -1",
    "scharr": "3 0 -3; 10 0 -10; 3 0 -3",
    "laplacian": "0 1 0; 1 -4 1; 0 1 0",
    "sharpen": "0 -1 0; -1 5 -1; 0 -1 0",
    "emboss": "-2 -1 0; -1 1 1; 0 1 2",
    "roberts": "1 0; 0 -1",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Separability:
    """What a kernel is made of.

    Attributes:
        matrix: the kernel.
        rank: how many column-times-row products it is the sum of, at least; 0 for a kernel of zeros.
        column: with `row`, the factors of a kernel of rank 1; None for any other.
        row: see `column`.
        kept: share of the kernel's energy (sum of squares) in the nearest kernel of rank 1, 1.0 at rank 1.
    """

    matrix: Matrix
    rank: int
    column: tuple[Fraction, ...] | None
    row: tuple[Fraction, ...] | None
    kept: float

    @property
    def separates(self) -> bool:
        return self.rank <= 1


def matrix_of(text: str) -> Matrix:
    """Return the kernel that a text names (`sobel`) or writes, rows apart by semicolons: `1 0 -1; 2 0 -2; 1 0 -1`.

    Raises:
        SpecError: neither; rows of different lengths.
    """
    rows = [row.replace(",", " ").split() for row in KNOWN_KERNELS.get(text.strip(), text).strip().split(";")]
    try:
        if max(map(len, rows), default=0) > MOST_SIDE or len(rows) > MOST_SIDE or len(text) > MOST_SIDE**3:
            raise ValueError
        matrix = tuple(tuple(_number(cell) for cell in row) for row in rows)
    except (ValueError, ZeroDivisionError):
        raise _unreadable(text) from None
    if len({len(row) for row in matrix}) != 1 or not matrix[0]:
        raise _unreadable(text)
    return matrix


def separability(matrix: Matrix) -> Separability:
    """Find rank and factors exactly, in fractions: 0.1 is a tenth."""
    rank = _rank(matrix)
    column, row = _factors(matrix) if rank == 1 else (None, None)
    return Separability(matrix=matrix, rank=rank, column=column, row=row, kept=1.0 if rank <= 1 else _kept(matrix))


def _number(text: str) -> Fraction:
    if len(text) > 24 or "e" in text.lower():
        raise ValueError(text)
    return Fraction(text)


def _unreadable(text: str) -> SpecError:
    shown = text if len(text) <= 60 else f"{text[:60]}..."
    return SpecError(
        f"a kernel is one of {', '.join(KNOWN_KERNELS)}, or up to {MOST_SIDE} rows of equal length such as "
        f"'1 0 -1; 2 0 -2; 1 0 -1'. Received: {shown!r}"
    )


def _rank(matrix: Matrix) -> int:
    """Return the rank by Gaussian elimination."""
    rows = [list(row) for row in matrix]
    rank = 0
    for index in range(len(matrix[0])):
        pivot = next((row for row in rows[rank:] if row[index]), None)
        if pivot is None:
            continue
        rows.remove(pivot)
        rows.insert(rank, pivot)
        rank += 1
        for row in rows[rank:]:
            factor = row[index] / pivot[index]
            row[:] = [value - factor * other for value, other in zip(row, pivot, strict=True)]
    return rank


def _factors(matrix: Matrix) -> tuple[tuple[Fraction, ...], tuple[Fraction, ...]]:
    """Return column and row of a kernel of rank 1; the row is one of the kernel's own, as small as they come."""
    row = min((row for row in matrix if any(row)), key=lambda row: sum(map(abs, row)))
    index = next(index for index, value in enumerate(row) if value)
    return tuple(other[index] / row[index] for other in matrix), row


def _kept(matrix: Matrix) -> float:
    """Return the largest singular value's share of the energy, by the power method.

    It starts from each row: at least one of them has a part along the direction that is sought.
    """
    rows = [[float(value) for value in row] for row in matrix]
    energy = sum(value * value for row in rows for value in row)
    return max(_strength(rows, row) for row in rows if any(row)) / energy


def _strength(rows: Sequence[Sequence[float]], start: Sequence[float]) -> float:
    direction = list(start)
    for _ in range(ITERATIONS):
        length = hypot(*direction)
        direction = [value / length for value in direction]
        seen = [sum(a * b for a, b in zip(row, direction, strict=True)) for row in rows]
        direction = [
            sum(row[index] * part for row, part in zip(rows, seen, strict=True)) for index in range(len(start))
        ]
    return sum(value * value for value in seen)
