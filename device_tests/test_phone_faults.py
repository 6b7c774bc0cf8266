"""What goes wrong on a phone, on the way to it, or here: each ends in one line that says what to do, nothing is left
running or lying about on either side, nothing that was measured is lost, and the next run works.
"""

import signal
import socket
import socketserver
import threading
from contextlib import contextmanager, suppress

import pytest

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
from device_tests.mnet_runs import AGENT_RUNS, NO_END, ONE_BLOCK, until

pytestmark = [pytest.mark.emulated_only, pytest.mark.timeout(900)]
BOTH = pytest.mark.parametrize("adb_server", ["on PATH", "of adbutils"], indirect=True)
ONE = pytest.mark.parametrize("adb_server", ["on PATH"], indirect=True)
KEEPER = "keeper --owner "  # in its command line
TMP = "/data/local/tmp"
SOON = ("--block-timeout", "10s")


@pytest.fixture
def phone(fresh_phone):
    return fresh_phone()


@BOTH
def test_the_link_is_dropped_during_a_block(phone, bench_phone):
    run = bench_phone(phone, *NO_END)
    run.until_round(2, phone)
    phone.drop()
    assert run.end() == DEVICE_FAILED
    assert_says(one_error(run), "the connection to the phone ended: it was unplugged or switched off")
    assert_kept(run)
    assert_put_right(phone, run)
    phone.connect()
    assert_works(phone, bench_phone)


@BOTH
@pytest.mark.parametrize("files", [0, 2])
def test_the_link_is_dropped_during_a_push(phone, bench_phone, files):
    phone.set_mode("drop-in-push", files)
    run = bench_phone(phone, *ONE_BLOCK)
    assert run.end() == DEVICE_FAILED
    assert_says(one_error(run), r"the connection to the phone ended: .*\(while copying \S+ was running\)")
    assert run.stored() == []
    assert_put_right(phone, run)
    phone.connect()
    assert_works(phone, bench_phone)


@ONE
def test_the_link_is_dropped_during_a_pull(phone, bench_phone):
    phone.set_mode("drop-in-pull")
    run = bench_phone(phone, verb="verify")
    assert run.end() == DEVICE_FAILED
    assert_says(one_error(run), r"the connection to the phone ended: .*\(while copying \S+ was running\)")
    assert_put_right(phone, run)
    phone.connect()
    assert_works(phone, bench_phone)


@ONE
def test_the_link_freezes(phone, bench_phone):
    run = bench_phone(phone, *NO_END, *SOON)
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
    assert_works(phone, bench_phone)


@BOTH
def test_it_is_unplugged_between_copying_and_running(phone, bench_phone, tiny_models):
    run = bench_phone(phone, *ONE_BLOCK)
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
    assert_works(phone, bench_phone)


@ONE
def test_its_storage_fills_up(fresh_phone, bench_phone):
    """Nothing is written there during a block, so that this does no harm, and it is still put right at the end."""
    phone = fresh_phone(storage_bytes=20_000_000)
    run = bench_phone(phone, *NO_END)
    run.until_round(2, phone)
    filler = phone.path(f"{TMP}/filler")
    fill(filler)
    run.until_round(4, phone)
    run.process.send_signal(signal.SIGINT)
    assert run.end() == 130
    until(lambda: phone.temporary_files() == ["filler"] and not phone.processes(), "the end of the session")
    assert run.leftovers(phone) == []


@ONE
def test_the_link_is_dropped_while_benchmark_model_runs(phone, bench_phone, phone_tools):
    run = bench_phone(phone, *NO_END[:-4], "--time-limit", "1h", "--benchmark-model", phone_tools["right"])
    run.until_round(2, phone, command="benchmark_model --")
    phone.drop()
    assert run.end() == DEVICE_FAILED
    assert_says(one_error(run), "the connection to the phone ended")
    (stored,) = run.stored()
    assert stored["measurements"][0]["verdict"] == "INVALID"
    assert_put_right(phone, run)


