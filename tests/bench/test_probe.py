import shutil
import subprocess
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import pytest

from mnet_deploy.errors import CommandFailed, LinkLost
from mnet_deploy.measurement.device_info import Conditions, Core, DeviceInfo
from mnet_deploy.runners import probe_answers
from mnet_deploy.runners.answers import parse_answers
from mnet_deploy.runners.probe import probe_conditions, probe_device, probe_python, probe_userland
from mnet_deploy.runners.probe_answers import PythonOnDevice, Userland
from mnet_deploy.runners.transports.deadline import Deadline
from mnet_deploy.runners.transports.local_transport import LocalTransport

SOON = 30.0  # seconds
RECORDED = Path(__file__).with_name("recorded")  # what probe.sh printed on a stand-in Raspberry Pi 4
SCRIPT = files("mnet_deploy.runners.on_device") / "probe.sh"
SHELLS = (["sh"], ["dash"], ["bash", "--posix"], ["busybox", "sh"], ["mksh"])


def recorded(name):
    return parse_answers((RECORDED / f"probe_{name}_emulated_pi4.txt").read_text())


def answers(*lines):
    return parse_answers("\n".join((*lines, "end=probe")))


def test_the_stand_in_is_known_as_a_pi_that_is_emulated():
    assert probe_answers.device_info(recorded("device"), "ssh://pi@host") == DeviceInfo(
        address="ssh://pi@host",
        model="Raspberry Pi 4 Model B Rev 1.5",
        soc="BCM2711 (Cortex-A72)",
        machine="aarch64",
        cores=tuple(Core(number=number, max_clock_hz=1.8e9) for number in range(4)),
        memory_bytes=3994304 * 1024,
        os="Debian GNU/Linux 12 (bookworm)",
        kernel="6.12.47+rpt-rpi-v8",
        emulated="qemu-user",
    )


def test_conditions_of_the_stand_in():
    found = probe_answers.conditions(recorded("conditions"))
    assert found == Conditions(
        throttle_bits=0,
        temperature_c=48.7,
        governor="ondemand",
        clocks_hz=(6e8,) * 4,
        load_1min=0.05,
        busy_cores=found.busy_cores,
        free_memory_bytes=3694304 * 1024,
    )
    assert 0 < found.busy_cores <= 2


def test_userland_of_the_stand_in():
    found = probe_answers.userland(recorded("userland"))
    assert found.python == PythonOnDevice(
        path="/usr/bin/python3",
        version="3.11.2",
        bits=64,
        platform="linux-aarch64",
        has_venv=True,
        has_pip=True,
        glibc="2.36",
    )
    assert (found.glibc, found.home) == ("2.36", "/home/pi")
    assert found.free_home_bytes == 69117784 * 1024


def test_what_is_not_said_is_unknown():
    assert probe_answers.device_info(answers(), "local:") == DeviceInfo(address="local:")
    assert probe_answers.conditions(answers()) == Conditions()
    assert probe_answers.userland(answers()) == Userland()


@pytest.mark.parametrize("text", ["", "machine=aarch64\n", "machine=aarch64\nend=pro"])
def test_an_answer_that_was_cut_off_is_none(text):
    with pytest.raises(LinkLost, match="without its last line"):
        parse_answers(text)


@pytest.mark.parametrize(
    ("before", "after", "busy"),
    [
        ("0 0 0 0 0 0 0 0 0 0", "0 0 0 120 0 0 0 0 0 0", 0.0),
        ("9 9 9 9 9 9 9 9 9 9", "39 9 9 99 9 9 9 9 39 9", 1.0),  # a guest's time is in the first field already
        ("0 0 0 0 0 0 0 0", "10 10 10 20 40 10 10 10", 2.0),  # waiting for a disk keeps no core busy
        ("0 0 0 0 50 0 0 0", "30 0 0 90 49 0 0 0", 1.0),  # that counter goes backwards at times
    ],
)
def test_busy_cores_are_the_share_of_time_that_was_not_idle(before, after, busy):
    found = answers(f"stat=cpu  {before}", f"stat=cpu  {after}", "stat_cores=4")
    assert probe_answers.conditions(found).busy_cores == pytest.approx(busy)


@pytest.mark.parametrize(
    ("lines", "bits"),
    [
        (["vcgencmd_throttled=throttled=0x50005"], 0x50005),
        (["vcgencmd_throttled=throttled=0x0"], 0),
        (['vcgencmd_throttled=error=1 error_msg="Command not registered"'], None),
        (["firmware_throttled=50000"], 0x50000),
        (["firmware_throttled=0"], None),  # it reads 0 although the firmware knows better
        ([], None),
    ],
)
def test_throttle_bits(lines, bits):
    assert probe_answers.conditions(answers(*lines)).throttle_bits == bits


@pytest.mark.parametrize(
    ("lines", "temperature_c"),
    [
        (["zone=27800 acpitz", "zone=51000 x86_pkg_temp"], 51.0),
        (["zone=27800 acpitz"], None),
        (["zone=44000 soc_thermal", "zone=60000 gpu-thermal"], 44.0),
        (["zone=60000 gpu-thermal", "vcgencmd_temperature=temp=48.7'C"], 48.7),
        (["zone=-274000 cpu-thermal"], None),
        (["zone=-5000 cpu_thermal"], -5.0),
    ],
)
def test_the_temperature_is_the_processors(lines, temperature_c):
    assert probe_answers.conditions(answers(*lines)).temperature_c == temperature_c


