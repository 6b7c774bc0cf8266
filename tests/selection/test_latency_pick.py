"""`mnet latency pick`: from models of latency, and measurements, to a choice."""

import argparse
import csv
import itertools
import json
import random
import sys
from dataclasses import replace
from importlib import resources

import pytest

from mnet_deploy.cli import latency_pick, main
from mnet_deploy.cost import Precision, estimate
from mnet_deploy.errors import ResultFormatError, SpecError
from mnet_deploy.latency import TERMS, BackTest, LatencyModel, Point, Setting
from mnet_deploy.latency.model_file import write_model
from mnet_deploy.measurement.device_info import Conditions, Core, DeviceInfo, EngineInfo
from mnet_deploy.measurement.measurement import Block, MeasuredFile, Measurement, Verdict
from mnet_deploy.measurement.run_config import Protocol, RunConfig
from mnet_deploy.pipeline.file_size import predicted_size_bytes
from mnet_deploy.pipeline.pick_candidates import candidates_of, spec_grid
from mnet_deploy.pipeline.pick_ways import way_of
from mnet_deploy.results.store import save_run
from mnet_deploy.selection import Budget, pick
from mnet_deploy.spec import Family, ModelSpec

DEVICE = "Raspberry Pi 4 Model B Rev 1.5"
SETTING = Setting(
    device=DEVICE,
    engine="litert",
    engine_version="2.3.0",
    precision=Precision.INT8,
    threads=1,
    delegate="xnnpack",
    clock_hz=1.8e9,
)
PI4 = DeviceInfo(address="ssh://pi@pi4", model=DEVICE, cores=(Core(number=0, max_clock_hz=1.8e9),))
POINTS = tuple(
    Point(spec=ModelSpec(alpha=alpha, resolution_px=px), latency_s=0.01)
    for alpha, px in ((0.25, 128), (0.25, 224), (1.0, 128), (1.0, 224), (0.5, 160))
)


def a_model(seconds_per_mac=1e-10, **changes):
    """Return a model that knows MACs alone: 1.0-224 takes about 57 ms, and intervals are about 10 % wide."""
    costs = [0.0] * len(TERMS)
    costs[TERMS.index("tiled_macs")] = seconds_per_mac
    return LatencyModel(
        setting=replace(SETTING, **changes),
        coefficients=tuple(costs),
        covariance=tuple((0.0,) * len(TERMS) for _ in TERMS),
        misfit=0.03,
        interval_factor=1.7,
        points=POINTS,
        back_test=BackTest(errors=(0.01,), covered=1),
    )


def a_measurement(spec, latency_s, **changes):
    size = predicted_size_bytes(estimate(spec), "tflite", Precision.INT8)
    return replace(
        Measurement(
            file=MeasuredFile(
                file=f"{spec.name}.tflite", sha256="a" * 64, size_bytes=size, model=spec.name, precision="int8"
            ),
            device=PI4,
            engine=EngineInfo(name="ai-edge-litert", version="2.3.0", delegate="xnnpack"),
            config=RunConfig(engine="litert", threads=1),
            protocol=Protocol(),
            before=Conditions(),
            after=Conditions(),
            blocks=tuple(Block(number=n, started_s=n, latency_s=(latency_s,), median_s=latency_s) for n in range(2)),
            interval_s=(latency_s * 0.99, latency_s * 1.01),
            stopped="interval",
            measured_at="2026-03-01T12:00:00+00:00",
        ),
        **changes,
    )


SIZES = ((1.0, 0.75, 0.5, 0.25), (224, 192, 160, 128))
ONE_MODEL = (a_model(),)


@pytest.fixture
def picked(tmp_path, monkeypatch, capsys, violations):
    """Return a function that picks with models in files; it returns status, text and JSON of the same question."""
    monkeypatch.chdir(tmp_path)

    def run(*options, models=ONE_MODEL):
        paths = [f"model{number}.json" for number, _ in enumerate(models)]
        for path, model in zip(paths, models, strict=True):
            write_model(tmp_path / path, model, force=True)
        parser = argparse.ArgumentParser()
        latency_pick.add_arguments(parser)
        parsed = [parser.parse_args([*options, "--model", *paths, *more]) for more in ((), ("--json", "--force"))]
        capsys.readouterr()
        status = latency_pick.run(parsed[0])
        text = capsys.readouterr().out
        assert latency_pick.run(parsed[1]) == status
        found = json.loads(capsys.readouterr().out)
        assert violations(found) == []
        return status, text, found

    return run


