"""What reaches a program behind adb, and what comes back; `adb` is a stand-in: a shell runs its last argument."""

import shutil
import socket
import sys
import threading
from pathlib import Path

import pytest

from mnet_deploy.errors import CommandFailed, CommandTimeout, DeviceUnavailable, LinkLost, SpecError, ToolMissing
from mnet_deploy.runners.transports import adb_client
from mnet_deploy.runners.transports.adb_client import find_adb
from mnet_deploy.runners.transports.adb_transport import AdbTransport
from mnet_deploy.runners.transports.address import DeviceAddress
from mnet_deploy.runners.transports.deadline import Deadline
from mnet_deploy.runners.transports.local_transport import LocalTransport
from mnet_deploy.runners.transports.open_transport import open_transport

SOON = 30.0  # seconds
# Like adb, it makes one string of its arguments.
STAND_IN = r"""#!/bin/sh
printf '%s\n' "$*" | head -n 1 >>"$STAND_IN_LOG"
if [ "$1" = -s ]; then shift 2; fi
verb=$1; shift
case $verb in
version) printf 'Android Debug Bridge version 1.0.%s\nVersion 29.0.6-debian\n' "${STAND_IN_VERSION-41}" ;;
start-server) echo '* daemon not running; starting now at tcp:5037' >&2 ;;
get-serialno) echo only-one ;;
get-state) echo "${STAND_IN_STATE-device}" ;;
features) echo "${STAND_IN_FEATURES-shell_v2}" ;;
exec-out) exec sh -c "$*" 2>&1 ;;
*) eval "$STAND_IN_RUNS" ;;
esac
"""
WORKS = 'case $verb in shell) exec sh -c "$*" ;; push | pull) cp "$1" "$2" ;; esac'
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
def port(monkeypatch):
    """Let adb's server have a port where nothing listens yet; that of this machine's user is left alone."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        number = free.getsockname()[1]
    monkeypatch.delenv("ADB_SERVER_SOCKET", raising=False)
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(number))
    return number


@pytest.fixture
def stand_in(tmp_path, monkeypatch, port):
    """Put an `adb` on the path; return a function that sets what it does in a shell, a push and a pull."""
    folder = tmp_path / "stand-in"
    folder.mkdir()
    (folder / "adb").write_text(STAND_IN)
    (folder / "adb").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    monkeypatch.delenv("MNET_ADB", raising=False)
    monkeypatch.setenv("STAND_IN_LOG", str(folder / "log"))
    monkeypatch.setenv("STAND_IN_RUNS", WORKS)
    return lambda runs: monkeypatch.setenv("STAND_IN_RUNS", runs)


@pytest.fixture
def log(tmp_path, stand_in):
    """Return the first line of every call's arguments."""
    return lambda: (tmp_path / "stand-in" / "log").read_text().splitlines()


@pytest.fixture
def adb(stand_in):
    return AdbTransport(DeviceAddress.parse("adb://192.168.1.5:5555"))


@pytest.fixture
def start(adb):
    started = []

    def start(*argv):
        started.append(adb.start(argv, deadline=Deadline.after(SOON)))
        return started[-1]

    yield start
    for process in started:
        process.stop()


def in_time():
    return Deadline.after(SOON)


@pytest.mark.parametrize("shell", ["sh", "busybox sh", "mksh"])
def test_arguments_arrive_as_they_are(adb, start, stand_in, shell):
    if not shutil.which(shell.split()[0]):
        pytest.skip(f"needs {shell}")
    stand_in(f'exec {shell} -c "$*"')
    argv = [sys.executable, "-c", "import json, sys; print(json.dumps(sys.argv[1:]), sys.stdin.read())", *STRANGE]
    here = LocalTransport().run(argv, deadline=in_time(), stdin=b"given")
    assert adb.run(argv, deadline=in_time(), stdin=b"given") == here
    process = start(*argv)
    process.write("given")
    assert process.wait(in_time()) == here


