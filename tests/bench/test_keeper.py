"""The program that holds a device: one at a time, and everything is put right however it ends."""

import ast
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mnet_deploy.runners.on_device import keeper

RUNNERS = Path(__file__).resolve().parents[2] / "runners" / "on_device"
KEEPER = RUNNERS / "keeper.py"
DEADLINE_S = 20.0


@pytest.fixture
def cpus(tmp_path):
    """Return a folder that looks like /sys/devices/system/cpu, with two governors."""
    folder = tmp_path / "cpu"
    for number, governor in enumerate(("ondemand", "schedutil")):
        (folder / f"cpu{number}" / "cpufreq").mkdir(parents=True)
        (folder / f"cpu{number}" / "cpufreq" / "scaling_governor").write_text(governor + "\n")
    return folder


@pytest.fixture
def temporary(tmp_path):
    folder = tmp_path / "tmp"
    folder.mkdir()
    return folder


@pytest.fixture
def keep(temporary, cpus):
    """Start keepers: `keep(*options)`; whatever is left of them is killed at the end."""
    started = []

    def start(*options):
        command = [sys.executable, "-I", str(KEEPER), "--owner", "a test", "--cpu-folder", str(cpus), *options]
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "TMPDIR": str(temporary)},
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait(DEADLINE_S)
        process.stdin.close()
        process.stdout.close()


def says(process):
    return json.loads(process.stdout.readline())


def governors(cpus):
    return [path.read_text().strip() for path in sorted(cpus.glob("*/cpufreq/scaling_governor"))]


def agent_in(folder):
    """Start what stands for an agent: a process whose command line names the session's folder.

    It has not noted its number yet, as one that hangs while Python starts.
    """
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", folder])
    until = time.monotonic() + DEADLINE_S
    while folder.encode() not in Path(f"/proc/{process.pid}/cmdline").read_bytes():  # it comes right after the start
        assert time.monotonic() < until
    return process


def end(process):
    process.stdin.write("end\n")
    process.stdin.flush()
    process.wait(DEADLINE_S)


