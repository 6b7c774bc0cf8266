"""How far two sets of answers of one file are apart, and how far they may be."""

from dataclasses import asdict, dataclass, field, replace
from math import inf, isfinite
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from mnet_deploy.artifact import Artifact

# How much further apart than the two sets that were run a third one may be. Of 40 networks with random weights and of
# ImageNet's, LiteRT's reference kernels were at most 2.0 times as far from XNNPACK as its optimised ones are in the
# largest difference and 1.5 times in the mean (int8), 2.0 times in float. A float answer that is wrong is off by far
# more than rounding, so there a wider margin costs nothing.
QUANTISED_MARGIN, FLOAT_MARGIN = 2.0, 4.0
# On another instruction set other kernels run. Of three int8 files and five ways to run them on arm64, one was 1.06
# times as far as the tolerance of its export on x86-64 allows, LiteRT without XNNPACK; the others 0 to 0.56 times. (An
# .onnx of random weights was 3.25 times as far in the mean with nothing off by more than a step: see `rounding_step`.)
OTHER_MACHINE_MARGIN = 2.0
# A step of the arithmetic, relative to the largest answer: what a float output may always be off by. Sums in another
# order cost some of float32's 24 bits (4e-6 between kernels of one processor, of which this is four times as much);
# float16 weights may be computed with in float16; what is quantised inside moves in steps of 8 bits.
_FLOAT_STEPS = {"fp32": 2.0**-16, "fp16": 2.0**-11}
_QUANTISED_STEP = 2.0**-8
_A_LITTLE_MORE = 1 + 2.0**-16  # the grid itself is stored in float32
MOST_LISTED = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Distance:
    """How far two sets of answers are apart, in steps of a quantised output, in its own unit for a float one.

    Attributes:
        largest: of a single value.
        mean: over all values.
    """

    largest: float
    mean: float

    @classmethod
    def between(cls, expected: NDArray[Any], actual: NDArray[Any]) -> Self:
        """Compare answers; infinite where one of them is no number, or the shapes differ."""
        if expected.shape != actual.shape:
            return cls(largest=inf, mean=inf)
        with np.errstate(invalid="ignore"):
            apart = np.abs(expected.astype(np.float64) - actual.astype(np.float64))
        apart[~np.isfinite(apart)] = inf
        return cls(largest=float(apart.max()), mean=float(apart.mean()))

    def within(self, tolerance: Self) -> bool:
        """Whether neither figure is above that of a tolerance."""
        return self.largest <= tolerance.largest and self.mean <= tolerance.mean

    def times(self, factor: float) -> Self:
        """Return as many times as much."""
        return replace(self, largest=factor * self.largest, mean=factor * self.mean)

    def share_of(self, tolerance: Self) -> float:
        """Return the larger share that one of the figures has of that of a tolerance; 1 is just allowed."""
        pairs = ((self.largest, tolerance.largest), (self.mean, tolerance.mean))
        return max(0.0 if own == 0 else own / allowed if allowed else inf for own, allowed in pairs)

    def to_json(self) -> dict[str, float | None]:
        """Return the figures; null for what is infinite, which JSON does not have."""
        return {name: value if isfinite(value) else None for name, value in asdict(self).items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class MovedOutput:
    """One value that differs.

    Attributes:
        image: number of the golden image, from 0.
        output: number of the value among the image's, from 0: the class.
        golden: what it was.
        answered: what it is.
    """

    image: int
    output: int
    golden: float
    answered: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """How many single values of two sets of answers differ.

    Attributes:
        outputs: how many values there are.
        count: how many differ, in any bit.
        by_steps: of integers, how many differ by how much; None of floats, and where the shapes differ.
        furthest: the values of integers that are furthest apart, at most `MOST_LISTED`, the furthest first.
    """

    outputs: int
    count: int
    by_steps: dict[int, int] | None
    furthest: tuple[MovedOutput, ...] = field(default=(), compare=False)

    @classmethod
    def between(cls, expected: NDArray[Any], actual: NDArray[Any]) -> Self:
        """Compare answers; where the shapes or the types differ, all of them do."""
        if expected.shape != actual.shape or expected.dtype != actual.dtype:
            return cls(outputs=actual.size, count=actual.size, by_steps=None)
        if expected.dtype.kind == "f":
            bits = np.dtype(f"u{expected.dtype.itemsize}")
            differ = np.ascontiguousarray(expected).view(bits) != np.ascontiguousarray(actual).view(bits)
            return cls(outputs=actual.size, count=int(differ.sum()), by_steps=None)
        apart = np.abs(expected.astype(np.int64) - actual.astype(np.int64))
        steps, counts = np.unique(apart[apart > 0], return_counts=True)
        by_steps = dict(zip(steps.tolist(), counts.tolist(), strict=True))
        count = sum(by_steps.values())
        return cls(outputs=actual.size, count=count, by_steps=by_steps, furthest=_furthest(expected, actual, apart))


def _furthest(expected: NDArray[Any], actual: NDArray[Any], apart: NDArray[np.int64]) -> tuple[MovedOutput, ...]:
    """Return the values that differ most; of equal ones the first."""
    images = apart.reshape(len(apart), -1)
    order = np.argsort(-images, axis=None, kind="stable")[:MOST_LISTED]
    places = [divmod(int(place), images.shape[1]) for place in order if images.flat[place]]
    golden, answered = expected.reshape(images.shape), actual.reshape(images.shape)
    return tuple(
        MovedOutput(
            image=image, output=output, golden=golden[image, output].item(), answered=answered[image, output].item()
        )
        for image, output in places
    )


def unit_of(artifact: Artifact) -> str:
    """Return what distances between answers of a file are measured in."""
    return "1" if artifact.output.scale is None else f"steps of the {artifact.output.dtype} output"


def margin_of(artifact: Artifact) -> float:
    """Return what a spread is multiplied by."""
    return FLOAT_MARGIN if artifact.output.scale is None else QUANTISED_MARGIN


def rounding_step(artifact: Artifact, outputs: NDArray[Any]) -> float:
    """Return how far one output may be off because something was rounded the other way, in the unit of distances.

    Float outputs of a file that is quantised inside lie on a grid; neighbours there are at least a step apart.
    """
    if artifact.output.scale is not None:
        return 1.0
    relative = _FLOAT_STEPS.get(artifact.precision)
    if relative is not None:
        return relative * float(np.abs(outputs).max())
    gaps = np.diff(np.unique(outputs.astype(np.float64)))
    smallest = float(gaps.min()) if gaps.size else 0.0
    return max(_QUANTISED_STEP * float(np.abs(outputs).max()), smallest * _A_LITTLE_MORE)


def tolerance_of(artifact: Artifact, outputs: NDArray[Any], spread: Distance) -> Distance:
    """Return the spread with its margin; one output of an image may always be off by a step."""
    step = rounding_step(artifact, outputs)
    margin = margin_of(artifact)
    return Distance(
        largest=max(step, margin * spread.largest),
        mean=max(step / outputs[0].size, margin * spread.mean),
    )
