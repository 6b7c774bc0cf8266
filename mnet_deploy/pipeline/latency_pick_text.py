"""What `mnet latency pick` prints."""

from collections.abc import Iterator, Sequence

from mnet_deploy.measurement.run_config import RUN_ENGINES
from mnet_deploy.pipeline.latency_pick import PickReport
from mnet_deploy.selection import Budget, Candidate, LatencyEnd, Limit, Miss, Nearest
from mnet_deploy.selection.doubt import Doubt
from mnet_deploy.spec import Family
from mnet_deploy.terminal import printable
from mnet_deploy.text_table import render_table
from mnet_deploy.units import format_megabytes, format_seconds

_HEADER = ("#", "model", "precision", "engine", "threads", "latency", "interval", "file", "RAM", "top-1", "source")
_ALIGN = "><<<>><>>>>"
_UNKNOWN = "-"
_MOST_UNRATED = 3
_LITTLE = 0.001  # of top-1: a tenth of a point, as accuracies are printed
_FRONT_ROWS = 2  # times as many as of the ranking: a part of a front is none
_MEASURED, _EXTRAPOLATED = " m", " ?"
_NAMES = {Limit.LATENCY: "latency", Limit.SIZE: "file", Limit.MEMORY: "RAM", Limit.TOP1: "top-1"}


def pick_text(report: PickReport, *, rows: int) -> str:
    """Return the choice for a terminal.

    Args:
        report: of the choice.
        rows: of the ranking at most; the front may have twice as many.
    """
    choice = report.choice
    tables = _Tables()
    parts = [_heading(report)]
    if choice.ranked:
        parts.append(tables.of(choice.ranked, most=rows, ranked=choice.ranked))
    elif choice.nearest:
        parts.append(_nothing_fits(choice.nearest, report.request.budget))
    if choice.unrated:
        kept = "Keeps the other limits" if report.request.budget.min_top1 is not None else "Fits"
        parts.append(f"{kept}, but nobody published its accuracy (the fastest first):")
        parts.append(tables.of(choice.unrated, most=min(rows, _MOST_UNRATED)))
    if choice.front:
        parts.append("Pareto front, whatever the limits: no other is as fast, as small and as accurate:")
        parts.append(tables.of(choice.front, most=_FRONT_ROWS * rows, ranked=choice.ranked))
    parts += [_doubt_text(choice.doubt, report), "\n".join((*tables.legend(), *_remarks(report)))]
    return "\n".join(map(printable, "\n\n".join(parts).split("\n")))  # names come from files


def short_name(candidate: Candidate) -> str:
    """Return a name for a place with little room."""
    spec = candidate.spec
    family = "" if spec.family is Family.MOBILENET_V1 else f"{spec.family.removesuffix('_mobilenet')} "
    return f"{family}{spec.alpha_text}-{spec.resolution_px} {candidate.precision}"


def limits_text(budget: Budget) -> str:
    """Return the limits in a line."""
    said = []
    if budget.max_latency_s is not None:
        end = "upper end of the interval" if budget.latency_end is LatencyEnd.HIGH else "the prediction itself"
        said.append(f"latency at most {format_seconds(budget.max_latency_s)} ({end})")
    if budget.max_size_bytes is not None:
        said.append(f"file at most {format_megabytes(budget.max_size_bytes)}")
    if budget.max_memory_bytes is not None:
        said.append(f"RAM at most {format_megabytes(budget.max_memory_bytes)}")
    if budget.min_top1 is not None:
        said.append(f"top-1 at least {budget.min_top1 * 100:.4g} %")
    return ", ".join(said) or "no limits"


class _Tables:
    """Tables that share the numbers of their sources and the marks that need explaining."""

    def __init__(self) -> None:
        self._sources: dict[str, int] = {}
        self._marks: set[str] = set()

    def of(self, candidates: Sequence[Candidate], *, most: int, ranked: Sequence[Candidate] = ()) -> str:
        """Return the first of the candidates, with their places among the ranked ones."""
        places = {one.identity: str(place) for place, one in enumerate(ranked, 1)}
        rows = [(places.get(one.identity, _UNKNOWN), *self._row(one)) for one in candidates[:most]]
        left = len(candidates) - len(rows)
        return render_table(_HEADER, rows, align=_ALIGN) + (f"\n... and {left} more (--rows)" if left else "")

    def legend(self) -> Iterator[str]:
        for source, number in self._sources.items():
            yield f"[{number}] {source}"
        if _MEASURED in self._marks:
            yield "m: measured, with the 95 % interval of the median; the file's size is its own."
        if _EXTRAPOLATED in self._marks:
            yield "?: predicted from measurements of other families alone: its interval may be too narrow. Measure it."

    def _row(self, candidate: Candidate) -> tuple[str, ...]:
        latency = candidate.latency
        mark = _MEASURED if latency.measured else _EXTRAPOLATED if candidate.extrapolated else ""
        self._marks.add(mark)
        return (
            f"{candidate.spec.family} {candidate.spec.alpha_text}-{candidate.spec.resolution_px}",
            candidate.precision,
            candidate.engine,
            _UNKNOWN if candidate.threads is None else str(candidate.threads),
            format_seconds(latency.latency_s) + mark,
            interval_text(latency.low_s, latency.high_s),
            format_megabytes(candidate.size_bytes),
            _UNKNOWN if candidate.memory_bytes is None else format_megabytes(candidate.memory_bytes),
            *self._accuracy(candidate),
        )

    def _accuracy(self, candidate: Candidate) -> tuple[str, str]:
        if candidate.accuracy is None:
            return _UNKNOWN, _UNKNOWN
        figure = candidate.accuracy
        number = self._sources.setdefault(f"{figure.published_as}: {figure.source}", len(self._sources) + 1)
        return f"{figure.top1 * 100:.1f} %", f"[{number}]"


