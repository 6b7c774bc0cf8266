"""What a device is, and in which state it was at one moment."""

from dataclasses import dataclass

# Highest clocks of x86 processors are those of turbo, which hold for one core and some seconds.
X86_MACHINES = ("x86_64", "i386", "i686", "AMD64")

# The programs that time: the agent (Python), the native runner (C), TensorFlow Lite's official tool.
AGENT_RUNNER, NATIVE_RUNNER, OFFICIAL_TOOL = KNOWN_RUNNERS = ("agent.py", "mnet-runner", "benchmark_model")


@dataclass(frozen=True, slots=True, kw_only=True)
class Core:
    """One core of a processor.

    Attributes:
        number: as the system counts them, from 0.
        max_clock_hz: the highest clock that it can have; None if the system does not say.
    """

    number: int
    max_clock_hz: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AndroidInfo:
    """What an Android device says of its system; None is what it does not say.

    Attributes:
        release: version for people, such as `14`.
        sdk: level of its interfaces, such as 34.
        abis: instruction sets of the programs that it runs, the preferred one first: `arm64-v8a`, `armeabi-v7a`.
        fingerprint: which build of the system it is.
        security_patch: date of it, such as `2024-05-05`.
    """

    release: str | None = None
    sdk: int | None = None
    abis: tuple[str, ...] = ()
    fingerprint: str | None = None
    security_patch: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceInfo:
    """What a device is; None is what it does not say.

    Attributes:
        address: `local:`, `ssh://user@host` or `adb://SERIAL`.
        model: of the device, as it names itself (`Raspberry Pi 4 Model B Rev 1.5`), or of its processor.
        soc: name of the processor or system on a chip.
        machine: instruction set of the kernel, such as `aarch64`; the engine's own is in `EngineInfo`.
        cores: the ones that are online.
        memory_bytes: all of it.
        os: name and version of the system.
        kernel: release.
        emulated: what emulates the processor (`qemu-user`); None if nothing speaks for it. Times of an emulated device
            say nothing of a real one.
        android: of an Android device; None of others.
    """

    address: str
    model: str | None = None
    soc: str | None = None
    machine: str | None = None
    cores: tuple[Core, ...] = ()
    memory_bytes: int | None = None
    os: str | None = None
    kernel: str | None = None
    emulated: str | None = None
    android: AndroidInfo | None = None

    @property
    def is_raspberry_pi(self) -> bool:
        """Whether it names itself so."""
        return (self.model or "").startswith("Raspberry Pi")


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """The state of a device at one moment; None is what it does not say.

    Attributes:
        throttle_bits: of `vcgencmd get_throttled`: bits 0-3 under-voltage, clock capped, throttled, soft temperature
            limit now; bits 16-19 the same at some time since it was switched on.
        temperature_c: of the processor, degrees Celsius.
        governor: of the clock, the same for all cores or `a,b` if they differ.
        clocks_hz: of each core that says it, in the order of `DeviceInfo.cores`.
        limits_hz: the highest clock that the system allows each of them: lower than it can have where somebody, or a
            driver that has to cool it, has set it so.
        load_1min: the system's load average over the last minute.
        busy_cores: how many cores' worth of time something took (in user, system, interrupts or was stolen by a
            hypervisor) during a fraction of a second before; the measuring itself was not running.
        free_memory_bytes: what a new program can have without swapping.
        thermal_status: of Android, 0 (none), 1 (light), 2 (moderate), 3 (severe), 4 (critical), 5 (emergency) or 6
            (shutdown): how much the system holds the device back for its heat.
        battery_level: fraction of a full battery, 0 to 1.
        battery_temperature_c: degrees Celsius.
        powered: whether it is supplied from outside, by cable or without.
        screen_on: whether its screen is.
        power_saving: whether Android's battery saver is on.
    """

    throttle_bits: int | None = None
    temperature_c: float | None = None
    governor: str | None = None
    clocks_hz: tuple[float, ...] = ()
    limits_hz: tuple[float, ...] = ()
    load_1min: float | None = None
    busy_cores: float | None = None
    free_memory_bytes: int | None = None
    thermal_status: int | None = None
    battery_level: float | None = None
    battery_temperature_c: float | None = None
    powered: bool | None = None
    screen_on: bool | None = None
    power_saving: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineInfo:
    """What computed, as the program that timed it found it.

    Attributes:
        name: `ai-edge-litert`, `tflite-runtime`, `onnxruntime` or `benchmark_model`.
        version: None if the installation does not say.
        delegate: what the engine handed the work to: `xnnpack`, `gpu`, `nnapi`, `none` (its own kernels) or `cpu` (ONNX
            Runtime).
        delegate_evidence: how the agent knows, such as the engine's own line; None if it cannot know.
        nodes: of the graph as loaded; None if the engine does not say.
        delegated_nodes: how many of them the delegate took.
        machine: instruction set of the program, such as `armv7l` on an `aarch64` kernel.
        python: version.
        numpy: version.
        threads: that the engine was given.
        affinity: numbers of the cores that the process was bound to; None if it was not.
        runner: the program that timed: one of `KNOWN_RUNNERS`, or what another one calls itself; None in results from
            before it was recorded, all of which were `AGENT_RUNNER`'s.
        runner_sha256: of its file.
        runner_source: path or address where its file came from.
        c_library: such as `glibc 2.36 of this toolkit`, where the runner brings its own instead of the device's.
    """

    name: str
    version: str | None = None
    delegate: str | None = None
    delegate_evidence: str | None = None
    nodes: int | None = None
    delegated_nodes: int | None = None
    machine: str | None = None
    python: str | None = None
    numpy: str | None = None
    threads: int = 1
    affinity: tuple[int, ...] | None = None
    runner: str | None = None
    runner_sha256: str | None = None
    runner_source: str | None = None
    c_library: str | None = None
