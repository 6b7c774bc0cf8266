"""Like is compared with like, or the first difference is named."""

from dataclasses import replace

import pytest

from mnet_deploy.errors import SpecError
from mnet_deploy.measurement.comparable import CONDITIONS, require_comparable
from mnet_deploy.measurement.device_info import Core

# What makes each condition another one than that of the valid measurement: part, field, value.
CHANGES = {
    "emulated": ("device", "emulated", "qemu-user"),
    "device model": ("device", "model", "Raspberry Pi 5 Model B Rev 1.0"),
    "soc": ("device", "soc", "BCM2712"),
    "memory": ("device", "memory_bytes", 8_000_000_000),
    "os": ("device", "os", "Debian GNU/Linux 13 (trixie)"),
    "machine": ("engine", "machine", "armv7l"),
    "highest clock": ("device", "cores", tuple(Core(number=number, max_clock_hz=2e9) for number in range(4))),
    "governor": ("before", "governor", "performance"),
    "thermal status": ("after", "thermal_status", 2),
    "battery saver": ("before", "power_saving", True),
    "engine": ("engine", "name", "tflite-runtime"),
    "engine version": ("engine", "version", "2.4.0"),
    "runner": ("engine", "runner", "mnet-runner"),
    "C library": ("engine", "c_library", "glibc 2.36 of this toolkit"),
    "delegate": ("engine", "delegate", "none"),
    "session options": ("config", "session_options", ("a=b",)),
    "threads": ("config", "threads", 4),
    "affinity": ("config", "cpu_affinity", (2, 3)),
    "model": ("file", "model", "mobilenet_v1 0.25-128"),
    "precision": ("file", "precision", "fp32"),
}


def changed(measurement, name):
    part, field, value = CHANGES[name]
    return replace(measurement, **{part: replace(getattr(measurement, part), **{field: value})})


def test_every_condition_has_a_case():
    assert {*CHANGES, "runner build"} == set(CONDITIONS)


def test_two_builds_of_a_model_are_comparable(valid):
    other = replace(
        valid,
        file=replace(valid.file, file="other.tflite", sha256="cd" * 32, size_bytes=1),
        device=replace(valid.device, address="ssh://pi@10.0.0.7", kernel="6.13"),
        engine=replace(valid.engine, numpy="2.0.2"),
        measured_at="2026-12-01T00:00:00+00:00",
    )
    require_comparable(valid, other)


@pytest.mark.parametrize("name", CHANGES)
def test_a_condition_that_differs_is_named_with_both_values(name, valid):
    other = changed(valid, name)
    with pytest.raises(SpecError, match=rf"Received: {name} .* and {name} ") as refused:
        require_comparable(valid, other)
    assert "\n" not in str(refused.value)


def test_emulated_is_never_compared_with_real(valid):
    with pytest.raises(SpecError, match="emulated no and emulated qemu-user; times of an emulated device say nothing"):
        require_comparable(valid, changed(valid, "emulated"))


def test_two_emulated_devices_are_comparable(valid):
    require_comparable(changed(valid, "emulated"), changed(valid, "emulated"))


def test_what_is_not_known_is_not_the_same(valid):
    unknown = replace(valid, before=replace(valid.before, governor=None))
    with pytest.raises(SpecError, match="governor ondemand and governor unknown"):
        require_comparable(valid, unknown)


def test_builds_of_the_official_tool_are_told_apart(phone, valid):
    other = replace(phone, engine=replace(phone.engine, runner_sha256="ef" * 32))
    with pytest.raises(SpecError, match="runner build cdcdcdcdcdcd and runner build efefefefefef"):
        require_comparable(phone, other)
    agents = [replace(valid, engine=replace(valid.engine, runner_sha256=digest * 32)) for digest in ("cd", "ef")]
    require_comparable(*agents)


def test_results_of_before_runners_were_recorded_are_the_agents(valid):
    require_comparable(replace(valid, engine=replace(valid.engine, runner=None)), valid)


@pytest.mark.parametrize("changes", [{"thermal_status": 0}, {"power_saving": False}, {"battery_level": 0.5}])
def test_a_good_state_that_is_told_is_like_one_that_is_not(changes, valid):
    require_comparable(valid, replace(valid, before=replace(valid.before, **changes)))


def test_a_battery_saver_is_on_or_off(valid):
    with pytest.raises(SpecError, match="battery saver off and battery saver on; switch it off"):
        require_comparable(valid, changed(valid, "battery saver"))


def test_the_first_difference_is_the_one_named(valid):
    with pytest.raises(SpecError, match="Received: device model"):
        require_comparable(valid, changed(changed(valid, "threads"), "device model"))


def test_a_limit_is_the_highest_clock(valid):
    limited = replace(valid, before=replace(valid.before, limits_hz=(6e8,) * 4))
    with pytest.raises(SpecError, match="highest clock 1800 MHz and highest clock 600 MHz"):
        require_comparable(valid, limited)
    require_comparable(valid, replace(valid, before=replace(valid.before, limits_hz=(1.8e9,) * 4)))


def test_the_highest_clock_is_that_of_the_cores_that_were_used(valid):
    limits = (6e8, 6e8, 1.8e9, 1.8e9)
    little = replace(
        valid, before=replace(valid.before, limits_hz=limits), engine=replace(valid.engine, affinity=(0, 1))
    )
    with pytest.raises(SpecError, match="highest clock 1800 MHz and highest clock 600 MHz"):
        require_comparable(valid, little)
