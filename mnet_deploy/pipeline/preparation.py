"""How a photo becomes a model's input, and what of that is usually mixed up."""

from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from mnet_deploy.artifact import TensorInfo
from mnet_deploy.normalization import Normalization

Pixels = NDArray[np.uint8]
FloatArray = NDArray[np.float32]

USUAL_NORMALIZATIONS = ("-1..1", "0..1", "imagenet", "0..255")


@dataclass(frozen=True, slots=True, kw_only=True)
class Preparation:
    """How a photo of a folder becomes an input and the class that is expected for it.

    Attributes:
        normalization: from 8-bit pixels to the model's real input.
        bgr: whether the channels are given in the order blue, green, red.
        squash: whether the whole photo is scaled to the square, in place of the centre crop.
        label_shift: added to the index of the class that the folder stands for.
    """

    normalization: Normalization
    bgr: bool = False
    squash: bool = False
    label_shift: int = 0

    def real_input(self, pixels: Pixels) -> FloatArray:
        """Return the real values [images, height, width, channels] of RGB or grey pixels of the same shape."""
        return self.normalization.apply(pixels[..., ::-1] if self.bgr else pixels)


class Kind(StrEnum):
    """What can be mixed up."""

    NORMALIZATION = "normalization"
    CHANNELS = "channels"
    GEOMETRY = "geometry"
    LABELS = "labels"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alternative:
    """One change of a preparation.

    Attributes:
        kind: what is changed.
        name: to what, in words.
        preparation: the result.
    """

    kind: Kind
    name: str
    preparation: Preparation


def alternatives(given: TensorInfo, channels: int, current: Preparation) -> tuple[Alternative, ...]:
    """Return what is usually mixed up, as changes of a preparation.

    Args:
        given: the model's input; what gives it the same values is left out.
        channels: of a photo, 3 or 1.
        current: what is changed, a step at a time.
    """
    found = [
        Alternative(
            kind=Kind.NORMALIZATION, name=name, preparation=replace(current, normalization=Normalization.parse(name))
        )
        for name in USUAL_NORMALIZATIONS
        if _can_be_told(given, channels, name)
    ]
    found = [each for each in found if _differs(given, channels, current, each.preparation)]
    if channels > 1:
        swapped = replace(current, bgr=not current.bgr)
        found.append(Alternative(kind=Kind.CHANNELS, name=channels_name(swapped), preparation=swapped))
    other = replace(current, squash=not current.squash)
    found.append(Alternative(kind=Kind.GEOMETRY, name=geometry_name(other), preparation=other))
    for step in (1, -1):
        shifted = replace(current, label_shift=current.label_shift + step)
        found.append(Alternative(kind=Kind.LABELS, name=f"{step:+d}", preparation=shifted))
    return tuple(found)


def normalization_name(normalization: Normalization) -> str:
    """Return the shortest text that `Normalization.parse` reads as this one, or as one within rounding of it."""
    for name in USUAL_NORMALIZATIONS:
        usual = Normalization.parse(name)
        if len(usual.mean) == len(normalization.mean) and np.allclose(
            (usual.mean, usual.std), (normalization.mean, normalization.std), rtol=1e-6, atol=1e-6
        ):
            return name
    return str(normalization)


def channels_name(preparation: Preparation) -> str:
    """Return the order of the channels in words."""
    return "BGR" if preparation.bgr else "RGB"


def geometry_name(preparation: Preparation) -> str:
    """Return in words how a photo becomes a square."""
    return "squash" if preparation.squash else "centre crop"


def _can_be_told(given: TensorInfo, channels: int, name: str) -> bool:
    """Whether the input can hold the values of this normalisation."""
    stores_pixels = "int" in given.dtype and given.scale is None
    return not stores_pixels and len(Normalization.parse(name).mean) in (1, channels)


def _differs(given: TensorInfo, channels: int, one: Preparation, other: Preparation) -> bool:
    """Whether two preparations give the model other inputs, by more than the step from a pixel value to the next."""
    greys = np.repeat(np.arange(256, dtype=np.uint8), channels).reshape(1, 256, 1, channels)
    first, second = (given.store(each.real_input(greys)).astype(np.float64) for each in (one, other))
    step = 1.0 if "int" in given.dtype else float(np.ptp(first)) / 255
    return bool(np.abs(first - second).max() > step)


def step_name(kind: Kind, preparation: Preparation) -> str:
    """Return in words what a preparation does in one step."""
    if kind is Kind.NORMALIZATION:
        return normalization_name(preparation.normalization)
    if kind is Kind.CHANNELS:
        return channels_name(preparation)
    return geometry_name(preparation) if kind is Kind.GEOMETRY else f"{preparation.label_shift:+d}"