def interval_text(low_s: float, high_s: float) -> str:
    """Return an interval such as `10.3 to 12.9 ms`."""
    low, high = format_seconds(low_s), format_seconds(high_s)
    number, _, unit = low.partition(" ")
    return f"{number if high.endswith(' ' + unit) else low} to {high}"


def _heading(report: PickReport) -> str:
    choice, count = report.choice, len(report.candidates)
    measured = f" ({report.measured_count} of them measured)" if report.measured_count else ""
    fit = f"{len(choice.ranked)} fit" if choice.ranked else "nothing fits"
    return (
        f"{report.ways[0].setting.device}\n{limits_text(report.request.budget)}: {fit}, of {count} candidates{measured}"
    )


def _nothing_fits(nearest: Sequence[Nearest], budget: Budget) -> str:
    lines = ["Nothing fits."]
    first = nearest[0]
    if not first.alone:
        lines.append(f"Nearest is {first.candidate.label}:")
        lines += [f"  {miss_text(miss)}" for miss in first.misses]
    lines.append("If a single limit gave way:")
    alone = {one.misses[0].limit: one for one in nearest if one.alone}
    for limit in budget.limits:
        if one := alone.get(limit):
            lines.append(f"  {miss_text(one.misses[0])} with {one.candidate.label}")
        else:
            lines.append(f"  {_NAMES[limit]}: that would not be enough, nothing keeps all other limits")
    return "\n".join(lines)


def miss_text(miss: Miss) -> str:
    """Return by how much a limit is missed."""
    name, actual, amount, allowed = _NAMES[miss.limit], miss.actual, miss.amount, miss.allowed
    if miss.limit is Limit.TOP1:
        return f"{name}: {actual * 100:.4g} % is {amount * 100:.2g} points below {allowed * 100:.4g} %"
    unit, scale = ("ms", 1e3) if miss.limit is Limit.LATENCY else ("MB", 1e-6)
    said = f"{actual * scale:.4g} {unit} is {amount * scale:.2g} {unit} ({miss.share * 100:.1f} %)"
    return f"{name}: {said} over {allowed * scale:.4g} {unit}"


def _doubt_text(doubt: Doubt | None, report: PickReport) -> str:
    budget = report.request.budget
    if budget.max_latency_s is None:
        return "Measure next: nothing has to be; without a limit of latency, no measurement changes what is first."
    if doubt is None:
        return "Measure next: nothing has to be; no measurement can be expected to change what is first."
    return "\n".join((f"Measure next: {doubt.candidate.label}.", *_reasons(doubt, budget.max_latency_s), *_how(doubt)))


def _reasons(doubt: Doubt, limit_s: float) -> Iterator[str]:
    latency, gain, other = doubt.candidate.latency, f"{doubt.gain * 100:.1f} points", doubt.instead_of
    interval, limit = interval_text(latency.low_s, latency.high_s), format_seconds(limit_s)
    yield f"  Its interval is {interval}, the limit {limit}: it keeps the limit with a chance of {_chance(doubt)}."
    if doubt.is_choice:
        left = f"{other.label}, with {gain} less of top-1" if other else "nothing"
        yield f"  If it does not, what is left is {left}."
    elif other:
        yield f"  If it does, top-1 is {gain} higher than with {other.label}."
    else:
        yield "  If it does, something fits."
    if doubt.expected_change < _LITTLE:
        yield "  Little is in doubt: on average the choice would change by less than 0.1 points of top-1."


def _chance(doubt: Doubt) -> str:
    return (
        "more than 99 %"
        if doubt.chance > 0.99
        else "less than 1 %"
        if doubt.chance < 0.01
        else f"{doubt.chance * 100:.0f} %"
    )


def _how(doubt: Doubt) -> Iterator[str]:
    one = doubt.candidate
    engine = one.engine.partition(" ")[0]
    if engine not in RUN_ENGINES:  # a name from a publication
        yield "  Measure it on the device, engine and number of threads of the others."
        return
    file_format = "onnx" if engine == "onnxruntime" else "tflite"
    yield (
        f"  mnet export --weights random --family {one.spec.family} --alpha {one.spec.alpha_text} "
        f"--resolution {one.spec.resolution_px} --classes {one.spec.classes} --format {file_format} "
        f"--precision {one.precision}"
    )
    file = f"exports/{one.spec.name}_{one.precision}.{file_format}"
    threads = "" if one.threads is None else f" --threads {one.threads}"
    yield f"  mnet bench {file} --engine {engine}{threads}"
    yield "  (with the --device that was fitted; random weights are as fast as others). Then pick with --measured."


def _remarks(report: PickReport) -> Iterator[str]:
    yield (
        "top-1: of ImageNet's 1000 classes, as published with the training and the preprocessing of its source. It "
        "tells models apart; with your own classes the figures will be others."
    )
    if any(one.precision == "int8" and one.accuracy for one in report.candidates):
        yield "uint8 QAT: trained with quantisation in mind; a file quantised afterwards may lose more: mnet verify."
    yield (
        "interval: where 90 % of new measurements should lie, by the model of latency. RAM: activations alive at once; "
        "weights and the engine come on top. MB: a million bytes."
    )
