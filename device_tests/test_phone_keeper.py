"""The program that holds a phone: one at a time, and everything is put right however it, or the way to it, ends."""

import json
import time
from contextlib import suppress
from importlib.resources import files

import pytest

from device_tests.mnet_runs import until
from mnet_deploy.errors import DeviceUnavailable
from mnet_deploy.runners.device_programs import DevicePrograms
from mnet_deploy.runners.device_session import DeviceSession
from mnet_deploy.runners.transports.adb_transport import AdbTransport
from mnet_deploy.runners.transports.address import DeviceAddress
from mnet_deploy.runners.transports.deadline import Deadline

pytestmark = [pytest.mark.emulated_only, pytest.mark.usefixtures("adb_environment")]

LONG_S = 60.0  # for what takes seconds on a quiet machine
FOLDER = "/data/local/tmp"
SOURCE = files("mnet_deploy.runners.on_device").joinpath("keeper.sh")
KEEPER = ("sh", "-c", SOURCE.read_text(encoding="utf-8"), "keeper")
DEAF = ["sh", "-c", "trap '' HUP INT TERM; echo started; while true; do sleep 0.2; done", "sh"]


def in_time():
    return Deadline.after(LONG_S)


class Keeper:
    """One on a phone."""

    def __init__(self, adb, *options, owner="a test"):
        self.adb = adb
        self.process = adb.start([*KEEPER, "--owner", owner, *options], deadline=in_time())
        self._lines = self.process.lines(in_time())
        self.folder = ""

    def says(self):
        """Return its next event."""
        return json.loads(next(self._lines))

    def ready(self):
        """Return what it says when it holds the phone."""
        event = self.says()
        assert event["event"] == "ready", event
        self.folder = event["folder"]
        return event

    def signal(self, name, event):
        self.adb.run_check(["sh", "-c", 'kill "-$1" "$2"', "sh", name, str(event["pid"])], deadline=in_time())

    def end(self):
        self.process.write("end\n")
        said = self.says()
        assert self.process.wait(in_time()).return_code == 0
        return said


@pytest.fixture(autouse=True)
def all_stopped(monkeypatch):
    """Stop what a test has started on phones, whatever has become of it."""
    started, start = [], AdbTransport.start

    def start_one(self, argv, *, deadline):
        started.append(start(self, argv, deadline=deadline))
        return started[-1]

    monkeypatch.setattr(AdbTransport, "start", start_one)
    yield
    for process in started:
        process.stop()


@pytest.fixture
def phone(fresh_phone):
    return fresh_phone()


@pytest.fixture
def adb(phone):
    return way_to(phone)


def way_to(phone):
    return AdbTransport(DeviceAddress.parse(phone.address))


def start_in(folder, adb):
    """Start a program that has a folder in its command line and does not end when it should."""
    process = adb.start([*DEAF, f"{folder}/model"], deadline=in_time())
    assert next(process.lines(in_time())) == "started"


def state(phone):
    """Return what runs there, and what lies about."""
    return sorted(phone.processes()), phone.temporary_files()


def assert_as_before(phone, before):
    until(lambda: state(phone) == before, f"{before}; there is {state(phone)}")


def assert_works(phone, swept=()):
    """Check that the next one holds the phone, and what it had to put right."""
    keeper = Keeper(way_to(phone))
    ready = keeper.ready()
    assert (ready["swept"], ready["not_restored"]) == (list(swept), [])
    assert keeper.end() == {"event": "end", "why": "end", "not_restored": []}


ENDINGS = {
    "end": lambda keeper, phone, event: keeper.process.write("end\n"),
    "silent": lambda keeper, phone, event: keeper.process.write("1.5\n"),
    "unreadable": lambda keeper, phone, event: keeper.process.write("what?\n"),
    "terminated": lambda keeper, phone, event: keeper.signal("TERM", event),
    "hung up": lambda keeper, phone, event: keeper.signal("HUP", event),
}
SAYS = {"end": ("end", 0), "silent": ("silent", 0), "unreadable": ("stopped", 1), "terminated": ("stopped", 143)}


@pytest.mark.parametrize("ending", ENDINGS)
def test_it_puts_everything_right(phone, adb, ending):
    before = state(phone)
    keeper = Keeper(adb)
    event = keeper.ready()
    assert phone.path(event["folder"]).stat().st_mode & 0o777 == 0o700
    start_in(event["folder"], adb)
    ENDINGS[ending](keeper, phone, event)
    why, status = SAYS.get(ending, ("stopped", 129))
    assert keeper.says() == {"event": "end", "why": why, "not_restored": []}
    result = keeper.process.wait(in_time())
    assert result.return_code == (status if status < 128 else 128 - status)
    assert_as_before(phone, before)


