"""Read what probe.sh prints."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mnet_deploy.errors import LinkLost
from mnet_deploy.measurement.device_info import Conditions, Core, DeviceInfo
from mnet_deploy.terminal import printable

_LAST_LINE = "end=probe"
_HZ_PER_KHZ = 1000.0
_BYTES_PER_KIB = 1024
_MILLI = 1000.0
_WHOLE = re.compile("-?[0-9]{1,18}")  # more digits are no number of ours
_DECIMAL = re.compile(r"[0-9]{1,18}(\.[0-9]{0,18})?")
_MOST_CORES = 8192  # of a Linux kernel (CONFIG_NR_CPUS)
_PLAUSIBLE_C = (-40.0, 150.0)  # a sensor that is not there often reads 0 K or the largest number
_IDLE_FIELDS = (3, 4)  # of /proc/stat: idle, iowait
_STAT_FIELDS = 8  # user nice system idle iowait irq softirq steal; the guests' that follow are in user already
# Names of sensors at the processor, on a Pi, other boards and PCs; others (battery, board, radio) say nothing of it.
_CPU_ZONE = re.compile(r"(cpu|soc)[-_]?thermal.*|bcm2\d+_thermal|cpu\d*[-_].*|x86_pkg_temp|tctl", re.IGNORECASE)
# `CPU part` of implementer 0x41 (Arm): Linux, arch/arm64/include/asm/cputype.h and util-linux, sys-utils/lscpu-arm.c.
_ARM = "0x41"
_ARM_PARTS = {
    "0xb76": "ARM1176",
    "0xc07": "Cortex-A7",
    "0xd03": "Cortex-A53",
    "0xd05": "Cortex-A55",
    "0xd07": "Cortex-A57",
    "0xd08": "Cortex-A72",
    "0xd09": "Cortex-A73",
    "0xd0a": "Cortex-A75",
    "0xd0b": "Cortex-A76",
    "0xd0c": "Neoverse-N1",
    "0xd0d": "Cortex-A77",
    "0xd41": "Cortex-A78",
}
# Programs of 32 bits run on kernels of 64 (Raspberry Pi OS ships both so); then Python names the kernel's.
_PLATFORM_OF_32_BITS = {"linux-aarch64": "linux-armv7l", "linux-armv8l": "linux-armv7l", "linux-x86_64": "linux-i686"}

Answers = Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class PythonOnDevice:
    """A Python on a device.

    Attributes:
        path: of the interpreter.
        version: such as `3.11.2`.
        bits: 32 or 64, of the interpreter: a kernel of 64 bits runs both.
        platform: `linux-aarch64`, `linux-armv7l`, …: of the interpreter, not of the kernel.
        has_venv: whether `python -m venv` works; Debian has it in a package of its own.
        has_pip: whether `python -m pip` works outside an environment.
        glibc: version of the C library, such as `2.36`; None for another one.
    """

    path: str
    version: str
    bits: int
    platform: str
    has_venv: bool
    has_pip: bool
    glibc: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Userland:
    """What can be installed on a device; None is what it does not say.

    Attributes:
        python: None if there is none.
        broken_python: path of an interpreter that is there and does not run.
        glibc: version of the C library, such as `2.36`.
        home: the user's folder.
        free_home_bytes: free space there.
    """

    python: PythonOnDevice | None = None
    broken_python: str | None = None
    glibc: str | None = None
    home: str | None = None
    free_home_bytes: int | None = None


def parse_answers(text: str) -> Answers:
    """Return {key: values in their order}, without what a terminal would obey.

    Raises:
        LinkLost: the last line is missing.
    """
    lines = text.splitlines()
    if _LAST_LINE not in lines:
        raise LinkLost(f"the probe ended without its last line. Received: {text[-80:]!r}; run it again")
    answers = defaultdict(list)
    for line in lines:
        key, _, value = line.partition("=")
        if value.strip():
            answers[key].append(printable(value.strip()))
    return dict(answers)


def device_info(answers: Answers, address: str) -> DeviceInfo:
    """Return what the answers to `device` say."""
    cpu_name = _first(answers, "cpu_name")
    return DeviceInfo(
        address=address,
        model=_first(answers, "model", "cpuinfo_model", "cpu_name"),
        soc=_soc(answers) or cpu_name,
        machine=_first(answers, "machine"),
        cores=_cores(answers),
        memory_bytes=_int(_first(answers, "memory_bytes")) or _bytes(_first(answers, "memory_kib")),
        os=_first(answers, "os"),
        kernel=_first(answers, "kernel"),
        emulated=_emulator(answers),
    )


def conditions(answers: Answers) -> Conditions:
    """Return what the answers to `conditions` say."""
    return Conditions(
        throttle_bits=_throttle_bits(answers),
        temperature_c=_temperature_c(answers),
        governor=",".join(dict.fromkeys(answers.get("governor", ()))) or None,
        clocks_hz=_clocks_hz(answers, "clock"),
        limits_hz=_clocks_hz(answers, "clock_limit"),
        load_1min=_float(_first(answers, "load")),
        busy_cores=_busy_cores(answers),
        free_memory_bytes=_bytes(_first(answers, "available_kib")),
    )


def _clocks_hz(answers: Answers, key: str) -> tuple[float, ...]:
    return tuple(clock * _HZ_PER_KHZ for value in answers.get(key, ()) if (clock := _int(value)))


def userland(answers: Answers) -> Userland:
    """Return what the answers to `userland` say."""
    glibc = _first(answers, "glibc")
    version = glibc.removeprefix("glibc").strip() if glibc else None
    return Userland(
        python=_python(answers, version),
        broken_python=_first(answers, "python_broken"),
        glibc=version,
        home=_first(answers, "home"),
        free_home_bytes=_bytes(_first(answers, "free_home_kib")),
    )


def _python(answers: Answers, glibc: str | None) -> PythonOnDevice | None:
    path, version, platform = (_first(answers, f"python{part}") for part in ("", "_version", "_platform"))
    bits = _int(_first(answers, "python_bits"))
    if path is None or version is None or platform is None or bits is None:
        return None
    return PythonOnDevice(
        path=path,
        version=version,
        bits=bits,
        platform=_PLATFORM_OF_32_BITS.get(platform, platform) if bits == 32 else platform,
        has_venv=_first(answers, "python_venv") == "1",
        has_pip=_first(answers, "python_pip") == "1",
        glibc=glibc,
    )


def _first(answers: Answers, *keys: str) -> str | None:
    return next((answers[key][0] for key in keys if answers.get(key)), None)


def _soc(answers: Answers) -> str | None:
    """Return `BCM2711 (Cortex-A72)`, or what of it is known."""
    compatible = _first(answers, "compatible")  # from the board to the chip: raspberrypi,4-model-b brcm,bcm2711
    chip = compatible.split()[-1].partition(",")[2].upper() if compatible else None
    known = _ARM_PARTS if _first(answers, "cpu_implementer") == _ARM else {}
    parts = " + ".join(known[part] for part in answers.get("cpu_part", ()) if part in known)
    return f"{chip} ({parts})" if chip and parts else chip or parts or None


def _cores(answers: Answers) -> tuple[Core, ...]:
    cores = []
    for entry in answers.get("core", ()):
        number, _, khz = entry.partition(" ")
        clock, found = _int(khz), _int(number)
        if found is None:
            continue
        cores.append(Core(number=found, max_clock_hz=clock * _HZ_PER_KHZ if clock else None))
    counted = range(min(_int(_first(answers, "processors")) or 0, _MOST_CORES))
    return tuple(sorted(cores, key=lambda core: core.number)) or tuple(Core(number=number) for number in counted)


def _emulator(answers: Answers) -> str | None:
    """Return `qemu-user` where the shell ran under it; a machine that is emulated whole does not show as such."""
    started = " ".join((*answers.get("executable", ()), *answers.get("command_line", ())))
    return "qemu-user" if re.search(r"(^|[ /])qemu-", started) else None


def _throttle_bits(answers: Answers) -> int | None:
    said = re.fullmatch(r"throttled=(0x[0-9a-fA-F]{1,8})", _first(answers, "vcgencmd_throttled") or "")
    if said:
        return int(said[1], 16)
    # The kernel's copy is deprecated (Linux, drivers/firmware/raspberrypi.c) and was seen at 0 while vcgencmd had bits:
    # a 0 there proves nothing.
    copied = _first(answers, "firmware_throttled")
    bits = int(copied, 16) if copied and re.fullmatch(r"(0x)?[0-9a-fA-F]{1,8}", copied) else 0
    return bits or None


def _temperature_c(answers: Answers) -> float | None:
    zones = [zone.partition(" ") for zone in answers.get("zone", ())]
    found = [value for value, _, kind in zones if _CPU_ZONE.fullmatch(kind)]
    milli = _int(found[0]) if found else None
    if milli is None:
        said = re.fullmatch(r"temp=([0-9.]+)'C", _first(answers, "vcgencmd_temperature") or "")
        temperature_c = _float(said[1]) if said else None
    else:
        temperature_c = milli / _MILLI
    lowest, highest = _PLAUSIBLE_C
    return temperature_c if temperature_c is not None and lowest <= temperature_c <= highest else None


def _busy_cores(answers: Answers) -> float | None:
    moments = [_ticks(stat) for stat in answers.get("stat", ())]
    cores = _int(_first(answers, "stat_cores"))
    if len(moments) != 2 or not cores or any(len(moment) != _STAT_FIELDS for moment in moments):
        return None
    passed = [max(0, after - before) for before, after in zip(*moments, strict=True)]
    total = sum(passed)
    return cores * (total - sum(passed[field] for field in _IDLE_FIELDS)) / total if total else None


def _ticks(stat: str) -> list[int]:
    """Return the fields of a line of /proc/stat that count, those that are none left out."""
    found = (_int(field) for field in stat.split()[1 : 1 + _STAT_FIELDS])
    return [ticks for ticks in found if ticks is not None]


def _int(text: str | None) -> int | None:
    return int(text) if text and _WHOLE.fullmatch(text) else None


def _float(text: str | None) -> float | None:
    return float(text) if text and _DECIMAL.fullmatch(text) else None


def _bytes(text: str | None) -> int | None:
    """Return the bytes of `KIB` or `KIB FOLDER`."""
    kib = _int(text.split()[0]) if text else None
    return None if kib is None else kib * _BYTES_PER_KIB
