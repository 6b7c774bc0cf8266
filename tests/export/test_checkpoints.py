"""Files that Keras wrote, now and in the past: the spec is found and the function stays the same."""

import hashlib
import json
from dataclasses import replace

import h5py
import keras
import numpy as np
import pytest

from mnet_deploy.errors import SpecError
from mnet_deploy.models.builder import build, predict
from mnet_deploy.models.checkpoint_files import Checkpoint, StoredLayer, read_checkpoint
from mnet_deploy.models.checkpoint_match import infer_spec, match_weights
from mnet_deploy.models.load import load_model
from mnet_deploy.models.weights import expected_shapes
from mnet_deploy.spec import Family, LayerKind, ModelSpec

SPEC = ModelSpec(family="shallow_mobilenet", alpha=0.25, resolution_px=64, classes=4)
MOBILENET = ModelSpec(alpha=0.25, resolution_px=64, classes=4)


@pytest.fixture(scope="module")
def model(stirred):
    return build(SPEC, stirred(SPEC))


def images(spec):
    shape = (2, spec.resolution_px, spec.resolution_px, spec.channels_in)
    return np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)


def difference(loaded, model):
    """Return how far the outputs of a model made from a checkpoint are from those of the model that wrote it."""
    inputs = images(loaded.spec)
    return np.abs(predict(build(loaded.spec, loaded.weights), inputs) - predict(model, inputs)).max()


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


# What Keras 3 writes.


@pytest.mark.parametrize("suffix", [".keras", ".weights.h5", ".h5"])
def test_what_keras_writes_is_read_exactly(stirred, model, tmp_path, suffix):
    path = tmp_path / f"model{suffix}"
    (model.save_weights if suffix == ".weights.h5" else model.save)(path)
    overrides = {"resolution_px": 64} if suffix == ".weights.h5" else {}  # weights alone do not say it
    loaded = load_model(str(path), overrides)
    assert loaded.spec == SPEC
    assert (loaded.origin, loaded.path, loaded.trained, loaded.notes) == (path.name, path, True, ())
    expected = stirred(SPEC)
    assert list(loaded.weights) == list(expected)
    for name, layer in expected.items():
        found = dict(loaded.weights[name].arrays())
        assert all((found.pop(key) == array).all() for key, array in layer.arrays()), name
        assert found == {}


def test_weights_alone_stand_for_the_default_resolution(model, tmp_path):
    model.save_weights(tmp_path / "model.weights.h5")
    assert load_model(str(tmp_path / "model.weights.h5"), {}).spec == SPEC.with_changes(resolution_px=224)


def test_without_the_names_of_layers_their_order_tells(model, tmp_path):
    # Keras wrote no names before 3.3; MobileNet v1 has more than ten layers of each class: 2 must sort before 10.
    path = tmp_path / "model.weights.h5"
    model.save_weights(path)
    with h5py.File(path, "r+") as file:
        file.visititems(lambda _, item: item.attrs.pop("name", None))
    assert difference(load_model(str(path), {"resolution_px": 64}), model) == 0


@pytest.mark.parametrize("suffix", [".keras", ".weights.h5", ".h5"])
def test_the_state_of_an_optimizer_is_passed_over(stirred, tmp_path, suffix):
    model = build(SPEC, stirred(SPEC))
    model.compile("adam", "categorical_crossentropy", metrics=["accuracy"])
    model.optimizer.build(model.trainable_variables)
    path = tmp_path / f"model{suffix}"
    (model.save_weights if suffix == ".weights.h5" else model.save)(path)
    assert difference(load_model(str(path), {"resolution_px": 64}), model) == 0


def with_head(body, layers, *, sequential=False):
    """Return a user's model: a body as one nested layer, with a head of its own."""
    if sequential:
        return keras.Sequential([keras.Input((64, 64, 3)), body, *layers])
    inputs = tensor = keras.Input((64, 64, 3))
    for layer in (body, *layers):
        tensor = layer(tensor)
    return keras.Model(inputs, tensor)


