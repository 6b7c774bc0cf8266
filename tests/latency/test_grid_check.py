import csv
import io
import json
import subprocess
import sys
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from mnet_deploy.cli import main
from mnet_deploy.latency.grid_check import check_grids
from mnet_deploy.latency.grid_trial import FIVE, FIVE_MODEL, LEAVE_ONE_OUT, prior_without
from mnet_deploy.latency.grids import LABELS, published_grids
from mnet_deploy.latency.prediction_errors import Errors
from mnet_deploy.pipeline.latency_published import published_json

ROOT = Path(__file__).resolve().parents[2]
PUBLISHED = resources.files("mnet_deploy.data").joinpath("published_grids.csv").read_text(encoding="utf-8")


def edited(edit):
    """Return the shipped table with its rows changed."""
    rows = list(csv.DictReader(PUBLISHED.splitlines()))
    out = io.StringIO()
    writer = csv.DictWriter(out, rows[0].keys())
    writer.writeheader()
    writer.writerows(edit(rows))
    return out.getvalue()


@pytest.fixture(scope="module")
def published():
    return check_grids(published_grids())


@pytest.fixture(scope="module")
def found():
    return published_json(None)


@pytest.fixture
def printed(capsys):
    """Run a command that succeeds and return its JSON."""

    def run(*arguments):
        assert main(["latency", "check", *arguments, "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    return run


def test_the_five_models_are_the_corners_and_the_middle():
    assert {LABELS[at] for at in FIVE} == {"0.25-128", "0.25-224", "1.0-128", "1.0-224", "0.5-160"}
    (train, tested), *others = FIVE_MODEL
    assert others == []
    assert sorted(train + tested) == list(range(16))
    assert [tested for _, tested in LEAVE_ONE_OUT] == [(at,) for at in range(16)]
    assert all(set(train).isdisjoint(tested) for train, tested in LEAVE_ONE_OUT)


def test_the_headline(found, violations):
    """What the page on the latency model states; looser by what another build of SciPy may change."""
    assert violations(found) == []
    five, loo = found["five_model"], found["leave_one_out"]
    assert five["grids"] == loo["grids"] == 44
    assert five["mape_median"] <= 0.025
    assert loo["mape_median"] <= 0.026
    assert five["share_within_10"] >= 0.955
    assert loo["share_within_10"] >= 0.94
    assert min(five["rank_correlation_median"], loo["rank_correlation_median"]) >= 0.99
    assert 0.85 <= five["coverage"] <= 0.95
    assert 0.85 <= loo["coverage"] <= 0.95
    assert five["macs"]["mape_median"] == pytest.approx(0.212, abs=0.001)
    assert five["macs_constant"]["mape_median"] == pytest.approx(0.072, abs=0.001)
    assert loo["macs"]["mape_median"] == pytest.approx(0.261, abs=0.001)
    assert loo["macs_constant"]["mape_median"] == pytest.approx(0.099, abs=0.001)


def test_each_grid_has_one_row(found):
    keys = [tuple(row[name] for name in ("source", "device", "system", "precision")) for row in found["grids"]]
    assert len(set(keys)) == len(keys) == 44 + found["accelerators"]["five_model"]["grids"]
    assert len(keys) + len(found["refused"]) == 63
    for row in found["grids"]:
        assert row["stat"] in ("min", "unspecified")
        assert len(row["five_model"]["errors"]) == 11
        assert len(row["leave_one_out"]["errors"]) == 16


def test_summaries_follow_from_the_rows(found):
    rows = [row["five_model"] for row in found["grids"] if not row["accelerator"]]
    errors = np.abs([list(row["errors"].values()) for row in rows])
    assert found["five_model"]["share_within_10"] == pytest.approx((errors <= 0.1).mean(), abs=1e-4)
    assert found["five_model"]["mape_median"] == pytest.approx(np.median(errors.mean(axis=1)), abs=1e-4)


def test_the_outlier_of_a_refused_grid_is_named(published):
    named = {
        refusal.grid.system: (LABELS[outlier.position], outlier.expected_s)
        for refusal, outlier in published.refused
        if outlier
    }
    model, expected_s = named["tensorflow-mobile"]
    assert model == "0.5-224"
    assert expected_s == pytest.approx(0.085, rel=0.05)
    assert dict(published.refused)[next(r for r, _ in published.refused if "mate10" in r.grid.system)] is None


def test_large_errors_are_where_single_inferences_differ_most(published):
    """Two of the 44 grids have more than half of the errors beyond 10 %: their medians are half above their minima."""
    beyond = {each.grid.key: int((np.abs(each.five_model.ours.relative) > 0.1).sum()) for each in published.accepted}
    worst = sorted(published.accepted, key=lambda each: -beyond[each.grid.key])[:2]
    assert sum(beyond[each.grid.key] for each in worst) > sum(beyond.values()) / 2
    assert all(each.jitter > 0.5 for each in worst)


@pytest.mark.parametrize(("device", "grids"), [("Pixel 2", 42), ("Raspberry Pi 4 Model B", 31), ("another", 44)])
def test_nothing_is_learnt_from_the_device_in_question(device, grids):
    assert prior_without(device).learnt_from == grids


def test_a_file_of_the_same_grids_gives_the_same(printed, found, tmp_path):
    path = tmp_path / "grids.csv"
    path.write_text(PUBLISHED)
    assert printed("--grids", str(path)) == {**found, "file": "grids.csv"}


def test_some_grids_of_a_file(printed, tmp_path, violations):
    path = tmp_path / "grids.csv"
    path.write_text(edited(lambda rows: [row for row in rows if "opencl" in row["system"] and row["stat"] == "min"]))
    found = printed("--grids", str(path))
    assert violations(found) == []
    assert found["five_model"] is None
    assert found["accelerators"]["five_model"]["grids"] == len(found["grids"]) > 0
    assert {row["jitter"] for row in found["grids"]} == {None}


def test_a_device_without_a_name_can_be_checked(printed, tmp_path):
    path = tmp_path / "grids.csv"
    path.write_text(edited(lambda rows: [{**rows[0], "device": "", "stat": "MIN"}]))
    found = printed("--grids", str(path))
    assert (found["five_model"]["grids"], found["grids"][0]["stat"]) == (1, "min")


def test_the_text_says_it_all(capsys):
    assert main(["latency", "check", "--published"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("published_grids.csv: 44 on CPUs, 7 on accelerators, 12 refused\n")
    assert "0.5-224: 164 ms, of which the others say 86" in text
    assert text.count("Pixel 2, tflite ") == 4
    page = (ROOT / "docs" / "latency.md").read_text(encoding="utf-8")
    headline, _, rest = text.partition("\n\nFrom five models, by how steady")
    assert headline in page
    assert rest.partition("\n\nFrom five models (")[0] in page


def test_without_scipy_it_says_what_to_install():
    script = (
        "import sys\n"
        "class Missing:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'scipy': raise ModuleNotFoundError('no scipy', name='scipy')\n"
        "sys.meta_path.insert(0, Missing())\n"
        "from mnet_deploy.cli import main\n"
        "sys.exit(main(['latency', 'check', '--published']))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == "mnet: scipy is not installed here; pip install 'mnet-deploy[fit]'\n"


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda rows: [{**rows[0], "a0.25_r128": "-1"}], "line 2, a0.25_r128: expected a latency in ms above 0"),
        (lambda rows: [row for row in rows if row["device"].startswith("Huawei")], "all refused; Huawei Mate 10 Pro"),
        (lambda rows: [{**rows[0], "precision": "?"}], "expected a precision"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_line(edit, message, tmp_path, capsys):
    path = tmp_path / "grids.csv"
    path.write_text(edited(edit))
    assert main(["latency", "check", "--grids", str(path)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("mnet: ")
    assert message in captured.err
    assert captured.err.count("\n") == 1


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00", b"PK\x03\x04"])
def test_what_is_no_table_is_one_line(content, tmp_path, capsys):
    path = tmp_path / "grids.xlsx"
    if content is not None:
        path.write_bytes(content)
    assert main(["latency", "check", "--grids", str(path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_ranks_share_their_mean_where_values_are_equal():
    tied = Errors(predicted_s=(1.0, 2.0, 2.0, 3.0), measured_s=(1.0, 2.0, 3.0, 4.0))
    assert tied.rank_correlation == pytest.approx(0.9487, abs=1e-4)
    assert Errors(predicted_s=(3.0, 2.0, 1.0), measured_s=(1.0, 2.0, 3.0)).rank_correlation == pytest.approx(-1)


def test_errors_are_relative_to_what_was_measured():
    found = Errors(predicted_s=(1.1, 0.8), measured_s=(1.0, 1.0))
    assert found.mape == pytest.approx(0.15)
    assert found.worst == pytest.approx(0.2)
    assert found.share_within(0.11) == 0.5
