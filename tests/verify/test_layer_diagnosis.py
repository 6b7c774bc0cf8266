import json
from dataclasses import replace

import numpy as np
import pytest

from mnet_deploy.artifact import read_artifact
from mnet_deploy.converters import quantizer
from mnet_deploy.converters.float_pass import run_float
from mnet_deploy.converters.folded_graph import fold
from mnet_deploy.converters.onnx_float import write_float
from mnet_deploy.converters.options import Layout, OnnxOptions
from mnet_deploy.converters.quantizer import Observed
from mnet_deploy.images import load_images
from mnet_deploy.models.load import LoadedModel, load_model
from mnet_deploy.normalization import Normalization
from mnet_deploy.pipeline.layer_diagnosis import diagnose
from mnet_deploy.pipeline.layer_findings import SHIFTED, Cause, dead_in_float
from mnet_deploy.pipeline.layer_tensors import LayerReader
from mnet_deploy.pipeline.reference import FLOAT_INPUT
from mnet_deploy.progress import Progress
from mnet_deploy.spec.families import INPUT_NAME

DEPTHWISE, BEFORE = "conv_dw_4", "conv_pw_3"


@pytest.fixture(scope="module")
def loaded(spec, weights):
    return LoadedModel(
        spec=spec, weights=weights, origin="test", path=None, sha256="", body_trained=True, head_trained=True
    )


@pytest.fixture
def diagnosis(write_file, tmp_path, images):
    """Return a function that writes a quantised graph and compares it with a float model."""

    def run(graph, loaded, suffix=".tflite"):
        path = write_file(tmp_path / f"int8{suffix}", graph)
        return diagnose(path, read_artifact(path), loaded, images(8, seed=4), Progress())

    return run


def with_layer(graph, name, change):
    """Return a quantised graph with one layer changed."""
    return replace(graph, layers=tuple(change(layer) if layer.spec.name == name else layer for layer in graph.layers))


def named(diagnosis):
    return [(finding.cause, finding.layer, finding.channels) for finding in diagnosis.findings]


@pytest.fixture(scope="module")
def lively(loaded, quantized, write_file, images, tmp_path_factory):
    """A channel of the depthwise layer that varies a lot, and what it reads does."""
    path = write_file(tmp_path_factory.mktemp("clean") / "int8.tflite", quantized)
    found = diagnose(path, read_artifact(path), loaded, images(8, seed=4), Progress())
    figures = {layer.layer: layer.channels for layer in found.layers}
    return int((figures[DEPTHWISE].float_deviation * figures[BEFORE].float_deviation).argmax())


# Nothing wrong.


@pytest.mark.parametrize("suffix", [".tflite", ".onnx"])
def test_of_a_clean_file_nothing_is_named(quantized, loaded, diagnosis, suffix):
    found = diagnosis(quantized, loaded, suffix)
    assert [finding.what for finding in found.findings] == []


def test_the_figures_are_those_by_hand(quantized, loaded, folded, write_file, images, tmp_path):
    """Against the float tensor of ONNX Runtime and the integers of LiteRT."""
    path = write_file(tmp_path / "int8.tflite", quantized)
    artifact = read_artifact(path)
    inputs = images(8, seed=4)
    found = {layer.layer: layer for layer in diagnose(path, artifact, loaded, inputs, Progress()).layers}
    float_path = tmp_path / "float.onnx"
    float_path.write_bytes(write_float(folded, OnnxOptions(layout=Layout.NHWC)))
    file = LayerReader.open(path, artifact.spec, artifact.input, copy=tmp_path / "file.onnx")
    reference = LayerReader.open(float_path, artifact.spec, FLOAT_INPUT, copy=tmp_path / "reference.onnx")
    stored = file.read(inputs)["conv_dw_5"].reshape(-1, 64)
    actual = (stored.astype(np.float64) + 128) * 6 / 255
    expected = reference.real("conv_dw_5", reference.read(inputs)["conv_dw_5"]).reshape(-1, 64).astype(np.float64)
    figures = found["conv_dw_5"]
    noise = ((actual - expected) ** 2).sum()
    assert figures.sqnr_db == pytest.approx(10 * np.log10((expected**2).sum() / noise), abs=1e-3)
    cosine = (actual * expected).sum() / np.sqrt((actual**2).sum() * (expected**2).sum())
    assert figures.cosine == pytest.approx(cosine, abs=1e-6)
    shift = np.abs(actual.mean(axis=0) - expected.mean(axis=0)).mean() / expected.std()
    assert figures.mean_shift == pytest.approx(shift, rel=1e-3)
    half = 3 / 255
    natural = ((expected <= half) | (expected >= 6 - half)).mean()
    assert figures.saturated == pytest.approx(((stored == -128) | (stored == 127)).mean() - natural, abs=1e-6)
    assert figures.usual_range == pytest.approx((0, np.percentile(expected, 99.9)), rel=1e-4)
    assert figures.cut_off == 0
    assert list(found) == ["input", *(layer.spec.name for layer in folded.layers)]


