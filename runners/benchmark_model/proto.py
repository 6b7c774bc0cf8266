"""The result that `benchmark_model --result_file_path=` writes: a protocol buffer, decoded by hand.

tensorflow/lite/tools/benchmark/proto/benchmark_result.proto (proto2). Its times are floats in milliseconds, about seven
digits, and percentiles are in it whatever the version prints. https://protobuf.dev/programming-guides/encoding/
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import isfinite

from mnet_deploy.errors import ResultFormatError
from mnet_deploy.runners.benchmark_model.latency_summary import LatencySummary, same_latency
from mnet_deploy.runners.benchmark_model.text import BenchmarkLog

_MS_PER_S = 1e3
_BYTES_PER_KIB = 1024
_BYTES_PER_MIB = 1024 * 1024
_BYTES_PER_MB = 1_000_000
_LARGEST = 64 * 1024  # bytes; a real one has about 150
_VARINT_BYTES = 10
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FIXED_SIZE = {_FIXED64: 8, _FIXED32: 4}

_LATENCY, _MEMORY, _MISC = 2, 3, 4
_FLOATS = {_LATENCY: range(1, 11), _MEMORY: (3,), _MISC: (1, 4)}
_INTEGERS = {_LATENCY: (), _MEMORY: (1, 2), _MISC: (2, 3)}
_SUMMARY = {"mean_s": 1, "min_s": 2, "max_s": 3, "std_s": 4, "median_s": 5, "p5_s": 6, "p95_s": 7}
_INIT, _FIRST, _WARMUP_MEAN = 8, 9, 10

Message = dict[int, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkResult:
    """What the file says; None is what is not in it.

    Attributes:
        measured: the inferences that count.
        warmup_count: inferences before them.
        warmup_mean_s: their average.
        init_s: loading the model and applying delegates.
        first_inference_s: the first one of the warm-up.
        model_size_bytes: size of the file.
        init_footprint_bytes: memory after the start over memory before it; may be below zero.
        overall_footprint_bytes: the same, after the last inference.
        peak_bytes: highest memory seen, where it was asked for.
    """

    measured: LatencySummary
    warmup_count: int | None = None
    warmup_mean_s: float | None = None
    init_s: float | None = None
    first_inference_s: float | None = None
    model_size_bytes: float | None = None
    init_footprint_bytes: float | None = None
    overall_footprint_bytes: float | None = None
    peak_bytes: float | None = None


def decode_result(data: bytes) -> BenchmarkResult:
    """Return what a result file says.

    Raises:
        ResultFormatError: it is damaged, cut off, or says nothing of measured inferences.
    """
    if len(data) > _LARGEST:
        raise ResultFormatError(f"a result of benchmark_model has at most {_LARGEST} bytes. Received: {len(data)}")
    parts: dict[int, Message] = {_LATENCY: {}, _MEMORY: {}, _MISC: {}}
    for number, wire, value in _fields(data):
        if number in parts:
            # A message that comes twice is merged, field by field: the last value of each counts.
            parts[number] |= _message(_expect_bytes(value, wire), number)
    latency, memory, misc = parts[_LATENCY], parts[_MEMORY], parts[_MISC]
    count = misc.get(2)
    if count is None or 1 not in latency:
        raise ResultFormatError(
            "a result of benchmark_model has the number of inferences and their average. Received: one without; "
            "it was cut off, run it again"
        )
    times = {name: _scaled(latency, number, 1 / _MS_PER_S) for name, number in _SUMMARY.items() if number != 1}
    return BenchmarkResult(
        measured=LatencySummary(count=int(count), mean_s=latency[1] / _MS_PER_S, **times),
        warmup_count=None if 3 not in misc else int(misc[3]),
        warmup_mean_s=_scaled(latency, _WARMUP_MEAN, 1 / _MS_PER_S),
        init_s=_scaled(latency, _INIT, 1 / _MS_PER_S),
        first_inference_s=_scaled(latency, _FIRST, 1 / _MS_PER_S),
        model_size_bytes=_scaled(misc, 1, _BYTES_PER_MB),
        init_footprint_bytes=_scaled(memory, 1, _BYTES_PER_KIB),
        overall_footprint_bytes=_scaled(memory, 2, _BYTES_PER_KIB),
        peak_bytes=_scaled(memory, 3, _BYTES_PER_MIB),
    )


def with_result(log: BenchmarkLog, result: BenchmarkResult) -> BenchmarkLog:
    """Return a log whose measured inferences have the percentiles and the digits of the result file.

    Raises:
        ResultFormatError: they are not of the same run.
    """
    said, exact = log.measured, result.measured
    if said.count != exact.count or not same_latency(said.mean_s, exact.mean_s):
        raise ResultFormatError(
            f"the log and the result file are of one run. Received: an average of {said.mean_s:g} s over {said.count} "
            f"inferences and one of {exact.mean_s:g} s over {exact.count}; is the file left over from an earlier run?"
        )
    return replace(log, measured=replace(exact, first_s=said.first_s, last_s=said.last_s))


def _scaled(message: Message, number: int, factor: float) -> float | None:
    value = message.get(number)
    return None if value is None else value * factor


def _message(data: bytes, of: int) -> Message:
    found: Message = {}
    for number, wire, value in _fields(data):
        if number in _FLOATS[of]:
            if wire != _FIXED32 or not isinstance(value, bytes):
                raise _damaged("a float has four bytes")
            found[number] = struct.unpack("<f", value)[0]
            if not isfinite(found[number]):
                raise _damaged("times and sizes are finite")
        elif number in _INTEGERS[of]:
            if wire != _VARINT or not isinstance(value, int):
                raise _damaged("a count is an integer")
            found[number] = value - (1 << 64) if value >> 63 else value
    return found


def _expect_bytes(value: int | bytes, wire: int) -> bytes:
    if wire != _BYTES or not isinstance(value, bytes):
        raise _damaged("metrics are messages")
    return value


def _fields(data: bytes) -> Iterator[tuple[int, int, int | bytes]]:
    """Yield (number, wire type, value) of all fields of a message."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, wire = key >> 3, key & 7
        if number == 0:
            raise _damaged("fields are numbered from 1")
        if wire == _VARINT:
            value, at = _varint(data, at)
            yield number, wire, value
            continue
        if wire == _BYTES:
            size, at = _varint(data, at)
        elif wire in _FIXED_SIZE:
            size = _FIXED_SIZE[wire]
        else:
            raise _damaged(f"there is no wire type {wire}")
        if size > len(data) - at:
            raise _damaged("it ends within a field")
        yield number, wire, data[at : at + size]
        at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift, byte in enumerate(data[at : at + _VARINT_BYTES]):
        value |= (byte & 0x7F) << (7 * shift)
        if byte < 0x80:
            if value >> 64:
                break
            return value, at + shift + 1
    raise _damaged("it ends within a number, or has a number of more than 64 bits")


def _damaged(why: str) -> ResultFormatError:
    return ResultFormatError(f"the result file of benchmark_model is damaged: {why}; run it again")
