"""One block of `benchmark_model`: one start of it, which gives a summary of its inferences, not each of them."""

import tempfile
from dataclasses import replace
from pathlib import Path

from mnet_deploy.errors import CommandFailed, DeviceError, ResultFormatError
from mnet_deploy.measurement.device_info import OFFICIAL_TOOL, EngineInfo
from mnet_deploy.measurement.measurement import Block
from mnet_deploy.measurement.run_config import BENCHMARK_MODEL, Protocol, RunConfig
from mnet_deploy.runners.benchmark_model.delegation import Delegate
from mnet_deploy.runners.benchmark_model.flags import BenchmarkFlags
from mnet_deploy.runners.benchmark_model.proto import decode_result, with_result
from mnet_deploy.runners.benchmark_model.text import BenchmarkLog, parse_log, what_computed
from mnet_deploy.runners.benchmark_model.tool import BenchmarkTool
from mnet_deploy.runners.benchmark_model.tool_errors import failed
from mnet_deploy.runners.benchmark_model.tool_run import UnknownFlags, flags_of, run_tool
from mnet_deploy.runners.device_session import START_TIMEOUT_S, DeviceSession
from mnet_deploy.runners.timed_block import Candidate, TimedBlock
from mnet_deploy.runners.transports.deadline import Deadline
from mnet_deploy.runners.transports.transport import CommandResult


class ToolTimer:
    """Times blocks with one tool; `time_block` has the form of `timed_block.time_block`."""

    def __init__(self, tool: BenchmarkTool, *, least_nodes: int | None = None, peak_memory: bool = False) -> None:
        """Plan it.

        Args:
            tool: that times.
            least_nodes: how many nodes a delegate that was asked for has to take; see `require_delegation` for None.
            peak_memory: let the tool watch its memory; that disturbs what it times.
        """
        self._tool = tool
        self._least_nodes = least_nodes
        self._others = {"report_peak_memory_footprint": "true"} if peak_memory else {}
        self._writes_result = True  # until it says that it does not know the flag
        self._blocks = 0

    def time_block(self, session: DeviceSession, candidate: Candidate, remote: str, protocol: Protocol) -> TimedBlock:
        """Run one block.

        Args:
            session: with the device.
            candidate: what is timed, with the engine `benchmark_model`.
            remote: path of its file on the device.
            protocol: how long.

        Raises:
            CommandFailed: the tool refused the file, crashed, or measured otherwise than asked: fewer inferences, or
                fewer nodes in the delegate.
            CommandTimeout: it took longer than the protocol allows.
            DeviceError: the device or the link failed.
            SpecError: this flavour of the tool cannot do it.
        """
        flags = _lasting(flags_of(candidate.config, remote), protocol)
        flags = replace(flags, others={**flags.others, **self._others})
        what = f"{candidate} on {session.transport.address.label}"
        result, written = self._run(session, flags, candidate.config, what=what, timeout_s=protocol.block_timeout_s)
        try:
            log = parse_log(result.stdout, result.stderr)
            if written is not None:
                log = with_result(log, decode_result(written))
            if log.measured.count < protocol.min_count:
                raise DeviceError(
                    f"{protocol.min_count} inferences were to be timed. Received: {log.measured.count} within "
                    f"{flags.max_s:g} s; allow more (--block-timeout)"
                )
            engine = self._engine(log, candidate.config)
        except (DeviceError, ResultFormatError) as error:
            raise failed(f"{what}: {error}", result) from error
        return TimedBlock(engine=engine, block=_block(log))

    def _run(
        self, session: DeviceSession, flags: BenchmarkFlags, config: RunConfig, *, what: str, timeout_s: float
    ) -> tuple[CommandResult, bytes | None]:
        """Return how it ended, and the result that it wrote; None from versions that write none."""

        def run(flags: BenchmarkFlags) -> CommandResult:
            return run_tool(
                session,
                self._tool,
                flags,
                affinity=config.cpu_affinity,
                what=what,
                timeout_s=timeout_s,
                too_long="allow more (--block-timeout), or look what keeps the device busy",
            )

        if self._writes_result:
            self._blocks += 1
            path = f"{session.folder}/result-{self._blocks}.pb"  # a new name: what is there later is of this run
            try:
                result = run(replace(flags, result_path=path))
                return result, _pull(session, path, what, result)
            except UnknownFlags as unknown:
                if unknown.flags != f"--result_file_path={path}":
                    raise
                self._writes_result = False
        return run(flags), None

    def _engine(self, log: BenchmarkLog, config: RunConfig) -> EngineInfo:
        delegate, proof = what_computed(log, Delegate(config.delegate), least_nodes=self._least_nodes)
        return EngineInfo(
            name=BENCHMARK_MODEL,
            version=log.runtime_version,
            delegate=delegate,
            delegate_evidence=proof.evidence,
            nodes=proof.total_nodes,
            delegated_nodes=proof.nodes,
            machine=self._tool.machine,
            threads=config.threads,
            affinity=config.cpu_affinity,
            runner=log.runner or OFFICIAL_TOOL,
            runner_sha256=self._tool.sha256,
            runner_source=self._tool.origin,
        )


def _lasting(flags: BenchmarkFlags, protocol: Protocol) -> BenchmarkFlags:
    return replace(
        flags,
        warmup_count=protocol.warmup_count,
        warmup_s=protocol.warmup_s,
        min_count=protocol.min_count,
        min_s=protocol.block_s,
        max_s=max(protocol.block_timeout_s, protocol.block_s, protocol.warmup_s),
    )


def _pull(session: DeviceSession, remote: str, what: str, result: CommandResult) -> bytes:
    with tempfile.TemporaryDirectory(prefix="mnet-") as name:
        local = Path(name, "result.pb")
        session.allow(START_TIMEOUT_S)
        try:
            session.transport.pull(remote, local, deadline=Deadline.after(START_TIMEOUT_S))
        except CommandFailed as error:
            raise failed(f"{what}: the result of benchmark_model cannot be had: {error}", result) from error
        return local.read_bytes()


def _block(log: BenchmarkLog) -> Block:
    warmup = log.warmup
    return Block(
        number=0,
        started_s=0.0,
        latency_s=None,
        median_s=log.measured.median_s,
        warmup_s=(warmup.mean_s,) if warmup is not None and warmup.count == 1 else (),
        init_s=log.init_s,
        peak_rss_bytes=None if log.peak_bytes is None else round(log.peak_bytes),
    )
