"""Whatever a device prints ends in a result or in one line of a `DeviceError`."""

import json
import random
from copy import deepcopy
from itertools import count
from pathlib import Path

import pytest
from transcript_edits import blocks, keeper

from mnet_deploy.errors import DeviceError, LinkLost, ToolMissing
from mnet_deploy.measurement.measurement import MeasuredFile
from mnet_deploy.measurement.run_config import Protocol, RunConfig
from mnet_deploy.progress import Progress
from mnet_deploy.results.run_file import run_files
from mnet_deploy.runners.agent_events import read_answer
from mnet_deploy.runners.device_events import Layers, Ready, Start, Usage
from mnet_deploy.runners.device_programs import python_programs
from mnet_deploy.runners.device_session import DeviceSession
from mnet_deploy.runners.measure import MeasuringRun
from mnet_deploy.runners.setup.device_python import look_for_python
from mnet_deploy.runners.setup.device_setup import _Build
from mnet_deploy.runners.timed_block import Candidate
from mnet_deploy.runners.transports.deadline import Deadline
from mnet_deploy.runners.transports.fake_transport import FakeProcess, FakeTransport
from mnet_deploy.runners.transports.shell_line import split_end
from mnet_deploy.runners.transports.transcript import read_transcript
from mnet_deploy.runners.transports.transport import CommandResult, Transport

TRANSCRIPT = Path(__file__).parent / "transcripts" / "bench.jsonl"
ADDRESS, RECORDS = read_transcript(TRANSCRIPT)
SOON = Deadline.after(3600)
END = '{"event": "end", "nonce": "n", "count": 3}'
SAMPLES = '{"event": "samples", "latency_s": [1, 2, 3]}'
MANY_DIGITS = "1" * 5000
SEEDS = range(150)
LONGEST_MESSAGE = 4000  # characters


def process(*lines, return_code=0):
    return FakeProcess({"lines": lines, "return_code": return_code}, ("agent",))


def answer(*lines, times=True, return_code=0):
    said = process(*lines, return_code=return_code)
    return read_answer(said, nonce="n", what="m.tflite", deadline=SOON, times=times)


@pytest.mark.parametrize(
    "lines",
    [
        (),
        ("[" * 100_000, END),
        (END,),
        ('{"event": "end", "nonce": "n", "count": 0}',),
        (SAMPLES, '{"event": "end", "nonce": "n"}'),
        (SAMPLES, '{"event": "end", "nonce": "n", "count": "3"}'),
        (SAMPLES, '{"event": "end", "nonce": "n", "count": true}'),
        (SAMPLES, '{"event": "end", "nonce": "n", "count": 2}'),
        (SAMPLES, '{"event": "end", "nonce": "of another run", "count": 3}'),
        (SAMPLES, SAMPLES, END),
        (SAMPLES[:-3], END),
        ('{"event": "samples"}', END),
        ('{"event": "samples", "latency_s": null}', END),
        ('{"event": "samples", "latency_s": ["a", "b", "c"]}', END),
        ('{"event": "samples", "latency_s": [NaN, 1, 1]}', END),
        ('{"event": "samples", "latency_s": [Infinity, 1, 1]}', END),
        ('{"event": "samples", "latency_s": [1e999, 1, 1]}', END),
        ('{"event": "samples", "latency_s": [-1, 1, 1]}', END),
        (f'{{"event": "samples", "latency_s": [{MANY_DIGITS}, 1, 1]}}', END),
        (f'{{"event": "samples", "latency_s": [{"9" * 400}, 1, 1]}}', END),
    ],
)
def test_latencies_that_did_not_all_arrive_are_no_result(lines):
    with pytest.raises(LinkLost, match=r"m\.tflite: .*run it again") as caught:
        answer(*lines)
    assert len(str(caught.value)) < 1000


