"""What the agent on a device says, line by line, and whether all of it arrived."""

import signal
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mnet_deploy.child_process import ProgramEnd
from mnet_deploy.errors import CommandFailed, DeviceError, LinkLost, SpecError, ToolMissing
from mnet_deploy.runners.device_events import (
    LONGEST_TEXT,
    E,
    End,
    Event,
    Refused,
    Samples,
    Warmup,
    event_of,
    read_event,
)
from mnet_deploy.runners.transports.deadline import Deadline
from mnet_deploy.runners.transports.transport import RemoteProcess

_ADVICE: dict[int, str] = {
    signal.SIGKILL: "the system does that when memory is short; close other programs there",
    signal.SIGILL: "it has code for another processor; try another version of it, or another engine",
}


# The file or an option is to blame, not the device.
UNUSABLE = frozenset(("model_refused", "wrong_engine", "option_refused"))


class AgentRefusal(CommandFailed):
    """The agent itself says why it cannot do what it was asked.

    Attributes:
        kind: one of those that the agent's documentation lists.
    """

    def __init__(self, message: str, *, kind: str, command: Sequence[str], return_code: int, output: str) -> None:
        super().__init__(message, command=command, return_code=return_code, output=output)
        self.kind = kind
        if kind in UNUSABLE:
            self.exit_code = SpecError.exit_code


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentAnswer:
    """All events of one run of the agent, complete.

    Attributes:
        what: was run, for messages.
        events: in their order, the last one (`end`) left out.
        count: what the last one says: of the latencies, or of the inputs that were answered.
    """

    what: str
    events: tuple[Event, ...]
    count: int

    def first(self, kind: type[E]) -> E:
        """Return the first event of that kind.

        Raises:
            LinkLost: there is none, or it is damaged.
        """
        for event in self.events:
            if event["event"] == kind.NAME:
                return read_event(kind, event, self.what)
        raise LinkLost(f"{self.what}: the agent did not say `{kind.NAME}`; run it again")

    def values(self, kind: type[Samples] | type[Warmup]) -> tuple[float, ...]:
        """Return the latencies of all events of that kind, joined in their order.

        Raises:
            LinkLost: one of them is damaged.
        """
        found = (read_event(kind, event, self.what) for event in self.events if event["event"] == kind.NAME)
        return tuple(value for each in found for value in each.latency_s)


def read_answer(process: RemoteProcess, *, nonce: str, what: str, deadline: Deadline, times: bool) -> AgentAnswer:
    """Read what the agent says until it ends.

    Args:
        process: the agent, started.
        nonce: that its last line has to repeat.
        what: is run, for messages: the name of the file and where.
        deadline: for all of it.
        times: whether it was asked for latencies.

    Raises:
        CommandTimeout: it did not end in time.
        DeviceError: as `complete_answer` says.
    """
    lines = list(process.lines(deadline))
    result = process.wait(deadline)
    answer = complete_answer(lines, result, command=result.argv, nonce=nonce, what=what)
    samples = answer.values(Samples)
    if len(samples) != answer.count and (times or samples):
        raise LinkLost(f"{what}: {answer.count} latencies were measured and {len(samples)} arrived; run it again")
    if times and not samples:
        raise LinkLost(f"{what}: the agent measured nothing; run it again")
    return answer


def complete_answer(
    lines: Iterable[str], end: ProgramEnd, *, command: Sequence[str], nonce: str, what: str
) -> AgentAnswer:
    """Return what the agent said in all, if its last line proves that nothing is missing.

    Args:
        lines: that it printed.
        end: how it ended.
        command: that started it.
        nonce: that its last line has to repeat.
        what: is run, for messages.

    Raises:
        ToolMissing: the engine is not installed there.
        AgentRefusal: the agent says why it cannot.
        CommandFailed: the engine crashed.
        LinkLost: the last line is missing or damaged.
    """
    events = [event for event in map(event_of, lines) if event is not None]
    for event in events:
        if event["event"] == Refused.NAME:
            raise _refusal(read_event(Refused, event, what), what, end, command)
    if end.return_code != 0:
        raise CommandFailed(_crash(what, end), command=command, return_code=end.return_code, output=end.stderr)
    last = events.pop() if events else {}
    if last.get("event") != End.NAME or last.get("nonce") != nonce:
        raise LinkLost(f"{what}: the agent ended without its last line; run it again")
    return AgentAnswer(what=what, events=tuple(events), count=read_event(End, last, what).count)


def _crash(what: str, end: ProgramEnd) -> str:
    """Return how the engine ended, and what a signal usually means."""
    detail = f" ({end.last_line[:LONGEST_TEXT]})" if end.last_line else ""
    if end.return_code >= 0:
        return f"{what}: the engine ended with {end.ending}{detail}"
    advice = _ADVICE.get(-end.return_code, "try another version of it, or another engine")
    return f"{what}: the engine was {end.ending}{detail}; {advice}"


def _refusal(refused: Refused, what: str, end: ProgramEnd, command: Sequence[str]) -> DeviceError:
    if refused.kind == "engine_missing":
        how = "mnet device check says what can be installed"
        return ToolMissing(f"{what}: {refused.engine or 'its engine'}", how, where="there")
    message = f"{what}: {refused.message[:LONGEST_TEXT]}"
    return AgentRefusal(message, kind=refused.kind, command=command, return_code=end.return_code, output=end.stderr)
