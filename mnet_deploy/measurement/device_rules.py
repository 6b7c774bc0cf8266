"""Rules about the state of the device: power, heat, clock, other load, memory."""

from collections.abc import Callable, Iterator
from itertools import chain

from mnet_deploy.measurement.device_info import Conditions
from mnet_deploy.measurement.measurement import Block, Measurement
from mnet_deploy.units import format_bytes

# Bits of `vcgencmd get_throttled` (Raspberry Pi documentation, "vcgencmd"): now, and 16 higher since it was started.
THROTTLE_BITS = {
    0: ("under-voltage", "use a supply and a cable for this Pi"),
    1: ("a capped clock", "cool it, use a supply and a cable for this Pi"),
    2: ("throttling", "cool it, use a supply and a cable for this Pi"),
    3: ("the soft temperature limit", "cool it"),
}
SINCE_BOOT = 16

# A Raspberry Pi slows down from 80 °C on (Raspberry Pi documentation, "Frequency management and thermal control").
# Of other processors the limit is not known; 95 °C is where the coolest of desktop and laptop processors begin.
PI_THROTTLES_AT_C = 80.0
OTHERS_THROTTLE_AT_C = 95.0

# Read right after a block, the clock of a pinned governor is within a step of the highest, and a step is 5 % or more.
CLOCK_SHARE = 0.95
# A clock that is on demand may already be down again when it is read, so that a low one counts only with a slow block.
SLOWED_BY = 1.05

# Highest clocks of x86 processors are those of turbo, which hold for one core and some seconds.
X86_MACHINES = ("x86_64", "i386", "i686", "AMD64")

# What a desktop or the system itself takes now and then. Where every core is asked for, anything else costs time.
BUSY_LIMIT_CORES = 0.5
BUSY_LIMIT_ALL_CORES = 0.2


def throttle_rule(bit: int) -> Callable[[Measurement], str | None]:
    """Return the rule about one bit: seen at any time of the run, or newly remembered since it began."""
    what, remedy = THROTTLE_BITS[bit]

    def check(measurement: Measurement) -> str | None:
        when = _seen(measurement, bit)
        return f"The device reported {what} {when}; {remedy}, and measure again." if when else None

    return check


def throttled_since_boot(measurement: Measurement) -> str | None:
    """Say what the device remembers from before: it could not report the same thing anew."""
    before = measurement.before.throttle_bits or 0
    found = [
        what
        for bit, (what, _) in THROTTLE_BITS.items()
        if before >> (bit + SINCE_BOOT) & 1 and not _seen(measurement, bit)
    ]
    if not found:
        return None
    return (
        f"Before the run, the device already remembered {' and '.join(found)} since boot, so that it cannot tell "
        "whether it came again; restart it, and measure again."
    )


def _seen(measurement: Measurement, bit: int) -> str | None:
    """Return when in the run a bit was seen; None if it was not."""
    if (measurement.before.throttle_bits or 0) >> bit & 1:
        return "before the run"
    for block in measurement.blocks:
        if (block.after.throttle_bits or 0) >> bit & 1:
            return f"after block {block.number}"
    if (measurement.after.throttle_bits or 0) >> bit & 1:
        return "after the run"
    before = measurement.before.throttle_bits
    remembered = any((state.throttle_bits or 0) >> (bit + SINCE_BOOT) & 1 for state in states(measurement)[1:])
    if before is not None and not before >> (bit + SINCE_BOOT) & 1 and remembered:
        return "during the run"
    return None


def states(measurement: Measurement) -> tuple[Conditions, ...]:
    """Return the states of the device in their order, before the run first and after it last."""
    return (measurement.before, *(block.after for block in measurement.blocks), measurement.after)


def started_warm(measurement: Measurement) -> str | None:
    temperature_c, limit_c = measurement.before.temperature_c, measurement.protocol.max_start_temperature_c
    if temperature_c is None or temperature_c <= limit_c:
        return None
    return (
        f"The device had {temperature_c:.0f} °C before the first block, over the gate of {limit_c:.0f} °C; "
        "let it cool down for longer (--cool-down), or cool it."
    )


def hot(measurement: Measurement) -> str | None:
    is_pi = (measurement.device.model or "").startswith("Raspberry Pi")
    limit_c = PI_THROTTLES_AT_C if is_pi else OTHERS_THROTTLE_AT_C
    temperature_c = max((state.temperature_c for state in states(measurement) if state.temperature_c), default=0.0)
    if temperature_c < limit_c:
        return None
    return (
        f"The device reached {temperature_c:.0f} °C, and from {limit_c:.0f} °C on it may slow down; "
        "cool it, and measure again."
    )


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
        for number, clock_hz, max_hz in _used_clocks(measurement, block):
            if clock_hz < CLOCK_SHARE * max_hz:
                return (
                    f"After block {block.number}, core {number} ran at {clock_hz / 1e6:.0f} MHz of "
                    f"{max_hz / 1e6:.0f} although its governor is performance: something holds the clock down; "
                    "look at supply and cooling."
                )
    return None


def _used_clocks(measurement: Measurement, block: Block) -> Iterator[tuple[int, float, float]]:
    cores = measurement.device.cores
    if len(block.after.clocks_hz) != len(cores):
        return
    used = measurement.engine.affinity
    for core, clock_hz in zip(cores, block.after.clocks_hz, strict=True):
        if core.max_clock_hz is not None and (used is None or core.number in used):
            yield core.number, clock_hz, core.max_clock_hz


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


def other_load(measurement: Measurement) -> str | None:
    cores = len(measurement.device.cores)
    all_cores = cores and measurement.config.threads >= cores
    limit = BUSY_LIMIT_ALL_CORES if all_cores else BUSY_LIMIT_CORES
    for when, state in (("before", measurement.before), ("after", measurement.after)):
        if state.busy_cores is not None and state.busy_cores > limit:
            return (
                f"Something else kept {state.busy_cores:.1f} cores busy {when} the run: a program, interrupts, or "
                "other guests of a virtual machine; stop it (look with top), and measure again."
            )
    return None


def memory_short(measurement: Measurement) -> str | None:
    free_bytes = measurement.before.free_memory_bytes
    need_bytes = max((block.peak_rss_bytes for block in measurement.blocks if block.peak_rss_bytes), default=None)
    if free_bytes is None or need_bytes is None or need_bytes <= free_bytes:
        return None
    return (
        f"The program needed {format_bytes(need_bytes)} of memory and {format_bytes(free_bytes)} were free, so that "
        "the system may have swapped; close other programs, and measure again."
    )
