"""What is written of measurements is what their schemas say."""

import gzip
import json
from dataclasses import replace

import pytest

from mnet_deploy.cli import main
from mnet_deploy.measurement.as_json import RUN_FORMAT, measurement_to_json
from mnet_deploy.measurement.device_info import Conditions
from mnet_deploy.measurement.sustained import sustained
from mnet_deploy.measurement.verdict import judge
from mnet_deploy.measurement.versus import compare
from mnet_deploy.pipeline.bench_layers import TimedLayers
from mnet_deploy.pipeline.bench_report import BenchReport
from mnet_deploy.results.baseline import compare_to_baseline
from mnet_deploy.results.store import save_run
from mnet_deploy.runners.layer_times import LayerTime, LayerTimes, OpTime
from mnet_deploy.spec import ModelSpec


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
    assert violations({"format": RUN_FORMAT, "measurements": [measurement_to_json(measurement)]}) == []


def test_a_phone(phone, violations):
    assert violations(measurement_to_json(phone)) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [("thermal_status", 7), ("thermal_status", -1), ("battery_level", 81), ("powered", "USB"), ("screen_on", 1)],
)
def test_states_that_no_phone_has(name, value, phone, violations):
    written = measurement_to_json(phone)
    assert violations({**written, "before": {**written["before"], name: value}})


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
    assert violations({"format": RUN_FORMAT, "measurements": [{**written, name: value}]})


def test_every_name_is_needed(valid, violations):
    written = json.loads(json.dumps(measurement_to_json(valid)))
    for name in set(written) - {"format"}:
        assert violations({key: value for key, value in written.items() if key != name}), name


def test_stored_runs_and_what_is_said_of_them(valid, tmp_path, capsys, violations):
    slower = replace(valid, blocks=tuple(replace(one, median_s=one.median_s * 1.2) for one in valid.blocks))
    runs = [save_run([one, bare(valid)], tmp_path) for one in (valid, slower)]
    for run in runs:
        assert violations(json.loads(run.path.read_text(encoding="utf-8"))) == []
    for packed in (tmp_path / "raw").iterdir():
        assert violations(json.loads(gzip.decompress(packed.read_bytes()))) == []
    for action in (("list",), ("show", runs[0].path.stem), ("diff", *(run.path.stem for run in runs))):
        main(["results", *action, "--results", str(tmp_path), "--json"])
        assert violations(json.loads(capsys.readouterr().out)) == [], action


def test_answers_of_a_bench(valid, tmp_path, violations):
    stored = save_run([valid], tmp_path).path
    ops = (OpTime(name="conv1", op="Conv", time_s=0.002),)
    conv, depthwise, *_ = ModelSpec(alpha=0.25, resolution_px=32).layers()
    layers = (LayerTime(layer=conv, ops=ops), LayerTime(layer=depthwise, ops=()))
    full = BenchReport(
        measurements=(valid,),
        comparisons=(compare(valid, valid), compare(bare_median(valid), valid)),
        baseline=compare_to_baseline([valid], stored, max_slowdown=0.05),
        sustained=sustained(valid),
        layers=(
            TimedLayers(file="a.tflite", engine="tflite-runtime", times=None, unavailable="it has no profiler"),
            TimedLayers(file="a.onnx", engine="onnxruntime", times=LayerTimes(source="s", layers=layers, unmapped=ops)),
        ),
        stored=stored,
        warnings=("the device is warm",),
    )
    for report in (full, BenchReport(measurements=()), BenchReport(measurements=(), error=KeyboardInterrupt())):
        assert violations(report.to_json()) == []


def bare_median(valid):
    """Have one round only, of which nothing can be said."""
    return replace(valid, blocks=valid.blocks[:1])
