import gzip
import hashlib
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace

import pytest

from mnet_deploy.errors import ResultFormatError, SpecError
from mnet_deploy.measurement.statistics import spread
from mnet_deploy.results import raw, run_file
from mnet_deploy.results.raw import without_raw
from mnet_deploy.results.run_file import RUN_FORMAT, read_run
from mnet_deploy.results.store import find, list_runs, load_run, save_run

# What a process does with a run that is there already: save it as if it had been measured at another time.
SAVE_AGAIN = """
import sys
from dataclasses import replace
from pathlib import Path
from mnet_deploy.results.store import load_run, save_run
one = load_run(Path(sys.argv[1])).measurements[0]
for second in range(4):
    save_run([replace(one, measured_at=f"2026-03-01T12:{sys.argv[3]}:0{second}+00:00")], Path(sys.argv[2]))
"""
KILLED_BETWEEN = """
import os, signal, sys
from pathlib import Path
from mnet_deploy.results import store
one = store.load_run(Path(sys.argv[1])).measurements
write = store._write
def write_and_die(*args):
    write(*args)
    os.kill(os.getpid(), signal.SIGKILL)
store._write = write_and_die
store.save_run(one, Path(sys.argv[2]))
"""


def names(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def edit(path, change):
    document = json.loads(path.read_text(encoding="utf-8"))
    change(document)
    path.write_text(json.dumps(document), encoding="utf-8")


def test_a_run_comes_back_with_every_sample(measurement, saved):
    run = (measurement(), measurement(threads=4), measurement(engine="tflite-runtime", samples=1000))
    path = saved(*run).path
    loaded = load_run(path)
    assert loaded.measurements == run
    assert loaded.raw
    assert [spread.count for spread in loaded.spreads] == [105, 105, 5000]


def test_the_summary_has_no_samples_and_says_where_they_are(measurement, saved):
    files = saved(measurement())
    document = json.loads(files.path.read_text(encoding="utf-8"))
    packed = files.raw_path.read_bytes()
    assert document["format"] == RUN_FORMAT
    assert next(iter(document)) == "format"
    assert document["raw"] == {
        "file": f"raw/{files.raw_path.name}",
        "sha256": hashlib.sha256(packed).hexdigest(),
        "size_bytes": len(packed),
        "samples": [105],
        "warmups": [10],
    }
    one = document["measurements"][0]
    assert one["latency_s"] is None
    assert [block["warmup_s"] for block in one["blocks"]] == [[]] * 5
    assert one["spread"]["count"] == 105
    assert json.loads(gzip.decompress(packed))["measurements"][0]["blocks"][4]["number"] == 4


@pytest.mark.parametrize("measured_at", ["2026-03-01T12:30:15Z", "2026-03-01T14:30:15+02:00", "2026-03-01T12:30:15.5"])
def test_names_say_when_on_what_and_which(measurement, saved, measured_at):
    path = saved(measurement(measured_at=measured_at)).path
    assert path.name == f"20260301T123015Z-raspberry-pi-4-model-b-rev-1-5-{load_run(path).id}.json"


def test_an_emulated_device_is_called_so_in_the_name(measurement, saved):
    emulated = replace(measurement().device, emulated="qemu-user")
    assert "-emulated-" in saved(measurement(device=emulated)).path.name


def test_without_the_raw_file_medians_are_left(measurement, saved):
    files = saved(measurement())
    files.raw_path.unlink()
    loaded = load_run(files.path)
    assert not loaded.raw
    assert loaded.measurements == (without_raw(measurement()),)
    assert loaded.measurements[0].median_s == measurement().median_s
    assert loaded.spreads == (spread(measurement().latency_s),)


def test_a_tool_that_gives_summaries_only_is_stored_as_such(measurement, saved):
    files = saved(without_raw(measurement()))
    loaded = load_run(files.path)
    assert loaded.spreads == (None,)
    assert loaded.measurements[0].latency_s is None


def test_git_ignores_what_the_folder_says_and_nothing_changes_that_later(measurement, saved, tmp_path):
    saved(measurement())
    ignore = tmp_path / "mnet-results" / ".gitignore"
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    status = ["git", "-C", str(tmp_path), "status", "--porcelain", "-uall"]
    seen = subprocess.run(status, check=True, capture_output=True, text=True).stdout
    assert "raw/" not in seen
    assert seen.count("mnet-results/") == 2  # the summary and .gitignore
    ignore.write_text("mine\n", encoding="utf-8")
    saved(measurement(threads=2))
    assert ignore.read_text(encoding="utf-8") == "mine\n"
    ignore.unlink()
    saved(measurement(threads=3))
    assert not ignore.exists()


def test_a_folder_keeps_the_gitignore_that_it_has(measurement, saved, tmp_path):
    ignore = tmp_path / "mnet-results" / ".gitignore"
    ignore.parent.mkdir()
    ignore.write_text("mine\n", encoding="utf-8")
    saved(measurement())
    assert ignore.read_text(encoding="utf-8") == "mine\n"


def test_saving_again_changes_nothing(measurement, saved, tmp_path):
    first = saved(measurement())
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert saved(measurement()) == first
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    assert first.raw_path.read_bytes()[4:8] == bytes(4)  # the time in gzip's header (RFC 1952, MTIME)


def test_nothing_is_overwritten(measurement, saved):
    files = saved(measurement())
    files.path.write_text("edited", encoding="utf-8")
    with pytest.raises(SpecError, match="exists already"):
        saved(measurement())
    assert files.path.read_text(encoding="utf-8") == "edited"


def test_a_run_of_nothing_is_refused(saved, tmp_path):
    with pytest.raises(SpecError, match="at least one measurement"):
        saved()
    assert names(tmp_path) == []


def test_a_folder_that_cannot_be_written_is_named_with_its_option(measurement, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(SpecError, match="Give another --results"):
        save_run([measurement()], tmp_path / "file")


def test_killed_between_the_two_files_no_summary_is_left(measurement, saved, tmp_path):
    source, folder = saved(measurement()).path, tmp_path / "other"
    done = subprocess.run([sys.executable, "-c", KILLED_BETWEEN, source, folder], check=False)
    assert done.returncode == -signal.SIGKILL
    assert [name for name in names(folder) if name.endswith(".gz")]
    assert list_runs(folder).runs == ()
    assert list_runs(folder).problems == ()
    saved_again = save_run(load_run(source).measurements, folder)  # what was left is not in the way
    assert load_run(saved_again.path).raw


def test_processes_that_save_at_once_keep_everything(measurement, saved, tmp_path):
    source, folder = saved(measurement()).path, tmp_path / "other"
    started = [
        subprocess.Popen([sys.executable, "-c", SAVE_AGAIN, source, folder, str(10 + number)]) for number in range(8)
    ]
    assert [process.wait(timeout=60) for process in started] == [0] * 8
    found = list_runs(folder)
    assert found.problems == ()
    assert len({run.id for run in found.runs}) == 32
    assert all(load_run(run.path).raw for run in found.runs)
    assert len(names(folder)) == 65  # no temporary file, no lock, one .gitignore


def test_a_raw_file_that_was_changed_is_an_error(measurement, saved):
    files = saved(measurement())
    files.raw_path.write_bytes(gzip.compress(b"{}"))
    with pytest.raises(ResultFormatError, match=r"raw samples raw/.*were changed: expected the sha256 [0-9a-f]{12}\."):
        load_run(files.path)
    assert list_runs(files.path.parent).runs[0].spreads[0].count == 105


@pytest.mark.parametrize(
    "content",
    [
        b"no gzip",
        gzip.compress(b"{}")[:-9],
        gzip.compress(b'{"format": "mnet.raw/1"}'),
        gzip.compress(b'{"format": "mnet.raw/2", "measurements": []}'),
        gzip.compress(b'{"format": "mnet.raw/1", "measurements": []}'),
        gzip.compress(b'{"format": "mnet.raw/1", "measurements": [{"blocks": [{"number": 0}]}]}'),
        gzip.compress(b'{"format": "mnet.raw/1", "measurements": [{"blocks": []}]}'),
        gzip.compress(b"[" * 100_000),
    ],
    ids=range(8),  # the content has the time in it, and processes that share tests have to agree on names
)
def test_a_raw_file_that_is_none_is_an_error_although_its_sum_is_right(measurement, saved, content):
    files = saved(measurement())
    files.raw_path.write_bytes(content)
    edit(files.path, lambda run: run["raw"].update(sha256=hashlib.sha256(content).hexdigest()))
    with pytest.raises(ResultFormatError, match="expected the raw samples of a run"):
        load_run(files.path)


def test_samples_of_another_block_are_refused(measurement, saved):
    files = saved(measurement())
    text = gzip.decompress(files.raw_path.read_bytes()).decode()
    content = gzip.compress(text.replace('"number": 3', '"number": 7').encode())
    files.raw_path.write_bytes(content)
    edit(files.path, lambda run: run["raw"].update(sha256=hashlib.sha256(content).hexdigest()))
    with pytest.raises(ResultFormatError, match="block 7 in the place of block 3"):
        load_run(files.path)


@pytest.mark.parametrize("module", [raw, run_file])
def test_files_that_would_fill_the_memory_are_refused(measurement, saved, monkeypatch, module):
    files = saved(measurement())
    monkeypatch.setattr(module, "_MOST_BYTES", 1000)
    with pytest.raises(ResultFormatError, match=r"Received: (more than )?\d+ bytes"):
        load_run(files.path)


@pytest.mark.parametrize("value", ["NaN", "-1e-3", "Infinity", '"0.1"', "true", "null"])
def test_a_latency_that_is_no_time_is_refused(measurement, saved, value):
    files = saved(measurement((0.01,), samples=1))
    text = (
        gzip.decompress(files.raw_path.read_bytes()).decode().replace('"latency_s": [0.01]', f'"latency_s": [{value}]')
    )
    assert value in text
    content = gzip.compress(text.encode())
    files.raw_path.write_bytes(content)
    edit(files.path, lambda run: run["raw"].update(sha256=hashlib.sha256(content).hexdigest()))
    with pytest.raises(ResultFormatError, match="raw samples"):
        load_run(files.path)


@pytest.mark.parametrize(
    "name",
    [
        "../secret.json.gz",
        "/etc/secret.json.gz",
        "raw/../../secret.json.gz",
        "raw/a/b.json.gz",
        "raw/.json.gz",
        "",
        None,
    ],
)
def test_the_raw_file_is_never_looked_for_outside_of_the_folder(measurement, saved, tmp_path, name):
    files = saved(measurement())
    (tmp_path / "secret.json.gz").write_bytes(files.raw_path.read_bytes())
    edit(files.path, lambda run: run["raw"].update(file=name))
    with pytest.raises(ResultFormatError, match="expected raw/NAME"):
        load_run(files.path)


DAMAGES = {
    "cut off": lambda text: text[: len(text) // 2],
    "empty": lambda _: "",
    "a list": lambda _: "[]",
    "a list of a format": lambda _: '["format"]',
    "deep": lambda _: "[" * 100_000,
    "without measurements": lambda _: '{"format": "mnet.run/1"}',
    "of another version": lambda text: text.replace("mnet.run/1", "mnet.run/2"),
    "a sidecar": lambda text: text.replace("mnet.run/1", "mnet.artifact/1"),
    "not text": lambda text: b"\xff" + text.encode(),
    "an unknown verdict": lambda text: text.replace('"VALID"', '"FINE"'),
    "a median as text": lambda text: text.replace('"median_s": 0.01', '"median_s": "0.01"'),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_summaries_are_named_and_do_not_hide_the_others(measurement, saved, damage):
    good, bad = saved(measurement()).path, saved(measurement(threads=2)).path
    damaged = DAMAGES[damage](bad.read_text(encoding="utf-8"))
    bad.write_bytes(damaged if isinstance(damaged, bytes) else damaged.encode())
    found = list_runs(good.parent)
    assert [run.path for run in found.runs] == [good]
    assert len(found.problems) == 1
    assert bad.name in found.problems[0]
    with pytest.raises(ResultFormatError, match="Received: "):
        load_run(bad)


def test_a_summary_that_is_no_plain_file_does_not_hang(measurement, saved):
    folder = saved(measurement()).path.parent
    os.mkfifo(folder / "pipe.json")
    (folder / ".hidden.json").write_bytes(b"")  # of an editor or a file system
    (folder / "dir.json").mkdir()
    found = list_runs(folder)
    assert len(found.runs) == 1
    assert len(found.problems) == 2


def test_runs_are_listed_by_age(measurement, saved):
    times = ("2026-03-01T12:30:15+00:00", "2025-01-01T00:00:00+00:00", "2026-03-01T12:30:14+00:00")
    paths = [saved(measurement(measured_at=time)).path for time in times]
    assert [run.path for run in list_runs(paths[0].parent).runs] == [paths[1], paths[2], paths[0]]
    assert find(paths[0].parent, "latest") == paths[0]


def test_a_run_is_found_by_what_names_it_alone(measurement, saved):
    paths = [saved(measurement(threads=threads)).path for threads in (1, 2, 3)]
    folder = paths[0].parent
    for path in paths:
        run_id = read_run(path, raw=False).id
        for reference in (path.name, path.stem, run_id, run_id[:6], str(path)):
            assert find(folder, reference) == path
    with pytest.raises(SpecError, match=r"beginning of 3 runs: .*Give more"):
        find(folder, "20260301")
    for reference in ("zzz", "", "../x"):
        with pytest.raises(SpecError, match="does not have"):
            find(folder, reference)


@pytest.mark.parametrize("folder", [".", "none"])
def test_a_file_that_is_not_there_is_named(tmp_path, folder):
    (tmp_path / "x.json").write_bytes(b"")  # not the one that is asked for
    with pytest.raises(SpecError, match=r"ci/x\.json: expected a stored run"):
        find(tmp_path / folder, "ci/x.json")


def test_a_file_under_a_name_of_the_users_own_is_found(measurement, saved):
    path = saved(measurement()).path
    path.rename(path.with_name("baseline.json"))
    assert find(path.parent, "baseline") == path.with_name("baseline.json")
    assert load_run(path.with_name("baseline.json")).raw


def test_a_folder_that_is_not_there_is_an_error(tmp_path):
    for look in (list_runs, lambda folder: find(folder, "latest")):
        with pytest.raises(SpecError, match="expected a folder of results"):
            look(tmp_path / "none")


def test_many_samples_take_a_few_bytes_each(measurement, saved):
    files = saved(measurement((0.005,) * 5, samples=20_000))
    assert files.path.stat().st_size < 20_000
    assert files.raw_path.stat().st_size < 5 * 100_000
    assert load_run(files.path).spreads[0].count == 100_000
