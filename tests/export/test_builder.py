from math import prod

import keras
import numpy as np
import pytest

from mnet_deploy.models.builder import build, predict, with_static_batch
from mnet_deploy.models.weights import expected_shapes
from mnet_deploy.spec import Activation, Family, LayerKind, ModelSpec, Padding


def images(spec, count=3, seed=0):
    shape = (count, spec.resolution_px, spec.resolution_px, spec.channels_in)
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)


# At 96 px and 192 px every size is even until the last stride. At 200 px 25 maps to 12 with Keras' padding, at 97 px
# the first size is odd already.
@pytest.mark.parametrize(
    ("alpha", "resolution_px", "classes"), [(0.25, 96, 1000), (0.35, 200, 7), (0.25, 97, 2), (1.1, 33, 3)]
)
def test_the_function_is_that_of_keras_applications(stirred, alpha, resolution_px, classes):
    spec = ModelSpec(alpha=alpha, resolution_px=resolution_px, classes=classes)
    ours = build(spec, stirred(spec))
    theirs = keras.applications.MobileNet((resolution_px, resolution_px, 3), alpha, weights=None, classes=classes)
    assert [array.shape for array in theirs.get_weights()] == [array.shape for array in ours.get_weights()]
    theirs.set_weights(ours.get_weights())
    inputs = images(spec)
    answers = predict(ours, inputs)
    assert answers.shape == (len(inputs), classes)
    assert np.abs(answers - predict(theirs, inputs)).max() <= 1e-5
    assert answers.std(axis=0).max() > 1e-4  # a network that says the same of everything would prove nothing


def test_without_a_top_the_features_are_those_of_keras_applications(stirred):
    spec = ModelSpec(alpha=0.25, resolution_px=64, classes=None)
    ours = build(spec, stirred(spec))
    theirs = keras.applications.MobileNet((64, 64, 3), 0.25, weights=None, include_top=False)
    theirs.set_weights(ours.get_weights())
    inputs = images(spec)
    assert predict(ours, inputs).shape == (3, 2, 2, 256)
    assert np.abs(predict(ours, inputs) - predict(theirs, inputs)).max() <= 1e-5


def test_layers_with_weights_have_keras_own_names():
    spec = ModelSpec(alpha=0.25, resolution_px=96)
    theirs = keras.applications.MobileNet((96, 96, 3), 0.25, weights=None)
    named = [[layer.name for layer in model.layers if layer.weights] for model in (build(spec), theirs)]
    assert named[0] == named[1]


def layers_by_hand(spec, padding):
    """Return the plain Keras model with one rule for the zeros of every 3x3 kernel."""
    layers = keras.layers

    def spatial(make, stride, tensor):
        if padding == "same":
            return make(strides=stride, padding="same", use_bias=False)(tensor)
        return make(strides=stride, padding="valid", use_bias=False)(layers.ZeroPadding2D(1)(tensor))

    def normalised(tensor):
        return layers.ReLU(6.0)(layers.BatchNormalization()(tensor))

    inputs = keras.Input((spec.resolution_px, spec.resolution_px, spec.channels_in))
    tensor = normalised(spatial(lambda **options: layers.Conv2D(8, 3, **options), 2, inputs))
    widths = (16, 32, 32, 64, 64, 128, 128, 128, 128, 128, 128, 256, 256)
    for index, width in enumerate(widths):
        stride = 2 if index in (1, 3, 5, 11) else 1
        tensor = normalised(spatial(lambda **options: layers.DepthwiseConv2D(3, **options), stride, tensor))
        tensor = normalised(layers.Conv2D(width, 1, use_bias=False)(tensor))
    pooled = layers.GlobalAveragePooling2D(keepdims=True)(tensor)
    scores = layers.Reshape((spec.classes,))(layers.Conv2D(spec.classes, 1)(pooled))
    return keras.Model(inputs, layers.Softmax()(scores))


