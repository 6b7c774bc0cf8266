"""Time int8 MobileNet v1 as .onnx against LiteRT and against what ONNX Runtime's own quantiser makes of it.

All forms of a size run in turns in one process, pinned to as many cores as threads. Weights are random: latency does
not depend on them. What is printed is the median over blocks of the tenth percentile of a block, which a busy machine
moves less than the median. It asserts nothing; the goals for one thread are the last row.

Usage: onnx_latency.py [--threads N] [--blocks N]
"""

import argparse
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import onnxruntime
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from mnet_deploy.converters.calibrated_quantizer import quantize_plainly
from mnet_deploy.converters.folded_graph import fold
from mnet_deploy.converters.onnx_float import write_float
from mnet_deploy.converters.onnx_int8 import write_int8
from mnet_deploy.converters.onnx_x86 import write_int8_x86
from mnet_deploy.converters.options import IoType, Layout, OnnxOptions
from mnet_deploy.models.load import load_model
from mnet_deploy.text_table import render_table

SIZES = ((1.0, 224), (0.5, 160), (0.25, 128))
GOALS = (1.02, 1.12, 1.25)  # of the x86 form in uint8, against LiteRT, one thread
CALIBRATION_IMAGES = 8
BLOCK_S = 0.15
UNTIMED_RUNS = 3  # at the start of a block: caches, and threads of the form before that still spin
ROWS = {
    "litert": "LiteRT int8, invoke()",
    "stock": "quantize_static QDQ, float NCHW, run()",
    "tf2onnx": "tf2onnx + quantize_static, float, run()",
    "portable": "mnet portable, float NCHW, run()",
    "x86 float": "mnet x86, float NHWC, run()",
    "x86 run": "mnet x86, uint8 NHWC, run()",
    "x86 bound": "mnet x86, uint8 NHWC, io_binding",
}

Images = NDArray[Any]
Run = Callable[[], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Medians over the blocks of one form: of its latency, and of that over LiteRT's in the same block."""

    latency_s: float
    ratio: float


class _Reader(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no type information
    """Hands calibration images to `quantize_static` one by one."""

    def __init__(self, name: str, images: Images) -> None:
        self._feeds = iter([{name: image} for image in one_by_one(images)])

    def get_next(self) -> dict[str, Images] | None:
        return next(self._feeds, None)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--threads", type=int, default=1, help="of every engine (default: %(default)s)")
    parser.add_argument("--blocks", type=int, default=24, help="of each form and size (default: %(default)s)")
    args = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):  # Linux only
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-args.threads :])
    if find_spec("tf2onnx") is None:
        print("no row for tf2onnx: it is not installed (pip install --no-deps tf2onnx)", file=sys.stderr)
    logging.disable(logging.WARNING)  # quantize_static recommends a pre-processing that finds nothing to do here
    columns = []
    for alpha, resolution_px in SIZES:
        with tempfile.TemporaryDirectory(prefix="mnet-onnx-latency-") as folder:
            forms = dict(all_forms(alpha, resolution_px, args.threads, Path(folder)))
            columns.append(race(forms, args.blocks))
    print(f"onnxruntime {onnxruntime.__version__}, {args.threads} thread(s); in brackets: against LiteRT")
    print(as_table(columns, goals=args.threads == 1))
    return 0


def all_forms(alpha: float, resolution_px: int, threads: int, folder: Path) -> Iterator[tuple[str, Run]]:
    """Yield the key of each row with what runs it once."""
    tflite = export_tflite(alpha, resolution_px, folder)
    yield "litert", litert_run(tflite["int8"], threads)
    loaded = load_model("random", {"alpha": alpha, "resolution_px": resolution_px}, seed=0)
    shape = (CALIBRATION_IMAGES, resolution_px, resolution_px, 3)
    images: Images = np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)
    nchw = images.transpose(0, 3, 1, 2)
    folded = fold(loaded.spec, loaded.weights)
    graph = quantize_plainly(folded, images)
    (folder / "float.onnx").write_bytes(write_float(folded, OnnxOptions()))
    yield "stock", onnx_run(stock_quantized(folder / "float.onnx", nchw), nchw, threads)
    if find_spec("tf2onnx") is not None:
        yield "tf2onnx", onnx_run(stock_quantized(through_tf2onnx(tflite["fp32"]), images), images, threads)
    yield "portable", onnx_run(write_int8(graph, OnnxOptions()), nchw, threads)
    nhwc = OnnxOptions(layout=Layout.NHWC)
    yield "x86 float", onnx_run(write_int8_x86(graph, nhwc), images, threads)
    pixels = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    yield "x86 run", onnx_run(write_int8_x86(graph, nhwc, IoType.UINT8), pixels, threads)
    yield "x86 bound", onnx_run(write_int8_x86(graph, nhwc, IoType.UINT8), pixels, threads, bound=True)


