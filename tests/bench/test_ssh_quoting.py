"""What reaches a program behind ssh, and what comes back; `ssh` is a stand-in: a shell runs its last argument."""

import shutil
import sys
from pathlib import Path

import pytest

from mnet_deploy.errors import CommandFailed, CommandTimeout, DeviceUnavailable, LinkLost, SpecError, ToolMissing
from mnet_deploy.runners.transports.address import DeviceAddress
from mnet_deploy.runners.transports.deadline import Deadline
from mnet_deploy.runners.transports.local_transport import LocalTransport
from mnet_deploy.runners.transports.open_transport import open_transport
from mnet_deploy.runners.transports.ssh_transport import SshTransport

SOON = 30.0  # seconds
STAND_IN = r"""#!/bin/sh
printf '%s\n' "$*" | head -n 1 >>"$STAND_IN_LOG"
while [ "$1" != -- ]; do
    case $1 in ControlPath=*) path=${1#*=} ;; esac
    shift
done
shift 2
if [ $# = 0 ]; then : >"$path"; exit 0; fi
eval "$STAND_IN_RUNS"
"""
STRANGE = [
    "a b",
    "'",
    '"',
    "$(id)",
    "`id`",
    "a\nb",
    "*",
    "~",
    "",
    "-n",
    "\\",
    "\\n",
    "ä",
    "a;b",
    "a&b",
    "#",
    "!!",
    "%d",
]


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """Put an `ssh` on the path; return a function that sets what it does with the line in $1."""
    folder = tmp_path / "stand-in"
    folder.mkdir()
    (folder / "ssh").write_text(STAND_IN)
    (folder / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    monkeypatch.setenv("STAND_IN_LOG", str(folder / "log"))
    monkeypatch.setenv("STAND_IN_RUNS", 'exec sh -c "$1"')
    return lambda runs: monkeypatch.setenv("STAND_IN_RUNS", runs)


@pytest.fixture
def log(tmp_path, stand_in):
    """Return the first line of every call's arguments."""
    return lambda: (tmp_path / "stand-in" / "log").read_text().splitlines()


@pytest.fixture
def ssh(stand_in):
    with SshTransport(DeviceAddress.parse("ssh://pi@host:2222"), config=Path("/a config")) as transport:
        yield transport


@pytest.fixture
def start(ssh):
    started = []

    def start(*argv):
        started.append(ssh.start(argv, deadline=Deadline.after(SOON)))
        return started[-1]

    yield start
    for process in started:
        process.stop()


@pytest.mark.parametrize("shell", ["sh", "bash", "busybox sh", "mksh", "zsh", "fish"])
def test_arguments_arrive_as_they_are_whatever_the_login_shell(ssh, start, stand_in, shell):
    if not shutil.which(shell.split()[0]):
        pytest.skip(f"needs {shell}")
    stand_in(f'exec {shell} -c "$1"')
    program = "import json, sys; print(json.dumps(sys.argv[1:]))"
    argv = [sys.executable, "-c", program, *STRANGE]
    here = LocalTransport().run(argv, deadline=Deadline.after(SOON))
    there = ssh.run(argv, deadline=Deadline.after(SOON))
    assert there == here
    assert start(*argv).wait(Deadline.after(SOON)) == here


def test_a_program_may_end_as_ssh_does(ssh, start):
    argv = ["sh", "-c", "echo said; exit 255"]
    result = ssh.run(argv, deadline=Deadline.after(SOON))
    assert (result.return_code, result.stdout, result.stderr) == (255, "said\n", "")
    assert start(*argv).wait(Deadline.after(SOON)) == result


def test_a_program_that_a_signal_ends_is_no_lost_link(ssh, start):
    argv = ["sh", "-c", "echo said; kill -KILL $$"]
    result = ssh.run(argv, deadline=Deadline.after(SOON))
    assert (result.ending, result.stdout) == ("killed by SIGKILL", "said\n")
    process = start(*argv)
    assert list(process.lines(Deadline.after(SOON))) == ["said"]
    assert process.wait(Deadline.after(SOON)).ending == "killed by SIGKILL"


@pytest.mark.parametrize("argv", [["exit", "3"], ["mnet-no-such-program"]])
def test_what_is_no_program_is_not_run_by_the_shell(ssh, argv):
    result = ssh.run(argv, deadline=Deadline.after(SOON))
    assert result.return_code == 127
    assert "not found" in result.stderr


def test_what_login_scripts_print_is_not_the_programs(ssh, start, stand_in):
    stand_in('echo Welcome; echo; exec sh -c "$1"')
    assert ssh.run(["echo", "said"], deadline=Deadline.after(SOON)).stdout == "said\n"
    assert list(start("echo", "said").lines(Deadline.after(SOON))) == ["said"]


def test_the_end_is_found_behind_much_that_was_said(ssh):
    result = ssh.run(["sh", "-c", "head -c 300000 /dev/zero | tr '\\0' e >&2; exit 4"], deadline=Deadline.after(SOON))
    assert result.return_code == 4
    assert set(result.stderr) == {"e"}


def test_not_reached(ssh, start, stand_in):
    stand_in('echo "ssh: connect to host host port 2222: Connection refused" >&2; exit 255')
    for call in (lambda: ssh.run(["true"], deadline=Deadline.after(SOON)), lambda: start("true")):
        with pytest.raises(DeviceUnavailable, match="host answers, but not for ssh"):
            call()


def test_lost_meanwhile(ssh, start, stand_in):
    stand_in('sh -c "$1" 2>/dev/null; echo "Connection to host closed by remote host." >&2; exit 255')
    with pytest.raises(LinkLost, match="its ssh server ended the connection"):
        ssh.run(["echo", "said"], deadline=Deadline.after(SOON))
    process = start("printf", "one\ntw")
    lines = process.lines(Deadline.after(SOON))
    assert next(lines) == "one"
    with pytest.raises(LinkLost, match="its ssh server ended the connection"):
        next(lines)
    with pytest.raises(LinkLost, match="its ssh server ended the connection"):
        process.wait(Deadline.after(SOON))


@pytest.mark.parametrize("runs", ["sleep 60", 'sh -c "$1"; sleep 60'])
def test_a_way_that_goes_silent_ends_at_the_deadline(ssh, stand_in, runs):
    stand_in(runs)
    with pytest.raises(CommandTimeout, match="ssh://pi@host:2222 true did not end in time"):
        ssh.run(["true"], deadline=Deadline.after(0.2))


def test_a_start_that_goes_silent_ends_at_the_deadline(ssh, stand_in):
    stand_in("sleep 60")
    with pytest.raises(CommandTimeout, match="did not end in time"):
        ssh.start(["true"], deadline=Deadline.after(0.2))


@pytest.mark.parametrize("name", ["a b", "$(id)", "it's", 'say "x"', "a\nb", "ä"])
def test_files_are_copied_whole_whatever_their_name(ssh, tmp_path, name):
    content = bytes(range(256)) * 1000
    here, there, back = tmp_path / "here", tmp_path / "there" / name, tmp_path / "back"
    here.write_bytes(content)
    there.parent.mkdir()
    assert ssh.push(here, str(there), deadline=Deadline.after(SOON)) == len(content)
    assert [path.name for path in there.parent.iterdir()] == [name]
    assert ssh.pull(str(there), back, deadline=Deadline.after(SOON)) == len(content)
    assert back.read_bytes() == content


def test_without_sha256sum_there_is_shasum(ssh, stand_in, tmp_path):
    tools = tmp_path / "tools"
    tools.mkdir()
    for tool in ("sh", "cat", "mv", "rm", "shasum"):
        if not shutil.which(tool):
            pytest.skip(f"needs {tool}")
        (tools / tool).symlink_to(shutil.which(tool))
    stand_in(f'PATH={tools} exec sh -c "$1"')
    (tmp_path / "here").write_bytes(b"content")
    ssh.push(tmp_path / "here", str(tmp_path / "there"), deadline=Deadline.after(SOON))
    assert (tmp_path / "there").read_bytes() == b"content"


def test_without_either_the_device_cannot_compare(ssh, stand_in, tmp_path):
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "sh").symlink_to(shutil.which("sh"))
    stand_in(f'PATH={tools} exec sh -c "$1"')
    (tmp_path / "here").write_bytes(b"content")
    with pytest.raises(CommandFailed, match="there cannot be written: there is no sha256sum to compare files with"):
        ssh.push(tmp_path / "here", str(tmp_path / "there"), deadline=Deadline.after(SOON))
    assert not (tmp_path / "there").exists()


