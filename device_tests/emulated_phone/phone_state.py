"""What a running stand-in phone shows of itself, in files that a test changes while a program inside looks.

Layouts: AOSP, frameworks/base/services/core/java/com/android/server: power/ThermalManagerService.java and
power/PowerManagerService.java (`dumpInternal`), BatteryService.java, of Android 12 to 14; compared with reports of
phones (https://android.stackexchange.com/questions/246774). Only the parts that programs look for are there.
"""

from dataclasses import dataclass
from pathlib import Path

from device_tests.emulated_phone.hardware import Hardware

ANDROID_SDKS = {12: 31, 13: 33, 14: 34}
CPU, GPU, BATTERY, SKIN = range(4)  # android.os.Temperature
LISTENERS = "\tcallbacks: {}\n\tkilled: false\n\tbroadcasts count: -1\n"
NOT_A_NUMBER = "[NaN, NaN, NaN, NaN, NaN, NaN, NaN]"


@dataclass(slots=True, kw_only=True)
class State:
    """What changes on a phone.

    Attributes:
        thermal_status: Android's, from 0 (none) to 6 (shutdown).
        cpu_c: temperature of the processor; the list of those that Android keeps shows an older one.
        power_saving: whether the user has switched on the battery saver; None: never, as after a reset.
    """

    thermal_status: int = 0
    cpu_c: float = 38.4
    skin_c: float = 31.7
    battery_c: float = 29.5
    battery_level: int = 87
    powered: bool = True
    screen_on: bool = True
    power_saving: bool | None = None


def write_state(folder: Path, state: State, *, android: int) -> None:
    """Write what dumpsys and settings show; each file changes at once."""
    (folder / "dumpsys").mkdir(exist_ok=True)
    saving = "" if state.power_saving is None else f"low_power={int(state.power_saving)}\n"
    for name, text in {
        "dumpsys/thermalservice": _thermalservice(state, android),
        "dumpsys/battery": _battery(state, android),
        "dumpsys/power": _power(state, android),
        "settings": f"adb_enabled=1\n{saving}stay_on_while_plugged_in=0\n",
    }.items():
        _write(folder / name, text)


def write_properties(folder: Path, hardware: Hardware, *, android: int, model: str) -> None:
    """Write what getprop shows."""
    product = "standin64" if hardware.architecture == "arm64" else "standin32"
    fingerprint = f"mnet-deploy/{product}/{product}:{android}/MNET.000000.001/1:user/release-keys"
    properties = {
        "dalvik.vm.isa.arm.variant": hardware.cpu,
        "ro.board.platform": product,
        "ro.boot.hardware": product,
        "ro.build.fingerprint": fingerprint,
        "ro.build.type": "user",
        "ro.build.version.release": str(android),
        "ro.build.version.sdk": str(ANDROID_SDKS[android]),
        "ro.hardware": product,
        "ro.product.brand": "mnet-deploy",
        "ro.product.cpu.abi": hardware.abis[0],
        "ro.product.cpu.abilist": ",".join(hardware.abis),
        "ro.product.cpu.abilist32": ",".join(abi for abi in hardware.abis if abi != "arm64-v8a"),
        "ro.product.cpu.abilist64": ",".join(abi for abi in hardware.abis if abi == "arm64-v8a"),
        "ro.product.device": product,
        "ro.product.manufacturer": "mnet-deploy",
        "ro.product.model": model,
        "ro.product.name": product,
        "ro.soc.manufacturer": "mnet-deploy",
        "ro.soc.model": hardware.soc,
        "sys.boot_completed": "1",
    }
    _write(folder / "properties", "".join(f"{name}={value}\n" for name, value in properties.items()))


def _write(path: Path, text: str) -> None:
    part = path.with_name(f".{path.name}.part")
    part.write_text(text)
    part.chmod(0o644)
    part.replace(path)


