"""What becomes of the latency under load that goes on: read off the blocks of one long measurement."""

from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from mnet_deploy.measurement.device_info import Conditions
from mnet_deploy.measurement.measurement import Measurement

THROTTLED_NOW_BITS = 0b1110  # clock capped, throttled, soft temperature limit; see `Conditions.throttle_bits`
CLOCK_KEPT = 0.95  # a clock below this share of its highest counts as throttled where the device says no bits
SUSTAINED_SHARE = 0.2  # of the time, at the end
ROWS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class SustainedPoint:
    """One stretch of the time.

    Attributes:
        until_s: its end, since the run began.
        median_s: latency.
        clock_hz: the highest of the cores' clocks right after its last block; None if the device does not say.
        temperature_c: then; None if the device does not say.
        throttle_bits: then; None if the device does not say.
    """

    until_s: float
    median_s: float
    clock_hz: float | None
    temperature_c: float | None
    throttle_bits: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sustained:
    """A latency over time.

    Attributes:
        duration_s: from the begin of the run to the end of the last block.
        peak_s: median of the fastest block.
        sustained_s: median over the blocks of the last fifth of the time.
        time_to_throttle_s: end of the first block after which the device throttled; None if it never did.
        throttling_known: whether the device says anything from which throttling could be seen.
        points: the whole course, in at most `ROWS` stretches.
    """

    duration_s: float
    peak_s: float
    sustained_s: float
    time_to_throttle_s: float | None
    throttling_known: bool
    points: tuple[SustainedPoint, ...]

    @property
    def slowdown(self) -> float:
        """Sustained over peak latency: 1 is no loss."""
        return self.sustained_s / self.peak_s


def sustained(measurement: Measurement) -> Sustained:
    """Summarise a long measurement.

    Raises:
        ValueError: it has no block.
    """
    ends = [block.started_s + (block.wall_s or 0.0) for block in measurement.blocks]
    medians = measurement.block_medians_s
    late = [value for end, value in zip(ends, medians, strict=True) if end >= ends[-1] * (1 - SUSTAINED_SHARE)]
    clocks = [max(state.clocks_hz) for state in _states(measurement) if state.clocks_hz]
    highest = max(clocks, default=None)
    throttled = [
        end
        for end, block in zip(ends, measurement.blocks, strict=True)
        if _is_throttled(block.after, measurement.before, highest)
    ]
    return Sustained(
        duration_s=ends[-1],
        peak_s=min(medians),
        sustained_s=median(late),
        time_to_throttle_s=throttled[0] if throttled else None,
        throttling_known=bool(clocks) or measurement.before.throttle_bits is not None,
        points=_points(measurement, ends),
    )


def _states(measurement: Measurement) -> tuple[Conditions, ...]:
    return (measurement.before, *(block.after for block in measurement.blocks))


def _is_throttled(now: Conditions, before: Conditions, highest_clock_hz: float | None) -> bool:
    """Whether the device says so: its bits, or else a clock that fell under load."""
    if now.throttle_bits is not None:
        newly = now.throttle_bits & ~(before.throttle_bits or 0)
        return bool(newly & (THROTTLED_NOW_BITS | THROTTLED_NOW_BITS << 16))
    if highest_clock_hz is None or not now.clocks_hz:
        return False
    return max(now.clocks_hz) < CLOCK_KEPT * highest_clock_hz


def _points(measurement: Measurement, ends: list[float]) -> tuple[SustainedPoint, ...]:
    """Return the blocks in at most `ROWS` stretches of about as many blocks each."""
    count = len(ends)
    stretches = min(count, ROWS)
    edges = [round(index * count / stretches) for index in range(stretches + 1)]
    medians = measurement.block_medians_s
    points = []
    for first, last in pairwise(edges):
        state = measurement.blocks[last - 1].after
        points.append(
            SustainedPoint(
                until_s=ends[last - 1],
                median_s=median(medians[first:last]),
                clock_hz=max(state.clocks_hz) if state.clocks_hz else None,
                temperature_c=state.temperature_c,
                throttle_bits=state.throttle_bits,
            )
        )
    return tuple(points)