def dense_head(*units, activation="softmax"):
    pooling = [keras.layers.GlobalAveragePooling2D(), keras.layers.Dropout(0.2)]
    hidden = [keras.layers.Dense(count, activation="relu") for count in units[:-1]]
    return [*pooling, *hidden, keras.layers.Dense(units[-1], activation=activation)]


@pytest.fixture(scope="module")
def body(stirred):
    spec = MOBILENET.with_changes(classes=None)
    body = keras.applications.MobileNet((64, 64, 3), 0.25, include_top=False, weights=None)
    body.set_weights(build(spec, stirred(spec)).get_weights())
    return body


@pytest.mark.parametrize("sequential", [False, True])
@pytest.mark.parametrize("suffix", [".keras", ".weights.h5", ".h5"])
def test_a_body_nested_in_a_users_model_with_a_dense_head_is_found(body, tmp_path, suffix, sequential):
    model = with_head(body, dense_head(3), sequential=sequential)
    path = tmp_path / f"model{suffix}"
    (model.save_weights if suffix == ".weights.h5" else model.save)(path)
    loaded = load_model(str(path), {"resolution_px": 64})
    assert loaded.spec == MOBILENET.with_changes(classes=3)
    assert loaded.trained
    assert difference(loaded, model) <= 1e-6


def test_a_model_of_a_subclass_is_found_in_its_weights(body, tmp_path):
    class Classifier(keras.Model):
        def __init__(self):
            super().__init__()
            self.backbone = body
            self.head = keras.layers.Dense(3, activation="softmax")

        def call(self, inputs):
            return self.head(keras.ops.mean(self.backbone(inputs), axis=(1, 2)))

    model = Classifier()
    model(images(MOBILENET))
    model.save_weights(tmp_path / "model.weights.h5")
    loaded = load_model(str(tmp_path / "model.weights.h5"), {"resolution_px": 64})
    assert difference(loaded, model) <= 1e-6


def renamed(model):
    """Return the same model with other names for its layers."""
    text = json.dumps(model.get_config())
    for old, new in {"conv_dw_": "filter_", "conv_pw_": "mix_", "conv1": "stem", "conv_preds": "head"}.items():
        text = text.replace(f'"{old}', f'"{new}')
    made = keras.Model.from_config(json.loads(text.replace("_bn", "_norm")))
    made.set_weights(model.get_weights())
    return made


@pytest.mark.parametrize("suffix", [".keras", ".weights.h5", ".h5"])
def test_layers_of_other_names_are_found_by_their_shapes_and_order(model, tmp_path, suffix):
    path = tmp_path / f"model{suffix}"
    other = renamed(model)
    (other.save_weights if suffix == ".weights.h5" else other.save)(path)
    loaded = load_model(str(path), {"resolution_px": 64})
    assert loaded.spec == SPEC
    assert difference(loaded, other) == 0


# What Keras 2 wrote.


def keras2_layers(model):
    """Yield (layer name, [(weight name, array)]) as Keras 2 named them."""
    for layer in model.layers:
        names = [weight.name for weight in layer.weights]
        if isinstance(layer, keras.layers.DepthwiseConv2D):
            names = ["depthwise_kernel"]
        arrays = layer.get_weights()
        yield layer.name, [(f"{layer.name}/{name}:0", array) for name, array in zip(names, arrays, strict=True)]


def write_keras2(group, model):
    layers = list(keras2_layers(model))
    group.attrs["layer_names"] = [name.encode() for name, _ in layers]
    group.attrs["backend"] = b"tensorflow"
    for name, weights in layers:
        layer = group.create_group(name)
        layer.attrs["weight_names"] = [weight_name.encode() for weight_name, _ in weights]
        for weight_name, array in weights:
            layer[weight_name] = array


