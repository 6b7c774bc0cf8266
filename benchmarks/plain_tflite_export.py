"""The yardstick: the shortest plain script from Keras weights and photos to an int8 .tflite of MobileNet v1 1.0-224.

Usage: plain_tflite_export.py WEIGHTS FOLDER OUT.tflite
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from PIL import Image, ImageOps

weights, folder, out = sys.argv[1:]


def photos() -> Iterator[list[np.ndarray]]:
    for path in sorted(Path(folder).rglob("*.jp*g"))[:100]:
        image = ImageOps.fit(Image.open(path).convert("RGB"), (224, 224))
        yield [np.asarray(image, np.float32)[np.newaxis] / 127.5 - 1]


model = keras.applications.MobileNet(weights=weights, input_tensor=keras.Input(batch_shape=(1, 224, 224, 3)))
converter = tf.lite.TFLiteConverter.from_keras_model(model)
converter.optimizations = [tf.lite.Optimize.DEFAULT]
converter.representative_dataset = photos
converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
converter.inference_input_type = converter.inference_output_type = tf.int8
Path(out).write_bytes(converter.convert())
