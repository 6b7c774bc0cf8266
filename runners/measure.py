"""The measuring protocol: look at the device, time blocks in turn until it is enough, look again, judge.

A block is one process with one file, engine, delegate and number of threads. All configurations get one
block a round, forwards and backwards in turn (A B B A), so that whatever drifts on the device drifts for all of them.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from statistics import median

from mnet_deploy.errors import CommandFailed, DeviceError, ToolMissing
from mnet_deploy.measurement.device_info import Conditions, DeviceInfo, EngineInfo
from mnet_deploy.measurement.measurement import Block, Measurement
from mnet_deploy.measurement.run_config import Protocol
from mnet_deploy.measurement.statistics import interval_width, is_settled, median_interval
from mnet_deploy.measurement.verdict import judge_run
from mnet_deploy.runners.device_session import DeviceSession
from mnet_deploy.runners.timed_block import Candidate, TimeBlock, time_block
from mnet_deploy.units import format_seconds

COOL_DOWN_POLL_S = 5.0
SETTLED_ROUNDS = 2


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
        time_one: TimeBlock = time_block,
        show: Callable[[str], None] = lambda text: None,
        pause: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Plan it.

        Args:
            session: with the device.
            candidates: in the order of a round.
            protocol: when it is enough.
            time_one: runs one block.
            show: is told what is being done.
            pause: waits for a number of seconds.
            clock: says the time in seconds, from any begin.
        """
        self._session = session
        self._candidates = tuple(candidates)
        self._protocol = protocol
        self._time_one = time_one
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
        timed = self._time_one(self._session, candidate, remote, self._protocol)
        if collected.engine is not None and timed.engine != collected.engine:
            raise CommandFailed(
                f"{candidate}: the engine is not the same in every block. Received: {timed.engine}, then "
                f"{collected.engine}",
                command=(),
                return_code=0,
                output="",
            )
        collected.engine = timed.engine
        number = sum(len(each.blocks) for each in self._collected)
        after = self._session.conditions(busy=False)
        collected.blocks.append(replace(timed.block, number=number, started_s=started_s, after=after))

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
