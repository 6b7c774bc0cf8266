"""8-bit pixels to the numbers that a model was trained on."""

import json

import numpy as np
import pytest

from mnet_deploy.errors import SpecError
from mnet_deploy.normalization import Normalization

ALL_PIXELS = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
PIXELS = ALL_PIXELS.astype(float)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("-1..1", PIXELS / 127.5 - 1),
        ("0..1", PIXELS / 255),
        ("0..255", PIXELS),
        ("-128..127", PIXELS - 128),
        ("127.5/127.5", PIXELS / 127.5 - 1),
        ("100/50", (PIXELS - 100) / 50),
    ],
)
def test_text_gives_the_formula(text, expected):
    result = Normalization.parse(text).apply(ALL_PIXELS)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, expected, rtol=1e-6, atol=1e-6)


def test_the_default_is_minus_one_to_one():
    assert Normalization() == Normalization.parse("-1..1")


@pytest.mark.parametrize("text", ["imagenet", "123.675,116.28,103.53/58.395,57.12,57.375"])
def test_mean_and_std_of_each_channel(text):
    pixels = np.random.default_rng(0).integers(0, 256, (2, 3, 4, 3)).astype(np.uint8)
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])  # as torchvision publishes them
    np.testing.assert_allclose(Normalization.parse(text).apply(pixels), (pixels / 255 - mean) / std, atol=1e-5)


@pytest.mark.parametrize("text", ["-1..1", "0..1", "imagenet", "1,2/3,4", "0.125/7"])
def test_text_and_json_are_read_back(text):
    normalization = Normalization.parse(text)
    assert Normalization.parse(str(normalization)) == normalization
    assert Normalization.from_json(json.loads(json.dumps(normalization.to_json()))) == normalization


def test_one_value_holds_for_every_channel():
    assert Normalization.parse("10/20").for_channels(3) == Normalization(mean=(10.0,) * 3, std=(20.0,) * 3)


def test_other_channel_count_is_refused():
    with pytest.raises(SpecError, match=r"for 3 channels. Received: images of 1"):
        Normalization.parse("imagenet").apply(ALL_PIXELS)


UNUSABLE = ["", "grey", "1", "1..", "..", "1..2..3", "1/", "1/2/3", "1,2/3", "1,/2,", "1/0", "1/-2"]
UNUSABLE += ["nan/1", "1/inf", "1..1", "2..1", "-inf..inf", "0..nan"]


@pytest.mark.parametrize("text", UNUSABLE)
def test_unusable_text_is_one_line(text):
    with pytest.raises(SpecError) as caught:
        Normalization.parse(text)
    assert "\n" not in str(caught.value)


def test_units_of_zero_to_one_are_told_with_the_values_to_give():
    with pytest.raises(SpecError, match=r"Try 123\.675,116\.28,103\.53/58\.395,57\.12,57\.375"):
        Normalization.parse("0.485,0.456,0.406/0.229,0.224,0.225")


@pytest.mark.parametrize("fields", [{}, {"mean": [1]}, {"mean": 1, "std": 1}, {"mean": ["a"], "std": [1]}, {"x": [1]}])
def test_saved_fields_are_checked(fields):
    with pytest.raises(SpecError):
        Normalization.from_json(fields)
