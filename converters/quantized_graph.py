"""A model in int8, as both writers see it."""

from dataclasses import dataclass, field
from typing import Self

import numpy as np
from numpy.typing import NDArray

from mnet_deploy.spec import LayerSpec, ModelSpec

INT8_MIN, INT8_MAX = -128, 127


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantParams:
    """Scale and zero point of an int8 tensor: real = (stored - zero_point) * scale.

    Attributes:
        scale: > 0, exactly representable in float32.
        zero_point: -128 to 127.
    """

    scale: float
    zero_point: int

    @classmethod
    def of_range(cls, low: float, high: float) -> Self:
        """Return the parameters whose 256 steps span a range; widened so that it holds 0, which padding needs exactly.

        The zero point is rounded, so the span moves by at most half a step (Jacob et al. 2018, arXiv 1712.05877,
        section 3).
        """
        low, high = min(low, 0.0), max(high, 0.0)
        scale = float(np.float32((high - low) / (INT8_MAX - INT8_MIN))) or 1.0  # a tensor of zeros only
        zero_point = round(INT8_MIN - low / scale)
        return cls(scale=scale, zero_point=min(max(zero_point, INT8_MIN), INT8_MAX))

    def store(self, values: NDArray[np.floating]) -> NDArray[np.int8]:
        """Return real values as int8, rounded half to even and clipped."""
        steps = np.rint(values / np.float32(self.scale)) + self.zero_point
        stored: NDArray[np.int8] = steps.clip(INT8_MIN, INT8_MAX).astype(np.int8)
        return stored

    def real(self, stored: NDArray[np.int8]) -> NDArray[np.float32]:
        """Return what int8 values stand for."""
        return (stored.astype(np.float32) - np.float32(self.zero_point)) * np.float32(self.scale)


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizedLayer:
    """A layer with int8 weights and an int8 output.

    Attributes:
        spec: shapes, geometry, activation, and the layers it reads.
        output: of the tensor that it writes, after the activation: where the range ends at 0 and 6 (or below), storing
            the value clips it as ReLU6 does.
        kernel: [height, width, channels in per group, channels out] int8, zero point 0; None for a layer without
            weights.
        kernel_scale: [channels out] float32.
        bias: [channels out] int32 in steps of (scale of the input) * kernel_scale.
    """

    spec: LayerSpec
    output: QuantParams
    kernel: NDArray[np.int8] | None = field(default=None, repr=False, compare=False)
    kernel_scale: NDArray[np.float32] | None = field(default=None, repr=False, compare=False)
    bias: NDArray[np.int32] | None = field(default=None, repr=False, compare=False)

    def require_weights(self) -> tuple[NDArray[np.int8], NDArray[np.float32], NDArray[np.int32]]:
        """Return kernel, its scales and bias of a layer that has them.

        Raises:
            ValueError: it has none.
        """
        if self.kernel is None or self.kernel_scale is None or self.bias is None:
            raise ValueError(f"{self.spec.name}: expected a layer with weights; received a {self.spec.kind}")
        return self.kernel, self.kernel_scale, self.bias


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizedGraph:
    """A quantised model ready to be written.

    Attributes:
        spec: of the model.
        input: of the image.
        layers: in topological order.
    """

    spec: ModelSpec
    input: QuantParams
    layers: tuple[QuantizedLayer, ...]
