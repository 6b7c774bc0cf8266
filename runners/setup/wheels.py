"""Which engine wheels fit a device, and what to install there.

A wheel has to fit Python, the instruction set of the userland (a 32-bit Raspberry Pi OS often runs on a 64-bit kernel,
so `uname -m` does not tell) and the C library.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from mnet_deploy.errors import DeviceUnavailable
from mnet_deploy.measurement.engine_packages import ENGINE_PACKAGES
from mnet_deploy.runners.setup.wheel_table import LEAST_NUMPY, NUMPY_1, NUMPY_2, WHEELS, Version, Wheel

OLDEST_GLIBC_TAG = 17  # manylinux2014; nothing in the table is tagged for an older one


@dataclass(frozen=True, slots=True, kw_only=True)
class WheelTarget:
    """What programs run on, as Python sees it; the kernel may be of another kind.

    Attributes:
        python: version, major and minor.
        bits: of a pointer in Python, 32 or 64.
        machine: of the kernel, as `uname -m` says it.
        system: `linux` or `macos`.
        glibc: version of the C library; None on macOS and where it is another one (musl).
    """

    python: Version
    bits: int
    machine: str
    system: str = "linux"
    glibc: Version | None = None

    @property
    def architecture(self) -> str:
        """What wheels call the instruction set; empty if no engine has any for it."""
        if self.system == "macos":
            return "arm64" if self.machine == "arm64" else ""
        if self.bits == 64:
            return {"aarch64": "aarch64", "arm64": "aarch64", "x86_64": "x86_64"}.get(self.machine, "")
        return "armv7l" if self.machine in ("armv7l", "armv8l", "aarch64") else ""

    def __str__(self) -> str:
        """Return it in words: `Python 3.11, 64-bit (aarch64), glibc 2.36`."""
        library = {"macos": "macOS"}.get(self.system) or (f"glibc {_dotted(self.glibc)}" if self.glibc else "no glibc")
        return f"Python {_dotted(self.python)}, {self.bits}-bit ({self.architecture or self.machine}), {library}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """Whether an engine can be installed.

    Attributes:
        engine: its name.
        wheel: the newest that fits; None if there is none.
        reason: why there is none, and empty if there is one.
    """

    engine: str
    wheel: Wheel | None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to install.

    Attributes:
        engines: version of each engine, by its name; the first is the default.
        requirements: for pip, every version pinned.
        system_numpy: NumPy comes from the system (there is no wheel), so the environment has to see its packages, and
            pip must not resolve dependencies.
        least_numpy: that one has to be at least this new.
    """

    engines: dict[str, str]
    requirements: tuple[str, ...]
    system_numpy: bool = False
    least_numpy: Version | None = None


def fits(target: WheelTarget) -> tuple[Fit, ...]:
    """Return for each engine the wheel that fits, or why none does; the default engine comes first."""
    return tuple(_fit(engine, target) for engine in ENGINE_PACKAGES)


def plan(target: WheelTarget, engines: Collection[str] = ()) -> Plan:
    """Return what to install.

    Args:
        target: of the device.
        engines: names; empty for LiteRT and ONNX Runtime, or tflite-runtime where LiteRT has no wheel.

    Raises:
        DeviceUnavailable: an engine that was asked for, or every one, has no wheel that fits.
    """
    found = {fit.engine: fit for fit in fits(target)}
    wanted = [engine for engine in ENGINE_PACKAGES if engine in engines] or _usual(found)
    refused = [found[engine].reason for engine in wanted if found[engine].wheel is None]
    if refused or not wanted:
        raise DeviceUnavailable(_refusal(target, found, refused))
    return _plan(target, [wheel for engine in wanted if (wheel := found[engine].wheel)])


