"""What batch normalisation says of the activations, without a single image.

Behind a batch normalisation a channel has mean beta and standard deviation gamma over the training images. Taken as
normally distributed, the mean behind ReLU6 follows (Nagel et al. 2019, arXiv 1906.04721, appendix C, for a clip at both
ends).
"""

from dataclasses import dataclass
from math import erf, pi, sqrt

import numpy as np
from numpy.typing import NDArray

from mnet_deploy.converters.folded_graph import FoldedGraph
from mnet_deploy.converters.quantizer import Observed, Range, fixed_range
from mnet_deploy.models.weights import BATCH_NORM_EPSILON, LayerWeights, ModelWeights
from mnet_deploy.spec import Activation, LayerKind
from mnet_deploy.spec.families import INPUT_NAME
from mnet_deploy.spec.layer_spec import RELU6_MAX

DoubleArray = NDArray[np.float64]

# Logits are weighted sums of pooled channels, which vary together within a class: more than independent ones would.
# Photos reach 6 to 9 of these standard deviations; too narrow a range costs much, one twice too wide next to nothing.
_LOGIT_DEVIATIONS = 8.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelStatistics:
    """Mean and variance of each channel of a tensor, [channels]."""

    mean: DoubleArray
    variance: DoubleArray


def has_statistics(weights: ModelWeights) -> bool:
    """Whether the batch normalisations carry statistics of a training.

    Not so where they are identities: folded or never trained (mean 0, variance 1 or 1 - epsilon, everywhere).
    """
    found = [layer for layer in weights.values() if layer.mean is not None and layer.variance is not None]
    return bool(found) and not all(_is_identity(layer) for layer in found)


def _is_identity(layer: LayerWeights) -> bool:
    _, _, mean, variance = layer.require_batch_norm()
    near_one = np.abs(variance - 1) <= 2 * BATCH_NORM_EPSILON
    return bool(np.all(mean == 0) and np.all(near_one))


def statistics_of(graph: FoldedGraph, weights: ModelWeights, input_range: Range) -> Observed:
    """Return what the batch normalisations say of the activations.

    Args:
        graph: with folded weights.
        weights: the same ones with their batch normalisation; see `has_statistics`.
        input_range: least and greatest value that the normalisation of pixels gives.
    """
    middle = np.full(graph.spec.channels_in, sum(input_range) / 2)
    known = {INPUT_NAME: ChannelStatistics(mean=middle, variance=np.zeros_like(middle))}
    ranges: dict[str, Range] = {INPUT_NAME: input_range}
    for layer in graph.layers:
        spec = layer.spec
        inputs = [known[name] for name in spec.inputs]
        if spec.batch_norm:
            gamma, beta, _, _ = weights[spec.name].require_batch_norm()
            deviation = np.abs(gamma.astype(np.float64))
            clipped = spec.activation is Activation.RELU6
            middle = beta.astype(np.float64)
            known[spec.name] = behind_relu6(middle, deviation) if clipped else _plain(middle, deviation)
        elif spec.kind is LayerKind.CONCATENATION:
            joined = (np.concatenate([getattr(one, name) for one in inputs]) for name in ("mean", "variance"))
            known[spec.name] = ChannelStatistics(**dict(zip(("mean", "variance"), joined, strict=True)))
        elif spec.kind.has_weights:
            known[spec.name] = _weighted_sum(*layer.require_weights(), inputs[0])
        else:
            known[spec.name] = inputs[0]
        if fixed_range(layer) is None and spec.kind is not LayerKind.CONCATENATION:
            ranges[spec.name] = _range(known[spec.name], pooled=spec.kind is LayerKind.GLOBAL_POOL)
    return Observed(ranges=ranges, channel_means={name: statistics.mean for name, statistics in known.items()})


def _plain(mean: DoubleArray, deviation: DoubleArray) -> ChannelStatistics:
    return ChannelStatistics(mean=mean, variance=deviation**2)


def behind_relu6(mean: DoubleArray, deviation: DoubleArray) -> ChannelStatistics:
    """Return mean and variance of min(max(x, 0), 6) for normally distributed x."""
    deviation = np.maximum(deviation, 1e-12)
    low, high = -mean / deviation, (RELU6_MAX - mean) / deviation
    inside = _normal_share(high) - _normal_share(low)
    above = 1 - _normal_share(high)
    density_low, density_high = _normal_density(low), _normal_density(high)
    first = mean * inside + deviation * (density_low - density_high) + RELU6_MAX * above
    second = (
        (mean**2 + deviation**2) * inside
        + deviation * (2 * mean * (density_low - density_high) + deviation * (low * density_low - high * density_high))
        + RELU6_MAX**2 * above
    )
    return ChannelStatistics(mean=first, variance=np.maximum(second - first**2, 0))


def _weighted_sum(
    kernel: NDArray[np.float32], bias: NDArray[np.float32], given: ChannelStatistics
) -> ChannelStatistics:
    """Return the statistics of a 1x1 layer's sums over independent channels."""
    weights = kernel.sum(axis=(0, 1), dtype=np.float64)
    return ChannelStatistics(mean=given.mean @ weights + bias, variance=given.variance @ weights**2)


def _range(known: ChannelStatistics, *, pooled: bool) -> Range:
    if pooled:
        return 0.0, RELU6_MAX
    reach = _LOGIT_DEVIATIONS * np.sqrt(known.variance)
    return float((known.mean - reach).min()), float((known.mean + reach).max())


def _normal_share(values: DoubleArray) -> DoubleArray:
    return np.asarray([0.5 * (1 + erf(value / sqrt(2))) for value in values])


def _normal_density(values: DoubleArray) -> DoubleArray:
    density: DoubleArray = np.exp(-(values**2) / 2) / sqrt(2 * pi)
    return density
