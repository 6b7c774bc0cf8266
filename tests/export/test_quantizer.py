"""The quantiser: each step against a slow computation of the same, and models that are hard to quantise."""

from dataclasses import replace

import numpy as np
import onnxruntime
import pytest
from ai_edge_litert.interpreter import Interpreter

from mnet_deploy.converters import quantizer
from mnet_deploy.converters.bias_correction import mean_sums, tap_means, tap_means_of
from mnet_deploy.converters.calibrated_quantizer import quantize_calibrated, quantize_plainly
from mnet_deploy.converters.channel_statistics import behind_relu6, has_statistics, statistics_of
from mnet_deploy.converters.float_pass import run_float
from mnet_deploy.converters.folded_graph import fold
from mnet_deploy.converters.int8_engine import SHIFT, real, run_layer, store
from mnet_deploy.converters.onnx_int8 import write_int8 as write_onnx_int8
from mnet_deploy.converters.options import Effort, IoType, Layout, OnnxOptions
from mnet_deploy.converters.quantized_graph import QuantParams
from mnet_deploy.converters.quantizer import Observed, input_params, quantize
from mnet_deploy.converters.tflite_writer import write_int8
from mnet_deploy.converters.weight_rounding import nearest, round_weights
from mnet_deploy.errors import SpecError
from mnet_deploy.models.weights import BATCH_NORM_EPSILON, check_weights, random_weights
from mnet_deploy.normalization import Normalization
from mnet_deploy.spec import Activation, LayerKind, LayerSpec, ModelSpec
from mnet_deploy.spec.families import INPUT_NAME

SPEC = ModelSpec(family="shallow_mobilenet", alpha=0.1, resolution_px=40, classes=6)
DENSE = ModelSpec(family="dense2_mobilenet", alpha=0.1, resolution_px=32, classes=6)


def images_for(spec, count=6):
    shape = (count, spec.resolution_px, spec.resolution_px, spec.channels_in)
    return np.random.default_rng(1).uniform(-1, 1, shape).astype(np.float32)


@pytest.fixture(scope="module")
def made(stirred):
    """Return a function that gives a spec's folded graph, images, and what the float model does on them."""
    known = {}

    def of(spec):
        if spec not in known:
            folded, images = fold(spec, stirred(spec)), images_for(spec)
            known[spec] = folded, images, run_float(folded, images)
        return known[spec]

    return of