ENDINGS = {
    "end": lambda process: process.stdin.write("end\n"),
    "closed": lambda process: process.stdin.close(),
    "silent": lambda process: process.stdin.write("0.1\n"),
    "unreadable": lambda process: process.stdin.write("what?\n"),
    "terminated": lambda process: process.send_signal(signal.SIGTERM),
    "hung up": lambda process: process.send_signal(signal.SIGHUP),
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_it_puts_everything_right(keep, temporary, cpus, ending):
    process = keep("--pin", "performance")
    folder = says(process)["folder"]
    assert governors(cpus) == ["performance", "performance"]
    agent = agent_in(folder)
    ENDINGS[ending](process)
    if ending != "closed":
        process.stdin.flush()
    process.wait(DEADLINE_S)
    assert agent.wait(DEADLINE_S) == -signal.SIGKILL
    assert governors(cpus) == ["ondemand", "schedutil"]
    assert list(temporary.iterdir()) == []


def test_a_second_one_is_told_who_has_the_device(keep, temporary):
    first = keep()
    says(first)
    second = keep()
    assert says(second) == {"event": "refused", "kind": "busy", "message": "a test"}
    assert second.wait(DEADLINE_S) == 1
    first.stdin.write("end\n")
    first.stdin.flush()
    assert says(first)["why"] == "end"
    assert says(keep())["event"] == "ready"


def test_the_next_one_puts_right_what_a_killed_one_left(keep, temporary, cpus):
    killed = keep("--pin", "performance")
    folder = says(killed)["folder"]
    agent = agent_in(folder)
    killed.kill()
    killed.wait(DEADLINE_S)
    assert governors(cpus) == ["performance", "performance"]
    ready = says(keep())
    assert ready["swept"] == [folder]
    assert agent.wait(DEADLINE_S) == -signal.SIGKILL
    assert governors(cpus) == ["ondemand", "schedutil"]
    assert not Path(folder).exists()


def test_a_governor_that_refuses_ends_it(keep, temporary, cpus):
    refusing = cpus / "cpu1" / "cpufreq" / "scaling_governor"
    refusing.unlink()
    refusing.symlink_to("/proc/self/comm")  # reads well, and takes another name than it is given
    process = keep("--pin", "performance-and-more-than-15-characters")
    answer = says(process)
    assert (answer["event"], answer["kind"]) == ("refused", "governor")
    assert process.wait(DEADLINE_S) == 1
    assert governors(cpus)[0] == "ondemand"
    assert list(temporary.iterdir()) == []


def test_a_device_without_governors_cannot_be_pinned(keep, cpus):
    for path in cpus.glob("*/cpufreq/scaling_governor"):
        path.unlink()
    assert says(keep("--pin", "performance"))["kind"] == "governor"


def test_time_that_was_allowed_keeps_it(keep):
    process = keep("--allow-s", "0.5")
    folder = says(process)["folder"]
    process.stdin.write("30\n")
    process.stdin.flush()
    time.sleep(1.0)
    assert process.poll() is None
    assert Path(folder).exists()


def test_a_number_that_is_another_programs_now_is_left_alone(keep):
    process = keep()
    folder = says(process)["folder"]
    bystander = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    (Path(folder) / "old.pid").write_text(str(bystander.pid))
    process.stdin.write("end\n")
    process.stdin.flush()
    process.wait(DEADLINE_S)
    assert bystander.poll() is None
    bystander.kill()
    bystander.wait(DEADLINE_S)


@pytest.fixture
def left_behind(temporary):
    """Leave what a keeper that was killed leaves; return its folder."""

    def leave(record):
        folder = temporary / f"{keeper.PREFIX}killed"
        folder.mkdir()
        (folder / "0.py").write_text("the agent")
        (folder / keeper.GOVERNORS_NAME).write_text(record)
        return folder

    return leave


@pytest.mark.parametrize("record", ["", "{", "[1]", "null", '{"/sys/x": 5}', "[" * 100_000, '{"/sys/\\u0000": "'])
def test_a_damaged_record_does_not_lock_the_device_out(keep, left_behind, temporary, record):
    folder = left_behind(record)
    first = keep()
    ready = says(first)
    assert ready["swept"] == [str(folder)]
    assert [text.partition(" is ")[2] for text in ready["not_restored"]] == [
        "damaged: what the governor was is not known"
    ]
    end(first)
    assert list(temporary.iterdir()) == []


def test_what_cannot_be_set_back_is_said_and_tried_again(keep, left_behind, tmp_path):
    refusing = tmp_path / "scaling_governor"
    refusing.mkdir()
    folder = left_behind(json.dumps({str(refusing): "ondemand"}))
    for _ in range(2):
        process = keep()
        ready = says(process)
        assert (ready["swept"], ready["not_restored"]) == ([str(folder)], [str(refusing)])
        assert [entry.name for entry in folder.iterdir()] == [keeper.GOVERNORS_NAME]
        end(process)
    refusing.rmdir()
    refusing.write_text("ondemand\n")
    assert says(keep())["not_restored"] == []
    assert not folder.exists()


@pytest.mark.parametrize("stop", ["end", "terminated"])
def test_its_last_line_says_what_it_could_not_set_back(keep, cpus, stop):
    process = keep("--pin", "performance")
    folder = says(process)["folder"]
    gone = cpus / "cpu1" / "cpufreq" / "scaling_governor"
    gone.unlink()
    gone.mkdir()
    ENDINGS[stop](process)
    process.stdin.flush()
    assert says(process)["not_restored"] == [str(gone)]
    process.wait(DEADLINE_S)
    assert (cpus / "cpu0" / "cpufreq" / "scaling_governor").read_text().strip() == "ondemand"
    assert json.loads((Path(folder) / keeper.GOVERNORS_NAME).read_text())[str(gone)] == "schedutil"


def test_a_governor_that_is_right_needs_no_privilege(cpus, monkeypatch):
    path = cpus / "cpu0" / "cpufreq" / "scaling_governor"
    monkeypatch.setattr(Path, "write_text", None)  # nothing is written
    assert keeper.set_governor(str(path), "ondemand")


def test_the_lock_is_given_back_whatever_fails(temporary, monkeypatch):
    monkeypatch.setattr(keeper.tempfile, "gettempdir", lambda: str(temporary))
    monkeypatch.setattr(keeper, "ignore_signals", lambda: None)
    monkeypatch.setattr(keeper, "sweep", lambda cpu_folder: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        keeper.hold(keeper.argparse.Namespace(owner="a test", cpu_folder=""))
    assert list(temporary.iterdir()) == []


def test_a_process_that_is_just_being_started_is_looked_at_again(tmp_path, monkeypatch):
    """Right after exec its command line is empty for a moment."""
    answers = iter([([], False), ([4242], True), ([], True)])
    killed = []
    monkeypatch.setattr(keeper, "running_from", lambda folder: next(answers))
    monkeypatch.setattr(keeper.os, "kill", lambda number, name: killed.append(number))
    keeper.put_right(tmp_path, "")
    assert killed == [4242]


def test_an_empty_command_line_is_no_proof_that_a_process_is_another_one(tmp_path, monkeypatch):
    read_bytes = Path.read_bytes
    own = Path(f"/proc/{os.getpid()}/cmdline")
    monkeypatch.setattr(Path, "read_bytes", lambda path: b"" if path == own else read_bytes(path))
    assert keeper.running_from(tmp_path) == ([], False)


@pytest.mark.parametrize("name", ["keeper.py", "environment.py"])
def test_what_runs_on_a_device_is_python_3_9_and_needs_the_standard_library_only(name):
    tree = ast.parse((RUNNERS / name).read_text(encoding="utf-8"), feature_version=(3, 9))
    assert [node for node in ast.walk(tree) if isinstance(node, ast.Match)] == []
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {each.partition(".")[0] for each in imported} <= set(sys.stdlib_module_names)
