"""Quantise with calibration images, keep each step only where it helps on them, and say what it gained."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnet_deploy.converters.float_pass import FloatPass, run_float
from mnet_deploy.converters.folded_graph import FloatArray, FoldedGraph
from mnet_deploy.converters.options import Effort
from mnet_deploy.converters.quantized_graph import QuantizedGraph
from mnet_deploy.converters.quantizer import Observed, Quantized, Range, quantize
from mnet_deploy.spec import LayerKind
from mnet_deploy.spec.families import INPUT_NAME
from mnet_deploy.spec.layer_spec import RELU6_MAX

# Generated images excite the classifier less than photos do. Chosen on the calibration photos of two networks (1000 and
# 43 classes), whose logits on photos are 1.5 times as large; too narrow costs much, twice too wide next to nothing.
_LOGITS_BEYOND_GENERATED = 2.0
BEST_IMAGES = 256  # of 1.0-224 their widest layer takes 200 MB
FAST_IMAGES = 48  # as many as `Effort.FAST` corrects biases with; more change nothing that is beyond the noise
_IMAGES_WITHOUT_STEPS = 32  # that show what no step at all costs: it is far from the noise
_NOISE_ERRORS = 2.0  # a difference below this many standard errors is not called one


_BIAS, _ROUNDING = ("bias correction", "correct_bias"), ("weight rounding", "optimize_rounding")
_STEPS = {Effort.FAST: (_BIAS,), Effort.BEST: (_BIAS, _ROUNDING)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What one step of the quantiser did on the calibration images.

    Attributes:
        name: of the step.
        images: that both losses are a mean of.
        loss_before: without it; see `QuantizerReport.metric`.
        loss_after: with it.
        noise: half the width of what the difference may be off by: two standard errors over the images.
        kept: False where it made things worse.
    """

    name: str
    images: int
    loss_before: float
    loss_after: float
    noise: float
    kept: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizerReport:
    """What quantising cost and what each step gained, on the calibration images.

    Attributes:
        metric: what is measured: the Kullback-Leibler divergence of the softmax from the float model's, or for a model
            without a classifier the squared error relative to the float model's output; a mean over images.
        images: how many.
        steps: in order.
        top1_agreement: share of images with the float model's best class; None without a classifier.
    """

    metric: str
    images: int
    steps: tuple[Step, ...]
    top1_agreement: float | None

    def to_json(self) -> dict[str, Any]:
        """Return the figures."""
        return asdict(self)


def quantize_plainly(graph: FoldedGraph, images: FloatArray) -> QuantizedGraph:
    """Return what ranges and rounding to nearest give, with every step switched off."""
    found = run_float(graph, images)
    observed = Observed(ranges=found.ranges)
    return quantize(graph, observed, correct_bias=False, optimize_rounding=False).graph


def images_for(effort: Effort) -> int:
    """Return how many images the quantiser takes at most; ranges come from all of them."""
    return FAST_IMAGES if effort is Effort.FAST else BEST_IMAGES


def quantize_calibrated(
    graph: FoldedGraph,
    images: FloatArray,
    found: FloatPass,
    *,
    input_range: Range,
    effort: Effort,
    are_photos: bool,
) -> tuple[QuantizedGraph, QuantizerReport]:
    """Quantise with images.

    Args:
        graph: with folded weights.
        images: [images, height, width, channels], normalised.
        found: what the float model does on them, with means over `images_for(effort)` of them.
        input_range: least and greatest value that the normalisation of pixels gives.
        effort: which steps to try.
        are_photos: False widens ranges that photos may exceed.
    """
    ranges = found.ranges if are_photos else _beyond_generated(graph, found.ranges)
    images = images[: images_for(effort)]
    observed = Observed(ranges={**ranges, INPUT_NAME: input_range}, sum_means=found.means)
    few = images[:_IMAGES_WITHOUT_STEPS]
    best = quantize(graph, observed, few, correct_bias=False, optimize_rounding=False)
    losses = _losses(best, found)
    steps: list[Step] = []
    options = {"correct_bias": False, "optimize_rounding": False}
    for name, option in _STEPS[effort]:
        candidate = quantize(graph, observed, images, **options | {option: True})
        candidate_losses = _losses(candidate, found)
        steps.append(_compare(name, losses, candidate_losses))
        if steps[-1].kept:
            best, losses, options = candidate, candidate_losses, options | {option: True}
    report = QuantizerReport(
        metric="relative squared error" if found.logits is None else "softmax KL divergence",
        images=len(images),
        steps=tuple(steps),
        top1_agreement=None if found.logits is None else _agreement(best, found.logits),
    )
    return best.graph, report


def _beyond_generated(graph: FoldedGraph, ranges: Mapping[str, Range]) -> dict[str, Range]:
    widened = dict(ranges)
    for layer in graph.layers:
        name = layer.spec.name
        if layer.spec.kind is LayerKind.GLOBAL_POOL:
            widened[name] = 0.0, RELU6_MAX
        if layer.spec.kind is LayerKind.CLASSIFIER:
            low, high = ranges[name]
            widened[name] = low * _LOGITS_BEYOND_GENERATED, high * _LOGITS_BEYOND_GENERATED
    return widened


def _compare(name: str, before: NDArray[np.float64], after: NDArray[np.float64]) -> Step:
    """Compare the losses of the images that both have."""
    difference = after[: len(before)] - before
    return Step(
        name=name,
        images=len(before),
        loss_before=float(before.mean()),
        loss_after=float(after[: len(before)].mean()),
        noise=_NOISE_ERRORS * float(difference.std()) / sqrt(len(difference)),
        kept=bool(difference.mean() <= 0),
    )


def _losses(quantized: Quantized, found: FloatPass) -> NDArray[np.float64]:
    """Return the loss of each image."""
    if quantized.outputs is None:
        raise ValueError("expected a model that was run on images")
    count = len(quantized.outputs)
    actual = quantized.outputs.reshape(count, -1).astype(np.float64)
    if found.logits is None:
        expected = found.outputs[:count].reshape(count, -1).astype(np.float64)
        energy = np.maximum((expected**2).sum(axis=1), np.finfo(np.float64).tiny)
        relative: NDArray[np.float64] = ((actual - expected) ** 2).sum(axis=1) / energy
        return relative
    wanted, got = _log_softmax(found.logits[:count].astype(np.float64)), _log_softmax(actual)
    divergence: NDArray[np.float64] = (np.exp(wanted) * (wanted - got)).sum(axis=1)
    return divergence


def _log_softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    shifted = logits - logits.max(axis=1, keepdims=True)
    logs: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return logs


def _agreement(quantized: Quantized, logits: FloatArray) -> float | None:
    if quantized.outputs is None:
        return None
    answers = quantized.outputs.reshape(len(quantized.outputs), -1)
    return float((answers.argmax(axis=1) == logits[: len(answers)].argmax(axis=1)).mean())
