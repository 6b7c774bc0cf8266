import subprocess
import sys

import pytest

from mnet_deploy import interrupts
from mnet_deploy.errors import CommandFailed, CommandTimeout, LinkLost, SpecError
from mnet_deploy.runners.transports import piped_process
from mnet_deploy.runners.transports.deadline import Deadline
from mnet_deploy.runners.transports.local_transport import LocalTransport

SOON = 20.0  # seconds; far more than anything here takes


@pytest.fixture
def local():
    with LocalTransport() as transport:
        yield transport


@pytest.fixture
def start(local):
    """Start Python programs that are gone after the test."""
    started = []

    def start(program, *arguments):
        started.append(local.start([sys.executable, "-c", program, *arguments], deadline=Deadline.after(SOON)))
        return started[-1]

    yield start
    for process in started:
        process.stop()


def ends(pid):
    """Whether a process that was killed is gone, or waits only for its parent to notice."""
    deadline = Deadline.after(SOON)
    while not deadline.expired:
        if (
            subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True).stdout.strip()[:1]
            in "Z"
        ):
            return True
    return False


def test_run_returns_what_the_program_wrote_and_how_it_ended(local):
    result = local.run(["sh", "-c", "cat; echo 'a $b' >&2; exit 3"], deadline=Deadline.after(SOON), stdin=b"given")
    assert (result.return_code, result.stdout, result.last_line, result.ending) == (3, "given", "a $b", "exit status 3")


@pytest.mark.parametrize("argument", ["a b", "'", '"', "$(id)", "`id`", "a\nb", "*", "", "-n", "\\", "ä"])
def test_arguments_arrive_as_they_are(local, argument):
    program = "import sys; sys.stdout.write(sys.argv[1])"
    result = local.run([sys.executable, "-c", program, argument], deadline=Deadline.after(SOON))
    assert result.stdout == argument


def test_a_signal_is_told_from_an_exit_status(local):
    result = local.run(["sh", "-c", "kill -SEGV $$"], deadline=Deadline.after(SOON))
    assert result.ending == "killed by SIGSEGV"


def test_run_check_names_the_device_the_program_and_its_last_words(local):
    with pytest.raises(CommandFailed, match=r"local: sh ended with exit status 4: no such thing") as caught:
        local.run_check(["sh", "-c", "echo no such thing >&2; exit 4"], deadline=Deadline.after(SOON))
    assert caught.value.return_code == 4


def test_a_missing_program_ends_with_127_however_it_is_started(local):
    result = local.run(["mnet-no-such-program"], deadline=Deadline.after(SOON))
    assert result.return_code == 127
    assert "mnet-no-such-program" in result.stderr
    process = local.start(["mnet-no-such-program"], deadline=Deadline.after(SOON))
    assert process.wait(Deadline.after(SOON)).return_code == 127


def test_what_a_program_started_ends_with_it_at_the_deadline(local, tmp_path):
    pid_file = tmp_path / "pid"
    with pytest.raises(CommandTimeout, match=r"local: sh did not end in time"):
        local.run(["sh", "-c", f"sleep 60 & echo $! > {pid_file}; wait"], deadline=Deadline.after(0.5))
    assert ends(int(pid_file.read_text()))


def test_talking_to_a_program(start):
    process = start("while True: print(input().upper(), flush=True)")
    lines = process.lines(Deadline.after(SOON))
    for text in ("one", "two"):
        process.write(f"{text}\n")
        assert next(lines) == text.upper()
    result = process.wait(Deadline.after(SOON))
    assert result.last_line.startswith("EOFError")
    assert result.return_code == 1


def test_lines_go_on_where_they_were_left_and_wait_returns_the_rest(start):
    process = start("print('a'); print('b'); print('c', end='')")
    assert next(process.lines(Deadline.after(SOON))) == "a"
    assert next(process.lines(Deadline.after(SOON))) == "b"
    assert process.wait(Deadline.after(SOON)).stdout == "c"


def test_a_last_line_without_an_end_is_a_line(start):
    assert list(start("print('a\\nb', end='')").lines(Deadline.after(SOON))) == ["a", "b"]


def test_long_output_on_both_ends_does_not_block(start):
    process = start("import sys; text = sys.stdin.read(); sys.stderr.write('e' * 200_000); print(text)")
    process.write("x" * 500_000)
    result = process.wait(Deadline.after(SOON))
    assert result.stdout == "x" * 500_000 + "\n"
    assert set(result.stderr) == {"e"}


