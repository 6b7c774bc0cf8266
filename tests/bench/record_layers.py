"""Record what engines say of the time of their ops: writes tests/bench/data/layers_*.json, which the tests read.

Usage: python tests/bench/record_layers.py [--python PYTHON] [NAME ...]

Runs the agent's command `layers` on small models with random weights; NAME: one of those listed by --help. --python is
an interpreter with another version of an engine: its records are named by that version.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from mnet_deploy.converters.calibrated_quantizer import quantize_plainly
from mnet_deploy.converters.folded_graph import FoldedGraph, fold
from mnet_deploy.converters.onnx_float import write_float as onnx_float
from mnet_deploy.converters.onnx_int8 import write_int8 as onnx_int8
from mnet_deploy.converters.onnx_x86 import write_int8_x86
from mnet_deploy.converters.options import IoType, Layout, OnnxOptions
from mnet_deploy.converters.ort_file import to_ort
from mnet_deploy.converters.quantized_graph import QuantizedGraph
from mnet_deploy.converters.tflite_writer import write_float as tflite_float
from mnet_deploy.converters.tflite_writer import write_int8 as tflite_int8
from mnet_deploy.models.weights import random_weights
from mnet_deploy.runners.on_device import agent
from mnet_deploy.spec import Family, ModelSpec

DATA = Path(__file__).resolve().parent / "data"
RUNS = 20
NHWC = OnnxOptions(layout=Layout.NHWC)
FORMS: dict[str, Callable[[FoldedGraph, QuantizedGraph], bytes]] = {
    "fp32.tflite": lambda folded, _: tflite_float(folded),
    "int8.tflite": lambda _, quantized: tflite_int8(quantized),
    "int8_uint8.tflite": lambda _, quantized: tflite_int8(quantized, IoType.UINT8),
    "fp32.onnx": lambda folded, _: onnx_float(folded, OnnxOptions()),
    "int8.onnx": lambda _, quantized: onnx_int8(quantized, OnnxOptions()),
    "int8_x86.onnx": lambda _, quantized: write_int8_x86(quantized, NHWC, IoType.UINT8),
    "fp32.ort": lambda folded, _: to_ort(onnx_float(folded, OnnxOptions())).content,
    "int8.ort": lambda _, quantized: to_ort(onnx_int8(quantized, OnnxOptions())).content,
}
SPECS = {str(family): ModelSpec(family=family, alpha=0.25, resolution_px=64, classes=10) for family in Family}
NAMES = [f"mobilenet_v1_{form}" for form in FORMS] + [
    f"{Family.DENSE1_MOBILENET}_{form}" for form in ("int8.tflite", "fp32.onnx", "int8.onnx", "int8_x86.onnx")
]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default=sys.executable, help="with the engine (default: this one)")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(NAMES))
    args = parser.parse_args()
    for name in args.names or NAMES:
        family = next(family for family in SPECS if name.startswith(f"{family}_"))
        record(name, SPECS[family], FORMS[name.removeprefix(f"{family}_")], args.python)
    return 0


def record(name: str, spec: ModelSpec, form: Callable[[FoldedGraph, QuantizedGraph], bytes], python: str) -> None:
    folded = fold(spec, random_weights(spec, seed=0))
    images = np.random.default_rng(0).uniform(-1, 1, (4, spec.resolution_px, spec.resolution_px, 3))
    content = form(folded, quantize_plainly(folded, images.astype(np.float32)))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"model{Path(name).suffix}")
        path.write_bytes(content)
        start, layers = listed(path, python)
    version = "" if python == sys.executable else f"_{start['engine_version']}"
    out = DATA / f"layers_{name}{version}.json"
    ops = [{**op, "mean_s": float(f"{op['mean_s']:.4g}")} for op in layers["ops"]]
    said = {key: start[key] for key in ("engine", "engine_version", "machine")}
    head = json.dumps({"spec": spec.to_json(), **said, "source": layers["source"], "total_s": layers["total_s"]})
    lines = ",\n".join(map(json.dumps, ops))
    out.write_text(f'{head[:-1]}, "ops": [\n{lines}\n]}}\n', encoding="utf-8")
    print(out.name, len(ops), "ops")


def listed(path: Path, python: str) -> tuple[dict[str, object], dict[str, object]]:
    """Return the agent's events `start` and `layers`."""
    options = ["--model", str(path), "--nonce", "n", "--runs", str(RUNS)]
    command = [python, "-I", agent.__file__, "layers", *options]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        events = {event["event"]: event for event in map(json.loads, process.stdout)}
    return events["start"], events["layers"]


if __name__ == "__main__":
    sys.exit(main())
