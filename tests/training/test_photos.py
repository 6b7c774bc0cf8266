import numpy as np
import pytest
from PIL import Image

from mnet_deploy.errors import SpecError
from mnet_deploy.models.training.photos import decode, read_folder


def _solid(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (40, 36), (value, value, value)).save(path)


def _folder(root, counts):
    for label, count in counts.items():
        (root / label).mkdir(parents=True)
        for index in range(count):
            _solid(root / label / f"{index}.png", 10 * index)
    return root


def test_a_split_is_made_stratified_and_seeded(tmp_path):
    root = _folder(tmp_path / "set", {"a": 20, "b": 10, "c": 2})
    first, again = (read_folder(root, validation_share=0.2, seed=3) for _ in range(2))
    other = read_folder(root, validation_share=0.2, seed=4)
    assert first == again
    assert first.validation.files != other.validation.files
    per_class = [sum(index == label for _, index in first.validation.files) for label in range(3)]
    assert per_class == [round(0.2 * 20), round(0.2 * 10), 1]  # at least one of each class
    assert not set(first.train.files) & set(first.validation.files)
    assert len(first.train.files) + len(first.validation.files) == 32


def test_a_given_split_is_kept_and_missing_classes_are_named(tmp_path):
    _folder(tmp_path / "train", {"a": 3, "b": 3})
    _folder(tmp_path / "val", {"b": 2})
    _folder(tmp_path / "test", {"a": 1, "b": 1})
    folder = read_folder(tmp_path, validation_share=0.5, seed=0)
    assert folder.labels == ("a", "b")
    assert [index for _, index in folder.validation.files] == [1, 1]
    assert folder.test is not None
    assert folder.notes == ("the val split has no photo of 1 of 2 classes: a",)


def test_only_validation_is_made_where_only_it_is_missing(tmp_path):
    _folder(tmp_path / "train", {"a": 4, "b": 4})
    _folder(tmp_path / "test", {"a": 2, "b": 2})
    folder = read_folder(tmp_path, validation_share=0.25, seed=0)
    assert (len(folder.train.files), len(folder.validation.files), len(folder.test.files)) == (6, 2, 4)


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ({"a": 3}, "training needs 2 class folders or more. Received: 1"),
        ({"a": 3, "b": 0}, "every class folder needs photos. Received: none in b"),
        ({"a": 3, "b": 1}, "a class needs 2 photos or more"),
    ],
)
def test_unusable_folders_are_refused(tmp_path, counts, expected):
    _folder(tmp_path / "set", counts)
    with pytest.raises(SpecError, match=expected):
        read_folder(tmp_path / "set", validation_share=0.2, seed=0)


def test_a_class_that_training_lacks_is_refused(tmp_path):
    _folder(tmp_path / "train", {"a": 2, "b": 2})
    _folder(tmp_path / "val", {"a": 1, "z": 1})
    with pytest.raises(SpecError, match=r"expected classes of the training split\. Received: z as well"):
        read_folder(tmp_path, validation_share=0.2, seed=0)


def test_photos_are_decoded_with_room_around_the_crop_and_broken_ones_are_named(tmp_path):
    _folder(tmp_path / "set", {"a": 3, "b": 3})
    (tmp_path / "set" / "a" / "broken.jpg").write_bytes(b"no image")
    Image.new("L", (90, 64), 7).save(tmp_path / "set" / "b" / "grey.png")
    folder = read_folder(tmp_path / "set", validation_share=0.3, seed=1)
    decoded = [decode(split, resolution_px=32, channels=3) for split in (folder.train, folder.validation)]
    assert {photos.pixels.shape[1:] for photos in decoded} == {(37, 37, 3)}  # round(32 / 0.875)
    assert sum(len(photos.classes) for photos in decoded) == 7
    assert [line for photos in decoded for line in photos.skipped if "broken.jpg" in line]
    assert 7 in np.concatenate([photos.pixels[:, 0, 0, 0] for photos in decoded])


def test_a_split_without_a_usable_photo_is_refused(tmp_path):
    for label in "ab":
        (tmp_path / "train" / label).mkdir(parents=True)
        (tmp_path / "train" / label / "x.png").write_bytes(b"no image")
    _folder(tmp_path / "val", {"a": 1, "b": 1})
    folder = read_folder(tmp_path, validation_share=0.2, seed=0)
    with pytest.raises(SpecError, match="the train split has no photo that can be decoded"):
        decode(folder.train, resolution_px=32, channels=3)
