"""Files with random weights to read, inspect and count; none has a sidecar."""

import os
import warnings
from math import prod

import numpy as np
import pytest

from mnet_deploy.spec import Activation, LayerKind, ModelSpec

CALIBRATION_IMAGES = 4


@pytest.fixture(scope="session")
def spec():
    return ModelSpec(alpha=0.25, resolution_px=128)


@pytest.fixture(scope="session")
def tf():
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    return pytest.importorskip("tensorflow", reason="needs TensorFlow: pip install 'mnet-deploy[export]'")


@pytest.fixture(scope="session")
def keras(tf):
    return pytest.importorskip("keras", reason="needs Keras: pip install 'mnet-deploy[export]'")


@pytest.fixture(scope="session")
def onnx():
    return pytest.importorskip("onnx", reason="needs ONNX: pip install 'mnet-deploy[onnx]'")


@pytest.fixture(scope="session")
def models(keras):
    """Return Keras models by name: one of the family and two that our spec knows nothing of."""
    keras.utils.set_random_seed(0)
    return {
        "mobilenet": keras.applications.MobileNet(input_shape=(128, 128, 3), alpha=0.25, weights=None),
        "mobilenet_v2": keras.applications.MobileNetV2(input_shape=(96, 96, 3), alpha=0.35, weights=None),
        "mixed": mixed_network(keras),
    }


def mixed_network(keras):
    """Return a network with every kind of layer that has MACs, shortcuts, and a batch norm that cannot be folded."""
    layers = keras.layers
    image = keras.Input((32, 40, 4))
    stem = layers.Conv2D(8, (3, 5), strides=2, padding="same", use_bias=False)(image)
    stem = layers.ReLU()(layers.BatchNormalization(name="folded")(stem))
    grouped = layers.Conv2D(12, 3, groups=2, padding="same", name="grouped")(stem)
    dilated = layers.Conv2D(12, 3, dilation_rate=2, padding="same", name="dilated", activation="relu")(stem)
    normal = {"beta_initializer": "random_normal", "gamma_initializer": "random_normal"}  # 0 and 1 would be left out
    joined = layers.BatchNormalization(name="kept", **normal)(layers.Add()([grouped, dilated]))
    depthwise = layers.DepthwiseConv2D(3, depth_multiplier=2, padding="valid", name="depthwise")(joined)
    separable = layers.SeparableConv2D(10, 3, strides=2, name="separable")(depthwise)
    wide = layers.Conv2DTranspose(6, 3, strides=2, padding="same", name="transposed")(separable)
    joined = layers.Concatenate()([layers.MaxPooling2D(2)(wide), separable])
    dense = layers.Dense(7, name="per_pixel")(joined)
    return keras.Model(image, layers.Dense(5, activation="softmax", name="head")(layers.Flatten()(dense)), name="mixed")


@pytest.fixture(scope="session")
def reference():
    """Return functions that count a Keras model from its built layers: MACs, kernel elements, trained parameters."""
    return {"macs": keras_macs, "weight_count": keras_kernel_elements, "params": keras_params}


def keras_macs(model):
    return sum(macs_of(layer) for layer in model.layers)


def macs_of(layer):
    """Return kernel elements times pixels written; for a transposed convolution times pixels read."""
    kind = type(layer).__name__
    if kind == "Conv2DTranspose":
        return prod(layer.kernel.shape) * prod(layer.input.shape[1:3])
    if kind == "SeparableConv2D":
        elements = prod(layer.depthwise_kernel.shape) + prod(layer.pointwise_kernel.shape)
        return elements * prod(layer.output.shape[1:3])
    return prod(layer.kernel.shape) * prod(layer.output.shape[1:-1]) if hasattr(layer, "kernel") else 0


def keras_kernel_elements(model):
    return sum(prod(weight.shape) for weight in model.trainable_weights if "kernel" in weight.path.rpartition("/")[2])


def keras_params(model):
    return sum(prod(weight.shape) for weight in model.trainable_weights)


@pytest.fixture(scope="session")
def files(tmp_path_factory, models, tf):
    """Return a path by name and format: `mobilenet.keras`, `mobilenet_int8.tflite`, ..."""
    folder = tmp_path_factory.mktemp("graphs")
    for name, model in models.items():
        model.save(folder / f"{name}.keras")
        for precision in ("fp32", "int8", "fp16", "dynamic") if name == "mobilenet" else ("fp32", "int8"):
            (folder / f"{name}_{precision}.tflite").write_bytes(converted(tf, model, precision))
    return {path.name: path for path in folder.iterdir()}