@pytest.mark.parametrize(
    ("script", "ending"),
    [("exit 255", "exit status 255"), ("exit 0", "exit status 0"), ("kill -KILL $$", "killed by SIGKILL")],
)
@pytest.mark.parametrize("exit_status", [0, 255])
def test_how_a_program_ended_is_not_what_adb_says(adb, start, stand_in, script, ending, exit_status):
    stand_in(f'sh -c "$*"; exit {exit_status}')
    argv = ["sh", "-c", f"echo said; echo also >&2; {script}"]
    for result in (adb.run(argv, deadline=in_time()), start(*argv).wait(in_time())):
        assert (result.ending, result.stdout) == (ending, "said\n")
        assert result.stderr.removesuffix("Killed\n") == "also\n"  # some shells say so


@pytest.mark.parametrize("exit_status", [0, 1, 255])
def test_a_missing_end_is_a_lost_link_whatever_adb_exits_with(adb, start, stand_in, exit_status):
    stand_in(f'sh -c "$*" 2>/dev/null; exit {exit_status}')
    with pytest.raises(LinkLost, match=r"while echo was running"):
        adb.run(["echo", "said"], deadline=in_time())
    process = start("printf", "one\ntw")
    lines = process.lines(in_time())
    assert next(lines) == "one"
    for call in (lambda: next(lines), lambda: process.wait(in_time())):
        with pytest.raises(LinkLost, match=r"while printf was running"):
            call()


@pytest.mark.parametrize("exit_status", [0, 255])
def test_a_link_that_ends_before_the_program_starts(adb, start, stand_in, exit_status):
    stand_in(f"exit {exit_status}")
    for call in (lambda: adb.run(["true"], deadline=in_time()), lambda: start("true")):
        with pytest.raises(LinkLost, match=r"when true was to be started"):
            call()


def test_a_phone_that_is_unplugged_between_commands(adb, stand_in, tmp_path):
    (tmp_path / "here").write_bytes(b"content")
    adb.run(["true"], deadline=in_time())
    stand_in("""echo "error: device '192.168.1.5:5555' not found" >&2; exit 1""")
    for call in (
        lambda: adb.run(["true"], deadline=in_time()),
        lambda: adb.push(tmp_path / "here", "/there", deadline=in_time()),
    ):
        with pytest.raises(DeviceUnavailable, match=r"no phone 192\.168\.1\.5:5555 is connected: .* connect 192\.168"):
            call()


@pytest.mark.parametrize("runs", ["sleep 60", 'sh -c "$*"; sleep 60'])
def test_a_way_that_goes_silent_ends_at_the_deadline(adb, stand_in, runs):
    adb.run(["true"], deadline=in_time())
    stand_in(runs)
    with pytest.raises(CommandTimeout, match=r"adb://192\.168\.1\.5:5555 true did not end in time"):
        adb.run(["true"], deadline=Deadline.after(0.2))


def test_a_server_that_goes_silent_ends_at_the_deadline(adb, tmp_path):
    (tmp_path / "stand-in" / "adb").write_text("#!/bin/sh\nsleep 60\n")
    with pytest.raises(CommandTimeout, match="did not answer in time"):
        adb.run(["true"], deadline=Deadline.after(0.2))


@pytest.fixture
def old_phone(adb, monkeypatch):
    """Return the way to a phone that gives stdout and stderr as one."""
    monkeypatch.setenv("STAND_IN_FEATURES", "cmd")
    return adb


def test_an_old_phone_gives_one_output(old_phone, start):
    argv = ["sh", "-c", "echo said; echo also >&2; echo; exit 3"]
    result = old_phone.run(argv, deadline=in_time())
    assert (result.return_code, result.stdout, result.stderr) == (3, "said\nalso\n\n", "")
    assert start(*argv).wait(in_time()) == result
    process = start(*argv)
    assert list(process.lines(in_time())) == ["said", "also", ""]
    result = process.wait(in_time())
    assert (result.return_code, result.stdout) == (3, "")


def test_an_old_phone_passes_no_input(old_phone):
    with pytest.raises(DeviceUnavailable, match="cat needs input, and this phone passes none on"):
        old_phone.run(["cat"], deadline=in_time(), stdin=b"given")


