"""Run our .onnx files in the oldest ONNX Runtime that each Python offers, and compare with the one installed here.

    python tools/oldest_engines.py [PYTHON:ONNXRUNTIME ...]     e.g. 3.9:1.19.2

For every engine a throw-away environment gets that onnxruntime and NumPy; the on-device agent runs in it, as it would
on a device. An engine whose Python is not on this machine is skipped with a line that says so. Exit status: 0 all
engines that ran agree, 1 one does not, or none ran.
"""

import argparse
import json
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from mnet_deploy.converters.calibrated_quantizer import quantize_plainly
from mnet_deploy.converters.calibration import generated
from mnet_deploy.converters.folded_graph import FoldedGraph, fold
from mnet_deploy.converters.onnx_float import write_float
from mnet_deploy.converters.onnx_int8 import write_int8
from mnet_deploy.converters.onnx_qdq import SOFTMAX_PARAMS
from mnet_deploy.converters.onnx_x86 import write_int8_x86
from mnet_deploy.converters.options import BatchSize, IoType, Layout, OnnxOptions
from mnet_deploy.models.weights import random_weights
from mnet_deploy.normalization import Normalization
from mnet_deploy.runners.local import infer
from mnet_deploy.spec import Family, ModelSpec

ROOT = Path(__file__).resolve().parent.parent
AGENT = ROOT / "runners" / "on_device" / "agent.py"
INSTALL_TIMEOUT_S = 600
RUN_TIMEOUT_S = 120
IMAGES = 8
RESOLUTION_PX = 64
SCORE_DEVIATION = 2.0  # between images, before the softmax: top classes of 0.3 to 0.9
FLOAT_TOLERANCE = 1e-5  # of a probability: another order of summing
INT8_TOLERANCE = 2 / 256  # two steps of the output's scale: other roundings on the way
INT8_STEP = SOFTMAX_PARAMS.scale


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """A Python and an ONNX Runtime: `3.9:1.19.2`."""

    python: str
    onnxruntime: str

    @classmethod
    def parse(cls, text: str) -> Self:
        python, separator, version = text.partition(":")
        if not separator or not python or not version:
            raise argparse.ArgumentTypeError(f"expected PYTHON:ONNXRUNTIME, e.g. 3.9:1.19.2; received {text!r}")
        return cls(python=python, onnxruntime=version)

    @property
    def requirements(self) -> tuple[str, ...]:
        """What pip installs; wheels before 1.19 were built for NumPy 1 and do not say so."""
        major, minor = (int(part) for part in self.onnxruntime.split(".")[:2])
        numpy = "numpy<2" if (major, minor) < (1, 19) else "numpy"
        return (f"onnxruntime=={self.onnxruntime}", numpy)

    def __str__(self) -> str:
        return f"Python {self.python}, onnxruntime {self.onnxruntime}"


