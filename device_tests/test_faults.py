"""What goes wrong on a device, on the way to it, or here: each ends in one line that says what to do, nothing is left
running or lying about on either side, nothing that was measured is lost, and the next run works.
"""

import shutil
import signal
import subprocess

import pytest

from device_tests.emulated_pi import hardware
from device_tests.fault_checks import (
    DEVICE_FAILED,
    assert_kept,
    assert_put_right,
    assert_says,
    assert_works,
    fill,
    one_error,
    put_right,
)
from device_tests.mnet_runs import AGENT_RUNS, NO_END, ONE_BLOCK, Run, connected_to, make_ready, until

pytestmark = [pytest.mark.emulated_only, pytest.mark.timeout(900)]
KEEPER = " --owner "  # in its command line


@pytest.fixture
def start(tmp_path, tiny_models):
    """Return a function that starts `mnet bench` with the tiny .tflite on a device: `start(pi, *options)`."""
    started = []

    def start_one(pi, *options, verb="bench"):
        folder = tmp_path / f"run{len(started)}"
        folder.mkdir()
        files = [tiny_models[".tflite"]] if verb == "bench" else []
        words = (*verb.split(), *files, "--device", pi.address, *options)
        started.append(Run(folder, *words, ssh_config=pi.ssh_config))
        return started[-1]

    yield start_one
    for run in started:
        run.__exit__()


@pytest.fixture
def ready_pi(fresh_pi):
    """Return a function that starts a stand-in on which `mnet bench` works: `ready_pi(**options)`."""

    def start_one(**options):
        pi = fresh_pi(**options)
        make_ready(pi)
        return pi

    return start_one


def signal_on(pi, pattern, name):
    """Send a signal to a program of Python on the device, and to no shell around it, by a piece of its command line."""
    done = pi.ssh(f"pkill -{name} -f -- '^[^ ]* [^ ]*python .*{pattern}'")  # the first word is QEMU's
    assert done.returncode == 0, f"{pattern!r}: {pi.processes()}"


def test_the_link_goes_down_and_comes_back(ready_pi, start):
    pi = ready_pi()
    run = start(pi, *NO_END)
    run.until_round(2, pi)
    pi.link_down()
    assert run.end() == DEVICE_FAILED
    assert "has not answered for 9 s" in one_error(run)
    assert_kept(run)
    assert pi.temporary_files() != []  # nothing tells the device yet
    pi.link_up()
    assert_put_right(pi, run)
    assert_works(pi, start)


def test_the_power_fails(ready_pi, start):
    pi = ready_pi()
    run = start(pi, *NO_END)
    run.until_round(2, pi)
    pi.power_cut()
    assert run.end() == DEVICE_FAILED
    assert "has not answered for 9 s" in one_error(run)
    assert_kept(run)
    assert run.leftovers(pi) == []
    pi.power_on()
    assert pi.temporary_files() != []  # this card kept them
    assert_works(pi, start, warned=True)


def test_its_ssh_sessions_are_killed(ready_pi, start):
    pi = ready_pi()
    run = start(pi, *NO_END)
    run.until_round(2, pi)
    pi.kill_sessions()
    assert run.end() == DEVICE_FAILED
    assert "its ssh server ended the connection" in one_error(run)
    assert_kept(run)
    assert_put_right(pi, run)
    assert_works(pi, start)


def test_its_disk_is_full_before_the_model_is_there(ready_pi, start, tiny_models):
    size = tiny_models[".tflite"].stat().st_size
    pi = ready_pi(small_tmp_bytes=size)
    run = start(pi, *NO_END)
    assert run.end() == DEVICE_FAILED
    assert "No space left on device" in one_error(run)
    assert run.stored() == []
    assert_put_right(pi, run)


def test_its_disk_fills_up(ready_pi, start):
    pi = ready_pi(small_tmp_bytes=4_000_000)
    run = start(pi, *NO_END)
    run.until_round(2, pi)
    filler = pi.path("/tmp/filler")
    fill(filler)
    assert run.end() == DEVICE_FAILED
    assert "No space left on device" in one_error(run)
    assert_kept(run)
    filler.unlink()
    assert_put_right(pi, run)
    assert_works(pi, start)


def test_the_agent_is_killed(ready_pi, start):
    pi = ready_pi()
    run = start(pi, *NO_END)
    run.until_round(2, pi)
    signal_on(pi, AGENT_RUNS, "KILL")
    assert run.end() == DEVICE_FAILED
    assert "the engine was killed by SIGKILL" in one_error(run)
    assert_kept(run)
    assert_put_right(pi, run)
    assert_works(pi, start)


def test_the_agent_hangs(ready_pi, start):
    """A stopped process hears neither that its input ends nor SIGTERM."""
    pi = ready_pi()
    run = start(pi, *NO_END, "--block-timeout", "25s")
    run.until_round(2, pi)
    signal_on(pi, AGENT_RUNS, "STOP")
    assert run.end() == DEVICE_FAILED
    assert "a block did not end within 25 s and was stopped" in one_error(run)
    assert_kept(run)
    assert_put_right(pi, run)
    assert_works(pi, start)


def test_the_keeper_is_killed(ready_pi, start):
    pi = ready_pi()
    run = start(pi, *NO_END)
    run.until_round(2, pi)
    signal_on(pi, KEEPER, "KILL")
    assert run.end() == DEVICE_FAILED
    assert "the program that held the device ended there (killed by SIGKILL)" in one_error(run)
    assert_kept(run)
    assert run.leftovers(pi) == []
    until(lambda: not pi.processes(), "the agent's end")
    assert pi.temporary_files() != []  # who should have removed them is dead
    assert_works(pi, start, warned=True)


