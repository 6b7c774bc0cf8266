"""Measurements as JSON values and back.

Each raw latency is stored once, in the flat list `latency_s`; a block says which part of it is its own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from mnet_deploy.errors import MnetError, ResultFormatError
from mnet_deploy.measurement.json_values import as_value, read_as
from mnet_deploy.measurement.measurement import Block, Measurement
from mnet_deploy.measurement.statistics import spread

# History: 1 = first.
MEASUREMENT_FORMAT = "mnet.measurement/1"
RUN_FORMAT = "mnet.run/1"


def measurement_to_json(measurement: Measurement) -> dict[str, Any]:
    """Return a measurement with every raw latency, and with what follows from them for readers without this package."""
    samples = [value for block in measurement.blocks for value in block.latency_s or ()]
    stored = {field.name: getattr(measurement, field.name) for field in fields(Measurement)}
    return {
        "format": MEASUREMENT_FORMAT,
        "median_s": measurement.median_s,
        "interval_s": as_value(stored.pop("interval_s")),
        "verdict": str(stored.pop("verdict")),
        "reasons": as_value(stored.pop("reasons")),
        "emulated": measurement.device.emulated,
        "deviations": measurement.protocol.deviations(),
        "spread": as_value(spread(measurement.latency_s)),
        **{name: as_value(value) for name, value in stored.items() if name != "blocks"},
        "blocks": _blocks(measurement.blocks),
        "latency_s": samples or None,
    }


def _blocks(blocks: Sequence[Block]) -> list[dict[str, Any]]:
    listed, first = [], 0
    for block in blocks:
        count = None if block.latency_s is None else len(block.latency_s)
        values = {field.name: as_value(getattr(block, field.name)) for field in fields(Block)}
        del values["latency_s"]
        listed.append({**values, "first": None if count is None else first, "count": count})
        first += count or 0
    return listed


def measurement_from_json(value: object) -> Measurement:
    """Return the measurement that `measurement_to_json` wrote; what follows from others is not read but computed.

    Raises:
        ResultFormatError: it is something else, or damaged.
    """
    try:
        found = _with_format(value, MEASUREMENT_FORMAT)
        return read_as(Measurement, {**found, "blocks": _with_samples(found)}, "measurement")
    except (MnetError, ValueError, TypeError, KeyError) as error:
        raise ResultFormatError(
            f"expected a measurement of the format {MEASUREMENT_FORMAT}. Received: {error}; restore the file, or "
            "measure again"
        ) from error


def _with_samples(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the blocks with their part of the latencies, which together have to be all of them."""
    samples, blocks, end = found["latency_s"] or [], [], 0
    for block in found["blocks"]:
        first, count = block["first"], block["count"]
        if count is not None and (first != end or count < 0 or end + count > len(samples)):
            raise ValueError(f"block {block['number']} with samples {first} to {first + count} of {len(samples)}")
        blocks.append({**block, "latency_s": None if count is None else samples[end : end + count]})
        end += count or 0
    if end != len(samples):
        raise ValueError(f"{len(samples)} latencies of which the blocks have {end}")
    return blocks


def run_from_json(value: object) -> tuple[Measurement, ...]:
    """Return the measurements of a run.

    Raises:
        ResultFormatError: it is something else, or damaged.
    """
    try:
        listed = _with_format(value, RUN_FORMAT)["measurements"]
        if not isinstance(listed, list):
            raise ValueError("measurements that are no list")
    except (ValueError, TypeError, KeyError) as error:
        raise ResultFormatError(f"expected a run of the format {RUN_FORMAT}. Received: {error}") from error
    return tuple(measurement_from_json(each) for each in listed)


def _with_format(value: object, wanted: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError(f"a {type(value).__name__}")
    if value.get("format") != wanted:
        raise ValueError(f"the format {value.get('format')!r}")
    return value
