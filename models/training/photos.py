"""The photos of a training run, decoded once into a file on disk that is mapped into memory."""

import random
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mnet_deploy.errors import SpecError
from mnet_deploy.image_folder import list_labelled
from mnet_deploy.images import BrokenImage, load_images, short_side_px

VALIDATION_NAMES = ("val", "validation", "valid")
MIN_CLASSES = 2
_CHUNK = 64

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Files of one split with their classes.

    Attributes:
        name: `train`, `val` or `test`.
        files: (path, index of its class).
    """

    name: str
    files: tuple[tuple[Path, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PhotoFolder:
    """A folder of photos in splits.

    Attributes:
        labels: class names, sorted; those of the training split.
        train: photos to learn from.
        validation: photos to choose by.
        test: photos to report on once; None if the folder has none.
        notes: what the user should know, a sentence each.
    """

    labels: tuple[str, ...]
    train: Split
    validation: Split
    test: Split | None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Photos:
    """Decoded photos of one split.

    Attributes:
        pixels: [photos, side, side, channels] 8-bit, mapped from disk; the side is larger than the model's input, so
            that crops have room: the short side that exported files are given before their centre crop.
        classes: [photos] class indices.
        skipped: one line a broken file.
    """

    pixels: npt.NDArray[np.uint8] = field(repr=False, compare=False)
    classes: npt.NDArray[np.int32] = field(repr=False, compare=False)
    skipped: tuple[str, ...] = ()


def read_folder(folder: Path, *, validation_share: float, seed: int) -> PhotoFolder:
    """Find the photos of each class and split.

    A folder with `train` (and `val` or `validation`, and `test`) in it has its split; otherwise one is made,
    stratified by class. Where only the validation is missing, it is taken from `train`.

    Raises:
        SpecError: no photos, a single class, an empty class folder, or a split with classes that `train` lacks.
    """
    train_folder = folder / "train"
    if not train_folder.is_dir():
        return _made_split(folder, folder, None, validation_share, seed)
    given = [folder / name for name in VALIDATION_NAMES if (folder / name).is_dir()]
    test_folder = folder / "test" if (folder / "test").is_dir() else None
    if not given:
        return _made_split(folder, train_folder, test_folder, validation_share, seed)
    labels = _labels(train_folder)
    splits = [_split("train", train_folder, labels), _split("val", given[0], labels)]
    return _folder(labels, splits, test_folder)


def _made_split(
    folder: Path, photos: Path, test_folder: Path | None, validation_share: float, seed: int
) -> PhotoFolder:
    """Take `validation_share` of each class, at least one photo and never all."""
    labels = _labels(photos)
    whole = _split("train", photos, labels)
    generator = random.Random(seed)
    kept: list[tuple[Path, int]] = []
    taken: list[tuple[Path, int]] = []
    for index, label in enumerate(labels):
        files = [file for file in whole.files if file[1] == index]
        if len(files) < 2:
            raise SpecError(
                f"{photos / label}: a class needs 2 photos or more, one to validate with. Received: {len(files)}"
            )
        generator.shuffle(files)
        count = min(len(files) - 1, max(1, round(len(files) * validation_share)))
        taken += files[:count]
        kept += files[count:]
    note = f"{folder} has no split of its own: {len(taken)} of {len(whole.files)} photos validate (seed {seed})"
    splits = [Split(name="train", files=tuple(sorted(kept))), Split(name="val", files=tuple(sorted(taken)))]
    return _folder(labels, splits, test_folder, note)


def _folder(labels: tuple[str, ...], splits: list[Split], test_folder: Path | None, *notes: str) -> PhotoFolder:
    test = _split("test", test_folder, labels) if test_folder is not None else None
    for split in (splits[1], test):
        missing = sorted(set(range(len(labels))) - {index for _, index in split.files}) if split is not None else []
        if split is not None and missing:
            names = ", ".join(labels[index] for index in missing)
            notes = (*notes, f"the {split.name} split has no photo of {len(missing)} of {len(labels)} classes: {names}")
    return PhotoFolder(labels=labels, train=splits[0], validation=splits[1], test=test, notes=notes)


def _labels(folder: Path) -> tuple[str, ...]:
    if not folder.is_dir():
        raise SpecError(f"{folder}: expected a folder with one folder of photos a class. Received: no such folder")
    labels = sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    if len(labels) < MIN_CLASSES:
        raise SpecError(f"{folder}: training needs {MIN_CLASSES} class folders or more. Received: {len(labels)}")
    return tuple(labels)


def _split(name: str, folder: Path, labels: Sequence[str]) -> Split:
    index = {label: position for position, label in enumerate(labels)}
    files = list_labelled(folder)
    unknown = sorted({label for _, label in files} - set(labels))
    if unknown:
        raise SpecError(f"{folder}: expected classes of the training split. Received: {', '.join(unknown)} as well")
    if name == "train":
        empty = sorted(set(labels) - {label for _, label in files})
        if empty:
            raise SpecError(f"{folder}: every class folder needs photos. Received: none in {', '.join(empty)}")
    return Split(name=name, files=tuple((path, index[label]) for path, label in files))


def decode(split: Split, *, resolution_px: int, channels: int, on_progress: Progress | None = None) -> Photos:
    """Decode a split once; broken files are left out and named.

    Memory stays bounded however many photos there are: the pixels lie in a temporary file that the system removes
    with the last user of the array.

    Raises:
        SpecError: no photo of the split can be decoded, or the disk is full.
    """
    side_px = short_side_px(resolution_px)
    shape = (len(split.files), side_px, side_px, channels)
    with tempfile.TemporaryFile(prefix="mnet-photos-") as file:
        try:
            file.truncate(int(np.prod(shape, dtype=np.int64)))
            pixels = np.memmap(file, np.uint8, "r+", shape=shape)
            used, classes, skipped = _fill(pixels, split, side_px, channels, on_progress)
            pixels.flush()
        except OSError as error:
            raise SpecError(
                f"decoded photos need {np.prod(shape) / 1e9:.1f} GB in {tempfile.gettempdir()} ({error.strerror}). "
                "Free some space or set TMPDIR"
            ) from error
    if not used:
        raise SpecError(f"the {split.name} split has no photo that can be decoded: {skipped[0]}")
    return Photos(pixels=pixels[:used], classes=np.asarray(classes, np.int32), skipped=tuple(skipped))


def _fill(
    pixels: npt.NDArray[np.uint8], split: Split, side_px: int, channels: int, on_progress: Progress | None
) -> tuple[int, list[int], list[str]]:
    used, classes, skipped = 0, [], []
    for start in range(0, len(split.files), _CHUNK):  # a bounded number of decoded photos is in memory
        chunk = split.files[start : start + _CHUNK]
        decoded = load_images([path for path, _ in chunk], resolution_px=side_px, channels=channels, short_px=side_px)
        for (_, index), photo in zip(chunk, decoded, strict=True):
            if isinstance(photo, BrokenImage):
                skipped.append(f"skipped: {photo}")
                continue
            pixels[used] = photo
            classes.append(index)
            used += 1
        if on_progress is not None:
            on_progress(start + len(chunk), len(split.files))
    return used, classes, skipped
