"""Images made without photos: dead leaves, and noise. The same bytes for the same seed on every machine.

Dead leaves (Lee, Mumford and Huang 2001, "Occlusion models for natural images", IJCV 41) are discs of random size and
colour that cover one another. With radii distributed as r^-3 they have edges, flat areas and a spectrum like those of
photos, at every scale, and so drive a trained network's activations to similar ranges.
"""

import math

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
Integers = npt.NDArray[np.int64]

ZOOMS = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0)  # near and far views: one is drawn for each image
SMALLEST, LARGEST = 1 / 112, 1 / 4.5  # radii at zoom 1, as shares of the image's side
LEAVES = 2400  # at zoom 1, before the limit; fewer and larger ones at higher zooms
MOST_LEAVES = 1500  # for speed: these cover 7/8 of the finest view, the others nearly all
COLOUR_SPREAD = 48  # of one channel around the leaf's brightness, in pixel values
SLOPE = 96  # change of brightness over one side of the image, at most
TEXTURE = 64  # amplitude of the grain of the roughest leaf


class _Chance:
    """Random integers from PCG64's raw stream, which NumPy keeps the same from release to release (NEP 19)."""

    def __init__(self, seed: int, number: int) -> None:
        self._stream = np.random.PCG64([seed, number])

    def integers(self, low: int, high: int, shape: tuple[int, ...]) -> Integers:
        """Return integers of [low, high); `high - low` is below 2**31."""
        raw = self._stream.random_raw(int(np.prod(shape))) >> np.uint64(32)
        scaled = (raw * np.uint64(high - low)) >> np.uint64(32)
        return low + scaled.astype(np.int64).reshape(shape)


def uniform_noise(count: int, *, seed: int, resolution_px: int, channels: int) -> Pixels:
    """Return images of independent uniform pixels, of shape (count, resolution_px, resolution_px, channels)."""
    images = np.empty((count, resolution_px, resolution_px, channels), np.uint8)
    for number in range(count):
        images[number] = _Chance(seed, number).integers(0, 256, images.shape[1:])
    return images


def dead_leaves(count: int, *, seed: int, resolution_px: int, channels: int) -> Pixels:
    """Return images of overlapping discs, of shape (count, resolution_px, resolution_px, channels)."""
    images = np.empty((count, resolution_px, resolution_px, channels), np.uint8)
    for number in range(count):
        images[number] = _dead_leaves_image(_Chance(seed, number), resolution_px, channels)
    return images


def _dead_leaves_image(chance: _Chance, side_px: int, channels: int) -> Pixels:
    leaf_at, leaves = _scatter(chance, side_px)
    brightness = chance.integers(0, 256, (leaves + 1, 1))
    colours = brightness + chance.integers(-COLOUR_SPREAD, COLOUR_SPREAD + 1, (leaves + 1, channels)) * (channels > 1)
    slope_y, slope_x = chance.integers(-SLOPE, SLOPE + 1, (2, leaves + 1))
    texture = chance.integers(0, TEXTURE + 1, (leaves + 1,))
    position = np.arange(side_px) - side_px // 2
    shade = (slope_y[leaf_at] * position[:, None] + slope_x[leaf_at] * position) // side_px
    grain = (texture[leaf_at] * chance.integers(-128, 129, leaf_at.shape)) >> 7
    image = colours[leaf_at] + (shade + grain)[..., None]
    return _soften(np.clip(image, 0, 255)).astype(np.uint8)


def _scatter(chance: _Chance, side_px: int) -> tuple[Integers, int]:
    """Return for each pixel the number of the leaf on top of it (0: the background), and how many leaves there are."""
    zoom = ZOOMS[int(chance.integers(0, len(ZOOMS), (1,))[0])]
    leaves = min(MOST_LEAVES, int(LEAVES / (zoom * math.sqrt(zoom))))
    radii = _radii(chance, leaves, max(1.0, side_px * zoom * SMALLEST), side_px * min(1.0, zoom * LARGEST))
    centres = chance.integers(0, side_px, (leaves, 2))
    leaf_at = np.zeros((side_px, side_px), np.int64)
    position = np.arange(side_px)
    for leaf, (radius, (y, x)) in enumerate(zip(radii.tolist(), centres.tolist(), strict=True), start=1):
        rows, columns = (slice(max(0, centre - radius), centre + radius + 1) for centre in (y, x))
        inside = (position[rows, None] - y) ** 2 + (position[columns] - x) ** 2 <= radius**2
        leaf_at[rows, columns][inside] = leaf
    return leaf_at, leaves


def _radii(chance: _Chance, leaves: int, smallest_px: float, largest_px: float) -> Integers:
    """Draw from the density r^-3 between the smallest and the largest radius, by inverting its distribution.

    Only +, -, *, / and sqrt on floats: IEEE 754 fixes their results to the last bit.
    """
    share = chance.integers(0, 1 << 30, (leaves,)) / (1 << 30)
    radii: npt.NDArray[np.float64] = smallest_px / np.sqrt(1 - share * (1 - (smallest_px / largest_px) ** 2))
    return radii.astype(np.int64)


def _soften(image: Integers) -> Integers:
    """Blur with (1, 2, 1) / 4 along both axes: a camera's edges are not hard."""
    padded = np.pad(image, ((1, 1), (1, 1), (0, 0)), mode="edge")
    rows: Integers = padded[:-2] + 2 * padded[1:-1] + padded[2:]
    blurred: Integers = (rows[:, :-2] + 2 * rows[:, 1:-1] + rows[:, 2:] + 8) >> 4
    return blurred
