import keras
import numpy as np
import pytest
import tensorflow as tf

from mnet_deploy.models.builder import build, predict
from mnet_deploy.models.training.qat import KERNEL_STEPS, QuantAwareConvolution, build_qat, qat_weights
from mnet_deploy.models.weights import BATCH_NORM_EPSILON, LayerWeights, random_weights
from mnet_deploy.normalization import Normalization
from mnet_deploy.spec import Family, LayerKind, ModelSpec, Padding


def _weights(spec, seed=0):
    """Random kernels with batch-norm statistics that are no identity."""
    generator = np.random.default_rng(seed)
    result = {}
    for name, layer in random_weights(spec, seed=seed).items():
        arrays = dict(layer.arrays())
        for array in ("gamma", "variance"):
            if array in arrays:
                arrays[array] = generator.uniform(0.5, 1.5, arrays[array].shape).astype(np.float32)
        for array in ("beta", "mean"):
            if array in arrays:
                arrays[array] = generator.normal(0, 0.3, arrays[array].shape).astype(np.float32)
        result[name] = LayerWeights(**arrays)
    return result


@pytest.fixture(scope="module")
def spec():
    return ModelSpec(alpha=0.25, resolution_px=32, classes=4)


@pytest.mark.parametrize("family", list(Family))
@pytest.mark.parametrize("padding", [Padding.KERAS, Padding.SYMMETRIC])
def test_without_rounding_it_is_the_float_model(family, padding, monkeypatch):
    spec = ModelSpec(family=family, alpha=0.1, resolution_px=48, classes=4, padding=padding)
    monkeypatch.setattr(QuantAwareConvolution, "_rounded", lambda _, kernel: kernel)
    monkeypatch.setattr(tf.quantization, "fake_quant_with_min_max_args", lambda tensor, *_: tensor)
    weights = _weights(spec)
    inputs = np.random.default_rng(1).uniform(-1, 1, (3, 48, 48, 3)).astype(np.float32)
    plain, aware = build(spec, weights), build_qat(spec, weights, Normalization())
    np.testing.assert_allclose(predict(aware, inputs), predict(plain, inputs), atol=1e-5)


def test_kernels_lie_on_the_grid_of_an_int8_file(spec):
    model = build_qat(spec, _weights(spec), Normalization())
    for layer in model.layers:
        if not isinstance(layer, QuantAwareConvolution):
            continue
        kernel, _ = layer._folded()
        folded, rounded = np.asarray(kernel), np.asarray(layer._rounded(kernel))
        depthwise = layer._layer.kind is LayerKind.DEPTHWISE
        axes = (0, 1, 3) if depthwise else (0, 1, 2)
        scale = np.abs(folded).max(axis=axes, keepdims=True) / KERNEL_STEPS
        steps = rounded / scale
        np.testing.assert_allclose(steps, np.rint(steps), atol=2e-3)  # float32 division of up to 127 steps
        assert np.abs(rounded - folded).max() <= scale.max() * 0.5 * 1.001
        assert np.abs(np.rint(steps)).max() == KERNEL_STEPS


def test_folding_is_that_of_batch_normalisation(spec):
    weights = _weights(spec)["conv1"]
    layer = build_qat(spec, _weights(spec), Normalization()).get_layer("conv1")
    kernel, bias = (np.asarray(tensor) for tensor in layer._folded())
    factor = weights.gamma / np.sqrt(weights.variance + BATCH_NORM_EPSILON)
    np.testing.assert_allclose(kernel, weights.kernel * factor, rtol=1e-5)
    np.testing.assert_allclose(bias, weights.beta - weights.mean * factor, rtol=1e-4, atol=1e-6)


def test_weights_come_back_unchanged_and_statistics_stay(spec):
    weights = _weights(spec)
    model = build_qat(spec, weights, Normalization())
    model.compile(keras.optimizers.SGD(0.1), "categorical_crossentropy")
    before = qat_weights(model, spec)
    for name, layer in weights.items():
        for array, value in layer.arrays():
            np.testing.assert_array_equal(getattr(before[name], array), value)
    inputs = np.random.default_rng(1).uniform(-1, 1, (8, 32, 32, 3)).astype(np.float32)
    model.train_on_batch(inputs, np.eye(4, dtype=np.float32)[[0, 1, 2, 3] * 2])
    after = qat_weights(model, spec)
    for name, layer in weights.items():
        assert not np.array_equal(after[name].kernel, layer.kernel), name  # gradients pass the rounding
        if layer.mean is not None:
            np.testing.assert_array_equal(after[name].mean, layer.mean)
            np.testing.assert_array_equal(after[name].variance, layer.variance)
