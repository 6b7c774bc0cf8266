"""What a Keras model's configuration says beyond its weights: resolution, geometry, epsilons, activations.

A configuration that the family cannot express is refused: the export would compute something else than the file.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

from mnet_deploy.errors import SpecError
from mnet_deploy.spec import LayerKind, LayerSpec, ModelSpec, Padding
from mnet_deploy.spec.families import padding_of

ConfigLayer = tuple[str, dict[str, Any]]  # class name, configuration
Geometry = tuple[int, tuple[int, int, int, int]]  # stride; zeros at the top, left, bottom, right

_CONVOLUTIONS = ("Conv2D", "DepthwiseConv2D")
_ACTIVATED = (*_CONVOLUTIONS, "Dense", "Activation")
_FAMILY_LAYERS = {
    *_CONVOLUTIONS,
    "Activation",
    "BatchNormalization",
    "Concatenate",
    "Dense",
    "Flatten",
    "GlobalAveragePooling2D",
    "InputLayer",
    "ReLU",
    "Reshape",
    "Softmax",
    "ZeroPadding2D",
}
_TRAINING_ONLY = ("Dropout", "SpatialDropout2D", "GaussianDropout", "GaussianNoise", "Identity", "Random")  # prefixes


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigFacts:
    """What a configuration says.

    Attributes:
        resolution_px: side of the input; None if the model takes any.
        padding: the rule that its 3x3 layers follow.
        epsilons: of each batch normalisation, by layer name.
        head_problem: why its classifier cannot be kept; empty if it can.
        input_notes: what the user should know of the input, a sentence each.
        head_notes: what the user should know of the classifier, if it is kept.
    """

    resolution_px: int | None = None
    padding: Padding | None = None
    epsilons: dict[str, float] = field(default_factory=dict)
    head_problem: str = ""
    input_notes: tuple[str, ...] = ()
    head_notes: tuple[str, ...] = ()


def read_config(config: dict[str, Any] | None, found: ModelSpec) -> ConfigFacts:
    """Return what a configuration says; nothing for a file without one.

    Args:
        config: of a `.keras` or whole-model `.h5` file.
        found: the spec that the weights' shapes gave; its resolution stands in for an input of any size.

    Raises:
        SpecError: a layer, an activation or a padding that the family does not have, or an unreadable configuration.
    """
    if config is None:
        return ConfigFacts()
    try:
        layers = list(flat_layers(config))
        _require_family_body(layers)
        side_px = _input_side(layers)
        return ConfigFacts(
            resolution_px=side_px,
            padding=_padding(layers, found.with_changes(resolution_px=side_px or found.resolution_px)),
            epsilons={layer["name"]: float(layer["epsilon"]) for kind, layer in layers if kind == "BatchNormalization"},
            head_problem=_head_problem(layers),
            input_notes=tuple(_input_notes(layers)),
            head_notes=tuple(_head_notes(layers)),
        )
    except SpecError:
        raise
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise SpecError(f"expected the configuration of a Keras model. Received one without: {error!r}") from error


def flat_layers(config: dict[str, Any]) -> Iterator[ConfigLayer]:
    """Yield (class, configuration) of every layer, those of nested models in their place."""
    inner = config.get("config", config)
    for layer in inner.get("layers", ()):
        if isinstance(layer.get("config"), dict) and "layers" in layer["config"]:
            yield from flat_layers(layer)
        else:
            yield layer["class_name"], layer["config"]


def _require_family_body(layers: Sequence[ConfigLayer]) -> None:
    """Refuse what would make the features others than those of the family; see `_head_problem` for what follows."""
    seen_convolution = False
    for kind, layer in layers[: _head_index(layers)]:
        seen_convolution |= kind in _CONVOLUTIONS
        if seen_convolution and not _is_known(kind):
            raise SpecError(f"a MobileNet v1 has no layer of the class {kind}. Received: {layer.get('name')}")
        allowed = ("linear", "relu6") if kind == "Activation" else ("linear",)
        if kind in _ACTIVATED and layer.get("activation", "linear") not in allowed:
            raise _wrong_activation(layer, f"activation={layer['activation']}")
        if kind == "ReLU" and (layer.get("max_value") != 6 or layer.get("negative_slope") or layer.get("threshold")):
            raise _wrong_activation(layer, f"max_value={layer.get('max_value')}")


def _is_known(kind: str) -> bool:
    return kind in _FAMILY_LAYERS or kind.startswith(_TRAINING_ONLY)


def _wrong_activation(layer: dict[str, Any], received: str) -> SpecError:
    return SpecError(
        f"the activation of a MobileNet v1 is ReLU6, after each batch normalisation. Received: {layer.get('name')} "
        f"with {received}. A model with another activation cannot be exported"
    )


def _head_index(layers: Sequence[ConfigLayer]) -> int:
    """Return where the classifier begins: with the pooling; the end for a model without one."""
    pools = (index for index, (kind, _) in enumerate(layers) if "Pooling" in kind or kind == "Flatten")
    return next(pools, len(layers))


def _head_problem(layers: Sequence[ConfigLayer]) -> str:
    """Return why the classifier is not one that the family has; empty if it is, or if there is none."""
    for kind, layer in layers[_head_index(layers) :]:
        if not _is_known(kind) or kind == "BatchNormalization":
            return f"it has the layer {layer.get('name')} ({kind})"
        activation = "relu" if kind == "ReLU" else layer.get("activation", "linear")
        if activation not in ("linear", "softmax"):
            return f"its activation is {activation}, not softmax"
    return ""


def _input_notes(layers: Sequence[ConfigLayer]) -> Iterator[str]:
    for kind, layer in takewhile(lambda layer: layer[0] not in _CONVOLUTIONS, layers):
        if not _is_known(kind):
            yield (
                f"the layer {layer.get('name')} ({kind}) before the first convolution is left out: say what it does to "
                "the input with --normalization"
            )


def _head_notes(layers: Sequence[ConfigLayer]) -> Iterator[str]:
    head = layers[_head_index(layers) :]
    is_classifier = any(kind in ("Dense", "Conv2D") for kind, _ in head)
    if is_classifier and not any(kind == "Softmax" or layer.get("activation") == "softmax" for kind, layer in head):
        yield "the file's model gives scores (logits); the exported one gives their softmax"


def _input_side(layers: Sequence[ConfigLayer]) -> int | None:
    for kind, layer in layers:
        if kind != "InputLayer":
            continue
        shape: Sequence[Any] = layer.get("batch_shape") or layer.get("batch_input_shape") or ()
        if len(shape) == 4 and shape[1:3] != [None, None]:
            if shape[1] != shape[2]:
                raise SpecError(f"the input must be square. Received: a model for {shape[1]} x {shape[2]} pixels")
            return int(shape[1])
    return None


def _padding(layers: Sequence[ConfigLayer], found: ModelSpec) -> Padding:
    """Return the rule whose geometry is that of the configuration at every 3x3 layer."""
    actual = list(_geometry(layers, found.resolution_px))
    for rule in Padding:
        if actual == list(map(_geometry_of, filter(_is_spatial, found.with_changes(padding=rule).layers()))):
            return rule
    strided = ", ".join(str(zeros) for stride, zeros in actual if stride != 1)
    raise SpecError(
        f"stride and padding of the 3x3 layers must be those of {found.family} and follow one rule "
        f"({', '.join(Padding)}). Received: top, left, bottom, right = {strided or 'nothing'} where the stride is not 1"
    )


def _is_spatial(layer: LayerSpec) -> bool:
    return layer.kind in (LayerKind.CONVOLUTION, LayerKind.DEPTHWISE)


def _geometry_of(layer: LayerSpec) -> Geometry:
    return layer.stride, layer.padding_tlbr


def _geometry(layers: Sequence[ConfigLayer], side_px: int) -> Iterator[Geometry]:
    """Yield the stride of each layer with a kernel larger than 1x1 and the zeros that it really reads."""
    before, after = 0, 0
    for kind, layer in layers:
        if kind == "ZeroPadding2D":
            before, after = layer["padding"][0]
        elif kind in _CONVOLUTIONS:
            kernel_px, stride = layer["kernel_size"][0], layer["strides"][0]
            kernel_px += (kernel_px - 1) * (layer.get("dilation_rate", (1, 1))[0] - 1)
            if layer["padding"] == "same":
                (before, after), out_px = padding_of("same", side_px, kernel_px=kernel_px, stride=stride)
            else:
                out_px = (side_px + before + after - kernel_px) // stride + 1
            if kernel_px > 1:
                after = max(0, (out_px - 1) * stride + kernel_px - side_px - before)
                yield stride, (before, before, after, after)
            side_px, before, after = out_px, 0, 0
