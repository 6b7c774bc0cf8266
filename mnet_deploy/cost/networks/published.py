"""Published figures of the reference networks beside ours, each difference with its explanation.

The figures lie in `mnet_deploy/data/reference_networks.csv`, one a row, as printed in the source that the row names:

    network       a name of `NETWORKS`, or a model of ours
    quantity      macs, params, or top1: the accuracy on ImageNet, which is not counted but quoted
    unit          M, % or single units
    rounded_to    in the unit, where the source rounds before the point
    note          for a figure that differs from ours: the key of `reference_notes.csv`
    recount       for a difference that is a way of counting: the `Recount` that gives the figure
"""

import csv
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from importlib import resources
from math import floor
from typing import Self

from mnet_deploy.cost.estimate import CostEstimate, estimate
from mnet_deploy.cost.networks.reference import NETWORKS
from mnet_deploy.cost.networks.steps import DENSE, POOL
from mnet_deploy.errors import ResultFormatError
from mnet_deploy.spec import LayerKind, ModelSpec
from mnet_deploy.spec.text_fields import fields_of_name
from mnet_deploy.units import KIB

MEGA = 10**6
MACS, PARAMS, TOP1 = "macs", "params", "top1"
_UNITS = {"": 1, "M": MEGA, "%": 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class Recount:
    """Another way of counting; the default is ours.

    Attributes:
        without_classifier: leaves out the fully connected layers.
        batch_norm_vectors: values per batch-norm channel that count as parameters; ours are gamma and beta.
        times: operations that a MAC counts as.
        other_operations: whether one a bias, two a ReLU and two a pixel under a pooling count too, where the pooling
            steps by two (albanie/convnet-burden, core/burden.m).
        resolution_px: another side of the input; None for the network's own.
        binary_thousands: whether a million is 1024 · 1000.
        cut_off: whether the figure is cut off instead of rounded.
    """

    without_classifier: bool = False
    batch_norm_vectors: int = 2
    times: int = 1
    other_operations: bool = False
    resolution_px: int | None = None
    binary_thousands: bool = False
    cut_off: bool = False

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Parse `key=value` items as the file has them."""
        items = dict(item.split("=") for item in text.split())
        resolution = items.get("resolution")
        return cls(
            without_classifier=items.get("without") == "classifier",
            batch_norm_vectors=int(items.get("batch_norm_vectors", 2)),
            times=int(items.get("times", 1)),
            other_operations=items.get("also") == "bias,relu,pool",
            resolution_px=int(resolution) if resolution else None,
            binary_thousands=items.get("binary_thousands") == "1",
            cut_off=items.get("rounding") == "down",
        )


OURS = Recount()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceFigure:
    """A published figure; the fields are those of the file, described above."""

    network: str
    source: str
    quantity: str
    unit: str
    published: str
    rounded_to: Fraction
    note: str
    recount: Recount | None

    def counted(self, how: Recount = OURS) -> Fraction | None:
        """Return our count in the figure's unit; None for an accuracy."""
        if self.quantity == TOP1:
            return None
        cost = count_network(self.network, how.resolution_px)
        found = _macs(cost, how) if self.quantity == MACS else _params(cost, how)
        unit = Fraction(_UNITS[self.unit]) * (Fraction(KIB, 1000) if how.binary_thousands else 1)
        return found / unit

    def agrees(self, how: Recount = OURS) -> bool:
        """Return whether our count, rounded as the figure is, prints as the figure; an accuracy always does."""
        ours = self.counted(how)
        if ours is None:
            return True
        steps, published = ours / self.rounded_to, Fraction(self.published) / self.rounded_to
        return floor(steps) == published if how.cut_off else abs(steps - published) <= Fraction(1, 2)


@cache
def count_network(name: str, resolution_px: int | None = None) -> CostEstimate:
    """Count a reference network or one of our models by its name.

    Raises:
        ResultFormatError: it is neither.
    """
    if name in NETWORKS:
        return NETWORKS[name].estimate(resolution_px=resolution_px)
    fields = fields_of_name(name)
    if fields is None:
        raise ResultFormatError(f"reference_networks.csv must name networks that we count. Received: {name!r}")
    return estimate(ModelSpec(**fields))


@cache
def reference_figures() -> tuple[ReferenceFigure, ...]:
    """Return all figures in the order of the file: by network, then by source."""
    return tuple(
        ReferenceFigure(
            network=row["network"],
            source=row["source"],
            quantity=row["quantity"],
            unit=row["unit"],
            published=row["published"],
            rounded_to=Fraction(row["rounded_to"] or Fraction(1, 10 ** len(row["published"].partition(".")[2]))),
            note=row["note"],
            recount=Recount.from_text(row["recount"]) if row["recount"] else None,
        )
        for row in _rows("reference_networks.csv")
    )


@cache
def reference_notes() -> dict[str, str]:
    """Return the sentence of each note."""
    return {row["note"]: row["explanation"] for row in _rows("reference_notes.csv")}


def _macs(cost: CostEstimate, how: Recount) -> Fraction:
    left_out = {DENSE, LayerKind.CLASSIFIER} if how.without_classifier else set()
    macs = sum(layer.macs or 0 for layer in cost.layers if layer.kind not in left_out) * how.times
    return Fraction(macs + (_other_operations(cost) if how.other_operations else 0))


def _other_operations(cost: CostEstimate) -> int:
    *hidden, last = cost.layers
    rectified = sum(2 * (layer.out_elements or 0) for layer in hidden if layer.macs)
    biases = sum(layer.out_elements or 0 for layer in (*hidden, last) if layer.own_bias_count)
    pooled = sum(2 * 2 * 2 * (layer.out_elements or 0) for layer in cost.layers if layer.kind == POOL)
    return (
        rectified
        + biases
        + pooled
        + sum(2 * (layer.in_elements or 0) for layer in cost.layers if layer.kind == LayerKind.GLOBAL_POOL)
    )


def _params(cost: CostEstimate, how: Recount) -> Fraction:
    return cost.weight_count + cost.own_bias_count + Fraction(cost.batch_norm_count, 2) * how.batch_norm_vectors


def _rows(name: str) -> list[dict[str, str]]:
    text = resources.files("mnet_deploy.data").joinpath(name).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))
