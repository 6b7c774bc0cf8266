"""Rules about the state of the device: power, heat, other load, memory."""

from collections.abc import Callable, Iterator

from mnet_deploy.measurement.device_info import Conditions
from mnet_deploy.measurement.measurement import Measurement
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


def throttling_unknown(measurement: Measurement) -> str | None:
    """Find Raspberry Pis that were not seen not to throttle; others have nothing that would say so."""
    if not measurement.device.is_raspberry_pi or _known(measurement, "throttle_bits"):
        return None
    return (
        "Whether the Pi throttled is not known: vcgencmd is not there, or not allowed to its user; run "
        "sudo usermod -aG video $USER on it, and measure again."
    )


def not_looked_at(measurement: Measurement) -> tuple[str, ...]:
    """Return what no rule could judge because the device says nothing of it."""
    seen = {"temperature": "temperature_c", "clocks": "clocks_hz", "throttling": "throttle_bits", "load": "busy_cores"}
    unknown = {what for what, name in seen.items() if not _known(measurement, name)}
    if throttling_unknown(measurement) or _known(measurement, "thermal_status"):
        unknown.discard("throttling")
    return tuple(what for what in seen if what in unknown)


def _known(measurement: Measurement, name: str) -> bool:
    return any(getattr(state, name) not in (None, ()) for state in states(measurement))


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


def whens(measurement: Measurement) -> Iterator[tuple[str, Conditions]]:
    """Yield when the device was looked at, and its state then."""
    names = ("before the run", *(f"after block {block.number}" for block in measurement.blocks), "after the run")
    yield from zip(names, states(measurement), strict=True)


def started_warm(measurement: Measurement) -> str | None:
    temperature_c, limit_c = measurement.before.temperature_c, measurement.protocol.max_start_temperature_c
    if temperature_c is None or temperature_c <= limit_c:
        return None
    return (
        f"The device had {temperature_c:.0f} °C before the first block, over the gate of {limit_c:.0f} °C; "
        "let it cool down for longer (--cool-down), or cool it."
    )


def hot(measurement: Measurement) -> str | None:
    limit_c = PI_THROTTLES_AT_C if measurement.device.is_raspberry_pi else OTHERS_THROTTLE_AT_C
    temperature_c = max((state.temperature_c for state in states(measurement) if state.temperature_c), default=0.0)
    if temperature_c < limit_c:
        return None
    return (
        f"The device reached {temperature_c:.0f} °C, and from {limit_c:.0f} °C on it may slow down; "
        "cool it, and measure again."
    )


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
