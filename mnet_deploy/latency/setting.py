"""What a latency model is for: one device, with one engine, and what that engine was told."""

from dataclasses import dataclass, fields

from mnet_deploy.errors import SpecError
from mnet_deploy.precision import Precision

CLOCK_TOLERANCE = 0.02  # governors report the same step with small differences


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Where and how latencies were measured.

    Attributes:
        device: what people call it.
        engine: `litert`, `onnxruntime`, ..., or what a publication says.
        precision: of the files.
        engine_version: None if unknown.
        threads: of the engine; None if unknown.
        delegate: None if unknown.
        clock_hz: of the cores that it ran on; None if unknown.
    """

    device: str
    engine: str
    precision: Precision
    engine_version: str | None = None
    threads: int | None = None
    delegate: str | None = None
    clock_hz: float | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        if self.precision not in tuple(Precision):
            raise SpecError(f"precision must be one of {', '.join(Precision)}. Received: {self.precision!r}")
        object.__setattr__(self, "precision", Precision(self.precision))
        if self.threads is not None and self.threads < 1:
            raise SpecError(f"threads is at least 1. Received: {self.threads}")
        if self.clock_hz is not None and not 0 < self.clock_hz < float("inf"):
            raise SpecError(f"clock_hz is a number above 0. Received: {self.clock_hz}")

    def require_same(self, other: "Setting") -> None:
        """Refuse another setting. What one of the two does not know is not compared.

        Raises:
            SpecError: naming the first field that differs.
        """
        for field in fields(self):
            ours, theirs = getattr(self, field.name), getattr(other, field.name)
            if ours is None or theirs is None or ours == theirs:
                continue
            if field.name == "clock_hz" and abs(ours - theirs) <= CLOCK_TOLERANCE * ours:
                continue
            raise SpecError(
                f"a latency model holds for one setting: {field.name} {ours}. Received: {field.name} {theirs}. "
                "Fit a model for it"
            )
