"""The reference networks as JSON values. Format: `mnet.network-costs/1`; a single one is a `mnet.cost/1`."""

from typing import Any

from mnet_deploy.cost.networks.published import (
    ReferenceFigure,
    count_network,
    reference_figures,
    reference_notes,
)

NETWORKS_FORMAT = "mnet.network-costs/1"


def networks_json() -> dict[str, Any]:
    """Return each network with our counts and the published figures."""
    figures = reference_figures()
    return {
        "format": NETWORKS_FORMAT,
        "networks": [
            {**_counts(name), "published": [_figure(figure) for figure in figures if figure.network == name]}
            for name in dict.fromkeys(figure.network for figure in figures)
        ],
    }


def _counts(name: str) -> dict[str, Any]:
    cost = count_network(name)
    return {
        "name": name,
        "in_shape": list(cost.layers[0].in_shape or ()),
        "macs": cost.macs,
        "params": cost.params,
        "kernels": cost.weight_count,
        "biases": cost.own_bias_count,
        "batch_norm": cost.batch_norm_count,
    }


def _figure(figure: ReferenceFigure) -> dict[str, Any]:
    ours = figure.counted()
    return {
        "source": figure.source,
        "quantity": figure.quantity,
        "unit": figure.unit,
        "published": float(figure.published),
        "ours": None if ours is None else float(ours),
        "explanation": reference_notes()[figure.note] if figure.note else None,
    }
