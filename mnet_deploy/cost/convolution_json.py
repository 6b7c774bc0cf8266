"""The kinds of convolution, separability and claims as JSON values. Formats: see the constants."""

from collections.abc import Sequence
from dataclasses import asdict
from fractions import Fraction
from typing import Any

from mnet_deploy.cost.convolution_claims import claims
from mnet_deploy.cost.convolution_words import WORDS
from mnet_deploy.cost.convolutions import (
    ConvolutionCost,
    ConvolutionKind,
    ConvolutionShape,
    compare,
    count_convolution,
)
from mnet_deploy.cost.estimate import Precision
from mnet_deploy.cost.separability import Separability

CONVOLUTIONS_FORMAT = "mnet.convolutions/1"
SEPARABILITY_FORMAT = "mnet.separability/1"
CLAIMS_FORMAT = "mnet.convolution-claims/1"


def convolutions_json(shape: ConvolutionShape, precision: Precision, kind: ConvolutionKind | None) -> dict[str, Any]:
    """Return one kind, or all that exist at the shape and why the others do not."""
    left_out: dict[ConvolutionKind, str] = {}
    costs: Sequence[ConvolutionCost] = ()
    if kind is None:
        costs, left_out = compare(shape)
    else:
        costs = (count_convolution(kind, shape),)
    standard_macs = count_convolution(ConvolutionKind.STANDARD, shape).passes.macs
    return {
        "format": CONVOLUTIONS_FORMAT,
        "shape": asdict(shape) | {"groups": shape.group_count},
        "precision": str(precision),
        "kinds": [_cost(cost, precision, standard_macs) for cost in costs],
        "left_out": [{"kind": str(kind), "reason": reason} for kind, reason in left_out.items()],
    }


def separability_json(found: Separability) -> dict[str, Any]:
    """Return what a kernel is made of; numbers that are no whole numbers as floats."""
    return {
        "format": SEPARABILITY_FORMAT,
        "kernel": [_floats(row) for row in found.matrix],
        "separates": found.separates,
        "rank": found.rank,
        "column": _floats(found.column),
        "row": _floats(found.row),
        "kept": found.kept,
    }


def claims_json() -> dict[str, Any]:
    """Return the misprints and half-truths."""
    return {"format": CLAIMS_FORMAT, "claims": [asdict(claim) for claim in claims()]}


def _cost(cost: ConvolutionCost, precision: Precision, standard_macs: int) -> dict[str, Any]:
    return {
        "kind": str(cost.kind),
        "out_shape": list(cost.out_shape),
        "macs": cost.passes.macs,
        "to_standard": cost.passes.macs / standard_macs,
        "params": cost.passes.params,
        "weight_bytes": cost.passes.stored_bytes(precision),
        "activation_bytes": cost.moved_bytes(precision),
        "macs_per_byte": cost.intensity(precision),
        "field_px": cost.field_px,
        **asdict(WORDS[cost.kind]),
        "passes": [
            {
                "name": layer.name,
                "in_shape": list(layer.in_shape or ()),
                "out_shape": list(layer.out_shape or ()),
                "macs": layer.macs,
                "params": layer.params,
                "activation_bytes": layer.moved_bytes(precision),
            }
            for layer in cost.passes.layers
        ],
    }


def _floats(values: Sequence[Fraction] | None) -> list[float] | None:
    return None if values is None else [float(value) for value in values]
