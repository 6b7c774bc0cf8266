"""The networks by name, each at the resolution that it was published for."""

from collections.abc import Callable
from dataclasses import dataclass

from mnet_deploy.cost.estimate import CostEstimate
from mnet_deploy.cost.networks import densenet, inception, mobilenets, plain
from mnet_deploy.cost.networks.steps import Steps, layers_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A published network.

    Attributes:
        name: as `mnet cost` takes it.
        build: writes it down for a number of classes.
        resolution_px: side of its input, which has three channels.
    """

    name: str
    build: Callable[[int], Steps]
    resolution_px: int

    def estimate(self, *, resolution_px: int | None = None, classes: int = 1000) -> CostEstimate:
        """Count it for one image; peak memory is not known, as the order of the branches is not."""
        side = resolution_px or self.resolution_px
        layers = tuple(layers_of(self.build(classes), (side, side, 3)))
        return CostEstimate(title=self.name, layers=layers, peak_elements=None)


def _wide_v2(classes: int) -> Steps:
    return mobilenets.mobilenet_v2(1.4, classes)


def _plain_v2(classes: int) -> Steps:
    return mobilenets.mobilenet_v2(1.0, classes)


NETWORKS = {
    network.name: network
    for network in (
        Network(name="alexnet", build=plain.alexnet, resolution_px=227),
        Network(name="vgg_16", build=plain.vgg_16, resolution_px=224),
        Network(name="googlenet", build=inception.googlenet, resolution_px=224),
        Network(name="inception_v3", build=inception.inception_v3, resolution_px=299),
        Network(name="xception", build=inception.xception, resolution_px=299),
        Network(name="densenet_121", build=densenet.densenet_121, resolution_px=224),
        Network(name="squeezenet_1.0", build=plain.squeezenet_1_0, resolution_px=224),
        Network(name="squeezenet_1.1", build=plain.squeezenet_1_1, resolution_px=224),
        Network(name="mobilenet_v2_1.0", build=_plain_v2, resolution_px=224),
        Network(name="mobilenet_v2_1.4", build=_wide_v2, resolution_px=224),
        Network(name="mobilenet_v3_large", build=mobilenets.mobilenet_v3_large, resolution_px=224),
        Network(name="mobilenet_v3_small", build=mobilenets.mobilenet_v3_small, resolution_px=224),
    )
}
