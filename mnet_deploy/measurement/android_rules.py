"""Rules about phones: what Android says of heat, battery and screen, unequal cores, and what timed there."""

from collections.abc import Callable
from typing import Any

from mnet_deploy.measurement.core_groups import core_groups, fastest_cores
from mnet_deploy.measurement.device_info import KNOWN_RUNNERS, Conditions
from mnet_deploy.measurement.device_rules import whens
from mnet_deploy.measurement.measurement import Measurement

# android.os.PowerManager: "Light throttling where UX is not impacted", "Moderate throttling where UX is not largely
# impacted". How much of its speed the device gives up for it, it does not say.
LIGHT_THROTTLING, MODERATE_THROTTLING = 1, 2
THERMAL_STATUS = ("none", "light", "moderate", "severe", "critical", "emergency", "shutdown")

# Where Android warns and offers its battery saver (AOSP, frameworks/base/core/res/res/values/config.xml,
# config_lowBatteryWarningLevel).
LOW_BATTERY = 0.15


def thermal_light(measurement: Measurement) -> str | None:
    if worst_thermal_status(measurement) != LIGHT_THROTTLING:
        return None
    return f"{_throttling(measurement, LIGHT_THROTTLING)}; let it cool down (--cool-down), and measure again."


def thermal_throttled(measurement: Measurement) -> str | None:
    worst = worst_thermal_status(measurement)
    if worst is None or worst < MODERATE_THROTTLING:
        return None
    return f"{_throttling(measurement, worst)}; let it cool down, out of its case, and measure again."


def worst_thermal_status(measurement: Measurement) -> int | None:
    """Return the highest thermal status of the run; None if the device never said one."""
    seen = [state.thermal_status for _, state in whens(measurement) if state.thermal_status is not None]
    return max(seen, default=None)


def _throttling(measurement: Measurement, status: int) -> str:
    when = _first_when(measurement, lambda state: state.thermal_status == status)
    return f"Android held the device back for its heat {when} (thermal status {status}, {THERMAL_STATUS[status]})"


def battery_low(measurement: Measurement) -> str | None:
    levels = [state.battery_level for _, state in whens(measurement) if state.battery_level is not None]
    if not levels or min(levels) > LOW_BATTERY:
        return None
    return (
        f"The battery was down to {min(levels):.0%}; with {LOW_BATTERY:.0%} and less a device may save power of its "
        "own accord; charge it, and measure again."
    )


def power_saving(measurement: Measurement) -> str | None:
    when = _first_when(measurement, lambda state: state.power_saving is True)
    return f"Android's battery saver was on {when}; switch it off, and measure again." if when else None


def screen_off(measurement: Measurement) -> str | None:
    when = _first_when(measurement, lambda state: state.screen_on is False)
    if when is None:
        return None
    return (
        f"The screen was off {when}, and a device that sleeps may keep programs on its slow cores, at low clocks; "
        "wake it, and let it stay awake (developer options) while it is measured."
    )


def mixed_cores(measurement: Measurement) -> str | None:
    """Find programs that were free to run on fast cores and on slow ones."""
    device, used = measurement.device, measurement.engine.affinity
    groups = [group for group in core_groups(device) if used is None or set(group.numbers) & set(used)]
    count = sum(used is None or number in used for group in groups for number in group.numbers)
    if len(groups) < 2 or measurement.config.threads >= count:
        return None
    fast = ",".join(map(str, fastest_cores(device, at_least=measurement.config.threads) or groups[0].numbers))
    return (
        f"The cores are unequal ({', '.join(map(str, groups))}), and on which of them it ran is not known; bind it to "
        f"fast ones (--affinity {fast})."
    )


def glibc_on_android(measurement: Measurement) -> str | None:
    library = measurement.engine.c_library
    if measurement.device.android is None or library is None:
        return None
    return (
        f"The engine is its Linux build, with a C library that was brought along ({library}), on the processor alone: "
        "apps run Android's build of it, so that this is an experiment; measure with benchmark_model, the official "
        "tool, too."
    )


def reference_runner(measurement: Measurement) -> str | None:
    runner = measurement.engine.runner
    if runner is None or runner in KNOWN_RUNNERS:
        return None
    return (
        f"What timed calls itself {runner!r} and is none of {', '.join(KNOWN_RUNNERS)}: how it times is not known "
        "here; say its name with the number, or measure with one of these."
    )


def _first_when(measurement: Measurement, seen: Callable[[Conditions], Any]) -> str | None:
    return next((when for when, state in whens(measurement) if seen(state)), None)
