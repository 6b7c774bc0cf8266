"""What is wrong with a quantised file, from the figures of its layers: each cause in a sentence, with its remedy.

A fault shows in all layers behind it. So only where it begins is it named: what a finding explains is not named again.
The limits were chosen on calibration photos: ImageNet's weights at 0.25-224 and the shipped checkpoint, exported with
corrected biases, stay clear of each of them. What these clean files reach stands beside the limits.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnet_deploy.converters.folded_graph import FoldedGraph, FoldedLayer
from mnet_deploy.pipeline.layer_statistics import LayerFigures, Range
from mnet_deploy.spec import LayerKind

# Values within fewer steps than these hold less than 3 of 8 bits: rounding on the way may make them one value.
RESOLVED_STEPS = 8
# Weights of a channel over those of the median channel. A factor of 64 leaves 2 of 8 bits to what the channel reads, if
# the layer before has to make up for it. Clean: up to 170, in channels that read 52 steps or more, or nothing at all.
DOMINATING_RATIO = 64.0
LOST_RATIO = 127.0  # with one scale for the kernel, weights this much smaller than the largest are a step, or 0
# Stored range over the usual one. A factor of 8 wastes 3 of 8 bits. Clean: up to 4.6, where no image was seen.
STRETCHED = 8.0
NARROW = 0.9  # the same, where values are cut off. Clean: 0.97 and more
# Scores of an image that the range of a classifier cuts off: the largest ones, which decide. Clean: up to 0.16, on
# photos that were not calibrated with; calibrated on noise, 0.56.
CUT_SCORES = 0.3
# Mean of the channels' shifts over the standard deviation of the layer. Clean: up to 0.035; without correction, 0.12.
SHIFTED = 0.07
_RANGE_SLACK = 1.05  # a natural range that was rounded


class Cause(StrEnum):
    """What can be wrong."""

    DOMINATING_CHANNEL = "dominating channel"
    DEAD_CHANNEL = "dead channel"
    STRETCHED_RANGE = "stretched range"
    NARROW_RANGE = "narrow range"
    MEAN_SHIFT = "mean shift"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that is wrong.

    Attributes:
        cause: what it is.
        layer: where it begins.
        channels: which of its channels, from 0; empty for all.
        what: what was seen, a sentence.
        remedy: what to do, a sentence.
    """

    cause: Cause
    layer: str
    channels: tuple[int, ...]
    what: str
    remedy: str

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return {**asdict(self), "cause": str(self.cause), "channels": list(self.channels)}


def find_causes(graph: FoldedGraph, figures: Sequence[LayerFigures]) -> tuple[Finding, ...]:
    """Return what is wrong, in graph order.

    Args:
        graph: the float model.
        figures: of the file's layers.
    """
    known = {one.layer: one for one in figures}
    found: list[Finding] = []
    explained: dict[str, bool] = {}  # whether a layer or one before it has a finding
    for layer in graph.layers:
        name = layer.spec.name
        before = any(explained.get(source, False) for source in layer.spec.inputs)
        here: list[Finding] = []
        if name in known and layer.spec.kind is not LayerKind.SOFTMAX:
            here = [*_dominating(layer, known), *_range(layer, known[name])]
            if not here and not before:  # these two show in all layers behind a fault
                here = [*_dead(layer, known[name])] or [*_mean_shift(layer, known[name])]
        found += here
        explained[name] = before or bool(here)
    return tuple(found)


def dead_in_float(graph: FoldedGraph, figures: Sequence[LayerFigures]) -> dict[str, tuple[int, ...]]:
    """Return the channels that are the same for all images in the float model, too, by layer with weights."""
    weighted = {layer.spec.name for layer in graph.layers if layer.spec.kind.has_weights}
    constant = {
        one.layer: tuple(np.flatnonzero(one.channels.float_deviation == 0).tolist())
        for one in figures
        if one.layer in weighted
    }
    return {layer: channels for layer, channels in constant.items() if channels}


def _dominating(layer: FoldedLayer, known: Mapping[str, LayerFigures]) -> Iterator[Finding]:
    here, source = known[layer.spec.name], known.get(layer.spec.inputs[0])
    if layer.spec.kind is LayerKind.DEPTHWISE and source is not None and here.tensor.scale is not None:
        yield from [*_crushing(layer, here, source)] or _hidden(layer, here, source)


def _crushing(layer: FoldedLayer, here: LayerFigures, source: LayerFigures) -> Iterator[Finding]:
    """Yield the channel whose weights are so large that others are lost in the scale that they share."""
    largest = _largest_weights(layer)
    top, lost = int(largest.argmax()), _lost_channels(here)
    crushed = [channel for channel in lost if largest[top] >= LOST_RATIO * largest[channel] > 0]
    if not crushed or 2 * len(crushed) < len(lost):
        return
    yield Finding(
        cause=Cause.DOMINATING_CHANNEL,
        layer=here.layer,
        channels=(top,),
        what=f"the weights of channel {top} of {here.layer} are {largest[top] / np.median(largest):.0f} times those of "
        f"the median channel: in one scale for the whole kernel nothing is left of {len(crushed)} others",
        remedy="Quantise each channel with a scale of its own, as mnet export does, or move the factor into "
        f"{source.layer}, which writes what the channel reads",
    )