def keras2_config(model):
    """Return a configuration as Keras 2 wrote it: of its arguments, Keras 3 knows not all."""
    layers = []
    for layer in model.layers:
        kind, config = type(layer).__name__, layer.get_config()
        config = {key: value for key, value in config.items() if not isinstance(value, dict)}
        if kind == "InputLayer":
            config = {"batch_input_shape": config["batch_shape"], "dtype": "float32", "name": config["name"]}
        if kind == "DepthwiseConv2D":
            config |= {"groups": 1, "kernel_initializer": {"class_name": "VarianceScaling", "config": {}}}
        layers.append({"class_name": kind, "config": config, "name": layer.name, "inbound_nodes": []})
    return {"class_name": "Functional", "config": {"name": "mobilenet", "layers": layers}}


def test_a_whole_model_of_keras_2_is_read_though_keras_3_cannot(model, tmp_path):
    path = tmp_path / "model.h5"
    with h5py.File(path, "w") as file:
        file.attrs["keras_version"] = b"2.4.0"
        file.attrs["model_config"] = json.dumps(keras2_config(model)).encode()
        write_keras2(file.create_group("model_weights"), model)
        file.create_group("optimizer_weights")["Adam/iter:0"] = 7
    with pytest.raises(Exception, match="groups"):
        keras.models.load_model(path)
    loaded = load_model(str(path), {})
    assert loaded.spec == SPEC
    assert difference(loaded, model) == 0


def test_weights_alone_of_keras_2_are_read_under_any_names(model, tmp_path):
    for other in (model, renamed(model)):
        path = tmp_path / "weights.h5"
        with h5py.File(path, "w") as file:
            write_keras2(file, other)
        assert difference(load_model(str(path), {"resolution_px": 64}), model) == 0


def test_a_nested_body_of_keras_2_has_its_statistics_after_all_its_kernels(model, tmp_path):
    # A nested model is one group; Keras 2 listed its trained weights first, moving means and variances after them.
    path = tmp_path / "weights.h5"
    weights = [entry for _, entries in keras2_layers(model) for entry in entries]
    moving = [entry for entry in weights if "/moving_" in entry[0]]
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [b"mobilenet"]
        group = file.create_group("mobilenet")
        listed = [*(entry for entry in weights if "/moving_" not in entry[0]), *moving]
        group.attrs["weight_names"] = [name.encode() for name, _ in listed]
        for name, array in listed:
            group[name] = array
    assert difference(load_model(str(path), {"resolution_px": 64}), model) == 0


# The spec that the shapes belong to.


def stored(spec, *, named=True):
    """Return a checkpoint of a spec without its values: broadcast zeros cost nothing at any size."""
    layers = []
    for layer in spec.layers():
        shapes = expected_shapes(layer)
        kernel = [np.broadcast_to(np.float32(0), shapes[key]) for key in ("kernel", "bias") if key in shapes]
        norm = [np.broadcast_to(np.float32(1), shape) for key, shape in shapes.items() if key not in ("kernel", "bias")]
        kind = "depthwise_conv2d" if layer.kind is LayerKind.DEPTHWISE else "conv2d"
        if kernel:
            name = layer.name if named else f"{kind}_{len(layers)}"
            layers.append(StoredLayer(name=name, path=f"layers/{kind}_{len(layers)}", arrays=tuple(kernel)))
        if norm:
            layers.append(StoredLayer(name=f"{layer.name}_bn", path="layers/batch_normalization", arrays=tuple(norm)))
    return Checkpoint(path=None, sha256="", layers=tuple(layers), config=None)


ALPHAS = (0.25, 0.3, 0.35, 0.5, 0.75, 1.0, 1.4)


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("family", Family)
def test_family_and_alpha_follow_from_the_shapes(family, alpha, named):
    spec = ModelSpec(family=family, alpha=alpha)
    assert infer_spec(stored(spec, named=named), {}) == spec


