"""Files that Keras wrote, now and in the past: every array is found."""

import hashlib
import json

import h5py
import keras
import numpy as np
import pytest

from mnet_deploy.models.builder import build
from mnet_deploy.models.checkpoint_files import read_checkpoint
from mnet_deploy.models.load import load_model
from mnet_deploy.spec import ModelSpec

SPEC = ModelSpec(family="shallow_mobilenet", alpha=0.25, resolution_px=64, classes=4)


@pytest.fixture(scope="module")
def model(stirred):
    return build(SPEC, stirred(SPEC))


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


def test_without_the_names_of_layers_their_order_tells(difference, model, tmp_path):
    # MobileNet v1 has more than ten layers of each class: conv2d_2 must sort before conv2d_10.
    path = tmp_path / "model.weights.h5"
    model.save_weights(path)
    with h5py.File(path, "r+") as file:
        file.visititems(lambda _, item: item.attrs.pop("name", None))
    assert difference(load_model(str(path), {"resolution_px": 64}), model) == 0


@pytest.mark.parametrize("suffix", [".keras", ".weights.h5", ".h5"])
def test_the_state_of_an_optimizer_is_passed_over(difference, stirred, tmp_path, suffix):
    model = build(SPEC, stirred(SPEC))
    model.compile("adam", "categorical_crossentropy", metrics=["accuracy"])
    model.optimizer.build(model.trainable_variables)
    path = tmp_path / f"model{suffix}"
    (model.save_weights if suffix == ".weights.h5" else model.save)(path)
    assert difference(load_model(str(path), {"resolution_px": 64}), model) == 0


@pytest.mark.parametrize("sequential", [False, True])
@pytest.mark.parametrize("suffix", [".keras", ".weights.h5", ".h5"])
def test_a_body_nested_in_a_users_model_with_a_dense_head_is_found(
    difference, with_head, dense_head, tmp_path, suffix, sequential
):
    model = with_head(dense_head(3), sequential=sequential)
    path = tmp_path / f"model{suffix}"
    (model.save_weights if suffix == ".weights.h5" else model.save)(path)
    loaded = load_model(str(path), {"resolution_px": 64})
    assert loaded.spec == ModelSpec(alpha=0.25, resolution_px=64, classes=3)
    assert loaded.trained
    assert difference(loaded, model) <= 1e-6


def test_a_model_of_a_subclass_is_found_in_its_weights(difference, mobilenet_body, tmp_path):
    class Classifier(keras.Model):
        def __init__(self):
            super().__init__()
            self.backbone = mobilenet_body
            self.head = keras.layers.Dense(3, activation="softmax")

        def call(self, inputs):
            return self.head(keras.ops.mean(self.backbone(inputs), axis=(1, 2)))

    model = Classifier()
    model(np.zeros((1, 64, 64, 3), np.float32))
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
def test_layers_of_other_names_are_found_by_their_shapes_and_order(difference, model, tmp_path, suffix):
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


def test_a_whole_model_of_keras_2_is_read_though_keras_3_cannot(difference, model, tmp_path):
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


def test_weights_alone_of_keras_2_are_read_under_any_names(difference, model, tmp_path):
    for other in (model, renamed(model)):
        path = tmp_path / "weights.h5"
        with h5py.File(path, "w") as file:
            write_keras2(file, other)
        assert difference(load_model(str(path), {"resolution_px": 64}), model) == 0


def test_a_nested_body_of_keras_2_has_its_statistics_after_all_its_kernels(difference, model, tmp_path):
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


def test_the_sha256_is_that_of_the_file(model, tmp_path):
    path = tmp_path / "model.keras"
    model.save(path)
    assert read_checkpoint(path).sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