def _hidden(layer: FoldedLayer, here: LayerFigures, source: LayerFigures) -> Iterator[Finding]:
    """Yield the channels whose weights make up for an input that is lost in the range of the other channels."""
    largest = _largest_weights(layer)
    median = float(np.median(largest))
    if source.tensor.scale is None or not median:
        return
    steps = source.channels.float_span / source.tensor.scale
    alive = _is_resolved(here) & (source.channels.float_deviation > 0)
    for channel in np.flatnonzero(alive & (largest >= DOMINATING_RATIO * median) & (steps < RESOLVED_STEPS)).tolist():
        yield Finding(
            cause=Cause.DOMINATING_CHANNEL,
            layer=here.layer,
            channels=(channel,),
            what=f"the weights of channel {channel} of {here.layer} are {largest[channel] / median:.0f} times those of "
            f"the median channel, and what it reads from {source.layer} spans {steps[channel]:.1f} of 255 steps: "
            "lost in the range that the other channels need",
            remedy=f"Move the factor from channel {channel} of {here.layer} into {source.layer} (multiply its weights "
            "and bias there, divide here), then export again",
        )


def _largest_weights(layer: FoldedLayer) -> NDArray[np.float64]:
    """Return the largest absolute weight of each output channel."""
    kernel, _ = layer.require_weights()
    largest: NDArray[np.float64] = np.abs(kernel).max(axis=(0, 1, 2)).astype(np.float64)
    return largest


def _is_resolved(figures: LayerFigures) -> NDArray[np.bool_]:
    """Return which channels vary in float by what 8 bits can tell apart."""
    scale = figures.tensor.scale or 0.0
    channels = figures.channels
    resolved: NDArray[np.bool_] = (channels.float_deviation > 0) & (channels.float_span >= RESOLVED_STEPS * scale)
    return resolved


def _lost_channels(figures: LayerFigures) -> list[int]:
    """Return the channels that vary in float and are one value in the file."""
    lost: list[int] = np.flatnonzero(_is_resolved(figures) & (figures.channels.file_deviation == 0)).tolist()
    return lost


def _dead(layer: FoldedLayer, here: LayerFigures) -> Iterator[Finding]:
    lost = tuple(_lost_channels(here))
    if lost and layer.spec.kind.has_weights and here.tensor.scale is not None:
        which, are = ("channel", "is") if len(lost) == 1 else ("channels", "are")
        yield Finding(
            cause=Cause.DEAD_CHANNEL,
            layer=here.layer,
            channels=lost,
            what=f"{which} {_listed(lost)} of {here.layer} {are} the same for all images in the file, and not in float",
            remedy=f"Look at the weights and the bias of {here.layer} in the file: they are zero, or too small for "
            "their scale. Export again with one scale a channel, as mnet export does",
        )


def _listed(channels: Sequence[int]) -> str:
    shown = ", ".join(str(channel) for channel in channels[:8])
    return shown if len(channels) <= 8 else f"{shown} and {len(channels) - 8} more"


def _range(layer: FoldedLayer, here: LayerFigures) -> Iterator[Finding]:
    if here.stored_range is None:
        return
    stored, usual = here.stored_range, here.usual_range
    if _is_stretched(stored, usual, here.natural_range):
        yield Finding(
            cause=Cause.STRETCHED_RANGE,
            layer=here.layer,
            channels=(),
            what=f"{here.layer} is stored in the range {_shown(stored)}, {_span(stored) / _span(usual):.0f} times what "
            f"99.8% of its values use ({_shown(usual)}): an outlier stretched it, and few steps are left for them",
            remedy="Look for an image among those for calibration that is unlike the others, or was prepared in "
            "another way, and export again without it",
        )
    elif cut := _cut_off(layer, here):
        yield Finding(
            cause=Cause.NARROW_RANGE,
            layer=here.layer,
            channels=(),
            what=f"{here.layer} is stored in the range {_shown(stored)}, {cut}",
            remedy="Calibrate with photos like those in use, prepared in the same way, and export again",
        )


def _cut_off(layer: FoldedLayer, here: LayerFigures) -> str:
    """Return in words what a stored range cuts off; empty if that is little."""
    cut = (here.cut_off or 0.0) * prod(here.tensor.shape)
    if layer.spec.kind is LayerKind.CLASSIFIER and cut > CUT_SCORES:
        return f"which cuts off {cut:.1f} scores of an image on average, the largest ones, which decide"
    if here.stored_range is not None and min(_covered(here.stored_range, here.usual_range)) < NARROW:
        return f"though its values reach {_shown(here.usual_range)}"
    return ""


def _is_stretched(stored: Range, usual: Range, natural: Range | None) -> bool:
    if natural is not None and _span(stored) <= _RANGE_SLACK * _span(natural):
        return False  # by definition of the layer, not by an image
    return 0 < STRETCHED * _span(usual) <= _span(stored)


def _covered(stored: Range, usual: Range) -> tuple[float, float]:
    """Return how much of the usual values the stored range has on either side of 0."""
    low, high = (end / needed if needed else 1.0 for end, needed in zip(stored, usual, strict=True))
    return low, high


def _span(ends: Range) -> float:
    return ends[1] - ends[0]


def _shown(ends: Range) -> str:
    return f"{ends[0]:.3g} to {ends[1]:.3g}"


def _mean_shift(layer: FoldedLayer, here: LayerFigures) -> Iterator[Finding]:
    if layer.spec.kind.has_weights and here.mean_shift is not None and here.mean_shift > SHIFTED:
        yield Finding(
            cause=Cause.MEAN_SHIFT,
            layer=here.layer,
            channels=(),
            what=f"the means of the channels of {here.layer} are off by {here.mean_shift:.2f} standard deviations, "
            f"and those of all layers with weights before it by less than {SHIFTED}",
            remedy="Export with mnet export and calibration photos, which corrects biases for what rounding the "
            f"weights shifts; if that was done, compare the bias of {here.layer} in the file with that of the "
            "checkpoint",
        )
