"""Which weights a Keras layer owns, by formula from its config and the shape that it reads.

Formulas follow the `build` methods of Keras 3; the weights themselves (an HDF5 file) are not opened.
"""

from collections.abc import Callable

from mnet_deploy.graph_readers.keras_shapes import Config, Shape, channels_of, per_axis


def weight_shapes(kind: str, config: Config, shape: Shape | None) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a layer's weights by role, in Keras' order; empty if it has none or they are not known."""
    weights = _WEIGHTS.get(kind)
    if weights is None or (shape is None and kind != "Embedding"):
        return {}
    found = weights(config, shape or ())
    return {role: tuple(size for size in sizes if size is not None) for role, sizes in found.items() if _known(sizes)}


def _known(sizes: Shape) -> bool:
    return None not in sizes


def _kernel(config: Config, rank: int) -> tuple[int, ...]:
    return per_axis(config["kernel_size"], rank)


def _with_bias(config: Config, weights: dict[str, Shape], width: int | None) -> dict[str, Shape]:
    return weights | ({"bias": (width,)} if config.get("use_bias", True) else {})


def _convolution_weights(config: Config, shape: Shape) -> dict[str, Shape]:
    channels = channels_of(config, shape)
    per_group = None if channels is None else channels // config.get("groups", 1)
    kernel = (*_kernel(config, len(shape) - 2), per_group, config["filters"])
    return _with_bias(config, {"kernel": kernel}, config["filters"])


def _depthwise_weights(config: Config, shape: Shape) -> dict[str, Shape]:
    channels, multiplier = channels_of(config, shape), config.get("depth_multiplier", 1)
    kernel = (*_kernel(config, len(shape) - 2), channels, multiplier)
    return _with_bias(config, {"kernel": kernel}, None if channels is None else channels * multiplier)


def _separable_weights(config: Config, shape: Shape) -> dict[str, Shape]:
    channels, multiplier = channels_of(config, shape), config.get("depth_multiplier", 1)
    rank = len(shape) - 2
    wide = None if channels is None else channels * multiplier
    kernels: dict[str, Shape] = {
        "depthwise_kernel": (*_kernel(config, rank), channels, multiplier),
        "pointwise_kernel": (*(1,) * rank, wide, config["filters"]),
    }
    return _with_bias(config, kernels, config["filters"])


def _transposed_weights(config: Config, shape: Shape) -> dict[str, Shape]:
    kernel = (*_kernel(config, len(shape) - 2), config["filters"], channels_of(config, shape))
    return _with_bias(config, {"kernel": kernel}, config["filters"])


def _dense_weights(config: Config, shape: Shape) -> dict[str, Shape]:
    return _with_bias(config, {"kernel": (shape[-1], config["units"])}, config["units"])


def _normalisation_weights(config: Config, shape: Shape) -> dict[str, Shape]:
    axis = config.get("axis", -1)
    sizes = tuple(shape[each] for each in axis) if isinstance(axis, list) else (shape[axis],)
    roles = {"gamma": config.get("scale", True), "beta": config.get("center", True)}
    return {role: sizes for role, present in roles.items() if present}


def _batch_norm_weights(config: Config, shape: Shape) -> dict[str, Shape]:
    moving = (shape[config.get("axis", -1)],)
    return _normalisation_weights(config, shape) | {"moving_mean": moving, "moving_variance": moving}


def _prelu_weights(config: Config, shape: Shape) -> dict[str, Shape]:
    shared = config.get("shared_axes") or ()
    return {"alpha": tuple(1 if axis in shared else size for axis, size in enumerate(shape) if axis > 0)}


def _recurrent_weights(gates: int, bias_rows: Callable[[Config], int]) -> Callable[[Config, Shape], dict[str, Shape]]:
    def weights(config: Config, shape: Shape) -> dict[str, Shape]:
        units = config["units"]
        kernels: dict[str, Shape] = {
            "kernel": (shape[-1], gates * units),
            "recurrent_kernel": (units, gates * units),
        }
        return _with_bias(config, kernels, bias_rows(config) * gates * units)

    return weights


_WEIGHTS: dict[str, Callable[[Config, Shape], dict[str, Shape]]] = {
    **dict.fromkeys(("Conv1D", "Conv2D", "Conv3D"), _convolution_weights),
    **dict.fromkeys(("DepthwiseConv1D", "DepthwiseConv2D"), _depthwise_weights),
    **dict.fromkeys(("SeparableConv1D", "SeparableConv2D"), _separable_weights),
    **dict.fromkeys(("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose"), _transposed_weights),
    "BatchNormalization": _batch_norm_weights,
    "Dense": _dense_weights,
    "Embedding": lambda config, shape: {"embeddings": (config["input_dim"], config["output_dim"])},
    "GroupNormalization": _normalisation_weights,
    "GRU": _recurrent_weights(3, lambda config: 2 if config.get("reset_after", True) else 1),
    "LayerNormalization": _normalisation_weights,
    "LSTM": _recurrent_weights(4, lambda config: 1),
    "PReLU": _prelu_weights,
    "SimpleRNN": _recurrent_weights(1, lambda config: 1),
}
