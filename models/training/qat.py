"""Quantisation-aware fine-tuning: train against the rounding that an int8 file will have.

The grids are those of the exported file: kernels with batch normalisation folded in, symmetric per output channel with
max|w| / 127; activations after ReLU6 in 256 steps over [0, 6]; the input in 256 steps over the range of normalised
pixels. Rounding passes gradients straight through (Jacob et al. 2018, arXiv 1712.05877). Batch-norm statistics stay
as they are, so the trained weights go back into an ordinary checkpoint.
"""

from typing import Any

import keras
import tensorflow as tf

from mnet_deploy.models.builder import assemble
from mnet_deploy.models.weights import BATCH_NORM_EPSILON, LayerWeights, ModelWeights, expected_shapes
from mnet_deploy.normalization import Normalization
from mnet_deploy.spec import Activation, LayerKind, LayerSpec, ModelSpec
from mnet_deploy.spec.families import conv_padding
from mnet_deploy.spec.layer_spec import RELU6_MAX

KERNEL_STEPS = 127  # int8 without -128: symmetric


@keras.saving.register_keras_serializable("mnet_deploy")
class QuantAwareConvolution(keras.layers.Layer):  # type: ignore[misc]  # Keras ships no type information
    """A convolution that computes what its int8 counterpart will."""

    def __init__(self, layer: LayerSpec, **options: Any) -> None:  # noqa: ANN401 (Keras' own options)
        super().__init__(name=layer.name, **options)
        self._layer = layer
        for array, shape in expected_shapes(layer).items():
            variable = self.add_weight(name=array, shape=shape, trainable=array not in ("mean", "variance"))
            setattr(self, array, variable)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Return the output of the folded, rounded layer."""
        kernel, bias = self._folded()
        padding, zeros = conv_padding(self._layer)
        if zeros is not None:
            inputs = tf.pad(inputs, [(0, 0), *zeros, (0, 0)])
        strides = [1, self._layer.stride, self._layer.stride, 1]
        convolve = tf.nn.depthwise_conv2d if self._layer.kind is LayerKind.DEPTHWISE else tf.nn.conv2d
        output = convolve(inputs, self._rounded(kernel), strides, padding.upper()) + bias
        if self._layer.activation is not Activation.RELU6:
            return output
        return tf.quantization.fake_quant_with_min_max_args(tf.nn.relu6(output), 0.0, RELU6_MAX)

    def _folded(self) -> tuple[tf.Tensor, tf.Tensor]:
        if not self._layer.batch_norm:
            return tf.convert_to_tensor(self.kernel), tf.convert_to_tensor(self.bias)
        factor = self.gamma * tf.math.rsqrt(tf.convert_to_tensor(self.variance) + BATCH_NORM_EPSILON)
        per_channel = factor[:, None] if self._layer.kind is LayerKind.DEPTHWISE else factor
        return self.kernel * per_channel, self.beta - self.mean * factor

    def _rounded(self, kernel: tf.Tensor) -> tf.Tensor:
        channels_last = tf.reshape(kernel, [*kernel.shape[:2], -1, self._layer.out_shape_hwc[2]])
        if self._layer.kind is LayerKind.DEPTHWISE:
            channels_last = kernel[..., 0][:, :, None]
        limit = tf.stop_gradient(tf.reduce_max(tf.abs(channels_last), axis=[0, 1, 2])) + 1e-12  # dead channels stay 0
        rounded = tf.quantization.fake_quant_with_min_max_vars_per_channel(
            channels_last, -limit, limit, narrow_range=True
        )
        return tf.reshape(rounded, kernel.shape)


def build_qat(spec: ModelSpec, weights: ModelWeights, normalization: Normalization) -> keras.Model:
    """Build the model with rounding in it, from [0, 255] pixels normalised by `normalization`."""
    low, high = _input_range(normalization)

    def rounded_input(tensor: keras.KerasTensor) -> keras.KerasTensor:
        return _RoundedInput(low, high, name="input_grid")(tensor)

    def convolution(layer: LayerSpec, source: keras.KerasTensor) -> keras.KerasTensor:
        return QuantAwareConvolution(layer)(source)

    model = assemble(spec, convolution=convolution, after_input=rounded_input)
    for name, layer in weights.items():
        target = model.get_layer(name)
        for array, value in layer.arrays():
            getattr(target, array).assign(value)
    return model


def qat_weights(model: keras.Model, spec: ModelSpec) -> dict[str, LayerWeights]:
    """Return the trained weights of `build_qat`'s model, ready for an ordinary checkpoint."""
    return {
        layer.name: LayerWeights(
            **{
                array: keras.ops.convert_to_numpy(getattr(model.get_layer(layer.name), array))
                for array in expected_shapes(layer)
            }
        )
        for layer in spec.layers()
        if layer.kind.has_weights
    }


class _RoundedInput(keras.layers.Layer):  # type: ignore[misc]  # Keras ships no type information
    def __init__(self, low: float, high: float, **options: Any) -> None:  # noqa: ANN401 (Keras' own options)
        super().__init__(**options)
        self._range = (low, high)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        return tf.quantization.fake_quant_with_min_max_args(inputs, *self._range)


def _input_range(normalization: Normalization) -> tuple[float, float]:
    """Return the smallest and largest normalised pixel of any channel, with 0 among them."""
    low = min((0 - mean) / std for mean, std in zip(normalization.mean, normalization.std, strict=True))
    high = max((255 - mean) / std for mean, std in zip(normalization.mean, normalization.std, strict=True))
    return min(low, 0.0), max(high, 0.0)
