"""The check against grids as text for a terminal."""

from collections.abc import Sequence
from itertools import pairwise
from math import inf
from statistics import median
from typing import Any

from mnet_deploy.latency.grid_check import GridCheck, GridsCheck, Outlier
from mnet_deploy.latency.grid_check_json import summary
from mnet_deploy.latency.grid_rules import Refusal
from mnet_deploy.latency.grid_trial import FIVE, Trial
from mnet_deploy.latency.grids import LABELS, PublishedGrid
from mnet_deploy.text_table import render_table

LIMIT = 0.10
_JITTERS = (0.0, 0.05, 0.10, 0.20, inf)
_METHODS = {"MACs": "macs", "MACs + constant": "macs_constant", "latency model": ""}
_HEADER = ("grid", "", "MACs", "+const", "ours", "worst", "≤5 %", "≤10 %", "rank", "in 90 %", "width", "jitter")
_WAYS = {"five_model": "from five models", "leave_one_out": "leave-one-out"}
_TITLES = {
    "five_model": f"From five models ({', '.join(LABELS[at] for at in FIVE)}): the other eleven",
    "leave_one_out": "Leave-one-out: each model from the other fifteen",
}
_EXPLANATION = """\
MACs, +const, ours: mean size of the errors of a rate of MACs alone, of a rate and a constant, of the latency model, in
per cent; worst: its largest. rank: Spearman's correlation of predicted and published. in 90 %: share of the published
latencies that lie in our 90 % intervals, of which those wider than the mean error of MACs alone count as missing.
width: median width of the intervals. jitter: by how much the median inference of a model takes longer than its fastest.
What the latency model knows of other CPUs beforehand is learnt without any grid of the device in question."""


def check_text(check: GridsCheck, file: str) -> str:
    """Return a headline, the grids it is about, what stands in its way, and what was kept out."""
    counts = f"{len(check.accepted)} on CPUs, {len(check.accelerators)} on accelerators, {len(check.refused)} refused"
    parts = [f"{file}: {counts}"]
    for name, grids in (("CPUs", check.accepted), ("Accelerators", check.accelerators)):
        if grids:
            parts += [f"{name}\n\n{_headline(grids)}"]
    parts += [*_by_jitter(check.accepted), *_far(check.accepted)]
    for way, title in _TITLES.items():
        rows = [_row(each, getattr(each, way)) for each in check.accepted]
        rows += [(), *(_row(each, getattr(each, way)) for each in check.accelerators)] if check.accelerators else []
        parts += [f"{title}\n\n{render_table(_HEADER, rows, align='<<' + '>' * 10)}"] if rows else []
    parts += [_EXPLANATION]
    if check.refused:
        parts += ["Refused\n\n" + "\n".join(_refusal(*each) for each in check.refused)]
    return "\n\n".join(parts)


def _headline(grids: Sequence[GridCheck]) -> str:
    rows = []
    for way, title in _WAYS.items():
        found = summary([getattr(each, way) for each in grids]) or {}
        for name, key in _METHODS.items():
            intervals = ("", "") if key else (_percent(found["coverage"]), _percent(found["width_median"]))
            rows.append((title, name, *_cells(found[key] if key else found), *intervals))
    header = ("", "", "median error", "≤5 %", "≤10 %", "rank", "in 90 %", "width")
    return render_table(header, rows, align="<<" + ">" * 6)


def _cells(found: dict[str, Any]) -> list[str]:
    shares = (_percent(found[name]) for name in ("mape_median", "share_within_5", "share_within_10"))
    return [*shares, f"{found['rank_correlation_median']:.3f}"]


def _by_jitter(grids: Sequence[GridCheck]) -> list[str]:
    """Return how well grids are predicted whose single inferences differ little, and others."""
    rows = []
    for least, most in pairwise(_JITTERS):
        trials = [each.five_model for each in grids if each.jitter is not None and least <= each.jitter < most]
        if trials:
            found = summary(trials) or {}
            title = f"{least:.0%} to {most:.0%}" if most < inf else f"{least:.0%} or more"
            rows.append((title.replace("%", " %"), str(len(trials)), *_cells(found)[:3], _percent(found["coverage"])))
    header = ("jitter", "grids", "median error", "≤5 %", "≤10 %", "in 90 %")
    title = "From five models, by how steady the published latencies are"
    return [f"{title}\n\n{render_table(header, rows, align='<' + '>' * 5)}"] if rows else []


def _far(grids: Sequence[GridCheck]) -> list[str]:
    """Return which grids the errors beyond the limit are from, those with the most first."""
    beyond = [
        (round((1 - each.five_model.ours.share_within(LIMIT)) * len(each.five_model.positions)), each) for each in grids
    ]
    far = sorted(((count, each) for count, each in beyond if count), key=lambda item: -item[0])
    if not far:
        return []
    rows = [
        (_name(each.grid), str(each.grid.precision), str(count), _percent(each.five_model.ours.mape), _jitter(each))
        for count, each in far
    ]
    total, of = sum(count for count, _ in far), sum(len(each.five_model.positions) for each in grids)
    title = f"{total} of the {of} errors from five models are beyond 10 %, in {len(far)} of the {len(grids)} grids"
    return [f"{title}\n\n{render_table(('grid', '', 'beyond', 'mean error', 'jitter'), rows, align='<<>>>')}"]


def _row(check: GridCheck, trial: Trial) -> tuple[str, ...]:
    return (
        _name(check.grid),
        str(check.grid.precision),
        *(f"{errors.mape * 100:.1f}" for errors in (trial.macs, trial.macs_constant, trial.ours)),
        f"{trial.ours.worst * 100:.1f}",
        *(f"{trial.ours.share_within(limit) * 100:.0f}" for limit in (0.05, LIMIT)),
        f"{trial.ours.rank_correlation:.3f}",
        f"{sum(trial.covered) / len(trial.covered) * 100:.0f}",
        f"{median(trial.widths) * 100:.0f} %",
        _jitter(check),
    )


def _refusal(refusal: Refusal, outlier: Outlier | None) -> str:
    grid = refusal.grid
    explained = ""
    if outlier:
        explained = (
            f" (the outlier is {LABELS[outlier.position]}: {outlier.latency_s * 1000:.3g} ms, of which the others say "
            f"{outlier.expected_s * 1000:.3g} ms)"
        )
    return f"- {_name(grid)}, {grid.precision}: {refusal.reason}{explained}"


def _name(grid: PublishedGrid) -> str:
    """Return the device, cut off where the publication's name goes on in brackets, and the system."""
    return f"{grid.device.partition('(')[0].strip()}, {grid.system}"


def _jitter(check: GridCheck) -> str:
    return "" if check.jitter is None else f"{check.jitter * 100:.0f} %"


def _percent(share: float) -> str:
    return f"{share * 100:.1f} %"