@pytest.mark.parametrize("name", ["a b", "$(id)", "it's", 'say "x"', "a\nb", "ä"])
def test_files_are_copied_whole_whatever_their_name(adb, tmp_path, name):
    content = bytes(range(256)) * 1000
    here, there, back = tmp_path / "here", tmp_path / "there" / name, tmp_path / "back"
    here.write_bytes(content)
    there.parent.mkdir()
    assert adb.push(here, str(there), deadline=in_time()) == len(content)
    assert [path.name for path in there.parent.iterdir()] == [name]
    assert adb.pull(str(there), back, deadline=in_time()) == len(content)
    assert back.read_bytes() == content


@pytest.mark.parametrize(("executable", "mode"), [(False, 0o644), (True, 0o755)])
def test_a_pushed_file_gets_its_mode(adb, tmp_path, executable, mode):
    (tmp_path / "here").write_bytes(b"content")
    (tmp_path / "here").chmod(0o700)
    adb.push(tmp_path / "here", str(tmp_path / "there"), deadline=in_time(), executable=executable)
    assert (tmp_path / "there").stat().st_mode & 0o777 == mode


@pytest.mark.parametrize(
    ("push", "error", "words"),
    [
        ('head -c 100 "$1" >"$2"', CommandFailed, "there cannot be written: it arrived damaged"),
        (
            "head -c 100 \"$1\" >\"$2\"; echo \"adb: error: failed to copy '$1' to '$2': remote couldn't create file: "
            'Permission denied"; exit 1',
            CommandFailed,
            "there cannot be written: couldn't create file: Permission denied",
        ),
        (
            'head -c 100 "$1" >"$2"; echo "adb: error: failed to read copy response: EOF" >&2; exit 1',
            LinkLost,
            "while copying here was running",
        ),
    ],
)
def test_a_push_that_fails_leaves_what_was_there(adb, stand_in, tmp_path, push, error, words):
    (tmp_path / "here").write_bytes(b"content" * 1000)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "there").write_bytes(b"earlier")
    stand_in(f'case $verb in push) {push} ;; shell) exec sh -c "$*" ;; esac')
    with pytest.raises(error, match=words):
        adb.push(tmp_path / "here", str(tmp_path / "folder" / "there"), deadline=in_time())
    assert [path.read_bytes() for path in (tmp_path / "folder").iterdir()] == [b"earlier"]


def test_progress_is_not_taken_for_the_reason_of_a_lost_link(adb, stand_in, tmp_path):
    (tmp_path / "there").write_bytes(b"content")
    stand_in("""case $verb in pull) echo '[ 49%] there'; exit 1 ;; shell) exec sh -c "$*" ;; esac""")
    with pytest.raises(LinkLost, match="while copying there was running"):
        adb.pull(str(tmp_path / "there"), tmp_path / "back", deadline=in_time())


def test_a_pull_that_is_cut_off_leaves_nothing_here(adb, stand_in, tmp_path):
    (tmp_path / "there").write_bytes(b"content" * 1000)
    stand_in('case $verb in pull) head -c 100 "$1" >"$2" ;; shell) exec sh -c "$*" ;; esac')
    with pytest.raises(CommandFailed, match="arrived damaged"):
        adb.pull(str(tmp_path / "there"), tmp_path / "back", deadline=in_time())
    assert not (tmp_path / "back").exists()


def test_refused_copies_have_the_devices_own_words(adb, tmp_path):
    (tmp_path / "here").write_bytes(b"content")
    (tmp_path / "folder").mkdir()
    with pytest.raises(CommandFailed, match="cannot be written: Is a directory"):
        adb.push(tmp_path / "here", str(tmp_path / "folder"), deadline=in_time())
    with pytest.raises(CommandFailed, match=r"cannot be read: .*No such file"):
        adb.pull(str(tmp_path / "nothing"), tmp_path / "back", deadline=in_time())
    with pytest.raises(CommandFailed, match="cannot be read: Is a directory"):
        adb.pull(str(tmp_path / "folder"), tmp_path / "back", deadline=in_time())


def test_the_phone_is_chosen_once(stand_in, log):
    with open_transport(DeviceAddress.parse("adb://")) as only:
        assert type(only) is AdbTransport
        only.run(["true"], deadline=in_time())
        only.run(["true"], deadline=in_time())
    assert [call.partition(" exec ")[0] for call in log()] == [
        "version",
        "start-server",
        "get-serialno",
        "-s only-one get-state",
        "-s only-one features",
        "-s only-one shell",
        "-s only-one shell",
    ]


