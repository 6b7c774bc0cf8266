"""A measured latency: every raw value, the conditions around it, and what it is worth."""

from dataclasses import dataclass, field
from enum import StrEnum
from statistics import median
from typing import Any

from mnet_deploy.measurement.device_info import Conditions, DeviceInfo, EngineInfo
from mnet_deploy.measurement.run_config import Protocol, RunConfig


class Verdict(StrEnum):
    """What a measurement is worth: as good as the protocol promises, to be read with its reasons, or not at all."""

    VALID = "VALID"
    SUSPECT = "SUSPECT"
    INVALID = "INVALID"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why a measurement is not VALID.

    Attributes:
        rule: name of the rule that says so.
        verdict: what it makes of the measurement.
        text: what was seen and what to do about it, a sentence.
    """

    rule: str
    verdict: Verdict
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredFile:
    """What was measured.

    Attributes:
        file: its name.
        sha256: of the file.
        size_bytes: of the file.
        model: what it computes, `mobilenet_v1 0.25-128`; None if it has no sidecar.
        precision: `int8`, `fp32`, ...; None if it has no sidecar.
        tune: what it is arranged for, `portable` or `x86`; None where it is not arranged for anything.
        notes: what has to be said with the number, such as weights that were not trained.
    """

    file: str
    sha256: str
    size_bytes: int
    model: str | None = None
    precision: str | None = None
    tune: str | None = None
    notes: tuple[str, ...] = ()


def label_of(file: MeasuredFile, config: RunConfig) -> str:
    """Return what tells a measurement from the others of its run, for people."""
    return f"{file.file} ({config})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """What one process measured.

    Attributes:
        number: its place in the order of the whole run, over all configurations, from 0.
        started_s: since the run began.
        latency_s: of each timed inference, in their order; None where the tool gives only a summary.
        median_s: of them, or what the tool gives; None if it gives none.
        warmup_s: latency of each inference before, in their order.
        wall_s: how long the timed loop took as a whole.
        cpu_s: processor time of all threads during it.
        import_s: how long loading the engine took.
        init_s: how long loading the model took.
        peak_rss_bytes: memory of the process at its largest.
        after: the state of the device right after it.
    """

    number: int
    started_s: float
    latency_s: tuple[float, ...] | None
    median_s: float | None
    warmup_s: tuple[float, ...] = ()
    wall_s: float | None = None
    cpu_s: float | None = None
    import_s: float | None = None
    init_s: float | None = None
    peak_rss_bytes: int | None = None
    after: Conditions = field(default_factory=Conditions)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One file on one device with one configuration.

    Attributes:
        file: what was measured.
        device: where.
        engine: with what, as found on the device.
        config: with what, as asked for.
        protocol: how.
        before: the state of the device before the first block.
        after: and after the last one.
        blocks: in the order of the run.
        interval_s: 95 % interval of the median: blocks are drawn, never single inferences; None from fewer than 2.
        stopped: why there are no more blocks: `interval` (it is narrow enough), `blocks` (the most allowed), `time`, or
            `error` (the run was cut off).
        measured_at: UTC, ISO 8601.
        verdict: what it is worth.
        reasons: why it is not VALID; empty if it is.
    """

    file: MeasuredFile
    device: DeviceInfo
    engine: EngineInfo
    config: RunConfig
    protocol: Protocol
    before: Conditions
    after: Conditions
    blocks: tuple[Block, ...]
    interval_s: tuple[float, float] | None
    stopped: str
    measured_at: str
    verdict: Verdict = Verdict.VALID
    reasons: tuple[Reason, ...] = ()

    @property
    def block_medians_s(self) -> tuple[float, ...]:
        """The median of each block that has one."""
        return tuple(block.median_s for block in self.blocks if block.median_s is not None)

    @property
    def median_s(self) -> float | None:
        """The headline: the median of the blocks' medians; None if there is none."""
        medians = self.block_medians_s
        return median(medians) if medians else None

    @property
    def latency_s(self) -> tuple[float, ...] | None:
        """Every timed inference, in the order of the run; None where the tool gives only summaries."""
        if not self.blocks or any(block.latency_s is None for block in self.blocks):
            return None
        return tuple(value for block in self.blocks for value in block.latency_s or ())

    @property
    def label(self) -> dict[str, Any]:
        """What tells it from the others of its run: file, engine, delegate, threads."""
        return {
            "file": self.file.file,
            "engine": self.config.engine,
            "delegate": self.config.delegate,
            "threads": self.config.threads,
        }
