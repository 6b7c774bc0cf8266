"""The stand-in itself: the other device tests rest on it."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from device_tests.emulated_pi import emulated_pi
from device_tests.emulated_pi.emulated_pi import EmulatedPi
from device_tests.emulated_pi.host import run
from mnet_deploy.runners.local import infer

ROOT = Path(__file__).resolve().parent.parent
# The engine of 2023 has kernels that round some layers differently: answers near those of today's, not equal.
OLD_ENGINE_STEPS = 1
TFLITE_RUNTIME = """\
import sys
import numpy as np
from tflite_runtime.interpreter import Interpreter
interpreter = Interpreter(sys.argv[1])
interpreter.allocate_tensors()
given, answered = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
answers = []
for value in np.load(sys.argv[2]):
    interpreter.set_tensor(given["index"], value[None])
    interpreter.invoke()
    answers.append(interpreter.get_tensor(answered["index"]))
np.save(sys.argv[3], np.concatenate(answers))
"""


def output_of(pi, command):
    done = pi.ssh(command)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def folder(pi):
    """Return a folder on the device, removed afterwards."""
    path = output_of(pi, "mktemp -d")
    yield path
    output_of(pi, f"rm -r {path}")


def test_it_is_arm(pi):
    assert output_of(pi, "uname -m") == "aarch64"


@pytest.mark.emulated_only
@pytest.mark.parametrize(
    ("cpu", "model", "feature"),
    [("cortex-a72", "Raspberry Pi 4 Model B", "asimd"), ("cortex-a76", "Raspberry Pi 5 Model B", "asimddp")],
)
def test_it_shows_the_board(fresh_pi, cpu, model, feature):
    pi = fresh_pi(cpu=cpu)
    assert output_of(pi, "cat /sys/firmware/devicetree/base/model").startswith(model)
    assert feature in output_of(pi, "grep -m 1 Features /proc/cpuinfo").split()
    assert output_of(pi, "grep -c ^processor /proc/cpuinfo") == "4"
    assert output_of(pi, "cat /sys/devices/system/cpu/cpu3/cpufreq/scaling_governor") == "ondemand"
    assert output_of(pi, "uname -r; hostname").split() == [pi._board.kernel, "fresh"]


def test_edits_of_the_hardware_show_at_once(fresh_pi):
    pi = fresh_pi()
    assert output_of(pi, "vcgencmd get_throttled; vcgencmd measure_temp").split() == ["throttled=0x0", "temp=48.7'C"]
    pi.set_throttled(0x50005)
    pi.set_temperature_c(81.25)
    pi.set_clock_hz(1.5e9)
    pi.set_governor("performance")
    pi.set_load(2.5)
    commands = "vcgencmd get_throttled; vcgencmd measure_temp; vcgencmd measure_clock arm; cut -d' ' -f1 /proc/loadavg"
    expected = ["throttled=0x50005", "temp=81.2'C", "frequency(48)=1500000000", "2.50"]
    assert output_of(pi, commands).split() == expected
    assert output_of(pi, "cat /sys/devices/system/cpu/cpu3/cpufreq/scaling_governor") == "performance"


@pytest.mark.parametrize(("writable", "left"), [(False, "ondemand"), (True, "performance")])
def test_the_governor_obeys_only_where_it_may(fresh_pi, writable, left):
    pi = fresh_pi(governor_writable=writable)
    done = pi.ssh("echo performance >/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    assert ("Permission denied" in done.stderr) is not writable
    assert pi.governor() == left


def inputs_for(suffix):
    random = np.random.default_rng(0)
    if suffix == ".tflite":
        return random.integers(-128, 128, (4, 64, 64, 3), dtype=np.int8)
    return random.uniform(-1, 1, (4, 3, 64, 64)).astype(np.float32)


@pytest.mark.parametrize("suffix", [".tflite", ".onnx"])
def test_the_engines_compute_what_they_compute_here(pi, folder, tiny_models, tmp_path, suffix):
    inputs = inputs_for(suffix)
    answers = ask_agent(pi, folder, tiny_models[suffix], inputs, tmp_path)
    np.testing.assert_array_equal(answers, infer(tiny_models[suffix], inputs).outputs)


def ask_agent(pi, folder, model, inputs, tmp_path):
    np.save(tmp_path / "inputs.npy", inputs)
    for file in (ROOT / "runners/on_device/agent.py", model, tmp_path / "inputs.npy"):
        pi.client.push(file, f"{folder}/{file.name}")
    options = f"--model {folder}/{model.name} --inputs {folder}/inputs.npy --outputs {folder}/outputs.npy --nonce n"
    said = output_of(pi, f"{pi.python} {folder}/agent.py infer {options}")
    assert '"machine": "aarch64"' in said
    pi.client.pull(f"{folder}/outputs.npy", tmp_path / "outputs.npy")
    return np.load(tmp_path / "outputs.npy")


def test_tflite_runtime_runs(pi, tiny_models, tmp_path):
    check_tflite_runtime(pi, tiny_models, tmp_path)


@pytest.mark.armhf
def test_the_32_bit_system(fresh_pi, tiny_models, tmp_path):
    pi = fresh_pi(cpu="cortex-a15")
    assert output_of(pi, "uname -m; getconf LONG_BIT; dpkg --print-architecture").split() == ["armv7l", "32", "armhf"]
    check_tflite_runtime(pi, tiny_models, tmp_path)


def check_tflite_runtime(pi, tiny_models, tmp_path):
    folder = output_of(pi, "mktemp -d")
    inputs = inputs_for(".tflite")
    np.save(tmp_path / "inputs.npy", inputs)
    (tmp_path / "script.py").write_text(TFLITE_RUNTIME)
    for file in (tmp_path / "script.py", tiny_models[".tflite"], tmp_path / "inputs.npy"):
        pi.client.push(file, f"{folder}/{file.name}")
    output_of(pi, f"cd {folder} && {pi.python} script.py {tiny_models['.tflite'].name} inputs.npy outputs.npy")
    pi.client.pull(f"{folder}/outputs.npy", tmp_path / "outputs.npy")
    output_of(pi, f"rm -r {folder}")
    expected = infer(tiny_models[".tflite"], inputs).outputs.astype(int)
    assert np.abs(np.load(tmp_path / "outputs.npy").astype(int) - expected).max() <= OLD_ENGINE_STEPS


def test_two_at_once(fresh_pi):
    first, second = fresh_pi("one"), fresh_pi("two", cpu="cortex-a76")
    assert first.ip != second.ip
    assert [output_of(pi, "hostname") for pi in (first, second)] == ["one", "two"]
    output_of(first, "touch /tmp/mine")
    assert (first.temporary_files(), second.temporary_files()) == (["/tmp/mine"], [])


@pytest.mark.parametrize(
    ("option", "command", "said"),
    [
        ("hide_python", "python3 --version", "not found"),
        ("hide_python", "/opt/bench/bin/python --version", "No such file"),
        ("hide_venv", "python3 -m venv /tmp/environment", "ensurepip is not"),
        ("hide_venv", "python3 -m pip --version", "No module named pip"),
    ],
)
def test_python_hides(fresh_pi, option, command, said):
    done = fresh_pi(**{option: True}).ssh(command)
    assert done.returncode
    assert said in done.stdout + done.stderr


def test_a_full_disk(fresh_pi):
    done = fresh_pi(small_tmp_bytes=1_000_000).ssh("head -c 2000000 /dev/zero >/tmp/large")
    assert "No space left on device" in done.stderr


def test_a_host_that_wants_a_password(fresh_pi):
    done = fresh_pi(authorize_key=False).ssh("true")
    assert done.returncode == 255
    assert "Permission denied (publickey,password)" in done.stderr


def test_a_host_with_another_key_than_known(fresh_pi):
    done = fresh_pi(wrong_host_key=True).ssh("true")
    assert done.returncode == 255
    assert "REMOTE HOST IDENTIFICATION HAS CHANGED" in done.stderr


class Session:
    """`sleep` on the device, in an ssh session of its own."""

    def __init__(self, pi):
        options = ["-o", "ServerAliveInterval=1", "-o", "ServerAliveCountMax=3"]
        self.process = subprocess.Popen(
            ["ssh", "-F", str(pi.ssh_config), *options, pi.name, "echo ready; exec sleep 600"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout.readline() == "ready\n"

    def end(self):
        """Return the exit status and the last words."""
        _, said = self.process.communicate(timeout=60)
        return self.process.returncode, said


def test_killed_sessions(fresh_pi):
    pi = fresh_pi()
    session = Session(pi)
    assert pi.processes() == ["sleep 600"]
    pi.kill_sessions()
    status, said = session.end()
    assert status == 255
    assert "closed by remote host" in said
    assert output_of(pi, "hostname") == "fresh"


def test_a_pulled_cable(fresh_pi):
    pi = fresh_pi()
    session = Session(pi)
    pi.link_down()
    status, said = session.end()
    assert status == 255
    assert "not responding" in said
    assert "No route to host" in pi.ssh("true").stderr
    assert "sleep 600" in pi.processes()
    pi.link_up()
    assert output_of(pi, "hostname") == "fresh"


def test_a_power_cut(fresh_pi):
    pi = fresh_pi()
    output_of(pi, "touch /tmp/kept")
    session = Session(pi)
    pi.power_cut()
    assert session.end()[0] == 255
    assert not pi.running()
    pi.power_on()
    assert (pi.processes(), pi.temporary_files()) == ([], ["/tmp/kept"])


def traces_of(index, folder):
    """Return what a stand-in has left on this machine."""
    names = [line for line in run("ip", "-br", "link").splitlines() if line.startswith(f"mnet-pi-{index}@")]
    names += [line for line in run("ip", "netns").splitlines() if line.split()[0] == f"mnet-pi-{index}"]
    names += [str(path) for path in (folder, emulated_pi.STATE / f"{index}.json") if path.exists()]
    mounts = Path("/proc").glob("[0-9]*/mounts")
    return names + [str(path) for path in mounts if str(folder) in read(path)]


def read(path):
    try:
        return path.read_text()
    except OSError:  # the process has ended
        return ""


@pytest.mark.emulated_only
@pytest.mark.parametrize("error", [None, KeyboardInterrupt])
def test_nothing_is_left(error):
    pi = EmulatedPi("short")
    try:
        with pi:
            assert len(traces_of(pi.index, pi.folder)) > 3
            session = Session(pi)
            if error:
                raise error
    except KeyboardInterrupt:
        pass
    session.process.kill()
    session.end()
    assert traces_of(pi.index, pi.folder) == []


@pytest.fixture
def running(tmp_path):
    """Start one by the command line; return its process, its folder and its index."""
    folder = tmp_path / "run"
    command = (sys.executable, str(ROOT / "device_tests/emulated_pi"), "run", "--folder", str(folder))
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert [process.stdout.readline() for _ in range(2)][1] == f"  ssh -F {folder}/ssh_config pi4\n"
        notes = {read(note): int(note.stem) for note in emulated_pi.STATE.glob("*.json")}
        try:
            yield process, folder, notes[json.dumps({"folder": str(folder)})]
        finally:
            process.kill()
            process.wait(timeout=10)
            emulated_pi.remove_leftovers()


@pytest.mark.emulated_only
def test_leftovers_of_a_killed_run_are_removed(running):
    process, folder, index = running
    emulated_pi.remove_leftovers()
    assert len(traces_of(index, folder)) > 3
    process.kill()
    process.wait(timeout=10)
    assert len(traces_of(index, folder)) > 3
    emulated_pi.remove_leftovers()
    assert traces_of(index, folder) == []


@pytest.mark.emulated_only
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_cleans_up(running, number):
    process, folder, index = running
    process.send_signal(number)
    assert process.wait(timeout=30) == 130
    assert traces_of(index, folder) == []


@pytest.mark.emulated_only
def test_without_root_one_line_says_so():
    words = (sys.executable, "-m", "pytest", "-p", "no:cacheprovider", __file__, "-k", "test_it_is_arm")
    done = subprocess.run(["unshare", "--user", *words], capture_output=True, text=True, timeout=120, cwd=ROOT)
    assert done.returncode == 3
    last = done.stdout.splitlines()[-1]
    assert "the stand-in Raspberry Pi needs root" in last
    assert "make device-test" in last