def test_the_engine_crashes(ready_pi, start):
    """A kernel for a newer processor ends the engine with SIGILL."""
    pi = ready_pi()
    run = start(pi, *NO_END)
    run.until_round(2, pi)
    pretend_to_be(pi, "cortex-a76")
    assert run.end() == DEVICE_FAILED
    assert "the engine was killed by SIGILL" in one_error(run)
    assert_kept(run)
    assert_put_right(pi, run)
    pretend_to_be(pi, "cortex-a72")
    assert_works(pi, start)


def pretend_to_be(pi, cpu):
    hardware.overwrite(pi.folder / "cpuinfo", hardware.cpuinfo(hardware.BOARDS[cpu]))


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ({"wrong_host_key": True}, "the host key of .* is not the one that is known.* ssh-keygen -f .* -R "),
        ({"authorize_key": False}, "it wants a password, and none can be given here.* ssh-copy-id "),
        ({"hide_python": True}, "there is no python3; on the device, sudo apt install python3-venv, then mnet device "),
        ({}, "no engine is installed in /usr/bin/python3; mnet device setup --device "),
    ],
)
def test_a_device_that_cannot_be_used(fresh_pi, start, option, said):
    pi = fresh_pi(**option)
    run = start(pi, *ONE_BLOCK)
    assert run.end() == DEVICE_FAILED
    assert_says(one_error(run), said)
    assert run.stored() == []
    assert_put_right(pi, run)


def test_it_heats_up(ready_pi, start):
    pi = ready_pi()
    run = start(pi, *ONE_BLOCK[:-4], "--min-blocks", "4", "--max-blocks", "4")
    run.until_round(2, pi)
    pi.set_temperature_c(84)
    pi.set_throttled(0x40004)
    assert run.end() == 1
    (stored,) = run.stored()
    (measurement,) = stored["measurements"]
    assert measurement["verdict"] == "INVALID"
    reasons = {reason["rule"]: reason["text"] for reason in measurement["reasons"]}
    assert "The device reported throttling after block" in reasons["throttled"]
    assert "The device reached 84 °C" in reasons["hot"]
    assert "INVALID: The device reported throttling" in run.stdout
    assert_put_right(pi, run)
    pi.set_temperature_c(48)
    pi.set_throttled(0)
    assert_works(pi, start)


def test_its_governor_refuses(ready_pi, start):
    pi = ready_pi()
    before = pi.governor()
    run = start(pi, *ONE_BLOCK, "--pin")
    assert run.end() == DEVICE_FAILED
    assert_says(one_error(run), "scaling_governor cannot be set to performance; that needs root, or sudo without")
    assert run.stored() == []
    assert pi.governor() == before
    assert_put_right(pi, run)
    assert_works(pi, start)


def test_its_governor_is_set_back_although_the_link_stays_down(ready_pi, start):
    pi = ready_pi(governor_writable=True)
    before = pi.governor()
    run = start(pi, *NO_END, "--pin", "--block-timeout", "25s")
    run.until_round(2, pi)
    assert pi.governor() == "performance" != before
    pi.link_down()
    assert run.end() == DEVICE_FAILED
    assert_put_right(pi, run)  # nobody tells the device: it has heard nothing for too long
    assert pi.governor() == before
    pi.link_up()
    assert_works(pi, start)


def test_two_at_once(ready_pi, start):
    pi = ready_pi()
    first = start(pi, *NO_END)
    first.until_round(1, pi)
    second = start(pi, *ONE_BLOCK)
    assert second.end() == DEVICE_FAILED
    assert_says(one_error(second), r"is being measured on by \S+ on \S+ since .* UTC; wait until that has ended")
    assert second.stored() == []
    first.until_round(3, pi)  # it did not notice
    first.process.send_signal(signal.SIGINT)
    assert first.end() == 130
    assert_put_right(pi, first)
    assert_works(pi, start)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_the_user_stops_it(ready_pi, start, number):
    pi = ready_pi(governor_writable=True)
    before = pi.governor()
    run = start(pi, *NO_END, "--pin")
    run.until_round(2, pi)
    run.process.send_signal(number)
    assert run.end() == 130
    assert one_error(run) == "interrupted"
    assert_kept(run)
    assert_put_right(pi, run)
    assert pi.governor() == before
    assert_works(pi, start)


def test_mnet_itself_is_killed(ready_pi, start):
    """Nothing here can clean up then; the device does."""
    pi = ready_pi(governor_writable=True)
    before = pi.governor()
    run = start(pi, *NO_END, "--pin")
    run.until_round(2, pi)
    run.process.kill()
    assert run.end() == -signal.SIGKILL
    until(lambda: put_right(pi), "the device's cleaning up")
    assert pi.governor() == before
    end_shared_connection(pi, run)
    assert_works(pi, start)


def end_shared_connection(pi, run):
    """End what would end by itself, after a minute without use."""
    (folder,) = run.control_folders
    subprocess.run(("ssh", "-O", "exit", "-S", folder / "s", pi.ip), check=True, capture_output=True, timeout=60)
    until(lambda: connected_to(pi) == [], "the end of the shared connection")
    shutil.rmtree(folder)