def test_a_push_that_is_cut_off_leaves_nothing_there(ssh, stand_in, tmp_path):
    (tmp_path / "here").write_bytes(b"content" * 1000)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "there").write_bytes(b"earlier")
    stand_in('head -c 100 | sh -c "$1"')
    with pytest.raises(CommandFailed, match="there cannot be written: it arrived damaged"):
        ssh.push(tmp_path / "here", str(tmp_path / "folder" / "there"), deadline=Deadline.after(SOON))
    assert [path.read_bytes() for path in (tmp_path / "folder").iterdir()] == [b"earlier"]


def test_a_pull_that_is_cut_off_leaves_nothing_here(ssh, stand_in, tmp_path):
    (tmp_path / "there").write_bytes(b"content" * 1000)
    stand_in('sh -c "$1" | head -c 1000')
    with pytest.raises(CommandFailed, match="arrived damaged"):
        ssh.pull(str(tmp_path / "there"), tmp_path / "back", deadline=Deadline.after(SOON))
    assert not (tmp_path / "back").exists()


def test_refused_copies_have_the_devices_own_words(ssh, tmp_path):
    (tmp_path / "here").write_bytes(b"content")
    with pytest.raises(CommandFailed, match="cannot be written: Is a directory"):
        ssh.push(tmp_path / "here", str(tmp_path), deadline=Deadline.after(SOON))
    with pytest.raises(CommandFailed, match=r"cannot be written: .*irectory"):
        ssh.push(tmp_path / "here", str(tmp_path / "no" / "folder"), deadline=Deadline.after(SOON))
    with pytest.raises(CommandFailed, match=r"cannot be read: .*No such file"):
        ssh.pull(str(tmp_path / "nothing"), tmp_path / "back", deadline=Deadline.after(SOON))


