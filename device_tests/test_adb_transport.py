"""The way to a phone through adb, with the real client and server, a stand-in phone, and what goes wrong on the way."""

import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from device_tests.emulated_phone.emulated_phone import EmulatedPhone
from mnet_deploy.errors import CommandFailed, CommandTimeout, DeviceUnavailable, LinkLost
from mnet_deploy.runners.transports.adb_transport import AdbTransport
from mnet_deploy.runners.transports.address import DeviceAddress
from mnet_deploy.runners.transports.deadline import Deadline

pytestmark = [pytest.mark.emulated_only, pytest.mark.usefixtures("adb_environment")]

LONG_S = 60.0  # for what takes a second on a quiet machine
FILE_BYTES = 5_000_000
FOLDER = "/data/local/tmp"
STRANGE = ["a b", "'", '"', "$(id)", "a\nb", "*", "", "-n", "\\", "ä"]
SHOWING = ["sh", "-c", """for each; do printf '[%s]' "$each"; done; cat""", "sh", *STRANGE]
SHOWN = "".join(f"[{each}]" for each in STRANGE)
COUNTING = ["sh", "-c", "i=0; while true; do echo $i; i=$((i + 1)); sleep 0.05; done"]


def in_time():
    return Deadline.after(LONG_S)


@pytest.fixture
def server(adb_server):
    return adb_server


@pytest.fixture
def phone(fresh_phone):
    return fresh_phone()


def way_to(phone):
    return AdbTransport(DeviceAddress.parse(phone.address))


@pytest.fixture
def adb(phone):
    return way_to(phone)


