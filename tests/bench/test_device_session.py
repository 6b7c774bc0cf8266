"""A session ends with hearing how the device was left, also after Ctrl-C."""

import os
import signal
import sys
import threading

import pytest

from mnet_deploy import interrupts
from mnet_deploy.errors import DeviceUnavailable, LinkLost
from mnet_deploy.runners import device_session
from mnet_deploy.runners.device_programs import DevicePrograms
from mnet_deploy.runners.device_session import DeviceSession
from mnet_deploy.runners.transports.local_transport import LocalTransport

# What the real keeper does; ENDING is the test's.
KEEPER = """
import json, sys, time
def say(**fields): print(json.dumps(fields), flush=True)
say(event="ready", folder=FOLDER, swept=["/tmp/a"], not_restored=["/sys/b"])
while sys.stdin.readline() != "end\\n": pass
ENDING
"""
LATE = 'time.sleep(0.5); say(event="end", why="end", not_restored=["/sys/c"])'
NEVER = "time.sleep(60)"


@pytest.fixture
def session(tmp_path):
    """Return a function that makes a session whose keeper ends in another way."""

    def make(ending):
        keeper = KEEPER.replace("FOLDER", repr(str(tmp_path))).replace("ENDING", ending)
        return DeviceSession(LocalTransport(), programs=DevicePrograms(keeper=(sys.executable, "-c", keeper)))

    return make


@pytest.fixture
def ctrl_c():
    """Catch interrupts as the command line does."""
    before = {number: signal.getsignal(number) for number in interrupts.INTERRUPTS}
    interrupts.catch_interrupts()
    yield lambda: os.kill(os.getpid(), signal.SIGINT)
    interrupts._arrived.clear()
    for number, handler in before.items():
        signal.signal(number, handler)


def stop(timer, ctrl_c):
    timer.start()
    ctrl_c()


def test_what_could_not_be_set_back_is_an_error(session):
    held, expected = session(LATE), r"^local: the governor could not be set back \(/sys/c\); the next"
    with pytest.raises(DeviceUnavailable, match=expected), held:
        pass


def test_after_ctrl_c_it_is_a_note(session, ctrl_c):
    with pytest.raises(KeyboardInterrupt) as caught, session(LATE):
        ctrl_c()
    (note,) = caught.value.__notes__
    assert note.startswith("local: the governor could not be set back (/sys/c)")
    assert interrupts.interrupted()


def test_a_second_ctrl_c_ends_the_wait(session, ctrl_c, monkeypatch):
    monkeypatch.setattr(device_session, "END_TIMEOUT_S", 50.0)
    again = threading.Timer(1.0, ctrl_c)
    with pytest.raises(KeyboardInterrupt), session(NEVER):
        stop(again, ctrl_c)
    again.join()
    assert len(interrupts._arrived) == 2


def test_an_error_on_the_way_is_not_hidden(session):
    with pytest.raises(LinkLost, match="on the way") as caught, session("sys.exit(1)"):
        raise LinkLost("on the way")
    assert not hasattr(caught.value, "__notes__")


def test_what_earlier_sessions_left_is_a_warning(session):
    with session('say(event="end", not_restored=[])') as held:
        assert held.warnings == [
            "an earlier session was cut off there; 1 folder(s) were put right",
            "of an earlier session, the governor could not be set back (/sys/b)",
        ]
