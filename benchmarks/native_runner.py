"""Time the same files with the agent (Python) and with mnet-runner (C), on this machine, one thread.

Both run the same version of an engine. Blocks of both, each a process of its own, in turns: A B, B A, ... What is
printed is the median of the block medians of each, and the ratio with its 95 % interval. It asserts nothing.

LiteRT's call takes the same time from both. ONNX Runtime's takes 2.5 % less from C on x86-64, at small and at large
sizes: just outside the goal. It is not the call (`io_binding` takes as long as `run`); the package holds the engine
twice, in the module that Python loads and as the library that C loads; that these differ is a guess.

Usage: native_runner.py [--rounds N] [--block-s S]
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from mnet_deploy.measurement.ratios import ratio_interval, ratio_of_medians
from mnet_deploy.runners.native.build import build_runner, host_target
from mnet_deploy.runners.native.engine_library import installed_library
from mnet_deploy.runners.on_device import agent
from mnet_deploy.text_table import render_table
from mnet_deploy.units import format_seconds

SIZES = ((0.25, 128), (1.0, 224))
GOAL = 0.02
TIMEOUT_S = 120
ENGINES = {".tflite": "litert", ".onnx": "onnxruntime"}
AGENT = (sys.executable, "-I", agent.__file__)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=12, help="of two blocks (default: %(default)s)")
    parser.add_argument("--block-s", type=float, default=0.5, help="of each block (default: %(default)s)")
    args = parser.parse_args()
    native = [str(build_runner(host_target()))]
    for engine in ENGINES.values():
        native += ["--library", f"{engine}={installed_library(engine).path}"]
    rows = []
    with tempfile.TemporaryDirectory(prefix="mnet-native-runner-") as folder:
        for alpha, resolution_px in SIZES:
            for path in export(alpha, resolution_px, Path(folder)):
                rows += [row(path, delegate, native, args) for delegate in delegates(path)]
    header = ["", "agent.py", "mnet-runner", "mnet-runner / agent.py", "goal"]
    print(render_table(header, rows, align="<>>>>"))
    return 0


def export(alpha: float, resolution_px: int, folder: Path) -> list[Path]:
    """Return an int8 .tflite and .onnx with random weights: latency does not depend on them."""
    out = folder / f"{alpha}-{resolution_px}"
    command = [str(Path(sys.executable).with_name("mnet")), "export", "--weights", "random", "--precision", "int8"]
    command += ["--format", "tflite,onnx", "--calibration-count", "8", "--effort", "fast", "--out", str(out)]
    command += ["--alpha", str(alpha), "--resolution", str(resolution_px)]
    subprocess.run(command, check=True, capture_output=True)
    return [path for suffix in ENGINES for path in out.glob(f"*{suffix}")]


def delegates(path: Path) -> tuple[str, ...]:
    return ("default", "none") if path.suffix == ".tflite" else ("default",)


def row(path: Path, delegate: str, native: Sequence[str], args: argparse.Namespace) -> list[str]:
    ours_s: list[float] = []
    theirs_s: list[float] = []
    options = ["time", "--model", str(path), "--nonce", "0", "--delegate", delegate, "--block-s", str(args.block_s)]
    options += ["--warmup-s", "0.2", "--engine", ENGINES[path.suffix]]
    if hasattr(os, "sched_getaffinity"):  # Linux only
        options += ["--affinity", str(max(os.sched_getaffinity(0)))]
    for number in range(args.rounds):
        turns = [(ours_s, native), (theirs_s, AGENT)]
        for medians_s, program in turns if number % 2 else turns[::-1]:
            medians_s.append(block_s([*program, *options]))
    interval = ratio_interval(ours_s, theirs_s)
    between = "" if interval is None else f" ({interval[0]:.3f} to {interval[1]:.3f})"
    return [
        f"{path.name}{', no delegate' if delegate == 'none' else ''}",
        format_seconds(median(theirs_s)),
        format_seconds(median(ours_s)),
        f"{ratio_of_medians(ours_s, theirs_s):.3f}{between}",
        f"{1 - GOAL:.2f} to {1 + GOAL:.2f}",
    ]


def block_s(command: Sequence[str]) -> float:
    """Return the median of one block."""
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        events = [json.loads(line) for line in process.stdout or ()]
        if process.wait(TIMEOUT_S) != 0:
            raise RuntimeError(f"{command[0]} failed: {events}")
    return median([float(value) for event in events if event["event"] == "samples" for value in event["latency_s"]])


if __name__ == "__main__":
    sys.exit(main())