@pytest.mark.parametrize(
    "spec",
    [
        ModelSpec(channels_in=1),
        ModelSpec(channels_in=4, classes=1),
        ModelSpec(classes=None),
        ModelSpec(family="conv_mobilenet", classes=None, alpha=0.5),
        *(ModelSpec(family="dense1_mobilenet", growth=growth) for growth in (1, 16, 40, 64, 100)),
        *(ModelSpec(family="dense2_mobilenet", growth=growth) for growth in (1, 16, 40, 64)),
        ModelSpec(family="dense1_mobilenet", growth=64, alpha=0.25),
    ],
    ids=lambda spec: f"{spec.name}-{spec.channels_in}-{spec.classes}-{spec.growth}",
)
def test_channels_classes_and_growth_follow_from_the_shapes(spec):
    assert infer_spec(stored(spec), {}) == spec


@pytest.mark.parametrize("alpha", [0.01, 0.05, 1 / 3, 0.123456, 3.14159])
@pytest.mark.parametrize("family", Family)
def test_an_alpha_of_many_digits_gives_one_of_the_same_widths(family, alpha):
    spec = ModelSpec(family=family, alpha=alpha, growth=8 if family.is_dense else None)
    found = infer_spec(stored(spec), {})
    assert [layer.kernel_shape for layer in found.layers()] == [layer.kernel_shape for layer in spec.layers()]
    assert infer_spec(stored(spec), {"alpha": alpha}).alpha == alpha  # as true as the one that was found


@pytest.mark.parametrize(
    ("overrides", "both"),
    [
        ({"alpha": 0.5}, ("alpha=0.5", "alpha=0.25")),
        ({"family": Family.MOBILENET_V1}, ("family=mobilenet_v1", "family=shallow_mobilenet")),
        ({"channels_in": 1}, ("channels_in=1", "channels_in=3")),
        ({"resolution_px": 96}, ("resolution_px=96", "resolution_px=64")),
        ({"padding": "symmetric"}, ("padding=symmetric", "padding=keras")),
    ],
)
def test_a_contradiction_names_both_sides(model, tmp_path, overrides, both):
    model.save(tmp_path / "model.keras")
    with pytest.raises(SpecError, match="was asked for") as caught:
        load_model(str(tmp_path / "model.keras"), overrides)
    assert all(side in str(caught.value) for side in (*both, "model.keras"))


def test_a_growth_that_contradicts_the_shapes_is_named():
    spec = ModelSpec(family="dense1_mobilenet", growth=16)
    with pytest.raises(SpecError, match=r"growth=32 was asked for, but .* has growth=16"):
        infer_spec(stored(spec), {"growth": 32})
    scaled = spec.with_changes(alpha=0.25, growth=33)  # int(33 * 0.25) = int(32 * 0.25): the same widths
    assert infer_spec(stored(scaled), {"growth": 33}) == scaled


def test_a_padding_of_the_same_geometry_is_no_contradiction(model, tmp_path):
    # At 64 px Keras' padding is SAME.
    model.save(tmp_path / "model.keras")
    assert load_model(str(tmp_path / "model.keras"), {"padding": "same"}).spec == SPEC.with_changes(padding="same")


@pytest.mark.parametrize(
    ("resolution_px", "padding"), [(64, "keras"), (200, "keras"), (200, "same"), (200, "symmetric"), (64, "symmetric")]
)
def test_resolution_and_padding_follow_from_the_configuration(stirred, tmp_path, resolution_px, padding):
    spec = SPEC.with_changes(resolution_px=resolution_px, padding=padding)
    build(spec, stirred(spec)).save(tmp_path / "model.keras")
    assert load_model(str(tmp_path / "model.keras"), {}).spec == spec


