"""One block: one process of the agent that times one file with one configuration."""

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from statistics import median

from mnet_deploy.errors import CommandFailed, CommandTimeout
from mnet_deploy.measurement.device_info import AGENT_RUNNER, EngineInfo
from mnet_deploy.measurement.measurement import Block, MeasuredFile, label_of
from mnet_deploy.measurement.run_config import Protocol, RunConfig
from mnet_deploy.runners.agent_events import AgentAnswer
from mnet_deploy.runners.device_events import Ready, Samples, Start, Usage, Warmup
from mnet_deploy.runners.device_programs import Agent
from mnet_deploy.runners.device_session import DeviceSession

FASTEST_INFERENCE_S = 1e-5  # bounds the memory that the agent takes for a block


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """What is to be measured.

    Attributes:
        path: of the file on this machine.
        file: what it is.
        config: what it runs with.
    """

    path: Path
    file: MeasuredFile
    config: RunConfig

    def __str__(self) -> str:
        """Return what tells it from the others, for messages."""
        return label_of(self.file, self.config)


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedBlock:
    """What one process measured, and with what.

    Attributes:
        engine: that computed.
        block: its number, its place in time and the state of the device after it are still to be set.
    """

    engine: EngineInfo
    block: Block


# Runs one block, as `time_block` does.
TimeBlock = Callable[[DeviceSession, Candidate, str, Protocol], TimedBlock]


def time_block(session: DeviceSession, candidate: Candidate, remote: str, protocol: Protocol) -> TimedBlock:
    """Run one block.

    Args:
        session: with the device.
        candidate: what is timed.
        remote: name of its file on the device.
        protocol: how long.

    Raises:
        CommandFailed: the engine refused the file or crashed, or the file there is another one.
        CommandTimeout: it took longer than the protocol allows.
        DeviceError: the device or the link failed.
    """
    what, limit_s = f"{candidate} on {session.transport.address.label}", protocol.block_timeout_s
    try:
        answer = session.run_agent(
            "time", _time_options(remote, candidate.config, protocol), what=what, timeout_s=limit_s
        )
    except CommandTimeout:
        raise CommandTimeout(
            f"{what}: a block did not end within {limit_s:g} s and was stopped; allow more (--block-timeout), or "
            "look what keeps the device busy"
        ) from None
    return TimedBlock(engine=_engine_info(answer, candidate, session.agent), block=_block(answer))


def _time_options(remote: str, config: RunConfig, protocol: Protocol) -> list[str]:
    options = ["--model", remote, "--engine", config.engine, "--delegate", config.delegate]
    options += ["--threads", str(config.threads)]
    if config.cpu_affinity is not None:
        options += ["--affinity", ",".join(map(str, config.cpu_affinity))]
    for option in config.session_options:
        options += ["--session-option", option]
    options += ["--warmup-count", str(protocol.warmup_count), "--warmup-s", f"{protocol.warmup_s:g}"]
    options += ["--block-s", f"{protocol.block_s:g}", "--min-count", str(protocol.min_count)]
    most = max(protocol.min_count, ceil(protocol.block_s / FASTEST_INFERENCE_S))
    return [*options, "--max-count", str(most)]


def _engine_info(answer: AgentAnswer, candidate: Candidate, agent: Agent | None) -> EngineInfo:
    start = answer.first(Start)
    if start.model_sha256 != candidate.file.sha256:
        raise CommandFailed(
            f"{candidate}: the file on the device is another one; it changed while it was being measured",
            command=(),
            return_code=0,
            output="",
        )
    return EngineInfo(
        name=start.engine,
        version=start.engine_version,
        delegate=start.delegate,
        delegate_evidence=start.delegate_evidence,
        nodes=start.nodes,
        delegated_nodes=start.delegated_nodes,
        machine=start.machine,
        python=start.python,
        numpy=start.numpy,
        threads=start.threads,
        affinity=start.affinity,
        runner_sha256=agent.runner_sha256 if agent else None,
        c_library=agent.c_library if agent else None,
        runner=start.runner or AGENT_RUNNER,
    )


def _block(answer: AgentAnswer) -> Block:
    ready, usage, latency_s = answer.first(Ready), answer.first(Usage), answer.values(Samples)
    return Block(
        number=0,
        started_s=0.0,
        latency_s=latency_s,
        median_s=median(latency_s),
        warmup_s=answer.values(Warmup),
        wall_s=usage.wall_s,
        cpu_s=usage.cpu_s,
        import_s=ready.import_s,
        init_s=ready.init_s,
        peak_rss_bytes=usage.peak_rss_bytes,
    )
