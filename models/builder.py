"""The Keras model of a spec."""

from collections.abc import Callable

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

from mnet_deploy.models.weights import BATCH_NORM_EPSILON, ModelWeights
from mnet_deploy.spec import Activation, LayerKind, LayerSpec, ModelSpec
from mnet_deploy.spec.families import INPUT_NAME, conv_padding

PREDICT_BATCH = 10

MakeLayer = Callable[..., keras.KerasTensor]  # (layer, *inputs) -> output


def build(
    spec: ModelSpec,
    weights: ModelWeights | None = None,
    *,
    batch_norm_momentum: float = 0.99,
    dropout: float = 0.0,
) -> keras.Model:
    """Build the Keras model whose layers are those of `spec.layers()`.

    Layers that `keras.applications.MobileNet` has carry its names and come in its weight order.

    Args:
        spec: what to build.
        weights: set into the model if given; Keras' own initialisation otherwise.
        batch_norm_momentum: of the moving statistics, for training.
        dropout: share of the pooled features that training leaves out before the classifier.

    Returns:
        A model from [batch, resolution, resolution, channels] float32 to [batch, classes] probabilities, or to the
        last feature map for a spec without classes.
    """

    def convolution(layer: LayerSpec, source: keras.KerasTensor) -> keras.KerasTensor:
        if layer.kind is LayerKind.CLASSIFIER and dropout:
            source = layers.Dropout(dropout, name="dropout")(source)
        return _convolution(layer, source, batch_norm_momentum)

    model = assemble(spec, convolution=convolution)
    if weights is not None:
        set_weights(model, weights)
    return model


def assemble(
    spec: ModelSpec,
    *,
    convolution: MakeLayer,
    after_input: Callable[[keras.KerasTensor], keras.KerasTensor] = lambda tensor: tensor,
) -> keras.Model:
    """Connect the layers of a spec, with `convolution` making those that have weights.

    Args:
        spec: what to build.
        convolution: makes everything from the convolution to its activation.
        after_input: applied to the model's input.
    """
    size = spec.resolution_px
    given = keras.Input((size, size, spec.channels_in), name=INPUT_NAME)
    tensors = {INPUT_NAME: after_input(given)}
    for layer in spec.layers():
        sources = [tensors[name] for name in layer.inputs]
        make = convolution if layer.kind.has_weights else _WITHOUT_WEIGHTS[layer.kind]
        tensors[layer.name] = make(layer, *sources)
    return keras.Model(given, tensors[spec.layers()[-1].name], name=spec.name.replace(".", "_"))


def with_static_batch(model: keras.Model) -> keras.Model:
    """Return the same model for batches of exactly one, sharing its weights.

    Both have short names because every tensor name of a converted file begins with them.
    """
    static_input = keras.Input(batch_shape=(1, *model.input_shape[1:]), name=INPUT_NAME)
    inner = keras.Model(model.inputs, model.outputs[0], name="m")
    return keras.Model(static_input, inner(static_input), name="net")


def predict(model: keras.Model, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    """Run a model on [images, height, width, channels], a few images at a time to keep its memory small."""
    chunks = [inputs[start : start + PREDICT_BATCH] for start in range(0, len(inputs), PREDICT_BATCH)]
    return np.concatenate([model.predict_on_batch(chunk) for chunk in chunks])


def set_weights(model: keras.Model, weights: ModelWeights) -> None:
    """Put weights into a model that `build` made."""
    for name, layer in weights.items():
        arrays = dict(layer.arrays())
        model.get_layer(name).set_weights([arrays[key] for key in ("kernel", "bias") if key in arrays])
        if layer.gamma is not None:
            model.get_layer(f"{name}_bn").set_weights([arrays[k] for k in ("gamma", "beta", "mean", "variance")])


def _convolution(layer: LayerSpec, source: keras.KerasTensor, batch_norm_momentum: float) -> keras.KerasTensor:
    padding, zeros = conv_padding(layer)
    if zeros is not None:
        name = layer.name.replace("_dw_", "_pad_") if "_dw_" in layer.name else f"{layer.name}_pad"
        source = layers.ZeroPadding2D(zeros, name=name)(source)
    options = {"strides": layer.stride, "padding": padding, "use_bias": layer.bias, "name": layer.name}
    if layer.kind is LayerKind.DEPTHWISE:
        output = layers.DepthwiseConv2D(layer.kernel_px, **options)(source)
    else:
        output = layers.Conv2D(layer.out_shape_hwc[2], layer.kernel_px, **options)(source)
    if layer.batch_norm:
        output = layers.BatchNormalization(
            momentum=batch_norm_momentum, epsilon=BATCH_NORM_EPSILON, name=f"{layer.name}_bn"
        )(output)
    if layer.activation is Activation.RELU6:
        output = layers.ReLU(6.0, name=f"{layer.name}_relu")(output)
    return output


def _concatenation(layer: LayerSpec, *sources: keras.KerasTensor) -> keras.KerasTensor:
    return layers.Concatenate(name=layer.name)(list(sources))


def _global_pool(layer: LayerSpec, source: keras.KerasTensor) -> keras.KerasTensor:
    return layers.GlobalAveragePooling2D(keepdims=True, name=layer.name)(source)


def _softmax(layer: LayerSpec, source: keras.KerasTensor) -> keras.KerasTensor:
    flat = layers.Reshape((layer.out_shape_hwc[2],), name="reshape_2")(source)  # Keras' own name for it
    return layers.Activation("softmax", dtype="float32", name=layer.name)(flat)  # also under mixed precision


_WITHOUT_WEIGHTS: dict[LayerKind, MakeLayer] = {
    LayerKind.CONCATENATION: _concatenation,
    LayerKind.GLOBAL_POOL: _global_pool,
    LayerKind.SOFTMAX: _softmax,
}
