import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mnet_deploy.errors import SpecError
from mnet_deploy.output_folder import REJECTED_SUFFIX, OutputFolder

NAMES = {"m.tflite": None, "m.tflite.json": None, "labels.txt": b"cat\ndog\n"}


def contents(folder):
    """Return every file below a folder, hidden ones and links included, with its content."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


def output(folder, *, stem="m", names=NAMES, force=False):
    return OutputFolder(folder, stem=stem, names=names, force=force)


def write_all(folder, **options):
    with output(folder, **options) as out:
        out.stage("m.tflite", b"model")
        out.stage("m.tflite.json", b"{}")
        out.stage("labels.txt", b"cat\ndog\n")
        out.commit()


def stage_two(folder, then):
    """Stage two files, then do something, then commit."""
    with output(folder) as out:
        out.stage("m.tflite", b"model")
        out.stage("m.tflite.json", b"{}")
        then(out)
        out.commit()


def interrupt(out):
    raise KeyboardInterrupt


def test_commit_writes_all_files_and_nothing_else(tmp_path):
    write_all(tmp_path / "a" / "b")
    assert contents(tmp_path) == {
        "a": None,
        "a/b": None,
        "a/b/m.tflite": b"model",
        "a/b/m.tflite.json": b"{}",
        "a/b/labels.txt": b"cat\ndog\n",
    }


def test_until_the_commit_no_file_has_its_name(tmp_path):
    with output(tmp_path) as out:
        staged = out.stage("m.tflite", b"model")
        assert staged.parent == tmp_path  # the same file system, so that a rename is enough
        assert staged.read_bytes() == b"model"
        visible = [name for name in contents(tmp_path) if not name.startswith(".")]
        assert visible == []


def test_nothing_is_left_of_what_was_not_committed(tmp_path):
    (tmp_path / "kept.txt").write_bytes(b"mine")
    before = contents(tmp_path)
    with output(tmp_path) as out:
        out.stage("m.tflite", b"model")
        out.stage("m.tflite", b"again")
    with pytest.raises(KeyboardInterrupt):
        stage_two(tmp_path / "new" / "folder", interrupt)
    assert contents(tmp_path) == before


def test_a_created_folder_stays_when_someone_else_wrote_into_it(tmp_path):
    with output(tmp_path / "new") as out:
        out.stage("m.tflite", b"model")
        (tmp_path / "new" / "other.txt").write_bytes(b"not ours")
    assert contents(tmp_path) == {"new": None, "new/other.txt": b"not ours"}


@pytest.mark.parametrize("existing", [*NAMES, f"m.tflite{REJECTED_SUFFIX}"])
def test_an_existing_file_is_not_overwritten_without_force(tmp_path, existing):
    (tmp_path / existing).write_bytes(b"old")
    with pytest.raises(SpecError, match=r"exists already and is not overwritten\. Give --force"), output(tmp_path):
        pytest.fail("the work must not begin")
    assert contents(tmp_path) == {existing: b"old"}


def test_a_file_that_appears_during_the_work_is_not_overwritten_either(tmp_path):
    with pytest.raises(SpecError, match="exists already"):
        stage_two(tmp_path, lambda out: (tmp_path / "m.tflite.json").write_bytes(b"old"))
    assert contents(tmp_path) == {"m.tflite.json": b"old"}


def test_force_replaces_existing_files(tmp_path):
    for name in NAMES:
        (tmp_path / name).write_bytes(b"old")
    write_all(tmp_path, force=True)
    assert contents(tmp_path) == {"m.tflite": b"model", "m.tflite.json": b"{}", "labels.txt": b"cat\ndog\n"}


def test_a_dangling_link_is_an_existing_file(tmp_path):
    (tmp_path / "m.tflite").symlink_to("nowhere")
    with pytest.raises(SpecError, match="exists already"), output(tmp_path):
        pytest.fail("the work must not begin")


@pytest.mark.parametrize("force", [False, True])
def test_a_folder_of_a_files_name_is_refused_before_the_work(tmp_path, force):
    (tmp_path / "m.tflite.json").mkdir()
    with pytest.raises(SpecError, match=r"m\.tflite\.json is a folder"), output(tmp_path, force=force):
        pytest.fail("the work must not begin")


def test_two_models_may_share_a_file_of_the_same_content(tmp_path):
    (tmp_path / "labels.txt").write_bytes(NAMES["labels.txt"])
    write_all(tmp_path)
    assert contents(tmp_path)["m.tflite"] == b"model"


def test_a_rejected_file_is_kept_under_a_name_of_its_own(tmp_path):
    with output(tmp_path) as out:
        out.stage("m.tflite", b"model")
        assert out.reject("m.tflite") == tmp_path / "m.tflite.rejected"
        out.commit()
    assert contents(tmp_path) == {"m.tflite.rejected": b"model"}


def test_a_rejected_file_is_gone_after_an_interrupt(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        stage_two(tmp_path, lambda out: interrupt(out.reject("m.tflite")))
    assert contents(tmp_path) == {}


def test_a_second_writer_of_the_same_names_is_told_to_wait(tmp_path):
    with output(tmp_path / "new") as first:
        first.stage("m.tflite", b"first")
        during = contents(tmp_path)
        with pytest.raises(SpecError, match="another export is writing m there"), output(tmp_path / "new"):
            pytest.fail("the work must not begin")
        assert contents(tmp_path) == during
        first.commit()
    assert contents(tmp_path) == {"new": None, "new/m.tflite": b"first"}


def test_writers_of_different_names_may_share_a_folder(tmp_path):
    with output(tmp_path / "new") as first, output(tmp_path / "new", stem="n", names={"n.tflite": None}) as second:
        first.stage("m.tflite", b"first")
        second.stage("n.tflite", b"second")
        second.commit()
        first.commit()
    assert contents(tmp_path) == {"new": None, "new/m.tflite": b"first", "new/n.tflite": b"second"}


def test_a_lock_file_that_a_killed_writer_left_is_in_nobodys_way(tmp_path):
    (tmp_path / ".m.lock").touch()
    write_all(tmp_path)
    assert sorted(contents(tmp_path)) == sorted(NAMES)


LOCK_RACE = """
import sys
from pathlib import Path
from mnet_deploy.errors import SpecError
from mnet_deploy.output_folder import OutputFolder

