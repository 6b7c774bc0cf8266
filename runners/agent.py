"""The program that runs models on a device: one file, the standard library, NumPy and an engine; Python 3.9 or later.

A transport copies it to the device and starts it; on this machine it is started the same way, as a child process, so
that a file that crashes the engine takes nothing else down. It imports nothing of the project.

    python agent.py infer --model FILE --inputs IN.npy --outputs OUT.npy --nonce TEXT [--threads N]

Its first bytes say what a file is: a .tflite runs with LiteRT, a .onnx or .ort with ONNX Runtime. `infer` runs every
entry of IN.npy (first axis: inputs of batch 1, in the model's own layout and element type) and writes what the model
answers to OUT.npy. Standard output is JSON Lines: `start` with the engine and its version, and as the last line `end`
with the nonce and the count. Without that last line the run failed.
"""

import argparse
import json
import platform
import sys
from importlib import metadata
from pathlib import Path
from typing import Any, Optional, Union

import numpy as np


class LiteRtEngine:
    """Runs .tflite files with ai-edge-litert, or with its predecessor tflite-runtime where only that is installed."""

    def __init__(self, path: str, threads: int) -> None:
        try:
            from ai_edge_litert import interpreter

            self.name = "ai-edge-litert"
        except ImportError:
            from tflite_runtime import interpreter

            self.name = "tflite-runtime"
        self._interpreter = interpreter.Interpreter(model_path=path, num_threads=threads)
        self._interpreter.allocate_tensors()
        self._input = self._interpreter.get_input_details()[0]["index"]
        self._output = self._interpreter.get_output_details()[0]["index"]

    def run(self, values: Any) -> Any:
        self._interpreter.set_tensor(self._input, values)
        self._interpreter.invoke()
        return self._interpreter.get_tensor(self._output)


class OnnxRuntimeEngine:
    """Runs .onnx and .ort files with ONNX Runtime on the CPU."""

    name = "onnxruntime"

    def __init__(self, path: str, threads: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3  # errors only: they come as exceptions, too
        if identifier(path) == b"ORTM":
            options.add_session_config_entry("session.load_model_format", "ORT")
        self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name
        self._outputs = [self._session.get_outputs()[0].name]

    def run(self, values: Any) -> Any:
        return self._session.run(self._outputs, {self._input: values})[0]


def identifier(path: str) -> bytes:
    with Path(path).open("rb") as file:
        return file.read(8)[4:]


def engine_for(path: str, threads: int) -> Union[LiteRtEngine, OnnxRuntimeEngine]:
    return LiteRtEngine(path, threads) if identifier(path) == b"TFL3" else OnnxRuntimeEngine(path, threads)


def emit(event: str, **fields: Any) -> None:
    print(json.dumps({"event": event, **fields}), flush=True)


def version_of(distribution: str) -> Optional[str]:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def infer(args: argparse.Namespace) -> None:
    engine = engine_for(args.model, args.threads)
    emit("start", engine=engine.name, engine_version=version_of(engine.name), python=platform.python_version())
    inputs = np.load(args.inputs, mmap_mode="r", allow_pickle=False)
    answers = [engine.run(np.ascontiguousarray(inputs[index : index + 1])) for index in range(len(inputs))]
    np.save(args.outputs, np.concatenate(answers), allow_pickle=False)
    emit("end", nonce=args.nonce, count=len(inputs))


def main() -> int:
    parser = argparse.ArgumentParser(description="run a model on this device")
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("infer", help="run inputs and save the outputs")
    command.add_argument("--model", required=True)
    command.add_argument("--inputs", required=True)
    command.add_argument("--outputs", required=True)
    command.add_argument("--nonce", required=True)
    command.add_argument("--threads", type=int, default=1)
    infer(parser.parse_args())
    return 0


if __name__ == "__main__":
    sys.exit(main())
