"""How a file is measured: on which engine, with which threads, and when it is enough."""

from dataclasses import dataclass, fields
from typing import Any

from mnet_deploy.errors import SpecError
from mnet_deploy.measurement.engine_packages import ENGINE_PACKAGES

ENGINES = tuple(ENGINE_PACKAGES)  # that come as packages
BENCHMARK_MODEL = "benchmark_model"  # TensorFlow Lite's official tool, a program of its own
RUN_ENGINES = (*ENGINES, BENCHMARK_MODEL)
DELEGATES = ("default", "none")  # of `ENGINES`
TOOL_DELEGATES = (*DELEGATES, "xnnpack", "gpu", "nnapi")  # of the tool
MOST_BLOCKS = 10_000  # two days of 20 s each; what follows from them is quick to compute up to there


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """When a measurement starts, and when it is enough. The defaults are what a VALID verdict is about.

    Attributes:
        warmup_count: inferences before the timed ones of a block, at least,
        warmup_s: and as many as take this long.
        block_s: how long the timed inferences of a block take, at least,
        min_count: and how many they are.
        min_blocks: of each configuration.
        max_blocks: of each configuration.
        max_interval: both ends of the median's 95 % interval have to be this close to it, as a fraction; None where
            that is not asked for, so that the time alone ends the run.
        time_limit_s: after which no new round of blocks is begun.
        block_timeout_s: after which a block that has not ended is an error.
        max_start_temperature_c: the device has to be this cool before the first block, if it says how warm it is,
        cool_down_s: for which this is the longest wait.
        pin: whether the governor is set to `performance` during the run (and set back after it).
    """

    warmup_count: int = 10
    warmup_s: float = 0.5
    block_s: float = 2.0
    min_count: int = 10
    min_blocks: int = 5
    max_blocks: int = 50
    max_interval: float | None = 0.02
    time_limit_s: float = 300.0
    block_timeout_s: float = 120.0
    max_start_temperature_c: float = 65.0
    cool_down_s: float = 300.0
    pin: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot be measured by."""
        for name, least in (("warmup_count", 1), ("min_count", 1), ("min_blocks", 1), ("max_blocks", self.min_blocks)):
            if getattr(self, name) < least:
                bound = f"min_blocks ({least})" if name == "max_blocks" else least
                raise SpecError(f"{name} is at least {bound}. Received: {getattr(self, name)}")
        if self.max_blocks > MOST_BLOCKS:
            raise SpecError(f"max_blocks is at most {MOST_BLOCKS}. Received: {self.max_blocks}")
        for name in ("warmup_s", "block_s", "max_interval", "time_limit_s", "block_timeout_s", "cool_down_s"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < float("inf"):
                raise SpecError(f"{name} is a number of 0 or more. Received: {value}")

    def deviations(self) -> dict[str, Any]:
        """Return what differs from the defaults, by name."""
        return {
            field.name: getattr(self, field.name)
            for field in fields(self)
            if getattr(self, field.name) != field.default
        }


def delegates_of(engine: str) -> tuple[str, ...]:
    """Return the delegates that an engine can be asked for."""
    return TOOL_DELEGATES if engine == BENCHMARK_MODEL else DELEGATES


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    """What a file runs with.

    Attributes:
        engine: one of `RUN_ENGINES`.
        delegate: `default` (what the engine takes by itself), `none`, or another one of `delegates_of(engine)`.
        threads: of the engine, at least 1.
        cpu_affinity: numbers of the cores that it may use; None for all.
        session_options: extra options of the engine, `name=value` each: ONNX Runtime's session options, or flags of
            benchmark_model without their dashes; empty for its defaults.
    """

    engine: str
    delegate: str = "default"
    threads: int = 1
    cpu_affinity: tuple[int, ...] | None = None
    session_options: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what no engine can be told."""
        if self.engine not in RUN_ENGINES:
            raise SpecError(f"an engine is one of {', '.join(RUN_ENGINES)}. Received: {self.engine!r}")
        known = delegates_of(self.engine)
        if self.delegate not in known:
            raise SpecError(f"a delegate of {self.engine} is one of {', '.join(known)}. Received: {self.delegate!r}")
        if self.threads < 1:
            raise SpecError(f"threads is at least 1. Received: {self.threads}")

    def __str__(self) -> str:
        """Return what tells it from others: `litert, no delegate, 2 threads, cores 2,3`."""
        words = [self.engine, f"{self.threads} thread{'s' * (self.threads != 1)}"]
        if self.delegate != "default":
            words.insert(1, "no delegate" if self.delegate == "none" else f"{self.delegate} delegate")
        if self.cpu_affinity is not None:
            words.append(f"core{'s' * (len(self.cpu_affinity) != 1)} {','.join(map(str, self.cpu_affinity))}")
        return ", ".join(words)