def test_allowances_follow_each_other(phone, adb):
    before = state(phone)
    keeper = Keeper(adb, "--allow-s", "3")
    keeper.ready()
    for allowance in ("60", "1e+06", "0.5"):
        keeper.process.write(f"{allowance}\n")
    assert keeper.says()["why"] == "silent"
    assert_as_before(phone, before)


LOSSES = {
    "input closed": lambda keeper, phone: keeper.process.wait(in_time()),
    "stopped here": lambda keeper, phone: keeper.process.stop(),
    "dropped": lambda keeper, phone: phone.drop(),
    "unplugged": lambda keeper, phone: phone.unplug(),
    "frozen": lambda keeper, phone: (keeper.process.write("2\n"), time.sleep(0.5), phone.set_mode("freeze")),
}


@pytest.mark.parametrize("loss", LOSSES)
def test_it_puts_everything_right_although_nobody_is_there(phone, adb, loss):
    before = state(phone)
    keeper = Keeper(adb)
    event = keeper.ready()
    for _ in range(2):
        start_in(event["folder"], adb)
    LOSSES[loss](keeper, phone)
    assert_as_before(phone, before)


def test_after_a_lost_link_the_next_one_works(phone, adb):
    before = state(phone)
    Keeper(adb).ready()
    phone.drop()
    phone.connect()
    assert_as_before(phone, before)
    assert_works(phone)


def test_what_a_killed_one_has_left_is_put_right(phone, adb):
    before = state(phone)
    keeper = Keeper(adb)
    event = keeper.ready()
    start_in(event["folder"], adb)
    keeper.signal("KILL", event)
    assert keeper.process.wait(in_time()).ending == "killed by SIGKILL"
    assert [name.split("/")[0] for name in phone.temporary_files()] != []
    assert_works(phone, swept=[event["folder"]])
    assert_as_before(phone, before)


def test_another_program_with_the_number_of_a_killed_one_does_not_hold_the_phone(phone, adb):
    before = state(phone)
    living = adb.start(["sh", "-c", "echo $$; cat"], deadline=in_time())
    number = next(living.lines(in_time()))
    folders = [f"{FOLDER}/mnet-bench-{number}-1", f"{FOLDER}/mnet-bench-x y", f"{FOLDER}/mnet-bench-{number}"]
    adb.run_check(["mkdir", *folders], deadline=in_time())
    assert_works(phone, swept=sorted(folders))
    living.wait(in_time())
    assert_as_before(phone, before)


@pytest.mark.parametrize(
    ("owner", "shown"),
    [
        ("ada on lovelace since 2026-01-01 10:00 UTC", "ada on lovelace since 2026-01-01 10:00 UTC"),
        ("\"\\' $(id) `id` *\t%s \\n", "\"\\' $(id) `id` *?%s \\n"),
        ("a\nb\x01\x7f\x1b[2J", "a?b???[2J"),
        ("", "another session"),
        ("-n", "-n"),
        ("x" * 10_000, "x" * 200),
    ],
)
def test_a_second_one_is_told_who_has_the_phone(phone, adb, owner, shown):
    before = state(phone)
    first = Keeper(adb, owner=owner)
    first.ready()
    held = phone.temporary_files()
    second = Keeper(adb)
    assert second.says() == {"event": "refused", "kind": "busy", "message": shown}
    assert second.process.wait(in_time()).return_code == 1
    assert phone.temporary_files() == held
    first.end()
    assert_as_before(phone, before)


def test_letters_of_other_languages_become_question_marks(phone, adb):
    first = Keeper(adb, owner="ä€x")
    first.ready()
    message = Keeper(adb).says()["message"]
    assert set(message) == {"?", "x"}
    first.end()


def test_several_that_start_together(phone, adb):
    before = state(phone)
    keepers = [Keeper(adb) for _ in range(4)]
    events = [keeper.says() for keeper in keepers]
    kinds = [event.get("kind", event["event"]) for event in events]
    assert kinds.count("ready") <= 1
    assert set(kinds) <= {"ready", "busy"}
    for keeper in keepers:
        keeper.process.wait(in_time())
    assert_as_before(phone, before)
    assert_works(phone)


def test_a_session_that_finds_the_phone_taken(phone, adb):
    before = state(phone)
    programs = DevicePrograms(keeper=KEEPER)
    with DeviceSession(adb, programs=programs) as session:
        with pytest.raises(DeviceUnavailable, match=r"is being measured on by \S+ on \S+ since .* UTC; wait until"):
            DeviceSession(way_to(phone), programs=programs).__enter__()
        assert session.run_program(["ls", session.folder], timeout_s=LONG_S).return_code == 0
    assert_as_before(phone, before)


def test_a_place_that_runs_nothing(fresh_phone):
    phone = fresh_phone(noexec=True)
    before = state(phone)
    keeper = Keeper(way_to(phone))
    refused = keeper.says()
    assert (refused["event"], refused["kind"]) == ("refused", "noexec")
    assert f"programs cannot be run from {FOLDER}" in refused["message"]
    assert keeper.process.wait(in_time()).return_code == 1
    assert_as_before(phone, before)


