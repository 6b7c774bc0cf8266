"""The options of `mnet bench` that say what is measured where."""

import os
from dataclasses import dataclass, field, replace
from pathlib import Path

from mnet_deploy.errors import SpecError
from mnet_deploy.measurement.run_config import MOST_BLOCKS, RUN_ENGINES, TOOL_DELEGATES, Protocol
from mnet_deploy.runners.transports.address import DeviceAddress

SUSTAINED_BLOCK_S = 20.0  # between blocks the device rests while a process starts: keep that share small
RUNNERS = ("agent", "native")


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolRequest:
    """Which `benchmark_model` is to be used, and how.

    Attributes:
        source: a path on this machine, or an https address.
        sha256: of the file; an address needs one.
        runtime_library: libLiteRt.so that belongs to it, given the same way; None for the one beside it, if any.
        runtime_library_sha256: of that.
        flavour: `classic` or `litert`; None where the file itself shows it.
        delegated_nodes: how many nodes a delegate has to take, at least; None for all of them, of XNNPACK one.
        flags: further ones, `name=value` each.
    """

    source: str
    sha256: str | None = None
    runtime_library: str | None = None
    runtime_library_sha256: str | None = None
    flavour: str | None = None
    delegated_nodes: int | None = None
    flags: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what would prove nothing.

        Raises:
            SpecError: a delegate that takes no node.
        """
        if self.delegated_nodes is not None and self.delegated_nodes < 1:
            raise SpecError(
                f"--benchmark-model-nodes is 1 or more: without a node it is another delegate's time. Received: "
                f"{self.delegated_nodes}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchRequest:
    """What is measured where.

    Attributes:
        files: .tflite, .onnx and .ort files, with or without sidecar.
        device: where.
        engines: each file runs on those of them that can run it; empty for the first one that is there.
        delegates: of `TOOL_DELEGATES`; each engine takes those that it has.
        threads: numbers of threads, each measured for itself.
        cpu_affinity: numbers of the cores that may be used; empty for all of them, None for the fastest ones of a phone
            and all of other devices.
        protocol: when it is enough.
        layers: whether each layer is timed as well.
        sustain: whether one file is to be kept running.
        runner: what calls the engines, one of `RUNNERS`; None for the C program on phones and the agent elsewhere.
        tool: the official tool, which then is an engine as well.
    """

    files: tuple[Path, ...]
    device: DeviceAddress
    engines: tuple[str, ...] = ()
    delegates: tuple[str, ...] = ("default",)
    threads: tuple[int, ...] = (1,)
    cpu_affinity: tuple[int, ...] | None = None
    protocol: Protocol = field(default_factory=Protocol)
    layers: bool = False
    sustain: bool = False
    runner: str | None = None
    tool: ToolRequest | None = None

    def __post_init__(self) -> None:
        """Refuse what no device could be asked for, before one is.

        Raises:
            SpecError: an unknown engine or delegate, no thread, or the same twice.
        """
        for option, values, known in (
            ("--engine", self.engines, RUN_ENGINES),
            ("--delegate", self.delegates, TOOL_DELEGATES),
            ("--runner", (self.runner,) if self.runner else (), RUNNERS),
        ):
            for value in values:
                if value not in known:
                    raise SpecError(f"{option} takes {', '.join(known)}. Received: {value!r}")
        if not self.threads or min(self.threads) < 1 or not self.delegates:
            raise SpecError(f"--threads takes numbers from 1 on. Received: {', '.join(map(str, self.threads))}")
        for option, given in (
            ("a file", [os.fspath(path.resolve()) for path in self.files]),
            ("--engine", self.engines),
            ("--delegate", self.delegates),
            ("--threads", self.threads),
        ):
            if len(set(given)) != len(given):
                raise SpecError(f"{option} is given twice. Received: {', '.join(map(str, given))}")


def sustaining(protocol: Protocol, duration_s: float, *, block_s: float | None) -> Protocol:
    """Return the protocol that keeps one file running for a time.

    Args:
        protocol: what else holds.
        duration_s: of the whole.
        block_s: of a block; None for a length that leaves the device little rest.
    """
    return replace(
        protocol,
        block_s=max(protocol.block_s, min(SUSTAINED_BLOCK_S, duration_s / protocol.min_blocks))
        if block_s is None
        else block_s,
        max_interval=None,
        max_blocks=MOST_BLOCKS,
        time_limit_s=duration_s,
    )
