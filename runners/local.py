"""Run a model on this machine, in a child process that may crash without taking the caller down."""

import json
import secrets
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from mnet_deploy.child_process import ChildResult, run_child
from mnet_deploy.errors import LinkLost, ToolMissing
from mnet_deploy.runners.agent_events import complete_answer
from mnet_deploy.runners.device_events import InferStart

START_TIMEOUT_S = 60.0
TIMEOUT_PER_INPUT_S = 2.0  # int16x8 at 1.0-224 takes 0.2 s on a laptop; emulated devices take longer

_INPUTS, _OUTPUTS, _WANTED, _KEPT = "inputs.npy", "outputs.npy", "tensors.json", "tensors.npz"


@dataclass(frozen=True, slots=True, kw_only=True)
class Inference:
    """What a model answered.

    Attributes:
        outputs: [inputs, ...], as the model stores them.
        engine: name of the engine.
        engine_version: None if the installation does not say.
        machine: kind of processor that it ran on, such as `x86_64`; None if the agent does not say.
        delegate: what the engine handed the work to, as `EngineInfo` has it; None if it does not say.
        runner: the program that called the engine, as `EngineInfo` has it.
        c_library: the C library that it brought along; None if it used the device's.
        tensors: values of the tensors that were asked for, [inputs, ...] as the model stores them.
    """

    outputs: NDArray[Any]
    engine: str
    engine_version: str | None
    machine: str | None = None
    delegate: str | None = None
    runner: str | None = None
    c_library: str | None = None
    tensors: dict[str, NDArray[Any]] = field(default_factory=dict)


def infer(
    model: Path,
    inputs: NDArray[Any] | Sequence[NDArray[Any]],
    *,
    threads: int = 1,
    tensors: Sequence[str] = (),
    xnnpack: bool = True,
    optimizer: bool = True,
) -> Inference:
    """Run every input through a model.

    Args:
        model: a .tflite, .onnx or .ort file.
        inputs: [inputs, ...] in the model's own layout and element type, or several such arrays; each input is run as a
            batch of 1.
        threads: of the engine.
        tensors: names of tensors inside the model whose values are wanted, too. Of an .onnx they must be outputs.
        xnnpack: whether LiteRT may use it.
        optimizer: whether ONNX Runtime may rearrange the graph.

    Raises:
        ToolMissing: no engine is installed.
        CommandFailed: the engine refused the file, or crashed.
        CommandTimeout: it did not end in time.
        LinkLost: the agent ended without saying that it was complete.
    """
    nonce = secrets.token_hex(8)
    arrays = [inputs] if isinstance(inputs, np.ndarray) else list(inputs)
    count = sum(map(len, arrays))
    timeout_s = START_TIMEOUT_S + TIMEOUT_PER_INPUT_S * count
    with tempfile.TemporaryDirectory(prefix="mnet-") as name:
        folder = Path(name)
        paths = ["--model", str(model), *_written(folder, arrays, tensors)]
        with as_file(files("mnet_deploy.runners.on_device") / "agent.py") as agent:
            command = [sys.executable, "-I", str(agent), "infer", *paths, "--nonce", nonce, "--threads", str(threads)]
            command += [] if xnnpack else ["--no-xnnpack"]
            command += [] if optimizer else ["--no-optimizer"]
            result = run_child(command, timeout_s=timeout_s)
        start = _complete(result, model, nonce=nonce, count=count)
        try:
            outputs = np.load(folder / _OUTPUTS, allow_pickle=False)
            kept = _read_tensors(folder / _KEPT, tensors)
        except (OSError, ValueError, EOFError, KeyError, BadZipFile) as error:
            raise LinkLost(f"{model.name}: the agent's answers cannot be read ({error}); run it again") from error
    return Inference(
        outputs=outputs,
        engine=start.engine,
        engine_version=start.engine_version,
        machine=start.machine,
        delegate=start.delegate,
        tensors=kept,
    )


def _written(folder: Path, arrays: Sequence[NDArray[Any]], tensors: Sequence[str]) -> list[str]:
    """Write what the agent reads; return its options."""
    shape = (sum(map(len, arrays)), *arrays[0].shape[1:])
    inputs = np.lib.format.open_memmap(folder / _INPUTS, mode="w+", dtype=arrays[0].dtype, shape=shape)
    np.concatenate(arrays, out=inputs)
    inputs.flush()
    options = ["--inputs", str(folder / _INPUTS), "--outputs", str(folder / _OUTPUTS)]
    if not tensors:
        return options
    (folder / _WANTED).write_text(json.dumps(list(tensors)), encoding="utf-8")
    return [*options, "--tensors", str(folder / _WANTED), "--tensors-out", str(folder / _KEPT)]


def _read_tensors(path: Path, names: Sequence[str]) -> dict[str, NDArray[Any]]:
    if not names:
        return {}
    with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
        return {name: stored[str(number)] for number, name in enumerate(names)}


def _complete(result: ChildResult, model: Path, *, nonce: str, count: int) -> InferStart:
    """Return the agent's first line if its last one proves that nothing is missing."""
    lines = result.stdout.decode("utf-8", "replace").splitlines()
    try:
        answer = complete_answer(lines, result, command=result.command, nonce=nonce, what=model.name)
    except ToolMissing:
        suffix, extra = (".tflite", "litert") if model.suffix == ".tflite" else (".onnx", "onnx")
        raise ToolMissing(f"an engine for {suffix} files", f"pip install 'mnet-deploy[{extra}]'") from None
    if answer.count != count:
        raise LinkLost(f"{model.name}: {count} inputs were given and {answer.count} answered; run it again")
    return answer.first(InferStart)
