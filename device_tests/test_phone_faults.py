"""What goes wrong on a phone, on the way to it, or here: each ends in one line that says what to do, nothing is left
running or lying about on either side, nothing that was measured is lost, and the next run works.
"""

import shutil
import signal
import socket
import socketserver
import sys
import threading
from contextlib import contextmanager, suppress

import pytest

from device_tests.mnet_runs import AGENT_RUNS, NO_END, ONE_BLOCK, until
from device_tests.phone_runs import PhoneRun
from device_tests.reference_runner import build
from mnet_deploy.progress import Progress
from mnet_deploy.runners.native.bundle import PHONE, native_bundle
from mnet_deploy.runners.native.engine_library import arm_library
from mnet_deploy.runners.transports.deadline import Deadline

pytestmark = [pytest.mark.emulated_only, pytest.mark.timeout(900)]
BOTH = pytest.mark.parametrize("adb_server", ["on PATH", "of adbutils"], indirect=True)
ONE = pytest.mark.parametrize("adb_server", ["on PATH"], indirect=True)
DOWNLOAD_S = 250.0
DEVICE_FAILED = 3  # exit status
KEEPER = "keeper --owner "  # in its command line
TMP = "/data/local/tmp"
SOON = ("--block-timeout", "10s")


@pytest.fixture(scope="module")
def bundle():
    """Build and fetch what mnet brings to phones, which takes a while the first time."""
    pytest.importorskip("ziglang")
    return native_bundle(["litert"], target=PHONE, progress=Progress())


@pytest.fixture
def start(tmp_path, tiny_models, bundle, adb_server):
    """Return a function that starts `mnet bench` with the tiny .tflite on a phone: `start(phone, *options)`."""
    started = []

    def start_one(phone, *options, verb="bench", device=None, file=None):
        folder = tmp_path / f"run{len(started)}"
        folder.mkdir()
        words = (verb, file or tiny_models[".tflite"], "--device", device or phone.address, *options)
        started.append(PhoneRun(folder, *words, server=adb_server))
        return started[-1]

    yield start_one
    for run in started:
        run.__exit__()


@pytest.fixture
def phone(fresh_phone):
    return fresh_phone()


def put_right(phone):
    """Whether nothing of a session is left on the phone."""
    return not phone.processes() and not phone.temporary_files()


def assert_put_right(phone, run):
    """Check that both sides are as they were; the phone may take as long as its keeper is allowed to hear nothing."""
    until(lambda: put_right(phone), f"an end on the phone, which has {phone.processes()}, {phone.temporary_files()}")
    assert run.leftovers(phone) == []


def assert_kept(run):
    """Check that what was measured before is stored, and not as if it were a result."""
    (stored,) = run.stored()
    (measurement,) = stored["measurements"]
    assert len(measurement["blocks"]) >= 1
    assert measurement["verdict"] == "INVALID"
    assert "cut_off" in [reason["rule"] for reason in measurement["reasons"]]
    assert stored["raw"]["samples"][0] >= 1


def assert_works(phone, start, *, warned=False):
    """Check that a following run measures, and leaves nothing behind."""
    run = start(phone, *ONE_BLOCK)
    assert run.end() in (0, 1), run.messages
    assert len(run.stored()) == 1
    assert any("an earlier session was cut off there" in message for message in run.messages) == warned
    assert_put_right(phone, run)


def one_error(run):
    """Return the one line that says what went wrong; what runs models, and where a run was stored, have their own."""
    others = ("stored as ", "models run in this toolkit's own C program")
    errors = [message for message in run.messages if not message.startswith(others)]
    assert len(errors) == 1, run.messages
    return errors[0]


def assert_says(message, pattern):
    with pytest.raises(ValueError, match=pattern):
        raise ValueError(message)


@BOTH
def test_the_link_is_dropped_during_a_block(phone, start):
    run = start(phone, *NO_END)
    run.until_round(2, phone)
    phone.drop()
    assert run.end() == DEVICE_FAILED
    assert_says(one_error(run), "the connection to the phone ended: it was unplugged or switched off")
    assert_kept(run)
    assert_put_right(phone, run)
    phone.connect()
    assert_works(phone, start)


