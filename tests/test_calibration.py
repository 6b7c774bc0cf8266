"""Which photos are chosen, what stands in for them, and what identifies a set."""

import json
import os
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from mnet_deploy.converters import calibration, synthetic_images
from mnet_deploy.converters.calibration import CalibrationSource
from mnet_deploy.errors import SpecError

SIDE = 28  # pictures of 32 x 32 are only cropped
CLASSES = ("ant", "bee", "cat", "dog")
RECORDED_CHOICE = [(2, 1), (0, 1), (1, 1), (3, 2), (2, 2), (0, 2)]  # (class, number)
RECORDED_DIGESTS = {
    "generated": "5b47d47407312ab659255584216e739688dbd3a6bddb8ad55215ca2e6e26b254",
    "noise": "2c02bf8e96d98e791aacbb65613d139f5b794e15897daa13e56aa1d450ac9daa",
}


def photo(path, class_number, number):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (32, 32), (class_number, number, 0)).save(path)


def fill(folder, counts, order=1):
    """Put photos into class folders; the colour of each says its class and number."""
    jobs = [(number, index) for number, count in enumerate(counts) for index in range(count)]
    for number, index in jobs[::order]:
        photo(folder / CLASSES[number] / f"{index}.png", number, index)
    return folder


def chosen(images):
    return [(int(pixel[0]), int(pixel[1])) for pixel in images.pixels[:, 0, 0]]


def from_folder(folder, **options):
    return calibration.from_folder(folder, **{"resolution_px": SIDE, **options})


def test_set_says_what_it_is(tmp_path):
    images = from_folder(fill(tmp_path, (30, 30)), count=20, seed=3)
    assert images.pixels.shape == (20, SIDE, SIDE, 3)
    assert images.pixels.dtype == np.uint8
    assert not images.pixels.flags.writeable
    assert (images.source, images.count, images.requested, images.seed) == (CalibrationSource.FOLDER, 20, 20, 3)
    assert (images.skipped, images.notes) == ((), ())
    json.dumps([images.source, images.digest])


def test_choice_depends_on_the_seed_alone(tmp_path):
    first = from_folder(fill(tmp_path / "one", (30, 30)), count=20)
    assert len(set(chosen(first))) == 20
    again = from_folder(
        fill(tmp_path / "two", (30, 30), order=-1), count=20
    )  # written in another order, at another place
    assert (chosen(again), again.digest) == (chosen(first), first.digest)
    other = from_folder(tmp_path / "one", count=20, seed=1)
    assert set(chosen(other)) != set(chosen(first))


def test_choice_is_the_same_on_every_machine(tmp_path):
    """Recorded once: it changes only when the way of choosing does, and that belongs into the changelog."""
    images = from_folder(fill(tmp_path, (3, 3, 3, 3)), count=6)
    assert chosen(images) == RECORDED_CHOICE


@pytest.mark.parametrize(
    ("counts", "asked", "expected"),
    [
        ((30, 30, 30, 30), 20, {0: 5, 1: 5, 2: 5, 3: 5}),
        ((30, 1, 30, 30), 13, {0: 4, 1: 1, 2: 4, 3: 4}),
        ((2, 100, 2), 12, {0: 2, 1: 8, 2: 2}),
    ],
)
def test_classes_have_even_shares(tmp_path, counts, asked, expected):
    images = from_folder(fill(tmp_path, counts), count=asked)
    assert Counter(number for number, _ in chosen(images)) == expected


def test_more_classes_than_images(tmp_path):
    images = from_folder(fill(tmp_path, (9, 9, 9, 9)), count=3)
    assert len({number for number, _ in chosen(images)}) == 3


@pytest.mark.parametrize("nested", ["", "a/b/c/"])
def test_flat_and_nested_folders(tmp_path, nested):
    for index in range(12):
        photo(tmp_path / f"{nested}{index}.png", 0, index)
    assert from_folder(tmp_path, count=12).count == 12


def test_broken_photo_is_named_and_replaced_from_its_folder(tmp_path):
    fill(tmp_path, (40, 40, 40))
    for index in range(20):
        (tmp_path / "bee" / f"{index}.png").write_bytes(b"no pixels")
    images = from_folder(tmp_path, count=60)
    assert Counter(number for number, _ in chosen(images)) == {0: 20, 1: 20, 2: 20}
    assert len(set(chosen(images))) == 60
    assert images.skipped
    assert all(str(tmp_path / "bee") in line for line in images.skipped)
    assert images.notes == tuple(f"skipped: {line}" for line in images.skipped)


def test_one_broken_photo_among_just_enough_good_ones(tmp_path):
    fill(tmp_path, (6, 5))
    (tmp_path / "ant" / "2.png").write_bytes(b"")
    images = from_folder(tmp_path, count=11)
    assert (images.count, images.requested) == (10, 11)
    assert len(images.skipped) == 1
    assert str(tmp_path / "ant" / "2.png") in images.skipped[0]
    assert images.notes[-1] == "calibrating with 10 images: 11 were asked for"


def test_too_few_photos_is_an_error(tmp_path):
    with pytest.raises(SpecError, match=r"at least 10 usable photos. Received: 9 in"):
        from_folder(fill(tmp_path, (5, 4)))


def test_too_few_usable_photos_names_a_broken_one(tmp_path):
    fill(tmp_path, (10,))
    (tmp_path / "ant" / "4.png").write_bytes(b"")
    with pytest.raises(SpecError, match=r"Received: 9 .* and 1 broken ones \(first: .*4\.png"):
        from_folder(tmp_path)


