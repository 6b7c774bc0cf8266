"""What the stand-in phone claims to be: files, answers and faults that the toolkit meets on real ones."""

import re
import signal
import subprocess
import sys
import time

import pytest

from device_tests.conftest import ROOT
from device_tests.emulated_phone import hardware
from device_tests.emulated_phone.phone_state import ANDROID_SDKS

pytestmark = pytest.mark.emulated_only
BOTH = pytest.mark.parametrize("adb_server", ["on PATH", "of adbutils"], indirect=True)
ONE = pytest.mark.parametrize("adb_server", ["on PATH"], indirect=True)
FOLDER = "/data/local/tmp"
CPUFREQ = "/sys/devices/system/cpu/cpu{}/cpufreq/{}"
TIMEOUT_S = 60


@pytest.fixture
def phone(fresh_phone):
    return fresh_phone()


def sh(phone, command):
    """Run a line of its shell and return what it prints."""
    return phone.server.run("-s", phone.serial, "shell", command)


def words(phone, command):
    return sh(phone, command).split()


def until(condition):
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@BOTH
def test_it_looks_like_android(phone):
    assert words(phone, "uname -sm; id -un; echo $TMPDIR") == ["Linux", "aarch64", "shell", FOLDER]
    assert words(phone, "for each in /lib /usr /tmp /dev/shm /run; do if [ -e $each ]; then echo $each; fi; done") == []
    assert words(phone, "readlink /bin /etc /system/bin/ls") == ["/system/bin", "/system/etc", "toybox"]
    assert "sh: nobody: inaccessible or not found" in sh(phone, "nobody")
    assert "Permission denied" in sh(phone, "ls /data/local")
    assert "Read-only file system" in sh(phone, "touch /system/x")
    assert words(phone, f"touch {FOLDER}/x; ls -l {FOLDER}")[2:6] == ["-rw-r--r--", "1", "shell", "shell"]


@ONE
def test_its_own_loader_finds_its_own_libraries_and_nothing_else(phone):
    listed = sh(phone, "/system/bin/linker64 --list /system/bin/toybox")
    assert "libc.so.6 => /system/lib64" in listed
    assert "not found" not in listed
    sh(phone, f"cp /system/bin/sh {FOLDER}/own; cp /system/bin/toybox {FOLDER}/toybox")
    assert words(phone, f"{FOLDER}/own -c 'echo static'; {FOLDER}/toybox echo dynamic") == ["static", "dynamic"]


@ONE
@pytest.mark.parametrize("android", ANDROID_SDKS)
def test_what_it_is(fresh_phone, android):
    phone = fresh_phone(android=android, model="A phone")
    names = ("model", "cpu.abilist", "manufacturer")
    shown = [sh(phone, f"getprop ro.product.{name}").rstrip("\n") for name in names]
    assert shown == ["A phone", "arm64-v8a,armeabi-v7a,armeabi", "mnet-deploy"]
    asked = "getprop ro.build.version.release; getprop ro.build.version.sdk; getprop ro.soc.model"
    assert words(phone, asked) == [str(android), str(ANDROID_SDKS[android]), phone.hardware.soc]
    assert sh(phone, "getprop no.such.property") == "\n"
    assert f"[ro.build.version.release]: [{android}]" in sh(phone, "getprop").splitlines()


@ONE
def test_a_32_bit_phone(fresh_phone):
    phone = fresh_phone(hardware="armv7")
    assert words(phone, "uname -m; getprop ro.product.cpu.abilist; toybox echo runs; taskset f0 nproc") == [
        *("armv7l", "armeabi-v7a,armeabi", "runs", "4"),
    ]
    assert "vfpv4" in sh(phone, "cat /proc/cpuinfo")


@ONE
def test_its_cores(phone):
    numbers = range(8)
    clocks = [f"cat {CPUFREQ.format(number, 'cpuinfo_max_freq')}" for number in numbers]
    assert words(phone, "; ".join(clocks)) == ["1800000"] * 4 + ["2400000"] * 4
    assert words(phone, f"nproc; getconf _NPROCESSORS_ONLN; cat {CPUFREQ.format(5, 'scaling_governor')}") == [
        *("8", "8", "schedutil"),
    ]
    shown = sh(phone, "cat /proc/cpuinfo")
    assert re.findall(r"^processor\t: (\d)$", shown, re.MULTILINE) == [str(number) for number in numbers]
    assert re.findall(r"^CPU part\t: (\S+)$", shown, re.MULTILINE) == ["0xd05"] * 4 + ["0xd0b"] * 4
    assert "ermission denied" in sh(phone, f"echo performance >{CPUFREQ.format(5, 'scaling_governor')}")
    phone.set_highest_clock(1.2e9)
    limits = "; ".join(f"cat {CPUFREQ.format(number, 'scaling_max_freq')}" for number in (0, 7))
    assert words(phone, limits) == ["1800000", "1200000"]