def test_a_model_for_any_size_takes_the_resolution_that_is_asked_for(tmp_path):
    model = keras.applications.MobileNet((None, None, 3), 0.25, include_top=False, weights=None)
    model.save(tmp_path / "model.keras")
    spec = load_model(str(tmp_path / "model.keras"), {"resolution_px": 200, "classes": None}).spec
    assert spec == ModelSpec(alpha=0.25, resolution_px=200, classes=None)


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
        (lambda: dense_head(8, 3), r"it has 2 layers with weights \(dense"),
        (lambda: dense_head(3, activation="sigmoid"), "its activation is sigmoid, not softmax"),
        (lambda: [keras.layers.Flatten(), keras.layers.Dense(3)], r"its kernel of shape \(1024, 3\) does not read 256"),
        (lambda: [keras.layers.GlobalMaxPooling2D(), keras.layers.Dense(3)], r".*\(GlobalMaxPooling2D\)"),
    ],
)
def test_a_head_of_another_kind_is_not_taken_for_one_of_ours(body, tmp_path, head, problem):
    path = tmp_path / "model.keras"
    with_head(body, head()).save(path)
    with pytest.raises(SpecError, match=f"its classifier cannot be kept: {problem}.*--classes N for a new one"):
        load_model(str(path), {})
    assert not load_model(str(path), {"classes": 3}).head_trained
    assert load_model(str(path), {"classes": None}).spec.classes is None


def test_scores_without_a_softmax_are_said(body, tmp_path):
    path = tmp_path / "model.keras"
    with_head(body, dense_head(3, activation=None)).save(path)
    assert load_model(str(path), {}).notes == (
        "the file's model gives scores (logits); the exported one gives their softmax",
    )
    with_head(body, [*dense_head(3, activation=None), keras.layers.Softmax()]).save(path)
    assert load_model(str(path), {}).notes == ()


def test_scaling_inside_the_model_is_said(body, tmp_path):
    path = tmp_path / "model.keras"
    inputs = keras.Input((64, 64, 3))
    tensor = keras.layers.Rescaling(1 / 127.5, offset=-1, name="scaling")(keras.layers.RandomFlip()(inputs))
    for layer in (body, *dense_head(3)):
        tensor = layer(tensor)
    keras.Model(inputs, tensor).save(path)
    (note,) = load_model(str(path), {}).notes
    assert note.startswith("the layer scaling (Rescaling) before the first convolution is left out")
    assert "--normalization" in note


# What changes the function.


def set_epsilon(kind, layer):
    if kind == "BatchNormalization":
        layer["epsilon"] = 1e-2 if layer["name"].endswith("1_bn") else 1e-5


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_other_epsilons_give_the_same_function(model, tmp_path, suffix):
    other = from_config(changed_config(model, set_epsilon), model)
    inputs = images(SPEC)
    assert np.abs(predict(other, inputs) - predict(model, inputs)).max() > 1e-4  # otherwise this would prove nothing
    other.save(tmp_path / f"model{suffix}")
    assert difference(load_model(str(tmp_path / f"model{suffix}"), {}), other) <= 1e-6


def test_a_bias_before_a_batch_normalisation_is_kept(model, tmp_path):
    def set_bias(kind, layer):
        if kind in ("Conv2D", "DepthwiseConv2D"):
            layer |= {"use_bias": True, "bias_initializer": "ones"}

    other = from_config(changed_config(model, set_bias), model)
    other.get_layer("conv_preds").set_weights(model.get_layer("conv_preds").get_weights())
    other.save(tmp_path / "model.keras")
    loaded = load_model(str(tmp_path / "model.keras"), {})
    assert difference(loaded, model) > 1e-4
    assert difference(loaded, other) <= 1e-6


def test_frozen_layers_keep_their_order(stirred, tmp_path):
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


def test_folded_batch_normalisations_are_said():
    checkpoint = stored(ModelSpec(alpha=0.25))
    without = replace(checkpoint, layers=tuple(layer for layer in checkpoint.layers if not layer.is_batch_norm))
    with pytest.raises(SpecError, match=r"expected 27 batch normalisations\. Received: 0"):
        match_weights(without, ModelSpec(alpha=0.25))


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


def test_the_sha256_is_that_of_the_file(model, tmp_path):
    path = tmp_path / "model.keras"
    model.save(path)
    assert read_checkpoint(path).sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
