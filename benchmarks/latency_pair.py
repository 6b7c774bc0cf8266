"""Time two .tflite files in one process, one thread, in blocks A B, B A, ...; print the block medians as JSON.

Usage: latency_pair.py A.tflite B.tflite BLOCKS [--no-xnnpack]
"""

import json
import os
import sys
import time
from statistics import median

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

RUNS_IN_A_BLOCK = 50
WARM_UP_RUNS = 50


def open_model(path: str, *, xnnpack: bool) -> Interpreter:
    resolver = OpResolverType.AUTO if xnnpack else OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = Interpreter(path, num_threads=1, experimental_op_resolver_type=resolver)
    interpreter.allocate_tensors()
    (tensor,) = interpreter.get_input_details()
    noise = np.random.default_rng(0).integers(-128, 128, tensor["shape"])
    interpreter.set_tensor(tensor["index"], noise.astype(tensor["dtype"]))
    return interpreter


def block_s(interpreter: Interpreter, runs: int) -> float:
    """Return the median latency of a few runs."""
    latencies_s = []
    for _ in range(runs):
        start_s = time.perf_counter()
        interpreter.invoke()
        latencies_s.append(time.perf_counter() - start_s)
    return median(latencies_s)


def main() -> None:
    if hasattr(os, "sched_setaffinity"):  # Linux only
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    models = [open_model(path, xnnpack="--no-xnnpack" not in sys.argv) for path in sys.argv[1:3]]
    for model in models:
        block_s(model, WARM_UP_RUNS)
    medians_s: list[list[float]] = [[], []]
    for block in range(int(sys.argv[3])):
        for which in (0, 1) if block % 2 == 0 else (1, 0):
            medians_s[which].append(block_s(models[which], RUNS_IN_A_BLOCK))
    print(json.dumps(medians_s))


if __name__ == "__main__":
    main()