written = refused = 0
for turn in range(200):
    try:
        with OutputFolder(Path(sys.argv[1]), stem="m", names={"m": None}, force=True) as out:
            counter = Path(sys.argv[1], "m")
            value = int(counter.read_text() or 0) if counter.exists() else 0
            out.stage("m", str(value + 1).encode())
            out.commit()
            written += 1
    except SpecError as error:
        assert "another export is writing m there" in str(error), error
        refused += 1
print(written, refused)
"""


def test_of_many_writers_at_once_each_is_alone_or_refused(tmp_path):
    # Each writer reads a counter and writes it back plus one: two inside the lock at once would lose a count.
    folder = tmp_path / "out"
    folder.mkdir()
    command = [sys.executable, "-c", LOCK_RACE, str(folder)]
    writers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    answers = [writer.communicate()[0].split() for writer in writers]
    written = sum(int(count) for count, _ in answers)
    assert [int(count) + int(refused) for count, refused in answers] == [200] * 3
    assert contents(folder) == {"m": str(written).encode()}


@pytest.mark.parametrize(("below", "cause"), [("file.txt", "Not a directory"), ("file.txt/deeper", "Not a directory")])
def test_an_output_path_on_a_file_is_refused(tmp_path, below, cause):
    (tmp_path / "file.txt").write_bytes(b"mine")
    with pytest.raises(SpecError, match=f"cannot be written .{cause}"), output(tmp_path / below):
        pytest.fail("the work must not begin")
    assert contents(tmp_path) == {"file.txt": b"mine"}


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a /proc file system")
def test_a_folder_that_even_root_cannot_write_to_is_refused():
    with pytest.raises(SpecError, match=r"/proc/self/out: cannot be written"), output(Path("/proc/self/out")):
        pytest.fail("the work must not begin")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_write_permission_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(SpecError, match="Give a folder that you may write to"), output(tmp_path):
        pytest.fail("the work must not begin")


def fail_with(number):
    def fail(*args, **kwargs):
        raise OSError(number, os.strerror(number))

    return fail


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.ENOSPC, "No space left on device.*Free some space"),
        (errno.EROFS, "Read-only file system.*may write"),
        (errno.EIO, "Input/output error.*another --out"),
    ],
)
def test_a_failed_write_is_one_line_and_leaves_nothing(tmp_path, monkeypatch, number, advice):
    def stage_on_a_failing_disk(out):
        monkeypatch.setattr(os, "fsync", fail_with(number))
        out.stage("labels.txt", b"cat")

    with pytest.raises(SpecError, match=advice):
        stage_two(tmp_path / "new", stage_on_a_failing_disk)
    assert contents(tmp_path) == {}


def test_a_failed_rename_leaves_no_half_of_the_files(tmp_path, monkeypatch):
    rename = Path.replace

    def replace(path, target):
        return fail_with(errno.EIO)() if target.name.endswith(".json") else rename(path, target)

    with pytest.raises(SpecError, match="cannot be written"):
        stage_two(tmp_path, lambda out: monkeypatch.setattr(Path, "replace", replace))
    assert contents(tmp_path) == {}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_between_two_renames_waits_until_all_are_done(tmp_path, monkeypatch, number):
    rename, arrived = Path.replace, []

    def replace(path, target):
        signal.raise_signal(number)
        return rename(path, target)

    previous = signal.signal(number, lambda *got: arrived.append(got[0]))
    try:
        stage_two(tmp_path, lambda out: monkeypatch.setattr(Path, "replace", replace))
    finally:
        signal.signal(number, previous)
    assert arrived == [number]
    assert contents(tmp_path) == {"m.tflite": b"model", "m.tflite.json": b"{}"}
