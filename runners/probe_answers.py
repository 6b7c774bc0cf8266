"""Read what probe.sh prints."""

import re
from dataclasses import dataclass

from mnet_deploy.measurement.device_info import Conditions, Core, DeviceInfo
from mnet_deploy.runners import android_answers
from mnet_deploy.runners.answers import Answers, decimal, first, plausible_c, whole

_HZ_PER_KHZ = 1000.0
_BYTES_PER_KIB = 1024
_MILLI = 1000.0
_MOST_CORES = 8192  # of a Linux kernel (CONFIG_NR_CPUS)
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
    "0xd44": "Cortex-X1",
    "0xd46": "Cortex-A510",
    "0xd47": "Cortex-A710",
    "0xd48": "Cortex-X2",
    "0xd4d": "Cortex-A715",
    "0xd4e": "Cortex-X3",
    "0xd80": "Cortex-A520",
    "0xd81": "Cortex-A720",
    "0xd82": "Cortex-X4",
}
# Programs of 32 bits run on kernels of 64 (Raspberry Pi OS ships both so); then Python names the kernel's.
_PLATFORM_OF_32_BITS = {"linux-aarch64": "linux-armv7l", "linux-armv8l": "linux-armv7l", "linux-x86_64": "linux-i686"}


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


def device_info(answers: Answers, address: str) -> DeviceInfo:
    """Return what the answers to `device` say."""
    cpu_name, android = first(answers, "cpu_name"), android_answers.android_info(answers)
    return DeviceInfo(
        address=address,
        model=android_answers.model(answers) or first(answers, "model", "cpuinfo_model", "cpu_name"),
        soc=_soc(answers) or cpu_name,
        machine=first(answers, "machine"),
        cores=_cores(answers),
        memory_bytes=whole(first(answers, "memory_bytes")) or _bytes(first(answers, "memory_kib")),
        os=android_answers.system(android) or first(answers, "os"),
        kernel=first(answers, "kernel"),
        emulated=_emulator(answers),
        android=android,
    )


def conditions(answers: Answers) -> Conditions:
    """Return what the answers to `conditions` say."""
    return Conditions(
        throttle_bits=_throttle_bits(answers),
        temperature_c=android_answers.temperature_c(answers) or _temperature_c(answers),
        governor=",".join(dict.fromkeys(answers.get("governor", ()))) or None,
        clocks_hz=_clocks_hz(answers, "clock"),
        limits_hz=_clocks_hz(answers, "clock_limit"),
        load_1min=decimal(first(answers, "load")),
        busy_cores=_busy_cores(answers),
        free_memory_bytes=_bytes(first(answers, "available_kib")),
        thermal_status=android_answers.thermal_status(answers),
        battery_level=android_answers.battery_level(answers),
        battery_temperature_c=android_answers.battery_temperature_c(answers),
        powered=android_answers.powered(answers),
        screen_on=android_answers.screen_on(answers),
        power_saving=android_answers.power_saving(answers),
    )


def _clocks_hz(answers: Answers, key: str) -> tuple[float, ...]:
    return tuple(clock * _HZ_PER_KHZ for value in answers.get(key, ()) if (clock := whole(value)))


def userland(answers: Answers) -> Userland:
    """Return what the answers to `userland` say."""
    glibc = first(answers, "glibc")
    version = glibc.removeprefix("glibc").strip() if glibc else None
    return Userland(
        python=_python(answers, version),
        broken_python=first(answers, "python_broken"),
        glibc=version,
        home=first(answers, "home"),
        free_home_bytes=_bytes(first(answers, "free_home_kib")),
    )


def _python(answers: Answers, glibc: str | None) -> PythonOnDevice | None:
    path, version, platform = (first(answers, f"python{part}") for part in ("", "_version", "_platform"))
    bits = whole(first(answers, "python_bits"))
    if path is None or version is None or platform is None or bits is None:
        return None
    return PythonOnDevice(
        path=path,
        version=version,
        bits=bits,
        platform=_PLATFORM_OF_32_BITS.get(platform, platform) if bits == 32 else platform,
        has_venv=first(answers, "python_venv") == "1",
        has_pip=first(answers, "python_pip") == "1",
        glibc=glibc,
    )


