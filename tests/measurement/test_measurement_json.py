"""Measurements as JSON, and what else comes in their place."""

import json
from dataclasses import replace

import pytest

from mnet_deploy.errors import ResultFormatError
from mnet_deploy.measurement.as_json import RUN_FORMAT, measurement_from_json, measurement_to_json, run_from_json
from mnet_deploy.measurement.device_info import Conditions
from mnet_deploy.measurement.run_config import Protocol, RunConfig
from mnet_deploy.measurement.verdict import judge


def reread(measurement):
    return measurement_from_json(json.loads(json.dumps(measurement_to_json(measurement), allow_nan=False)))


def doubtful(valid):
    config = RunConfig(engine="onnxruntime", cpu_affinity=(2, 3), session_options=("a=b",))
    file = replace(valid.file, notes=("weights that were not trained",), model=None)
    return judge(replace(valid, config=config, file=file, protocol=Protocol(block_s=1), stopped="time"))


def silent(valid):
    return replace(valid, before=Conditions(), interval_s=None, blocks=valid.blocks[:1])


def summaries(valid):
    return replace(valid, blocks=tuple(replace(block, latency_s=None, warmup_s=()) for block in valid.blocks))


def partly_summaries(valid):
    return replace(valid, blocks=(replace(valid.blocks[0], latency_s=None), *valid.blocks[1:]))


@pytest.mark.parametrize("change", [lambda m: m, doubtful, silent, summaries, partly_summaries, lambda m: no_blocks(m)])
def test_json_holds_everything(change, valid):
    measurement = change(valid)
    assert reread(measurement) == measurement


def no_blocks(valid):
    return replace(valid, blocks=(), interval_s=None)


def test_json_holds_what_a_phone_says(phone):
    assert reread(phone) == phone


def test_what_was_written_before_phones_were_measured_can_be_read(valid):
    written = json.loads(json.dumps(measurement_to_json(valid)))
    for name in ("runner", "runner_sha256", "runner_source", "c_library"):
        del written["engine"][name]
    del written["device"]["android"]
    for name in ("thermal_status", "battery_level", "battery_temperature_c", "powered", "screen_on", "power_saving"):
        del written["before"][name]
    assert measurement_from_json(written) == replace(valid, engine=replace(valid.engine, runner=None))


def test_what_readers_look_for_is_at_the_top(valid):
    written = measurement_to_json(doubtful(valid))
    assert next(iter(written.items())) == ("format", "mnet.measurement/1")
    assert written["median_s"] == valid.median_s
    assert written["latency_s"] == list(valid.latency_s)
    assert written["verdict"] == "INVALID"
    assert {"rule": "other_engine", "verdict": "INVALID"}.items() <= written["reasons"][0].items()
    assert written["emulated"] is None
    assert written["deviations"] == {"block_s": 1}
    assert written["spread"]["p90_s"] is not None


def test_raw_latencies_are_stored_once(valid):
    text = json.dumps(measurement_to_json(valid))
    assert text.count(str(valid.blocks[3].latency_s[50])) == 1


def test_emulated_is_at_the_top_and_with_the_device(valid):
    emulated = replace(valid, device=replace(valid.device, emulated="qemu-user"))
    written = measurement_to_json(emulated)
    assert written["emulated"] == written["device"]["emulated"] == "qemu-user"


def test_a_run_is_all_its_measurements(valid):
    both = (valid, doubtful(valid))
    written = {"format": RUN_FORMAT, "measurements": [measurement_to_json(each) for each in both]}
    assert run_from_json(json.loads(json.dumps(written))) == both


def test_names_of_later_versions_are_left_out(valid):
    written = measurement_to_json(valid)
    assert measurement_from_json({**written, "colour": "blue", "device": {**written["device"], "x": 1}}) == valid


def changed(valid, *path, to):
    written = json.loads(json.dumps(measurement_to_json(valid)))
    place = written
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = to
    return written


@pytest.mark.parametrize(
    ("path", "to"),
    [
        (("format",), "mnet.measurement/2"),
        (("format",), None),
        (("verdict",), "GOOD"),
        (("verdict",), None),
        (("device",), None),
        (("device", "address"), 3),
        (("device", "memory_bytes"), 1.5),
        (("device", "memory_bytes"), True),
        (("device", "cores"), {}),
        (("interval_s",), [1.0]),
        (("interval_s",), [1.0, "2"]),
        (("config", "threads"), 0),
        (("config", "engine"), "tensorrt"),
        (("protocol", "min_blocks"), 0),
        (("before", "temperature_c"), float("nan")),
        (("latency_s",), None),
        (("latency_s",), [0.1]),
        (("latency_s", 0), "0.1"),
        (("latency_s", 0), float("inf")),
        (("latency_s", 0), None),
        (("blocks",), 7),
        (("blocks", 0), None),
        (("blocks", 0), {}),
        (("blocks", 0, "count"), 3),
        (("blocks", 0, "count"), -1),
        (("blocks", 0, "count"), "110"),
        (("blocks", 2, "first"), 0),
        (("blocks", 1, "count"), None),
        (("blocks", 0, "warmup_s"), None),
        (("blocks", 0, "after"), []),
        (("reasons",), [{}]),
        (("file", "notes"), "none"),
    ],
)
def test_damaged_measurements_are_refused_in_one_line(path, to, valid):
    with pytest.raises(ResultFormatError, match=r"mnet\.measurement/1.*Received: ") as refused:
        measurement_from_json(changed(valid, *path, to=to))
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 500


@pytest.mark.parametrize("key", ["file", "blocks", "latency_s", "measured_at", "before"])
def test_missing_names_are_refused(key, valid):
    written = measurement_to_json(valid)
    del written[key]
    with pytest.raises(ResultFormatError, match=key):
        measurement_from_json(written)


@pytest.mark.parametrize("value", [None, [], "text", 3, {}, {"format": "mnet.cost/1"}])
def test_other_values_are_no_measurement_and_no_run(value):
    with pytest.raises(ResultFormatError, match="Received"):
        measurement_from_json(value)
    with pytest.raises(ResultFormatError, match="Received"):
        run_from_json(value)


@pytest.mark.parametrize("listed", [None, {}, 3, [3], [{}]])
def test_damaged_runs_are_refused_in_one_line(listed):
    with pytest.raises(ResultFormatError, match="Received") as refused:
        run_from_json({"format": RUN_FORMAT, "measurements": listed})
    assert "\n" not in str(refused.value)
