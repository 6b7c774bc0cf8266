"""What becomes of the latency under load that goes on: read off the blocks of one long measurement."""

from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from mnet_deploy.errors import SpecError
from mnet_deploy.measurement.android_rules import LIGHT_THROTTLING
from mnet_deploy.measurement.clock_rules import CLOCK_SHARE, SLOWED_BY
from mnet_deploy.measurement.device_info import X86_MACHINES
from mnet_deploy.measurement.measurement import Block, Measurement

THROTTLED_NOW_BITS = 0b1110  # clock capped, throttled, soft temperature limit; see `Conditions.throttle_bits`
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
        thermal_status: of Android then; None if the device does not say.
    """

    until_s: float
    median_s: float
    clock_hz: float | None
    temperature_c: float | None
    throttle_bits: int | None
    thermal_status: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sustained:
    """A latency over time.

    Attributes:
        duration_s: from the begin of the run to the end of the last block.
        peak_s: median of the fastest block.
        sustained_s: median over the blocks of the last fifth of the time.
        time_to_throttle_s: end of the first block after which the device throttled; None if it never did.
        throttling_known: whether the device says anything from which throttling could be seen. The clocks of x86 are
            none: those of turbo fall in every long run.
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
        SpecError: it has no block, or one without a latency.
    """
    medians = measurement.block_medians_s
    if not medians or len(medians) != len(measurement.blocks) or min(medians) <= 0:
        raise SpecError(f"{measurement.file.file}: expected a latency of each block. Received: none of some; see above")
    ends = [_end_s(block) for block in measurement.blocks]
    late = [value for end, value in zip(ends, medians, strict=True) if end >= ends[-1] * (1 - SUSTAINED_SHARE)]
    throttled = _throttled(measurement)
    return Sustained(
        duration_s=ends[-1],
        peak_s=min(medians),
        sustained_s=median(late),
        time_to_throttle_s=next((end for end, slow in zip(ends, throttled or (), strict=False) if slow), None),
        throttling_known=throttled is not None,
        points=_points(measurement, ends),
    )


def _end_s(block: Block) -> float:
    before_s = (block.import_s or 0.0) + (block.init_s or 0.0) + sum(block.warmup_s)
    return block.started_s + before_s + (block.wall_s or 0.0)


def _throttled(measurement: Measurement) -> list[bool] | None:
    """Return for each block whether the device throttled: by its bits, or else by Android's status or its clock."""
    blocks, before = measurement.blocks, measurement.before.throttle_bits
    bits = [block.after.throttle_bits for block in blocks]
    if before is not None or any(seen is not None for seen in bits):
        mask = THROTTLED_NOW_BITS | THROTTLED_NOW_BITS << 16
        return [bool((seen or 0) & ~(before or 0) & mask) for seen in bits]
    by_clock, statuses = _slowed_by_clock(measurement), [block.after.thermal_status for block in blocks]
    if all(status is None for status in statuses):
        return by_clock
    held_back = [(status or 0) >= LIGHT_THROTTLING for status in statuses]
    return [said or slowed for said, slowed in zip(held_back, by_clock or held_back, strict=True)]


def _slowed_by_clock(measurement: Measurement) -> list[bool] | None:
    """Return for each block whether a low clock cost time; None if the clocks say nothing.

    A clock alone does not: where it follows the load, it may be down again when it is read.
    """
    blocks = measurement.blocks
    clocks = [max(block.after.clocks_hz, default=0.0) for block in blocks]
    if measurement.device.machine in X86_MACHINES or not any(clocks):
        return None
    low = [0 < clock < CLOCK_SHARE * max(clocks) for clock in clocks]
    medians = measurement.block_medians_s
    usual = median(value for value, is_low, clock in zip(medians, low, clocks, strict=True) if clock and not is_low)
    return [is_low and value > SLOWED_BY * usual for value, is_low in zip(medians, low, strict=True)]


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
                thermal_status=state.thermal_status,
            )
        )
    return tuple(points)
