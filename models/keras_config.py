"""What a Keras model's configuration says beyond its weights: resolution, padding, epsilon, activations."""

from collections.abc import Iterator
from typing import Any

from mnet_deploy.errors import SpecError
from mnet_deploy.spec import LayerKind, ModelSpec, Padding
from mnet_deploy.spec.families import padding_of


def read_config(config: dict[str, Any], found: ModelSpec) -> dict[str, Any]:
    """Return `resolution_px`, `padding` and `epsilon` as far as the configuration gives them.

    Args:
        config: of a `.keras` or whole-model `.h5` file.
        found: the spec that the weights' shapes gave.

    Raises:
        SpecError: an activation or a padding that the family does not have.
    """
    layers = list(_flat_layers(config))
    _check_activations(layers)
    facts: dict[str, Any] = {}
    resolution_px = _input_side(layers)
    if resolution_px is not None:
        facts["resolution_px"] = resolution_px
        facts["padding"] = _padding(layers, found.with_changes(resolution_px=resolution_px))
    epsilons = {layer["epsilon"] for kind, layer in layers if kind == "BatchNormalization" and "epsilon" in layer}
    if len(epsilons) == 1:
        facts["epsilon"] = float(epsilons.pop())
    return facts


def _flat_layers(config: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (class, configuration) of every layer, those of nested models in their place."""
    inner = config.get("config", config)
    for layer in inner.get("layers", ()):
        if isinstance(layer.get("config"), dict) and "layers" in layer["config"]:
            yield from _flat_layers(layer)
        else:
            yield layer["class_name"], layer["config"]


def _check_activations(layers: list[tuple[str, dict[str, Any]]]) -> None:
    for kind, layer in layers:
        if kind == "ReLU" and layer.get("max_value") != 6.0:
            raise SpecError(
                f"the activation of a MobileNet v1 is ReLU6. Received: layer {layer.get('name')} with "
                f"max_value={layer.get('max_value')}. A model with another activation cannot be exported"
            )


def _input_side(layers: list[tuple[str, dict[str, Any]]]) -> int | None:
    for kind, layer in layers:
        shape = layer.get("batch_shape") or layer.get("batch_input_shape") if kind == "InputLayer" else None
        if shape and len(shape) == 4 and isinstance(shape[1], int) and shape[1] == shape[2]:
            return shape[1]
    return None


def _padding(layers: list[tuple[str, dict[str, Any]]], found: ModelSpec) -> Padding:
    """Return the padding rule whose geometry equals the file's at every layer of stride 2."""
    actual = list(_stride2_padding(layers, found.resolution_px))
    for rule in Padding:
        spatial = [layer for layer in found.with_changes(padding=rule).layers() if layer.kind in _SPATIAL]
        if actual == [layer.padding_tlbr for layer in spatial if layer.stride == 2]:
            return rule
    raise SpecError(
        f"the padding at stride 2 must follow one rule ({', '.join(Padding)}). Received: top, left, bottom, right = "
        f"{', '.join(map(str, actual))}"
    )


_SPATIAL = (LayerKind.CONVOLUTION, LayerKind.DEPTHWISE)


def _stride2_padding(layers: list[tuple[str, dict[str, Any]]], side_px: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield the zeros that each layer of stride 2 really reads (top, left, bottom, right)."""
    before, after = 0, 0
    for kind, layer in layers:
        if kind == "ZeroPadding2D":
            before, after = layer["padding"][0]
        elif kind in ("Conv2D", "DepthwiseConv2D"):
            kernel_px, stride = layer["kernel_size"][0], layer["strides"][0]
            if layer["padding"] == "same":
                (before, after), out_px = padding_of("same", side_px, kernel_px=kernel_px, stride=stride)
            else:
                out_px = (side_px + before + after - kernel_px) // stride + 1
            if stride == 2:
                after = max(0, (out_px - 1) * stride + kernel_px - side_px - before)
                yield before, before, after, after
            side_px, before, after = out_px, 0, 0