def layer_spec(kind, *, size=7, stride=1, padding=(1, 1, 1, 1), channels=(5, 4), dilation=1, kernel_px=3):
    depthwise = kind is LayerKind.DEPTHWISE
    reach = (kernel_px - 1) * dilation + 1
    top, left, bottom, right = padding
    out = ((size + top + bottom - reach) // stride + 1, (size + left + right - reach) // stride + 1)
    return LayerSpec(
        name="layer",
        inputs=(INPUT_NAME,),
        kind=kind,
        in_shape_hwc=(size, size, channels[0]),
        out_shape_hwc=(*out, channels[0] if depthwise else channels[1]),
        kernel_px=kernel_px,
        stride=stride,
        groups=channels[0] if depthwise else 1,
        dilation=dilation,
        padding_tlbr=padding,
    )


# Stride 1 and 2, every way to pad, and kernels with gaps.
LAYERS = [
    layer_spec(LayerKind.CONVOLUTION),
    layer_spec(LayerKind.CONVOLUTION, stride=2, padding=(0, 0, 1, 1), size=8),
    layer_spec(LayerKind.CONVOLUTION, stride=2, padding=(2, 1, 0, 1)),
    layer_spec(LayerKind.DEPTHWISE, padding=(0, 1, 1, 0)),
    layer_spec(LayerKind.DEPTHWISE, stride=2, padding=(0, 0, 1, 1), size=8),
    layer_spec(LayerKind.DEPTHWISE, dilation=2, padding=(2, 2, 2, 2)),
    layer_spec(LayerKind.POINTWISE, kernel_px=1, padding=(0, 0, 0, 0)),
]


def layer_id(layer):
    return f"{layer.kind}-{layer.stride}-{layer.dilation}-{layer.padding_tlbr}"


def below_kernel(images, layer):
    """Return what lies below the kernel at each output pixel: [pixels, height, width, channels]."""
    top, left, bottom, right = layer.padding_tlbr
    padded = np.pad(images.astype(np.float64), ((0, 0), (top, bottom), (left, right), (0, 0)))
    reach = (layer.kernel_px - 1) * layer.dilation + 1
    height, width, _ = layer.out_shape_hwc
    found = []
    for image in padded:
        for row in range(height):
            for column in range(width):
                y, x = row * layer.stride, column * layer.stride
                found.append(image[y : y + reach : layer.dilation, x : x + reach : layer.dilation])
    return np.stack(found)


def sums_of(patches, kernel, layer):
    """Return a layer's sums without bias, [pixels, channels out]."""
    if layer.kind is LayerKind.DEPTHWISE:
        return np.einsum("phwc,hwc->pc", patches, kernel[:, :, 0].astype(np.float64))
    return np.einsum("phwc,hwco->po", patches, kernel.astype(np.float64))


@pytest.fixture
def chance():
    return np.random.default_rng(3)


def random_kernel(layer, chance):
    return chance.normal(0, 0.4, layer.kernel_shape).astype(np.float32)


# Bias correction.


@pytest.mark.parametrize("layer", LAYERS, ids=layer_id)
def test_the_mean_below_each_tap_is_that_of_all_output_pixels(layer, chance):
    params = QuantParams(scale=0.05, zero_point=-37)
    stored = chance.integers(0, 256, (3, *layer.in_shape_hwc), np.uint8)
    patches = below_kernel(real(params, stored), layer)
    means = tap_means(stored, params, layer)
    np.testing.assert_allclose(means, patches.mean(axis=0), rtol=1e-5, atol=1e-6)  # `real` is float32
    kernel = random_kernel(layer, chance)
    expected = sums_of(patches, kernel, layer).mean(axis=0)
    np.testing.assert_allclose(mean_sums(kernel, means, layer), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("layer", LAYERS, ids=layer_id)
def test_the_mean_of_channels_alone_is_that_of_flat_images(layer, chance):
    channels = chance.normal(0, 1, layer.in_shape_hwc[2])
    flat = np.broadcast_to(channels, (1, *layer.in_shape_hwc))
    np.testing.assert_allclose(tap_means_of(channels, layer), below_kernel(flat, layer).mean(axis=0), atol=1e-12)


def walk(folded, images):
    """Run the float model in NumPy; yield each layer with weights and its sums."""
    values = {INPUT_NAME: images}
    for layer in folded.layers:
        spec = layer.spec
        inputs = [values[name] for name in spec.inputs]
        if spec.kind.has_weights:
            kernel, bias = layer.require_weights()
            sums = sums_of(below_kernel(inputs[0], spec), kernel, spec) + bias
            yield spec, sums
            values[spec.name] = sums.clip(0, 6) if spec.activation is Activation.RELU6 else sums
            values[spec.name] = values[spec.name].reshape(len(images), *spec.out_shape_hwc)
        elif spec.kind is LayerKind.CONCATENATION:
            values[spec.name] = np.concatenate(inputs, axis=3)
        elif spec.kind is LayerKind.GLOBAL_POOL:
            values[spec.name] = inputs[0].mean(axis=(1, 2), keepdims=True)


@pytest.mark.parametrize("spec", [SPEC, DENSE], ids=["shallow", "dense2"])
def test_the_float_pass_finds_the_means_of_the_sums(made, spec):
    folded, images, found = made(spec)
    for layer, sums in walk(folded, images):
        # Float32 sums of values up to 6 against float64 ones.
        np.testing.assert_allclose(found.means[layer.name], sums.mean(axis=0), atol=1e-5 * 6)
        if layer.kind is LayerKind.CLASSIFIER:
            np.testing.assert_allclose(found.ranges[layer.name], (sums.min(), sums.max()), atol=1e-5 * 6)
            np.testing.assert_allclose(found.logits, sums, atol=1e-5 * 6)


@pytest.mark.parametrize("optimize_rounding", [False, True], ids=["nearest", "together"])
@pytest.mark.parametrize("spec", [SPEC, DENSE], ids=["shallow", "dense2"])
def test_a_corrected_bias_gives_each_channel_its_float_mean(made, spec, optimize_rounding):
    folded, images, found = made(spec)
    observed = Observed(ranges=found.ranges, sum_means=found.means)
    graph = quantize(folded, observed, images, optimize_rounding=optimize_rounding).graph
    params, stored = {INPUT_NAME: graph.input}, {INPUT_NAME: store(graph.input, images)}
    for layer in graph.layers:
        name = layer.spec.name
        inputs = [(stored[source], params[source]) for source in layer.spec.inputs]
        if layer.spec.kind.has_weights:
            kernel, scale, bias = layer.require_weights()
            given, given_params = inputs[0]
            patches = below_kernel(real(given_params, given), layer.spec)
            step = given_params.scale * scale.astype(np.float64)
            means = sums_of(patches, kernel * scale, layer.spec).mean(axis=0) + bias * step
            # A bias is a whole number of steps; the rest is float32.
            assert (np.abs(means - found.means[name]) <= step / 2 + 2e-5).all()
        if layer.spec.kind is not LayerKind.SOFTMAX:
            params[name], stored[name] = layer.output, run_layer(layer, inputs)


def test_the_answers_of_the_quantiser_are_those_of_the_file(made):
    folded, images, found = made(DENSE)
    quantized = quantize(folded, Observed(ranges=found.ranges, sum_means=found.means), images)
    graph = quantized.graph
    without_softmax = replace(graph, layers=graph.layers[:-1])
    content = write_int8(replace(without_softmax, spec=graph.spec))
    expected = litert(content, graph.input.store(images), output="conv_preds")
    steps = np.abs(quantized.outputs / graph.layers[-2].output.scale - expected + graph.layers[-2].output.zero_point)
    assert steps.max() <= 1 + 1e-3  # runtimes may round a sum in the middle either way


# Weights rounded together.


def squared_errors(patches, kernel, scale, rounded, layer):
    """Return e'Ce of each output channel: the variance that the rounding errors add to its sums."""
    errors = kernel / scale - rounded
    return sums_of(patches - patches.mean(axis=0), errors, layer).var(axis=0)


@pytest.mark.parametrize("layer", LAYERS, ids=layer_id)
def test_rounding_together_adds_less_error_than_rounding_to_nearest(layer, chance):
    params = QuantParams(scale=6 / 255, zero_point=-128)
    # Neighbours alike and channels that vary together, as in images: where rounding together has something to gain.
    base = chance.uniform(0, 200, (8, layer.in_shape_hwc[0] // 2 + 1, layer.in_shape_hwc[1] // 2 + 1, 1))
    smooth = base.repeat(2, axis=1).repeat(2, axis=2)[:, : layer.in_shape_hwc[0], : layer.in_shape_hwc[1]]
    stored = (smooth + chance.uniform(0, 40, (8, *layer.in_shape_hwc))).astype(np.uint8)
    kernel = random_kernel(layer, chance)
    scale = (np.abs(kernel).max(axis=(0, 1, 2)) / 127).astype(np.float32)
    together = round_weights(kernel, scale, stored, params, layer)
    assert together.dtype == np.int8
    assert np.abs(together.astype(int)).max() <= 127
    patches = below_kernel(stored.astype(np.float64) - (params.zero_point + SHIFT), layer)
    before = squared_errors(patches, kernel, scale, nearest(kernel, scale).astype(np.float64), layer)
    after = squared_errors(patches, kernel, scale, together.astype(np.float64), layer)
    assert (after <= before * 1.0001).all()
    assert after.sum() < before.sum()


def test_weights_at_the_end_of_the_grid_stay_on_it(chance):
    layer = LAYERS[-1]
    kernel = np.where(chance.random(layer.kernel_shape) < 0.5, -1, 1).astype(np.float32) * np.float32(0.999)
    scale = np.full(4, 1 / 127, np.float32)
    stored = np.repeat(chance.integers(0, 256, (2, 7, 7, 1), np.uint8), 5, axis=3)  # all channels vary as one
    rounded = round_weights(kernel * 1.01, scale, stored, QuantParams(scale=1.0, zero_point=-128), layer)
    assert np.abs(rounded.astype(int)).max() == 127  # never -128


# Statistics instead of images.


@pytest.mark.parametrize("mean", [-9.0, -1.0, 0.0, 0.5, 3.0, 5.9, 7.0, 30.0])
@pytest.mark.parametrize("deviation", [1e-9, 0.01, 0.7, 3.0, 20.0])
def test_the_moments_behind_relu6_are_those_of_an_integral(mean, deviation):
    # Normal quantiles at evenly spread shares would lose the tails; a fine grid over 12 deviations keeps them.
    z = np.linspace(-12, 12, 400_001)
    density = np.exp(-(z**2) / 2)
    density /= density.sum()
    values = (mean + deviation * z).clip(0, 6)
    expected = (values * density).sum()
    found = behind_relu6(np.array([mean]), np.array([deviation]))
    assert found.mean[0] == pytest.approx(expected, abs=1e-6)
    assert found.variance[0] == pytest.approx(((values - expected) ** 2 * density).sum(), abs=1e-5)


def test_only_a_training_leaves_statistics(stirred):
    random = random_weights(SPEC, seed=0)
    assert not has_statistics(random)
    folded = {
        name: layer if layer.variance is None else replace(layer, variance=layer.variance - BATCH_NORM_EPSILON)
        for name, layer in random.items()
    }
    assert not has_statistics(folded)  # sqrt(1 - epsilon + epsilon) changes nothing: how readers mark folded ones
    assert not has_statistics({"conv_preds": random["conv_preds"]})  # no batch normalisation at all
    trained = stirred(SPEC)
    assert has_statistics(trained)
    assert has_statistics({**random, "conv1": trained["conv1"]})


@pytest.mark.parametrize("spec", [SPEC, DENSE, replace(SPEC, classes=None)], ids=["shallow", "dense2", "no top"])
def test_statistics_know_every_range_and_mean_that_the_quantiser_needs(stirred, spec):
    weights = stirred(spec)
    folded = fold(spec, weights)
    observed = statistics_of(folded, weights, (-1.0, 1.0))
    graph = quantize(folded, observed).graph
    assert observed.channel_means.keys() >= {name for layer in spec.layers() for name in layer.inputs}
    for layer in spec.layers():
        if layer.batch_norm:  # what follows it has a mean within ReLU6
            assert (observed.channel_means[layer.name] >= 0).all()
            assert (observed.channel_means[layer.name] <= 6).all()
    assert np.isfinite(answers_of(graph, images_for(spec, 2))).all()


def test_a_bias_corrected_by_statistics_makes_up_for_the_rounded_weights(stirred):
    weights = stirred(SPEC)
    folded = fold(SPEC, weights)
    observed = statistics_of(folded, weights, (-1.0, 1.0))
    graph = quantize(folded, observed).graph
    for layer, original in zip(graph.layers, folded.layers, strict=True):
        if not layer.spec.kind.has_weights:
            continue
        (source,) = layer.spec.inputs
        kernel, scale, bias = layer.require_weights()
        float_kernel, float_bias = original.require_weights()
        flat = np.broadcast_to(observed.channel_means[source], (1, *layer.spec.in_shape_hwc))
        patches = below_kernel(flat, layer.spec)
        expected = sums_of(patches, float_kernel, layer.spec).mean(axis=0) + float_bias
        given = graph.input if source == INPUT_NAME else params_of(graph, source)
        step = given.scale * scale.astype(np.float64)
        found = sums_of(patches, kernel * scale.astype(np.float64), layer.spec).mean(axis=0) + bias * step
        assert (np.abs(found - expected) <= step / 2 + 1e-6).all()


def params_of(graph, name):
    return next(layer.output for layer in graph.layers if layer.spec.name == name)


# What is kept, and what is not.


def calibrated(folded, images, *, effort=Effort.BEST):
    options = {"input_range": (-1.0, 1.0), "effort": effort, "are_photos": True}
    return quantize_calibrated(folded, images, run_float(folded, images), **options)


def stored_weights(graph):
    return [array for layer in graph.layers if layer.kernel is not None for array in (layer.kernel, layer.bias)]


def same_weights(graph, other):
    return all(np.array_equal(a, b) for a, b in zip(stored_weights(graph), stored_weights(other), strict=True))


def test_a_step_that_makes_things_worse_is_left_out_and_said(made, monkeypatch):
    folded, images, _ = made(SPEC)
    expected, fast = calibrated(folded, images, effort=Effort.FAST)
    # Rounded to nothing: a network that sees nothing.
    monkeypatch.setattr(quantizer, "round_weights", lambda kernel, *others: np.zeros(kernel.shape, np.int8))
    graph, report = calibrated(folded, images)
    assert [step.name for step in report.steps] == ["bias correction", "weight rounding"]
    planted = report.steps[1]
    assert not planted.kept
    assert planted.loss_after > planted.loss_before
    assert report.steps[0] == fast.steps[0]
    assert same_weights(graph, expected)
    assert report.to_json()["steps"][1]["kept"] is False


def test_a_wrong_bias_correction_is_left_out(made, monkeypatch):
    folded, images, found = made(SPEC)
    ranges = {**found.ranges, INPUT_NAME: (-1.0, 1.0)}
    plain = quantize(folded, Observed(ranges=ranges), correct_bias=False, optimize_rounding=False).graph
    monkeypatch.setattr(quantizer, "mean_sums", lambda kernel, *others: np.full(kernel.shape[3], 50.0))
    graph, report = calibrated(folded, images, effort=Effort.FAST)
    assert [step.kept for step in report.steps] == [False]
    assert same_weights(graph, plain)


@pytest.mark.parametrize("classes", [6, None])
def test_steps_are_measured_and_judged_by_it(stirred, classes):
    spec = replace(SPEC, classes=classes)
    folded = fold(spec, stirred(spec))
    _, report = calibrated(folded, images_for(spec, 12))
    assert report.metric == ("softmax KL divergence" if classes else "relative squared error")
    assert report.images == 12
    assert (report.top1_agreement is None) == (classes is None)
    assert [step.kept for step in report.steps] == [step.loss_after <= step.loss_before for step in report.steps]
    assert 0 < report.steps[0].loss_before < 0.1


def test_the_plain_quantiser_is_the_one_without_any_step(made):
    folded, images, found = made(SPEC)
    graph = quantize(folded, Observed(ranges=found.ranges), correct_bias=False, optimize_rounding=False).graph
    assert same_weights(graph, quantize_plainly(folded, images))
    for layer, original in zip(graph.layers, folded.layers, strict=True):
        if layer.kernel is not None:
            assert (np.abs(layer.kernel * layer.kernel_scale - original.kernel) <= layer.kernel_scale * 0.5001).all()


@pytest.mark.parametrize("images", ["one", "the same", "black"])
def test_few_and_flat_images_are_enough(made, images):
    folded, found, _ = made(SPEC)
    chosen = {"one": found[:1], "the same": found[:1].repeat(4, axis=0), "black": np.full_like(found[:3], -1)}[images]
    graph, report = calibrated(folded, chosen)
    assert report.images == len(chosen)
    assert all(np.isfinite((step.loss_before, step.loss_after, step.noise)).all() for step in report.steps)
    assert all(step.noise == pytest.approx(0, abs=1e-12) for step in report.steps)  # nothing varies
    answers = answers_of(graph, found)
    assert np.isfinite(answers).all()


@pytest.mark.parametrize("ends", [(-1.0, 1.0), (0.0, 1.0), (-0.5, 0.5)])
def test_no_pixel_lies_in_the_middle_between_two_stored_values(ends):
    normalization = Normalization.from_range(*ends)
    params = input_params(*normalization.input_range())
    values = normalization.apply(np.arange(256, dtype=np.uint8).reshape(-1, 1, 1, 1)).ravel().astype(np.float64)
    steps = values / params.scale + params.zero_point
    assert np.abs(steps - np.floor(steps) - 0.5).min() > 1e-3  # float32 is right to 3e-5 here
    assert steps.min() > -128.5
    assert steps.max() < 127.5
    assert params.real(np.array([params.zero_point], np.int8))[0] == 0  # padding


# Models that are hard to quantise.


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("conv_dw_3", {"variance": -1.0}),
        ("conv_pw_2", {"kernel": 3e38, "gamma": 1e3}),
        ("conv1", {"gamma": 3e38, "variance": 0}),
    ],
)
def test_weights_that_cannot_be_folded_are_one_line(stirred, name, changes):
    weights = stirred(SPEC)
    for field, value in changes.items():
        weights = with_layer(weights, name, **{field: np.full_like(getattr(weights[name], field), value)})
    check_weights(SPEC, weights, origin="a file")  # each number by itself is finite
    with pytest.raises(SpecError, match=rf"{name}.*variance") as raised:
        fold(SPEC, weights)
    assert len(str(raised.value).splitlines()) == 1


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("field", ["kernel", "beta", "variance"])
def test_weights_that_are_not_finite_are_refused_where_they_are_read(stirred, field, value):
    broken = getattr(stirred(SPEC)["conv_dw_2"], field).copy()
    broken.flat[0] = value
    with pytest.raises(SpecError, match=f"every weight must be finite.*1 NaN or infinite values in the {field}"):
        check_weights(SPEC, with_layer(stirred(SPEC), "conv_dw_2", **{field: broken}), origin="a file")


def litert(content, stored, output=None):
    interpreter = Interpreter(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    (given,), (answered,) = interpreter.get_input_details(), interpreter.get_output_details()
    answers = []
    for image in stored:
        interpreter.set_tensor(given["index"], image[None])
        interpreter.invoke()
        answers.append(interpreter.get_tensor(answered["index"])[0])
    assert output is None or answered["name"] == output
    return np.stack(answers).astype(int)


def kept_by_litert(graph, image, names):
    """Return what LiteRT computes in these tensors for one image."""
    interpreter = Interpreter(model_content=write_int8(graph), num_threads=1, experimental_preserve_all_tensors=True)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], graph.input.store(image[None]))
    interpreter.invoke()
    index = {tensor["name"]: tensor["index"] for tensor in interpreter.get_tensor_details()}
    return [interpreter.get_tensor(index[name]) for name in names]


def onnx_runtime(content, stored):
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(None, {"input": image[None]})[0] for image in stored]).astype(int)