def test_an_agent_that_was_not_asked_for_latencies_may_have_none():
    assert answer(END, times=False).count == 3


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        (Ready, '{"event": "other"}'),
        (Ready, '{"event": "ready"}'),
        (Ready, '{"event": "ready", "import_s": 1, "init_s": null}'),
        (Start, '{"event": "start"}'),
        (Usage, '{"event": "usage", "peak_rss_bytes": 1.5, "wall_s": 1, "cpu_s": 1}'),
        (Usage, '{"event": "usage", "peak_rss_bytes": 1, "wall_s": -1, "cpu_s": 1}'),
        (Layers, '{"event": "layers", "source": "s", "total_s": 1, "ops": null}'),
        (Layers, '{"event": "layers", "source": "s", "total_s": 1, "ops": [{"name": "n", "op": "o"}]}'),
    ],
)
def test_an_event_without_what_is_needed_is_a_lost_link(kind, line):
    said = answer(line, END, times=False)
    with pytest.raises(LinkLost, match=r"m\.tflite: "):
        said.first(kind)


def test_an_engine_that_is_missing_is_said_in_one_sentence():
    line = '{"event": "error", "kind": "engine_missing", "message": "no module", "engine": "litert"}'
    with pytest.raises(ToolMissing, match=r"^m\.tflite: litert is not installed there; mnet device check"):
        answer(line, return_code=1)


def test_what_a_terminal_would_obey_is_replaced():
    with pytest.raises(DeviceError) as caught:
        answer('{"event": "error", "kind": "failed", "message": "a\\u001b[2Jb\\ud800"}', return_code=1)
    assert str(caught.value) == "m.tflite: a\ufffd[2Jb\ufffd"


class Fake(Transport):
    """A device whose programs say the same lines."""

    address = ADDRESS

    def __init__(self, *lines):
        self.said = lines

    def run(self, argv, *, deadline, stdin=b""):
        return CommandResult(argv=tuple(argv), return_code=0, stdout="\n".join(self.said), stderr="")

    def start(self, argv, *, deadline):
        return process(*self.said)

    def push(self, local, remote, *, deadline):
        return 0

    def pull(self, remote, local, *, deadline):
        return 0

    def close(self):
        pass


@pytest.mark.parametrize(
    "line",
    [
        "",
        "[1]",
        '"x"',
        "null",
        "[" * 100_000,
        '{"event": "ready"}',
        '{"event": 5}',
        '{"event": "refused"}',
        '{"event": "refused", "kind": "busy", "message": null}',
        '{"event": "ready", "folder": 5, "swept": 3}',
        '{"event": "ready", "folder": "not from the root", "swept": []}',
        '{"event": "ready", "folder": "/tmp/a\\u0000b", "swept": []}',
    ],
)
def test_a_keeper_that_says_something_else_does_not_hold_the_device(line):
    with (
        pytest.raises(DeviceError, match=r"^ssh://pi4: "),
        DeviceSession(Fake(line), programs=python_programs("python3")),
    ):
        pass


@pytest.mark.parametrize(
    "line",
    [
        "",
        "[1]",
        "[" * 100_000,
        "{}",
        '{"version": "x", "packages": {}}',
        '{"path": "p", "set_up": true, "version": "x", "packages": {}}',
        '{"path": "p", "set_up": true, "version": "3", "packages": {}}',
        f'{{"path": "p", "set_up": true, "version": "{MANY_DIGITS}.1", "packages": {{}}}}',
        '{"path": "p", "set_up": true, "version": "3.11", "packages": null}',
        '{"path": "p", "set_up": true, "version": "3.11", "packages": {"numpy": 1}}',
        '{"path": "p", "set_up": 1, "version": "3.11", "packages": {}}',
        '{"path": 1, "set_up": true, "version": "3.11", "packages": {}}',
        '{"path": "p", "set_up": true, "version": 3, "packages": {}}',
        '{"broken": ["x"]}',
    ],
)
def test_a_python_that_says_something_else_is_not_used(line):
    with pytest.raises(DeviceError, match=r"^ssh://pi4: "):
        look_for_python(Fake(line), SOON)


@pytest.mark.parametrize("line", ["{ hello", '{"a": 1}', "[" * 100_000])
def test_what_is_printed_beside_the_events_of_a_setup_is_none(line):
    build = _Build(Fake(), Progress(), SOON, ())
    assert build._follow(process(line)) is None


