"""Two files of one model, layer by layer: scales, zero points, and how far each is from float and from the other."""

from dataclasses import asdict, dataclass, field
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnet_deploy.artifact import TensorInfo
from mnet_deploy.converters.fidelity import sqnr_db
from mnet_deploy.pipeline.layer_tensors import FloatArray, LayerReader, in_chunks
from mnet_deploy.progress import Progress
from mnet_deploy.spec import ModelSpec
from mnet_deploy.spec.families import INPUT_NAME

SCALE_TOLERANCE = 0.01  # two sets of ranges over the same images differ by less


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerSide:
    """A layer in one of the files.

    Attributes:
        tensor: its output's name in the file.
        scale: None for a float tensor.
        zero_point: as for int8, also where the tensor is uint8; None for a float tensor.
        sqnr_db: energy of the float model's output over that of the difference to it; None where one of them is zero or
            not finite, or the float model is not at hand.
        equal: whether it is exactly what the float model writes; None if that is not at hand.
    """

    tensor: str
    scale: float | None
    zero_point: int | None
    sqnr_db: float | None
    equal: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerPair:
    """A layer in both files.

    Attributes:
        layer: its name; `input` for the image.
        a: in the first file; None if it is not found there.
        b: in the second file; None if it is not found there.
        between_db: energy of the first file's output over that of the difference between the two; None where one of
            them is zero, or the layer is missing in a file.
        equal: whether the two wrote the same values; None where the layer is missing in a file.
    """

    layer: str
    a: LayerSide | None
    b: LayerSide | None
    between_db: float | None
    equal: bool | None

    @property
    def differs(self) -> tuple[str, ...]:
        """What of the quantisation is not the same in both: `scale`, `zero point`."""
        if self.a is None or self.b is None:
            return ()
        found = []
        if self.a.scale is not None and self.b.scale is not None:
            if abs(self.a.scale - self.b.scale) > SCALE_TOLERANCE * min(self.a.scale, self.b.scale):
                found.append("scale")
            if self.a.zero_point != self.b.zero_point:
                found.append("zero point")
        return tuple(found)

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return {**asdict(self), "differs": list(self.differs)}


@dataclass(slots=True)
class _Sums:
    """Energies over all images: of the float outputs, of the first file's, and of the three differences."""

    has_float: bool
    float_signal: float = 0.0
    a_signal: float = 0.0
    noise: dict[str, float] = field(default_factory=lambda: dict.fromkeys(("a", "b", "between"), 0.0))


def compare_layers(
    spec: ModelSpec,
    a: LayerReader,
    b: LayerReader,
    reference: LayerReader | None,
    images: FloatArray,
    progress: Progress,
) -> tuple[LayerPair, ...]:
    """Run images through two files and their float model and compare what each layer writes.

    Args:
        spec: of the model.
        a: the first file.
        b: the second file.
        reference: the float model; None if it is not at hand.
        images: [images, height, width, channels], normalised.
        progress: told how far it is.

    Returns:
        The input and all layers of the model, in order.
    """
    names = [INPUT_NAME, *(layer.name for layer in spec.layers())]
    sums = {name: _Sums(has_float=reference is not None) for name in names}
    for chunk in in_chunks(images, spec, progress):
        values_a, values_b = a.read(chunk), b.read(chunk)
        values_float = {} if reference is None else reference.read(chunk)
        for name in names:
            real_a, real_b = _real(a, name, values_a), _real(b, name, values_b)
            real_float = None if reference is None else _real(reference, name, values_float)
            _add(sums[name], real_a, real_b, real_float)
    return tuple(_pair(name, a.tensors.get(name), b.tensors.get(name), sums[name]) for name in names)


def _real(reader: LayerReader, layer: str, values: dict[str, NDArray[Any]]) -> FloatArray | None:
    return reader.real(layer, values[layer]) if layer in values else None


def _add(sums: _Sums, a: FloatArray | None, b: FloatArray | None, expected: FloatArray | None) -> None:
    if expected is not None:
        sums.float_signal += _energy(expected)
        for name, actual in (("a", a), ("b", b)):
            if actual is not None:
                sums.noise[name] += _energy(actual - expected)
    if a is not None and b is not None:
        sums.a_signal += _energy(a)
        sums.noise["between"] += _energy(b - a)


def _energy(values: FloatArray) -> float:
    return float(np.square(values, dtype=np.float64).sum())


def _pair(layer: str, a: TensorInfo | None, b: TensorInfo | None, sums: _Sums) -> LayerPair:
    in_both = a is not None and b is not None
    return LayerPair(
        layer=layer,
        a=None if a is None else _side(a, sums, sums.noise["a"]),
        b=None if b is None else _side(b, sums, sums.noise["b"]),
        between_db=_db(sums.a_signal, sums.noise["between"]),
        equal=sums.noise["between"] == 0 if in_both else None,
    )


def _side(tensor: TensorInfo, sums: _Sums, noise: float) -> LayerSide:
    zero_point = tensor.zero_point
    if zero_point is not None and tensor.dtype == "uint8":
        zero_point += np.iinfo(np.int8).min
    return LayerSide(
        tensor=tensor.name,
        scale=tensor.scale,
        zero_point=zero_point,
        sqnr_db=_db(sums.float_signal, noise),
        equal=noise == 0 if sums.has_float else None,
    )


def _db(signal: float, noise: float) -> float | None:
    return sqnr_db(signal, noise) if isfinite(signal) and isfinite(noise) else None
