"""What Keras layers make of a shape, by formula from their configs alone.

Formulas follow the `compute_output_shape` methods of Keras 3. Shapes include the batch; None stands for a
dimension that is not known.
"""

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

Shape = tuple[int | None, ...]
Config = dict[str, Any]

_SAME_SHAPE = frozenset(
    {"Activation", "ReLU", "LeakyReLU", "PReLU", "ELU", "Softmax", "BatchNormalization", "LayerNormalization"}
    | {"GroupNormalization", "UnitNormalization", "Normalization", "Rescaling", "Dropout", "SpatialDropout1D"}
    | {"SpatialDropout2D", "GaussianNoise", "GaussianDropout", "AlphaDropout", "ActivityRegularization", "Identity"}
    | {"Relu", "Relu6", "Sigmoid", "Silu", "HardSigmoid", "HardSilu", "Tanh", "Gelu", "RMSNormalization"}
)
_MERGES = frozenset({"Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum"})


def output_shape(kind: str, config: Config, inputs: Sequence[Shape | None]) -> Shape | None:
    """Return the shape that a layer writes; None if the layer or one of its inputs is not known."""
    known = [shape for shape in inputs if shape is not None]
    if not known or len(known) != len(inputs):
        return None
    if kind in _SAME_SHAPE:
        return known[0]
    if kind in _MERGES:
        return _broadcast(known)
    if kind == "Concatenate":
        return _concatenate(config, known)
    infer = _SHAPES.get(kind)
    return infer(config, known[0]) if infer else None


def spatial_of(config: Config, shape: Shape) -> Shape:
    """Return the dimensions between batch and channels."""
    return shape[2:] if _channels_first(config) else shape[1:-1]


def _channels_first(config: Config) -> bool:
    return config.get("data_format") == "channels_first"


def channels_of(config: Config, shape: Shape) -> int | None:
    """Return the number of channels."""
    return shape[1] if _channels_first(config) else shape[-1]


def _image(config: Config, batch: int | None, spatial: Sequence[int | None], channels: int | None) -> Shape:
    return (batch, channels, *spatial) if _channels_first(config) else (batch, *spatial, channels)


def per_axis(value: int | Sequence[int] | None, rank: int) -> tuple[int, ...]:
    """Return an option as one number an axis; 1 where it is not given."""
    if value is None:
        return (1,) * rank
    return (value,) * rank if isinstance(value, int) else tuple(value)


