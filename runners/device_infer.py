"""Run inputs through a model on a device that a session holds, and bring the answers here."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnet_deploy.errors import LinkLost
from mnet_deploy.measurement.device_info import AGENT_RUNNER
from mnet_deploy.runners.device_events import InferStart
from mnet_deploy.runners.device_session import START_TIMEOUT_S, DeviceSession
from mnet_deploy.runners.local import Inference
from mnet_deploy.runners.transports.deadline import Deadline

TIMEOUT_PER_INPUT_S = 10.0  # with reference kernels a Pi Zero takes seconds


def infer_on_device(
    session: DeviceSession, model: Path, inputs: NDArray[Any], *, engine: str, delegate: str = "default"
) -> Inference:
    """Run every input through a model, on one thread.

    Args:
        session: holds the device.
        model: a .tflite, .onnx or .ort file on this machine.
        inputs: [inputs, ...] in the model's own layout and element type; each is run as a batch of 1.
        engine: one of `run_config.ENGINES`.
        delegate: one of `run_config.DELEGATES`; ONNX Runtime has the default one only.

    Raises:
        ToolMissing: the engine is not installed there.
        CommandFailed: it refused the file, or crashed.
        CommandTimeout: it did not end in time.
        LinkLost: the connection ended, or the answers arrived damaged.
    """
    bare = ", no delegate" if delegate == "none" else ""
    what = f"{model.name} on {session.transport.address.label} ({engine}{bare})"
    with tempfile.TemporaryDirectory(prefix="mnet-") as name:
        given, answered = Path(name, "inputs.npy"), Path(name, "outputs.npy")
        np.save(given, inputs, allow_pickle=False)
        remote = f"{session.folder}/outputs.npy"
        options = ["--model", session.push(model), "--inputs", session.push(given), "--outputs", remote]
        options += ["--engine", engine, *(["--no-xnnpack"] if delegate == "none" else [])]
        timeout_s = START_TIMEOUT_S + TIMEOUT_PER_INPUT_S * len(inputs)
        answer = session.run_agent("infer", options, what=what, timeout_s=timeout_s)
        if answer.count != len(inputs):
            raise LinkLost(f"{what}: {len(inputs)} inputs were given and {answer.count} answered; run it again")
        _pull(session, remote, answered)
        outputs = _read(answered, len(inputs), what)
    start = answer.first(InferStart)
    return Inference(
        outputs=outputs,
        engine=start.engine,
        engine_version=start.engine_version,
        machine=start.machine,
        delegate=start.delegate,
        runner=start.runner or AGENT_RUNNER,
        c_library=session.agent.c_library if session.agent else None,
    )


def _pull(session: DeviceSession, remote: str, local: Path) -> None:
    session.allow(START_TIMEOUT_S)
    session.transport.pull(remote, local, deadline=Deadline.after(START_TIMEOUT_S))


def _read(path: Path, count: int, what: str) -> NDArray[Any]:
    """Return the answers; whatever a device may send, it is numbers of as many inputs, or a `LinkLost`."""
    try:
        # Mapped: a header that promises more than the file has is found before memory is taken for it.
        outputs: NDArray[Any] = np.array(np.lib.format.open_memmap(path, mode="r"))
    except (OSError, ValueError, EOFError) as error:
        raise LinkLost(f"{what}: the agent's answers cannot be read ({error}); run it again") from error
    if outputs.dtype.kind not in "iuf" or outputs.ndim < 1 or len(outputs) != count:
        received = f"{outputs.dtype} {list(outputs.shape)}"
        raise LinkLost(f"{what}: expected numbers for {count} inputs. Received: {received}; run it again")
    return outputs
