"""What is made once and kept: whole, or not at all."""

import fcntl

import pytest

from mnet_deploy.errors import CommandTimeout, SpecError
from mnet_deploy.runners.kept_folder import cache_home, kept_folder
from mnet_deploy.runners.transports.deadline import Deadline

NAME = "native/engine-1.0"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache/mnet-deploy"


@pytest.fixture
def maker():
    """A `make` that counts its calls."""

    def make(folder):
        make.calls += 1
        (folder / "one.so").write_bytes(b"one")
        (folder / "two.so").write_bytes(b"two")

    make.calls = 0
    return make


def soon():
    return Deadline.after(30)


def test_a_relative_cache_folder_is_not_taken(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_home() == tmp_path / ".cache/mnet-deploy"


def test_it_is_made_once(maker, cache):
    folder = kept_folder(NAME, maker, soon())
    assert folder == cache / NAME
    assert kept_folder(NAME, maker, soon()) == folder
    assert maker.calls == 1
    assert sorted(path.name for path in folder.iterdir()) == ["SHA256SUMS", "one.so", "two.so"]


@pytest.mark.parametrize("damage", ["cut", "removed", "no sums", "empty sums", "broken sums"])
def test_what_was_changed_is_made_again(maker, damage):
    folder = kept_folder(NAME, maker, soon())
    match damage:
        case "cut":
            (folder / "two.so").write_bytes(b"tw")
        case "removed":
            (folder / "two.so").unlink()
        case "no sums":
            (folder / "SHA256SUMS").unlink()
        case "empty sums":
            (folder / "SHA256SUMS").write_bytes(b"")
        case _:
            (folder / "SHA256SUMS").write_bytes(b"\xff\0")
    assert (kept_folder(NAME, maker, soon()) / "two.so").read_bytes() == b"two"
    assert maker.calls == 2


def test_nothing_is_kept_of_what_failed(maker, cache):
    def fail(folder):
        maker(folder)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        kept_folder(NAME, fail, soon())
    assert [path.name for path in (cache / NAME).parent.iterdir()] == [".engine-1.0.lock"]


def test_what_a_killed_process_left_is_not_in_the_way(maker, cache):
    left = cache / "native/.engine-1.0.part"
    left.mkdir(parents=True)
    (left / "half.so").write_bytes(b"half")
    assert not (kept_folder(NAME, maker, soon()) / "half.so").exists()
    assert not left.exists()


def test_another_process_that_makes_it_is_waited_for(maker, cache):
    (cache / "native").mkdir(parents=True)
    with (cache / "native/.engine-1.0.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(CommandTimeout, match="another process still makes"):
            kept_folder(NAME, maker, Deadline.after(0))
    assert maker.calls == 0


def test_a_place_that_cannot_be_written_is_named(maker, cache):
    cache.parent.mkdir()
    cache.write_bytes(b"a file")
    with pytest.raises(SpecError, match=r"cannot be written \(Not a directory\); XDG_CACHE_HOME names another place"):
        kept_folder(NAME, maker, soon())