@BOTH
@pytest.mark.parametrize("files", [0, 2])
def test_the_link_is_dropped_during_a_push(phone, start, files):
    phone.set_mode("drop-in-push", files)
    run = start(phone, *ONE_BLOCK)
    assert run.end() == DEVICE_FAILED
    assert_says(one_error(run), r"the connection to the phone ended: .*\(while copying \S+ was running\)")
    assert run.stored() == []
    assert_put_right(phone, run)
    phone.connect()
    assert_works(phone, start)


@ONE
def test_the_link_is_dropped_during_a_pull(phone, start):
    phone.set_mode("drop-in-pull")
    run = start(phone, verb="verify")
    assert run.end() == DEVICE_FAILED
    assert_says(one_error(run), r"the connection to the phone ended: .*\(while copying \S+ was running\)")
    assert_put_right(phone, run)
    phone.connect()
    assert_works(phone, start)


@ONE
def test_the_link_freezes(phone, start):
    run = start(phone, *NO_END, *SOON)
    run.until_round(2, phone)
    phone.set_mode("freeze")
    assert run.end() == DEVICE_FAILED
    assert_says(one_error(run), "did not end in time|has not answered|did not end within 10 s")
    assert_kept(run)
    until(lambda: put_right(phone), "the end of the keeper, which hears nothing any more")
    assert run.leftovers(phone) == []
    phone.set_mode("ok")
    phone.drop()
    phone.connect()
    assert_works(phone, start)


@BOTH
def test_it_is_unplugged_between_copying_and_running(phone, start, tiny_models):
    run = start(phone, *ONE_BLOCK)
    name, size = tiny_models[".tflite"].suffix, tiny_models[".tflite"].stat().st_size

    def is_there():
        with suppress(OSError):  # a part that has just been renamed
            return any(each.endswith(name) and phone.path(f"{TMP}/{each}").stat().st_size == size for each in files())
        return False

    def files():
        return phone.temporary_files()

    until(is_there, "the model")
    phone.unplug()
    assert run.end() == DEVICE_FAILED
    assert_says(one_error(run), "the connection to the phone ended|no phone .* is connected")
    assert run.stored() == []
    until(lambda: put_right(phone), "the end of the keeper")
    phone.plug_in()
    assert_works(phone, start)


@ONE
def test_two_phones_and_none_is_named(fresh_phone, start):
    first, second = fresh_phone(), fresh_phone()
    run = start(first, *ONE_BLOCK, device="adb://")
    assert run.end() == DEVICE_FAILED
    assert_says(one_error(run), "several phones are connected: name one as adb://SERIAL")
    assert run.stored() == []
    assert put_right(first)
    assert put_right(second)


@ONE
def test_its_storage_is_too_small(fresh_phone, start):
    phone = fresh_phone(storage_bytes=4_000_000)
    run = start(phone, *ONE_BLOCK)
    assert run.end() == DEVICE_FAILED
    assert_says(one_error(run), "No space left on device")
    assert run.stored() == []
    assert_put_right(phone, run)


@ONE
def test_its_storage_is_full_from_the_start(fresh_phone, start):
    phone = fresh_phone(storage_bytes=1 << 20)
    filler = phone.path(f"{TMP}/filler")
    fill(filler)
    run = start(phone, *ONE_BLOCK)
    assert run.end() == DEVICE_FAILED
    assert_says(one_error(run), "No space left on device")
    until(lambda: phone.temporary_files() == ["filler"] and not phone.processes(), "the end of the session")
    assert run.leftovers(phone) == []


@ONE
def test_its_storage_fills_up(fresh_phone, start):
    """Nothing is written there during a block, so that this does no harm, and it is still put right at the end."""
    phone = fresh_phone(storage_bytes=20_000_000)
    run = start(phone, *NO_END)
    run.until_round(2, phone)
    filler = phone.path(f"{TMP}/filler")
    fill(filler)
    run.until_round(4, phone)
    run.process.send_signal(signal.SIGINT)
    assert run.end() == 130
    until(lambda: phone.temporary_files() == ["filler"] and not phone.processes(), "the end of the session")
    assert run.leftovers(phone) == []


def fill(file):
    """Let a file grow until its file system is full."""
    with suppress(OSError), file.open("wb", buffering=0) as stream:
        while stream.write(bytes(4096)):
            pass


