"""What stand-in phones are: their cores, which /proc and /sys show, and what Android calls them."""

from dataclasses import dataclass
from pathlib import Path

BYTES_PER_GIB = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """Equal cores that share a clock."""

    cores: tuple[int, ...]
    variant: str
    part: str
    capacity: int  # of the fastest core's 1024
    min_clock_hz: int
    max_clock_hz: int

    @property
    def policy(self) -> str:
        return f"devices/system/cpu/cpufreq/policy{self.cores[0]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    architecture: str  # of its files, as Debian calls it
    cpu: str  # as QEMU calls it
    # Not more than QEMU's model of the processor has: engines choose their kernels by these and would crash.
    features: str
    abis: tuple[str, ...]
    soc: str
    memory_bytes: int
    clusters: tuple[Cluster, ...]


def _little_and_big(little: str, big: str, big_variant: str) -> tuple[Cluster, Cluster]:
    return (
        Cluster(
            cores=(0, 1, 2, 3),
            variant="0x1",
            part=little,
            capacity=382,
            min_clock_hz=300_000_000,
            max_clock_hz=1_800_000_000,
        ),
        Cluster(
            cores=(4, 5, 6, 7),
            variant=big_variant,
            part=big,
            capacity=1024,
            min_clock_hz=600_000_000,
            max_clock_hz=2_400_000_000,
        ),
    )


PHONES = {
    "arm64": Hardware(
        architecture="arm64",
        cpu="cortex-a76",
        features="fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp",
        abis=("arm64-v8a", "armeabi-v7a", "armeabi"),
        soc="SI8076",
        memory_bytes=8 * BYTES_PER_GIB,
        clusters=_little_and_big("0xd05", "0xd0b", "0x4"),  # Cortex-A55 and A76
    ),
    # Some phones have a 64-bit processor and a 32-bit system; this one has the processor, too.
    "armv7": Hardware(
        architecture="armhf",
        cpu="cortex-a15",
        features="half thumb fastmult vfp edsp neon vfpv3 tls vfpv4 idiva idivt vfpd32 lpae",
        abis=("armeabi-v7a", "armeabi"),
        soc="SI4015",
        memory_bytes=2 * BYTES_PER_GIB,
        clusters=_little_and_big("0xc07", "0xc0f", "0x2"),  # Cortex-A7 and A15
    ),
}


def cores(hardware: Hardware) -> range:
    return range(sum(len(cluster.cores) for cluster in hardware.clusters))


def cpuinfo(hardware: Hardware) -> str:
    lines = ["Processor\t: ARMv7 Processor rev 1 (v7l)"] if hardware.architecture == "armhf" else []
    for cluster in hardware.clusters:
        for number in cluster.cores:
            lines += [
                f"processor\t: {number}",
                "BogoMIPS\t: 38.40",
                f"Features\t: {hardware.features}",
                "CPU implementer\t: 0x41",
                f"CPU architecture: {7 if hardware.architecture == 'armhf' else 8}",
                f"CPU variant\t: {cluster.variant}",
                f"CPU part\t: {cluster.part}",
                "CPU revision\t: 0",
                "",
            ]
    return "\n".join([*lines, f"Hardware\t: mnet-deploy {hardware.soc}", ""])


def write_sys(folder: Path, hardware: Hardware) -> None:
    """Write the tree that is mounted as /sys: the clocks of its cores, which a phone shows everyone."""
    everything = f"0-{cores(hardware)[-1]}\n"
    files = {f"devices/system/cpu/{name}": everything for name in ("online", "possible", "present")}
    for cluster in hardware.clusters:
        clocks = {
            "scaling_cur_freq": cluster.min_clock_hz,
            "scaling_min_freq": cluster.min_clock_hz,
            "scaling_max_freq": cluster.max_clock_hz,
            "cpuinfo_min_freq": cluster.min_clock_hz,
            "cpuinfo_max_freq": cluster.max_clock_hz,
        }
        numbers = " ".join(map(str, cluster.cores)) + "\n"
        files |= {f"{cluster.policy}/{name}": f"{hertz // 1000}\n" for name, hertz in clocks.items()}
        files |= {f"{cluster.policy}/{name}": numbers for name in ("affected_cpus", "related_cpus")}
        files[f"{cluster.policy}/scaling_governor"] = "schedutil\n"
        files[f"{cluster.policy}/scaling_available_governors"] = "performance schedutil\n"
        files |= {f"devices/system/cpu/cpu{number}/cpu_capacity": f"{cluster.capacity}\n" for number in cluster.cores}
    for name, text in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(0o444)
    for cluster in hardware.clusters:
        for number in cluster.cores:
            link = folder / f"devices/system/cpu/cpu{number}/cpufreq"
            link.symlink_to(f"../cpufreq/{Path(cluster.policy).name}")
