"""Accuracies that were published, from `mnet_deploy/data/published_accuracy.csv`.

    release       key of the table that the figure is from (`Release`)
    precision     of ours that it stands for; `published_as` is how the source names it
    top1_pct      percent of ImageNet's 50,000 validation images, as printed; top5_pct likewise, empty if not published
    source        where it can be read

The tables differ by up to 2.6 points for the same checkpoint because each was made with its own preprocessing of the
photos: figures are only to be compared within a table.
"""

import csv
from enum import StrEnum
from functools import cache
from importlib import resources

from mnet_deploy.errors import SpecError
from mnet_deploy.selection.candidate import AccuracyFigure
from mnet_deploy.spec import Family, ModelSpec

_FILE = "published_accuracy.csv"
_Key = tuple[str, Family, float, int, str]


class Release(StrEnum):
    """The tables.

    slim: of TensorFlow's slim models, from which the checkpoints come.
    tflite-hosted: of the same models as TensorFlow Lite hosted them.
    mlperf: MLPerf Inference, open division: measured again by its submitters.
    paper: Howard et al. 2017: eight of the sixteen sizes, without int8, and the paper's two other families.
    """

    SLIM = "slim"
    TFLITE_HOSTED = "tflite-hosted"
    MLPERF = "mlperf"
    PAPER = "paper"


def published_accuracy(spec: ModelSpec, precision: str, release: Release = Release.SLIM) -> AccuracyFigure | None:
    """Return the figure of a model; None if there is none.

    conv_mobilenet and shallow_mobilenet have one each, of the paper, whatever the release. fp16 has those of fp32. The
    number of classes is not looked at: all figures are of ImageNet's 1000.
    """
    same = "fp32" if precision == "fp16" else precision
    source = release if spec.family is Family.MOBILENET_V1 else Release.PAPER
    if spec.channels_in != 3 or spec.classes is None:
        return None
    return _figures().get((source, spec.family, spec.alpha, spec.resolution_px, same))


@cache
def _figures() -> dict[_Key, AccuracyFigure]:
    text = resources.files("mnet_deploy.data").joinpath(_FILE).read_text(encoding="utf-8")
    figures: dict[_Key, AccuracyFigure] = {}
    for row in csv.DictReader(text.splitlines()):
        release, family = Release(row["release"]), Family(row["family"])
        key = (release, family, float(row["alpha"]), int(row["resolution_px"]), row["precision"])
        if key in figures:
            raise SpecError(f"{_FILE}: expected one figure for each model. Received: {key} twice")
        figures[key] = AccuracyFigure(
            top1=float(row["top1_pct"]) / 100,
            top5=float(row["top5_pct"]) / 100 if row["top5_pct"] else None,
            release=release,
            published_as=row["published_as"],
            source=row["source"],
        )
    return figures
