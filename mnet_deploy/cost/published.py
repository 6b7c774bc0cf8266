"""Published MACs, parameters and sizes beside ours, each difference with its explanation.

The figures lie in `mnet_deploy/data/published_costs.csv`, one a row, as printed in the source that the row names:

    model, channels_in, classes   what we count for it; no classes: the network without its classifier
    layers                        names of the layers that count, `kind:K` for those of a kind; empty: all
    quantity, unit                what the figure says (`Quantity`), in millions (M), KiB, % or single units
    note                          for a figure that differs from ours: the key of `published_notes.csv`
    recount                       for a difference that is a way of counting: the `Recount` that gives the figure
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from functools import cache
from importlib import resources
from math import floor
from typing import Any, Self

from mnet_deploy.cost.estimate import Precision
from mnet_deploy.errors import ResultFormatError
from mnet_deploy.spec import LayerKind, LayerSpec, ModelSpec
from mnet_deploy.spec.text_fields import fields_of_name, fields_of_text
from mnet_deploy.units import KIB

UNITS: dict[str, Fraction] = {
    "": Fraction(1),
    "M": Fraction(10**6),
    "KiB": Fraction(KIB),
    "%": Fraction(1, 100),
}


class Quantity(StrEnum):
    """What a figure says. The shares are parts of the whole model's total."""

    MACS = "macs"
    PARAMS = "params"
    MACS_SHARE = "macs_share"
    KERNELS_SHARE = "kernels_share"
    INT8_FLASH = "int8_flash"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recount:
    """Another way of counting; the default is ours.

    Attributes:
        spec_changes: fields of the spec that differ, as texts.
        without: name of a layer that is left out.
        batch_norm_vectors: values per batch-norm channel that count as parameters; ours are gamma and beta.
        pooling: `additions` counts those of the global pooling as MACs.
        rounding: `down` where the source cut its figure off.
    """

    spec_changes: tuple[tuple[str, str], ...] = ()
    without: str = ""
    batch_norm_vectors: int = 2
    pooling: str = ""
    rounding: str = ""

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Parse `key=value` items; the keys are those of this class and the fields of `ModelSpec`."""
        items = dict(item.split("=") for item in text.split())
        own: dict[str, Any] = {key: items.pop(key) for key in ("without", "pooling", "rounding") if key in items}
        if "batch_norm_vectors" in items:
            own["batch_norm_vectors"] = int(items.pop("batch_norm_vectors"))
        return cls(spec_changes=tuple(items.items()), **own)


OURS = Recount()


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedFigure:
    """A published figure; the fields are those of the file, described above."""

    source: str
    table: str
    row: str
    spec: ModelSpec
    layers: tuple[str, ...]
    quantity: Quantity
    unit: str
    published: str
    note: str
    recount: Recount | None

    def counted(self, how: Recount = OURS) -> Fraction:
        """Return our count in the figure's unit."""
        spec = self.spec.with_changes(**fields_of_text(dict(how.spec_changes)))
        layers = [layer for layer in spec.layers() if layer.name != how.without]
        chosen = [layer for layer in layers if not self.layers or {layer.name, f"kind:{layer.kind}"} & {*self.layers}]
        return _COUNT[self.quantity](chosen, layers, how) / UNITS[self.unit]

    def agrees(self, how: Recount = OURS) -> bool:
        """Return whether our count, rounded as the figure is, prints as the figure."""
        digits = Fraction(10) ** len(self.published.partition(".")[2])
        ours, published = self.counted(how) * digits, Fraction(self.published) * digits
        if how.rounding == "down":
            return floor(ours) == published
        return abs(ours - published) <= Fraction(1, 2)


def _macs(layers: Sequence[LayerSpec], everything: Sequence[LayerSpec], how: Recount) -> Fraction:
    del everything
    pools = [layer for layer in layers if how.pooling == "additions" and layer.kind is LayerKind.GLOBAL_POOL]
    return Fraction(sum(layer.macs for layer in layers) + sum(layer.in_elements for layer in pools))


def _params(layers: Sequence[LayerSpec], everything: Sequence[LayerSpec], how: Recount) -> Fraction:
    del everything
    batch_norm = Fraction(sum(layer.batch_norm_count for layer in layers), 2) * how.batch_norm_vectors
    return batch_norm + sum(layer.weight_count + layer.own_bias_count for layer in layers)


def _macs_share(layers: Sequence[LayerSpec], everything: Sequence[LayerSpec], how: Recount) -> Fraction:
    return _macs(layers, (), how) / _macs(everything, (), how)


def _kernels_share(layers: Sequence[LayerSpec], everything: Sequence[LayerSpec], how: Recount) -> Fraction:
    del how
    return Fraction(sum(layer.weight_count for layer in layers), sum(layer.weight_count for layer in everything))


def _int8_flash(layers: Sequence[LayerSpec], everything: Sequence[LayerSpec], how: Recount) -> Fraction:
    del everything, how
    weights, biases = Precision.INT8.weight_bytes, Precision.INT8.bias_bytes
    return Fraction(sum(layer.weight_count * weights + layer.bias_count * biases for layer in layers))


_COUNT = {
    Quantity.MACS: _macs,
    Quantity.PARAMS: _params,
    Quantity.MACS_SHARE: _macs_share,
    Quantity.KERNELS_SHARE: _kernels_share,
    Quantity.INT8_FLASH: _int8_flash,
}


@cache
def published_figures() -> tuple[PublishedFigure, ...]:
    """Return all figures in the order of the file: by source, then by table."""
    return tuple(_figure(row) for row in _rows("published_costs.csv"))


@cache
def explanations() -> dict[str, str]:
    """Return the sentence of each note."""
    return {row["note"]: row["explanation"] for row in _rows("published_notes.csv")}


def _rows(name: str) -> list[dict[str, str]]:
    text = resources.files("mnet_deploy.data").joinpath(name).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


def _figure(row: dict[str, str]) -> PublishedFigure:
    fields = fields_of_name(row["model"])
    if fields is None:
        raise ResultFormatError(
            f"published_costs.csv must name a model of ours in each row. Received: {row['model']!r}"
        )
    return PublishedFigure(
        source=row["source"],
        table=row["table"],
        row=row["row"],
        spec=ModelSpec(
            **fields, channels_in=int(row["channels_in"]), classes=int(row["classes"]) if row["classes"] else None
        ),
        layers=tuple(row["layers"].split()),
        quantity=Quantity(row["quantity"]),
        unit=row["unit"],
        published=row["published"],
        note=row["note"],
        recount=Recount.from_text(row["recount"]) if row["recount"] else None,
    )
