"""What a model's latency is made of: sums over its layers, each with a reason to take time.

A convolution of K input and N output channels at P positions is a product of matrices, and what it costs beside its
K·N·P MACs grows with its sides: with the activations (P·K and P·N), with the kernel (K·N), with the positions (P).
"""

from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from mnet_deploy.precision import Precision
from mnet_deploy.spec import LayerKind, LayerSpec, ModelSpec

# Kernels of matrix products compute several output positions at once (8 in ruy's and in most of XNNPACK's for Arm); a
# feature map of 25 positions takes as long as one of 32.
TILE_POSITIONS = 8
# From about this size on a layer's data is in no cache of a core. That of phones and boards is 256 KiB to 2 MiB; the
# transition is smooth, so that one figure serves them all.
CACHE_BYTES = 512 * 1024

_MATRIX_PRODUCTS = (LayerKind.CONVOLUTION, LayerKind.POINTWISE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """The sums, for one image; each is fitted with a coefficient of its own.

    Attributes:
        tiled_macs: MACs of convolutions that mix channels, their positions rounded up to `TILE_POSITIONS`. Depthwise
            layers are in `activation_bytes`: with a 3x3 kernel their MACs are in proportion to it.
        activation_bytes: read and written by all layers.
        spilled_activation_bytes: the part of it that no cache holds, b²/(b + `CACHE_BYTES`) for the b of a layer.
        weight_bytes: of all kernels.
        spilled_weight_bytes: the part of it that no cache holds.
        positions: output positions of the layers with weights, whatever their channels.
        ops: layers.
    """

    tiled_macs: float
    activation_bytes: float
    spilled_activation_bytes: float
    weight_bytes: float
    spilled_weight_bytes: float
    positions: float
    ops: float


TERMS: tuple[str, ...] = tuple(Terms.__dataclass_fields__)


@lru_cache(maxsize=4096)
def terms_of(spec: ModelSpec, precision: Precision) -> Terms:
    """Return the terms of a model."""
    return terms_of_layers(spec.layers(), precision)


def terms_of_layers(layers: Sequence[LayerSpec], precision: Precision) -> Terms:
    """Return the terms of layers that run one after the other."""
    weight_bytes = [layer.weight_count * precision.weight_bytes for layer in layers]
    activation_bytes = [(layer.in_elements + layer.out_elements) * precision.activation_bytes for layer in layers]
    return Terms(
        tiled_macs=sum(_tiled_macs(layer) for layer in layers),
        activation_bytes=sum(activation_bytes),
        spilled_activation_bytes=sum(map(_spilled, activation_bytes)),
        weight_bytes=sum(weight_bytes),
        spilled_weight_bytes=sum(map(_spilled, weight_bytes)),
        positions=sum(_positions(layer) for layer in layers if layer.kind.has_weights),
        ops=len(layers),
    )


def term_matrix(specs: Iterable[ModelSpec], precision: Precision) -> NDArray[np.float64]:
    """Return one row a model and one column a term, in the order of `TERMS`."""
    return np.array([astuple(terms_of(spec, precision)) for spec in specs], dtype=np.float64).reshape(-1, len(TERMS))


def _positions(layer: LayerSpec) -> int:
    height, width, _ = layer.out_shape_hwc
    return height * width


def _tiled_macs(layer: LayerSpec) -> int:
    if layer.kind not in _MATRIX_PRODUCTS:
        return 0
    return layer.weight_count * -(-_positions(layer) // TILE_POSITIONS) * TILE_POSITIONS


def _spilled(size_bytes: int) -> float:
    return size_bytes**2 / (size_bytes + CACHE_BYTES)
