"""Which cores of a processor are its fast ones, and how a choice of cores is written."""

from collections.abc import Iterable
from dataclasses import dataclass

from mnet_deploy.measurement.device_info import X86_MACHINES, DeviceInfo


@dataclass(frozen=True, slots=True)
class CoreGroup:
    """Cores of one kind.

    Attributes:
        max_clock_hz: the highest clock that each of them can have.
        numbers: as the system counts them.
    """

    max_clock_hz: float
    numbers: tuple[int, ...]

    def __str__(self) -> str:
        """Return `4 of 2370 MHz`."""
        return f"{len(self.numbers)} of {self.max_clock_hz / 1e6:.0f} MHz"


def core_groups(device: DeviceInfo) -> tuple[CoreGroup, ...]:
    """Return the kinds of cores, the fastest first; none if a clock is not known.

    Nor of x86, where the highest clocks of equal cores differ: some are allowed more turbo than others.
    """
    clocks = [core.max_clock_hz for core in device.cores]
    known = [clock for clock in clocks if clock is not None]
    if len(known) != len(clocks) or device.machine in X86_MACHINES:
        return ()
    return tuple(
        CoreGroup(clock, tuple(core.number for core in device.cores if core.max_clock_hz == clock))
        for clock in sorted(set(known), reverse=True)
    )


def fastest_cores(device: DeviceInfo, *, at_least: int = 1) -> tuple[int, ...] | None:
    """Return the cores with the highest clock, and as many groups below them as it takes for `at_least` cores.

    Returns:
        Their numbers in order; None if a clock is not known, all are equal, or all of them would be taken.
    """
    groups, taken = core_groups(device), list[int]()
    for group in groups[:-1]:
        taken += group.numbers
        if len(taken) >= at_least:
            return tuple(sorted(taken))
    return None


def affinity_mask(cores: Iterable[int]) -> str:
    """Return cores as `taskset` of Android takes them: in hexadecimal without `0x`, `f0` for cores 4 to 7."""
    return f"{sum(1 << core for core in set(cores)):x}"


def affinity_text(cores: Iterable[int]) -> str:
    """Return `cores 4,5,6,7 (mask f0)`."""
    numbers = sorted(set(cores))
    return f"core{'s' * (len(numbers) != 1)} {','.join(map(str, numbers))} (mask {affinity_mask(numbers)})"
