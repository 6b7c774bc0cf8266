import json
import sys

import pytest

from mnet_deploy.errors import (
    CommandFailed,
    CommandTimeout,
    DeviceUnavailable,
    LinkLost,
    ResultFormatError,
)
from mnet_deploy.runners.transports.address import DeviceAddress
from mnet_deploy.runners.transports.deadline import Deadline
from mnet_deploy.runners.transports.fake_transport import FakeTransport
from mnet_deploy.runners.transports.local_transport import LocalTransport
from mnet_deploy.runners.transports.recording_transport import RecordingTransport

SOON = 20.0  # seconds
PI = DeviceAddress.parse("ssh://pi@raspberrypi.local")
AGENT = """
import json, sys
print(json.dumps({"event": "start"}), flush=True)
for line in sys.stdin:
    print(json.dumps({"event": line.strip(), "nonce": sys.argv[2]}), flush=True)
sys.exit(3)
"""


def soon():
    return Deadline.after(SOON)


def replay(*records, **options):
    return FakeTransport(PI, records, **options)


def session(transport, folder, nonce):
    """Use every call of a transport; return all that came of it."""
    (folder / "model").write_bytes(b"weights")
    said = [transport.run(["sh", "-c", "cat; echo no >&2; exit 4"], deadline=soon(), stdin=b"given")]
    said.append(transport.push(folder / "model", str(folder / "there"), deadline=soon()))
    process = transport.start([sys.executable, "-c", AGENT, "--nonce", nonce], deadline=soon())
    said.append(next(process.lines(soon())))
    process.write("one\n")
    lines = process.lines(soon())
    said.append(json.loads(next(lines)))
    said.append(process.wait(soon()))
    process.stop()
    said.append(transport.pull(str(folder / "there"), folder / "back", deadline=soon()))
    said.append((folder / "back").read_bytes())
    with pytest.raises(CommandFailed, match="cannot be read: No such file"):
        transport.pull(str(folder / "nothing"), folder / "back", deadline=soon())
    with pytest.raises(CommandTimeout):
        transport.run(["sleep", "60"], deadline=Deadline.after(0.1))
    return said


@pytest.fixture
def recorded(tmp_path):
    """Return a transcript of `session`, and what came of it."""
    path = tmp_path / "transcript.jsonl"
    with RecordingTransport(LocalTransport(), path) as transport:
        said = session(transport, tmp_path, "0123456789abcdef")
    return path, said


def test_what_was_recorded_is_replayed(recorded, tmp_path):
    path, said = recorded
    with FakeTransport.read(path) as fake:
        assert fake.address == DeviceAddress.parse("local:")
        assert session(fake, tmp_path, "0123456789abcdef") == said
    assert fake.unused == []


def test_the_nonce_of_the_replay_is_answered(recorded, tmp_path):
    path, said = recorded
    assert "0123456789abcdef" not in path.read_text()
    fake = FakeTransport.read(path)
    assert session(fake, tmp_path, "another")[3] == {**said[3], "nonce": "another"}


def test_a_transcript_can_be_read_by_people(recorded):
    head, run, push, start, *_ = [json.loads(line) for line in recorded[0].read_text().splitlines()]
    assert head == {"format": "mnet.transcript/1", "address": "local:"}
    assert run["stdout"] == "given"
    assert (push["local"], push["size_bytes"]) == ("model", len(b"weights"))
    assert start["argv"][1:] == ["-c", "<text>", "--nonce", "<nonce>"]
    assert start["lines"][1] == '{"event": "one", "nonce": "<nonce>"}'


def test_what_is_private_can_be_replaced(tmp_path):
    path = tmp_path / "transcript.jsonl"
    with RecordingTransport(LocalTransport(), path, replacements={"ada": "user"}) as transport:
        transport.run(["echo", "ada@desk"], deadline=soon())
    assert "ada" not in path.read_text()
    assert FakeTransport.read(path).run(["echo", "user@desk"], deadline=soon()).stdout == "user@desk\n"


def test_a_program_that_was_stopped_is_replayed_up_to_there(tmp_path):
    path = tmp_path / "transcript.jsonl"
    with RecordingTransport(LocalTransport(), path) as transport:
        process = transport.start(["sh", "-c", "echo a; sleep 60"], deadline=soon())
        with pytest.raises(CommandTimeout):
            list(process.lines(Deadline.after(0.2)))
        process.stop()
    process = FakeTransport.read(path).start(["sh", "-c", "echo a; sleep 60"], deadline=soon())
    lines = process.lines(soon())
    assert next(lines) == "a"
    with pytest.raises(CommandTimeout):
        next(lines)


def test_waiting_again_forgets_that_time_was_up_once(tmp_path):
    path = tmp_path / "transcript.jsonl"
    with RecordingTransport(LocalTransport(), path) as transport:
        process = transport.start(["cat"], deadline=soon())
        with pytest.raises(CommandTimeout):
            list(process.lines(Deadline.after(0.05)))
        process.write("a\n")
        assert next(process.lines(soon())) == "a"
        assert process.wait(soon()).return_code == 0
    process = FakeTransport.read(path).start(["cat"], deadline=soon())
    assert list(process.lines(soon())) == ["a"]
    assert process.wait(soon()).return_code == 0


