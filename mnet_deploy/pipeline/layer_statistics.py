"""What each layer of a file writes beside what its float model writes: noise, means, ranges, over some images."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import isfinite, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnet_deploy.artifact import TensorInfo
from mnet_deploy.converters.fidelity import sqnr_db
from mnet_deploy.pipeline.layer_tensors import FloatArray, LayerReader, in_chunks
from mnet_deploy.progress import Progress
from mnet_deploy.spec import Activation, LayerKind, ModelSpec
from mnet_deploy.spec.families import INPUT_NAME
from mnet_deploy.spec.layer_spec import RELU6_MAX

DoubleArray = NDArray[np.float64]
Range = tuple[float, float]

_SAMPLED_ELEMENTS = 50_000  # of a layer and an image: enough for its 99.9th percentile
_OUTER_PERCENT = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelFigures:
    """A layer's channels over all images, [channels] each.

    Attributes:
        float_mean: of the float model.
        float_deviation: standard deviation of the float model's values.
        float_span: largest less smallest value of the float model.
        file_mean: of the file, in real values.
        file_deviation: standard deviation of the file's values.
    """

    float_mean: DoubleArray
    float_deviation: DoubleArray
    float_span: DoubleArray
    file_mean: DoubleArray
    file_deviation: DoubleArray


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerFigures:
    """A layer of a file beside the same one of the float model.

    Attributes:
        layer: its name; `input` for the image.
        tensor: its output in the file.
        sqnr_db: energy of the float output over that of the difference; None where one is zero or not finite.
        cosine: between the two over all elements; None where one of them is zero throughout or not finite.
        mean_shift: mean over the channels of |mean in the file - mean in float|, relative to the standard deviation of
            the float output; None where that is zero or not finite.
        saturated: share of stored values at either end of the stored range, less the share of float values that are at
            the ends which the layer has by itself (0 and 6 of a ReLU6); None for a float tensor.
        cut_off: share of float values that the stored range does not reach; None for a float tensor.
        stored_range: least and greatest real value that the tensor can hold; None for a float tensor.
        natural_range: ends that the layer has by itself; None where it has none.
        usual_range: 0.1th and 99.9th percentile of the float output, widened to hold 0.
        channels: figures of each.
    """

    layer: str
    tensor: TensorInfo
    sqnr_db: float | None
    cosine: float | None
    mean_shift: float | None
    saturated: float | None
    cut_off: float | None
    stored_range: Range | None
    natural_range: Range | None
    usual_range: Range
    channels: ChannelFigures = field(repr=False, compare=False)

    def to_json(self) -> dict[str, Any]:
        """Return the figures of the layer as a whole."""
        names = ("layer", "sqnr_db", "cosine", "mean_shift", "saturated", "cut_off", "stored_range", "usual_range")
        figures = {name: getattr(self, name) for name in names}
        return {**figures, "tensor": self.tensor.name, "scale": self.tensor.scale, "zero_point": self.tensor.zero_point}


def measure_layers(
    spec: ModelSpec,
    file: LayerReader,
    reference: LayerReader,
    images: FloatArray,
    input_range: Range,
    progress: Progress,
) -> tuple[LayerFigures, ...]:
    """Run images through a file and its float model.

    Args:
        spec: of the model.
        file: whose layers are measured.
        reference: the float model.
        images: [images, height, width, channels], normalised.
        input_range: least and greatest value of a normalised image.
        progress: told how far it is.

    Returns:
        The input and all layers that are found in both, in order.
    """
    sums = {
        name: _Sums(file.tensors[name], channels, natural)
        for name, channels, natural in _outputs(spec, input_range)
        if name in file.tensors and name in reference.tensors
    }
    for chunk in in_chunks(images, spec, progress):
        stored, expected = file.read(chunk), reference.read(chunk)
        for name, added in sums.items():
            added.add(stored[name], file.real(name, stored[name]), reference.real(name, expected[name]))
    return tuple(added.figures(name) for name, added in sums.items())


def _outputs(spec: ModelSpec, input_range: Range) -> Iterator[tuple[str, int, Range | None]]:
    """Yield name, channels and natural range of the input and of each layer."""
    yield INPUT_NAME, spec.channels_in, input_range
    natural: dict[str, Range | None] = {INPUT_NAME: input_range}
    for layer in spec.layers():
        if layer.kind is LayerKind.SOFTMAX:
            natural[layer.name] = 0.0, 1.0
        elif layer.activation is Activation.RELU6:
            natural[layer.name] = 0.0, RELU6_MAX
        else:  # what has no weights stays within what it reads
            natural[layer.name] = None if layer.kind.has_weights else natural[layer.inputs[0]]
        yield layer.name, layer.out_shape_hwc[2], natural[layer.name]


class _Sums:
    """Sums over the elements of a layer, as images come."""

    def __init__(self, tensor: TensorInfo, channels: int, natural: Range | None) -> None:
        self._tensor = tensor
        self._natural = natural
        self._stored_range = _stored_range(tensor)
        self._count = 0  # elements
        self._energies = np.zeros(4)  # of the float output, the difference, the file's output; their product
        self._means = np.zeros((2, channels))  # sums of the float output and of the file's
        self._squares = np.zeros((2, channels))
        self._ends = np.array([[np.inf], [-np.inf]]).repeat(channels, axis=1)  # least and greatest float value
        self._at_ends = np.zeros(3)  # elements of the file at stored ends, of float at natural and beyond stored ones
        self._sample: list[FloatArray] = []

    def add(self, stored: NDArray[Any], actual: FloatArray, expected: FloatArray) -> None:
        """Add images: as stored, and both as real values [images, elements]."""
        if self._stored_range is not None:
            limits = np.iinfo(stored.dtype)
            at_ends = int(((stored == limits.min) | (stored == limits.max)).sum())
            self._at_ends += (
                at_ends,
                self._outside(expected, self._natural, -0.5),
                self._outside(expected, self._stored_range, 0.5),
            )
        stride = 1 + expected.shape[1] // _SAMPLED_ELEMENTS
        self._sample.append(expected[:, ::stride].reshape(-1))
        wanted, got = (values.reshape(-1, self._ends.shape[1]).astype(np.float64) for values in (expected, actual))
        with np.errstate(invalid="ignore", over="ignore"):  # outputs that are no numbers show in the figures
            squares = (wanted**2).sum(axis=0), (got**2).sum(axis=0)
            self._energies += squares[0].sum(), ((got - wanted) ** 2).sum(), squares[1].sum(), (got * wanted).sum()
            self._means += wanted.sum(axis=0), got.sum(axis=0)
            self._squares += squares
        self._ends[0] = np.minimum(self._ends[0], wanted.min(axis=0))
        self._ends[1] = np.maximum(self._ends[1], wanted.max(axis=0))
        self._count += wanted.size

    def _outside(self, expected: FloatArray, ends: Range | None, steps: float) -> int:
        """Return how many values are beyond these ends by more than some steps of the file."""
        if ends is None or self._tensor.scale is None:
            return 0
        margin = steps * self._tensor.scale
        return int(((expected < ends[0] - margin) | (expected > ends[1] + margin)).sum())

    def figures(self, layer: str) -> LayerFigures:
        """Return what was found."""
        signal, noise, energy, product = (float(value) for value in self._energies)
        finite = all(isfinite(value) for value in self._energies)
        a_channel = self._count / self._ends.shape[1]
        means = self._means / a_channel
        deviations = np.sqrt(np.maximum(self._squares / a_channel - means**2, 0))
        spread = sqrt(max(signal / self._count - (float(self._means[0].sum()) / self._count) ** 2, 0)) if finite else 0
        sample = np.concatenate(self._sample)
        low, high = np.percentile(sample, (_OUTER_PERCENT, 100 - _OUTER_PERCENT)) if finite else (0.0, 0.0)
        return LayerFigures(
            layer=layer,
            tensor=self._tensor,
            sqnr_db=sqnr_db(signal, noise) if finite else None,
            cosine=product / sqrt(signal * energy) if finite and signal and energy else None,
            mean_shift=float(np.abs(means[1] - means[0]).mean()) / spread if spread else None,
            saturated=float(self._at_ends[0] - self._at_ends[1]) / self._count if self._stored_range else None,
            cut_off=float(self._at_ends[2]) / self._count if self._stored_range else None,
            stored_range=self._stored_range,
            natural_range=self._natural,
            usual_range=(min(float(low), 0.0), max(float(high), 0.0)),
            channels=ChannelFigures(
                float_mean=means[0],
                float_deviation=deviations[0],
                float_span=self._ends[1] - self._ends[0],
                file_mean=means[1],
                file_deviation=deviations[1],
            ),
        )


def _stored_range(tensor: TensorInfo) -> Range | None:
    if tensor.scale is None or tensor.zero_point is None:
        return None
    limits = np.iinfo(tensor.dtype)
    return (limits.min - tensor.zero_point) * tensor.scale, (limits.max - tensor.zero_point) * tensor.scale