def _thermalservice(state: State, android: int) -> str:
    def temperature(value: float, kind: int, name: str) -> str:
        status = state.thermal_status if kind == SKIN else 0
        return f"\tTemperature{{mValue={value:.1f}, mType={kind}, mName={name}, mStatus={status}}}\n"

    skin, battery = temperature(state.skin_c, SKIN, "SKIN"), temperature(state.battery_c, BATTERY, "BATTERY")
    absent = temperature(0, BATTERY, "SUBBAT")  # some phones list sensors that they do not have
    hot = "[NaN, 39.0, 43.0, 45.0, 46.5, 52.0, 55.0]"
    return (
        f"IsStatusOverride: false\nThermalEventListeners:\n{LISTENERS.format(1)}"
        f"ThermalStatusListeners:\n{LISTENERS.format(4)}"
        f"Thermal Status: {state.thermal_status}\n"
        f"Cached temperatures:\n{absent}{temperature(25.6, CPU, 'CPU')}{temperature(24.7, SKIN, 'SKIN')}{battery}"
        "HAL Ready: true\nHAL connection:\n"
        f"\t{'ThermalHAL AIDL 1 ' if android >= 14 else 'ThermalHAL 2.0'} connected: yes\n"
        f"Current temperatures from HAL:\n{temperature(state.cpu_c, CPU, 'CPU')}"
        f"{temperature(state.cpu_c - 2, GPU, 'GPU')}{battery}{skin}{absent}"
        "Current cooling devices from HAL:\n\tCoolingDevice{mValue=0, mType=2, mName=thermal-cpufreq-0}\n"
        "Temperature static thresholds from HAL:\n"
        f"\tTemperatureThreshold{{mType=3, mName=SKIN, mHotThrottlingThresholds={hot}, "
        f"mColdThrottlingThresholds={NOT_A_NUMBER}}}\n"
    )


def _battery(state: State, android: int) -> str:
    lines = {
        "AC powered": "false",
        "USB powered": _word(state.powered),
        "Wireless powered": "false",
        **({"Dock powered": "false"} if android >= 13 else {}),
        "Max charging current": 500_000 if state.powered else 0,
        "Max charging voltage": 5_000_000 if state.powered else 0,
        "Charge counter": 36_000 * state.battery_level,
        "status": 2 if state.powered else 3,
        "health": 2,
        "present": "true",
        "level": state.battery_level,
        "scale": 100,
        "voltage": 4123,
        "temperature": round(state.battery_c * 10),
        "technology": "Li-ion",
        **({"Charging state": 0, "Charging policy": 0, "Capacity level": -1} if android >= 14 else {}),
    }
    return "Current Battery Service state:\n" + "".join(f"  {name}: {value}\n" for name, value in lines.items())


def _power(state: State, android: int) -> str:
    display = "" if android >= 14 else f"Display Power: state={'ON' if state.screen_on else 'OFF'}\n"
    return (
        "POWER MANAGER (dumpsys power)\n\nPower Manager State:\n"
        "  Settings power_manager_constants:\n    no_cached_wake_locks=true\n"
        f"  mDirty=0x0\n  mWakefulness={'Awake' if state.screen_on else 'Asleep'}\n  mWakefulnessChanging=false\n"
        f"  mIsPowered={_word(state.powered)}\n  mPlugType={2 if state.powered else 0}\n"
        f"  mBatteryLevel={state.battery_level}\n  mDockState=0\n  mStayOn=false\n  mBootCompleted=true\n"
        "\nSettings and Configuration:\n  mWakeUpWhenPluggedOrUnpluggedConfig=true\n  mScreenOffTimeoutSetting=60000\n"
        f"\nWake Locks: size=0\n\n{display}"
        f"Battery Saver state machine:\n  mSettingBatterySaverEnabled={_word(bool(state.power_saving))}\n"
    )


def _word(yes: bool) -> str:
    return "true" if yes else "false"
