"""Takes an input and writes the outputs as `benchmark_model` is documented to do; see answering_tool.py.

A process of its own, without the toolkit. SPEC says how it behaves.
"""

import json
import sys
import time
from pathlib import Path

SPEC = json.loads("{}")
DELEGATES = {
    "use_xnnpack": "TfLiteXNNPackDelegate",
    "use_gpu": "TfLiteGpuDelegateV2",
    "use_nnapi": "TfLiteNnapiDelegate",
}
NODES = 31
FOR_EVER_S = 1000
SWITCHED_ON = "true"


def main():
    with Path(SPEC["seen"]).open("a", encoding="utf-8") as seen:
        print(json.dumps(sys.argv[1:]), file=seen)
    flags = dict(argument[2:].split("=", 1) for argument in sys.argv[1:])
    unknown = [name for name in flags if name in SPEC["unknown"]]
    if unknown:
        print("WARN: Unconsumed cmdline flags:", *(f"--{name}={flags.pop(name)}" for name in unknown))
    print(f"INFO: runner: {SPEC['runner']}", flush=True)
    if flags.get(SPEC["hangs"]) == SWITCHED_ON:
        time.sleep(FOR_EVER_S)
    answer = changed(compute(flags, read_input(flags)), flags)
    say_what_computed(flags)
    for count in (flags["warmup_runs"], flags["num_runs"]):
        limits = f"at least 0 seconds but terminate if exceeding {flags['max_secs']} seconds."
        print(f"INFO: Running benchmark for at least {count} iterations and {limits}")
        print(f"INFO: count={count} curr=2000\n")
    print("INFO: Inference timings in us: Init: 5, First inference: 2000, Warmup (avg): 2000, Inference (avg): 2000")
    if "output_filepath" in flags and SPEC["writes"]:
        Path(flags["output_filepath"]).write_bytes(answer)
    return SPEC["status"]


def read_input(flags):
    """Return the bytes of the value file; without one, the tool makes up an input."""
    if "input_layer_value_files" not in flags:
        return bytes(4)
    name, path = flags["input_layer_value_files"].split(":")
    if name != flags["input_layer"]:
        sys.exit(f"FATAL: Cannot find the corresponding input_layer name({name}) in --input_layer")
    return Path(path).read_bytes()


def compute(flags, content):
    if SPEC["engine"] == "reverse":
        return content[::-1]
    import numpy as np
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    bare = flags.get("use_xnnpack") == "false"
    ops = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES if bare else OpResolverType.AUTO
    interpreter = Interpreter(flags["graph"], num_threads=int(flags["num_threads"]), experimental_op_resolver_type=ops)
    given = interpreter.get_input_details()[0]
    shape = [int(size) for size in flags["input_layer_shape"].split(",")]
    if len(shape) != len(given["shape"]):
        sys.exit(f"ERROR: Input tensor #{given['index']} should have {len(given['shape'])} dimensions!")
    interpreter.resize_tensor_input(given["index"], shape)
    interpreter.allocate_tensors()
    size = int(np.prod(shape)) * np.dtype(given["dtype"]).itemsize
    if len(content) != size:
        sys.exit(f"FATAL: The size of the file is {len(content)} bytes. It should be {size} bytes.")
    interpreter.set_tensor(given["index"], np.frombuffer(content, given["dtype"]).reshape(shape))
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"]).tobytes()


def say_what_computed(flags):
    for flag, delegate in DELEGATES.items():
        nodes = SPEC["nodes"].get(flag, NODES)
        if flags.get(flag) == SWITCHED_ON:
            text = f"Replacing {nodes} out of {NODES} node(s) with delegate ({delegate}) node, yielding 1 partitions."
            print("VERBOSE:", text, file=sys.stderr)


def changed(answer, flags):
    """Return what a delegate with other kernels or a full disk makes of an answer of bytes."""
    for flag, step in SPEC["steps"].items():
        if flags.get(flag) == SWITCHED_ON:  # an int8 stays in its range: what is 0 and more moves down
            answer = bytes((each - step if each < 128 else each + step) % 256 for each in answer)
    return answer[: SPEC["most_bytes"]] + bytes(SPEC["more_bytes"])


sys.exit(main())