@pytest.fixture
def large(tmp_path):
    path = tmp_path / "large"
    path.write_bytes(bytes(range(256)) * (FILE_BYTES // 256))
    return path


def names(adb):
    return adb.run_check(["ls", FOLDER], deadline=in_time()).stdout.splitlines()


def test_programs_get_their_arguments_and_input_as_they_are(adb):
    assert adb.run_check(SHOWING, deadline=in_time(), stdin=b"given").stdout == f"{SHOWN}given"
    process = adb.start(SHOWING, deadline=in_time())
    process.write("said later")
    assert process.wait(in_time()).stdout == f"{SHOWN}said later"


def test_how_programs_end(adb):
    assert adb.run(["sh", "-c", "kill -KILL $$"], deadline=in_time()).ending == "killed by SIGKILL"
    for status in (0, 3, 255):
        result = adb.run(["sh", "-c", f"echo said; echo also >&2; exit {status}"], deadline=in_time())
        assert (result.return_code, result.stdout, result.stderr) == (status, "said\n", "also\n")
    missing = adb.run(["mnet-no-such-program"], deadline=in_time())
    assert (missing.return_code, "not found" in missing.stderr) == (127, True)


def test_a_program_sees_the_end_of_its_input_when_it_is_stopped_from_here(adb):
    # Without the trap it would be ended at once: Android's shell passes the signal on.
    process = adb.start(["sh", "-c", f"trap '' HUP; echo ready; cat; touch {FOLDER}/ended"], deadline=in_time())
    assert next(process.lines(in_time())) == "ready"
    process.stop()
    deadline = in_time()
    while "ended" not in names(adb):
        deadline.require("the program")
        time.sleep(0.05)


def test_files_arrive_whole_there_and_back(adb, large, tmp_path):
    there = f"{FOLDER}/a $(b) 'c'"
    assert adb.push(large, there, deadline=in_time()) == large.stat().st_size
    assert names(adb) == ["a $(b) 'c'"]
    assert adb.pull(there, tmp_path / "back", deadline=in_time()) == large.stat().st_size
    assert (tmp_path / "back").read_bytes() == large.read_bytes()


def test_a_program_that_was_pushed_runs(adb, tmp_path):
    (tmp_path / "program").write_text("#!/system/bin/sh\necho started\n")
    adb.push(tmp_path / "program", f"{FOLDER}/program", deadline=in_time(), executable=True)
    assert adb.run_check([f"{FOLDER}/program"], deadline=in_time()).stdout == "started\n"
    adb.push(tmp_path / "program", f"{FOLDER}/program", deadline=in_time())
    refused = adb.run([f"{FOLDER}/program"], deadline=in_time())
    assert (refused.return_code, "ermission denied" in refused.stderr) == (126, True)


def test_a_place_that_runs_nothing(adb, tmp_path):
    (tmp_path / "program").write_text("#!/system/bin/sh\necho started\n")
    adb.push(tmp_path / "program", "/sdcard/program", deadline=in_time(), executable=True)
    assert adb.run(["/sdcard/program"], deadline=in_time()).return_code == 126


def test_what_the_phone_refuses_has_its_own_words(adb, large, tmp_path):
    adb.run_check(["mkdir", f"{FOLDER}/folder"], deadline=in_time())
    for there, words in (
        (f"{FOLDER}/folder", "Is a directory"),
        ("/system/x", "Read-only file system"),
        ("/x", "Permission denied"),
    ):
        with pytest.raises(CommandFailed, match=f"{there} cannot be written: .*{words}"):
            adb.push(large, there, deadline=in_time())
    with pytest.raises(CommandFailed, match=r"cannot be read: .*No such file"):
        adb.pull(f"{FOLDER}/nothing", tmp_path / "back", deadline=in_time())
    assert not (tmp_path / "back").exists()
    assert names(adb) == ["folder"]


def test_full_storage(fresh_phone, large, tmp_path):
    adb = way_to(fresh_phone(storage_bytes=1_000_000))
    (tmp_path / "small").write_bytes(b"earlier")
    adb.push(tmp_path / "small", f"{FOLDER}/model", deadline=in_time())
    with pytest.raises(CommandFailed, match=r"/model cannot be written: .*No space left on device"):
        adb.push(large, f"{FOLDER}/model", deadline=in_time())
    assert names(adb) == ["model"]
    assert adb.run_check(["cat", f"{FOLDER}/model"], deadline=in_time()).stdout == "earlier"


def test_an_old_phone_gives_one_output_and_passes_no_input(fresh_phone, large, tmp_path):
    adb = way_to(fresh_phone(shell_v2=False))
    argv = ["sh", "-c", "echo said; echo also >&2; exit 3"]
    result = adb.run(argv, deadline=in_time())
    assert (result.return_code, result.stdout, result.stderr) == (3, "said\nalso\n", "")
    process = adb.start(argv, deadline=in_time())
    assert list(process.lines(in_time())) == ["said", "also"]
    assert process.wait(in_time()).return_code == 3
    adb.push(large, f"{FOLDER}/model", deadline=in_time())
    adb.pull(f"{FOLDER}/model", tmp_path / "back", deadline=in_time())
    assert (tmp_path / "back").read_bytes() == large.read_bytes()
    with pytest.raises(DeviceUnavailable, match="Android 7 or later"):
        adb.run(["cat"], deadline=in_time(), stdin=b"given")


def test_a_slow_link(fresh_phone, large):
    adb = way_to(fresh_phone(mode="slow"))
    assert adb.push(large, f"{FOLDER}/model", deadline=in_time()) == large.stat().st_size


def test_a_phone_that_has_not_allowed_this_computer(fresh_phone):
    adb = way_to(fresh_phone(mode="unauthorized"))
    for call in (adb.run, adb.start):
        with pytest.raises(DeviceUnavailable, match="accept 'Allow USB debugging"):
            call(["true"], deadline=in_time())


def test_a_phone_that_allows_it_later(fresh_phone):
    adb = way_to(fresh_phone(mode="authorize-after", number=2))
    deadline = in_time()
    while True:
        with suppress(DeviceUnavailable):
            assert adb.run_check(["echo", "there"], deadline=deadline).stdout == "there\n"
            break
        time.sleep(0.2)


def test_a_phone_that_does_not_answer(fresh_phone):
    adb = way_to(fresh_phone(mode="mute"))
    with pytest.raises(DeviceUnavailable, match=r"USB debugging off and on|no phone .* is connected"):
        adb.run(["true"], deadline=in_time())


def test_no_phone_two_phones_and_another_phone(fresh_phone):
    only = AdbTransport(DeviceAddress.parse("adb://"))
    with pytest.raises(DeviceUnavailable, match="no phone is connected: plug it in"):
        only.run(["true"], deadline=in_time())
    first = fresh_phone()
    assert only.run(["true"], deadline=in_time()).return_code == 0
    second = fresh_phone()
    with pytest.raises(DeviceUnavailable, match="several phones are connected: name one as adb://SERIAL"):
        AdbTransport(DeviceAddress.parse("adb://")).run(["true"], deadline=in_time())
    with pytest.raises(DeviceUnavailable, match="no phone nobody is connected"):
        AdbTransport(DeviceAddress.parse("adb://nobody")).run(["true"], deadline=in_time())
    for adb in (only, way_to(first), way_to(second)):  # the one that was the only one is kept
        assert adb.run(["true"], deadline=in_time()).return_code == 0


def test_a_phone_that_is_taken_away_between_commands(phone, adb, large):
    adb.push(large, f"{FOLDER}/model", deadline=in_time())
    phone.stop()
    with pytest.raises(DeviceUnavailable, match="is it plugged in and switched on"):
        adb.run(["true"], deadline=in_time())


@pytest.mark.parametrize("fault", ["drop", "stop"])
@pytest.mark.parametrize("program", [COUNTING, ["sleep", "600"]], ids=["talking", "silent"])
def test_a_link_that_is_lost_while_a_program_runs(phone, adb, fault, program):
    process = adb.start(program, deadline=in_time())
    lines = process.lines(in_time())
    if program is COUNTING:
        assert [next(lines), next(lines)] == ["0", "1"]
    getattr(phone, fault)()
    for call in (lambda: list(lines), lambda: process.wait(in_time())):
        with pytest.raises(LinkLost, match=r"while .* was running"):
            call()


def test_a_link_that_is_lost_during_a_short_command(phone, adb):
    adb.run_check(["true"], deadline=in_time())
    timer = threading.Timer(0.5, phone.drop)
    timer.start()
    with pytest.raises(LinkLost, match="while sleep was running"):
        adb.run(["sleep", "600"], deadline=in_time())
    timer.join()


def test_a_server_that_someone_ends_while_a_program_runs(server, phone, adb):
    process = adb.start(COUNTING, deadline=in_time())
    server.run("kill-server")
    with pytest.raises(LinkLost, match=r"adb's server was ended here; run it again when .* \(while sh was running\)"):
        process.wait(in_time())
    server.run("start-server")
    with pytest.raises(DeviceUnavailable, match=rf"no phone {phone.serial} is connected: .* connect {phone.serial}"):
        adb.run(["true"], deadline=in_time())
    phone.connect()
    assert adb.run(["true"], deadline=in_time()).return_code == 0


def test_after_a_short_loss_the_way_is_there_again(phone, adb):
    adb.run_check(["true"], deadline=in_time())
    phone.drop()
    phone.connect()
    assert adb.run_check(["echo", "there"], deadline=in_time()).stdout == "there\n"


@pytest.mark.parametrize("way", ["push", "pull"])
def test_a_link_that_is_lost_while_a_file_is_copied(phone, adb, large, tmp_path, way):
    (tmp_path / "small").write_bytes(b"earlier")
    adb.push(tmp_path / "small" if way == "push" else large, f"{FOLDER}/model", deadline=in_time())
    phone.set_mode("drop-after", FILE_BYTES // 2)
    here, there = (large, f"{FOLDER}/model") if way == "push" else (f"{FOLDER}/model", tmp_path / "back")
    with pytest.raises(LinkLost, match=r"while copying \w+ was running"):
        getattr(adb, way)(here, there, deadline=in_time())
    assert not (tmp_path / "back").exists()
    phone.connect()
    expected = b"earlier" if way == "push" else large.read_bytes()
    adb.pull(f"{FOLDER}/model", tmp_path / "after", deadline=in_time())
    assert (tmp_path / "after").read_bytes() == expected


def test_a_link_that_freezes(phone, adb, large):
    adb.run_check(["true"], deadline=in_time())
    process = adb.start(COUNTING, deadline=in_time())
    lines = process.lines(in_time())
    assert next(lines) == "0"
    phone.set_mode("freeze")
    with pytest.raises(CommandTimeout, match="sh did not end in time"):
        process.wait(Deadline.after(1))
    with pytest.raises(CommandTimeout, match="true did not end in time"):
        adb.run(["true"], deadline=Deadline.after(1))
    with pytest.raises(CommandTimeout, match="copying large did not end in time"):
        adb.push(large, f"{FOLDER}/model", deadline=Deadline.after(1))


def test_nothing_is_left(server):
    with EmulatedPhone(server) as phone:
        adb = way_to(phone)
        process = adb.start(["sleep", "600"], deadline=in_time())
        assert phone.serial in server.run("devices")
        marks = [str(phone.folder), phone.serial]
        process.stop()
    assert not Path(marks[0]).exists()
    assert marks[0] not in Path("/proc/mounts").read_text()
    deadline = in_time()
    while any(mark in commands() for mark in marks):
        deadline.require("the phone")
        time.sleep(0.05)


def commands():
    """Return the command lines of this machine."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has ended
            found.append(file.read_text(errors="replace").replace("\0", " "))
    return "\n".join(found)