def export_tflite(alpha: float, resolution_px: int, folder: Path) -> dict[str, Path]:
    """Return the .tflite of each precision."""
    command = [str(Path(sys.executable).with_name("mnet")), "export", "--weights", "random", "--precision", "fp32,int8"]
    command += ["--alpha", str(alpha), "--resolution", str(resolution_px), "--out", str(folder)]
    command += ["--calibration-count", str(CALIBRATION_IMAGES)]
    subprocess.run(command, check=True, capture_output=True)
    return {precision: next(folder.glob(f"*_{precision}.tflite")) for precision in ("fp32", "int8")}


def through_tf2onnx(tflite: Path) -> Path:
    """Return the float .onnx that tf2onnx makes of a float .tflite; Keras 3 models it does not read."""
    out = tflite.with_suffix(".onnx")
    command = [sys.executable, "-m", "tf2onnx.convert", "--tflite", str(tflite), "--output", str(out), "--opset", "17"]
    subprocess.run(command, check=True, capture_output=True)
    return out


def stock_quantized(model: Path, images: Images) -> bytes:
    """Return what onnxruntime's quantiser makes of a float .onnx: int8 QDQ, a scale per channel, MinMax."""
    out = model.with_suffix(".int8.onnx")
    name = session_of(model.read_bytes(), threads=1).get_inputs()[0].name
    quantize_static(
        model,
        out,
        _Reader(name, images),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QInt8,
        weight_type=QuantType.QInt8,
    )
    return out.read_bytes()


def litert_run(path: Path, threads: int) -> Run:
    interpreter = Interpreter(str(path), num_threads=threads)
    interpreter.allocate_tensors()
    run: Run = interpreter.invoke
    return run


def onnx_run(content: bytes, images: Images, threads: int, *, bound: bool = False) -> Run:
    session = session_of(content, threads)
    given, answered = session.get_inputs()[0], session.get_outputs()[0]
    image = next(one_by_one(images))
    if not bound:
        return lambda: session.run(None, {given.name: image})
    binding = session.io_binding()
    binding.bind_ortvalue_input(given.name, onnxruntime.OrtValue.ortvalue_from_numpy(image))
    answer = onnxruntime.OrtValue.ortvalue_from_shape_and_type(answered.shape, image.dtype)
    binding.bind_ortvalue_output(answered.name, answer)
    return lambda: session.run_with_iobinding(binding)


def session_of(content: bytes, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def one_by_one(images: Images) -> Iterator[Images]:
    return (np.ascontiguousarray(image[np.newaxis]) for image in images)


def race(forms: dict[str, Run], blocks: int) -> dict[str, Timing]:
    """Time the forms in blocks, in turns: there and back."""
    runs = {name: max(5, round(BLOCK_S / block_s(run, 5))) for name, run in forms.items()}
    latencies_s: dict[str, list[float]] = {name: [] for name in forms}
    for block in range(blocks):
        for name in list(forms)[:: 1 if block % 2 == 0 else -1]:
            latencies_s[name].append(block_s(forms[name], runs[name]))
    return {
        name: Timing(
            latency_s=median(values),
            ratio=median(ours / theirs for ours, theirs in zip(values, latencies_s["litert"], strict=True)),
        )
        for name, values in latencies_s.items()
    }


def block_s(run: Run, count: int) -> float:
    """Return the tenth percentile of the latency of a few runs."""
    for _ in range(UNTIMED_RUNS):
        run()
    latencies_s = []
    for _ in range(count):
        start_s = time.perf_counter()
        run()
        latencies_s.append(time.perf_counter() - start_s)
    return float(np.percentile(latencies_s, 10))


def as_table(columns: list[dict[str, Timing]], *, goals: bool) -> str:
    rows = [[title, *(cell(column[key]) for column in columns)] for key, title in ROWS.items() if key in columns[0]]
    if goals:
        rows += [[], ["goal for mnet x86, uint8, run()", *(f"({goal:.2f})" for goal in GOALS)]]
    header = ["", *(f"{alpha}-{resolution_px}" for alpha, resolution_px in SIZES)]
    return render_table(header, rows, align="<>>>")


def cell(timing: Timing) -> str:
    return f"{timing.latency_s * 1e3:.3f} ms ({timing.ratio:.2f})"


if __name__ == "__main__":
    sys.exit(main())
