"""A checkpoint's function stays the same, or is refused where the family cannot express it."""

import keras
import numpy as np
import pytest

from mnet_deploy.errors import SpecError
from mnet_deploy.models.builder import build
from mnet_deploy.models.load import load_model
from mnet_deploy.spec import ModelSpec

SPEC = ModelSpec(family="shallow_mobilenet", alpha=0.25, resolution_px=64, classes=4)


@pytest.fixture(scope="module")
def model(stirred):
    return build(SPEC, stirred(SPEC))


def from_config(config, model):
    """Return a model of another configuration with the weights of `model`; what those lack stays as it is made."""
    made = keras.Model.from_config(config)
    for layer in made.layers:
        kept = model.get_layer(layer.name).get_weights()
        layer.set_weights([*kept, *layer.get_weights()[len(kept) :]])
    return made


def changed_config(model, change):
    """Return the configuration of a model after `change(class name, layer configuration)` saw every layer."""
    config = model.get_config()
    for layer in config["layers"]:
        change(layer["class_name"], layer["config"])
    return config


# The classifier.


def test_another_class_count_keeps_the_body_and_says_so(stirred, model, tmp_path):
    model.save(tmp_path / "model.keras")
    loaded = load_model(str(tmp_path / "model.keras"), {"classes": 9}, seed=5)
    assert loaded.spec == SPEC.with_changes(classes=9)
    assert (loaded.body_trained, loaded.head_trained, loaded.trained) == (True, False, False)
    assert loaded.notes == (
        "the body is that of model.keras, the classifier of 9 classes is new and random: train it before its answers "
        "mean anything",
    )
    expected = stirred(SPEC)
    head = loaded.weights["conv_preds"]
    assert head.kernel.shape == (1, 1, 256, 9)
    for name in loaded.weights.keys() - {"conv_preds"}:
        assert (loaded.weights[name].kernel == expected[name].kernel).all()
    again = load_model(str(tmp_path / "model.keras"), {"classes": 9}, seed=5).weights["conv_preds"]
    assert (again.kernel == head.kernel).all()


def test_without_a_top_the_classifier_is_left_out_and_that_is_said(model, tmp_path):
    model.save(tmp_path / "model.keras")
    loaded = load_model(str(tmp_path / "model.keras"), {"classes": None})
    assert loaded.spec == SPEC.with_changes(classes=None)
    assert "conv_preds" not in loaded.weights
    assert loaded.trained
    assert "the classifier is left out" in loaded.notes[0]


@pytest.mark.parametrize(
    ("head", "problem"),
    [
        (lambda dense_head: dense_head(8, 3), r"it has 2 layers with weights \(dense"),
        (lambda dense_head: dense_head(3, activation="sigmoid"), "its activation is sigmoid, not softmax"),
        (
            lambda _: [keras.layers.Flatten(), keras.layers.Dense(3)],
            r"its kernel of shape \(1024, 3\) does not read 256",
        ),
        (lambda _: [keras.layers.GlobalMaxPooling2D(), keras.layers.Dense(3)], r".*\(GlobalMaxPooling2D\)"),
    ],
)
def test_a_head_of_another_kind_is_not_taken_for_one_of_ours(with_head, dense_head, tmp_path, head, problem):
    path = tmp_path / "model.keras"
    with_head(head(dense_head)).save(path)
    with pytest.raises(SpecError, match=f"its classifier cannot be kept: {problem}.*--classes N for a new one"):
        load_model(str(path), {})
    assert not load_model(str(path), {"classes": 3}).head_trained
    assert load_model(str(path), {"classes": None}).spec.classes is None


def test_scores_without_a_softmax_are_said(with_head, dense_head, tmp_path):
    path = tmp_path / "model.keras"
    with_head(dense_head(3, activation=None)).save(path)
    assert load_model(str(path), {}).notes == (
        "the file's model gives scores (logits); the exported one gives their softmax",
    )
    with_head([*dense_head(3, activation=None), keras.layers.Softmax()]).save(path)
    assert load_model(str(path), {}).notes == ()


def test_scaling_inside_the_model_is_said(with_head, dense_head, tmp_path):
    path = tmp_path / "model.keras"
    scaling = keras.layers.Rescaling(1 / 127.5, offset=-1, name="scaling")
    with_head(dense_head(3), before=[keras.layers.RandomFlip(), scaling]).save(path)
    (note,) = load_model(str(path), {}).notes
    assert note.startswith("the layer scaling (Rescaling) before the first convolution is left out")
    assert "--normalization" in note


# What changes the function.


