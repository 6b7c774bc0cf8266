"""The spec that a checkpoint belongs to: from its shapes, and from its configuration where it has one."""

from dataclasses import replace

import keras
import numpy as np
import pytest

from mnet_deploy.errors import SpecError
from mnet_deploy.models.builder import build
from mnet_deploy.models.checkpoint_files import Checkpoint, StoredLayer
from mnet_deploy.models.checkpoint_match import infer_spec, match_weights
from mnet_deploy.models.load import load_model
from mnet_deploy.models.weights import expected_shapes
from mnet_deploy.spec import Family, LayerKind, ModelSpec

SPEC = ModelSpec(family="shallow_mobilenet", alpha=0.25, resolution_px=64, classes=4)


@pytest.fixture(scope="module")
def model(stirred):
    return build(SPEC, stirred(SPEC))


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


def test_folded_batch_normalisations_are_said():
    checkpoint = stored(ModelSpec(alpha=0.25))
    without = replace(checkpoint, layers=tuple(layer for layer in checkpoint.layers if not layer.is_batch_norm))
    with pytest.raises(SpecError, match=r"expected 27 batch normalisations\. Received: 0"):
        match_weights(without, ModelSpec(alpha=0.25))
