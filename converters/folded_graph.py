"""The model as every writer sees it: layers with batch normalisation folded into kernel and bias."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mnet_deploy.errors import SpecError
from mnet_deploy.models.weights import BATCH_NORM_EPSILON, LayerWeights, ModelWeights
from mnet_deploy.spec import LayerKind, LayerSpec, ModelSpec

FloatArray = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldedLayer:
    """A layer with the weights that it has in a file.

    Attributes:
        spec: shapes, geometry, activation, and the layers it reads.
        kernel: [height, width, channels in per group, channels out] float32; None for a layer without weights.
        bias: [channels out] float32; None for a layer without weights.
    """

    spec: LayerSpec
    kernel: FloatArray | None = field(default=None, repr=False, compare=False)
    bias: FloatArray | None = field(default=None, repr=False, compare=False)

    def require_weights(self) -> tuple[FloatArray, FloatArray]:
        """Return kernel and bias of a layer that has them.

        Raises:
            ValueError: it has none.
        """
        if self.kernel is None or self.bias is None:
            raise ValueError(f"{self.spec.name}: expected a layer with weights; received a {self.spec.kind}")
        return self.kernel, self.bias


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldedGraph:
    """A model ready to be written.

    Attributes:
        spec: of the model.
        layers: in topological order.
    """

    spec: ModelSpec
    layers: tuple[FoldedLayer, ...]


def fold(spec: ModelSpec, weights: ModelWeights) -> FoldedGraph:
    """Fold batch normalisation into the kernels and biases, in float64.

    w' = w * gamma / sqrt(variance + epsilon) and b' = beta - mean * gamma / sqrt(variance + epsilon) for each output
    channel (Jacob et al. 2018, arXiv 1712.05877, section 3.2).

    Raises:
        SpecError: a weight is not finite any more.
    """
    return FoldedGraph(spec=spec, layers=tuple(_fold_layer(layer, weights.get(layer.name)) for layer in spec.layers()))


def _fold_layer(layer: LayerSpec, weights: LayerWeights | None) -> FoldedLayer:
    if weights is None:
        return FoldedLayer(spec=layer)
    kernel = weights.kernel.astype(np.float64)
    if layer.kind is LayerKind.DEPTHWISE:
        kernel = kernel.transpose(0, 1, 3, 2)  # Keras has [height, width, channels, 1]
    bias = np.zeros(kernel.shape[3]) if weights.bias is None else weights.bias.astype(np.float64)
    if layer.batch_norm:
        gamma, beta, mean, variance = weights.require_batch_norm()
        with np.errstate(invalid="ignore"):  # the root of a negative variance; refused below
            factor = gamma / np.sqrt(variance.astype(np.float64) + BATCH_NORM_EPSILON)
        kernel = kernel * factor
        bias = beta + (bias - mean) * factor
    return FoldedLayer(spec=layer, kernel=_as_float32(layer, kernel), bias=_as_float32(layer, bias))


def _as_float32(layer: LayerSpec, values: NDArray[np.float64]) -> FloatArray:
    with np.errstate(over="ignore"):
        folded = values.astype(np.float32)
    if not np.isfinite(folded).all():
        raise SpecError(
            f"{layer.name}: its batch normalisation must fold into finite float32 weights. Received: a negative "
            "variance, or weights too large for it. The training that wrote it diverged; try an earlier checkpoint"
        )
    return folded
