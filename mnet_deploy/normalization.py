"""How 8-bit pixels become the numbers that a model was trained on: `(pixel - mean) / std`.

It is part of an export, and recorded with it: a wrong normalisation costs a few points of accuracy without any error.
"""

from dataclasses import dataclass
from math import isfinite
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from mnet_deploy.errors import SpecError

WHITE = 255.0  # the largest 8-bit pixel value
CHOICES = "-1..1, 0..1, imagenet, or MEAN/STD in 8-bit pixel units such as 123.675,116.28,103.53/58.395,57.12,57.375"


@dataclass(frozen=True, slots=True, kw_only=True)
class Normalization:
    """`(pixel - mean) / std`, for each channel or the same for all.

    Attributes:
        mean: one value a channel, or a single one for all channels; in units of 8-bit pixel values (0 to 255).
        std: as many values as `mean`, each above 0; in the same units.

    Raises:
        SpecError: a value outside these ranges, or lists of different lengths.
    """

    mean: tuple[float, ...] = (WHITE / 2,)
    std: tuple[float, ...] = (WHITE / 2,)

    def __post_init__(self) -> None:
        if not self.mean or len(self.mean) != len(self.std):
            raise SpecError(
                f"a normalisation needs as many means as stds, at least one. Received: {len(self.mean)} means, "
                f"{len(self.std)} stds"
            )
        if not all(isfinite(value) for value in self.mean + self.std):
            raise SpecError(f"mean and std must be finite numbers. Received: {self}")
        if min(self.std) <= 0:
            raise SpecError(f"every std of a normalisation must be above 0. Received: {self}")

    @classmethod
    def from_range(cls, low: float, high: float) -> Self:
        """Map pixel 0 to `low` and pixel 255 to `high`."""
        if not low < high:
            raise SpecError(f"a pixel range goes from a smaller to a larger number. Received: {low:g}..{high:g}")
        std = WHITE / (high - low)
        return cls(mean=(0.0 - low * std,), std=(std,))  # 0.0 - x: never a negative zero

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what was given on the command line: one of `CHOICES`.

        Raises:
            SpecError: the text is none of them, or gives mean and std in units of 0..1.
        """
        if text == "imagenet":  # torchvision's constants for models trained with PyTorch, times 255
            return cls(mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375))
        try:
            if ".." in text:
                low, high = text.split("..")
                return cls.from_range(float(low), float(high))
            mean, std = (tuple(float(value) for value in part.split(",")) for part in text.split("/"))
        except SpecError:
            raise
        except ValueError:
            raise SpecError(f"a normalisation is {CHOICES}. Received: {text!r}") from None
        if std and 0 < min(std) < 1:
            scaled = "/".join(",".join(f"{value * WHITE:g}" for value in part) for part in (mean, std))
            raise SpecError(
                f"mean and std are given in units of 8-bit pixels (0 to 255). Received: {text}. Try {scaled}"
            )
        return cls(mean=mean, std=std)

    def __str__(self) -> str:
        """Return what `parse` reads back."""
        return "/".join(",".join(f"{value:.9g}" for value in part) for part in (self.mean, self.std))

    def input_range(self) -> tuple[float, float]:
        """Return the least and greatest value that a pixel can become, over all channels."""
        ends = [(pixel - mean) / std for mean, std in zip(self.mean, self.std, strict=True) for pixel in (0.0, WHITE)]
        return min(ends), max(ends)

    def for_channels(self, channels: int) -> Self:
        """Return the same with one mean and std a channel.

        Raises:
            SpecError: it is made for another number of channels.
        """
        if len(self.mean) == channels:
            return self
        if len(self.mean) != 1:
            raise SpecError(
                f"the normalisation {self} is for {len(self.mean)} channels. Received: images of {channels}. "
                f"Give one mean and std, or {channels} of each"
            )
        return type(self)(mean=self.mean * channels, std=self.std * channels)

    def apply(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Return the model's input for pixels whose last axis is the channel (HWC or NHWC).

        Raises:
            SpecError: the number of channels does not fit.
        """
        each = self.for_channels(pixels.shape[-1])
        values = pixels.astype(np.float32)
        values -= np.array(each.mean, np.float32)
        values /= np.array(each.std, np.float32)
        return values

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return {"mean": list(self.mean), "std": list(self.std)}

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Self:
        """Build from `to_json()`'s result.

        Raises:
            SpecError: unknown, missing or invalid fields.
        """
        try:
            if set(fields) != {"mean", "std"}:
                raise ValueError(fields)
            return cls(mean=tuple(map(float, fields["mean"])), std=tuple(map(float, fields["std"])))
        except SpecError:
            raise
        except (TypeError, ValueError) as error:
            raise SpecError(f"a saved normalisation has lists of numbers, mean and std. Received: {fields}") from error
