"""What is written of measurements is what their schemas say."""

import json
from dataclasses import replace

import pytest

from mnet_deploy.measurement.as_json import measurement_to_json, run_to_json
from mnet_deploy.measurement.device_info import Conditions
from mnet_deploy.measurement.verdict import judge


def bare(valid):
    """Know as little as a measurement may."""
    unknown = Conditions()
    block = replace(
        valid.blocks[0], latency_s=None, median_s=None, wall_s=None, cpu_s=None, init_s=None, import_s=None,
        peak_rss_bytes=None, after=unknown, warmup_s=(),
    )  # fmt: skip
    device = replace(
        valid.device, model=None, soc=None, machine=None, cores=(), memory_bytes=None, os=None, kernel=None
    )
    return replace(valid, device=device, blocks=(block,), interval_s=None, before=unknown, after=unknown)


@pytest.mark.parametrize("change", [lambda m: m, bare, lambda m: judge(bare(m))])
def test_measurements(change, valid, violations):
    measurement = change(valid)
    assert violations(measurement_to_json(measurement)) == []
    assert violations(run_to_json([measurement, valid])) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("verdict", "GOOD"),
        ("median_s", "0.02"),
        ("latency_s", [None]),
        ("reasons", ["because"]),
        ("emulated", False),
        ("stopped", "later"),
        ("interval_s", [0.02]),
        ("interval_s", [0.01, 0.02, 0.03]),
        ("more", 1),
    ],
)
def test_other_values_are_none_of_the_schema(name, value, valid, violations):
    written = json.loads(json.dumps(measurement_to_json(valid)))
    assert violations({**written, name: value})
    assert violations({"format": "mnet.run/1", "measurements": [{**written, name: value}]})


def test_every_name_is_needed(valid, violations):
    written = json.loads(json.dumps(measurement_to_json(valid)))
    for name in set(written) - {"format"}:
        assert violations({key: value for key, value in written.items() if key != name}), name
