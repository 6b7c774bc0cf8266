"""The weights of a model by layer name, whatever they came from."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from mnet_deploy.errors import SpecError
from mnet_deploy.spec import LayerKind, LayerSpec, ModelSpec

FloatArray = NDArray[np.float32]

BATCH_NORM_EPSILON = 1e-3  # Keras' default; readers of other checkpoints shift the variance to make up for theirs


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerWeights:
    """Float32 weights of one layer, batch normalisation not folded.

    Attributes:
        kernel: [height, width, channels in, channels out]; depthwise [height, width, channels, 1], as Keras has them.
        bias: [channels out] of a layer with a bias of its own.
        gamma, beta, mean, variance: [channels out] of a layer with batch normalisation, for an epsilon of
            `BATCH_NORM_EPSILON`.
    """

    kernel: FloatArray
    bias: FloatArray | None = None
    gamma: FloatArray | None = None
    beta: FloatArray | None = None
    mean: FloatArray | None = None
    variance: FloatArray | None = None

    def require_batch_norm(self) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        """Return gamma, beta, mean and variance of a layer with batch normalisation.

        Raises:
            ValueError: one of them is missing.
        """
        if self.gamma is None or self.beta is None or self.mean is None or self.variance is None:
            raise ValueError("expected a layer with batch normalisation; received one without all of its arrays")
        return self.gamma, self.beta, self.mean, self.variance

    def arrays(self) -> Iterator[tuple[str, FloatArray]]:
        """Yield (name, array) of those that are there, in Keras' weight order."""
        for field in fields(self):
            array = getattr(self, field.name)
            if array is not None:
                yield field.name, array


ModelWeights = Mapping[str, LayerWeights]
"""By layer name, in the order of `spec.layers()`."""


def expected_shapes(layer: LayerSpec) -> dict[str, tuple[int, ...]]:
    """Return the shape of each array of a layer, in Keras' weight order; empty for a layer without weights."""
    if layer.kernel_shape is None:
        return {}
    height, width, per_group, channels = layer.kernel_shape
    kernel = (height, width, channels, 1) if layer.kind is LayerKind.DEPTHWISE else (height, width, per_group, channels)
    shapes: dict[str, tuple[int, ...]] = {"kernel": kernel}
    if layer.bias:
        shapes["bias"] = (channels,)
    if layer.batch_norm:
        shapes |= dict.fromkeys(("gamma", "beta", "mean", "variance"), (channels,))
    return shapes


def random_weights(spec: ModelSpec, *, seed: int) -> dict[str, LayerWeights]:
    """Return seeded He-normal kernels with identity batch normalisation: good for structure and latency only."""
    generator = np.random.default_rng(seed)
    return {layer.name: random_layer(layer, generator) for layer in spec.layers() if layer.kind.has_weights}


def random_layer(layer: LayerSpec, generator: np.random.Generator) -> LayerWeights:
    """Return random weights for one layer (He et al. 2015: variance 2 over the inputs of an output)."""
    shapes = expected_shapes(layer)
    height, width, per_group, _ = layer.kernel_shape or (1, 1, 1, 1)
    deviation = (2.0 / (height * width * per_group)) ** 0.5
    ones_or_zeros = {
        name: np.full(shape, 1.0 if name in ("gamma", "variance") else 0.0, np.float32)
        for name, shape in shapes.items()
        if name != "kernel"
    }
    kernel = (generator.standard_normal(shapes["kernel"]) * deviation).astype(np.float32)
    return LayerWeights(kernel=kernel, **ones_or_zeros)


def check_weights(spec: ModelSpec, weights: ModelWeights, *, origin: str) -> None:
    """Raise a SpecError if shapes differ from the spec's or a value is not finite."""
    for layer in spec.layers():
        if not layer.kind.has_weights:
            continue
        found = dict(weights[layer.name].arrays())
        for name, shape in expected_shapes(layer).items():
            if name not in found or found[name].shape != shape:
                received = found[name].shape if name in found else "nothing"
                raise SpecError(f"{origin}: {layer.name} needs a {name} of shape {shape}. Received: {received}")
            if not np.isfinite(found[name]).all():
                bad = int((~np.isfinite(found[name])).sum())
                raise SpecError(
                    f"{origin}: every weight must be finite. Received: {bad} NaN or infinite values in the {name} of "
                    f"{layer.name}. The training that wrote it diverged; try an earlier checkpoint"
                )
