"""The way to a device over ssh, with the real client and a real server, and everything that goes wrong on it."""

import os
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from mnet_deploy.errors import CommandFailed, CommandTimeout, DeviceUnavailable, LinkLost
from mnet_deploy.runners.probe import probe_conditions, probe_device, probe_python, probe_userland
from mnet_deploy.runners.transports import ssh_client
from mnet_deploy.runners.transports.address import DeviceAddress
from mnet_deploy.runners.transports.deadline import Deadline
from mnet_deploy.runners.transports.ssh_transport import SshTransport

LONG_S = 120.0  # for what takes a second on a quiet machine
MODEL_BYTES = 20_000_000
COUNTING = "import itertools, time\nfor number in itertools.count(): print(number, flush=True); time.sleep(0.05)"
STRANGE = ["a b", "'", '"', "$(id)", "a\nb", "*", "", "-n", "\\", "ä"]
LOST = ["link_down", "power_cut", "kill_sessions"]


def in_time():
    return Deadline.after(LONG_S)


def way_to(pi, address=None):
    return SshTransport(DeviceAddress.parse(address or pi.address), config=pi.ssh_config)


@pytest.fixture
def ssh(pi):
    with way_to(pi) as transport:
        yield transport


@pytest.fixture
def folder(ssh):
    """Return a folder on the device, removed afterwards."""
    path = ssh.run_check(["mktemp", "-d"], deadline=in_time()).stdout.strip()
    yield path
    ssh.run_check(["rm", "-r", path], deadline=in_time())


def test_programs_get_their_arguments_and_input_as_they_are(ssh, pi):
    program = "import sys; print(sys.argv[1:], sys.stdin.read())"
    argv = [pi.python, "-c", program, *STRANGE]
    assert ssh.run_check(argv, deadline=in_time(), stdin=b"given").stdout == f"{STRANGE} given\n"
    process = ssh.start(argv, deadline=in_time())
    process.write("said later")
    assert process.wait(in_time()).stdout == f"{STRANGE} said later\n"


def test_how_programs_end(ssh):
    killed = ssh.run(["sh", "-c", "kill -KILL $$"], deadline=in_time())
    assert killed.ending == "killed by SIGKILL"
    assert ssh.run(["sh", "-c", "exit 255"], deadline=in_time()).return_code == 255
    assert ssh.run(["mnet-no-such-program"], deadline=in_time()).return_code == 127


def test_a_program_that_is_killed_there_is_no_lost_link(ssh, pi):
    process = ssh.start([pi.python, "-c", f"import os; print(os.getpid(), flush=True)\n{COUNTING}"], deadline=in_time())
    lines = process.lines(in_time())
    pid = next(lines)
    assert next(lines) == "0"
    ssh.run_check(["kill", "-KILL", pid], deadline=in_time())
    assert all(line.isdecimal() for line in lines)
    assert process.wait(in_time()).ending == "killed by SIGKILL"


def test_a_program_sees_the_end_of_its_input_when_it_is_stopped_from_here(ssh, pi, folder):
    program = "import sys, pathlib; print('ready', flush=True); sys.stdin.read(); pathlib.Path(sys.argv[1]).touch()"
    process = ssh.start([pi.python, "-c", program, f"{folder}/ended"], deadline=in_time())
    assert next(process.lines(in_time())) == "ready"
    process.stop()
    deadline = in_time()
    while ssh.run(["test", "-e", f"{folder}/ended"], deadline=deadline).return_code:
        time.sleep(0.1)


def test_files_arrive_whole_there_and_back(ssh, folder, tmp_path):
    (tmp_path / "here").write_bytes(os.urandom(MODEL_BYTES))
    assert ssh.push(tmp_path / "here", f"{folder}/a $(b) 'c'", deadline=in_time()) == MODEL_BYTES
    assert ssh.run_check(["ls", folder], deadline=in_time()).stdout == "a $(b) 'c'\n"
    assert ssh.pull(f"{folder}/a $(b) 'c'", tmp_path / "back", deadline=in_time()) == MODEL_BYTES
    assert (tmp_path / "back").read_bytes() == (tmp_path / "here").read_bytes()


def test_what_the_device_refuses_has_its_own_words(ssh, folder, tmp_path):
    (tmp_path / "here").write_bytes(b"content")
    with pytest.raises(CommandFailed, match="cannot be written: Is a directory"):
        ssh.push(tmp_path / "here", folder, deadline=in_time())
    with pytest.raises(CommandFailed, match=r"cannot be read: .*No such file"):
        ssh.pull(f"{folder}/nothing", tmp_path / "back", deadline=in_time())
    assert not (tmp_path / "back").exists()


