"""The measuring protocol: look at the device, time blocks in turn until it is enough, look again, judge.

A block is one process of the agent with one file, engine, delegate and number of threads. All configurations get one
block a round, forwards and backwards in turn (A B B A), so that whatever drifts on the device drifts for all of them.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import ceil
from pathlib import Path
from statistics import median

from mnet_deploy.errors import CommandFailed, CommandTimeout, DeviceError, ToolMissing
from mnet_deploy.measurement.device_info import Conditions, DeviceInfo, EngineInfo
from mnet_deploy.measurement.measurement import Block, MeasuredFile, Measurement, label_of
from mnet_deploy.measurement.run_config import Protocol, RunConfig
from mnet_deploy.measurement.statistics import interval_width, is_settled, median_interval
from mnet_deploy.measurement.verdict import judge_run
from mnet_deploy.runners.agent_events import AgentAnswer
from mnet_deploy.runners.device_events import Ready, Samples, Start, Usage, Warmup
from mnet_deploy.runners.device_session import DeviceSession
from mnet_deploy.units import format_seconds

COOL_DOWN_POLL_S = 5.0
SETTLED_ROUNDS = 2
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


@dataclass(slots=True)
class _Collected:
    """What is known of one candidate so far."""

    engine: EngineInfo | None = None
    blocks: list[Block] = field(default_factory=list)
    refusal: DeviceError | None = None


class MeasuringRun:
    """Measures several candidates on a device that is held; what it has is there even if it is cut off."""

    def __init__(
        self,
        session: DeviceSession,
        candidates: Sequence[Candidate],
        protocol: Protocol,
        *,
        show: Callable[[str], None] = lambda text: None,
        pause: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Plan it.

        Args:
            session: with the device.
            candidates: in the order of a round.
            protocol: when it is enough.
            show: is told what is being done.
            pause: waits for a number of seconds.
            clock: says the time in seconds, from any begin.
        """
        self._session = session
        self._candidates = tuple(candidates)
        self._protocol = protocol
        self._show = show
        self._pause = pause
        self._clock = clock
        self._collected = [_Collected() for _ in self._candidates]
        self._began_s = clock()
        self._settled_rounds = 0
        self._measured_at = datetime.now(UTC).isoformat(timespec="seconds")
        self._device: DeviceInfo | None = None
        self._before = Conditions()
        self._after = Conditions()
        self._stopped = "error"

    def measure(self) -> None:
        """Run the whole protocol.

        A candidate whose first block fails because of the file or the engine is left out; `refusals` says why.

        Raises:
            DeviceError: the device or the link failed, or no candidate runs, or one that ran does not any more;
                `measurements` has what was measured until then.
        """
        self._show("looking at the device")
        self._device = self._session.device()
        self._before = self._cooled_down()
        remote = [self._session.push(candidate.path) for candidate in self._candidates]
        self._began_s = self._clock()  # cooling down and copying are not part of the time that is allowed
        rounds = 0
        while (stopped := self._enough(rounds)) is None:
            for index in self._order(rounds):
                self._show(f"round {rounds + 1}, {self._candidates[index]}{self._precision(index)}")
                self._time_or_refuse(index, remote[index])
            rounds += 1
        self._after = self._session.conditions(busy=True)
        self._stopped = stopped

    @property
    def refusals(self) -> tuple[DeviceError, ...]:
        """Why candidates were left out."""
        return tuple(each.refusal for each in self._collected if each.refusal is not None)

    def measurements(self) -> tuple[Measurement, ...]:
        """Return what was measured, judged; candidates without any block are left out."""
        device = self._device
        if device is None:
            return ()
        return judge_run(
            tuple(
                Measurement(
                    file=candidate.file,
                    device=device,
                    engine=collected.engine,
                    config=candidate.config,
                    protocol=self._protocol,
                    before=self._before,
                    after=self._after,
                    blocks=tuple(collected.blocks),
                    interval_s=median_interval(_medians(collected)),
                    stopped=self._stopped,
                    measured_at=self._measured_at,
                )
                for candidate, collected in zip(self._candidates, self._collected, strict=True)
                if collected.engine is not None and collected.blocks
            )
        )

    def _cooled_down(self) -> Conditions:
        """Wait until the device is cool enough, or for as long as allowed; return its state then."""
        until_s = self._clock() + self._protocol.cool_down_s
        while True:
            now = self._session.conditions(busy=True)
            too_warm = now.temperature_c is not None and now.temperature_c > self._protocol.max_start_temperature_c
            if not too_warm or self._clock() >= until_s:
                return now
            self._show(f"waiting until the device has cooled down ({now.temperature_c:.0f} degrees C)")
            self._session.allow(COOL_DOWN_POLL_S)
            self._pause(COOL_DOWN_POLL_S)

    def _enough(self, rounds: int) -> str | None:
        """Return why no further round is needed or allowed; None if one is."""
        if self._clock() - self._began_s >= self._protocol.time_limit_s and rounds > 0:
            return "time"
        if rounds < self._protocol.min_blocks:
            return None
        # Twice in a row: an interval that is narrow once may be so by chance, and stopping there would choose it.
        settled = all(self._settled(each) for each in self._collected if each.refusal is None)
        self._settled_rounds = self._settled_rounds + 1 if settled else 0
        if self._settled_rounds >= SETTLED_ROUNDS:
            return "interval"
        return "blocks" if rounds >= self._protocol.max_blocks else None

    def _order(self, rounds: int) -> list[int]:
        """Return the candidates of a round that have not been left out, forwards and backwards in turn."""
        left = [index for index, each in enumerate(self._collected) if each.refusal is None]
        return left if rounds % 2 == 0 else left[::-1]

    def _settled(self, collected: _Collected) -> bool:
        medians = _medians(collected)
        return bool(medians) and is_settled(median_interval(medians), median(medians), self._protocol.max_interval)

    def _time_or_refuse(self, index: int, remote: str) -> None:
        collected = self._collected[index]
        try:
            self._time_block(index, remote)
        except (CommandFailed, ToolMissing) as error:
            collected.refusal = error
            if collected.blocks or all(each.refusal is not None for each in self._collected):
                raise

    def _time_block(self, index: int, remote: str) -> None:
        candidate, collected = self._candidates[index], self._collected[index]
        started_s = self._clock() - self._began_s
        what, limit_s = f"{candidate} on {self._session.transport.address.label}", self._protocol.block_timeout_s
        options = _time_options(remote, candidate.config, self._protocol)
        try:
            answer = self._session.run_agent("time", options, what=what, timeout_s=limit_s)
        except CommandTimeout:
            raise CommandTimeout(
                f"{what}: a block did not end within {limit_s:g} s and was stopped; allow more (--block-timeout), or "
                "look what keeps the device busy"
            ) from None
        engine = _engine_info(answer, candidate)
        if collected.engine is not None and engine != collected.engine:
            raise CommandFailed(
                f"{candidate}: the engine is not the same in every block. Received: {engine}, then {collected.engine}",
                command=(),
                return_code=0,
                output="",
            )
        collected.engine = engine
        number = sum(len(each.blocks) for each in self._collected)
        after = self._session.conditions(busy=False)
        collected.blocks.append(_block(answer, number=number, started_s=started_s, after=after))

    def _precision(self, index: int) -> str:
        """Return how narrow the interval is so far, for people."""
        medians = _medians(self._collected[index])
        interval = median_interval(medians)
        if interval is None:
            return ""
        middle = median(medians)
        return f": {format_seconds(middle)}, 95 % within {interval_width(interval, middle):.1%}"


def _medians(collected: _Collected) -> tuple[float, ...]:
    return tuple(block.median_s for block in collected.blocks if block.median_s is not None)


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


def _engine_info(answer: AgentAnswer, candidate: Candidate) -> EngineInfo:
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
    )


def _block(answer: AgentAnswer, *, number: int, started_s: float, after: Conditions) -> Block:
    ready, usage, latency_s = answer.first(Ready), answer.first(Usage), answer.values(Samples)
    return Block(
        number=number,
        started_s=started_s,
        latency_s=latency_s,
        median_s=median(latency_s),
        warmup_s=answer.values(Warmup),
        wall_s=usage.wall_s,
        cpu_s=usage.cpu_s,
        import_s=ready.import_s,
        init_s=ready.init_s,
        peak_rss_bytes=usage.peak_rss_bytes,
        after=after,
    )