def test_a_phone_that_is_not_ready(adb, monkeypatch):
    monkeypatch.setenv("STAND_IN_STATE", "unauthorized")
    with pytest.raises(DeviceUnavailable, match="accept 'Allow USB debugging"):
        adb.run(["true"], deadline=in_time())


def answer_once(server, answer):
    link, _ = server.accept()
    with link:
        link.recv(100)
        link.sendall(answer)


@pytest.fixture
def serve(port):
    """Return a function that starts something with the port of adb's server; it gives one caller an answer."""
    with socket.create_server(("127.0.0.1", port)) as server:
        yield lambda answer: threading.Thread(target=answer_once, args=(server, answer), daemon=True).start()


def test_a_server_of_another_version_is_left_alone(adb, serve, log):
    serve(b"OKAY00040027")
    with pytest.raises(DeviceUnavailable, match=r"another version \(39, this adb is 41\) .* set MNET_ADB"):
        adb.run(["true"], deadline=in_time())
    assert log() == ["version"]


@pytest.mark.parametrize(
    "answer", [b"OKAY00040029", b"FAIL0004oops", b"OKAY", b"OKAYzzzz", b"OKAY0004\xff\xff\xff\xff", b""]
)
def test_a_server_of_this_version_and_what_is_none_are_left_to_adb(adb, serve, answer):
    serve(answer)
    assert adb.run(["true"], deadline=in_time()).return_code == 0


def test_an_adb_that_is_too_old(adb, monkeypatch):
    monkeypatch.setenv("STAND_IN_VERSION", "39")
    with pytest.raises(ToolMissing, match=r"adb 1\.0\.41 or later is not .* here; .*/adb is 1\.0\.39; install it with"):
        adb.run(["true"], deadline=in_time())


def test_what_is_not_adb_at_all(stand_in, monkeypatch):
    monkeypatch.setenv("MNET_ADB", shutil.which("true"))
    with pytest.raises(DeviceUnavailable, match=r"is not adb: expected its version\. Received: nothing"):
        AdbTransport(DeviceAddress.parse("adb://")).run(["true"], deadline=in_time())


def program(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o755)
    return path


def test_where_adb_is_looked_for(tmp_path, monkeypatch):
    for variable in ("MNET_ADB", "ANDROID_HOME", "ANDROID_SDK_ROOT"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    monkeypatch.setattr(adb_client.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ToolMissing, match=r"adb is not installed here; .*mnet-deploy\[android\]"):
        find_adb()
    package = type("Spec", (), {"submodule_search_locations": [str(tmp_path / "adbutils")]})
    monkeypatch.setattr(adb_client.importlib.util, "find_spec", lambda name: package)
    bundled = program(tmp_path / "adbutils" / "binaries" / "adb")
    assert find_adb() == bundled
    monkeypatch.setenv("ANDROID_SDK_ROOT", str(tmp_path / "root"))
    assert find_adb() == bundled
    assert find_adb() != program(tmp_path / "root" / "platform-tools" / "nothing")
    of_root = program(tmp_path / "root" / "platform-tools" / "adb")
    assert find_adb() == of_root
    monkeypatch.setenv("ANDROID_HOME", str(tmp_path / "home"))
    of_home = program(tmp_path / "home" / "platform-tools" / "adb")
    assert find_adb() == of_home
    on_path = program(tmp_path / "path" / "adb")
    assert find_adb() == on_path
    monkeypatch.setenv("MNET_ADB", str(program(tmp_path / "named")))
    assert find_adb() == tmp_path / "named"
    assert find_adb(of_home) == of_home


def test_an_adb_that_is_named_has_to_be_there(monkeypatch):
    monkeypatch.setenv("MNET_ADB", "/nowhere/adb")
    with pytest.raises(SpecError, match=r"MNET_ADB must name an adb executable\. Received: /nowhere/adb"):
        AdbTransport(DeviceAddress.parse("adb://"))
    with pytest.raises(SpecError, match=r"adb must name an adb executable\. Received: /else/adb"):
        AdbTransport(DeviceAddress.parse("adb://"), adb=Path("/else/adb"))
