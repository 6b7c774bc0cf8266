"""What a device is, which engines fit it, which it has, and whether it is ready for a benchmark."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mnet_deploy.errors import DeviceUnavailable
from mnet_deploy.measurement.device_info import Conditions, DeviceInfo
from mnet_deploy.measurement.device_rules import SINCE_BOOT, THROTTLE_BITS
from mnet_deploy.measurement.json_values import as_value
from mnet_deploy.measurement.phone_text import state_text
from mnet_deploy.measurement.text import device_text
from mnet_deploy.pipeline.native_runtime import phone_problem
from mnet_deploy.runners.native.engine_library import VERSIONS
from mnet_deploy.runners.probe import probe_conditions, probe_device
from mnet_deploy.runners.probe_answers import PythonOnDevice
from mnet_deploy.runners.setup.device_python import DevicePython, device_python, look_for_python
from mnet_deploy.runners.setup.device_target import plan_for, probe_target, require_venv, target_of
from mnet_deploy.runners.setup.wheels import Fit, WheelTarget, fits
from mnet_deploy.runners.transports.address import DeviceAddress
from mnet_deploy.runners.transports.deadline import Deadline
from mnet_deploy.runners.transports.open_transport import open_transport
from mnet_deploy.runners.transports.transport import Transport

FORMAT = "mnet.device-check/1"
TIMEOUT_S = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceCheck:
    """What was found.

    Attributes:
        device: what it is.
        conditions: the state that it is in.
        target: what wheels have to fit; None if it has no Python that could be used.
        fits: for each engine its wheel, or why there is none; empty without `target`.
        python: the one that benchmarks use; None if there is none.
        native_engines: version of each engine that our C program can bring to a phone; empty for other devices, which
            are asked for Python's.
        problem: why it is not ready, and what to do; empty if it is ready.
    """

    device: DeviceInfo
    conditions: Conditions
    target: WheelTarget | None = None
    fits: tuple[Fit, ...] = ()
    python: DevicePython | None = None
    native_engines: Mapping[str, str] = field(default_factory=dict)
    problem: str = ""

    @property
    def ready(self) -> bool:
        """Whether benchmarks can run there."""
        return not self.problem

    def to_json(self) -> dict[str, Any]:
        """Return it as a document."""
        return {
            "format": FORMAT,
            "ready": self.ready,
            "problem": self.problem or None,
            "device": as_value(self.device),
            "conditions": as_value(self.conditions),
            "python": None if self.python is None else _python_json(self.python),
            "fits": [_fit_json(fit) for fit in self.fits],
            "native_engines": dict(self.native_engines),
        }


def check_device(address: DeviceAddress) -> DeviceCheck:
    """Look at a device; nothing is changed there.

    Raises:
        DeviceError: it cannot be reached, or is lost.
    """
    with open_transport(address) as transport:
        return check_on(transport, Deadline.after(TIMEOUT_S))


def check_on(transport: Transport, deadline: Deadline) -> DeviceCheck:
    """Look at the device that a transport leads to; see `check_device`."""
    device = probe_device(transport, deadline)
    conditions = probe_conditions(transport, deadline, busy=True)
    if transport.address.scheme == "adb":
        problem = phone_problem(device)
        engines = {} if problem else VERSIONS
        return DeviceCheck(device=device, conditions=conditions, native_engines=engines, problem=problem or "")
    try:
        interpreter, _ = probe_target(transport, deadline)
    except DeviceUnavailable as error:
        return DeviceCheck(device=device, conditions=conditions, problem=str(error))
    target = target_of(interpreter)
    python, problem = _python(transport, deadline)
    if problem and transport.address.scheme != "local":
        problem = _obstacle(transport, interpreter, target) or problem
    return DeviceCheck(
        device=device, conditions=conditions, target=target, fits=fits(target), python=python, problem=problem
    )


def check_text(check: DeviceCheck) -> str:
    """Return it for people; the last line says whether it is ready, or what to do."""
    lines = [
        device_text(check.device),
        f"  clocks          {_clocks(check)}",
        f"  state           {_state(check.device, check.conditions)}",
    ]
    if check.target is not None:
        lines.append(f"  userland        {check.target}")
        lines += [f"  {fit.engine:<14}  {_fit_text(fit, check.python)}" for fit in check.fits]
    if check.python is not None:
        numpy = f", NumPy {check.python.numpy}" if check.python.numpy else ""
        lines.append(f"  python          {check.python.path} ({check.python.version}{numpy})")
    if check.native_engines:
        lines.append(f"  our C program   {_native_text(check.native_engines)}")
    if check.device.android is not None:
        lines.append("  benchmark_model is not looked for: bring it with mnet bench --benchmark-model FILE")
    return "\n".join([*lines, "ready" if check.ready else f"not ready: {check.problem}"])


def throttle_text(bits: int | None) -> str:
    """Return the throttle bits in words."""
    if bits is None:
        return "not known whether it throttles"
    now = [what for bit, (what, _) in THROTTLE_BITS.items() if bits >> bit & 1]
    before = [what for bit, (what, _) in THROTTLE_BITS.items() if bits >> (bit + SINCE_BOOT) & 1]
    parts = [f"now {', '.join(now)}"] * bool(now) + [f"since it was started {', '.join(before)}"] * bool(before)
    return "; ".join(parts) or "never throttled since it was started"


def _python(transport: Transport, deadline: Deadline) -> tuple[DevicePython | None, str]:
    try:
        return device_python(transport, deadline), ""
    except DeviceUnavailable as error:
        problem = str(error)
    try:
        return look_for_python(transport, deadline), problem
    except DeviceUnavailable:
        return None, problem  # which says the same


def _obstacle(transport: Transport, interpreter: PythonOnDevice, target: WheelTarget) -> str:
    """Return why `mnet device setup` would refuse, too; empty if it would not."""
    try:
        require_venv(transport, interpreter)
        plan_for(transport, target)
    except DeviceUnavailable as error:
        return str(error)
    return ""


def _clocks(check: DeviceCheck) -> str:
    highest = sorted({core.max_clock_hz for core in check.device.cores if core.max_clock_hz}, reverse=True)
    now = sorted(set(check.conditions.clocks_hz), reverse=True)
    parts = [
        f"at most {_mhz(highest)}" if highest else "",
        f"now {_mhz(now)}" if now else "",
        f"governor {check.conditions.governor}" if check.conditions.governor else "",
    ]
    return ", ".join(part for part in parts if part) or "not known"


def _mhz(clocks_hz: list[float]) -> str:
    return "/".join(f"{clock / 1e6:.0f}" for clock in clocks_hz) + " MHz"


def _state(device: DeviceInfo, conditions: Conditions) -> str:
    parts = []
    if conditions.temperature_c is not None:
        parts.append(f"{conditions.temperature_c:.1f} °C")
    parts.append(throttle_text(conditions.throttle_bits) if device.android is None else state_text(conditions))
    if conditions.busy_cores is not None:
        parts.append(f"{conditions.busy_cores:.1f} cores busy")
    return ", ".join(filter(None, parts))


def _fit_text(fit: Fit, python: DevicePython | None) -> str:
    if python is not None and fit.engine in python.unusable:
        return f"cannot be used: {python.unusable[fit.engine]}"
    if python is not None and fit.engine in python.engines:
        return f"installed: {python.engines[fit.engine] or 'version not known'}"
    return f"fits: {fit.wheel.version}" if fit.wheel else f"does not fit: {fit.reason.partition(': ')[2]}"


def _native_text(engines: Mapping[str, str]) -> str:
    named = ", ".join(f"{name} {version}" for name, version in engines.items())
    return f"brings {named} (experimental: CPU only, with a C library of its own)"


def _python_json(python: DevicePython) -> dict[str, Any]:
    return {
        "path": python.path,
        "version": python.version,
        "numpy": python.numpy,
        "engines": dict(python.engines),
        "unusable": dict(python.unusable),
        "set_up": python.set_up,
    }


def _fit_json(fit: Fit) -> dict[str, Any]:
    return {"engine": fit.engine, "version": fit.wheel.version if fit.wheel else None, "reason": fit.reason or None}