def platform_tags(target: WheelTarget) -> tuple[str, ...]:
    """Return all tags of wheels that fit: `pip download --platform` takes no newer C library to include older ones."""
    architecture = target.architecture
    newest = target.glibc[1] if target.glibc else OLDEST_GLIBC_TAG
    numbered = (f"manylinux_2_{minor}_{architecture}" for minor in range(newest, OLDEST_GLIBC_TAG - 1, -1))
    return (*numbered, f"manylinux2014_{architecture}", f"linux_{architecture}")


def _usual(found: dict[str, Fit]) -> list[str]:
    tflite = "litert" if found["litert"].wheel else "tflite-runtime"
    return [engine for engine in (tflite, "onnxruntime") if found[engine].wheel]


def _fit(engine: str, target: WheelTarget) -> Fit:
    here = [wheel for wheel in WHEELS if wheel.engine == engine and _is_for(wheel, target)]
    if not here:
        return _no_wheel(engine, f"no wheel for {_kind(target)}")
    for_python = [wheel for wheel in here if target.python in wheel.pythons]
    if not for_python:
        return _no_wheel(engine, f"no {_kind(target)} wheel for Python {_dotted(target.python)}")
    running = [wheel for wheel in for_python if _has_glibc(wheel, target)]
    if not running:
        least = min(wheel.least_glibc for wheel in for_python if wheel.least_glibc)
        return _no_wheel(engine, f"needs glibc {_dotted(least)} or later")
    return Fit(engine=engine, wheel=running[0])


def _no_wheel(engine: str, reason: str) -> Fit:
    return Fit(engine=engine, wheel=None, reason=f"{ENGINE_PACKAGES[engine].package}: {reason}")


def _kind(target: WheelTarget) -> str:
    system = {"macos": "macOS"}.get(target.system, "Linux")
    return f"{target.bits}-bit {target.architecture or target.machine} {system}"


def _is_for(wheel: Wheel, target: WheelTarget) -> bool:
    if not target.architecture or ("macos" in wheel.platform) != (target.system == "macos"):
        return False
    return wheel.platform.endswith(f"_{target.architecture}")


def _has_glibc(wheel: Wheel, target: WheelTarget) -> bool:
    return wheel.least_glibc is None or (target.glibc is not None and target.glibc >= wheel.least_glibc)


def _plan(target: WheelTarget, wheels: Sequence[Wheel]) -> Plan:
    engines = {wheel.engine: wheel.version for wheel in wheels}
    pins = tuple(f"{ENGINE_PACKAGES[wheel.engine].package}=={wheel.version}" for wheel in wheels)
    if target.architecture == "armv7l":  # NumPy has no wheel at all for it
        least = LEAST_NUMPY[engines["tflite-runtime"]]
        return Plan(engines=engines, requirements=pins, system_numpy=True, least_numpy=least)
    numpy = (NUMPY_1 if "tflite-runtime" in engines else NUMPY_2)[target.python]
    return Plan(engines=engines, requirements=(*pins, f"numpy=={numpy}"))


def _refusal(target: WheelTarget, found: dict[str, Fit], refused: Sequence[str]) -> str:
    possible = [engine for engine, fit in found.items() if fit.wheel]
    reasons = "; ".join(refused or [fit.reason for fit in found.values()])
    return f"{target}: {reasons}. {_advice(target, possible)}"


def _advice(target: WheelTarget, possible: Sequence[str]) -> str:
    if possible:
        return f"What fits is --engine {','.join(possible)}"
    if target.architecture == "armv7l":
        return "Use a 64-bit Raspberry Pi OS, for which all engines but tflite-runtime have wheels"
    if not target.architecture:
        return "The engines have wheels for 64-bit ARM, x86-64 and (tflite-runtime alone) 32-bit ARMv7"
    return "LiteRT and ONNX Runtime want 64-bit Linux with Python 3.10 to 3.14, such as Raspberry Pi OS 12 or 13"


def _dotted(version: Version | None) -> str:
    return "unknown" if version is None else ".".join(map(str, version))