def test_a_program_that_does_not_end_is_left_at_the_deadline(ssh):
    program = ["sleep", "654.321"]
    with pytest.raises(CommandTimeout, match="sleep did not end in time"):
        ssh.run(program, deadline=Deadline.after(3))
    process = ssh.start(program, deadline=in_time())
    with pytest.raises(CommandTimeout, match="sleep did not end in time"):
        process.wait(Deadline.after(0.2))
    # Nobody tells a program there that reads no input: those of ours do.
    ssh.run_check(["pkill", "-f", "sleep 654[.]321"], deadline=in_time())  # the pattern does not fit itself


def test_what_the_device_is(ssh, pi):
    device = probe_device(ssh, in_time())
    assert device.address == pi.address
    assert device.machine in ("aarch64", "armv7l", "armv6l", "x86_64")
    assert device.cores
    assert device.memory_bytes > 100_000_000
    found = probe_userland(ssh, in_time(), python=pi.python)
    assert found.python.bits in (32, 64)
    assert found.glibc == found.python.glibc
    assert found.free_home_bytes > 0


@pytest.mark.emulated_only
def test_the_stand_in_is_a_pi_and_says_that_it_is_emulated(ssh):
    device = probe_device(ssh, in_time())
    assert (device.model, device.soc) == ("Raspberry Pi 4 Model B Rev 1.5", "BCM2711 (Cortex-A72)")
    assert [core.max_clock_hz for core in device.cores] == [1.8e9] * 4
    assert device.emulated == "qemu-user"


def test_conditions_follow_the_hardware(fresh_pi):
    pi = fresh_pi()
    with way_to(pi) as ssh:
        before = probe_conditions(ssh, in_time(), busy=True)
        pi.set_temperature_c(81.25)
        pi.set_throttled(0x50005)
        pi.set_clock_hz(1.5e9)
        pi.set_governor("performance")
        pi.set_load(2.5)
        after = probe_conditions(ssh, in_time(), busy=False)
    assert (before.temperature_c, before.throttle_bits, before.governor) == (48.7, 0, "ondemand")
    assert before.busy_cores >= 0
    assert before.free_memory_bytes > 0
    assert (after.temperature_c, after.throttle_bits, after.governor) == (81.25, 0x50005, "performance")
    assert after.clocks_hz == (1.5e9,) * 4
    assert (after.load_1min, after.busy_cores) == (2.5, None)


def test_a_device_without_python_is_known_all_the_same(fresh_pi):
    with way_to(fresh_pi(hide_python=True)) as ssh:
        assert probe_python(ssh, in_time()) is None
        assert probe_device(ssh, in_time()).machine == "aarch64"
        assert probe_userland(ssh, in_time()).home


def test_python_without_what_debian_packs_apart(fresh_pi):
    with way_to(fresh_pi(hide_venv=True)) as ssh:
        python = probe_python(ssh, in_time())
    assert (python.has_venv, python.has_pip, python.platform) == (False, False, "linux-aarch64")


def refusals(pi):
    """Return what running a program and starting one say."""
    said = []
    with way_to(pi) as ssh:
        for call in (ssh.run, ssh.start):
            with pytest.raises(DeviceUnavailable) as caught:
                call(["true"], deadline=in_time())
            said.append(str(caught.value))
    return said


def test_a_host_that_wants_a_password(fresh_pi):
    pi = fresh_pi(authorize_key=False)
    for said in refusals(pi):
        assert f"ssh-copy-id -F {pi.ssh_config} pi@{pi.ip} " in said


def test_a_host_with_another_key_than_known(fresh_pi):
    pi = fresh_pi(wrong_host_key=True)
    for said in refusals(pi):
        assert f"Only if you know why, run ssh-keygen -f {pi.known_hosts} -R {pi.ip}, then ssh -F" in said


def test_a_host_with_an_unknown_key(fresh_pi):
    pi = fresh_pi()
    pi.known_hosts.write_text("")
    for said in refusals(pi):
        assert f"run once: ssh -F {pi.ssh_config} pi@{pi.ip}, compare the fingerprint" in said
    assert pi.known_hosts.read_text() == ""


def test_a_host_that_cannot_be_reached(fresh_pi):
    pi = fresh_pi()
    pi.link_down()
    for said in refusals(pi):
        assert "is it switched on and in this network?" in said


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("ssh://pi@{pi.ip}:23", "answers, but not for ssh"),
        ("ssh://nobody@{pi.ip}", "none of your keys for nobody@"),
        ("ssh://pi@mnet-no-such-host.invalid", "nothing is known under the name mnet-no-such-host.invalid"),
    ],
)
def test_a_wrong_address(fresh_pi, address, expected):
    pi = fresh_pi()
    with way_to(pi, address.format(pi=pi)) as ssh, pytest.raises(DeviceUnavailable, match=expected):
        ssh.run(["true"], deadline=in_time())


@pytest.fixture
def behind(fresh_pi):
    """Return a device that is reached through itself, as by a jump host, and the way there."""
    pi = fresh_pi()
    jump = f"Host behind\n  HostName 127.0.0.1\n  HostKeyAlias {pi.ip}\n  User pi\n  ProxyJump {pi.name}\n"
    common = f"  IdentityFile {pi.key}\n  UserKnownHostsFile {pi.known_hosts}\n"
    with pi.ssh_config.open("a") as config:
        config.write(jump + common)
    with way_to(pi, "ssh://behind") as ssh:
        yield pi, ssh


