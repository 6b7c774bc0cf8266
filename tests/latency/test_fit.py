import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from mnet_deploy.errors import ResultFormatError, SpecError
from mnet_deploy.latency import TERMS, Point, Setting
from mnet_deploy.latency.fit import FIVE_MODELS, MIN_POINTS, fit
from mnet_deploy.latency.model_file import model_from_json, model_to_json, read_model, write_model
from mnet_deploy.latency.prior import REFERENCE, reference_terms, shipped_prior
from mnet_deploy.latency.terms import term_matrix
from mnet_deploy.precision import Precision
from mnet_deploy.spec import Family, ModelSpec

SETTING = Setting(device="a board", engine="litert", precision=Precision.INT8, threads=1, clock_hz=1.8e9)
SIXTEEN = tuple(
    ModelSpec(alpha=alpha, resolution_px=size) for alpha in (0.25, 0.5, 0.75, 1.0) for size in (128, 160, 192, 224)
)
OTHER_FAMILIES = tuple(
    ModelSpec(family=family, alpha=alpha) for family in Family for alpha in (0.25, 1.0) if family != "mobilenet_v1"
)
EXACT = 0.01  # relative; the prior draws a little even where a model would fit exactly


def device_times(specs, precision=Precision.INT8, scale_s=0.02, shares=None):
    """Return the latencies of a device that takes exactly what the terms say."""
    shares = shipped_prior().shares_of(precision) if shares is None else np.array(shares)
    return term_matrix(specs, precision) / reference_terms(precision) @ shares * scale_s


def points(specs=FIVE_MODELS, **device):
    return [
        Point(spec=spec, latency_s=t) for spec, t in zip(specs, device_times(specs, **device).tolist(), strict=True)
    ]


@pytest.fixture(scope="module")
def model():
    return fit(points(), SETTING)


def test_five_models_predict_the_others_of_a_device_like_its_kin(model):
    predicted = [each.latency_s for each in model.predict_many(SIXTEEN)]
    assert predicted == pytest.approx(device_times(SIXTEEN).tolist(), rel=EXACT)
    assert model.back_test.max_error < EXACT
    assert model.back_test.covered == MIN_POINTS


@pytest.mark.parametrize("scale_s", [1e-4, 1.0], ids="{:g} s".format)
def test_the_fit_does_not_depend_on_how_fast_a_device_is(scale_s):
    fitted = fit(points(scale_s=scale_s), SETTING)
    relative = np.array([each.latency_s for each in fitted.predict_many(SIXTEEN)]) / scale_s
    assert relative == pytest.approx(device_times(SIXTEEN, scale_s=1.0), rel=EXACT)


def test_many_points_outweigh_the_prior():
    """A device on which the kernels of pointwise layers alone take time is learnt from sixteen points."""
    shares = [1.0 if name == "tiled_macs" else 0.0 for name in TERMS]
    fitted = fit(points(SIXTEEN, shares=shares), SETTING)
    parts = fitted.parts(REFERENCE)
    assert parts["tiled_macs"] / sum(parts.values()) > 0.9
    assert fitted.back_test.mean_error < 0.03


def test_coefficients_are_costs_and_parts_sum_up(model):
    assert min(model.coefficients) >= 0
    assert sum(model.parts(REFERENCE).values()) == pytest.approx(model.predict(REFERENCE).latency_s)


def test_intervals_widen_with_the_distance_from_the_points(model):
    widths = [np.log(found.high_s / found.low_s) for found in model.predict_many((*SIXTEEN, *OTHER_FAMILIES))]
    assert min(widths) > 0
    far = model.predict(ModelSpec(family=Family.CONV_MOBILENET))
    assert np.log(far.high_s / far.low_s) > 2 * max(widths[: len(SIXTEEN)])


def test_intervals_widen_with_noise():
    quiet, noisy = points(SIXTEEN), points(SIXTEEN)
    noisy = [replace(p, latency_s=p.latency_s * (1.2 if i % 2 else 0.8)) for i, p in enumerate(noisy)]
    assert fit(noisy, SETTING).misfit > 2 * fit(quiet, SETTING).misfit