# The oldest that knows opset 17, what pip picks on the oldest Python that the agent supports, and on the Python
# after it, and the oldest that this project's own environment may hold.
ENGINES = tuple(Engine.parse(text) for text in ("3.9:1.12.0", "3.9:1.19.2", "3.10:1.23.2", "3.11:1.20.0"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A file with inputs, and the answers of the engine installed here.

    Attributes:
        file: the .onnx.
        inputs: .npy file, [images, ...] as the file takes them.
        answers: [images, classes] probabilities.
        tolerance: largest difference of a probability.
    """

    file: Path
    inputs: Path
    answers: NDArray[np.float64]
    tolerance: float


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engines", nargs="*", type=Engine.parse, metavar="PYTHON:ONNXRUNTIME")
    engines: Sequence[Engine] = parser.parse_args().engines or ENGINES
    with tempfile.TemporaryDirectory(prefix="mnet-oldest-engines-") as name:
        folder = Path(name)
        cases = list(_cases(folder))
        print(f"{len(cases)} files of {len(Family)} families, {IMAGES} images each", flush=True)
        agreed = [_try(engine, cases, folder) for engine in engines]
    tried = [agrees for agrees in agreed if agrees is not None]
    if not tried:
        print("oldest-engines: no engine was tried: none of the Pythons is here", file=sys.stderr)
    return 0 if tried and all(tried) else 1


def _cases(folder: Path) -> Iterator[Case]:
    """Write every form of a small model of every family; yield it with the answers of the engine installed here."""
    pixels = generated(count=IMAGES, resolution_px=RESOLUTION_PX).pixels
    images = Normalization().for_channels(3).apply(pixels)
    for family in Family:
        spec = ModelSpec(family=family, alpha=0.25, resolution_px=RESOLUTION_PX, classes=10)
        graph = _decided(fold(spec, random_weights(spec, seed=0)), images, folder)
        for name, (content, inputs) in _forms(graph, images).items():
            path, given = folder / f"{family}_{name}.onnx", folder / f"{family}_{name}.npy"
            path.write_bytes(content)
            np.save(given, inputs)
            answers = _probabilities(infer(path, inputs).outputs)
            tolerance = INT8_TOLERANCE if "int8" in name else FLOAT_TOLERANCE
            yield Case(file=path, inputs=given, answers=answers, tolerance=tolerance)


def _decided(graph: FoldedGraph, images: NDArray[np.float32], folder: Path) -> FoldedGraph:
    """Return the model with its last kernel scaled so that each image gets another, clear answer.

    Random weights answer every image alike, with all classes about equal: an engine could compute anything.
    """
    (head,) = (layer for layer in graph.layers if layer.spec.name == graph.layers[-1].spec.inputs[0])
    path = folder / "undecided.onnx"
    path.write_bytes(write_float(graph, OnnxOptions()))
    scores = np.log(infer(path, _planes(images)).outputs)
    centred = scores - scores.mean(axis=0)
    gain = np.float32(SCORE_DEVIATION / centred.std())
    kernel, bias = head.require_weights()
    decided = replace(head, kernel=kernel * gain, bias=(bias - scores.mean(axis=0)) * gain)
    return replace(graph, layers=tuple(decided if layer is head else layer for layer in graph.layers))


def _planes(images: NDArray[Any]) -> NDArray[Any]:
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2))


def _forms(graph: FoldedGraph, images: NDArray[np.float32]) -> dict[str, tuple[bytes, NDArray[Any]]]:
    """Return file and inputs by name; layout and batch are independent of the family, so one family has them all."""
    quantized = quantize_plainly(graph, images)
    stored = quantized.input.store(images)
    planes = _planes(images)
    plain, nhwc = OnnxOptions(), OnnxOptions(layout=Layout.NHWC)
    dynamic = OnnxOptions(batch=BatchSize.DYNAMIC)
    forms: dict[str, tuple[bytes, NDArray[Any]]] = {
        "fp32": (write_float(graph, plain), planes),
        "fp16": (write_float(graph, plain, half_weights=True), planes),
        "int8": (write_int8(quantized, plain), planes),
        "int8_x86": (write_int8_x86(quantized, plain), planes),
    }
    if graph.spec.family is not Family.MOBILENET_V1:
        return forms
    unsigned = (stored.astype(np.int16) + 128).astype(np.uint8)
    return {
        **forms,
        "fp32_nhwc": (write_float(graph, nhwc), images),
        "fp32_dynamic": (write_float(graph, dynamic), planes),
        "int8_nhwc": (write_int8(quantized, nhwc), images),
        "int8_dynamic": (write_int8(quantized, dynamic), planes),
        "int8_io_int8": (write_int8(quantized, plain, IoType.INT8), _planes(stored)),
        "int8_io_uint8": (write_int8(quantized, plain, IoType.UINT8), _planes(unsigned)),
        "int8_io_uint8_nhwc": (write_int8(quantized, nhwc, IoType.UINT8), unsigned),
    }


def _probabilities(outputs: NDArray[Any]) -> NDArray[np.float64]:
    """Return what a file answers as probabilities: integers are steps of the softmax, from -128 or from 0."""
    values = outputs.astype(np.float64)
    if outputs.dtype == np.int8:
        return (values + 128) * INT8_STEP
    return values * INT8_STEP if outputs.dtype == np.uint8 else values


def _try(engine: Engine, cases: Sequence[Case], folder: Path) -> bool | None:
    """Print how an engine's answers compare; return whether they agree, None if its Python is not here."""
    interpreter = _find_python(engine.python)
    if interpreter is None:
        print(f"{engine}: skipped, there is no python{engine.python} here (on PATH or in pyenv)", flush=True)
        return None
    environment = folder / f"{engine.python}-{engine.onnxruntime}"
    try:
        python = _install(interpreter, engine, environment)
        differences = {case.file.stem: _difference(python, engine.onnxruntime, case) for case in cases}
    except subprocess.CalledProcessError as error:
        lines = (error.stderr or "").strip().splitlines() or [f"exit status {error.returncode}"]
        print(f"{engine}: FAILED: {lines[-1]}", flush=True)
        return False
    except subprocess.TimeoutExpired as error:
        print(f"{engine}: FAILED: {Path(error.cmd[0]).name} did not end within {error.timeout:g} s", flush=True)
        return False
    finally:
        shutil.rmtree(environment, ignore_errors=True)
    return _report(engine, cases, differences)


def _report(engine: Engine, cases: Sequence[Case], differences: dict[str, tuple[float, bool]]) -> bool:
    wrong = []
    for kind, integer in (("float", False), ("int8", True)):
        names = [case.file.stem for case in cases if (case.tolerance == INT8_TOLERANCE) is integer]
        worst = max(differences[name][0] for name in names)
        equal = sum(differences[name][0] == 0 for name in names)
        same_top = sum(differences[name][1] for name in names)
        print(
            f"{engine}: {len(names)} {kind} files, largest difference {worst:.2g}, {equal} bit-equal,"
            f" same top class in {same_top}",
            flush=True,
        )
    for case in cases:
        difference, same_top = differences[case.file.stem]
        if not difference <= case.tolerance or not same_top:
            wrong.append(f"{case.file.stem} ({difference:.2g})")
    if wrong:
        print(f"{engine}: WRONG: {', '.join(wrong)}", flush=True)
    return not wrong


def _difference(python: Path, version: str, case: Case) -> tuple[float, bool]:
    """Run the agent; return the largest difference of a probability, and whether every top class is the same.

    Anything but a whole answer of that version of the engine is infinitely far off. Where two classes are equal to
    within the tolerance, either is the top one.
    """
    answered, nonce = case.file.with_suffix(".answers.npy"), secrets.token_hex(8)
    command = (python, "-I", AGENT, "infer", "--model", case.file, "--inputs", case.inputs, "--outputs", answered)
    stdout = _call(RUN_TIMEOUT_S, *command, "--nonce", nonce)
    events = [json.loads(line) for line in stdout.splitlines() if line.startswith("{")]
    if not events or events[0].get("engine_version") != version or events[-1].get("nonce") != nonce:
        return float("inf"), False
    found = _probabilities(np.load(answered, allow_pickle=False))
    answered.unlink()
    if found.shape != case.answers.shape:
        return float("inf"), False
    chosen = np.take_along_axis(case.answers, found.argmax(1)[:, None], axis=1)[:, 0]
    same_top = bool((case.answers.max(1) - chosen <= case.tolerance).all())
    return float(np.abs(found - case.answers).max()), same_top


def _install(interpreter: Path, engine: Engine, environment: Path) -> Path:
    _call(INSTALL_TIMEOUT_S, interpreter, "-m", "venv", environment)
    python = environment / "bin" / "python"
    quiet = ("--quiet", "--disable-pip-version-check", "--only-binary", ":all:")
    _call(INSTALL_TIMEOUT_S, python, "-m", "pip", "install", *quiet, *engine.requirements)
    return python


def _find_python(version: str) -> Path | None:
    """Return an interpreter of this version that starts: one of pyenv first, whose shims start only chosen versions."""
    found = [*sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python{version}"))]
    if on_path := shutil.which(f"python{version}"):
        found.append(Path(on_path))
    for candidate in found:
        try:
            _call(RUN_TIMEOUT_S, candidate, "-c", "import venv, ensurepip")
        except (OSError, subprocess.SubprocessError):
            continue
        return candidate
    return None


def _call(timeout_s: float, *command: str | Path) -> str:
    """Run a command to its end and return its stdout; raises `CalledProcessError` or `TimeoutExpired`."""
    arguments = [str(part) for part in command]
    return subprocess.run(arguments, check=True, capture_output=True, text=True, timeout=timeout_s).stdout


if __name__ == "__main__":
    sys.exit(main())