def test_a_jump_host(behind):
    _, ssh = behind
    assert ssh.run_check(["uname", "-m"], deadline=in_time()).stdout == "aarch64\n"
    assert ssh.start(["uname", "-m"], deadline=in_time()).wait(in_time()).stdout == "aarch64\n"


def test_a_jump_host_that_is_unknown(behind):
    pi, ssh = behind
    pi.known_hosts.write_text("")
    with pytest.raises(DeviceUnavailable, match=r"run once: ssh -F .* behind, compare the fingerprint"):
        ssh.run(["true"], deadline=in_time())


@pytest.mark.parametrize("fault", LOST)
@pytest.mark.parametrize("program", [["/usr/bin/python3", "-c", COUNTING], ["sleep", "600"]], ids=["talking", "silent"])
def test_a_link_that_is_lost_while_a_program_runs(fresh_pi, fault, program):
    pi = fresh_pi()
    with way_to(pi) as ssh:
        process = ssh.start(program, deadline=in_time())
        lines = process.lines(in_time())
        if program[0] != "sleep":
            assert [next(lines), next(lines)] == ["0", "1"]
        getattr(pi, fault)()
        for call in (lambda: list(lines), lambda: process.wait(in_time())):
            with pytest.raises(LinkLost, match=r"while .* was running"):
                call()
        process.stop()


@pytest.mark.parametrize("fault", LOST)
def test_a_link_that_is_lost_during_a_short_command(fresh_pi, fault):
    pi = fresh_pi()
    with way_to(pi) as ssh:
        ssh.run_check(["true"], deadline=in_time())
        timer = threading.Timer(1, getattr(pi, fault))
        timer.start()
        with pytest.raises(LinkLost, match="while sleep was running"):
            ssh.run(["sleep", "600"], deadline=in_time())
        timer.join()


def test_after_a_lost_session_the_next_command_connects_anew(fresh_pi):
    pi = fresh_pi()
    with way_to(pi) as ssh:
        ssh.run_check(["true"], deadline=in_time())
        pi.kill_sessions()
        assert ssh.run_check(["hostname"], deadline=in_time()).stdout == "fresh\n"


def test_a_full_disk(fresh_pi, tmp_path):
    pi = fresh_pi(small_tmp_bytes=1_000_000)
    (tmp_path / "small").write_bytes(b"earlier")
    (tmp_path / "large").write_bytes(bytes(2_000_000))
    with way_to(pi) as ssh:
        ssh.push(tmp_path / "small", "/tmp/model", deadline=in_time())
        with pytest.raises(CommandFailed, match=r"/tmp/model cannot be written: .*No space left on device"):
            ssh.push(tmp_path / "large", "/tmp/model", deadline=in_time())
        assert pi.temporary_files() == ["/tmp/model"]
        assert ssh.run_check(["cat", "/tmp/model"], deadline=in_time()).stdout == "earlier"


@pytest.mark.parametrize("fault", LOST)
def test_a_link_that_is_lost_while_a_file_is_copied(fresh_pi, tmp_path, fault):
    pi = fresh_pi()
    (tmp_path / "large").write_bytes(bytes(10 * MODEL_BYTES))
    with way_to(pi) as ssh:
        ssh.run_check(["true"], deadline=in_time())
        waiting = threading.Thread(target=when_it_arrives, args=(pi, getattr(pi, fault)))
        waiting.start()
        with pytest.raises(LinkLost, match="while copying large was running"):
            ssh.push(tmp_path / "large", "/tmp/model", deadline=in_time())
        waiting.join()
    if fault == "link_down":
        pi.link_up()
    if fault != "power_cut":  # after one the part lies there until somebody removes it
        until_gone(pi)


def when_it_arrives(pi, then):
    deadline = in_time()
    while not pi.temporary_files() and not deadline.expired:
        time.sleep(0.01)
    then()


def until_gone(pi):
    deadline = in_time()
    while pi.temporary_files():
        deadline.require("removing the part of a file")
        time.sleep(0.1)


def test_nothing_is_left_here(pi, monkeypatch):
    with tempfile.TemporaryDirectory(dir="/tmp") as sockets:
        monkeypatch.setattr(ssh_client, "SOCKETS", sockets)
        with way_to(pi) as ssh:
            ssh.run_check(["true"], deadline=in_time())
            assert sockets in commands()
        assert list(Path(sockets).iterdir()) == []
        deadline = in_time()
        while sockets in commands():
            deadline.require("the shared connection")
            time.sleep(0.05)


def commands():
    """Return the command lines of this machine."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has ended
            found.append(file.read_text(errors="replace").replace("\0", " "))
    return "\n".join(found)
