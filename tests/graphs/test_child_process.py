"""Programs that crash, hang, flood and leave children behind."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from mnet_deploy.child_process import describe_return_code, run_child
from mnet_deploy.errors import CommandFailed, CommandTimeout

PATIENCE_S = 60
LONG_S = 1000  # nothing may wait for this


def python(code, **options):
    return run_child([sys.executable, "-c", code], **({"timeout_s": PATIENCE_S} | options))


def has_ended(pid):
    """Wait for the end of a process that was killed: the system takes a moment to do it."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
            # A killed orphan stays a zombie until the system's first process collects it.
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except (ProcessLookupError, FileNotFoundError):
            return True
        time.sleep(0.01)
    return False


def test_it_hands_over_input_and_both_outputs():
    done = python("import sys; print(sys.stdin.read().upper()); print('note', file=sys.stderr)", stdin=b"words")
    assert (done.return_code, done.stdout, done.last_line, done.require_success()) == (
        0,
        b"WORDS\n",
        "note",
        b"WORDS\n",
    )


def test_without_input_the_program_reads_an_empty_one():
    assert python("import sys; print(repr(sys.stdin.read()))").stdout == b"''\n"


def test_more_output_than_a_pipe_holds_does_not_block():
    size = 1 << 20
    done = python(f"import sys; sys.stderr.write('e' * {size}); sys.stdout.write('o' * {size})")
    assert len(done.stdout) == size
    assert 0 < len(done.stderr) < size  # only its end is kept


def test_an_exit_status_is_the_callers_to_judge():
    done = python("import sys; print('because', file=sys.stderr); sys.exit(3)")
    assert done.ending == "exit status 3"
    with pytest.raises(CommandFailed, match="exit status 3: because") as caught:
        done.require_success()
    assert caught.value.return_code == 3


@pytest.mark.parametrize("name", ["SIGSEGV", "SIGABRT", "SIGKILL"])
def test_death_by_a_signal_is_named(name):
    done = python(f"import os, signal; os.kill(os.getpid(), signal.{name})")
    assert done.ending == f"killed by {name}"


def test_unknown_signals_are_named_by_number():
    assert describe_return_code(-123) == "killed by signal 123"


@pytest.mark.parametrize("ignored", ["", "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); "])
def test_a_program_that_does_not_end_is_killed(ignored):
    with pytest.raises(CommandTimeout, match=r"within 0\.5 s"):
        python(f"{ignored}import time; time.sleep({LONG_S})", timeout_s=0.5)


def test_a_child_that_outlives_the_program_does_not_hold_up_the_result():
    code = (
        "import subprocess, sys;"
        f"child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep({LONG_S})']); print(child.pid)"
    )
    done = python(code, timeout_s=PATIENCE_S)
    assert done.return_code == 0
    assert has_ended(int(done.stdout))


def test_an_interrupt_kills_the_program_and_what_it_started(tmp_path, monkeypatch):
    note = tmp_path / "pids"

    def interrupted(*args):
        while not note.exists() or not note.read_text().endswith("."):
            time.sleep(0.01)
        raise KeyboardInterrupt

    monkeypatch.setattr("mnet_deploy.child_process._collect", interrupted)
    code = (
        "import os, subprocess, sys, time;"
        f"child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep({LONG_S})']);"
        f"open({str(note)!r}, 'w').write(f'{{os.getpid()}} {{child.pid}} .'); time.sleep({LONG_S})"
    )
    with pytest.raises(KeyboardInterrupt):
        python(code)
    assert [has_ended(int(pid)) for pid in note.read_text().split()[:2]] == [True, True]


def test_ctrl_c_in_the_terminal_does_not_reach_the_program_directly():
    assert int(python("import os; print(os.getpgrp())").stdout) != os.getpgrp()


def test_too_much_output_ends_the_program():
    with pytest.raises(CommandFailed, match="wrote more than 1000 bytes") as caught:
        python("while True: print('x' * 500)", output_limit_bytes=1000)
    assert caught.value.return_code == -signal.SIGKILL


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux enforces an address-space limit")
def test_memory_is_limited():
    code = "import time; time.sleep(0.2); bytearray(512 << 20)"  # the limit is set just after the start
    done = python(code, memory_limit_bytes=256 << 20)
    assert (done.return_code, done.last_line) == (1, "MemoryError")
    assert python(code).return_code == 0


def test_a_program_that_is_not_there_is_one_line():
    with pytest.raises(CommandFailed, match="no-such-program could not be started: No such file or directory"):
        run_child(["no-such-program"], timeout_s=1)


def test_variables_are_added_to_the_environment(monkeypatch):
    monkeypatch.setenv("KEPT", "1")
    done = python("import os; print(os.environ['KEPT'], os.environ['ADDED'])", environment={"ADDED": "2"})
    assert done.stdout == b"1 2\n"
