"""Which published grids can be learnt from and judged by: one row a grid, plausible, and of a CPU."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median

from mnet_deploy.latency.grids import (
    ALPHAS,
    FASTEST_MACS_PER_S,
    GRID_SPECS,
    LABELS,
    RESOLUTIONS_PX,
    SLOWEST_MACS_PER_S,
    PublishedGrid,
    macs_per_s,
)

MAX_REPEAT_DIFFERENCE = 0.03
PREFERRED_STATS = ("min", "p50", "median", "mean")


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A grid that is kept out, and why.

    Attributes:
        grid: the chosen row.
        reason: in words.
    """

    grid: PublishedGrid
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SortedGrids:
    """Grids by what can be done with them."""

    accepted: tuple[PublishedGrid, ...]
    accelerators: tuple[PublishedGrid, ...]
    refused: tuple[Refusal, ...]


def sort_grids(rows: Sequence[PublishedGrid]) -> SortedGrids:
    """Choose a row for each grid and sort the grids."""
    groups: dict[tuple[str, str, str, str], list[PublishedGrid]] = {}
    for row in rows:
        groups.setdefault(row.key, []).append(row)
    accepted: list[PublishedGrid] = []
    accelerators: list[PublishedGrid] = []
    refused: list[Refusal] = []
    for group in groups.values():
        grid, difference = _chosen(group)
        refusal = _refusal(grid, difference)
        if refusal:
            refused.append(refusal)
        else:
            (accelerators if grid.accelerator else accepted).append(grid)
    return SortedGrids(accepted=tuple(accepted), accelerators=tuple(accelerators), refused=tuple(refused))


def same_device(one: str, other: str) -> bool:
    """Return whether two names are of one device, `HiKey960` and `Linaro HiKey960 (hikey960)`: one says no more."""
    words, others = (set(name.partition("(")[0].lower().split()) for name in (one, other))
    return bool(words and others) and (words <= others or others <= words)


def _chosen(group: Sequence[PublishedGrid]) -> tuple[PublishedGrid, float]:
    """Return the preferred statistic's row and by how much its repeats differ, if there are several."""
    by_stat: dict[str, list[PublishedGrid]] = {}
    for row in group:
        by_stat.setdefault(row.stat, []).append(row)
    stat = next((name for name in PREFERRED_STATS if name in by_stat), group[0].stat)
    columns = list(zip(*(row.latency_s for row in by_stat[stat]), strict=True))
    typical = tuple(median(column) for column in columns)
    return replace(by_stat[stat][0], latency_s=typical), max(max(column) / min(column) - 1 for column in columns)


def _refusal(grid: PublishedGrid, difference: float) -> Refusal | None:
    if difference > MAX_REPEAT_DIFFERENCE:
        return Refusal(grid=grid, reason=f"its repeats differ by up to {difference:.1%}")
    if not SLOWEST_MACS_PER_S <= macs_per_s(grid) <= FASTEST_MACS_PER_S:
        rate = f"{macs_per_s(grid) / 1e9:.2g} G MACs a second at {LABELS[-1]}"
        return Refusal(grid=grid, reason=f"{rate}: are its latencies in ms?")
    wrong = disorder(grid.latency_s)
    if not wrong:
        return None
    small, large = wrong[0]
    reason = (
        f"not monotone: {LABELS[large]} takes {_ms(grid, large)} ms, {LABELS[small]} {_ms(grid, small)} ms"
        + f", and {len(wrong) - 1} more such pair{'s' * (len(wrong) > 2)}" * (len(wrong) > 1)
    )
    return Refusal(grid=grid, reason=reason)


def disorder(latency_s: Sequence[float]) -> list[tuple[int, int]]:
    """Return the pairs of positions of which the larger model takes less time, each a step of one width or size."""
    columns = len(RESOLUTIONS_PX)
    steps = [(at, at + columns) for at in range(len(GRID_SPECS) - columns)]
    steps += [(row * columns + at, row * columns + at + 1) for row in range(len(ALPHAS)) for at in range(columns - 1)]
    return [(small, large) for small, large in steps if latency_s[large] < latency_s[small]]


def _ms(grid: PublishedGrid, position: int) -> str:
    return f"{grid.latency_s[position] * 1000:.4g}"