def test_what_fits_is_ranked_and_its_accuracy_has_a_source(picked):
    status, text, found = picked("--max-ms", "30", "--max-mb", "3", "--min-top1", "60")
    assert status == 0
    assert [(one["alpha"], one["resolution_px"]) for one in found["ranked"]] == [
        (0.75, 192),
        (0.75, 160),
        (0.5, 224),
        (0.5, 192),
    ]
    assert {one["family"] for one in found["ranked"]} == {"mobilenet_v1"}
    for one in found["ranked"]:
        assert one["interval_s"][1] <= 0.03
        assert one["size_bytes"] <= 3e6
        assert one["top1"] >= 0.6
        assert "mobilenet_v1.md" in one["source"]
    assert found["candidates"] == 80
    assert all(part in text for part in (DEVICE, "0.75-192", "66.2 %", "uint8 QAT", "mobilenet_v1.md", "Pareto front"))


def published():
    """Return the top-1 of the default table by family, alpha, px and precision, read anew from the file."""
    text = resources.files("mnet_deploy.data").joinpath("published_accuracy.csv").read_text(encoding="utf-8")
    return {
        (row["family"], float(row["alpha"]), int(row["resolution_px"]), row["precision"]): float(row["top1_pct"])
        for row in csv.DictReader(text.splitlines())
        if row["release"] == ("slim" if row["family"] == "mobilenet_v1" else "paper")
    }


def test_two_hundred_budgets_over_the_whole_grid_are_answered_as_by_brute_force():
    models = (a_model(), a_model(6e-11, threads=2), a_model(3e-10, precision=Precision.FP32))
    everything, top1 = [], published()
    for model, family, alpha, px in itertools.product(models, Family, *SIZES):
        spec, setting = ModelSpec(family=family, alpha=alpha, resolution_px=px), model.setting
        size = predicted_size_bytes(estimate(spec), "tflite", setting.precision)
        name = (str(family), alpha, px, str(setting.precision))
        everything.append((name, setting.threads, model.predict(spec).high_s * 1e3, size / 1e6, top1.get(name)))
    candidates = candidates_of([way_of(model, name="m") for model in models], spec_grid(Family, *SIZES, 1000), "slim")
    chance = random.Random(5)
    for _ in range(200):
        ms, mb, least = chance.uniform(1, 150), chance.uniform(0.3, 20), chance.choice([0.0, chance.uniform(35, 73)])
        budget = Budget(max_latency_s=ms / 1e3, max_size_bytes=mb * 1e6, min_top1=least / 100 or None)
        fits = [one for one in everything if one[2] <= ms and one[3] <= mb and one[4] is not None and one[4] >= least]
        fits.sort(key=lambda one: (-one[4], one[2], one[3]))
        ranked = pick(candidates, budget).ranked
        found = [((str(c.spec.family), c.spec.alpha, c.spec.resolution_px, c.precision), c.threads) for c in ranked]
        assert found == [one[:2] for one in fits]


def test_the_upper_end_counts_unless_the_point_is_asked_for(picked):
    edge_ms = str(ms_of(0.75, 192) * 1.02)
    by_end = picked("--max-ms", edge_ms, "--max-mb", "3", "--family", "mobilenet_v1")[2]
    by_point = picked("--max-ms", edge_ms, "--max-mb", "3", "--family", "mobilenet_v1", "--point")[2]
    assert (by_end["ranked"][0]["alpha"], by_end["ranked"][0]["resolution_px"]) == (0.75, 160)
    assert (by_point["ranked"][0]["alpha"], by_point["ranked"][0]["resolution_px"]) == (0.75, 192)
    assert by_end["measure_next"]["candidate"]["resolution_px"] == 192
    assert by_point["measure_next"]["is_choice"]


def ms_of(alpha, px):
    return a_model().predict(ModelSpec(alpha=alpha, resolution_px=px)).latency_s * 1e3


