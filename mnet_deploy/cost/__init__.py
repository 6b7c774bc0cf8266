"""What a model costs before it runs: multiply-accumulates, parameters, bytes moved, peak memory."""

from mnet_deploy.cost.estimate import (
    PRECISIONS,
    CostEstimate,
    LayerCost,
    Precision,
    by_kind,
    estimate,
    estimate_layers,
)

__all__ = ["PRECISIONS", "CostEstimate", "LayerCost", "Precision", "by_kind", "estimate", "estimate_layers"]