def answers_of(graph, images):
    """Return LiteRT's answers as real numbers, after comparing them with ONNX Runtime's."""
    stored = graph.input.store(images)
    answers = litert(write_int8(graph), stored)
    other = onnx_runtime(write_onnx_int8(graph, OnnxOptions(layout=Layout.NHWC), IoType.INT8), stored)
    if graph.spec.classes is None:
        assert np.abs(answers - other.transpose(0, 2, 3, 1)).max() <= 1
    else:  # softmax: scales of 1/256 and 1/255
        assert np.abs((answers + 128) / 256 - (other + 128) / 255).max() <= 2 / 255
    return graph.layers[-1].output.real(answers.astype(np.int8))


def with_layer(weights, name, **changes):
    return {**weights, name: replace(weights[name], **changes)}


def dead_channel(weights, name, scale, value):
    """Return weights whose channel 0 of a layer is `value`, its kernel being almost nothing or nothing."""
    layer = weights[name]
    kernel, beta, mean = layer.kernel.copy(), layer.beta.copy(), layer.mean.copy()
    channels = kernel.swapaxes(2, 3) if "_dw_" in name else kernel
    channels[..., 0] *= scale
    beta[0], mean[0] = value, 0
    return with_layer(weights, name, kernel=kernel, beta=beta, mean=mean)