@pytest.mark.parametrize(
    ("padding", "resolution_px", "channels_in"), [("same", 45, 1), ("symmetric", 45, 3), ("symmetric", 64, 4)]
)
def test_other_paddings_and_channels_are_those_of_a_plain_model(stirred, padding, resolution_px, channels_in):
    spec = ModelSpec(alpha=0.25, resolution_px=resolution_px, channels_in=channels_in, classes=5, padding=padding)
    ours, plain = build(spec, stirred(spec)), layers_by_hand(spec, padding)
    plain.set_weights(ours.get_weights())
    inputs = images(spec)
    assert np.abs(predict(ours, inputs) - predict(plain, inputs)).max() <= 1e-5


@pytest.mark.parametrize("family", Family)
@pytest.mark.parametrize(
    ("resolution_px", "padding", "classes"),
    [(45, "keras", None), (45, "same", 1), (50, "symmetric", 5)],
)
def test_the_keras_layers_are_those_of_the_spec(family, resolution_px, padding, classes):
    spec = ModelSpec(family=family, alpha=0.3, resolution_px=resolution_px, padding=padding, classes=classes)
    model = build(spec)
    for layer in spec.layers():
        made = model.get_layer(layer.name)
        shape = (None, *layer.out_shape_hwc) if layer.kind is not LayerKind.SOFTMAX else (None, layer.out_shape_hwc[2])
        assert made.output.shape == shape
        assert made.count_params() == layer.weight_count + layer.own_bias_count
        if layer.batch_norm:
            assert model.get_layer(f"{layer.name}_bn").count_params() == 2 * layer.batch_norm_count  # and statistics
        if layer.activation is Activation.RELU6:
            assert model.get_layer(f"{layer.name}_relu").max_value == 6.0
    trained = sum(prod(weight.shape) for weight in model.trainable_weights)
    counts = [(layer.weight_count, layer.own_bias_count, layer.batch_norm_count) for layer in spec.layers()]
    assert trained == sum(map(sum, counts))


@pytest.mark.parametrize("family", Family)
def test_weights_go_where_they_belong(stirred, family):
    spec = ModelSpec(family=family, alpha=0.25, resolution_px=32, classes=3)
    weights = stirred(spec)
    model = build(spec, weights)
    expected = [array for layer in weights.values() for _, array in layer.arrays()]
    actual = model.get_weights()
    assert len(actual) == len(expected)
    for layer in spec.layers():
        if layer.kind.has_weights:
            assert {name: array.shape for name, array in weights[layer.name].arrays()} == expected_shapes(layer)
            assert (model.get_layer(layer.name).get_weights()[0] == weights[layer.name].kernel).all()
    # The dense families branch, so Keras may list their layers in another order; the others have ours.
    if not family.is_dense:
        assert all((got == wanted).all() for got, wanted in zip(actual, expected, strict=True))


@pytest.mark.parametrize("padding", Padding)
def test_only_layers_whose_zeros_are_neither_same_nor_none_get_a_padding_layer(padding):
    spec = ModelSpec(alpha=0.25, resolution_px=200, padding=padding, classes=None)
    pads = [layer.name for layer in build(spec).layers if isinstance(layer, keras.layers.ZeroPadding2D)]
    # 200 -> 100 -> 50 -> 25 -> 13: SAME at an odd size is symmetric, at an even one it is not
    assert pads == {"symmetric": ["conv1_pad", "conv_pad_2", "conv_pad_4"]}.get(str(padding), [])


def test_a_static_batch_of_one_computes_the_same_with_the_same_weights(stirred):
    spec = ModelSpec(alpha=0.25, resolution_px=32, classes=5)
    model = build(spec, stirred(spec))
    static = with_static_batch(model)
    inputs = images(spec, count=1)
    assert static.input_shape == (1, 32, 32, 3)
    assert static.output_shape == (1, 5)
    assert np.abs(predict(static, inputs) - predict(model, inputs)).max() <= 1e-6
    assert {id(weight) for weight in static.weights} == {id(weight) for weight in model.weights}


def test_many_images_are_predicted_in_their_order(stirred):
    spec = ModelSpec(family="shallow_mobilenet", alpha=0.25, resolution_px=32, classes=5)
    model = build(spec, stirred(spec))
    inputs = images(spec, count=23)
    one_by_one = np.concatenate([predict(model, inputs[index : index + 1]) for index in range(len(inputs))])
    assert np.abs(predict(model, inputs) - one_by_one).max() <= 1e-6
