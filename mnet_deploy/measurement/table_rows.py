"""Tables of latencies from anywhere, read from a CSV or from JSON."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from mnet_deploy.errors import ResultFormatError
from mnet_deploy.measurement.json_values import read_as


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRow:
    """A row of a table of latencies; None is what the table does not have.

    Attributes:
        model: what was timed.
        config: what one program timed in a run, device and software, in the order of the rows.
        threads: of the engine.
        alpha: width of the model.
        resolution_px: of its input.
        mean_s: of the latencies.
        median_s: of them.
        min_s: the smallest.
        max_s: the largest.
        count: of inferences.
        required_count: that the rules of the table ask for.
        window_s: for which inferences were timed.
        required_window_s: that the rules of the table ask for.
        samples_s: the latencies themselves.
    """

    model: str
    config: str = ""
    threads: int | None = None
    alpha: float | None = None
    resolution_px: int | None = None
    mean_s: float | None = None
    median_s: float | None = None
    min_s: float | None = None
    max_s: float | None = None
    count: int | None = None
    required_count: int | None = None
    window_s: float | None = None
    required_window_s: float | None = None
    samples_s: tuple[float, ...] = ()

    @property
    def latency_s(self) -> float | None:
        """The median, or the mean where there is none."""
        return self.median_s if self.median_s is not None else self.mean_s

    @property
    def label(self) -> str:
        """What tells it from the others."""
        threads = None if self.threads is None else f"{self.threads} thread{'s' * (self.threads != 1)}"
        return ", ".join(text for text in (self.config, self.model, threads) if text)


def rows_from_csv(text: str) -> tuple[TableRow, ...]:
    """Read rows from a CSV with a header: names as in `TableRow`, or with `_ms` for `_s`; others are left out.

    Raises:
        ResultFormatError: there are no rows, no column `model`, or a cell is not of its type.
    """
    kinds = {field.name: field.type for field in fields(TableRow) if field.name != "samples_s"}
    try:
        return _rows([_cells(row, kinds) for row in csv.DictReader(io.StringIO(text), strict=True)])
    except (ValueError, csv.Error) as error:
        raise ResultFormatError(f"expected a CSV with a column model and latencies. Received: {error}") from error


def _cells(row: dict[str, str], kinds: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for column, cell in row.items():
        scale = 1e-3 if isinstance(column, str) and column.endswith("_ms") else 1.0
        name = f"{column[:-3]}_s" if scale != 1.0 else column
        if name not in kinds or not cell:
            continue
        if kinds[name] is str:
            found[name] = cell
        else:
            found[name] = int(cell) if kinds[name] == int | None else float(cell) * scale
    return found


def rows_from_json(text: str) -> tuple[TableRow, ...]:
    """Read rows from a JSON list of objects with the names of `TableRow`.

    Raises:
        ResultFormatError: it is something else, or empty.
    """
    try:
        listed = json.loads(text)
        if not isinstance(listed, list):
            raise ValueError("JSON that is no list")
        return _rows(listed)
    except (ValueError, RecursionError) as error:
        raise ResultFormatError(f"expected a JSON list of rows. Received: {error}") from error


def _rows(listed: Sequence[object]) -> tuple[TableRow, ...]:
    if not listed:
        raise ValueError("no rows")
    return tuple(read_as(TableRow, row, f"row {number}") for number, row in enumerate(listed, 1))