def test_all_that_is_written_counts_not_only_what_is_unread(start, monkeypatch):
    monkeypatch.setattr(piped_process, "OUTPUT_LIMIT_BYTES", 1_000_000)
    process = start("while True: print('x' * 100)")
    with pytest.raises(CommandFailed, match="wrote more than 1000000 bytes and was stopped"):
        for _ in process.lines(Deadline.after(SOON)):
            pass


def test_a_silent_program_is_waited_for_until_the_deadline_and_can_go_on(start):
    process = start("print(input())")
    with pytest.raises(CommandTimeout):
        list(process.lines(Deadline.after(0.05)))
    process.write("still here\n")
    assert list(process.lines(Deadline.after(SOON))) == ["still here"]


def test_wait_stops_a_program_that_ignores_the_end_of_its_input(start):
    process = start("import os, time; print(os.getpid(), flush=True); time.sleep(60)")
    pid = int(next(process.lines(Deadline.after(SOON))))
    with pytest.raises(CommandTimeout, match="was stopped"):
        process.wait(Deadline.after(0.1))
    assert ends(pid)


def test_stop_ends_the_whole_group_even_if_it_ignores_being_asked(start, monkeypatch):
    monkeypatch.setattr("mnet_deploy.runners.transports.piped_process._GRACE_S", 0.1)
    ignoring = (
        "import os, signal, time; signal.signal(15, signal.SIG_IGN); print(os.getpid(), flush=True); time.sleep(60)"
    )
    program = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {ignoring!r}])"
    process = start(program)
    pid = int(next(process.lines(Deadline.after(SOON))))
    process.stop()
    process.stop()
    assert ends(pid)


def test_a_program_that_is_asked_to_stop_has_time_to_clean_up(start, tmp_path):
    cleaned = tmp_path / "cleaned"
    program = (
        "import pathlib, signal, sys, time\n"
        "def clean(*_): pathlib.Path(sys.argv[1]).touch(); sys.exit()\n"
        "signal.signal(signal.SIGTERM, clean); print('ready', flush=True); time.sleep(60)"
    )
    process = start(program, str(cleaned))
    assert next(process.lines(Deadline.after(SOON))) == "ready"
    process.stop()
    assert cleaned.exists()


def test_writing_to_a_program_that_has_ended_is_a_lost_link(start):
    process = start("print('bye')")
    assert list(process.lines(Deadline.after(SOON))) == ["bye"]
    process.wait(Deadline.after(SOON))
    with pytest.raises(LinkLost, match="does not read"):
        process.write("hello?\n")


def test_an_interrupt_ends_a_wait(start, monkeypatch):
    process = start("import time; time.sleep(60)")
    monkeypatch.setattr(interrupts, "_arrived", [2])
    with pytest.raises(KeyboardInterrupt):
        process.wait(Deadline.after(SOON))


def test_files_are_copied_whole_there_and_back(local, tmp_path):
    content = bytes(range(256)) * 1000
    (tmp_path / "here").write_bytes(content)
    assert local.push(tmp_path / "here", str(tmp_path / "there"), deadline=Deadline.after(SOON)) == len(content)
    assert local.pull(str(tmp_path / "there"), tmp_path / "back", deadline=Deadline.after(SOON)) == len(content)
    assert (tmp_path / "back").read_bytes() == content
    assert {path.name for path in tmp_path.iterdir()} == {"here", "there", "back"}


def test_a_refused_copy_leaves_nothing_behind(local, tmp_path):
    (tmp_path / "here").write_bytes(b"new")
    (tmp_path / "there").mkdir()
    with pytest.raises(CommandFailed, match="there cannot be written: Is a directory"):
        local.push(tmp_path / "here", str(tmp_path / "there"), deadline=Deadline.after(SOON))
    with pytest.raises(CommandFailed, match="No such file or directory"):
        local.push(tmp_path / "here", str(tmp_path / "no" / "folder"), deadline=Deadline.after(SOON))
    assert {path.name for path in tmp_path.iterdir()} == {"here", "there"}


def test_copying_what_is_not_there(local, tmp_path):
    with pytest.raises(SpecError, match="cannot be read"):
        local.push(tmp_path / "nothing", str(tmp_path / "there"), deadline=Deadline.after(SOON))
    with pytest.raises(CommandFailed, match="cannot be read: No such file"):
        local.pull(str(tmp_path / "nothing"), tmp_path / "back", deadline=Deadline.after(SOON))
