"""Random variation of training photos, drawn from a seed alone: the same seed gives the same batch on any run."""

import math
from dataclasses import dataclass

import tensorflow as tf

from mnet_deploy.models.training.options import Augmentation


@dataclass(frozen=True, slots=True, kw_only=True)
class _Strength:
    """Ranges to draw from.

    Attributes:
        area: smallest share of the photo's area that a crop keeps.
        aspect: largest ratio of the crop's sides.
        turn_degrees: largest rotation.
        brightness: largest shift, as a share of white.
        contrast: largest change of the distances to the mean.
        saturation: largest change of the distances to grey.
        erase: share of photos in which a rectangle is greyed out (Zhong et al. 2020).
    """

    area: float
    aspect: float
    turn_degrees: float
    brightness: float
    contrast: float
    saturation: float
    erase: float


_STRENGTHS = {
    Augmentation.LIGHT: _Strength(
        area=0.5, aspect=1.2, turn_degrees=5, brightness=0.1, contrast=0.2, saturation=0.2, erase=0.0
    ),
    Augmentation.STRONG: _Strength(
        area=0.25, aspect=4 / 3, turn_degrees=20, brightness=0.2, contrast=0.4, saturation=0.4, erase=0.3
    ),
}
WHITE = 255.0


def augment(pixels: tf.Tensor, seed: tf.Tensor, *, resolution_px: int, augmentation: Augmentation) -> tf.Tensor:
    """Return varied photos of the model's size.

    Args:
        pixels: [photos, side, side, channels] 8-bit.
        seed: two integers.
        resolution_px: side of the result.
        augmentation: how far; `NONE` is the centre crop that an exported file is given.

    Returns:
        [photos, resolution_px, resolution_px, channels] float32, 0 to 255.
    """
    if augmentation is Augmentation.NONE:
        return centre_crop(pixels, resolution_px=resolution_px)
    strength = _STRENGTHS[augmentation]
    seeds = tf.unstack(tf.random.split(seed, 8))
    cropped = _random_view(pixels, seeds[:4], resolution_px, strength)
    coloured = _random_colour(cropped, seeds[4:7], strength)
    return tf.clip_by_value(_random_erase(coloured, seeds[7], strength), 0.0, WHITE)


def centre_crop(pixels: tf.Tensor, *, resolution_px: int) -> tf.Tensor:
    """Return the middle of photos that were decoded with room around the model's input."""
    offset = (pixels.shape[1] - resolution_px) // 2
    end = offset + resolution_px
    return tf.cast(pixels[:, offset:end, offset:end], tf.float32)


def _uniform(count: tf.Tensor, seed: tf.Tensor, low: float, high: float) -> tf.Tensor:
    return tf.random.stateless_uniform([count], seed, low, high)


def _random_view(pixels: tf.Tensor, seeds: list[tf.Tensor], resolution_px: int, strength: _Strength) -> tf.Tensor:
    """Cut a random box (Szegedy et al. 2015), turned a little, mirrored in every other photo, at the model's size."""
    count, side = tf.shape(pixels)[0], float(pixels.shape[1])
    area = _uniform(count, seeds[0], strength.area, 1.0)
    root_aspect = tf.exp(_uniform(count, seeds[1], -0.5, 0.5) * math.log(strength.aspect))
    extent = side * tf.minimum(1.0, tf.sqrt(area) * tf.stack([1 / root_aspect, root_aspect]))  # width, height
    centre = extent / 2 + tf.random.stateless_uniform([2, count], seeds[2]) * (side - extent)
    turn = tf.random.stateless_uniform([2, count], seeds[3])
    angle = (2 * turn[0] - 1) * math.radians(strength.turn_degrees)
    step = extent / resolution_px  # pixels of the photo for one of the result
    step_x, step_y = tf.where(turn[1] < 0.5, -step[0], step[0]), step[1]
    rows = [
        [tf.cos(angle) * step_x, -tf.sin(angle) * step_y, centre[0]],
        [tf.sin(angle) * step_x, tf.cos(angle) * step_y, centre[1]],
    ]
    middle = (resolution_px - 1) / 2
    transforms = [(x, y, at - 0.5 - (x + y) * middle) for x, y, at in rows]  # a pixel's centre lies half a pixel in
    zeros = tf.zeros([count])
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=tf.cast(pixels, tf.float32),
        transforms=tf.stack([*transforms[0], *transforms[1], zeros, zeros], axis=1),
        output_shape=[resolution_px, resolution_px],
        interpolation="BILINEAR",
        fill_mode="REFLECT",
        fill_value=0.0,
    )


def _random_colour(pixels: tf.Tensor, seeds: list[tf.Tensor], strength: _Strength) -> tf.Tensor:
    count = tf.shape(pixels)[0]

    def factor(seed: tf.Tensor, width: float) -> tf.Tensor:
        return tf.reshape(_uniform(count, seed, 1 - width, 1 + width), [-1, 1, 1, 1])

    shift = (factor(seeds[0], strength.brightness) - 1) * WHITE
    mean = tf.reduce_mean(pixels, axis=[1, 2, 3], keepdims=True)
    pixels = (pixels - mean) * factor(seeds[1], strength.contrast) + mean + shift
    grey = tf.reduce_mean(pixels, axis=3, keepdims=True)
    return (pixels - grey) * factor(seeds[2], strength.saturation) + grey


def _random_erase(pixels: tf.Tensor, seed: tf.Tensor, strength: _Strength) -> tf.Tensor:
    if not strength.erase:
        return pixels
    count, side = tf.shape(pixels)[0], pixels.shape[1]
    drawn = tf.random.stateless_uniform([5, count], seed)
    extent = 0.15 + 0.3 * drawn[:2]  # of the side
    start = drawn[2:4] * (1 - extent)
    line = (tf.range(side, dtype=tf.float32) + 0.5) / float(side)
    inside = [(line >= start[axis][:, None]) & (line < (start + extent)[axis][:, None]) for axis in (0, 1)]
    erased = inside[0][:, :, None] & inside[1][:, None, :] & (drawn[4] < strength.erase)[:, None, None]
    return tf.where(erased[..., None], WHITE / 2, pixels)
