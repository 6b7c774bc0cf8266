"""What the agent on a device says, line by line, and whether all of it arrived."""

import json
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from mnet_deploy.errors import CommandFailed, DeviceError, LinkLost, ToolMissing
from mnet_deploy.runners.deadline import Deadline
from mnet_deploy.runners.transport import CommandResult, RemoteProcess

_ADVICE: dict[int, str] = {
    signal.SIGKILL: "the system does that when memory is short; close other programs there",
    signal.SIGILL: "it has code for another processor; try another version of it, or another --engine",
}


class AgentRefusal(CommandFailed):
    """The agent itself says why it cannot do what it was asked.

    Attributes:
        kind: one of those that the agent's documentation lists.
    """

    def __init__(self, message: str, *, kind: str, command: Sequence[str], return_code: int, output: str) -> None:
        super().__init__(message, command=command, return_code=return_code, output=output)
        self.kind = kind


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentAnswer:
    """All events of one run of the agent, complete.

    Attributes:
        events: in their order, the last one (`end`) left out.
        count: what the last one says: of the latencies, or of the inputs that were answered.
    """

    events: tuple[dict[str, Any], ...]
    count: int

    def first(self, name: str) -> dict[str, Any]:
        """Return the first event of that name.

        Raises:
            LinkLost: there is none.
        """
        for event in self.events:
            if event["event"] == name:
                return event
        raise LinkLost(f"the agent did not say `{name}`; run it again")

    def values(self, name: str) -> tuple[float, ...]:
        """Return the latencies of all events of that name, joined in their order."""
        return tuple(value for event in self.events if event["event"] == name for value in event["latency_s"])


def read_answer(
    process: RemoteProcess, *, nonce: str, what: str, deadline: Deadline, times: bool = True
) -> AgentAnswer:
    """Read what the agent says until it ends.

    Args:
        process: the agent, started.
        nonce: that its last line has to repeat.
        what: is run, for messages: the name of the file and where.
        deadline: for all of it.
        times: whether the last line counts latencies; those of `infer` are in a file, and it counts inputs.

    Raises:
        ToolMissing: the engine is not installed there.
        CommandFailed: the engine refused the file, or crashed.
        CommandTimeout: it did not end in time.
        LinkLost: the connection ended, or the last line is missing.
    """
    events: list[dict[str, Any]] = []
    for line in process.lines(deadline):
        events.extend(_events(line))
    result = process.wait(deadline)
    for event in events:
        if event["event"] == "error":
            raise _refusal(event, what, result)
    if result.return_code != 0:
        raise CommandFailed(
            _crash(what, result),
            command=result.argv,
            return_code=result.return_code,
            output=result.stderr,
        )
    end = events.pop() if events else {}
    if end.get("event") != "end" or end.get("nonce") != nonce:
        raise LinkLost(f"{what}: the agent ended without its last line; run it again")
    answer = AgentAnswer(events=tuple(events), count=end["count"])
    samples = answer.values("samples")
    if samples and len(samples) != answer.count:
        raise LinkLost(f"{what}: {answer.count} latencies were measured and {len(samples)} arrived; run it again")
    return answer


def _crash(what: str, result: CommandResult) -> str:
    """Return how the engine ended, and what a signal usually means."""
    detail = f" ({result.last_line})" if result.last_line else ""
    if result.return_code >= 0:
        return f"{what}: the engine ended with {result.ending}{detail}"
    advice = _ADVICE.get(-result.return_code, "try another version of it, or another --engine")
    return f"{what}: the engine was {result.ending}{detail}; {advice}"


def _events(line: str) -> Iterator[dict[str, Any]]:
    """Yield the event of a line; whatever else an engine prints there is none."""
    try:
        event = json.loads(line)
    except ValueError:
        return
    if isinstance(event, dict) and isinstance(event.get("event"), str):
        yield event


def _refusal(event: dict[str, Any], what: str, result: CommandResult) -> DeviceError:
    kind, message = str(event.get("kind")), str(event.get("message", ""))
    if kind == "engine_missing":
        return ToolMissing(f"{what}: {message}", "`mnet device check` says what can be installed there")
    return AgentRefusal(
        f"{what}: {message}", kind=kind, command=result.argv, return_code=result.return_code, output=result.stderr
    )