def test_short_commands_share_a_connection_and_the_stream_has_its_own(ssh, start, log):
    ssh.run(["true"], deadline=Deadline.after(SOON))
    ssh.run(["true"], deadline=Deadline.after(SOON))
    start("true").wait(Deadline.after(SOON))
    ssh.close()
    ssh.close()
    master, first, second, stream, end = log()
    assert " -M " in master
    assert all(" ControlMaster=no -o ControlPath=/tmp/mnet-ssh-" in call for call in (first, second))
    assert " ControlPath=none " in stream
    assert " -O exit " in end
    folder = end.partition("ControlPath=")[2].partition(" ")[0]
    assert not Path(folder).parent.exists()


def test_what_ssh_is_told(ssh, log):
    ssh.run(["true"], deadline=Deadline.after(SOON))
    for call in log():
        options, destination = call.split(" -- ")
        assert destination.split()[0] == "pi@host"
        assert options.startswith("-F /a config -o BatchMode=yes -o StrictHostKeyChecking=yes ")
        assert " -p 2222 " in options


def test_without_ssh_it_is_asked_for(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolMissing, match="openssh-client"):
        SshTransport(DeviceAddress.parse("ssh://host"))


def test_the_address_leads_to_the_way(stand_in, monkeypatch, tmp_path):
    assert type(open_transport(DeviceAddress.parse("local:"))) is LocalTransport
    assert type(open_transport(DeviceAddress.parse("ssh://host"))) is SshTransport
    monkeypatch.setenv("MNET_SSH_CONFIG", str(tmp_path / "none"))
    with pytest.raises(SpecError, match="MNET_SSH_CONFIG must name a file"):
        open_transport(DeviceAddress.parse("ssh://host"))


def test_the_environment_names_another_configuration(stand_in, log, monkeypatch, tmp_path):
    (tmp_path / "config").touch()
    monkeypatch.setenv("MNET_SSH_CONFIG", str(tmp_path / "config"))
    with open_transport(DeviceAddress.parse("ssh://host")) as transport:
        transport.run(["true"], deadline=Deadline.after(SOON))
    assert all(call.startswith(f"-F {tmp_path / 'config'} ") for call in log())