def test_limits_of_the_clock_are_those_of_the_cores():
    said = answers("clock=600000", "clock_limit=1800000", "clock=600000", "clock_limit=1000000")
    assert probe_answers.conditions(said).limits_hz == (1.8e9, 1e9)


def test_governors_that_differ_are_all_named():
    found = answers("governor=schedutil", "governor=schedutil", "governor=performance")
    assert probe_answers.conditions(found).governor == "schedutil,performance"


@pytest.mark.parametrize(
    ("lines", "model", "soc"),
    [
        (["cpu_name=AMD Ryzen 7"], "AMD Ryzen 7", "AMD Ryzen 7"),
        (["cpuinfo_model=Raspberry Pi 3 Model B Plus Rev 1.3"], "Raspberry Pi 3 Model B Plus Rev 1.3", None),
        (["cpu_implementer=0x41", "cpu_part=0xd03", "cpu_part=0xd09"], None, "Cortex-A53 + Cortex-A73"),
        (["cpu_implementer=0x61", "cpu_part=0xd03"], None, None),
    ],
)
def test_other_devices(lines, model, soc):
    found = probe_answers.device_info(answers(*lines), "local:")
    assert (found.model, found.soc) == (model, soc)


def test_without_sysfs_the_cores_are_counted():
    found = probe_answers.device_info(answers("processors=2"), "local:")
    assert found.cores == (Core(number=0), Core(number=1))


@pytest.mark.parametrize(("bits", "platform"), [(32, "linux-armv7l"), (64, "linux-aarch64")])
def test_a_kernel_of_64_bits_does_not_hide_a_python_of_32(bits, platform):
    lines = ["python=/usr/bin/python3", "python_version=3.11.2", "python_platform=linux-aarch64"]
    assert probe_answers.userland(answers(*lines, f"python_bits={bits}")).python.platform == platform


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
@pytest.mark.parametrize("arguments", [["device"], ["conditions"], ["conditions", "0.01"], ["userland"]], ids=" ".join)
def test_every_shell_reads_the_script(shell, arguments):
    if not shutil.which(shell[0]):
        pytest.skip(f"needs {shell[0]}")
    done = subprocess.run([*shell, "-s", *arguments], input=SCRIPT.read_bytes(), capture_output=True, timeout=SOON)
    assert (done.returncode, done.stderr) == (0, b"")
    found = parse_answers(done.stdout.decode())
    assert len(found) > 2


def test_this_machine():
    with LocalTransport() as local:
        device = probe_device(local, Deadline.after(SOON))
        quick = probe_conditions(local, Deadline.after(SOON), busy=False)
        watched = probe_conditions(local, Deadline.after(SOON), busy=True)
        found = probe_userland(local, Deadline.after(SOON))
    assert device.address == "local:"
    assert device.machine
    assert device.cores
    assert device.memory_bytes > 0
    assert quick.busy_cores is None
    assert watched.busy_cores is None or 0 <= watched.busy_cores <= len(device.cores)
    assert found.home == str(Path.home())
    assert found.free_home_bytes > 0


def test_a_python_that_is_not_there_and_one_that_does_not_run(tmp_path):
    broken = tmp_path / "python with spaces"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    with LocalTransport() as local:
        assert probe_python(local, Deadline.after(SOON), python=str(tmp_path / "none")) is None
        found = probe_userland(local, Deadline.after(SOON), python=str(broken))
    assert (found.python, found.broken_python) == (None, str(broken))


DAMAGED = {
    "a core that is none": "core=abc 1",
    "a core of many digits": f"core={'9' * 400} 1",
    "more processors than there can be": "processors=99999999999",
    "a clock of many digits": f"clock={'9' * 400}",
    "a temperature of many digits": f"zone={'9' * 5000} cpu-thermal",
    "a temperature with two points": "vcgencmd_temperature=temp=4.8.7'C",
    "a load of many digits": f"load={'9' * 400}.0",
    "ticks that are none": "stat=cpu a b\nstat=cpu 1 2\nstat_cores=4",
    "ticks of two lengths": "stat=cpu 1 2 3 4 5 6 7 8\nstat=cpu 1 2\nstat_cores=4",
    "too few ticks": "stat=cpu 1 2\nstat=cpu 1 3\nstat_cores=4",
    "throttle bits of many digits": f"vcgencmd_throttled=throttled=0x{'f' * 400}",
    "the kernel's throttle bits of many digits": f"firmware_throttled={'f' * 400}",
    "memory of many digits": f"memory_kib={'9' * 400}\navailable_kib={'9' * 400}\nmemory_bytes={'9' * 5000}",
}


@pytest.mark.parametrize("lines", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_answer_is_unknown(lines):
    said = parse_answers(f"{lines}\nend=probe\n")
    cores = probe_answers.device_info(said, "local:").cores
    assert len(cores) <= probe_answers._MOST_CORES
    assert replace(probe_answers.device_info(said, "local:"), cores=()) == DeviceInfo(address="local:")
    assert probe_answers.conditions(said) == Conditions()


def test_what_a_terminal_would_obey_is_replaced():
    said = parse_answers("model=Pi\x1b]0;title\x07 4\nend=probe\n")
    assert probe_answers.device_info(said, "local:").model == "Pi\ufffd]0;title\ufffd 4"


def test_an_unknown_mode_is_refused():
    with LocalTransport() as local, pytest.raises(CommandFailed, match="expected device, conditions or userland"):
        local.run_check(["sh", "-s", "nothing"], deadline=Deadline.after(SOON), stdin=SCRIPT.read_bytes())