@pytest.mark.parametrize(
    ("call", "received"),
    [
        (lambda fake: fake.run(["uname", "-r"], deadline=soon()), r"\['uname', '-r'\]"),
        (lambda fake: fake.start(["uname", "-m"], deadline=soon()), "start"),
        (lambda fake: fake.pull("/tmp/x", None, deadline=soon()), "/tmp/x"),
    ],
)
def test_another_call_than_recorded_is_an_error_that_shows_both(call, received):
    fake = replay({"call": "run", "argv": ["uname", "-m"], "return_code": 0})
    with pytest.raises(ResultFormatError, match=rf"record 1 .*expected run .*'uname', '-m'.*Received: .*{received}"):
        call(fake)
    assert len(fake.unused) == 1


def test_calls_in_another_order_are_an_error():
    fake = replay(*({"call": "run", "argv": [name], "return_code": 0} for name in ("first", "second")))
    fake.run(["first"], deadline=soon())
    with pytest.raises(ResultFormatError, match="record 2 "):
        fake.run(["first"], deadline=soon())


def test_more_calls_than_recorded_are_an_error():
    with pytest.raises(ResultFormatError, match="the transcript ends before record 1"):
        replay().run(["uname"], deadline=soon())


@pytest.mark.parametrize("compare_content", [False, True])
def test_pushed_files_are_compared_by_content_only_if_asked(tmp_path, compare_content):
    (tmp_path / "agent.py").write_text("new")
    record = {"call": "push", "local": "agent.py", "remote": "/tmp/0.py", "size_bytes": 3, "sha256": "of the old one"}
    fake = replay(record, compare_content=compare_content)
    if compare_content:
        with pytest.raises(ResultFormatError, match="of the old one"):
            fake.push(tmp_path / "agent.py", "/tmp/0.py", deadline=soon())
    else:
        assert fake.push(tmp_path / "agent.py", "/tmp/0.py", deadline=soon()) == len("new")


ENDINGS = {"link_lost": LinkLost, "timeout": CommandTimeout, "unavailable": DeviceUnavailable, "failed": CommandFailed}


@pytest.mark.parametrize("ending", ENDINGS)
def test_faults_can_be_written_into_a_transcript(tmp_path, ending):
    (tmp_path / "here").touch()
    kind = ENDINGS[ending]
    fault = {"ending": ending, "message": "it is gone"}
    fake = replay(
        {"call": "run", "argv": ["a"], **fault},
        {"call": "start", "argv": ["b"], **fault},
        {"call": "start", "argv": ["c"], "lines": ["one", "two"], **fault},
        {"call": "push", "local": "here", "remote": "/there", **fault},
        {"call": "pull", "remote": "/there", **fault},
    )
    for call in (lambda: fake.run(["a"], deadline=soon()), lambda: fake.start(["b"], deadline=soon())):
        with pytest.raises(kind, match="it is gone"):
            call()
    process = fake.start(["c"], deadline=soon())
    lines = process.lines(soon())
    assert [next(lines), next(lines)] == ["one", "two"]
    for call in (lambda: next(lines), lambda: process.wait(soon())):
        with pytest.raises(kind, match="it is gone"):
            call()
    with pytest.raises(kind, match="it is gone"):
        fake.push(tmp_path / "here", "/there", deadline=soon())
    with pytest.raises(kind, match="it is gone"):
        fake.pull("/there", tmp_path / "back", deadline=soon())
    assert not (tmp_path / "back").exists()


def test_wait_returns_what_lines_has_left():
    fake = replay({"call": "start", "argv": ["a"], "lines": ["one", "two"], "return_code": 0, "stdout": "end"})
    process = fake.start(["a"], deadline=soon())
    assert next(process.lines(soon())) == "one"
    assert process.wait(soon()).stdout == "two\nend"


def test_a_stopped_program_takes_no_more_input():
    process = replay({"call": "start", "argv": ["a"], "lines": []}).start(["a"], deadline=soon())
    process.write("x")
    process.stop()
    with pytest.raises(LinkLost):
        process.write("y")
    assert process.written == "x"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        '{"format": "mnet.transcript/2", "address": "local:"}',
        '{"format": "mnet.transcript/1", "address": "nowhere"}',
        '{"format": "mnet.transcript/1", "address": "local:"}\n{"call": "jump"}',
        '{"format": "mnet.transcript/1", "address": "local:"}\n{"call": "ru',
    ],
)
def test_what_is_no_transcript_is_refused(tmp_path, text):
    (tmp_path / "transcript.jsonl").write_text(text)
    with pytest.raises(ResultFormatError, match="expected a transcript"):
        FakeTransport.read(tmp_path / "transcript.jsonl")


def test_a_transcript_that_cannot_be_written_is_an_error(tmp_path):
    path = tmp_path / "no such folder" / "transcript.jsonl"
    with pytest.raises(CommandFailed, match="cannot be written"), RecordingTransport(LocalTransport(), path):
        pass
    with pytest.raises(LinkLost, match="on the way") as caught, RecordingTransport(LocalTransport(), path):
        raise LinkLost("on the way")
    assert "cannot be written" in caught.value.__notes__[0]