def test_fewer_photos_than_ten_only_when_asked_for(tmp_path):
    fill(tmp_path, (3,))
    assert from_folder(tmp_path, count=3).count == 3
    with pytest.raises(SpecError, match=r"at least 4 usable photos. Received: 3"):
        from_folder(tmp_path, count=4)


def test_digest_covers_pixels_and_preprocessing_not_dates(tmp_path):
    fill(tmp_path, (10,))
    digest = from_folder(tmp_path, count=10).digest
    assert len(digest) == 64
    os.utime(tmp_path / "ant" / "0.png", (1, 1))
    assert from_folder(tmp_path, count=10).digest == digest
    assert from_folder(tmp_path, count=10, resolution_px=27).digest != digest
    assert from_folder(tmp_path, count=10, channels=1).digest != digest
    photo(tmp_path / "ant" / "0.png", 0, 1)
    assert from_folder(tmp_path, count=10).digest != digest


def test_digest_covers_the_preprocessing_itself(tmp_path, monkeypatch):
    fill(tmp_path, (10,))  # of one colour each: no geometry changes their pixels
    digest = from_folder(tmp_path, count=10).digest
    monkeypatch.setattr("mnet_deploy.images.CROP_FRACTION", 0.5)
    assert from_folder(tmp_path, count=10).digest != digest


def test_progress_ends_at_the_total(tmp_path):
    calls = []
    from_folder(fill(tmp_path, (40,)), count=40, on_progress=lambda done, total: calls.append((done, total)))
    assert calls[-1] == (40, 40)
    assert calls == sorted(calls)


@pytest.mark.parametrize("make", [calibration.generated, calibration.noise])
@pytest.mark.parametrize("options", [{"count": 0}, {"count": 10_001}, {"seed": -1}])
def test_options_out_of_range(make, options):
    with pytest.raises(SpecError, match=str(next(iter(options.values())))):
        make(resolution_px=32, **options)


def test_photos_have_one_or_three_channels(tmp_path):
    with pytest.raises(SpecError, match="4 input channels"):
        from_folder(fill(tmp_path, (10,)), channels=4)


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
@pytest.mark.parametrize("source", ["generated", "noise"])
def test_images_without_photos_for_any_channel_count(source, channels):
    make = getattr(calibration, source)
    images = make(count=4, resolution_px=33, channels=channels)
    assert images.pixels.shape == (4, 33, 33, channels)
    assert images.source is CalibrationSource(source)
    assert images.digest == make(count=4, resolution_px=33, channels=channels).digest
    assert images.digest != make(count=4, resolution_px=33, channels=channels, seed=1).digest
    more = make(count=6, resolution_px=33, channels=channels)
    np.testing.assert_array_equal(more.pixels[:4], images.pixels)  # a larger set begins with the smaller one
    assert len(np.unique(more.pixels.reshape(6, -1), axis=0)) == 6


@pytest.mark.parametrize("source", ["generated", "noise"])
def test_images_without_photos_are_the_same_on_every_machine(source):
    assert getattr(calibration, source)(count=3, resolution_px=64, seed=7).digest == RECORDED_DIGESTS[source]


def test_noise_is_uniform_and_independent():
    pixels = synthetic_images.uniform_noise(4, seed=0, resolution_px=64, channels=3).astype(float)
    count = pixels.size
    assert abs(pixels.mean() - 127.5) < 4 * 73.9 / count**0.5  # 73.9: the standard deviation of 0..255
    assert abs(np.corrcoef(pixels[:, :, 1:].ravel(), pixels[:, :, :-1].ravel())[0, 1]) < 4 / count**0.5


def test_dead_leaves_look_like_photos_to_a_network():
    """Neighbours alike, channels alike, the whole range of pixel values, and flat areas beside edges."""
    pixels = synthetic_images.dead_leaves(20, seed=0, resolution_px=96, channels=3).astype(float)
    neighbours = np.corrcoef(pixels[:, :, 1:].ravel(), pixels[:, :, :-1].ravel())[0, 1]
    assert 0.8 < neighbours < 0.99  # photos: 0.9 to 0.97 (Simoncelli and Olshausen 2001)
    between_channels = np.corrcoef(pixels[..., 0].ravel(), pixels[..., 1].ravel())[0, 1]
    assert 0.8 < between_channels < 0.97
    assert pixels.std(axis=(1, 2, 3)).min() > 25
    assert (pixels.min(), pixels.max()) == (0, 255)
    steps = np.diff(pixels, axis=2).ravel()
    kurtosis = (steps**4).mean() / (steps**2).mean() ** 2
    assert kurtosis > 5  # 3 for noise; sparse edges are what photos have


def test_radii_follow_the_inverse_cube():
    smallest, largest, draws = 10.0, 1000.0, 20_000
    radii = synthetic_images._radii(synthetic_images._Chance(0, 0), draws, smallest, largest)
    for radius in (12, 20, 50, 200):
        # the integral of r^-3 from `radius` to `largest`, over that from `smallest`
        expected = (radius**-2 - largest**-2) / (smallest**-2 - largest**-2)
        deviation = (expected * (1 - expected) / draws) ** 0.5
        assert (radii >= radius).mean() == pytest.approx(expected, abs=5 * deviation)


def test_real_photos_reach_every_class(imagenet_data):
    images = calibration.from_folder(imagenet_data / "calibration", resolution_px=224)
    assert images.count == 100
    assert images.notes == ()
    assert images.pixels.mean() == pytest.approx(115, abs=15)  # ImageNet: 0.449 * 255