def _window(size: int | None, kernel: int, stride: int, dilation: int, padding: str) -> int | None:
    if size is None:
        return None
    if padding in ("same", "causal"):
        return -(-size // stride)
    return max(0, (size - (kernel - 1) * dilation - 1) // stride + 1)


def _slide(config: Config, shape: Shape, kernel: int | Sequence[int], channels: int | None) -> Shape:
    """Return the shape that a window leaves which is moved over the image: convolutions and pools."""
    spatial = spatial_of(config, shape)
    rank = len(spatial)
    sizes = per_axis(kernel, rank)
    strides = per_axis(config.get("strides"), rank)
    dilations = per_axis(config.get("dilation_rate"), rank)
    padding = config.get("padding", "valid")
    moved = [_window(*each, padding) for each in zip(spatial, sizes, strides, dilations, strict=True)]
    return _image(config, shape[0], moved, channels)


def _convolution(config: Config, shape: Shape) -> Shape:
    return _slide(config, shape, config["kernel_size"], config["filters"])


def _depthwise(config: Config, shape: Shape) -> Shape:
    channels = channels_of(config, shape)
    wide = None if channels is None else channels * config.get("depth_multiplier", 1)
    return _slide(config, shape, config["kernel_size"], wide)


def _pool(config: Config, shape: Shape) -> Shape:
    strides = config.get("strides") or config["pool_size"]
    return _slide(config | {"strides": strides}, shape, config["pool_size"], channels_of(config, shape))


def _transposed(config: Config, shape: Shape) -> Shape | None:
    spatial = spatial_of(config, shape)
    rank = len(spatial)
    kernels, strides = per_axis(config["kernel_size"], rank), per_axis(config.get("strides"), rank)
    dilations = per_axis(config.get("dilation_rate"), rank)
    if config.get("output_padding") is not None:
        return None  # rare, and the formula has three cases
    grown = []
    for size, kernel, stride, dilation in zip(spatial, kernels, strides, dilations, strict=True):
        reach = (kernel - 1) * dilation + 1
        extra = 0 if config.get("padding") == "same" else max(reach - stride, 0)
        grown.append(None if size is None else size * stride + extra)
    return _image(config, shape[0], grown, config["filters"])


def _global_pool(config: Config, shape: Shape) -> Shape:
    channels = channels_of(config, shape)
    if config.get("keepdims"):
        return _image(config, shape[0], [1] * (len(shape) - 2), channels)
    return (shape[0], channels)


def _zero_padding(config: Config, shape: Shape) -> Shape:
    spatial = spatial_of(config, shape)
    pads = config["padding"]
    pads = [pads] if len(spatial) == 1 else pads
    added = [sum(per_axis(pad, 2)) for pad in pads]
    grown = [None if size is None else size + more for size, more in zip(spatial, added, strict=True)]
    return _resized(config, shape, grown)


def _cropping(config: Config, shape: Shape) -> Shape:
    crops = config["cropping"]
    crops = [crops] if len(shape) == 3 else crops
    negative = [[-crop for crop in per_axis(pair, 2)] for pair in crops]
    return _zero_padding(config | {"padding": negative[0] if len(shape) == 3 else negative}, shape)


def _up_sampling(config: Config, shape: Shape) -> Shape:
    spatial = spatial_of(config, shape)
    factors = per_axis(config["size"], len(spatial))
    grown = [None if size is None else size * factor for size, factor in zip(spatial, factors, strict=True)]
    return _resized(config, shape, grown)


def _resizing(config: Config, shape: Shape) -> Shape:
    return _resized(config, shape, [config["height"], config["width"]])


def _resized(config: Config, shape: Shape, spatial: Sequence[int | None]) -> Shape:
    return _image(config, shape[0], spatial, channels_of(config, shape))


def _flatten(config: Config, shape: Shape) -> Shape:
    del config
    return (shape[0], _product(shape[1:]))


def _reshape(config: Config, shape: Shape) -> Shape:
    target = tuple(config["target_shape"])
    if -1 not in target:
        return (shape[0], *target)
    total, rest = _product(shape[1:]), -prod(target)
    fill = None if total is None or rest <= 0 else total // rest
    return (shape[0], *(fill if size == -1 else size for size in target))


def _permute(config: Config, shape: Shape) -> Shape:
    return (shape[0], *(shape[axis] for axis in config["dims"]))


def _product(sizes: Sequence[int | None]) -> int | None:
    return None if None in sizes else prod(size or 0 for size in sizes)


def _broadcast(shapes: Sequence[Shape]) -> Shape | None:
    longest = max(shapes, key=len)
    if any(len(shape) != len(longest) for shape in shapes):
        return None
    return tuple(_widest(sizes) for sizes in zip(*shapes, strict=True))


def _widest(sizes: Sequence[int | None]) -> int | None:
    wide = {size for size in sizes if size != 1}
    return 1 if not wide else (wide.pop() if len(wide) == 1 else None)


def _concatenate(config: Config, shapes: Sequence[Shape]) -> Shape | None:
    rank = len(shapes[0])
    if any(len(shape) != rank for shape in shapes):
        return None
    axis = config.get("axis", -1) % rank
    joined = [shape[axis] for shape in shapes]
    total = None if None in joined else sum(size or 0 for size in joined)
    return (*shapes[0][:axis], total, *shapes[0][axis + 1 :])


def _sequence(config: Config, shape: Shape) -> Shape:
    return (*shape[:2], config["units"]) if config.get("return_sequences") else (shape[0], config["units"])


_SHAPES: dict[str, Callable[[Config, Shape], Shape | None]] = {
    **dict.fromkeys(("Conv1D", "Conv2D", "Conv3D", "SeparableConv1D", "SeparableConv2D"), _convolution),
    **dict.fromkeys(("DepthwiseConv1D", "DepthwiseConv2D"), _depthwise),
    **dict.fromkeys(("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose"), _transposed),
    **{f"{which}Pooling{rank}D": _pool for which in ("Max", "Average") for rank in (1, 2, 3)},
    **{f"Global{which}Pooling{rank}D": _global_pool for which in ("Max", "Average") for rank in (1, 2, 3)},
    **{f"ZeroPadding{rank}D": _zero_padding for rank in (1, 2, 3)},
    **{f"Cropping{rank}D": _cropping for rank in (1, 2, 3)},
    **{f"UpSampling{rank}D": _up_sampling for rank in (1, 2, 3)},
    **dict.fromkeys(("LSTM", "GRU", "SimpleRNN"), _sequence),
    "Dense": lambda config, shape: (*shape[:-1], config["units"]),
    "Embedding": lambda config, shape: (*shape, config["output_dim"]),
    "Flatten": _flatten,
    "Permute": _permute,
    "RepeatVector": lambda config, shape: (shape[0], config["n"], shape[-1]),
    "Reshape": _reshape,
    "Resizing": _resizing,
}
