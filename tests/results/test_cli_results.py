import csv
import gzip
import json
from dataclasses import replace

import pytest

from mnet_deploy.cli import main
from mnet_deploy.measurement.device_info import AndroidInfo
from mnet_deploy.measurement.measurement import Verdict
from mnet_deploy.results.run_file import read_run

EARLIER, LATER = "2026-03-01T12:30:00+00:00", "2026-03-03T00:00:00+00:00"


@pytest.fixture
def results(capsys, tmp_path):
    """Return a function that runs `mnet results ACTION` on the folder: (exit status, stdout, lines of stderr)."""

    def run(action, *argv):
        status = main(["results", action, *argv, "--results", str(tmp_path / "mnet-results")])
        captured = capsys.readouterr()
        return status, captured.out, captured.err.splitlines()

    return run


def run_id(files):
    return read_run(files.path, raw=False).id


def test_list_has_a_line_a_measurement(measurement, saved, results):
    emulated = replace(measurement().device, emulated="qemu-user")
    first = run_id(saved(measurement(), measurement(threads=4)))
    second = run_id(saved(measurement(device=emulated, measured_at="2026-03-02T00:00:00+00:00")))
    status, out, err = results("list")
    assert (status, err) == (0, [])
    rows = out.splitlines()[2:]
    assert [row.split()[0] for row in rows] == [first, first, second]
    assert ["(emulated)" in row for row in rows] == [False, False, True]
    for text in ("2026-03-01 12:30", "Raspberry Pi 4 Model B Rev 1.5", "m_int8.tflite", "10 ms", "VALID"):
        assert text in rows[0]


def test_list_and_diff_tell_delegates_apart(measurement, saved, results):
    alone = measurement()
    alone = replace(alone, config=replace(alone.config, delegate="none"), engine=replace(alone.engine, delegate="none"))
    both = [run_id(saved(measurement(measured_at=when), replace(alone, measured_at=when))) for when in (EARLIER, LATER)]
    header, _, first, second, *_ = results("list")[1].splitlines()
    place = header.index("delegate")
    assert [row[place:].split()[0] for row in (first, second)] == ["xnnpack", "none"]
    header, _, first, second, *_ = results("diff", *both)[1].splitlines()
    place = header.index("delegate")
    assert [row[place:].split()[0] for row in (first, second)] == ["xnnpack", "none"]


def test_list_warns_of_what_it_cannot_read(measurement, saved, results, tmp_path):
    saved(measurement())
    (tmp_path / "mnet-results" / "notes.json").write_text("{}", encoding="utf-8")
    status, out, err = results("list")
    assert status == 0
    assert len(out.splitlines()) == 3
    assert len(err) == 1
    assert "notes.json: expected a run" in err[0]


def test_an_empty_folder_is_said_to_be_empty(results, tmp_path):
    (tmp_path / "mnet-results").mkdir()
    status, out, err = results("list")
    assert (status, out) == (0, "")
    assert "no runs yet" in err[0]


def test_show_says_where_the_raw_samples_are_missing(measurement, saved, results):
    files = saved(measurement())
    status, out, err = results("show")
    assert (status, err) == (0, [])
    assert files.path.stem in out
    assert "m_int8.tflite" in out
    files.raw_path.unlink()
    status, _, err = results("show", "latest")
    assert status == 0
    assert "raw samples are not here" in err[0]


def test_show_has_every_sample_in_json(measurement, saved, results):
    saved(measurement())
    shown = json.loads(results("show", "--json")[1])
    assert tuple(shown["measurements"][0]["latency_s"]) == measurement().latency_s
    assert shown["measurements"][0]["median_s"] == measurement().median_s
    listed = json.loads(results("list", "--json")[1])
    assert listed["runs"][0]["id"] == shown["id"]
    assert listed["runs"][0]["measurements"][0]["latency_s"] is None


def test_what_is_written_is_what_the_schemas_say(measurement, saved, results, violations):
    other = replace(measurement().device, emulated="qemu-user")
    files = saved(measurement(), measurement(threads=2), measurement(threads=4))
    again = saved(measurement(medians_s=(0.02,)), measurement(threads=2, device=other), measurement(threads=8))
    assert violations(json.loads(files.path.read_text(encoding="utf-8"))) == []
    assert violations(json.loads(gzip.decompress(files.raw_path.read_bytes()))) == []
    diff = json.loads(results("diff", run_id(files), run_id(again), "--json")[1])
    assert [len(diff[name]) for name in ("compared", "refused", "only_old", "only_new")] == [1, 1, 1, 1]
    for shown in (diff, *(json.loads(results(action, "--json")[1]) for action in ("list", "show"))):
        assert violations(shown) == []


def test_show_of_a_damaged_run_is_one_line(measurement, saved, results):
    files = saved(measurement())
    files.raw_path.write_bytes(b"")
    assert results("show")[0] == 2
    files.path.write_text("{", encoding="utf-8")
    status, out, err = results("show")
    assert (status, out, len(err)) == (2, "", 1)


def test_diff_says_how_many_times_as_long(measurement, saved, results):
    slower = tuple(1.1 * median for median in measurement().block_medians_s)
    old = run_id(saved(measurement()))
    saved(measurement(slower, sha256="b" * 64, measured_at="2026-03-02T00:00:00+00:00"))
    status, out, err = results("diff", old)
    assert (status, err) == (0, [])
    assert "1.100 times as long" in out
    assert "slower, by 10.0%; the file is another one than before" in out
    found = json.loads(results("diff", old, "latest", "--json")[1])
    assert found["compared"][0]["ratio"] == pytest.approx(1.1, rel=1e-9)
    same = run_id(saved(measurement(measured_at=LATER)))
    assert "no difference of more than 2%" in results("diff", old, same)[1]


