"""What a model may cost and has to be good for."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from math import isfinite

from mnet_deploy.errors import SpecError
from mnet_deploy.selection.candidate import Candidate


class LatencyEnd(StrEnum):
    """Which figure of a latency counts against the limit.

    high: the upper end of its interval, so that what fits will most probably fit on the device, too.
    point: the prediction, or the measured median, itself.
    """

    HIGH = "high"
    POINT = "point"


class Limit(StrEnum):
    """What can be limited."""

    LATENCY = "latency"
    SIZE = "size"
    MEMORY = "memory"
    TOP1 = "top1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Miss:
    """A limit that a candidate does not keep.

    Attributes:
        limit: which one.
        allowed: seconds, bytes, or a share of images.
        actual: the candidate's.
    """

    limit: Limit
    allowed: float
    actual: float

    @property
    def amount(self) -> float:
        """By how much it is missed, above 0."""
        return abs(self.actual - self.allowed)

    @property
    def share(self) -> float:
        """By how much it is missed, as a part of what is allowed."""
        return self.amount / self.allowed


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """The limits; None where there is none.

    Attributes:
        max_latency_s: of one inference.
        max_size_bytes: of the file.
        max_memory_bytes: of the activations that are alive at once.
        min_top1: share of ImageNet's validation images, 0 to 1.
        latency_end: which figure of a latency is held against `max_latency_s`, and is ranked by.

    Raises:
        SpecError: a limit that is not above 0, or a share above 1.
    """

    max_latency_s: float | None = None
    max_size_bytes: float | None = None
    max_memory_bytes: float | None = None
    min_top1: float | None = None
    latency_end: LatencyEnd = LatencyEnd.HIGH

    def __post_init__(self) -> None:
        """Refuse limits that nothing can keep or that say nothing."""
        for name in ("max_latency_s", "max_size_bytes", "max_memory_bytes", "min_top1"):
            value = getattr(self, name)
            if value is not None and not (isfinite(value) and value > 0):
                raise SpecError(f"{name} is a number above 0. Received: {value}. Leave it out for no limit")
        if self.min_top1 is not None and self.min_top1 > 1:
            raise SpecError(f"min_top1 is a share of at most 1. Received: {self.min_top1}")

    @property
    def limits(self) -> tuple[Limit, ...]:
        """Those that there are."""
        given = (self.max_latency_s, self.max_size_bytes, self.max_memory_bytes, self.min_top1)
        return tuple(limit for limit, value in zip(Limit, given, strict=True) if value is not None)

    def latency_s(self, candidate: Candidate) -> float:
        """Return the figure of a candidate's latency that counts."""
        latency = candidate.latency
        return latency.high_s if self.latency_end is LatencyEnd.HIGH else latency.latency_s

    def misses(self, candidate: Candidate) -> tuple[Miss, ...]:
        """Return the limits that a candidate does not keep; what is not known of it counts as kept."""
        return tuple(self._misses(candidate))

    def _misses(self, candidate: Candidate) -> Iterator[Miss]:
        upper = (
            (Limit.LATENCY, self.max_latency_s, self.latency_s(candidate)),
            (Limit.SIZE, self.max_size_bytes, candidate.size_bytes),
            (Limit.MEMORY, self.max_memory_bytes, candidate.memory_bytes),
        )
        for limit, allowed, actual in upper:
            if allowed is not None and actual is not None and actual > allowed:
                yield Miss(limit=limit, allowed=allowed, actual=actual)
        if self.min_top1 is not None and candidate.accuracy is not None and candidate.accuracy.top1 < self.min_top1:
            yield Miss(limit=Limit.TOP1, allowed=self.min_top1, actual=candidate.accuracy.top1)
