"""What our programs on a device say, line by line, and checked: whatever comes is one of these forms, or a `LinkLost`.

Each event is a line of JSON, an object with its name in `event`. Everything else that is printed there (a login
message, what an engine says) is none.
"""

import json
import math
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, TypeVar

from mnet_deploy.errors import LinkLost
from mnet_deploy.measurement.json_values import read_as
from mnet_deploy.terminal import printable

LONGEST_TEXT = 500  # characters of a text that ends in a message
LONGEST_FIELD = 1000  # characters of any text
LONGEST_NUMBER = 18  # digits of a whole number, which fit into 64 bits
HIGHEST_S = 1e9  # 30 years

Event = dict[str, Any]


class EventKind(Protocol):
    """A data class for the fields of an event that this machine reads."""

    NAME: ClassVar[str]


E = TypeVar("E", bound=EventKind)


def event_of(line: str) -> Event | None:
    """Return the event of a line, with texts that can be printed; None if it is none."""
    event = object_of(line)
    return event if event is not None and isinstance(event.get("event"), str) else None


def object_of(line: str) -> dict[str, Any] | None:
    """Return the JSON object of a line, with texts that can be printed; None if it is none."""
    try:
        found = json.loads(line, parse_int=_whole_number, object_hook=_printable)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def read_event(kind: type[E], event: Event, who: str) -> E:
    """Return an event as its data class.

    Args:
        kind: the class.
        event: of its name.
        who: says it, for messages.

    Raises:
        LinkLost: a field is missing or has another type, or a number is not finite.
    """
    try:
        return read_as(kind, event, kind.NAME)
    except (ValueError, RecursionError) as error:
        raise LinkLost(f"{who}: what arrived is damaged: {str(error)[:LONGEST_TEXT]}; run it again") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class InferStart:
    """The agent's `start` before it infers."""

    NAME: ClassVar[str] = "start"
    engine: str
    engine_version: str | None
    machine: str | None = None
    delegate: str | None = None
    runner: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """The agent's `start` before it times; the fields are those of `EngineInfo`.

    Attributes:
        runner: what another program than the agent calls itself.
    """

    NAME: ClassVar[str] = "start"
    engine: str
    engine_version: str | None
    python: str | None
    numpy: str | None
    machine: str | None
    threads: int
    affinity: tuple[int, ...] | None
    delegate: str | None
    delegate_evidence: str | None
    delegated_nodes: int | None
    nodes: int | None
    model_sha256: str
    runner: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """The agent's `ready`."""

    NAME: ClassVar[str] = "ready"
    import_s: float
    init_s: float

    def __post_init__(self) -> None:
        """Check the range."""
        _require_times(self.import_s, self.init_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Warmup:
    """The agent's `warmup`."""

    NAME: ClassVar[str] = "warmup"
    latency_s: tuple[float, ...]

    def __post_init__(self) -> None:
        """Check the range."""
        _require_times(*self.latency_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """A line of the agent's `samples`."""

    NAME: ClassVar[str] = "samples"
    latency_s: tuple[float, ...]

    def __post_init__(self) -> None:
        """Check the range."""
        _require_times(*self.latency_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """The agent's `usage`."""

    NAME: ClassVar[str] = "usage"
    peak_rss_bytes: int | None
    wall_s: float
    cpu_s: float

    def __post_init__(self) -> None:
        """Check the range."""
        _require_times(self.wall_s, self.cpu_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Op:
    """An op of the agent's `layers`."""

    name: str
    op: str
    mean_s: float
    count: int

    def __post_init__(self) -> None:
        """Check the range."""
        _require_times(self.mean_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Layers:
    """The agent's `layers`."""

    NAME: ClassVar[str] = "layers"
    source: str
    total_s: float
    ops: tuple[Op, ...]

    def __post_init__(self) -> None:
        """Check the range."""
        _require_times(self.total_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """The agent's last line; `count` is of the latencies, or of the inputs that were answered."""

    NAME: ClassVar[str] = "end"
    nonce: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """Why the agent, the keeper or a setup cannot do what it was asked; `NAME` is the agent's and the setup's."""

    NAME: ClassVar[str] = "error"
    kind: str
    message: str
    engine: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeeperRefused(Refused):
    """The keeper's name for it."""

    NAME: ClassVar[str] = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeeperReady:
    """The keeper's `ready`.

    Attributes:
        folder: of the session.
        swept: folders that earlier sessions had left.
        not_restored: what of them could not be put right.
    """

    NAME: ClassVar[str] = "ready"
    folder: str
    swept: tuple[str, ...]
    not_restored: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check that the folder is one."""
        if not self.folder.startswith("/") or "\ufffd" in self.folder:
            raise ValueError(f"ready.folder is a path from the root. Received: {self.folder[:60]!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeeperEnd:
    """The keeper's `end`; `not_restored` is what could not be put right."""

    NAME: ClassVar[str] = "end"
    not_restored: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What a setup does now."""

    NAME: ClassVar[str] = "stage"
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Send:
    """Where a setup waits for wheels."""

    NAME: ClassVar[str] = "send"
    folder: str


def _whole_number(text: str) -> float:
    """Return a whole number; of more digits than any of ours has, one that no field takes."""
    return int(text) if len(text) <= LONGEST_NUMBER else math.inf


def _printable(values: Event) -> Event:
    """Return the fields with texts that can be printed; none of ours is as long as what is cut off."""
    return {
        name: printable(value[:LONGEST_FIELD]) if isinstance(value, str) else value for name, value in values.items()
    }


def _require_times(*times_s: float) -> None:
    for time_s in times_s:
        if not 0 <= time_s <= HIGHEST_S:
            raise ValueError(f"a time is between 0 and {HIGHEST_S:g} seconds. Received: {time_s}")
