"""The raw samples of a run, in a compressed file beside its summary.

Gzipped JSON, not .npz: it is half as large (latencies are whole nanoseconds, short as text: a million take 3 to 4 MB,
7 MB as compressed float64), every number comes back exactly, and `zcat` reads it where there is no NumPy.
"""

import gzip
import json
import math
import zlib
from collections.abc import Sequence
from dataclasses import replace
from io import BytesIO
from typing import Any

from mnet_deploy.errors import ResultFormatError
from mnet_deploy.measurement.measurement import Block, Measurement

# History: 1 = first.
RAW_FORMAT = "mnet.raw/1"
_MOST_BYTES = 1 << 30  # unpacked: some 50 million samples. More is a file that was made to fill the memory


def raw_text(measurements: Sequence[Measurement]) -> str:
    """Return every timed and every warm-up latency, block by block."""
    document = {
        "format": RAW_FORMAT,
        "measurements": [
            {**measurement.label, "blocks": [_block_json(block) for block in measurement.blocks]}
            for measurement in measurements
        ],
    }
    return json.dumps(document, allow_nan=False) + "\n"


def _block_json(block: Block) -> dict[str, Any]:
    return {"number": block.number, "latency_s": block.latency_s, "warmup_s": block.warmup_s}


def pack(text: str) -> bytes:
    """Return the content of the file: the same for the same text."""
    return gzip.compress(text.encode("utf-8"), compresslevel=6, mtime=0)  # 9 takes 4 times as long for 2 to 3 % less


def without_raw(measurement: Measurement) -> Measurement:
    """Return the measurement with the blocks' medians alone."""
    return replace(
        measurement, blocks=tuple(replace(block, latency_s=None, warmup_s=()) for block in measurement.blocks)
    )


def with_raw(measurements: Sequence[Measurement], packed: bytes, *, origin: str) -> tuple[Measurement, ...]:
    """Put the samples of a file back into the measurements that they were taken from.

    Raises:
        ResultFormatError: the file is damaged, or of other measurements.
    """
    try:
        document = json.loads(_unpack(packed))
        if document["format"] != RAW_FORMAT:
            raise ValueError(f"the format {document['format']!r}")
        return tuple(
            _joined(measurement, samples["blocks"])
            for measurement, samples in zip(measurements, document["measurements"], strict=True)
        )
    except (EOFError, KeyError, OSError, TypeError, ValueError, RecursionError, zlib.error) as error:
        raise ResultFormatError(
            f"{origin}: expected the raw samples of a run, {RAW_FORMAT}. Received: {error}. Fetch the file again, or "
            "remove it: the medians are in the summary"
        ) from error


def _unpack(packed: bytes) -> bytes:
    with gzip.GzipFile(fileobj=BytesIO(packed)) as file:
        content = file.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise ValueError(f"more than {_MOST_BYTES} bytes")
    return content


def _joined(measurement: Measurement, blocks: Sequence[dict[str, Any]]) -> Measurement:
    joined = tuple(_joined_block(block, raw) for block, raw in zip(measurement.blocks, blocks, strict=True))
    return replace(measurement, blocks=joined)


def _joined_block(block: Block, raw: dict[str, Any]) -> Block:
    if raw["number"] != block.number:
        raise ValueError(f"block {raw['number']!r} in the place of block {block.number}")
    latency = raw["latency_s"]
    return replace(block, latency_s=None if latency is None else _times(latency), warmup_s=_times(raw["warmup_s"]))


def _times(values: Sequence[Any]) -> tuple[float, ...]:
    if not all(type(value) in (int, float) and math.isfinite(value) and value >= 0 for value in values):
        raise ValueError("a latency that is no time")
    return tuple(float(value) for value in values)
