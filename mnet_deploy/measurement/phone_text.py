"""What is to be said of a phone's state and of what timed there, for people."""

from collections.abc import Iterator

from mnet_deploy.measurement.android_rules import THERMAL_STATUS
from mnet_deploy.measurement.core_groups import affinity_text
from mnet_deploy.measurement.device_info import AGENT_RUNNER, Conditions, EngineInfo
from mnet_deploy.measurement.measurement import Measurement

_DIGEST_DIGITS = 12


def phone_sentences(one: Measurement) -> Iterator[str]:
    """Yield what timed if it is not the agent, and of phones the cores that it was bound to and their state."""
    if runner := runner_text(one.engine):
        yield f"timed by {runner}"
    if one.device.android is None:
        return
    if one.engine.affinity is not None:
        yield f"bound to {affinity_text(one.engine.affinity)}"
    before, after = state_text(one.before), state_text(one.after)
    if before or after:
        yield f"state before: {before or 'unknown'}; after: {'the same' if after == before else after or 'unknown'}"


def runner_text(engine: EngineInfo) -> str:
    """Return `benchmark_model (sha256 0123456789ab, from PATH)`; empty for the agent, which comes with this package."""
    if engine.runner in (None, AGENT_RUNNER):
        return ""
    parts = [f"sha256 {engine.runner_sha256[:_DIGEST_DIGITS]}" if engine.runner_sha256 else ""]
    parts += [f"from {engine.runner_source}" if engine.runner_source else ""]
    parts += [f"with {engine.c_library}" if engine.c_library else ""]
    said = ", ".join(filter(None, parts))
    return f"{engine.runner} ({said})" if said else f"{engine.runner}"


def state_text(state: Conditions) -> str:
    """Return `thermal status 0 (none), battery 81% at 29.6 °C, powered, screen on`; empty if nothing of it is known."""
    return ", ".join(filter(None, (thermal_text(state), battery_text(state), *_switches(state))))


def thermal_text(state: Conditions) -> str:
    """Return `thermal status 0 (none)`."""
    status = state.thermal_status
    return "" if status is None else f"thermal status {status} ({THERMAL_STATUS[status]})"


def battery_text(state: Conditions) -> str:
    """Return `battery 81% at 29.6 °C`."""
    if state.battery_level is None:
        return ""
    temperature_c = state.battery_temperature_c
    return f"battery {state.battery_level:.0%}" + ("" if temperature_c is None else f" at {temperature_c:.1f} °C")


def _switches(state: Conditions) -> Iterator[str]:
    if state.powered is not None:
        yield "powered" if state.powered else "on battery"
    if state.screen_on is not None:
        yield "screen on" if state.screen_on else "screen off"
    if state.power_saving:
        yield "battery saver on"
