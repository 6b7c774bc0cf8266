"""Like is compared with like, or the first difference is named."""

from dataclasses import replace

import pytest

from mnet_deploy.errors import SpecError
from mnet_deploy.measurement.comparable import BASELINE, CONDITIONS, DIFF, VERSUS, require_comparable

# What makes each condition another one than that of the valid measurement: part, field, value.
CHANGES = {
    "emulated": ("device", "emulated", "qemu-user"),
    "device model": ("device", "model", "Raspberry Pi 5 Model B Rev 1.0"),
    "soc": ("device", "soc", "BCM2712"),
    "memory": ("device", "memory_bytes", 8_000_000_000),
    "os": ("device", "os", "Debian GNU/Linux 13 (trixie)"),
    "machine": ("engine", "machine", "armv7l"),
    "governor": ("before", "governor", "performance"),
    "engine": ("engine", "name", "tflite-runtime"),
    "engine version": ("engine", "version", "2.4.0"),
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
    assert list(CHANGES) == list(CONDITIONS)


def test_two_builds_of_a_model_are_comparable(valid):
    other = replace(
        valid,
        file=replace(valid.file, file="other.tflite", sha256="cd" * 32, size_bytes=1),
        device=replace(valid.device, address="ssh://pi@10.0.0.7", kernel="6.13"),
        engine=replace(valid.engine, numpy="2.0.2"),
        measured_at="2026-12-01T00:00:00+00:00",
    )
    for ignore in (VERSUS, BASELINE, DIFF):
        require_comparable(valid, other, ignore=ignore)


@pytest.mark.parametrize("name", CHANGES)
def test_a_condition_that_differs_is_named_with_both_values(name, valid):
    other = changed(valid, name)
    with pytest.raises(SpecError, match=rf"Received: {name} .* and {name} ") as refused:
        require_comparable(valid, other)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", [name for name in CHANGES if name != "emulated"])
def test_a_condition_may_be_ignored(name, valid):
    require_comparable(valid, changed(valid, name), ignore=(name,))


def test_emulated_is_never_compared_with_real(valid):
    with pytest.raises(SpecError, match="emulated no and emulated qemu-user; times of an emulated device say nothing"):
        require_comparable(valid, changed(valid, "emulated"), ignore=VERSUS)
    with pytest.raises(SpecError, match=r"Received: emulated$"):
        require_comparable(valid, valid, ignore=("emulated",))


def test_two_emulated_devices_are_comparable(valid):
    require_comparable(changed(valid, "emulated"), changed(valid, "emulated"))


def test_what_is_not_known_is_not_the_same(valid):
    unknown = replace(valid, before=replace(valid.before, governor=None))
    with pytest.raises(SpecError, match="governor ondemand and governor unknown"):
        require_comparable(valid, unknown)


def test_the_first_difference_is_the_one_named(valid):
    with pytest.raises(SpecError, match="Received: device model"):
        require_comparable(valid, changed(changed(valid, "threads"), "device model"))


def test_versus_leaves_the_alternatives_and_keeps_the_device(valid):
    onnx = changed(changed(changed(valid, "engine"), "delegate"), "precision")
    require_comparable(valid, onnx, ignore=VERSUS)
    with pytest.raises(SpecError, match="threads 1 and threads 4"):
        require_comparable(valid, changed(onnx, "threads"), ignore=VERSUS)