@ONE
def test_it_throttles(phone, bench_phone):
    run = bench_phone(phone, *ONE_BLOCK[:-4], "--min-blocks", "4", "--max-blocks", "4")
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
def test_another_version_of_adb_takes_the_server_away(phone, bench_phone, adb_server):
    run = bench_phone(phone, *NO_END)
    run.until_round(2, phone)
    adb_server.run("kill-server")
    assert run.end() == DEVICE_FAILED
    assert_says(one_error(run), "adb's server was ended here")
    assert_kept(run)
    until(lambda: put_right(phone), "the end of the keeper")
    with server_of_version(39, int(adb_server.environment["ANDROID_ADB_SERVER_PORT"])):
        second = bench_phone(phone, *ONE_BLOCK)
        assert second.end() == DEVICE_FAILED
        assert_says(one_error(second), r"adb server of another version \(39, .* MNET_ADB")
    adb_server.run("start-server")
    phone.connect()
    assert_works(phone, bench_phone)


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
def test_the_runner_is_killed(phone, bench_phone):
    run = bench_phone(phone, *NO_END)
    run.until_round(2, phone)
    until(lambda: phone.kill(AGENT_RUNS), "the program")
    assert run.end() == DEVICE_FAILED
    assert "the engine was killed by SIGKILL" in one_error(run)
    assert_kept(run)
    assert_put_right(phone, run)
    assert_works(phone, bench_phone)


@ONE
def test_the_runner_hangs(phone, bench_phone):
    """A stopped process hears neither that its input ends nor SIGTERM."""
    run = bench_phone(phone, *NO_END, *SOON)
    run.until_round(2, phone)
    until(lambda: phone.kill(AGENT_RUNS, signal.SIGSTOP), "the program")
    assert run.end() == DEVICE_FAILED
    assert "a block did not end within 10 s and was stopped" in one_error(run)
    assert_kept(run)
    assert_put_right(phone, run)
    assert_works(phone, bench_phone)


@ONE
def test_the_keeper_is_killed(phone, bench_phone):
    run = bench_phone(phone, *NO_END)
    run.until_round(2, phone)
    until(lambda: phone.kill(KEEPER), "the program")
    assert run.end() == DEVICE_FAILED
    assert "the program that held the device ended there (killed by SIGKILL)" in one_error(run)
    assert_kept(run)
    assert run.leftovers(phone) == []
    until(lambda: not phone.processes(), "the runner's end")
    assert phone.temporary_files() != []  # who should have removed them is dead
    assert_works(phone, bench_phone, warned=True)


@ONE
def test_it_is_switched_off(fresh_phone, bench_phone):
    phone = fresh_phone()
    run = bench_phone(phone, *NO_END)
    run.until_round(2, phone)
    phone.stop()
    assert run.end() == DEVICE_FAILED
    assert_says(one_error(run), "the connection to the phone ended")
    assert_kept(run)
    assert run.leftovers(phone) == []


@ONE
def test_two_at_once(phone, bench_phone):
    first = bench_phone(phone, *NO_END)
    first.until_round(1, phone)
    second = bench_phone(phone, *ONE_BLOCK)
    assert second.end() == DEVICE_FAILED
    assert_says(one_error(second), r"is being measured on by \S+ on \S+ since .* UTC; wait until that has ended")
    assert second.stored() == []
    first.until_round(3, phone)  # it did not notice
    first.process.send_signal(signal.SIGINT)
    assert first.end() == 130
    assert_put_right(phone, first)
    assert_works(phone, bench_phone)


@ONE
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_the_user_stops_it(phone, bench_phone, number):
    run = bench_phone(phone, *NO_END)
    run.until_round(2, phone)
    run.process.send_signal(number)
    assert run.end() == 130
    assert one_error(run) == "interrupted"
    assert_kept(run)
    assert_put_right(phone, run)
    assert_works(phone, bench_phone)


@BOTH
def test_mnet_itself_is_killed(phone, bench_phone):
    """Nothing here can clean up then; the phone does, once the clients of adb that were left behind are gone."""
    run = bench_phone(phone, *NO_END)
    run.until_round(2, phone)
    run.process.kill()
    assert run.end() == -signal.SIGKILL
    until(lambda: put_right(phone), "the phone's cleaning up")
    assert_put_right(phone, run)
    assert_works(phone, bench_phone)
