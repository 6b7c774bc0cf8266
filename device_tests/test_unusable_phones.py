"""Phones, and official tools, with which nothing can be measured: one line says what to do, and nothing is left."""

import pytest

from device_tests.fault_checks import DEVICE_FAILED, assert_put_right, assert_says, fill, one_error, put_right
from device_tests.mnet_runs import ONE_BLOCK, until

pytestmark = [
    pytest.mark.emulated_only,
    pytest.mark.timeout(900),
    pytest.mark.parametrize("adb_server", ["on PATH"], indirect=True),
]
TMP = "/data/local/tmp"


@pytest.fixture
def phone(fresh_phone):
    return fresh_phone()


def test_two_phones_and_none_is_named(fresh_phone, bench_phone):
    first, second = fresh_phone(), fresh_phone()
    run = bench_phone(first, *ONE_BLOCK, device="adb://")
    assert run.end() == DEVICE_FAILED
    assert_says(one_error(run), "several phones are connected: name one as adb://SERIAL")
    assert run.stored() == []
    assert put_right(first)
    assert put_right(second)


def test_its_storage_is_too_small(fresh_phone, bench_phone):
    phone = fresh_phone(storage_bytes=4_000_000)
    run = bench_phone(phone, *ONE_BLOCK)
    assert run.end() == DEVICE_FAILED
    assert_says(one_error(run), "No space left on device")
    assert run.stored() == []
    assert_put_right(phone, run)


def test_its_storage_is_full_from_the_start(fresh_phone, bench_phone):
    phone = fresh_phone(storage_bytes=1 << 20)
    filler = phone.path(f"{TMP}/filler")
    fill(filler)
    run = bench_phone(phone, *ONE_BLOCK)
    assert run.end() == DEVICE_FAILED
    assert_says(one_error(run), "No space left on device")
    until(lambda: phone.temporary_files() == ["filler"] and not phone.processes(), "the end of the session")
    assert run.leftovers(phone) == []


def test_nothing_may_run_there(fresh_phone, bench_phone):
    phone = fresh_phone(noexec=True)
    run = bench_phone(phone, *ONE_BLOCK)
    assert run.end() == DEVICE_FAILED
    assert_says(one_error(run), f"programs cannot be run from {TMP} .*use another phone")
    assert_put_right(phone, run)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"mode": "unauthorized"}, "has not allowed this computer yet: .* 'Allow USB debugging"),
        ({"shell_v2": False}, "use one with Android 7 or later"),
    ],
    ids=["unauthorized", "Android 6"],
)
def test_a_phone_that_cannot_be_used(fresh_phone, bench_phone, options, said):
    phone = fresh_phone(**options)
    run = bench_phone(phone, *ONE_BLOCK)
    assert run.end() == DEVICE_FAILED
    assert_says(one_error(run), said)
    assert run.stored() == []
    assert_put_right(phone, run)


def test_a_32_bit_phone(fresh_phone, bench_phone):
    phone = fresh_phone(hardware="armv7")
    run = bench_phone(phone, *ONE_BLOCK)
    assert run.end() == DEVICE_FAILED
    assert_says(one_error(run), "armeabi-v7a.*our C program is for arm64-v8a.*android_arm_benchmark_model")
    assert_put_right(phone, run)


def test_a_benchmark_model_for_another_machine(phone, bench_phone, phone_tools):
    flavour = ("--benchmark-model-flavour", "classic")
    run = bench_phone(phone, *ONE_BLOCK, "--benchmark-model", phone_tools["for this machine"], *flavour)
    assert run.end() != 0
    assert_says(one_error(run), "benchmark_model .*x86_64.*arm64-v8a")
    assert run.stored() == []
    assert_put_right(phone, run)


def test_a_benchmark_model_and_a_library_of_another_version(phone, bench_phone, phone_tools):
    run = bench_phone(phone, *ONE_BLOCK, "--benchmark-model", phone_tools["of two versions"])
    assert run.end() == DEVICE_FAILED
    assert_says(one_error(run), "of different versions .* one folder of one version")
    assert run.stored() == []
    assert_put_right(phone, run)
