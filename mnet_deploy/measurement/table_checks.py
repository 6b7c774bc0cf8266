"""The checks of our own measurements on tables of others, as far as their columns go."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from mnet_deploy.measurement import predicates
from mnet_deploy.measurement.table_rows import TableRow
from mnet_deploy.units import format_seconds

# Repeated runs of one row differ by 3.3 % or less in nine of ten pairs (run_1 against ranging mode in the open division
# of MLPerf Inference v0.5 to v3.0, mlcommons/inference_results_*). A larger model that is faster by more, or more
# threads that are slower by more, are no chance.
RUN_TOLERANCE = 0.05
# As many rows in a run with the same minimum, to the last digit, are no coincidence if their means differ.
SAME_MIN_ROWS = 3
SAME_MEAN = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What is wrong with a row, or with several.

    Attributes:
        check: name of the check.
        rows: their labels.
        text: a sentence.
    """

    check: str
    rows: tuple[str, ...]
    text: str


def check_table(rows: Iterable[TableRow]) -> tuple[Finding, ...]:
    """Return what makes the figures of a table doubtful; nothing for a clean one."""
    rows = tuple(rows)
    alone = tuple(finding for row in rows for finding in _alone(row))
    possible = [row for row in rows if not _impossible(row)]  # the others compute with latencies
    return (*alone, *(finding for check in TOGETHER for finding in check(possible)))


def _window(row: TableRow) -> str | None:
    if row.window_s is None or row.required_window_s is None:
        return None
    return predicates.window_too_short(row.window_s, row.required_window_s)


def _count(row: TableRow) -> str | None:
    if row.count is None or row.required_count is None:
        return None
    return predicates.too_few(row.count, row.required_count)


def _extremes(row: TableRow) -> str | None:
    return None if row.min_s is None or row.max_s is None else predicates.max_far_from_min(row.min_s, row.max_s)


def _mean(row: TableRow) -> str | None:
    if row.mean_s is None or row.median_s is None:
        return None
    return predicates.mean_far_from_median(row.mean_s, row.median_s)


def _impossible(row: TableRow) -> str | None:
    given = [value for value in (row.min_s, row.median_s, row.mean_s, row.max_s, *row.samples_s) if value is not None]
    return predicates.impossible(given)


def _disordered(row: TableRow) -> str | None:
    known = [value for value in (row.min_s, row.latency_s, row.max_s) if value is not None]
    return None if known == sorted(known) else "a minimum, median and maximum that are not in this order"


def _timer(row: TableRow) -> str | None:
    return predicates.timer_too_coarse(row.samples_s)


ALONE: dict[str, Callable[[TableRow], str | None]] = {
    "impossible_latency": _impossible,
    "disordered": _disordered,
    "short_window": _window,
    "few_samples": _count,
    "wide_extremes": _extremes,
    "mean_over_median": _mean,
    "coarse_timer": _timer,
}


def _alone(row: TableRow) -> Iterator[Finding]:
    for name, check in ALONE.items():
        if seen := check(row):
            yield Finding(check=name, rows=(row.label,), text=f"{row.label}: {seen}.")
            if check is _impossible:
                return


def _groups(rows: Iterable[TableRow], key: Callable[[TableRow], Any]) -> Iterator[list[TableRow]]:
    groups: dict[Any, list[TableRow]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    yield from groups.values()


def _slower_with_threads(rows: Sequence[TableRow]) -> Iterator[Finding]:
    for group in _groups(rows, lambda row: (row.config, row.model)):
        one = next((row for row in group if row.threads == 1), None)
        for row in group:
            if one is None or not row.threads or one.latency_s is None or row.latency_s is None:
                continue
            if row.latency_s <= (1 + RUN_TOLERANCE) * one.latency_s:
                continue  # what two runs may differ by
            if seen := predicates.slower_with_threads(one.latency_s, row.latency_s, row.threads):
                yield Finding(check="slower_with_threads", rows=(row.label, one.label), text=f"{row.label}: {seen}.")


def _growing_list(rows: Sequence[TableRow]) -> Iterator[Finding]:
    """Find rows whose samples hold those of the rows before: their minimum can only fall, and mostly stays."""
    for group in _groups(rows, lambda row: row.config):
        for same in _runs_of_equal_min(group):
            means = [row.mean_s for row in same if row.mean_s is not None]
            if len(same) >= SAME_MIN_ROWS and len(means) == len(same) and max(means) > (1 + SAME_MEAN) * min(means):
                labels = tuple(row.label for row in same)
                yield Finding(
                    check="growing_list",
                    rows=labels,
                    text=f"{len(same)} rows in a row ({'; '.join(labels)}) have the minimum "
                    f"{format_seconds(same[0].min_s or 0.0)} and different means: each seems to hold the samples of "
                    "those before it.",
                )


def _runs_of_equal_min(group: Sequence[TableRow]) -> Iterator[list[TableRow]]:
    run: list[TableRow] = []
    for row in group:
        if run and (row.min_s is None or row.min_s != run[-1].min_s):
            yield run
            run = []
        run.append(row)
    yield run


def _not_monotone(rows: Sequence[TableRow]) -> Iterator[Finding]:
    """Find larger models of a grid that are faster than smaller ones, next to each other in one direction."""
    for group in _groups(rows, lambda row: (row.config, row.threads)):
        grid = [row for row in group if row.alpha is not None and row.resolution_px is not None and row.latency_s]
        for line in (*_groups(grid, lambda row: row.alpha), *_groups(grid, lambda row: row.resolution_px)):
            ordered = sorted(line, key=lambda row: (row.alpha or 0.0, row.resolution_px or 0))
            for small, large in pairwise(ordered):
                if (large.latency_s or 0.0) * (1 + RUN_TOLERANCE) < (small.latency_s or 0.0):
                    yield Finding(
                        check="not_monotone",
                        rows=(small.label, large.label),
                        text=f"{small.label}: {format_seconds(small.latency_s or 0.0)}, more than the "
                        f"{format_seconds(large.latency_s or 0.0)} of {large.model}, which computes more.",
                    )


TOGETHER: tuple[Callable[[Sequence[TableRow]], Iterator[Finding]], ...] = (
    _slower_with_threads,
    _growing_list,
    _not_monotone,
)