# Each cause in turn.


@pytest.fixture(scope="module")
def dominated(loaded, lively):
    """The same function, with a factor of 1000 moved from one layer into one channel of the next."""
    before, after = loaded.weights[BEFORE], loaded.weights[DEPTHWISE]
    factor = np.where(np.arange(len(before.gamma)) == lively, np.float32(1000), np.float32(1))
    changed = {
        BEFORE: replace(before, gamma=before.gamma / factor, beta=before.beta / factor),
        DEPTHWISE: replace(after, kernel=after.kernel * factor[:, None]),
    }
    return replace(loaded, weights=loaded.weights | changed)


def test_a_channel_with_huge_weights_whose_input_is_lost_is_named(dominated, lively, int8_graph, diagnosis):
    found = diagnosis(int8_graph(fold(dominated.spec, dominated.weights)), dominated)
    assert named(found) == [(Cause.DOMINATING_CHANNEL, DEPTHWISE, (lively,))]
    (finding,) = found.findings
    assert f"what it reads from {BEFORE} spans 0." in finding.what
    assert f"Move the factor from channel {lively} of {DEPTHWISE} into {BEFORE}" in finding.remedy


def with_one_scale(layer):
    """Return a layer with one scale for the whole kernel."""
    scale = np.full_like(layer.kernel_scale, layer.kernel_scale.max())
    ratio = layer.kernel_scale / scale
    kernel = np.rint(layer.kernel * ratio).astype(np.int8)
    return replace(layer, kernel=kernel, kernel_scale=scale, bias=np.rint(layer.bias * ratio).astype(np.int32))


def test_a_channel_that_takes_the_scale_from_the_others_is_named(dominated, lively, int8_graph, diagnosis):
    graph = int8_graph(fold(dominated.spec, dominated.weights))
    found = diagnosis(with_layer(graph, DEPTHWISE, with_one_scale), dominated)
    assert named(found) == [(Cause.DOMINATING_CHANNEL, DEPTHWISE, (lively,))]
    assert "in one scale for the whole kernel nothing is left of" in found.findings[0].what


def test_one_scale_alone_is_no_fault(quantized, loaded, diagnosis):
    assert named(diagnosis(with_layer(quantized, DEPTHWISE, with_one_scale), loaded)) == []


@pytest.mark.parametrize("layer", [DEPTHWISE, BEFORE])
def test_a_channel_that_is_zero_in_the_file_alone_is_named_where_it_begins(quantized, loaded, lively, diagnosis, layer):
    def without_channel(found):
        kernel, bias = found.kernel.copy(), found.bias.copy()
        kernel[..., lively], bias[lively] = 0, 0
        return replace(found, kernel=kernel, bias=bias)

    found = diagnosis(with_layer(quantized, layer, without_channel), loaded, ".onnx")
    assert named(found) == [(Cause.DEAD_CHANNEL, layer, (lively,))]
    assert found.findings[0].what.startswith(f"channel {lively} of {layer} is the same for all images in the file")