def test_diff_of_a_run_with_itself_is_refused(measurement, saved, results):
    saved(measurement())
    status, out, err = results("diff", "latest")
    assert (status, out, len(err)) == (2, "", 1)
    assert "twice" in err[0]


def test_diff_labels_what_is_emulated(measurement, saved, results):
    emulated = replace(measurement().device, emulated="qemu-user")
    old = run_id(saved(measurement(device=emulated)))
    saved(measurement(device=emulated, measured_at=LATER))
    table, sentence = results("diff", old)[1].split("\n\n")
    assert "(emulated)" in table
    assert ", emulated: " in sentence


def test_diff_refuses_what_is_not_comparable_and_names_it(measurement, saved, results):
    old, new = run_id(saved(measurement())), run_id(saved(measurement(threads=4)))
    status, out, err = results("diff", old, new)
    assert (status, out, len(err)) == (2, "", 1)
    assert "threads" in err[0]
    assert "1" in err[0]
    assert "4" in err[0]


def test_diff_of_runs_with_nothing_in_common_names_what_differs(measurement, saved, results):
    old = run_id(saved(measurement(), measurement(file="x.tflite", threads=2)))
    new = run_id(saved(measurement(threads=4)))
    status, out, err = results("diff", old, new)
    assert (status, out, len(err)) == (2, "", 2)
    assert "x.tflite (litert, 2 threads): only the older run has it" in err[0]
    assert "threads 1 and threads 4" in err[1]


def test_diff_says_that_a_measurement_is_suspect(measurement, saved, results):
    old = run_id(saved(measurement(verdict=Verdict.SUSPECT)))
    saved(measurement(verdict=Verdict.SUSPECT, measured_at=LATER))
    assert "10 ms (SUSPECT) after 10 ms (SUSPECT)" in results("diff", old)[1]


def test_csv_has_units_in_its_columns_and_a_row_a_measurement(measurement, saved, results):
    files = saved(measurement(), measurement(threads=4))
    status, out, err = results("csv")
    assert (status, err) == (0, [])
    rows = list(csv.DictReader(out.splitlines()))
    assert [row["threads"] for row in rows] == ["1", "4"]
    expected = {
        "run": files.path.stem,
        "samples": "105",
        "min_s": "0.0099",
        "p99_s": "",
        "median_s": "0.01",
        "interval_low_s": "0.0099",
        "interval_high_s": "0.0102",
        "temperature_before_c": "48.0",
        "temperature_after_c": "52.5",
        "peak_rss_bytes": "61000004",
        "init_s": "0.012",
        "verdict": "VALID",
        "emulated": "",
    }
    assert {name: rows[0][name] for name in expected} == expected


def test_csv_has_what_a_phone_says(measurement, saved, results):
    one = measurement()
    saved(
        replace(
            one,
            device=replace(one.device, android=AndroidInfo(release="14", sdk=34)),
            engine=replace(one.engine, runner="benchmark_model", runner_sha256="cd" * 32),
            before=replace(one.before, thermal_status=0, battery_level=0.81, powered=True),
        )
    )
    (row,) = csv.DictReader(results("csv")[1].splitlines())
    expected = {
        "android_sdk": "34",
        "android_fingerprint": "",
        "runner": "benchmark_model",
        "runner_sha256": "cd" * 32,
        "c_library": "",
        "thermal_status_before": "0",
        "thermal_status_after": "",
        "battery_level_before": "0.81",
        "powered": "True",
        "screen_on": "",
    }
    assert {name: row[name] for name in expected} == expected


def test_csv_of_some_runs_into_a_file(measurement, saved, results, tmp_path):
    first = run_id(saved(measurement()))
    saved(measurement(threads=4))
    out = tmp_path / "table.csv"
    assert results("csv", first, "--out", str(out)) == (0, "", [])
    assert len(out.read_text(encoding="utf-8").splitlines()) == 2
    status, _, err = results("csv", "--out", str(out))
    assert status == 2
    assert "exists already" in err[0]
    assert results("csv", "--out", str(out), "--force")[0] == 0
    assert len(out.read_text(encoding="utf-8").splitlines()) == 3


@pytest.mark.parametrize(
    "argv", [("show",), ("list",), ("csv",), ("diff", "a", "b"), ("show", "zzz"), ("csv", "--force")]
)
def test_errors_are_one_line(results, argv):
    status, out, err = results(*argv)
    assert (status, out, len(err)) == (2, "", 1)


def test_check_finds_more_threads_slower_than_one(tmp_path, capsys):
    """The rows of a Raspberry Pi 5 in Tencent/ncnn@a4d2ea1 benchmark/README.md: four threads, then one."""
    table = tmp_path / "table.csv"
    table.write_text(
        "config,model,threads,min_ms,max_ms,mean_ms\npi5,v1,4,9.00,72.98,33.88\npi5,v1,1,20.24,20.59,20.30\n"
    )
    assert main(["results", "check", str(table)]) == 1
    captured = capsys.readouterr()
    assert "33.9 ms with 4 threads, 20.3 ms with one" in captured.out
    assert "2 rows" in captured.err


def test_check_has_nothing_to_say_of_a_clean_table(tmp_path, capsys):
    table = tmp_path / "table.json"
    table.write_text(
        '[{"model": "v1", "threads": 1, "mean_s": 0.0203}, {"model": "v1", "threads": 4, "mean_s": 0.009}]'
    )
    assert main(["results", "check", str(table)]) == 0
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("name", ["none.csv", "notes.csv"])
def test_check_of_no_table_is_one_line(name, tmp_path, capsys):
    (tmp_path / "notes.csv").write_text("to,do\n1,2\n")
    assert main(["results", "check", str(tmp_path / name)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
