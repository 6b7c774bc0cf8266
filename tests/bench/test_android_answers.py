"""What an Android device says of itself: the programs it is asked with are stand-ins that print AOSP's forms."""

import os
import random
import shutil
import subprocess
from importlib.resources import files

import pytest

from mnet_deploy.measurement.device_info import AndroidInfo, Conditions
from mnet_deploy.runners import probe_answers
from mnet_deploy.runners.answers import parse_answers
from mnet_deploy.runners.transports.deadline import Deadline
from mnet_deploy.runners.transports.local_transport import LocalTransport

SOON = 30.0  # seconds
SCRIPT = files("mnet_deploy.runners.on_device") / "probe.sh"
SHELLS = (["sh"], ["busybox", "sh"], ["mksh"])

PROPERTIES = """\
[dalvik.vm.heapsize]: [512m]
[ro.board.platform]: [zuma]
[ro.build.fingerprint]: [google/shiba/shiba:14/AP1A.240505.004/11583682:user/release-keys]
[ro.build.version.release]: [14]
[ro.build.version.release_or_codename]: [14]
[ro.build.version.sdk]: [34]
[ro.build.version.security_patch]: [2024-05-05]
[ro.hardware]: [shiba]
[ro.product.cpu.abilist]: [arm64-v8a,armeabi-v7a]
[ro.product.manufacturer]: [Google]
[ro.product.model]: [Pixel 8]
[ro.product.model.note]: [of two
[lines]: [in one]]
[ro.soc.model]: [Tensor G3]
"""
# AOSP, frameworks/base/services/core/java/com/android/server/power/ThermalManagerService.java, dumpInternal.
THERMAL = """\
IsStatusOverride: false
ThermalEventListeners:
\tcallbacks: 2
Thermal Status: 1
Cached temperatures:
\tTemperature{mValue=71.0, mType=0, mName=BIG, mStatus=0}
HAL Ready: true
HAL connection:
\tThermalHAL AIDL 1  connected: yes
Current temperatures from HAL:
\tTemperature{mValue=48.25, mType=0, mName=BIG, mStatus=0}
\tTemperature{mValue=0.0, mType=0, mName=MID, mStatus=0}
\tTemperature{mValue=44.0, mType=0, mName=LITTLE, mStatus=0}
\tTemperature{mValue=61.0, mType=1, mName=G3D, mStatus=0}
\tTemperature{mValue=33.5, mType=3, mName=VIRTUAL-SKIN, mStatus=1}
Current cooling devices from HAL:
\tCoolingDevice{mValue=0, mType=2, mName=thermal-cpufreq-0}
Temperature static thresholds from HAL:
\tTemperatureThreshold{mType=3, mName=VIRTUAL-SKIN, mHotThrottlingThresholds=[NaN, 39.0, 43.0, 45.0]}
"""
# The same, BatteryService.java, dumpInternal; some manufacturers add a log of events.
BATTERY = """\
Current Battery Service state:
  AC powered: false
  USB powered: true
  Wireless powered: false
  Max charging current: 500000
  status: 2
  health: 2
  present: true
  level: 76
  scale: 100
  Capacity level: -1
  voltage: 4123
  temperature: 291
  technology: Li-ion
[EventLogBuffer]
08-11 18:34:14.721  Sending ACTION_BATTERY_CHANGED: level:72, health:2, voltage:4120, temperature:345
"""
# The same, PowerManagerService.java, dumpInternal.
POWER = """\
POWER MANAGER (dumpsys power)

Power Manager State:
  Settings power_manager_constants:
    no_cached_wake_locks=true
  mDirty=0x0
  mWakefulness=Awake
  mWakefulnessChanging=false
Display Power: state=ON
"""
STATE = Conditions(
    temperature_c=48.25,
    thermal_status=1,
    battery_level=0.76,
    battery_temperature_c=29.1,
    powered=True,
    screen_on=True,
    power_saving=False,
)
NAMES = ("thermal_status", "battery_level", "battery_temperature_c", "powered", "screen_on", "power_saving")


def said(*lines):
    return parse_answers("\n".join((*lines, "end=probe")))


@pytest.fixture
def phone(tmp_path, monkeypatch):
    """Return a function that says what a program of Android prints; all of them are in PATH."""

    def prints(name, text, *, topic=None):
        (tmp_path / f"{name}-{topic or 'all'}").write_text(text)
        program = tmp_path / name
        program.write_text(f'#!/bin/sh\ncat "{tmp_path}/{name}-${{1:-all}}" 2>/dev/null\n')
        program.chmod(0o755)

    prints("getprop", PROPERTIES)
    for topic, text in (("thermalservice", THERMAL), ("battery", BATTERY), ("power", POWER)):
        prints("dumpsys", text, topic=topic)
    prints("settings", "0\n", topic="get")
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    return prints


def asked(mode, shell=("sh",)):
    done = subprocess.run([*shell, "-s", mode], input=SCRIPT.read_bytes(), capture_output=True, timeout=SOON)
    assert (done.returncode, done.stderr) == (0, b"")
    return parse_answers(done.stdout.decode())


