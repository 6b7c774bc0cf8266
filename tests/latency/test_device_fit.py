"""`mnet latency fit`, `predict` and `check --device`, with a device that takes exactly what the terms say."""

import json
import subprocess
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from mnet_deploy.cli import main
from mnet_deploy.cli.model_options import specs_of_words
from mnet_deploy.errors import LinkLost, SpecError
from mnet_deploy.latency import Point
from mnet_deploy.latency.fit import FIVE_MODELS
from mnet_deploy.latency.model_file import read_model, write_model
from mnet_deploy.latency.prior import reference_terms, shipped_prior
from mnet_deploy.latency.terms import term_matrix
from mnet_deploy.measurement.device_info import Conditions, Core, DeviceInfo, EngineInfo
from mnet_deploy.measurement.measurement import Block, MeasuredFile, Measurement, Reason, Verdict
from mnet_deploy.measurement.run_config import Protocol, RunConfig
from mnet_deploy.pipeline import latency_points
from mnet_deploy.pipeline.bench import BenchResult
from mnet_deploy.pipeline.export import ExportResult
from mnet_deploy.pipeline.latency_device_check import DEFAULT_COUNT, unseen_models
from mnet_deploy.precision import Precision
from mnet_deploy.spec import ModelSpec

EXACT = 0.01  # relative; the prior draws a little even where a model would fit exactly
SHORT = (
    *("--warmup-count", "1", "--warmup", "0.01s", "--block", "0.02s", "--min-count", "1"),
    *("--min-blocks", "2", "--max-blocks", "2"),
)


def device_time_s(spec):
    terms = term_matrix([spec], Precision.INT8) / reference_terms(Precision.INT8)
    return 0.02 * float((terms @ shipped_prior().shares_of(Precision.INT8))[0])


def a_measurement(path, spec, request):
    latency_s = device_time_s(spec)
    blocks = tuple(Block(number=number, started_s=0.0, latency_s=None, median_s=latency_s) for number in range(5))
    return Measurement(
        file=MeasuredFile(file=path.name, sha256="ab" * 32, size_bytes=1, model=spec.name, precision="int8"),
        device=DeviceInfo(address="ssh://pi", model="a board", cores=(Core(number=0, max_clock_hz=1.8e9),)),
        engine=EngineInfo(name="ai-edge-litert", version="2.3.0", delegate="xnnpack", threads=request.threads[0]),
        config=RunConfig(engine=(request.engines or ("litert",))[0], threads=request.threads[0]),
        protocol=Protocol(),
        before=Conditions(),
        after=Conditions(),
        blocks=blocks,
        interval_s=(latency_s, latency_s),
        stopped="interval",
        measured_at="2026-11-20T14:00:00+00:00",
    )


@dataclass
class Board:
    """Stands in for exporting and measuring.

    Attributes:
        change: what to make of each measurement, from it and its model.
        error: what cuts a run off.
        requests: that reached it.
    """

    change: object = None
    error: Exception | None = None
    requests: list = field(default_factory=list)
    exported: dict = field(default_factory=dict)

    def export(self, order, progress):
        spec = ModelSpec(**order.spec_overrides)
        self.exported[f"{spec.name}_{order.precisions[0]}.{order.formats[0]}"] = spec
        return ExportResult(artifacts=(), rejected=())

    def bench(self, request, progress):
        self.requests.append(request)
        measurements = []
        for path in request.files:
            spec = self.exported[path.name]
            measurement = a_measurement(path, spec, request)
            measurements.append(self.change(measurement, spec) if self.change else measurement)
        return BenchResult(measurements=tuple(measurements), files=(), error=self.error)


@pytest.fixture
def board(monkeypatch):
    board = Board()
    monkeypatch.setattr(latency_points, "export", board.export)
    monkeypatch.setattr(latency_points, "bench", board.bench)
    return board


@pytest.fixture
def fitted(board, tmp_path, capsys):
    """Return the file of a model that was fitted on the board."""
    path = tmp_path / "model.json"
    assert main(["latency", "fit", "--device", "ssh://pi", "--out", str(path)]) == 0
    capsys.readouterr()
    board.requests.clear()
    return path


def slower(share, *, only=None):
    """Return a change that makes the board slower than the model says."""

    def change(measurement, spec):
        if only is not None and spec != only:
            return measurement
        blocks = tuple(replace(block, median_s=block.median_s * (1 + share)) for block in measurement.blocks)
        return replace(measurement, blocks=blocks)

    return change


