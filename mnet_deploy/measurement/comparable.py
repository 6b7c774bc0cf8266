"""Which measurements may be compared: all that is not the question has to be the same."""

from collections.abc import Callable, Collection
from typing import Any

from mnet_deploy.errors import SpecError
from mnet_deploy.measurement.android_rules import worst_thermal_status
from mnet_deploy.measurement.device_info import AGENT_RUNNER, NATIVE_RUNNER
from mnet_deploy.measurement.device_rules import whens
from mnet_deploy.measurement.measurement import Measurement

# In the order in which they are looked at. Not among them: what the loop does not depend on (Python, NumPy, kernel
# release, the file itself, whose change is what a comparison is about), and the address, which DHCP changes.
CONDITIONS: dict[str, Callable[[Measurement], Any]] = {
    "emulated": lambda one: one.device.emulated,
    "device model": lambda one: one.device.model,
    "soc": lambda one: one.device.soc,
    "memory": lambda one: one.device.memory_bytes,
    "os": lambda one: one.device.os,
    "machine": lambda one: one.engine.machine or one.device.machine,
    "highest clock": lambda one: _clock_text(highest_clock_hz(one)),
    "governor": lambda one: one.before.governor,
    "thermal status": lambda one: worst_thermal_status(one) or None,
    "battery saver": lambda one: any(state.power_saving for _, state in whens(one)) or None,
    "engine": lambda one: one.engine.name,
    "engine version": lambda one: one.engine.version,
    "runner": lambda one: one.engine.runner or AGENT_RUNNER,
    "runner build": lambda one: _build(one),
    "C library": lambda one: one.engine.c_library,
    "delegate": lambda one: one.engine.delegate,
    "session options": lambda one: tuple(sorted(one.config.session_options)),
    "threads": lambda one: one.config.threads,
    "affinity": lambda one: one.config.cpu_affinity,
    "model": lambda one: one.file.model,
    "precision": lambda one: one.file.precision,
}


# What to say where there is nothing. A state that a device does not tell is taken for the good one.
_IF_NONE = {
    "emulated": "no",
    "affinity": "any",
    "thermal status": "none",
    "battery saver": "off",
    "C library": "of the device",
}

_REMEDIES = {
    "emulated": "times of an emulated device say nothing of a real one",
    "thermal status": "measure both while the device is cool",
    "battery saver": "switch it off for both",
}


def require_comparable(a: Measurement, b: Measurement, *, but: Collection[str] = ()) -> None:
    """Refuse two measurements whose conditions differ.

    Args:
        a: one.
        b: the other.
        but: names of `CONDITIONS` that are the question, and may differ.

    Raises:
        SpecError: a condition differs; the message names the first one.
    """
    for name, of in CONDITIONS.items():
        first, second = of(a), of(b)
        if first != second and name not in but:
            raise SpecError(
                f"only measurements under the same conditions can be compared. Received: {name} {_text(name, first)} "
                f"and {name} {_text(name, second)}; {_remedy(name)}"
            )


def _build(one: Measurement) -> str | None:
    """Return which build of a program timed, if it comes from elsewhere; that of ours may change with the toolkit."""
    ours = (None, AGENT_RUNNER, NATIVE_RUNNER)
    return None if one.engine.runner in ours or one.engine.runner_sha256 is None else one.engine.runner_sha256[:12]


def highest_clock_hz(one: Measurement) -> float | None:
    """Return what the cores that were used can have, or the limit that the system sets them; None if unknown."""
    device, used = one.device, one.engine.affinity
    limits = one.before.limits_hz if len(one.before.limits_hz) == len(device.cores) else [None] * len(device.cores)
    clocks = [
        min(clock for clock in (core.max_clock_hz, limit) if clock is not None)
        for core, limit in zip(device.cores, limits, strict=True)
        if (used is None or core.number in used) and (core.max_clock_hz is not None or limit is not None)
    ]
    return max(clocks, default=None)


def _clock_text(clock_hz: float | None) -> str | None:
    return None if clock_hz is None else f"{clock_hz / 1e6:.0f} MHz"


def _text(name: str, value: object) -> str:
    if value is None:
        return _IF_NONE.get(name, "unknown")
    if value is True:
        return "on"
    return " ".join(map(str, value)) or "none" if isinstance(value, tuple) else str(value)


def _remedy(name: str) -> str:
    return _REMEDIES.get(name, f"measure both with the same {name}")