def test_the_measurement_to_make_is_named_with_its_commands(picked):
    edge_ms = str(ms_of(0.75, 192) * 1.02)
    _, text, _ = picked("--max-ms", edge_ms, "--max-mb", "3", "--family", "mobilenet_v1")
    assert "Measure next: mobilenet_v1 0.75-192 int8, litert, 1 thread." in text
    assert "top-1 is 2.3 points higher than with mobilenet_v1 0.75-160 int8" in text
    assert "mnet export --weights random --family mobilenet_v1 --alpha 0.75 --resolution 192" in text
    assert "mnet bench exports/mobilenet_v1_0.75_192_int8.tflite --engine litert --threads 1" in text


def test_if_nothing_fits_each_miss_has_a_line(picked):
    status, text, found = picked("--max-ms", "3.5", "--max-mb", "1", "--min-top1", "60", "--family", "mobilenet_v1")
    assert status == 1
    assert found["ranked"] == []
    assert "Nothing fits." in text
    first = found["nearest"][0]
    assert {miss["limit"] for miss in first["misses"]} == {"latency", "top1"}
    alone = {one["misses"][0]["limit"] for one in found["nearest"] if len(one["misses"]) == 1}
    assert alone == {"top1"}
    lines = [line for line in text.splitlines() if line.startswith("  ")]
    assert sum(line.startswith("  latency: ") and " over 3.5 ms" in line for line in lines) == 1
    assert sum(line.startswith("  top-1: ") and "below 60 %" in line for line in lines) == 2
    assert sum("that would not be enough" in line for line in lines) == 2, "of latency and of the file"


def test_other_families_are_marked_as_extrapolated(picked):
    _, text, found = picked("--family", "mobilenet_v1,shallow_mobilenet")
    marked = {one["family"]: one["extrapolated"] for one in [*found["ranked"], *found["unrated"]]}
    assert marked == {"mobilenet_v1": False, "shallow_mobilenet": True}
    assert "?: predicted from measurements of other families alone" in text


def test_a_name_in_a_file_cannot_move_the_cursor(picked):
    _, text, found = picked("--max-ms", "30", models=(a_model(device="Pi\x1b[2J", engine="e\r"),))
    assert found["device"] == "Pi\x1b[2J"
    assert not set(text) & {"\x1b", "\r"}
    assert "Pi" in text


def test_the_verb_has_it(picked, tmp_path, capsys):
    write_model(tmp_path / "m.json", a_model(), force=True)
    assert main(["latency", "pick", "--model", str(tmp_path / "m.json"), "--max-ms", "30"]) == 0
    assert main(["latency", "pick", "--model", str(tmp_path / "m.json"), "--max-ms", "0.1"]) == 1
    capsys.readouterr()
    assert main(["latency", "pick", "--model", str(tmp_path / "m.json"), "--min-top1", "0.6"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_several_models_are_several_ways_to_run(picked):
    models = (a_model(), a_model(6e-11, threads=2), a_model(3e-10, precision=Precision.FP32))
    _, _, found = picked("--max-ms", "40", "--family", "mobilenet_v1", models=models)
    assert found["candidates"] == 48
    assert {(one["precision"], one["threads"]) for one in found["ranked"]} == {("int8", 1), ("int8", 2), ("fp32", 1)}
    assert [(one["threads"], one["alpha"], one["resolution_px"]) for one in found["ranked"][:2]] == [
        (2, 1.0, 224),
        (2, 1.0, 192),
    ]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"device": "Pixel 3"}, "are of one device"),
        ({}, "one model of latency for each engine"),
    ],
)
def test_models_that_are_no_alternatives_are_refused(picked, changes, expected):
    with pytest.raises(SpecError, match=expected):
        picked("--max-ms", "40", models=(a_model(), a_model(**changes)))


@pytest.mark.parametrize(
    "options",
    [
        ("--max-ms", "0"),
        ("--max-ms", "fast"),
        ("--max-mb", "-1"),
        ("--min-top1", "0.6"),
        ("--min-top1", "101"),
        ("--family", "resnet"),
        ("--alpha", "0"),
        ("--resolution", "31"),
        ("--accuracy", "mine"),
        ("--plot", "front.pdf"),
        ("--measured", "--results", "nowhere"),
    ],
    ids=" ".join,
)
def test_options_that_say_nothing_are_refused(picked, options):
    with pytest.raises(SpecError):
        picked(*options)


