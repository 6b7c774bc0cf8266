"""What a model is: the one source of truth from which the builder, the writers and the cost model all work."""

from mnet_deploy.spec.families import layers_of
from mnet_deploy.spec.layer_spec import Activation, LayerKind, LayerSpec
from mnet_deploy.spec.model_spec import DEFAULT_RESOLUTION_PX, Family, ModelSpec, Padding

__all__ = [
    "DEFAULT_RESOLUTION_PX",
    "Activation",
    "Family",
    "LayerKind",
    "LayerSpec",
    "ModelSpec",
    "Padding",
    "layers_of",
]
