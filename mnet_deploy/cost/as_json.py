"""Cost estimates as JSON values. Formats: `mnet.cost/1` and `mnet.published-costs/1` since 0.1.0."""

from dataclasses import asdict
from typing import Any

from mnet_deploy.cost.estimate import PRECISIONS, CostEstimate, LayerCost, Precision, by_kind, estimate, estimate_layers
from mnet_deploy.cost.grid import cost_grid
from mnet_deploy.cost.published import PublishedFigure, explanations, published_figures
from mnet_deploy.cost.standard import as_standard_convolutions
from mnet_deploy.spec import ModelSpec

COST_FORMAT = "mnet.cost/1"
PUBLISHED_FORMAT = "mnet.published-costs/1"


def spec_json(spec: ModelSpec, precision: Precision) -> dict[str, Any]:
    """Return what `mnet cost` says of a model; `standard_convolution` is null where there is no counterpart."""
    standard = as_standard_convolutions(spec.layers())
    return {
        **cost_json(estimate(spec), precision),
        "spec": spec.to_json(),
        "standard_convolution": None if standard is None else _totals(estimate_layers(standard, title="standard")),
        "grid": [
            {"alpha": alpha, "resolution_px": size, "macs": cost.macs, "params": cost.params}
            for (alpha, size), cost in cost_grid(spec).items()
        ],
    }


def cost_json(cost: CostEstimate, precision: Precision) -> dict[str, Any]:
    """Return one estimate; `precision` is that of the bytes in the layers and kinds, the totals have all."""
    return {
        "format": COST_FORMAT,
        "title": cost.title,
        "precision": str(precision),
        "totals": _totals(cost),
        "by_kind": [
            {"kind": group.title, "layers": len(group.layers), **_counts(group, precision)} for group in by_kind(cost)
        ],
        "layers": [{**asdict(layer), **_counts(layer, precision)} for layer in cost.layers],
        "uncounted": list(cost.uncounted),
    }


def published_json() -> dict[str, Any]:
    """Return the published figures beside ours."""
    return {"format": PUBLISHED_FORMAT, "figures": [_figure(figure) for figure in published_figures()]}


def _totals(cost: CostEstimate) -> dict[str, Any]:
    return {
        "macs": cost.macs,
        "params": cost.params,
        "kernels": cost.weight_count,
        "biases": cost.own_bias_count,
        "batch_norm": cost.batch_norm_count,
        "folded_biases": cost.bias_count,
        "by_precision": {
            str(precision): {
                "weight_bytes": cost.stored_bytes(precision),
                "activation_bytes": cost.moved_bytes(precision),
                "peak_activation_bytes": cost.peak_bytes(precision),
            }
            for precision in PRECISIONS
        },
    }


def _counts(cost: CostEstimate | LayerCost, precision: Precision) -> dict[str, Any]:
    return {
        "macs": cost.macs,
        "params": cost.params,
        "weight_bytes": cost.stored_bytes(precision),
        "activation_bytes": cost.moved_bytes(precision),
    }


def _figure(figure: PublishedFigure) -> dict[str, Any]:
    return {
        "source": figure.source,
        "table": figure.table,
        "row": figure.row,
        "spec": figure.spec.to_json(),
        "layers": list(figure.layers),
        "quantity": str(figure.quantity),
        "unit": figure.unit,
        "published": float(figure.published),
        "ours": float(figure.counted()),
        "explanation": explanations()[figure.note] if figure.note else None,
    }
