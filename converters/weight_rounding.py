"""Round weights so that the layer's sums stay right, not each weight for itself.

The expected squared error of a sum is e' C e, with e the rounding errors of one output channel and C the covariance
of its inputs (their mean is bias correction's part). GPTQ (Frantar et al. 2022, arXiv 2210.17323) rounds one weight
after the other and lets the rest make up for it; coordinate descent then improves single weights until none wants to
change.
"""

import numpy as np
from numpy.typing import NDArray

from mnet_deploy.converters.int8_engine import SHIFT, Stored
from mnet_deploy.converters.quantized_graph import INT8_MAX, QuantParams
from mnet_deploy.spec import LayerKind, LayerSpec

FloatArray = NDArray[np.float32]

_SAMPLES_PER_WEIGHT = 8  # positions that the covariance is taken from, for each weight of a channel
_FEWEST_SAMPLES = 1024
_DAMPING = 0.01  # of the mean variance: GPTQ's own default
_SWEEPS = 3  # the third changes fewer than one weight in a hundred
_BLOCK = 64  # weights between two matrix products; any number gives the same result


def round_weights(
    kernel: FloatArray, scale: FloatArray, stored: Stored, params: QuantParams, layer: LayerSpec
) -> NDArray[np.int8]:
    """Return the kernel as int8.

    Args:
        kernel: [height, width, channels in per group, channels out] float32.
        scale: [channels out].
        stored: [images, height, width, channels], what the layer reads, quantised.
        params: of it; only the zero point matters.
        layer: gives kernel, stride, dilation and zeros.
    """
    weights = (kernel / scale).reshape(-1, kernel.shape[3])
    samples = _samples(stored, params, layer, max(_FEWEST_SAMPLES, _SAMPLES_PER_WEIGHT * len(weights)))
    if layer.kind is LayerKind.DEPTHWISE:
        rounded = _round_each_channel(weights, samples)
    else:
        rounded = _round_together(weights, samples.reshape(len(samples), -1))
    return rounded.reshape(kernel.shape).astype(np.int8)


def nearest(kernel: FloatArray, scale: FloatArray) -> NDArray[np.int8]:
    """Return the kernel as int8, each weight rounded for itself (half to even)."""
    return _to_grid(kernel / scale).astype(np.int8)


def _to_grid(weights: FloatArray) -> FloatArray:
    rounded: FloatArray = np.rint(weights).clip(-INT8_MAX, INT8_MAX)
    return rounded


def _samples(stored: Stored, params: QuantParams, layer: LayerSpec, count: int) -> FloatArray:
    """Return what lies below the kernel at random output pixels: [samples, taps, channels], centred."""
    chance = np.random.default_rng(0)
    height, width, _ = layer.out_shape_hwc
    each = min(-(-count // len(stored)), height * width)
    samples = np.concatenate(
        [_below_kernel(image, params, layer, chance.choice(height * width, each, replace=False)) for image in stored]
    )
    samples -= samples.mean(axis=0)
    return samples


def _below_kernel(image: Stored, params: QuantParams, layer: LayerSpec, positions: NDArray[np.integer]) -> FloatArray:
    """Return the inputs of some output pixels of an image: [pixels, taps, channels]."""
    top, left, bottom, right = layer.padding_tlbr
    zero = params.zero_point + SHIFT
    padded = np.pad(image, ((top, bottom), (left, right), (0, 0)), constant_values=zero)
    rows, columns = np.divmod(positions, layer.out_shape_hwc[1])
    side = np.arange(layer.kernel_px) * layer.dilation
    y = rows[:, None, None] * layer.stride + side[:, None]
    x = columns[:, None, None] * layer.stride + side
    return padded[y, x].reshape(len(positions), -1, image.shape[2]).astype(np.float32)


def _round_each_channel(weights: FloatArray, samples: FloatArray) -> FloatArray:
    """Coordinate descent for a depthwise layer: each channel has its own few weights and covariance."""
    by_channel = samples.transpose(2, 1, 0)
    covariance = by_channel @ by_channel.transpose(0, 2, 1) / len(samples)
    variance = np.maximum(covariance.diagonal(axis1=1, axis2=2).T, np.finfo(np.float32).tiny)
    rounded = _to_grid(weights)
    errors = weights - rounded
    for _ in range(_SWEEPS):
        for tap in range(len(weights)):
            pull = np.einsum("ck,kc->c", covariance[:, tap], errors) / variance[tap]
            changed = _to_grid(rounded[tap] + np.rint(pull))
            errors[tap] -= changed - rounded[tap]
            rounded[tap] = changed
    return rounded


def _round_together(weights: FloatArray, samples: FloatArray) -> FloatArray:
    covariance: FloatArray = (samples.T @ samples / len(samples)).astype(np.float32, copy=False)
    covariance[np.diag_indices_from(covariance)] += max(_DAMPING * float(covariance.diagonal().mean()), 1e-6)
    rounded = _gptq(weights, covariance)
    return _descend(weights, rounded, covariance)


def _gptq(weights: FloatArray, covariance: FloatArray) -> FloatArray:
    """Round the inputs with the largest variance first; the rest takes up the error of each."""
    order = np.argsort(-covariance.diagonal(), kind="stable")
    left = weights[order].astype(np.float32)
    upper = _inverse_root(covariance[np.ix_(order, order)].astype(np.float64))
    rounded = np.empty_like(left)
    for start in range(0, len(left), _BLOCK):
        stop = min(start + _BLOCK, len(left))
        errors = np.empty((stop - start, left.shape[1]), np.float32)
        for row in range(start, stop):
            rounded[row] = _to_grid(left[row])
            errors[row - start] = (left[row] - rounded[row]) / upper[row, row]
            left[row + 1 : stop] -= upper[row, row + 1 : stop, None] * errors[row - start]
        left[stop:] -= upper[start:stop, stop:].T @ errors
    restored = np.empty_like(rounded)
    restored[order] = rounded
    return restored


def _inverse_root(covariance: NDArray[np.float64]) -> FloatArray:
    """Return the upper triangular U with U'U the inverse of a covariance, damped until it has one."""
    damping = 0.0
    while True:
        try:
            inverse = np.linalg.inv(covariance + damping * np.eye(len(covariance)))
            return np.linalg.cholesky((inverse + inverse.T) / 2).T.astype(np.float32)
        except np.linalg.LinAlgError:
            damping = 10 * damping or 1e-3 * float(covariance.diagonal().mean())


def _descend(weights: FloatArray, rounded: FloatArray, covariance: FloatArray) -> FloatArray:
    """Move single weights to where their channel's error is least, as long as one moves."""
    rounded, errors = rounded.copy(), weights - rounded
    variance = covariance.diagonal()
    for _ in range(_SWEEPS):
        moved = False
        for start in range(0, len(weights), _BLOCK):
            stop = min(start + _BLOCK, len(weights))
            pull = covariance[start:stop] @ errors
            within = covariance[start:stop, start:stop]
            for row in range(start, stop):
                changed = _to_grid(rounded[row] + np.rint(pull[row - start] / variance[row]))
                step = changed - rounded[row]
                if step.any():
                    moved = True
                    rounded[row] = changed
                    errors[row] -= step
                    pull -= within[:, row - start, None] * step
        if not moved:
            break
    return rounded
