"""The program that runs models on a device: one file, the standard library, NumPy and an engine; Python 3.9 or later.

A transport copies it to the device and starts it; on this machine it is started the same way, as a child process, so
that a file that crashes the engine takes nothing else down. It imports nothing of the project.

    python agent.py infer --model FILE --inputs IN.npy --outputs OUT.npy --nonce TEXT [--threads N]
                          [--tensors NAMES.json --tensors-out KEPT.npz] [--no-xnnpack] [--no-optimizer]

Its first bytes say what a file is: a .tflite runs with LiteRT, a .onnx or .ort with ONNX Runtime. `infer` runs every
entry of IN.npy (first axis: inputs of batch 1, in the model's own layout and element type) and writes what the model
answers to OUT.npy. NAMES.json lists tensors inside the model whose values are wanted, too: KEPT.npz has them under
their numbers in the list. A .tflite then runs without delegates, which keep no values; of an .onnx they must be
outputs. --no-xnnpack has LiteRT compute with its own kernels, --no-optimizer has ONNX Runtime run the nodes as they
are in the file: other ways to the same answers, but for rounding. Standard output is JSON Lines: `start` with the
engine and its version, and as the last line `end` with the nonce and the count. Without that last line the run failed.
"""

import argparse
import json
import os
import platform
import sys
from importlib import metadata
from pathlib import Path
from typing import Any, Dict, List, Optional, Union

import numpy as np


class LiteRtEngine:
    """Runs .tflite files with ai-edge-litert, or with its predecessor tflite-runtime where only that is installed."""

    def __init__(self, path: str, threads: int, tensors: List[str], xnnpack: bool) -> None:
        try:
            from ai_edge_litert import interpreter

            self.name = "ai-edge-litert"
        except ImportError:
            from tflite_runtime import interpreter

            self.name = "tflite-runtime"
        options: Dict[str, Any] = {}
        if tensors:
            options["experimental_preserve_all_tensors"] = True
        if tensors or not xnnpack:
            options["experimental_op_resolver_type"] = interpreter.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        self._interpreter = interpreter.Interpreter(model_path=path, num_threads=threads, **options)
        self._interpreter.allocate_tensors()
        given = self._interpreter.get_input_details()[0]
        self._input, self._shape = given["index"], given["shape"]
        self._any_shape = -1 in given["shape_signature"]
        output = self._interpreter.get_output_details()[0]["index"]
        self._read = [output, *(self._index_of(name) for name in tensors)]

    def run(self, values: Any) -> List[Any]:
        """Return the model's answer and the wanted tensors."""
        if self._any_shape and list(self._shape) != list(values.shape):
            self._shape = values.shape
            self._interpreter.resize_tensor_input(self._input, values.shape)
            self._interpreter.allocate_tensors()
        self._interpreter.set_tensor(self._input, values)
        self._interpreter.invoke()
        return [self._interpreter.get_tensor(index) for index in self._read]

    def _index_of(self, name: str) -> int:
        """Return the number of a tensor; where several have its name, `NAME#NUMBER` means the later ones."""
        details = self._interpreter.get_tensor_details()
        for tensor in details:
            if tensor["name"] == name:
                return int(tensor["index"])
        for tensor in details:
            if f"{tensor['name']}#{tensor['index']}" == name:
                return int(tensor["index"])
        raise ValueError(f"the model has no tensor {name}")


class OnnxRuntimeEngine:
    """Runs .onnx and .ort files with ONNX Runtime on the CPU."""

    name = "onnxruntime"

    def __init__(self, path: str, threads: int, tensors: List[str], optimizer: bool) -> None:
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # it reports to Microsoft from its import on
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3  # errors only: they come as exceptions, too
        if not optimizer:
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        if identifier(path) == b"ORTM":
            options.add_session_config_entry("session.load_model_format", "ORT")
        self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name
        self._outputs = [self._session.get_outputs()[0].name, *tensors]

    def run(self, values: Any) -> List[Any]:
        """Return the model's answer and the wanted tensors."""
        return list(self._session.run(self._outputs, {self._input: values}))


def identifier(path: str) -> bytes:
    with Path(path).open("rb") as file:
        return file.read(8)[4:]


def engine_for(args: argparse.Namespace, tensors: List[str]) -> Union[LiteRtEngine, OnnxRuntimeEngine]:
    if identifier(args.model) == b"TFL3":
        return LiteRtEngine(args.model, args.threads, tensors, not args.no_xnnpack)
    return OnnxRuntimeEngine(args.model, args.threads, tensors, not args.no_optimizer)


def emit(event: str, **fields: Any) -> None:
    print(json.dumps({"event": event, **fields}), flush=True)


def version_of(distribution: str) -> Optional[str]:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def infer(args: argparse.Namespace) -> None:
    tensors = json.loads(Path(args.tensors).read_text(encoding="utf-8")) if args.tensors else []
    engine = engine_for(args, tensors)
    version = version_of(engine.name)
    emit(
        "start",
        engine=engine.name,
        engine_version=version,
        python=platform.python_version(),
        machine=platform.machine(),
    )
    inputs = np.load(args.inputs, mmap_mode="r", allow_pickle=False)
    answers = [engine.run(np.ascontiguousarray(inputs[index : index + 1])) for index in range(len(inputs))]
    outputs, *kept = (np.concatenate([answer[number] for answer in answers]) for number in range(1 + len(tensors)))
    np.save(args.outputs, outputs, allow_pickle=False)
    if tensors:
        numbered: Dict[str, Any] = {str(number): values for number, values in enumerate(kept)}
        np.savez(args.tensors_out, **numbered)
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
    command.add_argument("--tensors", default="")
    command.add_argument("--tensors-out", default="")
    command.add_argument("--no-xnnpack", action="store_true")
    command.add_argument("--no-optimizer", action="store_true")
    infer(parser.parse_args())
    return 0


if __name__ == "__main__":
    sys.exit(main())