def test_a_channel_that_is_zero_in_float_too_is_a_note(loaded, lively, int8_graph, diagnosis):
    layer = loaded.weights[DEPTHWISE]
    gamma, beta = layer.gamma.copy(), layer.beta.copy()
    gamma[lively], beta[lively] = 0, 0
    changed = replace(loaded, weights=loaded.weights | {DEPTHWISE: replace(layer, gamma=gamma, beta=beta)})
    found = diagnosis(int8_graph(fold(changed.spec, changed.weights)), changed)
    assert named(found) == []
    assert lively in dead_in_float(fold(changed.spec, changed.weights), found.layers)[DEPTHWISE]
    (note,) = found.notes
    assert "channels are the same for all of these images in the float model, too, which costs no accuracy" in note


@pytest.mark.parametrize(
    ("layer", "factor", "cause"),
    [
        ("conv_preds", 12, Cause.STRETCHED_RANGE),
        ("conv_pw_5", 12, Cause.STRETCHED_RANGE),
        ("conv_pw_5", 0.5, Cause.NARROW_RANGE),
        ("conv_preds", 0.8, Cause.NARROW_RANGE),
    ],
)
def test_a_range_that_does_not_fit_is_named(folded, loaded, int8_graph, diagnosis, monkeypatch, layer, factor, cause):
    """As by a calibration image that drives a layer much further than photos do, or by images that do not drive it."""
    usual, clean = {"conv_preds": (-4.4, 9.2), "conv_pw_5": (0.0, 6.0)}, quantizer.fixed_range
    ends = tuple(factor * end for end in usual[layer])
    monkeypatch.setattr(quantizer, "fixed_range", lambda one: ends if one.spec.name == layer else clean(one))
    found = diagnosis(int8_graph(folded), loaded)
    assert named(found) == [(cause, layer, ())]
    assert {one.layer: one for one in found.layers}[layer].stored_range == pytest.approx(ends, rel=0.02)


@pytest.mark.parametrize("layer", ["conv_pw_6", "conv_dw_9"])
def test_shifted_biases_are_named_where_they_begin(quantized, loaded, diagnosis, layer):
    def shifted(found):
        return replace(found, bias=(found.bias + 0.4 / (6 / 255 * found.kernel_scale)).astype(np.int32))

    found = diagnosis(with_layer(quantized, layer, shifted), loaded)
    assert named(found) == [(Cause.MEAN_SHIFT, layer, ())]
    assert sum(figures.mean_shift > SHIFTED for figures in found.layers) > 1, "it goes on, but is named once"


def test_json_has_no_arrays(quantized, loaded, diagnosis):
    figures = json.loads(json.dumps(diagnosis(quantized, loaded).to_json(), allow_nan=False))
    assert figures["format"] == "mnet.layers/1"
    assert {"layer", "sqnr_db", "cosine", "mean_shift", "saturated", "scale"} <= set(figures["layers"][3])


# Trained weights, on photos.


@pytest.mark.parametrize(("correct_bias", "expected"), [(True, []), (False, [Cause.MEAN_SHIFT])])
def test_trained_weights_have_a_mean_shift_where_biases_are_not_corrected(
    imagenet_data, write_file, tmp_path, correct_bias, expected
):
    trained = load_model(str(imagenet_data / "mobilenet_v1_0.25_224.weights.h5"), {})
    paths = sorted((imagenet_data / "calibration").glob("*/*"))[::2]
    photos = Normalization().apply(np.stack(load_images(paths, resolution_px=224)))
    graph = fold(trained.spec, trained.weights)
    seen = run_float(graph, photos)
    observed = Observed(ranges={**seen.ranges, INPUT_NAME: (-1.0, 1.0)}, sum_means=seen.means)
    made = quantizer.quantize(graph, observed, photos, correct_bias=correct_bias, optimize_rounding=False).graph
    path = write_file(tmp_path / "int8.tflite", made)
    found = diagnose(path, read_artifact(path), trained, photos[:16], Progress())
    assert [finding.cause for finding in found.findings] == expected
