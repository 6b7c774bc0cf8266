"""Photos as a model sees them: any size and mode in, a square of 8-bit pixels out.

The geometry is the usual one of ImageNet evaluations: short side to resolution / 0.875 (256 for 224), centre crop.
"""

import os
import struct
import threading
import warnings
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, UnidentifiedImageError

from mnet_deploy.errors import SpecError

CROP_FRACTION = 0.875  # the share of the short side that the centre crop keeps
# As in torchvision's evaluation presets. Pillow's filter widens with the scale: it averages, not only interpolates.
RESIZE_FILTER = Image.Resampling.BILINEAR
BACKGROUND = (255, 255, 255)  # what shows through transparent pixels
FORMATS = ("JPEG", "PNG", "BMP", "WEBP")  # by content; Pillow knows more, some of which start other programs
MAX_PIXELS = 89_478_485  # Pillow's own limit: 256 MiB of RGB
LARGE_PIXELS = 25_000_000  # larger photos are decoded one at a time: at the limit one takes 1 GiB on the way
MAX_ASPECT = 100  # a strip that is still longer would grow to gigabytes when its short side is scaled
MAX_THREADS = 4

# EXIF orientation -> what makes the photo upright; 1 is upright already.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

_LARGE_TURN = threading.Lock()

Pixels = npt.NDArray[np.uint8]
_ToSquare = Callable[[Image.Image], Image.Image]

# What Pillow raises on damaged files, beside its own errors.
_DECODER_ERRORS = (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, OverflowError)
_ERRORS = (*_DECODER_ERRORS, MemoryError, struct.error, zlib.error, Image.DecompressionBombError)


class BrokenImage(SpecError):
    """An image file that cannot be used; the message names it and the cause."""


def load_image(path: Path, *, resolution_px: int, channels: int = 3) -> Pixels:
    """Return a photo as an array of shape (resolution_px, resolution_px, channels).

    The first frame of an animation; turned as its EXIF data says; transparency over white; 16-bit grey scaled to 8 bit;
    colour profiles are ignored, as the usual training pipelines do.

    Args:
        path: a JPEG, PNG, BMP or WebP file, told by content, whatever its suffix.
        resolution_px: side of the result.
        channels: 3 for RGB, 1 for grey.

    Raises:
        BrokenImage: the file cannot be read, is no such image, is damaged, too large or too narrow.
        SpecError: another number of channels.
    """
    (result,) = load_images([path], resolution_px=resolution_px, channels=channels)
    if isinstance(result, BrokenImage):
        raise result
    return result


def load_images(
    paths: Sequence[Path],
    *,
    resolution_px: int,
    channels: int = 3,
    short_px: int | None = None,
    squash: bool = False,
) -> list[Pixels | BrokenImage]:
    """Return for each path what `load_image` returns, or the `BrokenImage` that it raises.

    Decodes on a few threads, which pays for photos of many megapixels.

    Args:
        paths: of the photos.
        resolution_px: side of the results.
        channels: 3 for RGB, 1 for grey.
        short_px: length to which the short side is scaled before the crop; None for `short_side_px(resolution_px)`.
        squash: scale the whole photo to the square, whatever its sides, in place of a crop.

    Raises:
        SpecError: a number of channels that photos do not have.
    """
    require_photo_channels(channels)
    short_px = short_side_px(resolution_px) if short_px is None else short_px
    crop = partial(_crop, short_px=short_px, resolution_px=resolution_px)
    to_square = partial(_squash, resolution_px=resolution_px) if squash else crop
    load = partial(_load_or_error, to_square=to_square, mode="L" if channels == 1 else "RGB")
    with warnings.catch_warnings():  # not inside the threads: it changes the whole process
        warnings.simplefilter("ignore")  # damaged metadata does not matter here; the size is checked below
        if len(paths) == 1:
            return [load(paths[0])]
        with ThreadPoolExecutor(min(MAX_THREADS, os.cpu_count() or 1)) as pool:
            return list(pool.map(load, paths))


