"""What is checked after something went wrong on a device, on the way to it, or here."""

import re
from contextlib import suppress

from device_tests.mnet_runs import ONE_BLOCK, until

DEVICE_FAILED = 3  # exit status


def put_right(device):
    """Whether nothing of a session is left on the device."""
    return not device.processes() and not device.temporary_files()


def assert_put_right(device, run):
    """Check that both sides are as they were; the device may take as long as its keeper is allowed to hear nothing."""
    until(
        lambda: put_right(device), f"an end on the device, which has {device.processes()}, {device.temporary_files()}"
    )
    assert run.leftovers(device) == []


def assert_kept(run):
    """Check that what was measured before is stored, and not as if it were a result."""
    (stored,) = run.stored()
    (measurement,) = stored["measurements"]
    assert len(measurement["blocks"]) >= 1
    assert measurement["verdict"] == "INVALID"
    assert "cut_off" in [reason["rule"] for reason in measurement["reasons"]]
    assert stored["raw"]["samples"][0] >= 1
    assert len(list(run.folder.glob("mnet-results/raw/*.json.gz"))) == 1


def assert_works(device, start, *, warned=False):
    """Check that a following run measures, and leaves nothing behind."""
    run = start(device, *ONE_BLOCK)
    assert run.end() in (0, 1), run.messages
    assert len(run.stored()) == 1
    assert any("an earlier session was cut off there" in message for message in run.messages) == warned
    assert_put_right(device, run)


def one_error(run):
    """Return the one line that says what went wrong; what runs models, and where a run was stored, have their own."""
    others = ("stored as ", "models run in this toolkit's own C program")
    errors = [message for message in run.messages if not message.startswith(others)]
    assert len(errors) == 1, run.messages
    return errors[0]


def assert_says(message, pattern):
    """Check a message, and show it if it says something else."""
    assert re.search(pattern, message), message


def fill(file):
    """Let a file grow until its file system is full."""
    with suppress(OSError), file.open("wb", buffering=0) as stream:
        while stream.write(bytes(4096)):
            pass
