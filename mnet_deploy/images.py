"""Photos as a model sees them: any size and mode in, a square of 8-bit pixels out.

The geometry is that of the published evaluations: short side to resolution / 0.875 (256 for 224), centre crop.
"""

import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from mnet_deploy.errors import SpecError

CROP_FRACTION = 0.875  # the share of the short side that the centre crop keeps
# Pillow's bilinear filter widens with the scale, so it also averages when it makes an image smaller.
RESIZE_FILTER = Image.Resampling.BILINEAR
BACKGROUND = (255, 255, 255)  # what shows through transparent pixels
FORMATS = ("JPEG", "PNG", "BMP", "WEBP")  # by content; Pillow knows more, some of which start other programs
MAX_PIXELS = 89_478_485  # Pillow's own limit: 256 MiB of decoded RGB

# What Pillow's decoders raise on damaged files (found by damaging files of each format).
_DECODER_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    KeyError,
    TypeError,
    OverflowError,
    MemoryError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)


class BrokenImage(SpecError):
    """An image file that cannot be decoded; the message names it and the cause."""


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


def load_image(path: Path, *, resolution_px: int, channels: int = 3) -> npt.NDArray[np.uint8]:
    """Return a photo as an array of shape (resolution_px, resolution_px, channels).

    The first frame of an animation; turned as its EXIF data says; transparency over white; 16-bit grey scaled to 8 bit;
    colour profiles are ignored, as the usual training pipelines do.

    Args:
        path: a JPEG, PNG, BMP or WebP file, told by content, whatever its suffix.
        resolution_px: side of the result.
        channels: 3 for RGB, 1 for grey.

    Raises:
        BrokenImage: the file cannot be read, is no such image, is damaged or too large.
        SpecError: another number of channels.
    """
    require_photo_channels(channels)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # damaged metadata does not matter here
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            return _load(path, resolution_px, "L" if channels == 1 else "RGB")
    except _DECODER_ERRORS as error:
        raise BrokenImage(f"{path} is not a usable image: {_cause(error)}") from error


def require_photo_channels(channels: int) -> None:
    """Raise `SpecError` where photos cannot have this number of channels."""
    if channels not in (1, 3):
        raise SpecError(
            f"image files give 1 (grey) or 3 (RGB) channels. Received: a model of {channels} input channels. "
            "Try generated images (--calibration-source generated), or pass your own arrays from Python"
        )


def _load(path: Path, resolution_px: int, mode: str) -> npt.NDArray[np.uint8]:
    with Image.open(path, formats=FORMATS) as image:
        image.load()
        upright = ImageOps.exif_transpose(image)
        square = _crop(_eight_bit(upright), resolution_px)
    pixels = np.array(_without_alpha(square).convert(mode), np.uint8)
    return pixels.reshape(resolution_px, resolution_px, len(mode))


def _eight_bit(image: Image.Image) -> Image.Image:
    """Return the image in a mode that can be resized: L, LA, RGB or RGBA."""
    if image.mode.startswith("I"):  # 16-bit grey: `I;16` or, from older versions of Pillow, `I`
        wide = np.asarray(image).astype(np.uint32)
        return Image.fromarray(((wide * 255 + 32767) // 65535).astype(np.uint8))
    if image.has_transparency_data:
        return image if image.mode in ("LA", "RGBA") else image.convert("RGBA")
    if image.mode in ("L", "RGB"):
        return image
    return image.convert("L" if image.mode == "1" else "RGB")


def _crop(image: Image.Image, resolution_px: int) -> Image.Image:
    """Scale the short side and crop the centre in one pass: only the pixels of the result are computed."""
    short_px = short_side_px(resolution_px)
    box = [0.0] * 4
    for axis, length in enumerate(image.size):
        scaled_px = max(short_px, int(length * short_px / min(image.size) + 0.5))
        start_px = (scaled_px - resolution_px) // 2
        box[axis] = start_px * length / scaled_px
        box[axis + 2] = (start_px + resolution_px) * length / scaled_px
    left, top, right, bottom = box
    return image.resize((resolution_px, resolution_px), RESIZE_FILTER, box=(left, top, right, bottom))


def _without_alpha(image: Image.Image) -> Image.Image:
    if image.mode not in ("LA", "RGBA"):
        return image
    background = Image.new("RGBA", image.size, (*BACKGROUND, 255))
    return Image.alpha_composite(background, image.convert("RGBA")).convert("RGB")


def _cause(error: Exception) -> str:
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        return f"it has more than {MAX_PIXELS // 10**6} million pixels. Scale it down first"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, UnidentifiedImageError):
        return "its content is not JPEG, PNG, BMP or WebP"
    return " ".join(str(error).split()) or type(error).__name__
