"""Keras to .tflite through TensorFlow's own converter."""

import tempfile
from collections.abc import Iterator

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tensorflow.lite.python.util import modify_model_io_type

from mnet_deploy.cost import Precision
from mnet_deploy.errors import ConversionError
from mnet_deploy.interrupts import raise_if_interrupted
from mnet_deploy.quiet import silenced_native_output

VERSION: str = tf.__version__
KERAS_VERSION: str = keras.__version__
IO_DTYPES = {"int8": tf.int8, "uint8": tf.uint8, "int16": tf.int16}

# Without room for temporary files it falls back to an old way that ends in a TypeError.
_CONVERTER_ERRORS = (AttributeError, OSError, RuntimeError, TypeError, ValueError, tf.errors.OpError)


def convert(model: keras.Model, precision: Precision, calibration: NDArray[np.float32]) -> bytes:
    """Convert a Keras model with a static batch of 1; inputs and outputs stay float.

    Args:
        model: a dynamic batch would leave shape arithmetic in the graph, which LiteRT's CompiledModel fails on.
        precision: `int8` and `int16x8` quantise activations too, with per-channel weights.
        calibration: [images, height, width, channels], normalised; used where activations are quantised.

    Returns:
        The content of the .tflite file.

    Raises:
        ConversionError: the converter failed.
    """
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    if precision is not Precision.FP32:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if precision is Precision.FP16:
        converter.target_spec.supported_types = [tf.float16]
    if precision in _INTEGER_OPS:
        converter.target_spec.supported_ops = [_INTEGER_OPS[precision]]
        converter.representative_dataset = lambda: _one_by_one(calibration)
    try:
        with silenced_native_output():
            content = converter.convert()
    except _CONVERTER_ERRORS as error:
        raise_if_interrupted()
        raise ConversionError(
            f"TensorFlow's converter failed to write {precision}: {error}. If that does not say why: it needs room for "
            f"temporary files in {tempfile.gettempdir()}"
        ) from error
    raise_if_interrupted()  # it swallows Ctrl-C where it saves the model, and goes on in an old way
    return bytes(content)


def with_io(content: bytes, io: str) -> bytes:
    """Return a quantised file that takes and gives integers instead of floats.

    The QUANTIZE and DEQUANTIZE ops at its ends are dropped (int8, int16) or turned into ones between uint8 and int8.
    """
    dtype = IO_DTYPES[io]
    return bytes(modify_model_io_type(content, dtype, dtype))


_INTEGER_OPS = {
    Precision.INT8: tf.lite.OpsSet.TFLITE_BUILTINS_INT8,
    Precision.INT16X8: tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8,
}


def _one_by_one(images: NDArray[np.float32]) -> Iterator[list[NDArray[np.float32]]]:
    for index in range(len(images)):
        yield [images[index : index + 1]]
