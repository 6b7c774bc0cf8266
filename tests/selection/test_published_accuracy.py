"""The published accuracies: complete, sensible, and those that the sources print."""

import csv
from importlib import resources

import pytest

from mnet_deploy.selection.published_accuracy import Release, published_accuracy
from mnet_deploy.spec import Family, ModelSpec

SIZES = [(alpha, px) for alpha in (1.0, 0.75, 0.5, 0.25) for px in (224, 192, 160, 128)]


def top1(alpha, px, precision="fp32", release=Release.SLIM, family=Family.MOBILENET_V1):
    figure = published_accuracy(ModelSpec(family=family, alpha=alpha, resolution_px=px), precision, release)
    return None if figure is None else round(figure.top1 * 100, 2)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((1.0, 224), 70.9),
        ((0.25, 128), 41.5),
        ((1.0, 224, "int8"), 69.7),
        ((0.25, 128, "int8", Release.TFLITE_HOSTED), 39.5),
        ((0.75, 160, "fp32", Release.MLPERF), 66.38),
        ((0.5, 160, "fp32", Release.PAPER), 60.2),
        ((1.0, 224, "fp32", Release.SLIM, Family.CONV_MOBILENET), 71.7),
        ((1.0, 224, "fp32", Release.SLIM, Family.SHALLOW_MOBILENET), 65.3),
    ],
)
def test_a_figure_is_that_of_its_source(arguments, expected):
    assert top1(*arguments) == expected


@pytest.mark.parametrize("release", [Release.SLIM, Release.TFLITE_HOSTED, Release.MLPERF])
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_three_tables_have_all_sixteen_sizes(release, precision):
    figures = [top1(alpha, px, precision, release) for alpha, px in SIZES]
    assert None not in figures
    for start in range(0, 16, 4):
        assert figures[start : start + 4] == sorted(figures[start : start + 4], reverse=True), "more pixels are better"


@pytest.mark.parametrize(
    "arguments",
    [
        (0.6, 224),
        (1.0, 100),
        (1.0, 224, "int8", Release.PAPER),
        (1.0, 224, "int16x8"),
        (0.5, 224, "fp32", Release.SLIM, Family.CONV_MOBILENET),
        (1.0, 224, "int8", Release.SLIM, Family.SHALLOW_MOBILENET),
        (1.0, 224, "fp32", Release.SLIM, Family.DENSE1_MOBILENET),
    ],
)
def test_what_was_not_published_has_no_figure(arguments):
    assert top1(*arguments) is None


def test_grey_images_and_models_without_a_classifier_have_no_figure():
    assert published_accuracy(ModelSpec(channels_in=1), "fp32") is None
    assert published_accuracy(ModelSpec(classes=None), "fp32") is None


def test_half_precision_has_the_figure_of_single_precision_and_says_so():
    figure = published_accuracy(ModelSpec(), "fp16")
    assert figure == published_accuracy(ModelSpec(), "fp32")
    assert figure.published_as == "fp32"


def test_every_figure_names_its_source():
    text = resources.files("mnet_deploy.data").joinpath("published_accuracy.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(text.splitlines()))
    assert len(rows) == 106
    assert all(len(row["source"]) > 10 for row in rows)
    assert all(30 < float(row["top1_pct"]) < 75 for row in rows)
