"""Which files of a folder are images, and of which class."""

import os

import pytest

from mnet_deploy.errors import SpecError
from mnet_deploy.image_folder import list_images, list_labelled


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def names(folder):
    return [path.relative_to(folder).as_posix() for path in list_images(folder)]


def test_images_at_every_depth_by_suffix_in_order(tmp_path):
    touch(tmp_path, "b/x.JPG", "a/deep/er/y.webp", "z.bmp", "a/1.png", "b/2.jpeg", "a/notes.txt", "b/film.gif", "b/jpg")
    assert names(tmp_path) == ["a/1.png", "a/deep/er/y.webp", "b/2.jpeg", "b/x.JPG", "z.bmp"]


def test_hidden_files_and_folders_are_left_out(tmp_path):
    touch(tmp_path, ".hidden.jpg", "a/._photo.jpg", ".cache/photo.jpg", "a/photo.jpg")
    assert names(tmp_path) == ["a/photo.jpg"]


def test_links_are_followed_once(tmp_path):
    touch(tmp_path, "set/a/1.jpg", "elsewhere/2.jpg")
    (tmp_path / "set/a/up").symlink_to(tmp_path / "set")  # a loop
    (tmp_path / "set/b").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "set/c.jpg").symlink_to(tmp_path / "elsewhere/2.jpg")
    assert names(tmp_path / "set") == ["a/1.jpg", "b/2.jpg", "c.jpg"]


def test_class_is_the_first_folder_on_the_way(tmp_path):
    touch(tmp_path, "cat/1.jpg", "dog/indoors/2.jpg", "dog/readme.txt")
    found = [(path.name, label) for path, label in list_labelled(tmp_path)]
    assert found == [("1.jpg", "cat"), ("2.jpg", "dog")]


def test_labelled_images_outside_a_class_folder_are_an_error(tmp_path):
    touch(tmp_path, "cat/1.jpg", "loose.jpg")
    with pytest.raises(SpecError, match=r"1 directly in .*, such as loose\.jpg"):
        list_labelled(tmp_path)


@pytest.mark.parametrize("listing", [list_images, list_labelled])
@pytest.mark.parametrize(
    ("content", "path", "cause"),
    [
        ([], "nowhere", "No such file or directory"),
        (["a.jpg"], "a.jpg", "which is a file"),
        (["set/sub/.keep"], "set", "which is empty"),
        (["set/b.txt", "set/a.txt"], "set", r"which has 2 other files, such as a\.txt"),
    ],
)
def test_unusable_folder_is_one_line(tmp_path, listing, content, path, cause):
    touch(tmp_path, *content)
    with pytest.raises(SpecError, match=cause) as caught:
        listing(tmp_path / path)
    assert str(tmp_path / path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every folder")
def test_folder_without_permission_is_one_line(tmp_path):
    touch(tmp_path, "a/1.jpg", "b/2.jpg")
    (tmp_path / "b").chmod(0)
    try:
        with pytest.raises(SpecError, match="Permission denied"):
            list_images(tmp_path)
    finally:
        (tmp_path / "b").chmod(0o700)