def judged(verdict, text, only):
    def change(measurement, spec):
        reason = Reason(rule="hot", verdict=verdict, text=text)
        return replace(measurement, verdict=verdict, reasons=(reason,)) if spec == only else measurement

    return change


def the_only_line(capsys):
    printed = capsys.readouterr()
    assert printed.out == ""
    assert len(printed.err.splitlines()) == 1
    return printed.err


def test_five_models_are_measured_in_one_run_and_predict_the_board(fitted, board, capsys):
    model = read_model(fitted)
    assert [point.spec for point in model.points] == list(FIVE_MODELS)
    spec = ModelSpec(alpha=0.75, resolution_px=192)
    assert model.predict(spec).latency_s == pytest.approx(device_time_s(spec), rel=EXACT)
    setting = model.setting
    assert (setting.device, setting.engine, setting.engine_version) == ("a board", "litert", "2.3.0")
    assert (setting.threads, setting.delegate, setting.clock_hz) == (1, "xnnpack", 1.8e9)
    assert main(["latency", "fit", "--out", str(fitted), "--force", "--also", "0.75-192"]) == 0
    assert [len(request.files) for request in board.requests] == [6]
    assert "Back-test" in capsys.readouterr().out


def test_json_is_the_model_that_was_written(board, tmp_path, capsys, violations):
    path = tmp_path / "model.json"
    options = ("--threads", "2", "--format", "onnx", "--precision", "fp32", "--engine", "onnxruntime")
    assert main(["latency", "fit", *options, "--out", str(path), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads(path.read_text(encoding="utf-8"))
    assert violations(printed) == []
    assert (printed["setting"]["threads"], printed["setting"]["precision"]) == (2, "fp32")
    request = board.requests[0]
    assert (request.threads, request.engines, request.files[0].suffix) == ((2,), ("onnxruntime",), ".onnx")


def test_a_model_that_exists_is_kept_and_nothing_is_measured(fitted, board, capsys):
    before = fitted.read_bytes()
    assert main(["latency", "fit", "--out", str(fitted)]) == 2
    assert "--force" in the_only_line(capsys)
    assert (fitted.read_bytes(), board.requests) == (before, [])


def test_an_invalid_measurement_is_refused(board, tmp_path, capsys):
    board.change = judged(Verdict.INVALID, "The device throttled.", FIVE_MODELS[1])
    assert main(["latency", "fit", "--out", str(tmp_path / "model.json")]) == 3
    line = the_only_line(capsys)
    assert "mobilenet_v1_0.25_224_int8.tflite is INVALID: The device throttled." in line
    assert list(tmp_path.iterdir()) == []


def test_a_suspect_measurement_is_named_in_the_model(board, tmp_path, capsys):
    board.change = judged(Verdict.SUSPECT, "It was warm.", FIVE_MODELS[1])
    path = tmp_path / "model.json"
    assert main(["latency", "fit", "--out", str(path)]) == 0
    assert [point.doubts for point in read_model(path).points] == [(), ("It was warm.",), (), (), ()]
    assert "- 0.25-224: It was warm." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda one: replace(one, engine=replace(one.engine, version="2.4.0")), "engine version 2.3.0"),
        (lambda one: replace(one, engine=replace(one.engine, delegate="none")), "delegate xnnpack and delegate none"),
    ],
)
def test_mixed_conditions_are_an_error(change, named, board, tmp_path, capsys):
    board.change = lambda measurement, spec: change(measurement) if spec == FIVE_MODELS[2] else measurement
    assert main(["latency", "fit", "--out", str(tmp_path / "model.json")]) == 2
    assert named in the_only_line(capsys)


def test_a_run_that_was_cut_off_makes_no_model(board, tmp_path, capsys):
    board.error = LinkLost("the connection ended")
    assert main(["latency", "fit", "--out", str(tmp_path / "model.json")]) == 3
    assert "the connection ended" in the_only_line(capsys)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--precision", "fp16"), "--precision takes int8, fp32. Received: fp16"),
        (("--precision", "int4"), "--precision takes"),
        (("--format", "ort"), "--format takes tflite, onnx. Received: ort"),
        (("--threads", "0"), "--threads takes numbers from 1 on"),
        (("--engine", "tvm"), "--engine takes"),
        (("--device", "pi@host"), "pi@host"),
        (("--also", "0.25-128"), "--also takes models besides"),
        (("--also", "0.75-192", "mobilenet_v1_0.75_192"), "--also takes models besides"),
        (("--also", "resnet"), "--also takes models such as"),
        (("--also", "0.75-16"), "resolution must be"),
    ],
)
def test_bad_options_are_refused_in_one_line_before_anything_is_measured(options, said, board, tmp_path, capsys):
    assert main(["latency", "fit", "--out", str(tmp_path / "model.json"), *options]) == 2
    assert said in the_only_line(capsys)
    assert board.requests == []


