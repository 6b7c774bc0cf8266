"""A run in words."""

from dataclasses import replace

import pytest

from mnet_deploy.measurement.device_info import Conditions, DeviceInfo, EngineInfo
from mnet_deploy.measurement.phone_text import runner_text, state_text
from mnet_deploy.measurement.run_config import Protocol, RunConfig
from mnet_deploy.measurement.text import device_text, run_text
from mnet_deploy.measurement.verdict import judge


def with_state(measurement, **changes):
    return judge(replace(measurement, before=replace(measurement.before, **changes)))


def test_a_valid_run_is_its_device_and_its_table(valid):
    device, blank, header, rule, row = run_text([valid]).splitlines()
    assert device.startswith("ssh://pi@raspberrypi  Raspberry Pi 4 Model B Rev 1.5, BCM2711, aarch64, 4 cores")
    assert blank == ""
    assert header.split() == [
        "file", "engine", "delegate", "threads", "median", "±95%", "p90", "blocks", "init", "peak", "memory", "verdict"
    ]  # fmt: skip
    assert set(rule) == {"-", " "}
    assert row.split()[:5] == ["mobilenet_v1_1.0_224_int8.tflite", "ai-edge-litert", "2.3.0", "xnnpack", "1"]
    assert row.endswith("VALID")
    assert "20.1 ms" in row
    assert "58.17 MiB" in row


def test_reasons_are_sentences_under_the_table(valid):
    text = run_text([with_state(valid, temperature_c=70.0)])
    assert text.splitlines()[-1].startswith("SUSPECT: The device had 70 °C before the first block")


def test_a_reason_of_one_measurement_names_it(valid):
    suspect = with_state(valid, busy_cores=1.2)
    suspect = replace(suspect, config=RunConfig(engine="litert", threads=4, cpu_affinity=(2, 3)))
    text = run_text([valid, suspect])
    rows = text.splitlines()
    assert rows[2].split()[:2] == ["#", "file"]
    assert [row.split()[0] for row in rows[4:6]] == ["1", "2"]
    assert rows[-1].startswith("2: SUSPECT: Something")


def test_a_reason_of_several_names_their_rows(valid):
    suspect = with_state(valid, busy_cores=1.2)
    assert "\n1, 3: SUSPECT: Something" in run_text([suspect, valid, suspect])


def test_what_nobody_looked_at_is_said(valid):
    unknown = Conditions()
    blocks = tuple(replace(block, after=unknown) for block in valid.blocks)
    device = replace(valid.device, model="QEMU Virtual Machine")
    silent = judge(replace(valid, device=device, blocks=blocks, before=unknown, after=unknown))
    last = run_text([silent]).splitlines()[-1]
    assert last == "not looked at: temperature, clocks, throttling, load (the device does not say)"


def test_a_reason_of_all_is_said_once(valid):
    suspect = with_state(valid, temperature_c=70.0)
    text = run_text([suspect, suspect])
    assert text.count("70 °C") == 1
    assert "\nSUSPECT: The device had" in text


def test_an_invalid_median_is_not_to_be_quoted(valid):
    assert run_text([with_state(valid, throttle_bits=1)]).endswith("do not quote it.")


def test_deviations_and_notes_are_said(valid):
    noted = replace(
        valid, file=replace(valid.file, notes=("the weights were not trained",)), protocol=Protocol(pin=True)
    )
    text = run_text([noted])
    assert "note: the weights were not trained" in text
    assert "deviations from the default protocol: --pin on" in text


def test_emulated_numbers_say_so_above_and_in_their_row(valid):
    text = run_text([replace(valid, device=replace(valid.device, emulated="qemu-user"))])
    assert "emulated by qemu-user: times say nothing of a real device" in text
    assert text.splitlines()[-1].endswith("VALID emulated")


def test_what_is_unknown_is_a_dash(valid):
    bare = tuple(
        replace(block, latency_s=None, median_s=None, init_s=None, peak_rss_bytes=None) for block in valid.blocks
    )
    row = run_text([replace(valid, blocks=bare, interval_s=None)]).splitlines()[4]
    assert row.split()[5:] == ["-", "-", "-", "0", "-", "-", "VALID"]


def test_a_percentile_of_few_samples_is_not_given(valid):
    few = tuple(replace(block, latency_s=block.latency_s[:5]) for block in valid.blocks)
    assert run_text([replace(valid, blocks=few)]).splitlines()[4].split()[8] == "-"


@pytest.mark.parametrize(
    ("device", "expected"),
    [
        (DeviceInfo(address="local:"), "local:"),
        (DeviceInfo(address="local:", model="X", soc="X", emulated="qemu-user"), "local:  X\nemulated by qemu-user: "),
    ],
)
def test_a_device_says_what_is_known_of_it(device, expected):
    assert device_text(device).startswith(expected)


def test_a_phone_says_its_cores_and_its_android(phone):
    text = device_text(phone.device)
    assert text.startswith("adb://33211FDH2000AB  Google Pixel 8, Tensor G3, aarch64, ")
    assert "8 cores (4 of 2370 MHz, 4 of 1700 MHz)" in text
    assert "Android 14 (API 34)" in text


def test_a_run_on_a_phone_says_what_timed_where_and_in_which_state(phone):
    hot = replace(phone.after, thermal_status=1, battery_level=0.79, battery_temperature_c=None)
    lines = run_text([replace(phone, after=hot)]).splitlines()
    assert "timed by benchmark_model (sha256 cdcdcdcdcdcd, from android_aarch64_benchmark_model)" in lines
    assert "bound to cores 4,5,6,7 (mask f0)" in lines
    assert (
        "state before: thermal status 0 (none), battery 81% at 29.6 °C, powered, screen on; "
        "after: thermal status 1 (light), battery 79%, powered, screen on" in lines
    )


def test_a_row_of_the_official_tool_has_no_percentile(phone):
    row = run_text([phone]).splitlines()[4].split()
    assert row[:5] == ["mobilenet_v1_1.0_224_int8.tflite", "benchmark_model", "2.18.0", "xnnpack", "1"]
    assert (row[8], row[-1]) == ("-", "SUSPECT")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, ""),
        ({"runner": "agent.py", "runner_sha256": "ab" * 32}, ""),
        ({"runner": "mnet-runner"}, "mnet-runner"),
        ({"runner": "mnet-runner", "c_library": "glibc 2.36"}, "mnet-runner (with glibc 2.36)"),
        (
            {"runner": "a stand-in", "runner_sha256": "ab" * 32, "runner_source": "https://x/y"},
            "a stand-in (sha256 abababababab, from https://x/y)",
        ),
    ],
)
def test_what_timed_is_said_with_where_it_comes_from(changes, expected):
    assert runner_text(EngineInfo(name="x", **changes)) == expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, ""),
        ({"thermal_status": 3}, "thermal status 3 (severe)"),
        ({"battery_temperature_c": 30.0}, ""),
        (
            {"powered": False, "screen_on": False, "power_saving": True},
            "on battery, screen off, battery saver on",
        ),
        ({"power_saving": False}, ""),
    ],
)
def test_of_a_state_what_is_known_is_said(changes, expected):
    assert state_text(Conditions(**changes)) == expected


def test_a_phone_that_says_nothing_has_no_line_of_its_state(phone):
    silent = replace(phone, before=Conditions(), after=Conditions())
    assert "state before" not in run_text([silent])
    assert "state before: unknown; after: thermal" in run_text([replace(phone, before=Conditions())])
    assert run_text([phone]).count("after: the same") == 1


def test_an_empty_run_says_so():
    assert run_text([]) == "Nothing was measured."