def fill(file):
    """Let a file grow until its file system is full."""
    with suppress(OSError), file.open("wb", buffering=0) as stream:
        while stream.write(bytes(4096)):
            pass


def test_full_storage(fresh_phone):
    phone = fresh_phone(storage_bytes=1 << 20)
    filler = phone.path(f"{FOLDER}/filler")
    fill(filler)
    before = state(phone)
    message = f"{FOLDER} cannot be used: No space left on device"
    assert Keeper(way_to(phone)).says() == {"event": "refused", "kind": "system", "message": message}
    assert_as_before(phone, before)
    filler.unlink()
    assert_works(phone)


def test_storage_that_fills_up_meanwhile(fresh_phone):
    phone = fresh_phone(storage_bytes=1 << 20)
    filler = phone.path(f"{FOLDER}/filler")
    fill(filler)
    before = state(phone)
    filler.unlink()
    keeper = Keeper(way_to(phone))
    start_in(keeper.ready()["folder"], keeper.adb)
    fill(filler)
    assert keeper.end() == {"event": "end", "why": "end", "not_restored": []}
    assert_as_before(phone, before)


def test_a_place_that_is_not_there(phone, adb):
    refused = Keeper(adb, "--folder", f"{FOLDER}/nothing").says()
    assert (refused["kind"], refused["message"]) == (
        "system",
        f"{FOLDER}/nothing cannot be used: No such file or directory",
    )


def test_its_governor_refuses(phone, adb):
    before = state(phone)
    keeper = Keeper(adb, "--pin", "performance")
    refused = keeper.says()
    assert (refused["event"], refused["kind"]) == ("refused", "governor")
    assert "cannot be set to performance; that needs root" in refused["message"]
    assert keeper.process.wait(in_time()).return_code == 1
    assert_as_before(phone, before)


@pytest.fixture
def cpus(adb, phone):
    """Return the options for cores whose governor can be set, and a function that says what they are set to."""
    paths = [f"{FOLDER}/cpus/cpu{number}/cpufreq" for number in range(2)]
    making = 'for each; do mkdir -p "$each" && echo "schedutil" >"$each/scaling_governor"; done'
    adb.run_check(["sh", "-c", making, "sh", *paths], deadline=in_time())
    return ["--cpu-folder", f"{FOLDER}/cpus"], lambda: [
        phone.path(f"{path}/scaling_governor").read_text().strip() for path in paths
    ]


@pytest.mark.parametrize("ending", ["end", "dropped", "killed"])
def test_the_governor_is_set_back(phone, adb, cpus, ending):
    options, governors = cpus
    before = state(phone)
    keeper = Keeper(adb, *options, "--pin", "performance")
    event = keeper.ready()
    assert governors() == ["performance", "performance"]
    if ending == "end":
        keeper.end()
    elif ending == "dropped":
        phone.drop()
    else:
        keeper.signal("KILL", event)
        keeper.process.wait(in_time())
        assert_works(phone, swept=[event["folder"]])
    assert_as_before(phone, before)
    assert governors() == ["schedutil", "schedutil"]


@pytest.mark.parametrize(
    ("record", "said"), [("schedutil\n{0}\nwhole", "{0}"), ("schedutil\n{0}", "is damaged: what the governor was")]
)
def test_what_cannot_be_set_back_is_said(phone, adb, record, said):
    before = state(phone)
    folder, gone = f"{FOLDER}/mnet-bench-1-1", "/sys/devices/system/cpu/cpu99/cpufreq/scaling_governor"
    adb.run_check(
        ["sh", "-c", 'mkdir "$1" && printf %s "$2" >"$1/governors"', "sh", folder, record.format(gone)],
        deadline=in_time(),
    )
    keeper = Keeper(adb)
    ready = keeper.says()
    assert ready["swept"] == [folder]
    (left,) = ready["not_restored"]
    assert said.format(gone) in left
    keeper.end()
    adb.run_check(["rm", "-rf", folder], deadline=in_time())
    assert_as_before(phone, before)


@pytest.mark.parametrize("after_s", [0.0, 0.05, 0.1, 0.2, 0.4])
def test_it_is_stopped_while_it_starts(phone, adb, after_s):
    before = state(phone)
    for stop in (lambda keeper: keeper.process.stop(), lambda keeper: phone.drop()):
        phone.connect()
        keeper = Keeper(adb)
        time.sleep(after_s)
        stop(keeper)
        assert_as_before(phone, before)


def test_nobody_reads_what_it_says(phone, adb):
    before = state(phone)
    process = adb.start(["sh", "-c", '"$@" --owner x --allow-s 1 | true', "sh", *KEEPER], deadline=in_time())
    assert list(process.lines(in_time())) == []
    assert process.wait(in_time()).return_code == 0
    assert_as_before(phone, before)
