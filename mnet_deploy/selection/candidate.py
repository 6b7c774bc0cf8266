"""What can be chosen: a model in a precision, with what runs it and what is known of it."""

from dataclasses import dataclass
from math import isfinite

from mnet_deploy.errors import SpecError
from mnet_deploy.spec import ModelSpec

Identity = tuple[str, str, str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """How long one inference takes, predicted or measured.

    Attributes:
        latency_s: the prediction, or the measured median.
        low_s: lower end of its interval, 90 % of a prediction and 95 % of a measured median.
        high_s: upper end.
        measured: whether it was measured.

    Raises:
        SpecError: not 0 < low_s <= latency_s <= high_s.
    """

    latency_s: float
    low_s: float
    high_s: float
    measured: bool = False

    def __post_init__(self) -> None:
        """Refuse what is no latency with an interval around it."""
        if not (isfinite(self.high_s) and 0 < self.low_s <= self.latency_s <= self.high_s):
            raise SpecError(
                "a latency in seconds is above 0 and lies in its interval. "
                f"Received: {self.latency_s} in {self.low_s} to {self.high_s}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class AccuracyFigure:
    """An accuracy that somebody published, of ImageNet's 1000 classes.

    Attributes:
        top1: share, 0 to 1.
        top5: share, 0 to 1; None if not published.
        release: key of the table it is from, such as `slim`.
        published_as: precision as the source names it, such as `uint8 QAT`.
        source: where it can be read.
    """

    top1: float
    top5: float | None
    release: str
    published_as: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A model that can be chosen.

    Attributes:
        spec: what it computes.
        precision: `int8`, `fp32`, ...
        engine: that runs it.
        threads: of the engine; None if not known.
        latency: on the device in question.
        size_bytes: of its file.
        memory_bytes: activations that are alive at once; None if not known.
        accuracy: None where none was published: neither good nor bad.
        extrapolated: whether its latency was predicted from models of other families alone.
    """

    spec: ModelSpec
    precision: str
    engine: str
    threads: int | None
    latency: Latency
    size_bytes: int
    memory_bytes: int | None = None
    accuracy: AccuracyFigure | None = None
    extrapolated: bool = False

    @property
    def label(self) -> str:
        """What tells it from the others, for people."""
        threads = f"{self.threads or 'unknown'} thread{'s' * (self.threads != 1)}"
        model = f"{self.spec.family} {self.spec.alpha_text}-{self.spec.resolution_px} {self.precision}"
        return f"{model}, {self.engine}, {threads}"

    @property
    def identity(self) -> Identity:
        """What tells it from the others, in an order that does not depend on where they come from."""
        return self.spec.name, self.precision, self.engine, self.threads or 0