def test_a_file_of_something_else_is_neither_measured_nor_replaced(board, tmp_path, capsys):
    other = tmp_path / "mobilenet_v1_0.25_128_int8.tflite"
    other.write_bytes(b"mine")
    assert main(["latency", "fit", "--out", str(tmp_path / "model.json"), "--keep", str(tmp_path)]) == 2
    assert "--keep elsewhere" in the_only_line(capsys)
    assert (other.read_bytes(), board.requests) == (b"mine", [])


def test_emulated_devices_are_labelled(board, tmp_path, capsys):
    board.change = lambda one, spec: replace(one, device=replace(one.device, emulated="qemu-user"))
    path = tmp_path / "model.json"
    assert main(["latency", "fit", "--out", str(path)]) == 0
    assert capsys.readouterr().out.startswith("a board (emulated by qemu-user), litert")


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (("0.75-192",), ["mobilenet_v1_0.75_192"]),
        (("mobilenet_v1 0.75-192",), ["mobilenet_v1_0.75_192"]),
        (("conv_mobilenet", "0.5-160", "0.25-128"), ["conv_mobilenet_0.5_160", "mobilenet_v1_0.25_128"]),
        (("conv_mobilenet", "shallow_mobilenet"), ["conv_mobilenet_1.0_224", "shallow_mobilenet_1.0_224"]),
        (("conv_mobilenet_0.5_160", "0.25-128"), ["conv_mobilenet_0.5_160", "mobilenet_v1_0.25_128"]),
    ],
)
def test_models_are_named_as_elsewhere(words, names):
    assert [spec.name for spec in specs_of_words(words, "SPEC")] == names


