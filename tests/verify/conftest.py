"""Small networks with random weights, written as files with sidecars; no framework is started for them."""

from dataclasses import replace

import numpy as np
import pytest

from mnet_deploy.artifact import Artifact, TensorInfo, file_sha256, sidecar_path
from mnet_deploy.converters import calibration
from mnet_deploy.converters.float_pass import run_float
from mnet_deploy.converters.folded_graph import fold
from mnet_deploy.converters.onnx_float import write_float as onnx_float
from mnet_deploy.converters.onnx_int8 import write_int8 as onnx_int8
from mnet_deploy.converters.options import IoType, OnnxOptions
from mnet_deploy.converters.quantizer import Observed, quantize
from mnet_deploy.converters.tflite_writer import write_float as tflite_float
from mnet_deploy.converters.tflite_writer import write_int8 as tflite_int8
from mnet_deploy.graph_readers import read_graph
from mnet_deploy.models.weights import random_weights
from mnet_deploy.normalization import Normalization
from mnet_deploy.spec import ModelSpec
from mnet_deploy.spec.families import INPUT_NAME

SPEC = ModelSpec(alpha=0.25, resolution_px=64, classes=10)
CLASSIFIER = "conv_preds"


@pytest.fixture(scope="session")
def spec():
    return SPEC


@pytest.fixture(scope="session")
def weights():
    """Weights whose batch-norm statistics are random, with a classifier whose answers differ."""
    chance = np.random.default_rng(5)
    made = {}
    for name, layer in random_weights(SPEC, seed=5).items():
        if layer.gamma is None:
            made[name] = replace(layer, kernel=layer.kernel * 5)
            continue
        channels = len(layer.gamma)
        statistics = {
            "gamma": chance.uniform(0.5, 1.5, channels),
            "beta": chance.normal(0, 0.3, channels),
            "mean": chance.normal(0, 0.3, channels),
            "variance": chance.uniform(0.5, 1.5, channels),
        }
        made[name] = replace(layer, **{key: value.astype(np.float32) for key, value in statistics.items()})
    return made


@pytest.fixture(scope="session")
def folded(weights):
    return fold(SPEC, weights)


@pytest.fixture(scope="session")
def images():
    """Return a function that makes generated images, normalised."""

    def make(count, seed=0):
        made = calibration.generated(count=count, seed=seed, resolution_px=SPEC.resolution_px)
        return Normalization().apply(made.pixels)

    return make


@pytest.fixture(scope="session")
def int8_graph(images):
    """Return a function that quantises a folded graph; layers' ranges may be given."""

    def make(graph, **ranges):
        inputs = images(16)
        found = run_float(graph, inputs)
        observed = Observed(ranges={**found.ranges, INPUT_NAME: (-1.0, 1.0), **ranges}, sum_means=found.means)
        return quantize(graph, observed, inputs, optimize_rounding=False).graph

    return make


@pytest.fixture(scope="session")
def quantized(folded, int8_graph):
    return int8_graph(folded)


@pytest.fixture(scope="session")
def write_file():
    """Return a function that writes a graph as a file with a sidecar; a quantised graph in int8."""

    def write(path, graph):
        is_tflite, is_int8 = path.suffix == ".tflite", hasattr(graph, "input")
        if is_int8:
            content = tflite_int8(graph, IoType.INT8) if is_tflite else onnx_int8(graph, OnnxOptions(), IoType.INT8)
        else:
            content = tflite_float(graph) if is_tflite else onnx_float(graph, OnnxOptions())
        path.write_bytes(content)
        sidecar_path(path).write_text(describe(path, graph.spec, is_int8=is_int8).to_json(), encoding="utf-8")
        return path

    return write


def describe(path, spec, *, is_int8):
    graph = read_graph(path)
    given, answered = (graph.tensors[name] for name in (graph.inputs[0], graph.outputs[0]))
    layout = "NHWC" if path.suffix == ".tflite" else "NCHW"
    return Artifact(
        file=path.name,
        file_format=path.suffix[1:],
        precision="int8" if is_int8 else "fp32",
        io="int8" if is_int8 else "float",
        sha256=file_sha256(path),
        size_bytes=path.stat().st_size,
        spec=spec,
        normalization=Normalization(),
        preprocessing={},
        input=info(given, layout),
        output=info(answered, "NC"),
        op_histogram={},
        labels=None,
        weights={"origin": "random", "path": None, "sha256": "", "trained": False, "notes": []},
        calibration={"source": "generated", "count": 16, "seed": 0, "digest": "", "skipped": []},
        checks={},
        unfit_for_accuracy=(),
        tool_versions={},
    )


def info(tensor, layout):
    scale, zero_point = (values[0] if values else None for values in (tensor.scale, tensor.zero_point))
    fields = {"name": tensor.name, "shape": tensor.shape, "dtype": tensor.dtype}
    return TensorInfo(**fields, layout=layout, scale=scale, zero_point=zero_point)
