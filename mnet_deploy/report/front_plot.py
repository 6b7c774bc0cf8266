"""Accuracy over latency as a picture: what nothing beats, and the limits."""

import io
from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

FORMATS = ("svg", "png")
_FRONT, _FITS, _OTHER, _LIMIT = "#1b5e93", "#5aa469", "#a9a9a9", "#b3392f"
_MOST_NAMED = 24  # more names would cover each other
_FONT_PT = 7
_PLACES = ((-1, 5), (1, -5), (1, 5), (-1, -5), (1, -14), (-1, 14))  # of a name: side, and height in pt

_Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontPoint:
    """A candidate in the picture.

    Attributes:
        name: short, to stand beside the point.
        latency_s: where it is drawn.
        low_s: lower end of its interval.
        high_s: upper end.
        top1: share, 0 to 1.
        size_bytes: of its file: the larger, the larger the point.
        on_front: whether nothing beats it.
        fits: whether it keeps all limits.
    """

    name: str
    latency_s: float
    low_s: float
    high_s: float
    top1: float
    size_bytes: int
    on_front: bool
    fits: bool


def draw_front(
    points: Sequence[FrontPoint],
    *,
    title: str,
    max_latency_s: float | None,
    min_top1: float | None,
    picture_format: str,
) -> bytes:
    """Return the picture as `svg` or `png`; at least one point is needed."""
    with mpl.rc_context({"svg.hashsalt": "mnet", "svg.fonttype": "none"}):  # the same picture gives the same file
        figure = Figure(figsize=(9, 5.5), layout="constrained")
        axes = figure.add_subplot(xscale="log", xlabel="latency, ms", ylabel="published top-1 (ImageNet), %")
        _draw_points(axes, points)
        _draw_limits(axes, max_latency_s, min_top1)
        axes.margins(x=0.1)
        axes.autoscale_view()
        _name_points(axes, points)
        axes.set_title(title, loc="left", fontsize=10)
        axes.grid(alpha=0.25)
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.legend(loc="lower right", fontsize=8, framealpha=0.9)
        return _content(figure, picture_format)


def _draw_points(axes: Axes, points: Sequence[FrontPoint]) -> None:
    largest = max(point.size_bytes for point in points)
    for colour, label, some in (
        (_OTHER, "beaten, does not fit", [p for p in points if not p.on_front and not p.fits]),
        (_FITS, "beaten, fits", [p for p in points if not p.on_front and p.fits]),
        (_FRONT, "on the front (filled: fits)", [p for p in points if p.on_front]),
    ):
        if not some:
            continue
        middle = [point.latency_s * 1e3 for point in some]
        heights = [point.top1 * 100 for point in some]
        faces = [colour if point.fits or not point.on_front else "white" for point in some]
        areas = [10 + 130 * (point.size_bytes / largest) ** 0.5 for point in some]
        axes.scatter(middle, heights, s=areas, c=faces, edgecolors=colour, label=label, zorder=3)
        if colour == _FRONT:
            below = [(point.latency_s - point.low_s) * 1e3 for point in some]
            above = [(point.high_s - point.latency_s) * 1e3 for point in some]
            axes.errorbar(middle, heights, xerr=(below, above), fmt="none", ecolor=colour, alpha=0.5, linewidth=1)


def _name_points(axes: Axes, points: Sequence[FrontPoint]) -> None:
    """Put the name of each point of the front where it covers least: other names first, then points."""
    front = [point for point in points if point.on_front]
    if len(front) > _MOST_NAMED:
        return
    per_pt = axes.figure.dpi / 72
    taken = [_box(_at(axes, point), 6 * per_pt, 6 * per_pt) for point in points]
    for point in sorted(front, key=lambda one: (one.latency_s, one.top1)):
        x, y = _at(axes, point)
        width, height = 0.62 * _FONT_PT * len(point.name) * per_pt, 1.3 * _FONT_PT * per_pt
        boxes = [_box((x + right * (9 * per_pt + width / 2), y + up * per_pt), width, height) for right, up in _PLACES]
        box, (right, up) = min(zip(boxes, _PLACES, strict=True), key=lambda pair: sum(_over(pair[0], t) for t in taken))
        taken.append(box)
        axes.annotate(
            point.name,
            (point.latency_s * 1e3, point.top1 * 100),
            xytext=(right * 9, up),
            textcoords="offset points",
            ha="left" if right > 0 else "right",
            va="center",
            fontsize=_FONT_PT,
            color="#333333",
            arrowprops={"arrowstyle": "-", "linewidth": 0.5, "color": "#999999", "shrinkA": 0, "shrinkB": 3},
        )


def _at(axes: Axes, point: FrontPoint) -> tuple[float, float]:
    x, y = axes.transData.transform((point.latency_s * 1e3, point.top1 * 100))
    return float(x), float(y)


def _box(middle: tuple[float, float], width: float, height: float) -> _Box:
    x, y = middle
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def _over(one: _Box, other: _Box) -> float:
    """Return the area that two boxes share."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return max(0.0, width) * max(0.0, height)


def _draw_limits(axes: Axes, max_latency_s: float | None, min_top1: float | None) -> None:
    if max_latency_s is not None:
        axes.axvline(max_latency_s * 1e3, color=_LIMIT, linestyle="--", linewidth=1, label="limits")
    if min_top1 is not None:
        label = None if max_latency_s is not None else "limits"
        axes.axhline(min_top1 * 100, color=_LIMIT, linestyle="--", linewidth=1, label=label)


def _content(figure: Figure, picture_format: str) -> bytes:
    content = io.BytesIO()
    metadata = {"Date": None} if picture_format == "svg" else {"Software": None}
    figure.savefig(content, format=picture_format, dpi=130, metadata=metadata)
    return content.getvalue()
