"""A bar for each layer: where each part of the picture lies. The template draws it."""

from collections.abc import Sequence
from dataclasses import dataclass

BAR_PX, GAP_PX = 18, 8
LEFT_PX, TOP_PX, PLOT_PX, LABELS_PX = 44, 14, 220, 150
_TICK = 10.0  # dB


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A bar of the chart; lengths in px from the top left.

    Attributes:
        name: of the layer.
        text: its value.
        x: left end.
        y: upper end.
        height: 0 where there is no value.
        marked: whether it is to stand out.
    """

    name: str
    text: str
    x: float
    y: float
    height: float
    marked: bool

    @property
    def middle(self) -> float:
        """Where the name belongs."""
        return self.x + BAR_PX / 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A bar chart.

    Attributes:
        bars: from left to right.
        ticks: height and text of each line across.
        width: of the whole.
        height: of the whole.
        base: where the bars stand.
    """

    bars: tuple[Bar, ...]
    ticks: tuple[tuple[float, str], ...]
    width: float
    height: float
    base: float
    bar_px: int = BAR_PX
    left_px: int = LEFT_PX


def bar_chart(values: Sequence[tuple[str, float | None, bool]]) -> Chart:
    """Lay out a chart.

    Args:
        values: name, value in dB (None where there is none; below 0 is drawn as 0), and whether it stands out.
    """
    largest = max((value for _, value, _ in values if value is not None), default=0.0)
    steps = max(1, -int(-largest // _TICK))
    base, scale = TOP_PX + PLOT_PX, PLOT_PX / (steps * _TICK)
    heights = [0.0 if value is None else max(value, 0.0) * scale for _, value, _ in values]
    bars = tuple(
        Bar(
            name=name,
            text="-" if value is None else f"{value:.1f} dB",
            x=LEFT_PX + GAP_PX / 2 + place * (BAR_PX + GAP_PX),
            y=round(base - height, 1),
            height=round(height, 1),
            marked=marked,
        )
        for place, ((name, value, marked), height) in enumerate(zip(values, heights, strict=True))
    )
    return Chart(
        bars=bars,
        ticks=tuple((round(base - step * _TICK * scale, 1), f"{step * _TICK:.0f}") for step in range(steps + 1)),
        width=LEFT_PX + len(bars) * (BAR_PX + GAP_PX) + GAP_PX,
        height=base + LABELS_PX,
        base=base,
    )