NO_TOP = replace(SPEC, classes=None)


@pytest.mark.parametrize("scale", [1e-9, 0.0], ids=["nearly", "wholly"])
@pytest.mark.parametrize("value", [3.0, -300.0, 1e6])
def test_dead_channels_with_a_real_bias_answer_it(stirred, scale, value):
    weights = stirred(NO_TOP)
    last = NO_TOP.layers()[-1].name
    for name in ("conv1", "conv_dw_2", last):
        weights = dead_channel(weights, name, scale, value)
    folded = fold(NO_TOP, weights)
    images = images_for(NO_TOP, 3)
    for graph in (quantize_plainly(folded, images), calibrated(folded, images)[0]):
        for layer in graph.layers:
            assert layer.bias is None or np.abs(layer.bias.astype(np.int64)).max() <= 2**30
            assert layer.kernel_scale is None or (layer.kernel_scale > 0).all()
        answers = answers_of(graph, images)
        step = graph.layers[-1].output.scale
        assert np.abs(answers[..., 0] - min(max(value, 0), 6)).max() <= step / 2 + 1e-6


def test_a_layer_without_any_weight_and_a_variance_of_zero(stirred):
    weights = stirred(SPEC)
    weights = with_layer(weights, "conv_pw_2", kernel=np.zeros_like(weights["conv_pw_2"].kernel))
    variance = weights["conv_dw_3"].variance.copy()
    variance[:2] = 0  # gamma / sqrt(epsilon): 32 times the weights of the others
    weights = with_layer(weights, "conv_dw_3", variance=variance)
    folded, images = fold(SPEC, weights), images_for(SPEC)
    graph, _ = calibrated(folded, images)
    expected = run_float(folded, images).outputs
    assert np.abs(answers_of(graph, images) - expected).max() < 0.05
    assert params_of(graph, "conv_pw_2") == QuantParams.of_range(0, 6)


