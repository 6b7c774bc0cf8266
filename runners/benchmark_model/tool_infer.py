"""Run inputs through a model with `benchmark_model`, one start of it for each, and bring the answers here.

tensorflow/lite/tools/benchmark/benchmark_tflite_model.cc: a value file has the bytes of a tensor, which are copied as
they are, whatever its type (LoadInputTensorData); after the last inference the outputs are written as raw bytes, one
after the other (OutputSaver). What the flags call an input need not be its name in the file (Init warns, in every
version), so that no name has to be escaped, and versions without a way to escape are no special case.
"""

import secrets
import tempfile
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnet_deploy.artifact import TensorInfo
from mnet_deploy.errors import CommandFailed, CommandTimeout, DeviceError, ResultFormatError, SpecError
from mnet_deploy.measurement.device_info import OFFICIAL_TOOL
from mnet_deploy.measurement.run_config import RunConfig
from mnet_deploy.runners.benchmark_model.flags import BenchmarkFlags, Flavour
from mnet_deploy.runners.benchmark_model.text import BenchmarkLog, parse_log, what_computed
from mnet_deploy.runners.benchmark_model.tool import BenchmarkTool
from mnet_deploy.runners.benchmark_model.tool_errors import failed
from mnet_deploy.runners.benchmark_model.tool_run import flags_of, run_tool
from mnet_deploy.runners.device_session import START_TIMEOUT_S, DeviceSession
from mnet_deploy.runners.local import Inference
from mnet_deploy.runners.transports.deadline import Deadline
from mnet_deploy.runners.transports.transport import CommandResult

TIMEOUT_S = 120.0  # of one start: a GPU's kernels are compiled in it, and the model runs twice
INPUT = "input"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """What the starts have in common.

    Attributes:
        flags: but for those of the files.
        output: of the model.
        least_nodes: that the delegate has to take; see `require_delegation` for None.
        what: is run, for messages.
    """

    flags: BenchmarkFlags
    output: TensorInfo
    least_nodes: int | None
    what: str


def require_takes_inputs(tool: BenchmarkTool) -> None:
    """Raise `SpecError` for LiteRT's tool, which makes up its inputs and keeps the outputs to itself."""
    if tool.flavour is not Flavour.CLASSIC:
        raise SpecError(
            "goldens need TensorFlow Lite's benchmark_model (classic), which takes inputs and writes outputs. "
            f"Received: LiteRT's, {tool.source}, which does neither; take the other, or leave --benchmark-model out"
        )


def infer_with_tool(
    session: DeviceSession,
    tool: BenchmarkTool,
    model: Path,
    inputs: NDArray[Any],
    *,
    config: RunConfig,
    output: TensorInfo,
    least_nodes: int | None = None,
) -> Inference:
    """Run every input through a model, in a process of its own.

    Args:
        session: holds the device.
        tool: that runs it.
        model: a .tflite file on this machine, with one input and one output.
        inputs: [inputs, ...] in the model's own layout and element type; each is run as a batch of 1.
        config: of the engine `benchmark_model`; cores are not chosen, as they change no answer.
        output: of the model.
        least_nodes: how many nodes a delegate that was asked for has to take; see `require_delegation` for None.

    Raises:
        SpecError: the tool cannot be asked for that.
        CommandFailed: it refused the file, crashed, ran with less of the delegate than asked for, or wrote other
            outputs than the model has.
        CommandTimeout: it did not end in time.
        LinkLost: the connection ended.
    """
    require_takes_inputs(tool)
    what = f"{model.name} on {session.transport.address.label} ({replace(config, cpu_affinity=None)})"
    flags = flags_of(config, session.push(model))
    flags = replace(flags, min_count=1, min_s=0, max_s=TIMEOUT_S, warmup_count=1, warmup_s=0)
    run = _Run(flags=flags, output=output, least_nodes=least_nodes, what=what)
    answers = [_infer_one(session, tool, run, inputs[index : index + 1]) for index in range(len(inputs))]
    _, log, delegate = answers[0]
    return Inference(
        outputs=np.concatenate([outputs for outputs, _, _ in answers]),
        engine=config.engine,
        engine_version=log.runtime_version or log.runner,
        machine=tool.machine,
        delegate=delegate,
        runner=log.runner or OFFICIAL_TOOL,
    )


def _infer_one(
    session: DeviceSession, tool: BenchmarkTool, run: _Run, value: NDArray[Any]
) -> tuple[NDArray[Any], BenchmarkLog, str | None]:
    """Return the outputs, what the tool printed, and what computed."""
    with tempfile.TemporaryDirectory(prefix="mnet-") as name:
        given, answered = Path(name, "input.bin"), Path(name, "output.bin")
        given.write_bytes(value.astype(value.dtype.newbyteorder("<"), copy=False).tobytes())
        written = f"{session.folder}/{secrets.token_hex(8)}.bin"  # a new name: what is there later is of this start
        flags = _with_files(run.flags, value.shape, session.push(given), written)
        try:
            result = run_tool(session, tool, flags, affinity=None, what=run.what, timeout_s=TIMEOUT_S)
        except CommandTimeout:
            raise CommandTimeout(
                f"{run.what}: benchmark_model did not end within {TIMEOUT_S:g} s and was stopped; look what keeps the "
                "device busy, or leave this delegate out"
            ) from None
        try:
            log = parse_log(result.stdout, result.stderr)
            delegate, _ = what_computed(log, run.flags.delegate, least_nodes=run.least_nodes)
        except (DeviceError, ResultFormatError) as error:
            raise failed(f"{run.what}: {error}", result) from error
        _pull(session, written, answered, run.what, result)
        return _read(answered, run, result), log, delegate


def _with_files(flags: BenchmarkFlags, shape: tuple[int, ...], given: str, written: str) -> BenchmarkFlags:
    if "," in given or ":" in given:
        raise SpecError(
            f"benchmark_model takes paths without commas and colons. Received: {given}; let TMPDIR name another folder"
        )
    ours = {
        "input_layer": INPUT,
        "input_layer_shape": ",".join(map(str, shape)),
        "input_layer_value_files": f"{INPUT}:{given}",
        "output_filepath": written,
    }
    if taken := sorted(ours.keys() & flags.others.keys()):
        raise SpecError(f"goldens are the input, and outputs are compared with theirs. Received: a flag {taken[0]}")
    return replace(flags, others={**flags.others, **ours})


def _pull(session: DeviceSession, remote: str, local: Path, what: str, result: CommandResult) -> None:
    session.allow(START_TIMEOUT_S)
    try:
        session.transport.pull(remote, local, deadline=Deadline.after(START_TIMEOUT_S))
    except CommandFailed as error:
        raise failed(f"{what}: the outputs of benchmark_model cannot be had: {error}", result) from error


def _read(path: Path, run: _Run, result: CommandResult) -> NDArray[Any]:
    """Return the outputs, [1, ...]; whatever else was written is a `CommandFailed`."""
    shape, kind = (1, *run.output.shape[1:]), np.dtype(run.output.dtype)
    expected, content = prod(shape) * kind.itemsize, path.read_bytes()
    if len(content) != expected:
        raise failed(
            f"{run.what}: expected {expected} bytes of outputs, {kind} {list(shape)}. Received: {len(content)}; the "
            "file is another one than the export's, or the device has no room left",
            result,
        )
    return np.frombuffer(content, kind.newbyteorder("<")).reshape(shape).astype(kind)
