"""The tables of ops that `benchmark_model` prints with `--enable_op_profiling=true`, or writes as CSV.

TensorFlow: tensorflow/core/util/stats_calculator.cc and tensorflow/lite/profiling/profile_summary_formatter.cc. Columns
are found by their names: old versions have one more, `start`.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from math import isfinite

from mnet_deploy.errors import ResultFormatError
from mnet_deploy.runners.benchmark_model.log_lines import LONGEST_LOG, log_lines
from mnet_deploy.terminal import printable

_MS_PER_S = 1e3
_PER_CENT = 100
_BYTES_PER_KB = 1000
_NEEDED = frozenset({"node type", "first", "avg ms", "%", "mem kb", "times called", "name"})
_OPTIONAL = frozenset({"start", "cdf%"})
_DECIMAL = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,15})?(e[+-][0-9]{2})?")
_CALLS = re.compile("[0-9]{1,12}")
_RUN_ORDER = re.compile("=+ Run Order =+")

_NODES = re.compile("Number of nodes executed: ([0-9]{1,9})")
_SUBGRAPH = re.compile(r"Subgraph \(index: (?P<subgraph>.*)\) profile:")
_SHOWN = 120  # characters of a line in a message


class Phase(StrEnum):
    """What was profiled; the value is the heading."""

    INITIALIZATION = "Profiling Info for Benchmark Initialization:"
    RUNS = "Operator-wise Profiling Info for Regular Benchmark Runs:"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfiledOp:
    """A node of the graph, or an op within a delegate.

    Attributes:
        op: its type, such as `Convolution (NHWC, QC8) DWConv`.
        name: of the node.
        first_s: time of its first call.
        mean_s: of one call.
        share: of the time of all ops of the table, 0 to 1.
        calls: in one run.
        memory_bytes: that it took.
        start_s: when it starts in a run; None in new versions.
    """

    op: str
    name: str
    first_s: float
    mean_s: float
    share: float
    calls: int
    memory_bytes: float
    start_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OpTable:
    """The ops in the order in which they ran.

    Attributes:
        ops: all that were printed.
        phase: None in a CSV that does not say it.
        subgraph: index and name of it, if there are several.
        in_delegate: whether they are parts of what another table has as one node.
        node_count: as the tool says below the table; None if it does not.
    """

    ops: tuple[ProfiledOp, ...]
    phase: Phase | None = None
    subgraph: str | None = None
    in_delegate: bool = False
    node_count: int | None = None

    def require_whole(self) -> None:
        """Raise ResultFormatError unless all nodes are there."""
        if self.node_count != len(self.ops):
            said = "no number of nodes" if self.node_count is None else f"{self.node_count} nodes"
            raise ResultFormatError(
                f"below a profile stands how many nodes it has. Received: {len(self.ops)} rows and {said}; "
                "the log was cut off, run it again"
            )


def run_profile(stdout: str) -> tuple[OpTable, ...]:
    """Return the tables of the regular runs, whole ones only.

    Raises:
        ResultFormatError: there is none, or one that was cut off.
    """
    tables = tuple(table for table in printed_tables(stdout) if table.phase is Phase.RUNS)
    if not tables:
        raise ResultFormatError(
            f"benchmark_model prints '{Phase.RUNS}' and a table. Received: a log without; "
            "run it with --enable_op_profiling=true"
        )
    for table in tables:
        table.require_whole()
    return tables


def printed_tables(stdout: str) -> tuple[OpTable, ...]:
    """Return all tables in the order of the runs, whole or not."""
    if len(stdout) > LONGEST_LOG:
        raise ResultFormatError(f"a log of benchmark_model has at most {LONGEST_LOG} characters")
    lines = (line.text for line in log_lines(stdout) if line.whole)
    return _tables(lines, lambda line: line.removeprefix("\t").split("\t"))


def csv_tables(text: str) -> tuple[OpTable, ...]:
    """Return the tables of `--op_profiling_output_mode=csv`.

    Its fields are not quoted: commas in names are tabs there, those in types stay.
    """
    if len(text) > LONGEST_LOG:
        raise ResultFormatError(f"a profile of benchmark_model has at most {LONGEST_LOG} characters")
    lines = (line.text for line in log_lines(text) if line.whole)
    return _tables(lines, lambda line: line.split(", "))


def _tables(lines: Iterator[str], split: Callable[[str], list[str]]) -> tuple[OpTable, ...]:
    tables: list[OpTable] = []
    context = OpTable(ops=())
    for line in lines:
        if line in tuple(Phase):
            context = OpTable(ops=(), phase=Phase(line))
        elif found := _SUBGRAPH.fullmatch(line):
            context = replace(context, subgraph=printable(found["subgraph"]), in_delegate=False)
        elif line == "Delegate internal:":
            context = replace(context, in_delegate=True)
        elif _RUN_ORDER.fullmatch(line):
            tables.append(replace(context, ops=tuple(_rows(lines, split))))
        elif (count := _NODES.fullmatch(line)) and tables and tables[-1].node_count is None:
            tables[-1] = replace(tables[-1], node_count=int(count[1]))
    return tuple(tables)


def _rows(lines: Iterator[str], split: Callable[[str], list[str]]) -> Iterator[ProfiledOp]:
    """Yield the rows up to an empty line."""
    columns = [_column(cell) for cell in split(next(lines, ""))]
    known = _NEEDED | _OPTIONAL
    if not known >= set(columns) >= _NEEDED or len(set(columns)) != len(columns):
        raise ResultFormatError(
            f"a profile has the columns {', '.join(sorted(_NEEDED))}. Received: {', '.join(columns)[:_SHOWN]!r}"
        )
    if (columns[0], columns[-1]) != ("node type", "name"):
        raise ResultFormatError("the first column of a profile is the type and the last the name")
    for line in lines:
        if not line.strip():
            return
        yield _op(columns, _fields(split(line), len(columns)), line)


def _column(cell: str) -> str:
    return printable(cell.strip(" []").replace("_", " ").lower())


def _fields(cells: Sequence[str], count: int) -> list[str]:
    """Return as many fields as there are columns: what is too much belongs to the type, which has commas."""
    surplus = len(cells) - count
    if surplus < 0:
        return []
    return [", ".join(cells[: surplus + 1]), *cells[surplus + 1 :]]


def _op(columns: Sequence[str], fields: Sequence[str], line: str) -> ProfiledOp:
    said = {column: field.strip() for column, field in zip(columns, fields, strict=False)}
    numbers = {column: said.get(column, "").removesuffix("%") for column in columns[1:-1]}
    if not all(map(_DECIMAL.fullmatch, numbers.values())) or not _CALLS.fullmatch(numbers["times called"]):
        raise ResultFormatError(
            f"a row of a profile has {len(columns)} columns, numbers between its type and its name. "
            f"Received: {printable(line[:_SHOWN])!r}"
        )
    value = {column: float(text) for column, text in numbers.items()}
    if not all(map(isfinite, value.values())):
        raise ResultFormatError(f"times of a profile are finite. Received: {printable(line[:_SHOWN])!r}")
    return ProfiledOp(
        op=printable(said["node type"]),
        name=printable(said["name"].replace("\t", ",")),
        first_s=value["first"] / _MS_PER_S,
        mean_s=value["avg ms"] / _MS_PER_S,
        share=value["%"] / _PER_CENT,
        calls=int(numbers["times called"]),
        memory_bytes=value["mem kb"] * _BYTES_PER_KB,
        start_s=value["start"] / _MS_PER_S if "start" in value else None,
    )