def test_weights_of_zero_everywhere_answer_alike(stirred):
    weights = {name: replace(layer, kernel=np.zeros_like(layer.kernel)) for name, layer in stirred(SPEC).items()}
    graph, _ = calibrated(fold(SPEC, weights), images_for(SPEC))
    np.testing.assert_allclose(answers_of(graph, images_for(SPEC, 2)), 1 / 6, atol=1 / 256)


def joined_layers():
    """The first concatenation of DENSE and what it reads."""
    joined = next(layer for layer in DENSE.layers() if layer.kind is LayerKind.CONCATENATION)
    return joined.name, joined.inputs


@pytest.mark.filterwarnings("ignore:Warning. Enabling `experimental_preserve_all_tensors`:UserWarning")
def test_branches_of_different_ranges_are_joined(made, monkeypatch):
    folded, images, _ = made(DENSE)
    name, branches = joined_layers()
    fixed = quantizer.fixed_range
    narrow = {branches[0]: (0.0, 1.5)}
    monkeypatch.setattr(quantizer, "fixed_range", lambda layer: narrow.get(layer.spec.name) or fixed(layer))
    graph = quantize_plainly(folded, images)
    params = [params_of(graph, branch) for branch in branches]
    assert params[0].scale == pytest.approx(params[1].scale / 4)
    assert params_of(graph, name) == params[1]  # the wider one: no value is cut off
    chance = np.random.default_rng(5)
    shapes = {layer.name: layer.out_shape_hwc for layer in DENSE.layers()}
    reals = [chance.uniform(0, 1.5, (2, *shapes[branch])).astype(np.float32) for branch in branches]
    stored = [(store(param, values), param) for param, values in zip(params, reals, strict=True)]
    joined = next(layer for layer in graph.layers if layer.spec.name == name)
    found = real(joined.output, run_layer(joined, stored))
    steps = params[0].scale / 2 + params[1].scale / 2  # rounded once in each scale
    np.testing.assert_allclose(found, np.concatenate(reals, axis=3), atol=steps + 1e-6)
    # LiteRT refuses to join int8 tensors of two scales: the file must not ask it to.
    *read, written = (values.astype(np.float32) for values in kept_by_litert(graph, images[0], [*branches, name]))
    for index, param in enumerate(params):
        read[index] = (read[index] - param.zero_point) * param.scale
    written = (written - joined.output.zero_point) * joined.output.scale
    np.testing.assert_allclose(written, np.concatenate(read, axis=3), atol=joined.output.scale / 2 + 1e-6)
    assert np.ptp(read[0]) > 1  # there was something to join