def _soc(answers: Answers) -> str | None:
    """Return `BCM2711 (Cortex-A72)`, or what of it is known."""
    compatible = first(answers, "compatible")  # from the board to the chip: raspberrypi,4-model-b brcm,bcm2711
    of_board = compatible.split()[-1].partition(",")[2].upper() if compatible else None
    chip = android_answers.chip(answers) or of_board
    known = _ARM_PARTS if first(answers, "cpu_implementer") == _ARM else {}
    parts = " + ".join(known[part] for part in answers.get("cpu_part", ()) if part in known)
    return f"{chip} ({parts})" if chip and parts else chip or parts or None


def _cores(answers: Answers) -> tuple[Core, ...]:
    cores = []
    for entry in answers.get("core", ()):
        number, _, khz = entry.partition(" ")
        clock, found = whole(khz), whole(number)
        if found is None:
            continue
        cores.append(Core(number=found, max_clock_hz=clock * _HZ_PER_KHZ if clock else None))
    counted = range(min(whole(first(answers, "processors")) or 0, _MOST_CORES))
    return tuple(sorted(cores, key=lambda core: core.number)) or tuple(Core(number=number) for number in counted)


def _emulator(answers: Answers) -> str | None:
    """Return `qemu-user` where the shell ran under it; a machine that is emulated whole does not show as such."""
    started = " ".join((*answers.get("executable", ()), *answers.get("command_line", ())))
    if re.search(r"(^|[ /])qemu-", started):
        return "qemu-user"
    return android_answers.emulator(answers)


def _throttle_bits(answers: Answers) -> int | None:
    said = re.fullmatch(r"throttled=(0x[0-9a-fA-F]{1,8})", first(answers, "vcgencmd_throttled") or "")
    if said:
        return int(said[1], 16)
    # The kernel's copy is deprecated (Linux, drivers/firmware/raspberrypi.c) and was seen at 0 while vcgencmd had bits:
    # a 0 there proves nothing.
    copied = first(answers, "firmware_throttled")
    bits = int(copied, 16) if copied and re.fullmatch(r"(0x)?[0-9a-fA-F]{1,8}", copied) else 0
    return bits or None


def _temperature_c(answers: Answers) -> float | None:
    zones = [zone.partition(" ") for zone in answers.get("zone", ())]
    found = [value for value, _, kind in zones if _CPU_ZONE.fullmatch(kind)]
    milli = whole(found[0]) if found else None
    if milli is None:
        said = re.fullmatch(r"temp=([0-9.]+)'C", first(answers, "vcgencmd_temperature") or "")
        temperature_c = decimal(said[1]) if said else None
    else:
        temperature_c = milli / _MILLI
    return plausible_c(temperature_c)


def _busy_cores(answers: Answers) -> float | None:
    moments = [_ticks(stat) for stat in answers.get("stat", ())]
    cores = whole(first(answers, "stat_cores"))
    if len(moments) != 2 or not cores or any(len(moment) != _STAT_FIELDS for moment in moments):
        return None
    passed = [max(0, after - before) for before, after in zip(*moments, strict=True)]
    total = sum(passed)
    return cores * (total - sum(passed[field] for field in _IDLE_FIELDS)) / total if total else None


def _ticks(stat: str) -> list[int]:
    """Return the fields of a line of /proc/stat that count, those that are none left out."""
    found = (whole(field) for field in stat.split()[1 : 1 + _STAT_FIELDS])
    return [ticks for ticks in found if ticks is not None]


def _bytes(text: str | None) -> int | None:
    """Return the bytes of `KIB` or `KIB FOLDER`."""
    kib = whole(text.split()[0]) if text else None
    return None if kib is None else kib * _BYTES_PER_KIB
