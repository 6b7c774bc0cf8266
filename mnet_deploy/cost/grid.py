"""The sixteen published sizes of a model: four widths by four resolutions."""

from mnet_deploy.cost.estimate import CostEstimate, estimate
from mnet_deploy.spec import ModelSpec

GRID_ALPHAS = (1.0, 0.75, 0.5, 0.25)
GRID_RESOLUTIONS_PX = (224, 192, 160, 128)


def cost_grid(spec: ModelSpec) -> dict[tuple[float, int], CostEstimate]:
    """Return the estimates by (alpha, resolution in pixels); everything else is as in `spec`."""
    return {
        (alpha, size): estimate(spec.with_changes(alpha=alpha, resolution_px=size))
        for alpha in GRID_ALPHAS
        for size in GRID_RESOLUTIONS_PX
    }
