"""Rules about the clock of the processor and what governs it."""

from collections.abc import Iterator, Sequence
from itertools import chain

from mnet_deploy.measurement.device_info import X86_MACHINES
from mnet_deploy.measurement.device_rules import states, whens
from mnet_deploy.measurement.measurement import Measurement

# Read right after a block, the clock of a pinned governor is within a step of the highest, and a step is 5 % or more.
CLOCK_SHARE = 0.95
# A clock that is on demand may already be down again when it is read, so that a low one counts only with a slow block.
SLOWED_BY = 1.05


def governor_changed(measurement: Measurement) -> str | None:
    seen = list(dict.fromkeys(state.governor for state in states(measurement) if state.governor))
    if len(seen) < 2:
        return None
    return f"The governor of the clock changed during the run ({', then '.join(seen)}); find out what changes it."


def not_pinned(measurement: Measurement) -> str | None:
    seen = {state.governor for state in states(measurement) if state.governor} - {"performance"}
    if not measurement.protocol.pin or not seen:
        return None
    return (
        f"The governor was to be performance and was {', '.join(sorted(seen))}; "
        "allow setting it (mnet device setup), or measure without --pin."
    )


def powersave(measurement: Measurement) -> str | None:
    """Find the governor that holds the clock at its lowest.

    On x86 the same name is the ordinary governor of intel_pstate, which follows the load (Linux kernel documentation,
    admin-guide/pm/intel_pstate).
    """
    governors = ",".join(state.governor for state in states(measurement) if state.governor).split(",")
    if measurement.device.machine in X86_MACHINES or "powersave" not in governors:
        return None
    return (
        "The governor powersave holds the clock at its lowest; measure with --pin, or with the governor that "
        "the device is used with."
    )


def clock_below_max(measurement: Measurement) -> str | None:
    """Find cores that did not reach their highest clock although the governor asked for it."""
    if measurement.device.machine in X86_MACHINES:
        return None
    for block in measurement.blocks:
        if block.after.governor != "performance":
            continue
        for number, clock_hz, max_hz in _of_used_cores(measurement, block.after.clocks_hz):
            if clock_hz < CLOCK_SHARE * max_hz:
                return (
                    f"After block {block.number}, core {number} ran at {clock_hz / 1e6:.0f} MHz of "
                    f"{max_hz / 1e6:.0f} although its governor is performance: something holds the clock down; "
                    "look at supply and cooling."
                )
    return None


def clock_limited(measurement: Measurement) -> str | None:
    """Find clocks that were not allowed to be as high as they can be: the number is not that of the device."""
    for when, state in whens(measurement):
        for number, limit_hz, max_hz in _of_used_cores(measurement, state.limits_hz):
            if limit_hz < CLOCK_SHARE * max_hz:
                return (
                    f"The system limited core {number} to {limit_hz / 1e6:.0f} MHz of {max_hz / 1e6:.0f} {when}: "
                    "somebody set that, or a driver that has to cool it; lift the limit, or cool it, and measure again."
                )
    return _held_by_userspace(measurement)


def _held_by_userspace(measurement: Measurement) -> str | None:
    if measurement.device.machine in X86_MACHINES:
        return None
    for block in measurement.blocks:
        for number, clock_hz, max_hz in _of_used_cores(measurement, block.after.clocks_hz):
            if block.after.governor == "userspace" and clock_hz < CLOCK_SHARE * max_hz:
                return (
                    f"The governor userspace held core {number} at {clock_hz / 1e6:.0f} MHz of {max_hz / 1e6:.0f}; "
                    "measure with --pin, or with the governor that the device is used with."
                )
    return None


def _of_used_cores(measurement: Measurement, values_hz: Sequence[float]) -> Iterator[tuple[int, float, float]]:
    """Yield number, value and highest clock of each core that was used, where there is one value a core."""
    cores = measurement.device.cores
    if len(values_hz) != len(cores):
        return
    used = measurement.engine.affinity
    for core, value_hz in zip(cores, values_hz, strict=True):
        if core.max_clock_hz is not None and (used is None or core.number in used):
            yield core.number, value_hz, core.max_clock_hz


def clock_drift(measurement: Measurement) -> str | None:
    """Find blocks that were slower because the clock was lower than in others."""
    clocked = [block for block in measurement.blocks if block.after.clocks_hz and block.median_s is not None]
    median_s = measurement.median_s
    if not clocked or median_s is None:
        return None
    best_hz = max(chain.from_iterable(block.after.clocks_hz for block in clocked))
    for block in clocked:
        clock_hz = max(block.after.clocks_hz)
        if clock_hz < CLOCK_SHARE * best_hz and (block.median_s or 0.0) > SLOWED_BY * median_s:
            return (
                f"Block {block.number} ran at {clock_hz / 1e6:.0f} MHz, others at up to {best_hz / 1e6:.0f}, and took "
                f"{(block.median_s or 0.0) / median_s - 1:.0%} longer than the median; pin the clock (--pin) or cool "
                "the device."
            )
    return None