@pytest.mark.parametrize("line", ['{"event": "stage"}', '{"event": "stage", "text": 1}', '{"event": "send"}'])
def test_a_setup_that_says_something_else_is_a_lost_link(line):
    build = _Build(Fake(), Progress(), SOON, ())
    with pytest.raises(LinkLost, match=r"^ssh://pi4: what arrived is damaged"):
        build._follow(process(line))


def test_an_exit_status_of_many_digits_is_none():
    said = f"\nmark {MANY_DIGITS}\n"
    assert split_end(said, "mark") == (said, None)


ODD = [None, True, -1, 0, 1.5, float("nan"), float("inf"), 10**400, "", "x", "\x1b[2J\ud800", [], {}, [None], [[[]]]]


def damaged_line(line, chance):
    """Return an event with another value in one of its fields, or without it."""
    try:
        event = json.loads(line)
    except ValueError:
        return damaged_text(line, chance)
    name = chance.choice(list(event))
    if chance.random() < 0.3:
        del event[name]
    elif isinstance(event[name], list) and event[name] and chance.random() < 0.5:
        event[name][chance.randrange(len(event[name]))] = chance.choice(ODD)
    else:
        event[name] = chance.choice(ODD)
    return json.dumps(event)


def damaged_text(text, chance):
    """Return a text that lacks a piece, has one twice, or has other characters at a place."""
    first, last = sorted(chance.randrange(len(text) + 1) for _ in range(2))
    piece = chance.choice(["", text[first:last] * 2, "9" * 5000, "[" * 2000, "\x00\x1b", "-", "=", "\n", "e", "é"])
    return text[:first] + piece + text[last:]


def damaged_records(seed):
    """Return the records with one or two damaged places."""
    chance = random.Random(seed)
    records = deepcopy(list(RECORDS))
    keeper(records)["return_code"] = 1  # that of a keeper that does not say what is expected
    for _ in range(chance.choice((1, 2))):
        kind = chance.choice(("agent", "keeper", "probe"))
        if kind == "probe":
            record = chance.choice(
                [each for each in records if each["call"] == "run" and each["argv"][:2] == ["sh", "-s"]]
            )
            record["stdout"] = damaged_text(record["stdout"], chance)
            continue
        record = keeper(records) if kind == "keeper" else chance.choice(blocks(records))
        at = chance.randrange(len(record["lines"]))
        how = chance.choice((damaged_line, damaged_line, damaged_text))
        record["lines"][at] = how(record["lines"][at], chance)
        if chance.random() < 0.1:
            del record["lines"][at]
    return records


class Replayed(FakeTransport):
    """The records in their order, whatever is asked: damage may change that."""

    def _take(self, call, received):
        del received
        if not self.unused or self.unused[0]["call"] != call:
            raise LinkLost("the transcript has no such call here")
        self._next += 1
        return self._records[self._next - 1]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_damaged_session_is_a_result_or_one_line(seed, tmp_path):
    records = damaged_records(seed)
    name, sha256 = next((each["local"], each["sha256"]) for each in RECORDS if "tflite" in each.get("local", ""))
    path = tmp_path / name
    path.write_bytes(b"what is in it does not matter to a transcript")
    candidate = Candidate(
        path=path, file=MeasuredFile(file=name, sha256=sha256, size_bytes=1), config=RunConfig(engine="litert")
    )
    transport, clock, measured, said = Replayed(ADDRESS, records), count(), (), "a result"
    try:
        python = look_for_python(transport, SOON)
        session = DeviceSession(transport, programs=python_programs(python.path))
        run = MeasuringRun(
            session,
            [candidate],
            Protocol(min_blocks=8, max_blocks=8),
            pause=lambda seconds: None,
            clock=lambda: float(next(clock)),
        )
        with session:
            run.measure()
        measured = run.measurements()
    except DeviceError as error:
        said = str(error)
    assert len(said) < LONGEST_MESSAGE
    assert run_files(measured) if measured else said != "a result"