@ONE
@pytest.mark.parametrize("name", hardware.PHONES)
def test_programs_choose_cores_that_this_machine_lacks(fresh_phone, name):
    phone = fresh_phone(hardware=name)
    assert words(phone, "taskset f0 nproc; taskset 80 nproc; nproc") == ["4", "1", "8"]
    assert "mask: 30" in sh(phone, "taskset 30 sh -c 'taskset -p $$; true'")
    assert "mask: 30" in sh(phone, "taskset 30 sh -c 'sleep 5 & taskset -p $!; kill $!'")  # as started by another one
    assert "mask: 2" in sh(phone, "sleep 5 & taskset -p 2 $!; taskset -p $!; kill $!")
    assert "Invalid argument" in sh(phone, "taskset f00 nproc")
    assert "No such process" in sh(phone, "taskset -p 1 99999")


@ONE
@pytest.mark.parametrize("android", ANDROID_SDKS)
def test_its_state_is_shown_as_android_does(fresh_phone, android):
    phone = fresh_phone(android=android)
    assert "Thermal Status: 0" in sh(phone, "dumpsys thermalservice").splitlines()
    phone.set_state(thermal_status=3, cpu_c=71.5, skin_c=44.0, battery_c=41.2, battery_level=15, powered=False)
    thermal = sh(phone, "dumpsys thermalservice")
    assert "Thermal Status: 3" in thermal.splitlines()
    cached, _, now = thermal.partition("Cached temperatures:\n")[2].partition("Current temperatures from HAL:\n")
    assert "\tTemperature{mValue=71.5, mType=0, mName=CPU, mStatus=0}" in now.splitlines()
    assert "mValue=71.5" not in cached
    assert "mName=SKIN, mStatus=3" in thermal
    assert ("ThermalHAL AIDL 1  connected: yes" in thermal) == (android == 14)
    battery = sh(phone, "dumpsys battery").splitlines()
    for line in ("  USB powered: false", "  level: 15", "  scale: 100", "  temperature: 412", "  status: 3"):
        assert line in battery
    assert words(phone, "dumpsys power | grep mWakefulness=") == ["mWakefulness=Awake"]
    phone.set_state(screen_on=False)
    assert words(phone, "dumpsys power | grep mWakefulness=") == ["mWakefulness=Asleep"]
    assert sh(phone, "dumpsys nobody") == "Can't find service: nobody\n"


@ONE
def test_its_settings(phone):
    assert words(phone, "settings get global low_power") == ["null"]
    phone.set_state(power_saving=True)
    assert words(phone, "settings get global low_power") == ["1"]


@ONE
def test_a_place_that_runs_nothing(fresh_phone):
    phone = fresh_phone(noexec=True)
    said = sh(phone, f"cp /system/bin/sh {FOLDER}/own && {FOLDER}/own -c true; echo $?")
    assert "an't execute: Permission denied" in said
    assert said.endswith("126\n")


@BOTH
def test_it_is_unplugged_and_plugged_in_again(phone):
    command = f"(trap '' HUP; sleep 1; touch {FOLDER}/went-on; exec sleep 600) & sleep 500"
    shell = ("-s", phone.serial, "shell", command)
    arguments = {"env": phone.server.environment, "stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
    with subprocess.Popen([phone.server.adb, *shell], **arguments) as process:
        until(lambda: "sleep 500" in phone.processes())
        phone.unplug()
        process.wait(timeout=TIMEOUT_S)
    assert phone.serial not in phone.server.run("devices")
    until(lambda: phone.temporary_files() == ["went-on"])
    assert "sleep 600" in phone.processes()
    phone.plug_in()
    assert words(phone, "echo there") == ["there"]


@ONE
def test_what_runs_there_is_seen_and_ended_from_here(phone):
    sh(phone, "nohup sleep 600 >/dev/null 2>&1 &")
    until(lambda: phone.processes() == ["nohup sleep 600"])  # toybox runs its own program in place
    assert phone.kill("sleep 600", signal.SIGTERM)
    until(lambda: phone.processes() == [])
    assert not phone.kill("sleep 600")


@ONE
def test_it_is_started_and_changed_by_hand(adb_server):
    orders = "set thermal_status=2\nclock 1e9\nset nobody=1\nlook\n\n"
    command = (sys.executable, "-m", "device_tests.emulated_phone", "--android", "12")
    done = subprocess.run(
        command, input=orders, cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT_S, check=True
    )
    exported, address, *said = done.stdout.splitlines()
    assert re.match(r"export .*ANDROID_ADB_SERVER_PORT=\d+ .*ANDROID_SERIAL=127.0.0.1:\d+$", exported)
    assert address.startswith("# adb://127.0.0.1:")
    assert said[:2] + said[-1:] == ["done"] * 3
    assert "nobody" in said[2]
