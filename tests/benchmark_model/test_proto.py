import random
from contextlib import suppress

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from mnet_deploy.errors import ResultFormatError
from mnet_deploy.runners.benchmark_model.latency_summary import LatencySummary
from mnet_deploy.runners.benchmark_model.proto import decode_result, with_result
from mnet_deploy.runners.benchmark_model.text import parse_log

FLOAT32 = 1e-6  # relative: a float has about seven digits
MIB = 1024 * 1024
HEADING = "Running benchmark for at least 50 iterations and at least 1 seconds but terminate if exceeding 150 seconds."
LOG = f"""{HEADING}
count=1 curr=637079

{HEADING}
count=520 first=2531 curr=2793 min=1171 max=9925 avg=1885.74 std=870
"""
# tensorflow/lite/tools/benchmark/proto/benchmark_result.proto
PARTS = {
    "latency": ["avg", "min", "max", "stddev", "median", "p5", "p95", "init", "first", "warmup_avg"],
    "memory": ["init_kb:int64", "overall_kb:int64", "peak_mb"],
    "misc": ["size_mb", "runs:int32", "warmup_runs:int32", "throughput"],
}


def message_class():
    """Return the message as Google's own library makes it."""
    field = descriptor_pb2.FieldDescriptorProto
    kinds = {"": field.TYPE_FLOAT, "int64": field.TYPE_INT64, "int32": field.TYPE_INT32}
    file = descriptor_pb2.FileDescriptorProto(name="benchmark_result.proto", package="test", syntax="proto2")
    whole = file.message_type.add(name="BenchmarkResult")
    whole.field.add(name="name", number=1, type=field.TYPE_STRING, label=field.LABEL_OPTIONAL)
    for number, (part, names) in enumerate(PARTS.items(), start=2):
        inner = file.message_type.add(name=part.title())
        for inner_number, text in enumerate(names, start=1):
            name, _, kind = text.partition(":")
            inner.field.add(name=name, number=inner_number, type=kinds[kind], label=field.LABEL_OPTIONAL)
        whole.field.add(
            name=part,
            number=number,
            type=field.TYPE_MESSAGE,
            type_name=f"test.{part.title()}",
            label=field.LABEL_OPTIONAL,
        )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("test.BenchmarkResult"))


MESSAGE = message_class()
WHOLE = MESSAGE(
    name="a model",
    latency={
        "avg": 1.8857404,
        "min": 1.171,
        "max": 9.925,
        "stddev": 0.87,
        "median": 1.7,
        "p5": 1.2,
        "p95": 3.5,
        "init": 66.002,
        "first": 637.079,
        "warmup_avg": 637.079,
    },
    memory={"init_kb": -7580, "overall_kb": 8020, "peak_mb": 12.5},
    misc={"size_mb": 0.497264, "runs": 520, "warmup_runs": 1, "throughput": 79.8},
)
DATA = WHOLE.SerializeToString()


def close(value):
    return pytest.approx(value, rel=FLOAT32)


def test_all_fields():
    found = decode_result(DATA)
    assert (found.measured.count, found.warmup_count) == (520, 1)
    assert found.measured.mean_s == close(1.8857404e-3)
    assert (found.measured.min_s, found.measured.max_s, found.measured.std_s) == (
        close(1.171e-3),
        close(9.925e-3),
        close(0.87e-3),
    )
    assert (found.measured.p5_s, found.measured.median_s, found.measured.p95_s) == (
        close(1.2e-3),
        close(1.7e-3),
        close(3.5e-3),
    )
    assert (found.measured.first_s, found.measured.last_s) == (None, None)
    assert (found.init_s, found.first_inference_s, found.warmup_mean_s) == (
        close(66.002e-3),
        close(637.079e-3),
        close(637.079e-3),
    )
    assert (found.init_footprint_bytes, found.overall_footprint_bytes) == (-7580 * 1024, 8020 * 1024)
    assert (found.peak_bytes, found.model_size_bytes) == (12.5 * MIB, close(497264))


def test_what_is_not_there_is_unknown():
    found = decode_result(MESSAGE(latency={"avg": 2}, misc={"runs": 3}).SerializeToString())
    assert found.measured == LatencySummary(count=3, mean_s=0.002)
    assert (found.init_s, found.peak_bytes, found.warmup_count, found.model_size_bytes) == (None,) * 4


def test_unknown_fields_are_passed_over():
    later = b"\x30\x05" + b"\x39" + bytes(8) + b"\x45" + bytes(4) + b"\x4a\x03abc"  # fields 6 to 9 of all wire types
    assert decode_result(later + DATA + later) == decode_result(DATA)


def test_parts_that_come_twice_are_merged():
    again = MESSAGE(latency={"median": 1.8}).SerializeToString()
    assert decode_result(DATA + again).measured.median_s == close(1.8e-3)
    assert decode_result(DATA + again).measured.p95_s == close(3.5e-3)


def test_a_file_that_is_cut_off():
    """What ends between two fields is not to be told from a whole one, but what matters comes last."""
    for end in range(len(DATA) - 1):
        try:
            found = decode_result(DATA[:end])
        except ResultFormatError:
            continue
        assert found.measured == decode_result(DATA).measured
    assert end > 80


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00",
        b"\x12",
        b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        b"\x80" * 11,
        b"\xff" * 9 + b"\x7f",
        b"\x13\x14",
        b"\x10\x05",
        b"\x12\x02\x08\x05",
        b"\x22\x05\x15\x00\x00\x00\x00",
        MESSAGE(latency={"avg": float("nan")}, misc={"runs": 3}).SerializeToString(),
        MESSAGE(latency={"avg": float("inf")}, misc={"runs": 3}).SerializeToString(),
        MESSAGE(latency={"avg": -1}, misc={"runs": 3}).SerializeToString(),
        MESSAGE(latency={"avg": 2}, misc={"runs": 0}).SerializeToString(),
        MESSAGE(latency={"avg": 2}, misc={"runs": -3}).SerializeToString(),
        MESSAGE(latency={"avg": 2}).SerializeToString(),
        MESSAGE(misc={"runs": 3}).SerializeToString(),
        MESSAGE(latency={"avg": 9, "min": 1, "max": 3}, misc={"runs": 3}).SerializeToString(),
        DATA + bytes(70_000),
    ],
)
def test_damaged_files(data):
    with pytest.raises(ResultFormatError):
        decode_result(data)


def test_anything_is_a_result_or_one_error():
    chance = random.Random(1)
    for _ in range(3000):
        data = bytearray(DATA)
        for _ in range(chance.randint(1, 4)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        with suppress(ResultFormatError):
            assert decode_result(bytes(data)).measured.count >= 1


def test_the_file_adds_what_an_old_version_does_not_print():
    log = parse_log(LOG)
    found = with_result(log, decode_result(DATA))
    assert (log.measured.median_s, found.measured.median_s) == (None, close(1.7e-3))
    assert (found.measured.first_s, found.measured.last_s) == (log.measured.first_s, log.measured.last_s)
    assert (found.warmup, found.measured.count) == (log.warmup, 520)


@pytest.mark.parametrize("change", [{"misc": {"runs": 521}}, {"latency": {"avg": 1.8862}}])
def test_a_file_of_another_run(change):
    other = decode_result(DATA + MESSAGE(**change).SerializeToString())
    with pytest.raises(ResultFormatError, match="earlier run"):
        with_result(parse_log(LOG), other)
