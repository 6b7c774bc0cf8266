"""Photos of every kind against pixels worked out by hand."""

import io
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from mnet_deploy.errors import SpecError
from mnet_deploy.image_folder import list_labelled
from mnet_deploy.images import BrokenImage, load_image, load_images, short_side_px
from mnet_deploy.normalization import Normalization

# At 28 px the short side becomes 28 / 0.875 = 32: a picture of 40 x 32 pixels is only cropped, to its centre.
SIDE = 28
HEIGHT, WIDTH = 32, 40
CENTRE = (slice(2, 30), slice(6, 34))
WHITE = 255


def colours(height=HEIGHT, width=WIDTH):
    """An array in which every pixel can be told from its neighbours."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 255 // width, y * 255 // height, (x * 7 + y * 13) % 256], axis=-1).astype(np.uint8)


def grey():
    return colours()[..., 2]


def save(image, path, **options):
    image.save(path, **options)
    return path


def load(path, **options):
    return load_image(path, **{"resolution_px": SIDE, **options})


def three(values):
    return np.repeat(values[..., None], 3, axis=-1)


@pytest.mark.parametrize(
    ("suffix", "options"),
    [("png", {}), ("bmp", {}), ("webp", {"lossless": True}), ("PNG", {}), ("jpg", {"format": "PNG"})],
)
def test_lossless_formats_give_the_exact_centre(tmp_path, suffix, options):
    path = save(Image.fromarray(colours()), tmp_path / f"photo.{suffix}", **options)
    np.testing.assert_array_equal(load(path), colours()[CENTRE])


def test_jpeg_is_within_its_own_loss(tmp_path):
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    smooth = np.stack([100 + x, 100 + y, 100 + (x + y) // 2], axis=-1).astype(np.uint8)
    path = save(Image.fromarray(smooth), tmp_path / "photo.jpeg", quality=100, subsampling=0)
    np.testing.assert_allclose(load(path), smooth[CENTRE], atol=3)


def test_grey_gives_three_equal_channels_or_one(tmp_path):
    path = save(Image.fromarray(grey()), tmp_path / "grey.png")
    np.testing.assert_array_equal(load(path), three(grey())[CENTRE])
    np.testing.assert_array_equal(load(path, channels=1), grey()[..., None][CENTRE])


def test_colour_becomes_grey_by_luma(tmp_path):
    path = save(Image.fromarray(colours()), tmp_path / "photo.png")
    luma = colours() @ np.array([0.299, 0.587, 0.114])  # ITU-R BT.601
    np.testing.assert_allclose(load(path, channels=1)[..., 0], luma[CENTRE], atol=1)


def test_one_bit_is_black_and_white(tmp_path):
    bits = grey() > 127
    path = save(Image.fromarray(bits), tmp_path / "bits.png")
    np.testing.assert_array_equal(load(path), three(np.where(bits, WHITE, 0))[CENTRE])


def test_sixteen_bit_grey_equals_its_eight_bit_twin(tmp_path):
    exact = save(Image.fromarray(grey().astype(np.uint16) * 257), tmp_path / "exact.png")
    np.testing.assert_array_equal(load(exact), three(grey())[CENTRE])
    wide = (np.arange(HEIGHT * WIDTH) * 51).astype(np.uint16).reshape(HEIGHT, WIDTH)
    path = save(Image.fromarray(wide), tmp_path / "wide.png")
    np.testing.assert_allclose(load(path)[..., 0], (wide * (255 / 65535))[CENTRE], atol=0.5)


def test_sixteen_bit_colour_equals_its_eight_bit_twin(tmp_path):
    path = tmp_path / "colour16.png"
    path.write_bytes(png_bytes(colours().astype(">u2") * 257, bit_depth=16, colour_type=2))
    np.testing.assert_array_equal(load(path), colours()[CENTRE])


def test_palette_equals_rgb(tmp_path):
    image = Image.fromarray(colours()).quantize(16)
    path = save(image, tmp_path / "palette.png")
    np.testing.assert_array_equal(load(path), np.asarray(image.convert("RGB"))[CENTRE])


def test_transparent_palette_colour_shows_white(tmp_path):
    image = Image.fromarray(colours()).quantize(16)
    path = save(image, tmp_path / "palette.png", transparency=3)
    hole = (np.asarray(image) == 3)[..., None]
    assert hole.any()
    np.testing.assert_array_equal(load(path), np.where(hole, WHITE, np.asarray(image.convert("RGB")))[CENTRE])


@pytest.mark.parametrize("alpha", [0, 64, 128, 255])
@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_is_mixed_with_white(tmp_path, mode, alpha):
    image = Image.fromarray(colours() if mode == "RGBA" else grey())
    image.putalpha(alpha)
    path = save(image, tmp_path / "clear.png")
    below = colours() if mode == "RGBA" else three(grey())
    expected = (below * (alpha / 255) + WHITE * (1 - alpha / 255))[CENTRE]
    np.testing.assert_allclose(load(path), expected, atol=1)


def test_what_lies_below_transparent_pixels_does_not_bleed_in(tmp_path):
    pixels = np.zeros((64, 64, 4), np.uint8)  # black, transparent
    pixels[:, :32] = WHITE  # the left half is white and opaque
    path = save(Image.fromarray(pixels), tmp_path / "clear.png")
    assert load(path).min() >= WHITE - 1  # also where the edge is scaled down; premultiplied alpha rounds once


def test_cmyk_jpeg_has_the_colours_of_its_rgb_twin(tmp_path):
    red = Image.new("RGB", (WIDTH, HEIGHT), (200, 40, 60))
    path = save(red.convert("CMYK"), tmp_path / "print.jpg", quality=100)
    np.testing.assert_allclose(load(path), np.asarray(red)[CENTRE], atol=3)


# What EXIF orientation N says of the stored pixels, as NumPy operations that make the picture upright.
UPRIGHT = {
    1: lambda stored: stored,
    2: np.fliplr,
    3: lambda stored: np.rot90(stored, 2),
    4: np.flipud,
    5: lambda stored: stored.swapaxes(0, 1),
    6: lambda stored: np.rot90(stored, -1),  # a phone held upright: turn clockwise
    7: lambda stored: np.rot90(stored, 2).swapaxes(0, 1),
    8: lambda stored: np.rot90(stored, 1),
}


@pytest.mark.parametrize("suffix", ["png", "webp", "jpg"])
@pytest.mark.parametrize("orientation", UPRIGHT)
def test_exif_orientation_equals_the_turned_picture(tmp_path, orientation, suffix):
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if suffix == "webp" else {}
    turned = save(Image.fromarray(colours(48, 75)), tmp_path / f"turned.{suffix}", exif=exif, **options)
    with Image.open(turned) as stored:
        upright = UPRIGHT[orientation](np.asarray(stored))
    expected = load(save(Image.fromarray(np.ascontiguousarray(upright)), tmp_path / "upright.png"))
    np.testing.assert_array_equal(load(turned), expected)


@pytest.mark.parametrize(
    "exif", [b"Exif\0\0", b"Exif\0\0MM\0\xf2\0\0\0\x08", b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x01\x12"]
)
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_damaged_exif_data_does_not_matter(tmp_path, suffix, exif):
    plain = save(Image.fromarray(colours()), tmp_path / f"plain.{suffix}")
    path = save(Image.fromarray(colours()), tmp_path / f"odd.{suffix}", exif=exif)
    np.testing.assert_array_equal(load(path), load(plain))


@pytest.mark.parametrize(("suffix", "options"), [("png", {}), ("webp", {"lossless": True}), ("jpg", {"format": "MPO"})])
def test_animation_gives_the_first_frame(tmp_path, suffix, options):
    first, second = (Image.new("RGB", (WIDTH, HEIGHT), colour) for colour in ((60, 120, 180), (200, 0, 0)))
    path = save(first, tmp_path / f"film.{suffix}", save_all=True, append_images=[second], **options)
    np.testing.assert_allclose(load(path), np.full((SIDE, SIDE, 3), (60, 120, 180)), atol=2)  # JPEG loses up to 2


@pytest.mark.parametrize(("resolution_px", "expected_px"), [(224, 256), (192, 219), (160, 183), (128, 146), (32, 37)])
def test_short_side_is_the_resolution_over_0_875(resolution_px, expected_px):
    assert short_side_px(resolution_px) == expected_px == round(resolution_px / 0.875)


@pytest.mark.parametrize(("height", "width"), [(64, 100), (50, 75), (75, 50), (333, 500), (32, 33), (33, 32), (96, 32)])
def test_scale_and_crop_are_where_the_formula_puts_them(tmp_path, height, width):
    """A ramp keeps its values when it is averaged: the value of a pixel tells where it comes from."""
    y, x = np.mgrid[:height, :width]
    ramp = np.stack([x * 255 / width, y * 255 / height, np.zeros_like(x)], axis=-1)
    path = save(Image.fromarray(np.round(ramp).astype(np.uint8)), tmp_path / "ramp.png")
    result = load(path).astype(float)
    for channel, length in enumerate((width, height)):
        scaled = int(length * 32 / min(height, width) + 0.5)
        start = (scaled - SIDE) // 2
        centres = (np.arange(SIDE) + start + 0.5) * length / scaled - 0.5  # in pixels of the file
        line = result[SIDE // 2, :, 0] if channel == 0 else result[:, SIDE // 2, 1]
        inner = slice(2, -2)  # a filter at the border of the picture has one side only
        # 1.5: rounding of the ramp, of the horizontal and of the vertical pass
        np.testing.assert_allclose(line[inner], (centres * 255 / length)[inner], atol=1.5)


def test_equals_resizing_and_cropping_in_two_steps(tmp_path):
    picture = Image.fromarray(colours(375, 500))
    path = save(picture, tmp_path / "photo.png")
    resized = picture.resize((341, 256), Image.Resampling.BILINEAR)  # 500 * 256 / 375 = 341.3
    expected = resized.crop((58, 16, 58 + 224, 16 + 224))  # (341 - 224) // 2 = 58, (256 - 224) // 2 = 16
    np.testing.assert_array_equal(load(path, resolution_px=224), np.asarray(expected))


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (200, 2)])
def test_tiny_and_narrow_pictures_are_enlarged(tmp_path, size):
    path = save(Image.new("RGB", size, (10, 20, 30)), tmp_path / "tiny.png")
    np.testing.assert_array_equal(load(path), np.full((SIDE, SIDE, 3), (10, 20, 30)))


def png_bytes(rows, *, bit_depth, colour_type, size=None):
    """A PNG file written by hand: what Pillow cannot write, or what is not in it."""
    height, width = size or rows.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, bit_depth, colour_type, 0, 0, 0)
    raw = b"".join(b"\0" + row.tobytes() for row in rows)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(raw)), (b"IEND", b"")]
    body = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


def encoded(format_name, size=(WIDTH, HEIGHT)):
    buffer = io.BytesIO()
    Image.fromarray(colours(size[1], size[0])).save(buffer, format_name)
    return buffer.getvalue()


BROKEN = {
    "empty": (b"", "not JPEG, PNG, BMP or WebP"),
    "text": (b"these are not pixels", "not JPEG, PNG, BMP or WebP"),
    "gif": (encoded("GIF"), "not JPEG, PNG, BMP or WebP"),
    "truncated jpeg": (encoded("JPEG")[:-200], "truncated"),
    "truncated png": (encoded("PNG")[:-200], "(?i)truncated"),
    "wall": (
        png_bytes(grey(), bit_depth=8, colour_type=0, size=(9_000, 12_000)),
        "12000 x 9000 pixels, more than 89 mill",
    ),
    "bomb": (png_bytes(grey(), bit_depth=8, colour_type=0, size=(60_000, 60_000)), "more than 89 million pixels"),
    "strip": (encoded("PNG", (303, 3)), "303 x 3 pixels, too narrow"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_unusable_file_is_named_with_its_cause_in_one_line(tmp_path, kind):
    content, cause = BROKEN[kind]
    path = tmp_path / "photo.jpg"
    path.write_bytes(content)
    with pytest.raises(BrokenImage, match=cause) as caught:
        load(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_folder_and_missing_file_are_broken_images(tmp_path):
    with pytest.raises(BrokenImage, match="directory"):
        load(tmp_path)
    with pytest.raises(BrokenImage, match="No such file"):
        load(tmp_path / "photo.jpg")


@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "BMP", "WEBP"])
def test_damage_anywhere_gives_pixels_or_a_broken_image(tmp_path, format_name):
    """Nothing else comes out, and no warning (which would fail the test)."""
    chance = np.random.default_rng(0)
    content = np.frombuffer(encoded(format_name), np.uint8)
    path = tmp_path / "photo.img"
    outcomes = set()
    for _ in range(100):
        damaged = content.copy()
        damaged[chance.integers(0, len(damaged), 8)] = chance.integers(0, 256, 8)
        path.write_bytes(damaged.tobytes()[: chance.integers(len(damaged) // 2, len(damaged) * 2)])
        (result,) = load_images([path], resolution_px=SIDE)
        outcomes.add(type(result))
        assert isinstance(result, BrokenImage) or result.shape == (SIDE, SIDE, 3)
    assert BrokenImage in outcomes


def test_many_files_keep_their_order_around_broken_ones(tmp_path):
    paths = [save(Image.new("L", (32, 32), shade), tmp_path / f"{shade}.png") for shade in range(40)]
    paths[7].write_bytes(b"")
    results = load_images(paths, resolution_px=SIDE, channels=1)
    shades = [None if isinstance(image, BrokenImage) else int(image.mean()) for image in results]
    assert shades == [*range(7), None, *range(8, 40)]


def test_filters_for_warnings_are_left_as_they_were(tmp_path):
    before = list(warnings.filters)
    load(save(Image.fromarray(colours()), tmp_path / "photo.png"))
    assert warnings.filters == before


@pytest.mark.parametrize("channels", [0, 2, 4])
def test_other_channel_counts_are_refused(tmp_path, channels):
    with pytest.raises(SpecError, match=f"a model of {channels} input channels"):
        load(tmp_path / "photo.png", channels=channels)


def test_published_accuracy_is_reproduced(imagenet_data):
    """The weights' own figures for these 300 photos: 59.0 % top-1, 82.0 % top-5.

    A crop one pixel further right already gives 56.7 %.
    """
    keras = pytest.importorskip("keras")
    model = keras.applications.MobileNet((224, 224, 3), alpha=0.25, weights=None)
    model.load_weights(imagenet_data / "mobilenet_v1_0.25_224.weights.h5")
    photos = list_labelled(imagenet_data / "evaluation")
    pixels = np.stack(load_images([path for path, _ in photos], resolution_px=224))
    classes = (imagenet_data / "class_ids.txt").read_text().split()
    expected = np.array([[classes.index(label)] for _, label in photos])
    best = np.argsort(-model.predict(Normalization().apply(pixels), verbose=0))[:, :5]
    assert (best[:, :1] == expected).mean() == pytest.approx(0.590, abs=0.0005)
    assert (best == expected).any(axis=1).mean() == pytest.approx(0.820, abs=0.0005)


def test_large_photos_take_turns(tmp_path, monkeypatch):
    monkeypatch.setattr("mnet_deploy.images.LARGE_PIXELS", 0)
    path = save(Image.fromarray(colours()), tmp_path / "photo.png")
    for image in load_images([path] * 8, resolution_px=SIDE):
        np.testing.assert_array_equal(image, colours()[CENTRE])