def android_part(conditions):
    return {name: getattr(conditions, name) for name in (*NAMES, "temperature_c")}


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
def test_a_phone_says_what_it_is(shell, phone):
    if not shutil.which(shell[0]):
        pytest.skip(f"needs {shell[0]}")
    found = probe_answers.device_info(asked("device", shell), "adb://X")
    assert found.model == "Google Pixel 8"
    assert found.soc.startswith("Tensor G3")
    assert found.os == "Android 14"
    assert found.android == AndroidInfo(
        release="14",
        sdk=34,
        abis=("arm64-v8a", "armeabi-v7a"),
        fingerprint="google/shiba/shiba:14/AP1A.240505.004/11583682:user/release-keys",
        security_patch="2024-05-05",
    )


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
def test_a_phone_says_its_state(shell, phone):
    if not shutil.which(shell[0]):
        pytest.skip(f"needs {shell[0]}")
    assert android_part(probe_answers.conditions(asked("conditions", shell))) == android_part(STATE)


def test_what_a_service_does_not_say_is_unknown(phone):
    for topic in ("thermalservice", "battery", "power"):
        phone("dumpsys", f"Can't find service: {topic}\n", topic=topic)
    phone("settings", "cmd: Can't find service: settings\n", topic="get")
    found = probe_answers.conditions(asked("conditions"))
    assert {name: getattr(found, name) for name in NAMES} == dict.fromkeys(NAMES)


def test_much_that_services_say_is_cut_off_on_the_device(phone):
    phone("dumpsys", "Current temperatures from HAL:\n" + "Temperature{mValue=1}\n" * 5000, topic="thermalservice")
    phone("dumpsys", "level: 1\n" * 5000, topic="battery")
    phone("dumpsys", f"mWakefulness={'A' * 5000}\n" * 5000, topic="power")
    phone("settings", "1" * 5000, topic="get")
    assert sum(len(value) for values in asked("conditions").values() for value in values) < 10_000


def test_a_service_that_does_not_answer_is_not_waited_for(phone, tmp_path):
    if not shutil.which("timeout"):
        pytest.skip("needs timeout")
    program = tmp_path / "dumpsys"
    program.write_text('#!/bin/sh\nif [ "$1" = thermalservice ]; then exec sleep 1000; fi\ncat "$0-$1"\n')
    with LocalTransport() as local:
        result = local.run_check(["sh", "-s", "conditions"], deadline=Deadline.after(SOON), stdin=SCRIPT.read_bytes())
    found = probe_answers.conditions(parse_answers(result.stdout))
    assert (found.thermal_status, found.battery_level) == (None, 0.76)


def test_other_systems_say_nothing_of_android():
    found = asked("device") if not shutil.which("getprop") else said()
    assert probe_answers.device_info(found, "local:").android is None


@pytest.mark.parametrize(
    ("maker", "name", "expected"),
    [
        ("Google", "Pixel 8", "Google Pixel 8"),
        ("HTC", "HTC One M9", "HTC One M9"),
        ("OnePlus", "ONEPLUS A6003", "ONEPLUS A6003"),
        ("unknown", "Generic", "Generic"),
        ("", "SM-S901B", "SM-S901B"),
        ("Google", "", None),
    ],
)
def test_the_model_is_named_with_its_maker(maker, name, expected):
    found = said(f"ro.product.manufacturer={maker}", f"ro.product.model={name}")
    assert probe_answers.device_info(found, "adb://X").model == expected


@pytest.mark.parametrize(
    ("lines", "soc"),
    [
        (["ro.hardware=qcom", "ro.board.platform=taro", "ro.soc.model=SM8450"], "SM8450"),
        (["ro.hardware=qcom", "ro.board.platform=taro", "ro.hardware.chipname=SM8450"], "SM8450"),
        (["ro.hardware=qcom", "ro.board.platform=msm8996"], "msm8996"),
        (["ro.hardware=mt6789", "ro.soc.model=unknown"], "mt6789"),
        (
            ["ro.soc.model=Tensor G3", "cpu_implementer=0x41", "cpu_part=0xd46", "cpu_part=0xd4d", "cpu_part=0xd4e"],
            "Tensor G3 (Cortex-A510 + Cortex-A715 + Cortex-X3)",
        ),
    ],
)
def test_the_chip_is_what_it_is_called_most_closely(lines, soc):
    assert probe_answers.device_info(said(*lines), "adb://X").soc == soc


@pytest.mark.parametrize(
    ("lines", "emulated"),
    [
        (["ro.hardware=ranchu"], "Android Emulator"),
        (["ro.hardware=vbox86"], "Genymotion"),
        (["ro.hardware=cutf_cvm"], "Cuttlefish"),
        (["ro.hardware=other", "ro.kernel.qemu=1"], "Android Emulator"),
        (["ro.hardware=shiba", "ro.boot.qemu=0"], None),
    ],
)
def test_an_emulator_is_no_phone(lines, emulated):
    assert probe_answers.device_info(said(*lines), "adb://X").emulated == emulated