def test_a_prediction_is_the_sum_of_its_terms(fitted, capsys, violations):
    assert main(["latency", "predict", "--model", str(fitted), "--json", "0.75-192", "conv_mobilenet", "0.5-160"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert violations(printed) == []
    for one in printed["models"]:
        assert sum(one["parts_s"].values()) == pytest.approx(one["latency_s"])
        assert one["low_s"] < one["latency_s"] < one["high_s"]
    assert [one["extrapolated"] for one in printed["models"]] == [False, True]


def test_predictions_as_text_name_terms_and_extrapolations(fitted, capsys):
    assert main(["latency", "predict", "--model", str(fitted), "0.75-192", "conv_mobilenet"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("a board, litert 2.3.0, xnnpack, int8, 1 thread, up to 1800 MHz\n")
    assert "tiled_macs" in printed
    assert "?: no model of its family was measured" in printed


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--model", "nowhere.json", "0.5-160"), "nowhere.json: expected a latency model"),
        (("--model", "MODEL", "0.5"), "SPEC takes models such as"),
        (("--model", "MODEL", "0.5-160", "--classes", "0"), "classes must be"),
    ],
)
def test_what_cannot_be_predicted_ends_in_one_line(arguments, said, fitted, capsys):
    words = [str(fitted) if word == "MODEL" else word for word in arguments]
    assert main(["latency", "predict", *words]) == 2
    assert said in the_only_line(capsys)


def test_predicting_loads_no_framework(fitted):
    script = (
        "import sys; from mnet_deploy.cli import main\n"
        f"main(['latency', 'predict', '--model', {str(fitted)!r}, '0.5-160'])\n"
        "print('LOADED', *sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.rpartition("LOADED")[2].split())
    assert loaded & {"scipy", "onnx", "onnxruntime", "ai_edge_litert", "keras", "tensorflow", "flatbuffers"} == set()


def test_a_model_that_is_right_passes_its_check(fitted, board, capsys, violations):
    assert main(["latency", "check", "--device", "ssh://pi", "--model", str(fitted), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert violations(printed) == []
    assert printed["passed"] is True
    assert printed["covered"] == len(printed["models"]) == DEFAULT_COUNT
    assert printed["rank_correlation"] == pytest.approx(1.0)
    assert printed["largest_error"] < EXACT
    request = board.requests[0]
    assert (request.engines, request.threads, request.delegates) == (("litert",), (1,), ("default",))
    assert not {board.exported[path.name] for path in request.files} & set(FIVE_MODELS)


@pytest.mark.parametrize(
    ("limit", "status", "said"), [("30%", 0, "GOOD: all within 30 %"), ("10%", 1, "1 of 2 beyond")]
)
def test_the_verdict_is_against_a_threshold(limit, status, said, fitted, board, capsys):
    board.change = slower(0.25, only=ModelSpec(alpha=0.35, resolution_px=96))
    command = ["latency", "check", "--device", "ssh://pi", "--model", str(fitted), "--max-error", limit]
    assert main([*command, "0.35-96", "0.6-200"]) == status
    printed = capsys.readouterr().out
    assert said in printed
    assert "-20." in printed


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda one: replace(one, engine=replace(one.engine, version="2.4.0")), "engine_version 2.4.0"),
        (lambda one: replace(one, engine=replace(one.engine, delegate="none")), "delegate none"),
        (lambda one: replace(one, device=replace(one.device, model="another board")), "device another board"),
        (
            lambda one: replace(one, device=replace(one.device, cores=(Core(number=0, max_clock_hz=1.5e9),))),
            "clock_hz 1500000000.0",
        ),
        (lambda one: replace(one, config=replace(one.config, threads=2)), "threads 2"),
    ],
)
def test_a_model_of_another_setting_is_refused(change, named, fitted, board, capsys):
    board.change = lambda measurement, spec: change(measurement)
    assert main(["latency", "check", "--device", "ssh://pi", "--model", str(fitted)]) == 2
    assert f"Received: {named}" in the_only_line(capsys)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--device", "local:"), "no --model"),
        (("--device", "local:", "--model", "MODEL", "0.25-128"), "was not fitted on"),
        (("--device", "local:", "--model", "MODEL", "0.3-128", "0.3-128"), "twice"),
        (("--device", "local:", "--model", "MODEL", "--max-error", "many"), "--max-error takes a share"),
        (("--published", "--model", "MODEL"), "--model is for --device"),
        (("--published", "0.5-160"), "SPEC is for --device"),
        (("--published", "--min-blocks", "9"), "--min-blocks is for --device"),
    ],
)
def test_what_cannot_be_checked_ends_in_one_line(arguments, said, fitted, board, capsys):
    words = [str(fitted) if word == "MODEL" else word for word in arguments]
    assert main(["latency", "check", *words]) == 2
    assert said in the_only_line(capsys)
    assert board.requests == []


def test_a_model_of_a_publication_cannot_be_measured_again(fitted, tmp_path, capsys):
    model, path = read_model(fitted), tmp_path / "published.json"
    write_model(path, replace(model, setting=replace(model.setting, engine="tflite 2.7.1")), force=False)
    assert main(["latency", "check", "--device", "local:", "--model", str(path)]) == 2
    assert "Received: tflite 2.7.1" in the_only_line(capsys)


def test_what_is_checked_by_default_was_not_fitted_on(fitted):
    model = read_model(fitted)
    first = unseen_models(model)
    more = replace(model, points=(*model.points, *(Point(spec=spec, latency_s=0.01) for spec in first)))
    assert len(first) == DEFAULT_COUNT
    assert not set(unseen_models(more)) & set(first)


def test_on_this_machine(tmp_path, capsys, monkeypatch):
    """Fit with blocks too short to be worth much, and check the same engine with files that were kept."""
    pytest.importorskip("ai_edge_litert")
    path, kept = tmp_path / "model.json", tmp_path / "kept"
    assert main(["latency", "fit", "--out", str(path), "--keep", str(kept), *SHORT]) == 0
    assert "The protocol asked for less" in capsys.readouterr().out
    assert len(list(kept.glob("*.tflite"))) == len(FIVE_MODELS)
    everything = ("--max-error", "10000%", *SHORT)
    model = ["--model", str(path)]
    assert main(["latency", "check", "--device", "local:", *model, "0.25-32", "--keep", str(kept), *everything]) == 0
    assert "GOOD" in capsys.readouterr().out

    def no_export(order, progress):
        raise SpecError(f"{order.spec_overrides} is exported again")

    monkeypatch.setattr(latency_points, "export", no_export)
    assert main(["latency", "check", "--device", "local:", *model, "0.25-32", "--keep", str(kept), *everything]) == 0
    assert Path(kept, "mobilenet_v1_0.25_32_int8.tflite").is_file()