@ONE
def test_nothing_may_run_there(fresh_phone, start):
    phone = fresh_phone(noexec=True)
    run = start(phone, *ONE_BLOCK)
    assert run.end() == DEVICE_FAILED
    assert_says(one_error(run), f"programs cannot be run from {TMP} .*use another phone")
    assert_put_right(phone, run)


@ONE
@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"mode": "unauthorized"}, "has not allowed this computer yet: .* 'Allow USB debugging"),
        ({"shell_v2": False}, "use one with Android 7 or later"),
    ],
    ids=["unauthorized", "Android 6"],
)
def test_a_phone_that_cannot_be_used(fresh_phone, start, options, said):
    phone = fresh_phone(**options)
    run = start(phone, *ONE_BLOCK)
    assert run.end() == DEVICE_FAILED
    assert_says(one_error(run), said)
    assert run.stored() == []
    assert_put_right(phone, run)


@ONE
def test_a_32_bit_phone(fresh_phone, start):
    phone = fresh_phone(hardware="armv7")
    run = start(phone, *ONE_BLOCK)
    assert run.end() == DEVICE_FAILED
    assert_says(one_error(run), "armeabi-v7a.*our C program is for arm64-v8a.*android_arm_benchmark_model")
    assert_put_right(phone, run)


@pytest.fixture(scope="module")
def tools(tmp_path_factory, bundle):
    """Return {what it is: the stand-in's benchmark_model, with a library beside it}."""
    right, other, host = (tmp_path_factory.mktemp(name) for name in ("right", "other", "host"))
    shutil.copy(build.build(right), other)
    shutil.copy(arm_library("litert", Deadline.after(DOWNLOAD_S), Progress()).path, right)
    build.other_library(other)
    shutil.copy(sys.executable, host / "benchmark_model")
    folders = {"right": right, "of two versions": other, "for this machine": host}
    return {name: folder / "benchmark_model" for name, folder in folders.items()}


@ONE
def test_a_benchmark_model_for_another_machine(phone, start, tools):
    flavour = ("--benchmark-model-flavour", "classic")
    run = start(phone, *ONE_BLOCK, "--benchmark-model", tools["for this machine"], *flavour)
    assert run.end() != 0
    assert_says(one_error(run), "benchmark_model .*x86_64.*arm64-v8a")
    assert run.stored() == []
    assert_put_right(phone, run)


@ONE
def test_a_benchmark_model_and_a_library_of_another_version(phone, start, tools):
    run = start(phone, *ONE_BLOCK, "--benchmark-model", tools["of two versions"])
    assert run.end() == DEVICE_FAILED
    assert_says(one_error(run), "of different versions .* one folder of one version")
    assert run.stored() == []
    assert_put_right(phone, run)


@ONE
def test_the_link_is_dropped_while_benchmark_model_runs(phone, start, tools):
    run = start(phone, *NO_END[:-4], "--time-limit", "1h", "--benchmark-model", tools["right"])
    run.until_round(2, phone, command="benchmark_model --")
    phone.drop()
    assert run.end() == DEVICE_FAILED
    assert_says(one_error(run), "the connection to the phone ended")
    (stored,) = run.stored()
    assert stored["measurements"][0]["verdict"] == "INVALID"
    assert_put_right(phone, run)


@ONE
def test_it_throttles(phone, start):
    run = start(phone, *ONE_BLOCK[:-4], "--min-blocks", "4", "--max-blocks", "4")
    run.until_round(2, phone)
    phone.set_state(thermal_status=3, skin_c=47.0, cpu_c=88.0)
    phone.set_highest_clock(1.2e9)
    assert run.end() == 1
    (stored,) = run.stored()
    (measurement,) = stored["measurements"]
    assert measurement["verdict"] == "INVALID"
    reasons = {reason["rule"]: reason["text"] for reason in measurement["reasons"]}
    assert_says(
        reasons["thermal_throttled"], r"Android held the device back .* after block .*\(thermal status 3, severe\)"
    )
    assert_says(reasons["clock_limited"], "limited core 4 to 1200 MHz of 2400")
    assert "INVALID: Android held the device back" in run.stdout
    assert_put_right(phone, run)


