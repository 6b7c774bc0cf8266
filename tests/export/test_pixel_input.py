"""Files that take pixels as they are."""

import numpy as np
import pytest

from mnet_deploy.artifact import TensorInfo
from mnet_deploy.converters import tflite_writer
from mnet_deploy.converters.calibrated_quantizer import quantize_plainly
from mnet_deploy.converters.float_pass import run_float
from mnet_deploy.converters.folded_graph import fold
from mnet_deploy.converters.options import IoType
from mnet_deploy.converters.pixel_input import for_pixels
from mnet_deploy.normalization import Normalization
from mnet_deploy.runners import local
from mnet_deploy.spec import ModelSpec

SPEC = ModelSpec(alpha=0.25, resolution_px=32, classes=7)
PIXELS = np.arange(256, dtype=np.uint8)


@pytest.fixture(scope="module")
def folded(stirred):
    return fold(SPEC, stirred(SPEC))


@pytest.fixture(scope="module")
def pixels():
    return np.random.default_rng(3).integers(0, 256, (24, 32, 32, 3), np.uint8)


@pytest.mark.parametrize("rule", ["-1..1", "0..1", "0..255", "100/50"])
def test_a_normalised_pixel_is_stored_as_itself(folded, pixels, rule):
    normalization = Normalization.parse(rule)
    graph = for_pixels(quantize_plainly(folded, normalization.for_channels(3).apply(pixels)), normalization)
    tensor = TensorInfo(
        name="input",
        shape=(1, 256, 1, 1),
        layout="NHWC",
        dtype="uint8",
        scale=graph.input.scale,
        zero_point=graph.input.zero_point + 128,
    )
    stored = tensor.store(normalization.apply(PIXELS.reshape(1, 256, 1, 1)))
    np.testing.assert_array_equal(stored.ravel(), PIXELS)


def test_raw_pixels_cost_no_more_than_requantised_ones(folded, pixels, tmp_path):
    """Without the shifted biases every pixel would be half a step too dark."""
    normalization = Normalization.parse("-1..1")
    images = normalization.for_channels(3).apply(pixels)
    expected = run_float(folded, images).outputs
    graph = quantize_plainly(folded, images)
    shifted = for_pixels(graph, normalization)
    assert (shifted.layers[0].bias != np.rint(graph.layers[0].bias * graph.input.scale / shifted.input.scale)).any()
    noise = {}
    for name, written in (("requantised", graph), ("pixels", shifted)):
        path = tmp_path / f"{name}.tflite"
        path.write_bytes(tflite_writer.write_int8(written, IoType.UINT8))
        step = 1 / written.input.scale
        stored = np.rint(images * step) + written.input.zero_point + 128 if name == "requantised" else pixels
        answers = local.infer(path, stored.clip(0, 255).astype(np.uint8)).outputs / np.float32(256)
        noise[name] = np.sqrt(np.mean((answers - expected) ** 2))
    assert noise["pixels"] <= 1.1 * noise["requantised"] + 1 / 256


@pytest.mark.parametrize("rule", ["imagenet", "300/50", "-10/50"])
def test_where_one_scale_cannot_do_the_model_stays_as_it_is(folded, pixels, rule):
    normalization = Normalization.parse(rule)
    graph = quantize_plainly(folded, normalization.for_channels(3).apply(pixels))
    assert for_pixels(graph, normalization) is graph
