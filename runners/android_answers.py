"""Read what probe.sh prints of Android: properties of the system, and the state that its services tell."""

import re

from mnet_deploy.measurement.device_info import AndroidInfo
from mnet_deploy.runners.answers import Answers, decimal, first, plausible_c, whole

_HIGHEST_SDK = 10_000  # that of a system under development
_MOST_ABIS = 8
_LONGEST_NAME = 100  # characters
_ABI = re.compile("[A-Za-z0-9_-]{1,30}")
_DATE = re.compile("[0-9]{4}-[0-9]{2}-[0-9]{2}")
# android.os.Temperature (AOSP, frameworks/base/core/java/android/os/Temperature.java).
_SENSOR = re.compile(r"mValue=(-?[0-9]{1,4}(?:\.[0-9]{1,9})?), mType=([0-9]{1,2}), mName=.*")
_TYPE_CPU = 0
_HIGHEST_STATUS = 6  # PowerManager.THERMAL_STATUS_SHUTDOWN
_TENTH_C = 10.0  # BatteryManager.EXTRA_TEMPERATURE
_FULL = 100  # of a battery that does not say its scale
# PowerManagerInternal.wakefulnessToString: while it dreams, the screen saver is shown.
_AWAKE = {"Awake": True, "Dreaming": True, "Dozing": False, "Asleep": False}
_DISPLAY = {"ON": True, "OFF": False, "DOZE": False, "DOZE_SUSPEND": False}  # Display.stateToString
_EMULATORS = {
    "ranchu": "Android Emulator",
    "goldfish": "Android Emulator",
    "vbox86": "Genymotion",
    "cutf_cvm": "Cuttlefish",
}


def android_info(answers: Answers) -> AndroidInfo | None:
    """Return what Android says of itself; None of other systems."""
    release, sdk = _name(answers, "ro.build.version.release"), whole(first(answers, "ro.build.version.sdk"))
    if release is None and sdk is None:
        return None
    patch = first(answers, "ro.build.version.security_patch")
    listed = (first(answers, "ro.product.cpu.abilist") or "").split(",")
    return AndroidInfo(
        release=release,
        sdk=sdk if sdk is not None and 0 < sdk <= _HIGHEST_SDK else None,
        abis=tuple(abi for abi in listed[:_MOST_ABIS] if _ABI.fullmatch(abi)),
        fingerprint=_name(answers, "ro.build.fingerprint"),
        security_patch=patch if patch and _DATE.fullmatch(patch) else None,
    )


def model(answers: Answers) -> str | None:
    """Return `Google Pixel 8`: the manufacturer once only where the model names it, too."""
    maker, name = _name(answers, "ro.product.manufacturer"), _name(answers, "ro.product.model")
    if maker and name and not name.casefold().startswith(maker.casefold()):
        return f"{maker} {name}"
    return name


def chip(answers: Answers) -> str | None:
    """Return the name of the system on a chip; older ones than Android 12 tell that of a family of them."""
    return _name(answers, "ro.soc.model", "ro.hardware.chipname", "ro.board.platform", "ro.hardware")


def system(android: AndroidInfo | None) -> str | None:
    """Return `Android 14`."""
    if android is None:
        return None
    return f"Android {android.release}" if android.release else f"Android (API {android.sdk})"


def emulator(answers: Answers) -> str | None:
    """Return what a phone is that is none."""
    known = _EMULATORS.get(first(answers, "ro.hardware") or "")
    if known is None and "1" in (first(answers, "ro.kernel.qemu"), first(answers, "ro.boot.qemu")):
        return "Android Emulator"
    return known


def thermal_status(answers: Answers) -> int | None:
    """Return how much Android holds the device back."""
    status = whole(first(answers, "thermal_status"))
    return status if status is not None and 0 <= status <= _HIGHEST_STATUS else None


def temperature_c(answers: Answers) -> float | None:
    """Return the temperature of the processor's warmest part; a sensor that is dead reads 0.0."""
    sensors = (_SENSOR.fullmatch(text) for text in answers.get("sensor", ()))
    values = (plausible_c(float(found[1])) for found in sensors if found and int(found[2]) == _TYPE_CPU)
    return max((value for value in values if value), default=None)


def battery_level(answers: Answers) -> float | None:
    """Return how full the battery is."""
    level, scale = whole(first(answers, "battery_level")), whole(first(answers, "battery_scale")) or _FULL
    return level / scale if level is not None and 0 <= level <= scale else None


def battery_temperature_c(answers: Answers) -> float | None:
    """Return the battery's temperature."""
    tenths = decimal(first(answers, "battery_temperature"))
    return plausible_c(tenths / _TENTH_C) if tenths else None


def powered(answers: Answers) -> bool | None:
    """Return whether any of the supplies is there."""
    said = set(answers.get("powered", ())) & {"true", "false"}
    return "true" in said if said else None


def screen_on(answers: Answers) -> bool | None:
    """Return whether the device is awake, or else whether its display is."""
    awake = _AWAKE.get(first(answers, "wakefulness") or "")
    return awake if awake is not None else _DISPLAY.get(first(answers, "display") or "")


def power_saving(answers: Answers) -> bool | None:
    """Return whether the battery saver is on; where it was never switched, its setting is `null`."""
    return {"1": True, "0": False, "null": False}.get(first(answers, "low_power") or "")


def _name(answers: Answers, *keys: str) -> str | None:
    found = (first(answers, key) for key in keys)
    return next((text[:_LONGEST_NAME] for text in found if text and text != "unknown"), None)