def test_it_names_the_families_that_it_has_seen(model):
    assert model.families == {Family.MOBILENET_V1}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: p[:4], "needs 5 measured models or more. Received: 4"),
        (lambda p: [*p, p[0]], "each model is one point. Received: mobilenet_v1_0.25_128 2 times"),
        (lambda p: [*p[:4], replace(p[4], latency_s=0.0)], "a latency is a number of seconds above 0"),
        (lambda p: [*p[:4], replace(p[4], latency_s=-0.01)], "Received: -0.01"),
        (lambda p: [*p[:4], replace(p[4], latency_s=float("nan"))], "Received: nan"),
        (lambda p: [*p[:4], replace(p[4], latency_s=float("inf"))], "Received: inf"),
        (lambda p: [*p[:4], replace(p[4], latency_s=20_000.0)], "at most 3600"),
        (lambda p: [*p[:4], replace(p[4], setting=replace(SETTING, threads=4))], "threads 1. Received: threads 4"),
    ],
    ids=["four", "twice", "zero", "negative", "nan", "infinite", "hours", "mixed"],
)
def test_points_that_cannot_be_used_are_refused(change, message):
    with pytest.raises(SpecError) as refused:
        fit(change(points()), SETTING)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"engine": "onnxruntime"},
        {"engine_version": "2.4.0"},
        {"threads": 2},
        {"precision": Precision.FP32},
        {"clock_hz": 1.5e9},
        {"delegate": "none"},
        {"device": "another board"},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_a_model_of_another_setting_is_refused(model, changes):
    model = replace(model, setting=replace(SETTING, engine_version="2.3.0", delegate="xnnpack"))
    with pytest.raises(SpecError, match=f"{next(iter(changes))} .*Received: {next(iter(changes))} "):
        model.require_same(replace(model.setting, **changes))


@pytest.mark.parametrize("changes", [{}, {"clock_hz": 1.81e9}, {"clock_hz": None}, {"engine_version": "2.3.0"}])
def test_what_is_equal_or_unknown_is_not_refused(model, changes):
    model.require_same(replace(SETTING, **changes))


@pytest.mark.parametrize(
    "changes", [{"threads": 0}, {"clock_hz": 0.0}, {"clock_hz": float("nan")}, {"precision": "int4"}]
)
def test_a_setting_that_cannot_be_is_refused(changes):
    with pytest.raises(SpecError, match="Received: "):
        replace(SETTING, **changes)


def test_a_model_survives_its_file(model, tmp_path, violations):
    path = tmp_path / "board.json"
    write_model(path, model, force=False)
    assert read_model(path) == model
    assert violations(json.loads(path.read_text())) == []
    with pytest.raises(SpecError):
        write_model(path, replace(model, misfit=0.5), force=False)
    write_model(path, replace(model, misfit=0.5), force=True)
    assert read_model(path).misfit == 0.5


@pytest.mark.parametrize(
    "changes",
    [
        {"format": "mnet.latency-model/2"},
        {"format": "mnet.run/1"},
        {"terms": ["macs"]},
        {"coefficients": [1.0]},
        {"coefficients": [-1e-9] * len(TERMS)},
        {"coefficients": [0] * len(TERMS)},
        {"covariance": [[1.0]]},
        {"misfit": 0},
        {"interval_factor": -1},
        {"points": None},
        {"setting": {"device": "x"}},
    ],
    ids=lambda changes: "-".join(map(str, *changes.items())),
)
def test_a_damaged_model_is_refused(model, changes):
    with pytest.raises(ResultFormatError, match="expected a latency model"):
        model_from_json({**model_to_json(model), **changes})


@pytest.mark.parametrize("text", ["", "[]", "7", "{}"])
def test_a_file_that_is_no_model_is_refused(text, tmp_path):
    path = tmp_path / "model.json"
    path.write_text(text)
    with pytest.raises(ResultFormatError, match="expected a latency model"):
        read_model(path)


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(SpecError, match="expected a latency model"):
        read_model(tmp_path / "none.json")


def test_predicting_needs_no_scipy(model, tmp_path):
    path = tmp_path / "model.json"
    write_model(path, model, force=False)
    script = (
        "import sys; from pathlib import Path; from mnet_deploy.latency.model_file import read_model\n"
        "from mnet_deploy.spec import ModelSpec\n"
        f"print(read_model(Path({str(path)!r})).predict(ModelSpec()).latency_s)\n"
        "assert 'scipy' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert float(done.stdout) == model.predict(ModelSpec()).latency_s