def test_a_file_that_is_no_model_of_latency_is_refused(tmp_path):
    (tmp_path / "x.json").write_text("{}")
    parser = argparse.ArgumentParser()
    latency_pick.add_arguments(parser)
    with pytest.raises(ResultFormatError, match="latency model"):
        latency_pick.run(parser.parse_args(["--model", str(tmp_path / "x.json")]))


MEASURED = ("--family", "mobilenet_v1", "--max-ms", "30", "--max-mb", "3")


def test_a_measurement_takes_the_place_of_a_prediction(picked, tmp_path):
    spec = ModelSpec(alpha=0.75, resolution_px=224)
    old = a_measurement(spec, 0.05, measured_at="2026-02-01T12:00:00+00:00")
    save_run([a_measurement(spec, 0.025)], tmp_path / "mnet-results")
    save_run([old], tmp_path / "mnet-results")
    assert picked(*MEASURED)[2]["ranked"][0]["resolution_px"] == 192
    _, text, found = picked(*MEASURED, "--measured")
    assert found["measured"] == 1
    first = found["ranked"][0]
    assert (first["resolution_px"], first["measured"], first["latency_s"]) == (224, True, 0.025)
    assert "25 ms m" in text
    assert "m: measured" in text


PI5 = DeviceInfo(address="ssh://pi@pi5", model="Raspberry Pi 5")


@pytest.mark.parametrize(
    ("changes", "note"),
    [
        ({"verdict": Verdict.SUSPECT}, "that are SUSPECT are not taken"),
        ({"verdict": Verdict.INVALID}, "that are INVALID are not taken"),
        ({"file": {"size_bytes": 2_000_000}}, "another number of classes"),
        ({"file": {"precision": "fp32"}}, None),
        ({"device": PI5}, None),
        ({"device": replace(PI4, emulated="qemu-user")}, None),
        ({"device": replace(PI4, cores=(Core(number=0, max_clock_hz=1.5e9),))}, None),
        ({"config": RunConfig(engine="litert", threads=2)}, None),
        ({"config": RunConfig(engine="tflite-runtime")}, None),
        ({"engine": EngineInfo(name="ai-edge-litert", version="2.4.0", delegate="xnnpack")}, None),
        ({"engine": EngineInfo(name="ai-edge-litert", version="2.3.0", delegate="none")}, None),
    ],
)
def test_a_measurement_of_something_else_or_worth_nothing_is_not_taken(picked, tmp_path, capsys, changes, note):
    one = a_measurement(ModelSpec(alpha=0.75, resolution_px=224), 0.025)
    if isinstance(changes.get("file"), dict):
        changes = {"file": replace(one.file, **changes["file"])}
    save_run([replace(one, **changes)], tmp_path / "mnet-results")
    _, _, found = picked(*MEASURED, "--measured")
    assert found["measured"] == 0
    assert found["ranked"][0]["resolution_px"] == 192
    assert "no valid measurement of any candidate" in found["notes"][-1]
    assert len(found["notes"]) == 1 + (note is not None)
    assert note is None or (note in found["notes"][0] and "0.75-224 int8" in found["notes"][0])


@pytest.mark.parametrize("suffix", ["svg", "png"])
def test_the_front_is_drawn(picked, tmp_path, suffix):
    pytest.importorskip("matplotlib")
    picked("--max-ms", "30", "--min-top1", "60", "--plot", f"front.{suffix}")
    content = (tmp_path / f"front.{suffix}").read_bytes()
    if suffix == "png":
        assert content.startswith(b"\x89PNG")
    else:
        text = content.decode("utf-8")
        assert all(part in text for part in ("0.75-192 int8", "latency, ms", DEVICE, "limits"))
        picked("--max-ms", "30", "--min-top1", "60", "--plot", "front.svg", "--force")
        assert (tmp_path / "front.svg").read_bytes() == content, "the same question gives the same file"


def test_without_matplotlib_the_front_is_still_printed(picked, monkeypatch, capsys, tmp_path):
    for module in ("mnet_deploy.report.front_plot", "mnet_deploy.pipeline.latency_pick_plot"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ModuleNotFoundError) as caught:
        picked("--max-ms", "30", "--plot", "front.svg")
    assert caught.value.name == "matplotlib", "from which mnet knows what to advise"
    assert "Pareto front" in capsys.readouterr().out
    assert not (tmp_path / "front.svg").exists()
