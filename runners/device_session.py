"""Hold a device for a while: one keeper there, one folder, and programs started in it as often as wanted."""

import getpass
import hashlib
import secrets
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from mnet_deploy.errors import DeviceError, DeviceUnavailable, LinkLost
from mnet_deploy.interrupts import interrupts_set_aside
from mnet_deploy.measurement.device_info import Conditions, DeviceInfo
from mnet_deploy.runners.agent_events import AgentAnswer, read_answer
from mnet_deploy.runners.device_events import (
    LONGEST_TEXT,
    E,
    KeeperEnd,
    KeeperReady,
    KeeperRefused,
    event_of,
    read_event,
)
from mnet_deploy.runners.device_programs import Agent, DevicePrograms
from mnet_deploy.runners.probe import probe_conditions, probe_device
from mnet_deploy.runners.transports.deadline import Deadline
from mnet_deploy.runners.transports.transport import CommandResult, RemoteProcess, Transport

START_TIMEOUT_S = 60.0
PROBE_TIMEOUT_S = 30.0
END_TIMEOUT_S = 20.0
SLOWEST_LINK_BYTES_PER_S = 100_000  # a push gets this long, beside the time to start
ALLOWANCE_S = 30.0  # that the keeper waits longer than the deadline of what runs


class NotSetBack(DeviceUnavailable):
    """The device is not as it was before the session."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionOptions:
    """What a session does to the device.

    Attributes:
        pin: the governor that the clock gets meanwhile; None leaves it as it is.
        owner: what another session is told that finds the device taken.
    """

    pin: str | None = None
    owner: str = ""


class DeviceSession:
    """A device, held: nobody else measures on it meanwhile, and it is left as it was. Use it as a context manager."""

    def __init__(
        self,
        transport: Transport,
        *,
        programs: DevicePrograms,
        options: SessionOptions | None = None,
        nonce: Callable[[], str] = lambda: secrets.token_hex(8),
    ) -> None:
        """Plan it.

        Args:
            transport: the way to the device.
            programs: that hold it and run models there.
            options: what is done to the device.
            nonce: makes the text that the agent's last line has to repeat.
        """
        self.transport = transport
        self._programs = programs
        self._options = options or SessionOptions()
        self._nonce = nonce
        self._keeper: RemoteProcess | None = None
        self._agent_argv: tuple[str, ...] = ()
        self._pushed: dict[tuple[str, str | None], str] = {}
        self.folder = ""
        self.warnings: list[str] = []

    def __enter__(self) -> Self:
        """Take the device.

        Raises:
            DeviceUnavailable: another session has it, or its governor cannot be set.
            DeviceError: it cannot be reached, or is lost.
        """
        try:
            self._start_keeper()
            if self._programs.agent is not None:
                self._agent_argv = self._programs.agent.bring(self.push, self.folder)
        except BaseException as error:
            self.__exit__(type(error), error, error.__traceback__)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give it back as it was; an error on the way is not hidden by one of giving back.

        Raises:
            NotSetBack: it could not be left as it was; that is a note to an error on the way, if there is one.
            DeviceError: whether it is as it was is not known.
        """
        try:
            self._leave()
        except DeviceError as problem:
            if error is None:
                raise
            if isinstance(problem, NotSetBack):
                error.add_note(str(problem))

    @property
    def agent(self) -> Agent | None:
        """The program that runs models there; None if there is none."""
        return self._programs.agent

    def push(self, local: Path, *, name: str | None = None, executable: bool = False) -> str:
        """Copy a file into the session's folder, once, and return its path there.

        Args:
            local: the file.
            name: what it has to be called there; by default a number, as its own name may be anything.
            executable: whether it is a program.
        """
        key = (hashlib.sha256(local.read_bytes()).hexdigest(), name)
        if key not in self._pushed:
            remote = f"{self.folder}/{name or f'{len(self._pushed)}{local.suffix}'}"
            limit_s = START_TIMEOUT_S + local.stat().st_size / SLOWEST_LINK_BYTES_PER_S
            self.allow(limit_s)
            self.transport.push(local, remote, deadline=Deadline.after(limit_s), executable=executable)
            self._pushed[key] = remote
        return self._pushed[key]

    def run_program(self, argv: Sequence[str], *, timeout_s: float) -> CommandResult:
        """Run a program to its end; an exit status other than 0 is the caller's to judge.

        Raises:
            DeviceError: as `Transport.run` says.
        """
        self.allow(timeout_s)
        return self.transport.run(argv, deadline=Deadline.after(timeout_s))

    def run_agent(self, command: str, options: Sequence[str], *, what: str, timeout_s: float) -> AgentAnswer:
        """Run the agent once, as a process of its own.

        Args:
            command: `time`, `infer` or `layers`.
            options: of the command, without those that every command has.
            what: is run, for messages.
            timeout_s: after which it is stopped, here and, should the link be gone, there.

        Raises:
            DeviceError: as `read_answer` says.
        """
        nonce = self._nonce()
        self.allow(timeout_s)
        own = ["--nonce", nonce, "--deadline-s", f"{timeout_s:g}", "--pid-file", f"{self.folder}/{nonce}.pid"]
        deadline = Deadline.after(timeout_s)
        argv = [*self._agent_argv, command, *options, *own]
        process = self.transport.start(argv, deadline=deadline)
        try:
            return read_answer(process, nonce=nonce, what=what, deadline=deadline, times=command == "time")
        finally:
            process.stop()

    def device(self) -> DeviceInfo:
        """Return what the device is."""
        self.allow(PROBE_TIMEOUT_S)
        return probe_device(self.transport, Deadline.after(PROBE_TIMEOUT_S))

    def conditions(self, *, busy: bool) -> Conditions:
        """Return the state of the device; `busy` also watches for a moment what else is running."""
        self.allow(PROBE_TIMEOUT_S)
        return probe_conditions(self.transport, Deadline.after(PROBE_TIMEOUT_S), busy=busy)

    def allow(self, seconds: float) -> None:
        """Tell the keeper for how long it may hear nothing.

        Raises:
            LinkLost: it is gone.
        """
        if self._keeper is None:
            raise LinkLost(f"{self.transport.address.label}: the session has ended")
        try:
            self._keeper.write(f"{seconds + ALLOWANCE_S:g}\n")
        except LinkLost:
            result = self._keeper.wait(Deadline.after(END_TIMEOUT_S))  # raises, if it was the link that ended
            raise LinkLost(
                f"{self.transport.address.label}: the program that held the device ended there ({result.ending}); "
                "run it again, which also puts right what it left"
            ) from None

    def _start_keeper(self) -> None:
        deadline = Deadline.after(START_TIMEOUT_S)
        pin = [] if self._options.pin is None else ["--pin", self._options.pin]
        owner = self._options.owner or _owner()
        argv = [*self._programs.keeper, "--owner", owner, "--allow-s", f"{ALLOWANCE_S + START_TIMEOUT_S:g}", *pin]
        self._keeper = self.transport.start(argv, deadline=deadline)
        ready = self._keeper_says(KeeperReady, deadline)
        self.folder = ready.folder
        if ready.swept:
            self.warnings.append(f"an earlier session was cut off there; {len(ready.swept)} folder(s) were put right")
        if ready.not_restored:
            self.warnings.append(f"of an earlier session, {_not_set_back(ready.not_restored)}")

    def _keeper_says(self, expected: type[E], deadline: Deadline) -> E:
        """Return the keeper's next event of that kind."""
        who = self.transport.address.label
        if self._keeper is None:
            raise LinkLost(f"{who}: the session has ended")
        for line in self._keeper.lines(deadline):
            event = event_of(line)  # None: a login message, for example
            if event is not None and event["event"] == KeeperRefused.NAME:
                raise self._refusal(read_event(KeeperRefused, event, who))
            if event is not None and event["event"] == expected.NAME:
                return read_event(expected, event, who)
        result = self._keeper.wait(deadline)
        detail = (result.last_line or result.ending)[:LONGEST_TEXT]
        raise DeviceUnavailable(f"{who}: {self._programs.keeper[0]} could not hold the device ({detail})")

    def _refusal(self, refused: KeeperRefused) -> DeviceUnavailable:
        who, message = self.transport.address, refused.message[:LONGEST_TEXT]
        if refused.kind == "busy":
            return DeviceUnavailable(f"{who} is being measured on by {message}; wait until that has ended")
        return DeviceUnavailable(f"{who.label}: {message}")

    def _leave(self) -> None:
        keeper = self._keeper
        if keeper is None:
            return
        try:
            # What the user has stopped is still put right, and heard of; a second Ctrl-C ends that, too.
            with interrupts_set_aside():
                keeper.write("end\n")
                left = self._keeper_says(KeeperEnd, Deadline.after(END_TIMEOUT_S)).not_restored
        finally:
            self._keeper = None
            keeper.stop()
        if left:
            raise NotSetBack(f"{self.transport.address.label}: {_not_set_back(left)}; the next session tries it again")


def _not_set_back(paths: Sequence[str]) -> str:
    return f"the governor could not be set back ({', '.join(paths)[:LONGEST_TEXT]})"


def _owner() -> str:
    return f"{getpass.getuser()} on {socket.gethostname()} since {datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
