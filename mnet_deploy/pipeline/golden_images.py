"""Generated images as PNG files, and the pixels that come of them: what goldens replay, preprocessing included."""

import io
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mnet_deploy.converters import synthetic_images
from mnet_deploy.images import BrokenImage, load_images, short_side_px
from mnet_deploy.spec import ModelSpec

Pixels = NDArray[np.uint8]

GOLDEN_IMAGES = 4
GOLDEN_SEED = 2  # exports calibrate with 0, verify without photos takes 1
_PHOTO_CHANNELS = (1, 3)  # of these a PNG goes through the same decoding and cropping as photos


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenImages:
    """Images as files and as the model's 8-bit pixels.

    Attributes:
        seed: of their generator.
        pngs: the files.
        pixels: [images, height, width, channels].
    """

    seed: int
    pngs: tuple[bytes, ...] = field(repr=False)
    pixels: Pixels = field(repr=False, compare=False)


def generate(spec: ModelSpec, *, count: int = GOLDEN_IMAGES, seed: int = GOLDEN_SEED) -> GoldenImages:
    """Return generated images for a model.

    They have the short side to which photos are scaled: decoding and cropping are part of the replay, while no
    implementation's resizing is. Pixels with a number of channels that photos do not have lie side by side as grey
    ones, at the model's own size.
    """
    is_photo = spec.channels_in in _PHOTO_CHANNELS
    side_px = short_side_px(spec.resolution_px) if is_photo else spec.resolution_px
    made = synthetic_images.dead_leaves(count, seed=seed, resolution_px=side_px, channels=spec.channels_in)
    pngs = tuple(_png(pixels if spec.channels_in == 3 else pixels.reshape(side_px, -1)) for pixels in made)
    return GoldenImages(seed=seed, pngs=pngs, pixels=decode(spec, pngs))


def _png(pixels: Pixels) -> bytes:
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()


def decode(spec: ModelSpec, pngs: Sequence[bytes]) -> Pixels:
    """Return [images, height, width, channels] as photos of these files would come.

    Raises:
        BrokenImage: one of the files cannot be used.
    """
    if spec.channels_in not in _PHOTO_CHANNELS:
        shape = (len(pngs), spec.resolution_px, spec.resolution_px, spec.channels_in)
        return np.stack([np.asarray(Image.open(io.BytesIO(png), formats=["PNG"])) for png in pngs]).reshape(shape)
    with tempfile.TemporaryDirectory(prefix="mnet-") as name:
        paths = [Path(name, f"{number}.png") for number in range(len(pngs))]
        for path, png in zip(paths, pngs, strict=True):
            path.write_bytes(png)
        images = load_images(paths, resolution_px=spec.resolution_px, channels=spec.channels_in)
    for image in images:
        if isinstance(image, BrokenImage):
            raise image
    return np.stack([image for image in images if not isinstance(image, BrokenImage)])