@ONE
def test_another_version_of_adb_takes_the_server_away(phone, start, adb_server):
    run = start(phone, *NO_END)
    run.until_round(2, phone)
    adb_server.run("kill-server")
    assert run.end() == DEVICE_FAILED
    assert_says(one_error(run), "adb's server was ended here")
    assert_kept(run)
    until(lambda: put_right(phone), "the end of the keeper")
    with server_of_version(39, int(adb_server.environment["ANDROID_ADB_SERVER_PORT"])):
        second = start(phone, *ONE_BLOCK)
        assert second.end() == DEVICE_FAILED
        assert_says(one_error(second), r"adb server of another version \(39, .* MNET_ADB")
    adb_server.run("start-server")
    phone.connect()
    assert_works(phone, start)


@contextmanager
def server_of_version(version, port):
    """Answer as an adb server of another version does when it is asked for that; the rest it does not hear."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self):
            with suppress(OSError):
                if self.rfile.read(16).endswith(b"host:version"):
                    self.wfile.write(b"OKAY0004%04x" % version)

    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_address = True
        address_family = socket.AF_INET

    with Server(("127.0.0.1", port), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield
        server.shutdown()


@ONE
def test_the_runner_is_killed(phone, start):
    run = start(phone, *NO_END)
    run.until_round(2, phone)
    until(lambda: phone.kill(AGENT_RUNS), "the program")
    assert run.end() == DEVICE_FAILED
    assert "the engine was killed by SIGKILL" in one_error(run)
    assert_kept(run)
    assert_put_right(phone, run)
    assert_works(phone, start)


@ONE
def test_the_runner_hangs(phone, start):
    """A stopped process hears neither that its input ends nor SIGTERM."""
    run = start(phone, *NO_END, *SOON)
    run.until_round(2, phone)
    until(lambda: phone.kill(AGENT_RUNS, signal.SIGSTOP), "the program")
    assert run.end() == DEVICE_FAILED
    assert "a block did not end within 10 s and was stopped" in one_error(run)
    assert_kept(run)
    assert_put_right(phone, run)
    assert_works(phone, start)


@ONE
def test_the_keeper_is_killed(phone, start):
    run = start(phone, *NO_END)
    run.until_round(2, phone)
    until(lambda: phone.kill(KEEPER), "the program")
    assert run.end() == DEVICE_FAILED
    assert "the program that held the device ended there (killed by SIGKILL)" in one_error(run)
    assert_kept(run)
    assert run.leftovers(phone) == []
    until(lambda: not phone.processes(), "the runner's end")
    assert phone.temporary_files() != []  # who should have removed them is dead
    assert_works(phone, start, warned=True)


@ONE
def test_it_is_switched_off(fresh_phone, start):
    phone = fresh_phone()
    run = start(phone, *NO_END)
    run.until_round(2, phone)
    phone.stop()
    assert run.end() == DEVICE_FAILED
    assert_says(one_error(run), "the connection to the phone ended")
    assert_kept(run)
    assert run.leftovers(phone) == []


@ONE
def test_two_at_once(phone, start):
    first = start(phone, *NO_END)
    first.until_round(1, phone)
    second = start(phone, *ONE_BLOCK)
    assert second.end() == DEVICE_FAILED
    assert_says(one_error(second), r"is being measured on by \S+ on \S+ since .* UTC; wait until that has ended")
    assert second.stored() == []
    first.until_round(3, phone)  # it did not notice
    first.process.send_signal(signal.SIGINT)
    assert first.end() == 130
    assert_put_right(phone, first)
    assert_works(phone, start)


@ONE
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_the_user_stops_it(phone, start, number):
    run = start(phone, *NO_END)
    run.until_round(2, phone)
    run.process.send_signal(number)
    assert run.end() == 130
    assert one_error(run) == "interrupted"
    assert_kept(run)
    assert_put_right(phone, run)
    assert_works(phone, start)


@BOTH
def test_mnet_itself_is_killed(phone, start):
    """Nothing here can clean up then; the phone does, once the clients of adb that were left behind are gone."""
    run = start(phone, *NO_END)
    run.until_round(2, phone)
    run.process.kill()
    assert run.end() == -signal.SIGKILL
    until(lambda: put_right(phone), "the phone's cleaning up")
    assert_put_right(phone, run)
    assert_works(phone, start)