def converted(tf, model, precision):
    """Return a .tflite with a static batch of one; frozen first, which converts many times faster."""
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    shape = (1, *model.input.shape[1:])
    call = tf.function(lambda image: model(image, training=False)).get_concrete_function(tf.TensorSpec(shape))
    converter = tf.lite.TFLiteConverter.from_concrete_functions([convert_variables_to_constants_v2(call)])
    images = np.random.default_rng(0).uniform(-1, 1, (CALIBRATION_IMAGES, *shape)).astype("float32")
    if precision != "fp32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if precision == "fp16":
        converter.target_spec.supported_types = [tf.float16]
    if precision == "int8":
        converter.representative_dataset = lambda: ([one] for one in images)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8
    with warnings.catch_warnings():
        # The converter warns of what it asks of nobody: ranges come from the calibration images.
        warnings.filterwarnings("ignore", "Statistics for quantized inputs", UserWarning)
        return converter.convert()


@pytest.fixture(scope="session")
def onnx_files(tmp_path_factory, spec, onnx):
    """Return the family's network by how it is written: float with and without batch norm, and quantised three ways."""
    folder = tmp_path_factory.mktemp("onnx")
    for name, batch_norm in (("folded", False), ("batch_norm", True)):
        onnx.save(onnx_network(onnx, spec, batch_norm=batch_norm), folder / f"{name}.onnx")
    return {path.stem: path for path in folder.iterdir()} | quantised_networks(folder)


def onnx_network(onnx, spec, *, batch_norm):
    """Return a spec as ONNX with random weights: Conv, optionally BatchNormalization, Clip; NCHW."""
    helper, random = onnx.helper, np.random.default_rng(0)
    limits = {"low": 0, "high": 6}
    stored = [onnx.numpy_helper.from_array(np.float32(value), name) for name, value in limits.items()]
    nodes = []

    def weight(name, *shape):
        values = random.uniform(0.1, 1, shape) if name.endswith("_variance") else random.normal(0, 0.1, shape)
        stored.append(onnx.numpy_helper.from_array(values.astype("float32"), name))
        return name

    for layer in spec.layers():
        name, (read,) = layer.name, layer.inputs
        _, _, channels = layer.out_shape_hwc
        if layer.kernel_shape:
            height, width, channels_in, _ = layer.kernel_shape
            top, left, bottom, right = layer.padding_tlbr
            inputs = [read, weight(f"{name}_kernel", channels, channels_in, height, width)]
            if layer.bias or not batch_norm:
                inputs.append(weight(f"{name}_bias", channels))
            options = {"strides": [layer.stride] * 2, "group": layer.groups, "pads": [top, left, bottom, right]}
            last = name if layer.activation is Activation.NONE else f"{name}_sum"
            convolved = f"{name}_conv" if layer.batch_norm and batch_norm else last
            nodes.append(helper.make_node("Conv", inputs, [convolved], **options))
            if convolved != last:
                roles = ("scale", "shift", "mean", "variance")
                reads = [convolved, *(weight(f"{name}_{role}", channels) for role in roles)]
                nodes.append(helper.make_node("BatchNormalization", reads, [last]))
            if last != name:
                nodes.append(helper.make_node("Clip", [last, "low", "high"], [name]))
        elif layer.kind is LayerKind.GLOBAL_POOL:
            nodes.append(helper.make_node("GlobalAveragePool", [read], [name]))
        else:
            nodes.append(helper.make_node("Flatten", [read], ["flat"]))
            nodes.append(helper.make_node("Softmax", ["flat"], [name]))
    size = spec.resolution_px
    first, last = spec.layers()[0], spec.layers()[-1]
    image = helper.make_tensor_value_info(first.inputs[0], onnx.TensorProto.FLOAT, [1, spec.channels_in, size, size])
    scores = helper.make_tensor_value_info(last.name, onnx.TensorProto.FLOAT, [1, spec.classes])
    graph = helper.make_graph(nodes, "mobilenet", [image], [scores], stored)
    opset = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opset, ir_version=8, producer_name="a test")


def quantised_networks(folder):
    """Quantise `folded.onnx` with ONNX Runtime: QDQ, QLinear ops, and ConvInteger."""
    reason = "needs ONNX Runtime: pip install 'mnet-deploy[onnx]'"
    quantization = pytest.importorskip("onnxruntime.quantization", reason=reason)

    class Images(quantization.CalibrationDataReader):
        def __init__(self):
            shape = (CALIBRATION_IMAGES, 1, 3, 128, 128)
            images = np.random.default_rng(0).uniform(-1, 1, shape).astype("float32")
            self.left = [{"input": image} for image in images]

        def get_next(self):
            return self.left.pop() if self.left else None

    source, found = folder / "folded.onnx", {}
    for name, style in (("qdq", quantization.QuantFormat.QDQ), ("qoperator", quantization.QuantFormat.QOperator)):
        found[name] = folder / f"{name}.onnx"
        quantization.quantize_static(source, found[name], Images(), quant_format=style, per_channel=True)
    found["dynamic"] = folder / "dynamic.onnx"
    quantization.quantize_dynamic(source, found["dynamic"])
    return found
