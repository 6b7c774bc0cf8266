"""Which measurements may be compared: all that is not the question has to be the same."""

from collections.abc import Callable, Iterable
from typing import Any

from mnet_deploy.errors import SpecError
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
    "governor": lambda one: one.before.governor,
    "engine": lambda one: one.engine.name,
    "engine version": lambda one: one.engine.version,
    "delegate": lambda one: one.engine.delegate,
    "session options": lambda one: tuple(sorted(one.config.session_options)),
    "threads": lambda one: one.config.threads,
    "affinity": lambda one: one.config.cpu_affinity,
    "model": lambda one: one.file.model,
    "precision": lambda one: one.file.precision,
}

# What may differ where two files of one run are compared: whatever makes one an alternative to the other.
VERSUS = ("engine", "engine version", "delegate", "session options", "model", "precision")
# A baseline and a later run: two builds of one model, everything else the same.
BASELINE: tuple[str, ...] = ()
# Two stored runs, as for a baseline.
DIFF: tuple[str, ...] = ()


def require_comparable(a: Measurement, b: Measurement, *, ignore: Iterable[str] = ()) -> None:
    """Refuse two measurements whose conditions differ.

    Args:
        a: one.
        b: another.
        ignore: names of `CONDITIONS` that may differ, such as `VERSUS`; never `emulated`.

    Raises:
        SpecError: a condition differs, or there is none of an ignored name.
    """
    ignored = set(ignore)
    may_be = [name for name in CONDITIONS if name != "emulated"]
    if unknown := sorted(ignored - set(may_be)):
        raise SpecError(f"what may be ignored is one of {', '.join(may_be)}. Received: {', '.join(unknown)}")
    for name, of in CONDITIONS.items():
        if name in ignored:
            continue
        first, second = of(a), of(b)
        if first != second:
            raise SpecError(
                f"only measurements under the same conditions can be compared. Received: {name} {_text(name, first)} "
                f"and {name} {_text(name, second)}; {_remedy(name)}"
            )


def _text(name: str, value: object) -> str:
    if value is None:
        return {"emulated": "no", "affinity": "any"}.get(name, "unknown")
    return " ".join(map(str, value)) or "none" if isinstance(value, tuple) else str(value)


def _remedy(name: str) -> str:
    if name == "emulated":
        return "times of an emulated device say nothing of a real one"
    return f"measure both with the same {name}"