def preprocessing(resolution_px: int) -> dict[str, Any]:
    """Return what `load_image` does to a photo, as JSON values (for a digest or a record)."""
    return {
        "resolution_px": resolution_px,
        "short_side_px": short_side_px(resolution_px),
        "crop": "centre",
        "resize": RESIZE_FILTER.name.lower(),
        "background": list(BACKGROUND),
    }


def short_side_px(resolution_px: int) -> int:
    """Return the length to which the short side of a photo is scaled before the crop."""
    return round(resolution_px / CROP_FRACTION)


def require_photo_channels(channels: int) -> None:
    """Raise `SpecError` where photos cannot have this number of channels."""
    if channels not in (1, 3):
        raise SpecError(
            f"image files give 1 (grey) or 3 (RGB) channels. Received: a model of {channels} input channels. "
            "Try generated images (--calibration-source generated)"
        )


def _load_or_error(path: Path, *, to_square: _ToSquare, mode: str) -> Pixels | BrokenImage:
    try:
        return _load(path, to_square, mode)
    except BrokenImage as error:
        return error
    except _ERRORS as error:
        return BrokenImage(f"{path} is not a usable image: {_cause(error)}")


def _load(path: Path, to_square: _ToSquare, mode: str) -> Pixels:
    with Image.open(path, formats=FORMATS) as image:
        _require_size(path, image.size)
        with _LARGE_TURN if image.width * image.height > LARGE_PIXELS else nullcontext():
            image.load()
            square = to_square(_eight_bit(_upright(image)))
    pixels = np.array(_over_background(square).convert(mode), np.uint8)
    return pixels.reshape(*pixels.shape[:2], len(mode))


def _require_size(path: Path, size: tuple[int, int]) -> None:
    width, height = size
    if width * height > MAX_PIXELS:
        raise BrokenImage(
            f"{path} is {width} x {height} pixels, more than {MAX_PIXELS // 10**6} million in all. Scale it down first"
        )
    if max(size) > MAX_ASPECT * min(size):
        raise BrokenImage(f"{path} is {width} x {height} pixels, too narrow for a square crop. Crop it first")


def _upright(image: Image.Image) -> Image.Image:
    """Return the image as its EXIF orientation says.

    Not by Pillow's `exif_transpose`, which copies upright images and writes the EXIF data anew, damaged or not.
    """
    try:
        turn = _TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except (SyntaxError, struct.error):  # no readable EXIF data: as stored
        return image
    return image if turn is None else image.transpose(turn)


def _eight_bit(image: Image.Image) -> Image.Image:
    """Return the image in a mode that can be resized: L, LA, RGB or RGBA."""
    if image.mode.startswith("I"):  # 16-bit grey: `I;16` or, from some versions of Pillow, `I`
        wide = np.asarray(image).astype(np.uint32)
        return Image.fromarray(((wide * 255 + 32767) // 65535).astype(np.uint8))  # rounded, not cut
    if image.has_transparency_data:
        return image if image.mode in ("LA", "RGBA") else image.convert("RGBA")
    if image.mode in ("L", "RGB"):
        return image
    return image.convert("L" if image.mode == "1" else "RGB")


def _crop(image: Image.Image, short_px: int, resolution_px: int) -> Image.Image:
    width, height = (int(length * short_px / min(image.size) + 0.5) for length in image.size)
    left, top = (width - resolution_px) // 2, (height - resolution_px) // 2
    scaled = image.resize((width, height), RESIZE_FILTER)
    return scaled.crop((left, top, left + resolution_px, top + resolution_px))


def _squash(image: Image.Image, resolution_px: int) -> Image.Image:
    return image.resize((resolution_px, resolution_px), RESIZE_FILTER)


def _over_background(image: Image.Image) -> Image.Image:
    if image.mode not in ("LA", "RGBA"):
        return image
    background = Image.new("RGBA", image.size, (*BACKGROUND, 255))
    return Image.alpha_composite(background, image.convert("RGBA")).convert("RGB")


def _cause(error: Exception) -> str:
    if isinstance(error, Image.DecompressionBombError):
        return f"it has more than {MAX_PIXELS // 10**6} million pixels. Scale it down first"
    if isinstance(error, UnidentifiedImageError):
        return "its content is not JPEG, PNG, BMP or WebP"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split()) or type(error).__name__