def set_epsilon(kind, layer):
    if kind == "BatchNormalization":
        layer["epsilon"] = 1e-2 if layer["name"].endswith("1_bn") else 1e-5


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_other_epsilons_give_the_same_function(difference, model, tmp_path, suffix):
    other = from_config(changed_config(model, set_epsilon), model)
    other.save(tmp_path / f"model{suffix}")
    loaded = load_model(str(tmp_path / f"model{suffix}"), {})
    assert difference(loaded, model) > 1e-4  # otherwise this would prove nothing
    assert difference(loaded, other) <= 1e-6


def test_a_bias_before_a_batch_normalisation_is_kept(difference, model, tmp_path):
    def set_bias(kind, layer):
        if kind in ("Conv2D", "DepthwiseConv2D"):
            layer |= {"use_bias": True, "bias_initializer": "ones"}

    other = from_config(changed_config(model, set_bias), model)
    other.get_layer("conv_preds").set_weights(model.get_layer("conv_preds").get_weights())
    other.save(tmp_path / "model.keras")
    loaded = load_model(str(tmp_path / "model.keras"), {})
    assert difference(loaded, model) > 1e-4
    assert difference(loaded, other) <= 1e-6


def test_frozen_layers_keep_their_order(difference, stirred, tmp_path):
    model = build(SPEC, stirred(SPEC))
    for layer in model.layers[:20]:
        layer.trainable = False
    model.save(tmp_path / "model.h5")
    assert difference(load_model(str(tmp_path / "model.h5"), {}), model) == 0


def alter(name, **changes):
    def change(kind, layer):
        if layer["name"] == name:
            layer.update(changes)

    return change


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        (alter("conv1_relu", max_value=None), "ReLU6.*Received: conv1_relu with max_value=None"),
        (alter("conv1_relu", negative_slope=0.1), "ReLU6.*Received: conv1_relu"),
        (alter("conv_pw_3", activation="relu"), "ReLU6.*Received: conv_pw_3 with activation=relu"),
        (alter("conv_dw_3", padding="valid"), "stride and padding of the 3x3 layers"),
        (alter("conv_dw_3", dilation_rate=(2, 2)), "stride and padding of the 3x3 layers"),
        (alter("conv_dw_4", strides=(1, 1)), "stride and padding of the 3x3 layers"),
    ],
)
def test_a_body_that_computes_something_else_is_refused(model, tmp_path, change, refusal):
    from_config(changed_config(model, change), model).save(tmp_path / "model.keras")
    with pytest.raises(SpecError, match=refusal):
        load_model(str(tmp_path / "model.keras"), {})


def test_an_input_that_is_not_square_is_refused(tmp_path):
    keras.applications.MobileNet((64, 96, 3), 0.25, weights=None, classes=2).save(tmp_path / "model.keras")
    with pytest.raises(SpecError, match=r"square\. Received: a model for 64 x 96 pixels"):
        load_model(str(tmp_path / "model.keras"), {})


@pytest.mark.parametrize("suffix", [".keras", ".weights.h5", ".h5"])
def test_other_networks_are_refused(tmp_path, suffix):
    layers = keras.layers
    small = keras.Sequential([keras.Input((32, 32, 3)), layers.Conv2D(8, 3), layers.Flatten(), layers.Dense(2)])
    for model in (small, keras.applications.MobileNetV2((32, 32, 3), 0.35, weights=None, classes=2)):
        path = tmp_path / f"model{suffix}"
        (model.save_weights if suffix == ".weights.h5" else model.save)(path)
        with pytest.raises(SpecError, match=r"expected the weights of a mobilenet_v1, .* shapes fit none of them"):
            load_model(str(path), {})


def test_networks_without_convolutions_or_weights_are_refused(tmp_path):
    for layer, received in ((keras.layers.Dense(2), "0 convolutions"), (keras.layers.ReLU(), "a file without any")):
        path = tmp_path / "model.keras"
        keras.Sequential([keras.Input((4,)), layer]).save(path)
        with pytest.raises(SpecError, match=received):
            load_model(str(path), {})


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize(("layer", "index", "array"), [("conv_pw_2", 0, "kernel"), ("conv_dw_3_bn", 3, "variance")])
def test_weights_that_are_no_numbers_are_counted_and_named(stirred, tmp_path, bad, layer, index, array):
    model = build(SPEC, stirred(SPEC))
    arrays = model.get_layer(layer).get_weights()
    arrays[index].flat[:3] = bad
    model.get_layer(layer).set_weights(arrays)
    model.save_weights(tmp_path / "model.weights.h5")
    with pytest.raises(SpecError, match=f"3 NaN or infinite values in the {array} of {layer.removesuffix('_bn')}"):
        load_model(str(tmp_path / "model.weights.h5"), {})