@pytest.mark.parametrize(
    ("lines", "changes"),
    [
        (["battery_level=40", "battery_scale=80"], {"battery_level": 0.5}),
        (["battery_level=100"], {"battery_level": 1.0}),
        (["battery_level=101"], {}),
        (["battery_level=-1"], {}),
        (["battery_level=5", "battery_scale=0"], {"battery_level": 0.05}),
        (["battery_temperature=-52"], {"battery_temperature_c": -5.2}),
        (["battery_temperature=0"], {}),
        (["powered=false", "powered=false"], {"powered": False}),
        (["powered=false", "powered=true", "powered=false"], {"powered": True}),
        (["wakefulness=Asleep", "display=ON"], {"screen_on": False}),
        (["wakefulness=Awake", "display=OFF"], {"screen_on": True}),  # as a program that mirrors it leaves it
        (["wakefulness=Dozing"], {"screen_on": False}),
        (["display=DOZE"], {"screen_on": False}),
        (["display=ON"], {"screen_on": True}),
        (["low_power=1"], {"power_saving": True}),
        (["low_power=null"], {"power_saving": False}),
        (["thermal_status=6"], {"thermal_status": 6}),
        (["thermal_status=7"], {}),
        (["sensor=mValue=55.5, mType=0, mName=CPU0, mStatus=0", "zone=41000 cpu-0-0"], {"temperature_c": 55.5}),
        (["sensor=mValue=0.0, mType=0, mName=CPU0, mStatus=0", "zone=41000 cpu-0-0"], {"temperature_c": 41.0}),
        (["sensor=mValue=-99.9, mType=0, mName=CPU0, mStatus=0"], {}),
        (["sensor=mValue=33.0, mType=3, mName=skin, mStatus=0"], {}),
    ],
)
def test_states(lines, changes):
    assert probe_answers.conditions(said(*lines)) == Conditions(**changes)


DAMAGED = {
    "a level of many digits": f"battery_level={'9' * 400}",
    "a level that is none": "battery_level=full",
    "a scale that is negative": "battery_level=5\nbattery_scale=-100",
    "a temperature of many digits": f"battery_temperature={'9' * 400}",
    "a temperature that no battery has": "battery_temperature=999999",
    "a sensor of many digits": f"sensor=mValue={'9' * 400}, mType=0, mName=x, mStatus=0",
    "a sensor without a value": "sensor=mValue=NaN, mType=0, mName=x, mStatus=0",
    "a sensor in other words": "sensor=CPU 40",
    "a status of many digits": f"thermal_status={'9' * 400}",
    "a status that is none": "thermal_status=light",
    "a supply that is none": "powered=yes",
    "a state that nobody knows": "wakefulness=Awakening\ndisplay=VR",
    "a setting that nobody knows": "low_power=2",
    "a level of Android of many digits": f"ro.build.version.sdk={'9' * 400}",
}


@pytest.mark.parametrize("lines", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_answer_is_unknown(lines):
    found = parse_answers(f"{lines}\nend=probe\n")
    assert probe_answers.conditions(found) == Conditions()
    assert probe_answers.device_info(found, "adb://X").android is None


def test_a_damaged_description_is_cut_to_what_it_can_be():
    found = said(
        f"ro.build.version.release={'1' * 4000}",
        "ro.build.version.sdk=-5",
        f"ro.product.cpu.abilist={'arm64-v8a,' * 400}",
        "ro.build.version.security_patch=yesterday",
        f"ro.build.fingerprint={'x' * 4000}",
        f"ro.product.model={'m' * 4000}",
    )
    device = probe_answers.device_info(found, "adb://X")
    android = device.android
    assert (android.sdk, android.security_patch) == (None, None)
    assert len(android.abis) < 10
    assert max(map(len, (android.release, android.fingerprint, device.model))) <= 100


@pytest.mark.parametrize("seed", range(40))
def test_any_bytes_in_place_of_an_answer_are_read_or_left_out(seed):
    chance = random.Random(seed)
    keys = "thermal_status sensor battery_level battery_scale battery_temperature powered wakefulness display low_power"
    names = ("release", "sdk", "security_patch")
    lines = [*keys.split(), *(f"ro.build.version.{name}" for name in names), "ro.product.cpu.abilist", "ro.hardware"]
    text = "".join(f"{key}={noise(chance)}\n" for key in lines for _ in range(3))
    found = parse_answers(text + "end=probe\n")
    state, device = probe_answers.conditions(found), probe_answers.device_info(found, "adb://X")
    assert state.thermal_status is None or 0 <= state.thermal_status <= 6
    assert state.battery_level is None or 0 <= state.battery_level <= 1
    assert device.android is None or len(device.android.abis) < 10


def noise(chance):
    parts = ("0", "9", "-", ".", ",", "=", "e", "\x1b", "\u0663", "mValue=1.0, mType=0, mName=", "true", "Awake", "{")
    return "".join(chance.choice(parts) for _ in range(chance.randrange(30)))
