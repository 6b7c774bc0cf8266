"""The faked hardware of a stand-in: what Linux on a Raspberry Pi shows in /proc and /sys.

/sys is a folder of this machine, so a test can let the processor heat up while a program inside is looking.
"""

from dataclasses import dataclass
from pathlib import Path

CORES = 4
POLICY = "devices/system/cpu/cpufreq/policy0"
THROTTLED = "devices/platform/soc/soc:firmware/get_throttled"
TEMPERATURE = "class/thermal/thermal_zone0/temp"


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    architecture: str  # of the system on it, as Debian calls it
    model: str
    compatible: tuple[str, ...]
    revision: str
    serial: str
    kernel: str
    variant: str
    part: str
    core_revision: int
    # Not more than QEMU's model of the processor has: engines choose their kernels by these and would crash.
    features: str
    min_clock_hz: int
    max_clock_hz: int
    memory_bytes: int


BOARDS = {  # by QEMU's name of the processor
    "cortex-a72": Board(
        architecture="arm64",
        model="Raspberry Pi 4 Model B Rev 1.5",
        compatible=("raspberrypi,4-model-b", "brcm,bcm2711"),
        revision="c03115",
        serial="100000005eed0004",
        kernel="6.12.47+rpt-rpi-v8",
        variant="0x0",
        part="0xd08",
        core_revision=3,
        features="fp asimd evtstrm crc32 cpuid",
        min_clock_hz=600_000_000,
        max_clock_hz=1_800_000_000,
        memory_bytes=4 << 30,
    ),
    "cortex-a76": Board(
        architecture="arm64",
        model="Raspberry Pi 5 Model B Rev 1.0",
        compatible=("raspberrypi,5-model-b", "brcm,bcm2712"),
        revision="d04170",
        serial="100000005eed0005",
        kernel="6.12.47+rpt-rpi-2712",
        variant="0x4",
        part="0xd0b",
        core_revision=1,
        features="fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp",
        min_clock_hz=1_500_000_000,
        max_clock_hz=2_400_000_000,
        memory_bytes=8 << 30,
    ),
    # A Raspberry Pi 4 with the 32-bit system. QEMU has no Cortex-A72 in 32 bits; a program sees the same of this one.
    "cortex-a15": Board(
        architecture="armhf",
        model="Raspberry Pi 4 Model B Rev 1.5",
        compatible=("raspberrypi,4-model-b", "brcm,bcm2711"),
        revision="c03115",
        serial="100000005eed0032",
        kernel="6.12.47+rpt-rpi-v7l",
        variant="0x0",
        part="0xd08",
        core_revision=3,
        features="half thumb fastmult vfp edsp neon vfpv3 tls vfpv4 idiva idivt vfpd32 lpae",
        min_clock_hz=600_000_000,
        max_clock_hz=1_800_000_000,
        memory_bytes=4 << 30,
    ),
}


def cpuinfo(board: Board) -> str:
    core = (
        "BogoMIPS\t: 108.00\n"
        f"Features\t: {board.features}\n"
        "CPU implementer\t: 0x41\n"
        f"CPU architecture: {8 if board.architecture == 'arm64' else 7}\n"
        f"CPU variant\t: {board.variant}\n"
        f"CPU part\t: {board.part}\n"
        f"CPU revision\t: {board.core_revision}\n\n"
    )
    cores = "".join(f"processor\t: {number}\n{core}" for number in range(CORES))
    return f"{cores}Revision\t: {board.revision}\nSerial\t\t: {board.serial}\nModel\t\t: {board.model}\n"


def meminfo(board: Board) -> str:
    total = board.memory_bytes // 1024
    # The firmware keeps some of it; most of the rest is free on an idle machine.
    sizes = {
        "MemTotal": total - 200_000,
        "MemFree": total - 900_000,
        "MemAvailable": total - 500_000,
        "Buffers": 40_000,
        "Cached": 400_000,
        "SwapCached": 0,
        "SwapTotal": 524_272,
        "SwapFree": 524_272,
        "Shmem": 8_000,
    }
    return "".join(f"{name + ':':<16}{size:>8} kB\n" for name, size in sizes.items())


def loadavg(load: float) -> str:
    return f"{load:.2f} {load:.2f} {load:.2f} 1/150 1234\n"


def overwrite(file: Path, text: str) -> None:
    """Change a file in place: it may be mounted on its own, and a new file under its name would not show."""
    with file.open("r+", encoding="utf-8") as opened:
        opened.write(text)
        opened.truncate()


def write_sys(folder: Path, board: Board, *, governor_writable: bool) -> None:
    """Write the tree that is mounted as /sys."""
    clocks = {
        "scaling_cur_freq": board.min_clock_hz,
        "scaling_min_freq": board.min_clock_hz,
        "scaling_max_freq": board.max_clock_hz,
        "cpuinfo_cur_freq": board.min_clock_hz,
        "cpuinfo_min_freq": board.min_clock_hz,
        "cpuinfo_max_freq": board.max_clock_hz,
    }
    files = {
        "firmware/devicetree/base/model": f"{board.model}\0",
        "firmware/devicetree/base/compatible": "".join(f"{name}\0" for name in board.compatible),
        "firmware/devicetree/base/serial-number": f"{board.serial}\0",
        "class/thermal/thermal_zone0/type": "cpu-thermal\n",
        TEMPERATURE: "48700\n",
        THROTTLED: "0\n",
        **{f"devices/system/cpu/{name}": f"0-{CORES - 1}\n" for name in ("online", "possible", "present")},
        **{f"{POLICY}/{name}": f"{hertz // 1000}\n" for name, hertz in clocks.items()},
        f"{POLICY}/scaling_governor": "ondemand\n",
        f"{POLICY}/scaling_available_governors": "conservative ondemand userspace powersave performance schedutil\n",
        f"{POLICY}/scaling_driver": "cpufreq-dt\n",
        f"{POLICY}/affected_cpus": " ".join(map(str, range(CORES))) + "\n",
    }
    for name, text in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        file.chmod(0o444)
    (folder / POLICY / "cpuinfo_cur_freq").chmod(0o400)
    (folder / POLICY / "scaling_governor").chmod(0o666 if governor_writable else 0o644)
    for number in range(CORES):
        core = folder / f"devices/system/cpu/cpu{number}"
        core.mkdir()
        (core / "cpufreq").symlink_to("../cpufreq/policy0")
