"""A small set of photos that a small model can learn: each class has its own colour and stripes."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

CLASSES = ("cyan", "orange", "violet")
_COLOURS = {"cyan": (30, 200, 200), "orange": (240, 150, 20), "violet": (140, 40, 220)}


def write_photo(path: Path, label: str, seed: int, *, size=(48, 40)) -> None:
    generator = np.random.default_rng(seed)
    pixels = np.array(_COLOURS[label]) + generator.normal(0, 25, (size[1], size[0], 3))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(path)


def write_classes(folder: Path, *, count: int, first_seed: int = 0, classes=CLASSES) -> Path:
    for number, label in enumerate(classes):
        for index in range(count):
            write_photo(folder / label / f"{index}.png", label, first_seed + 1000 * number + index)
    return folder


@pytest.fixture(scope="session")
def photos(tmp_path_factory) -> Path:
    return write_classes(tmp_path_factory.mktemp("photos"), count=12)


@pytest.fixture(scope="session")
def split_photos(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("split")
    write_classes(folder / "train", count=10)
    write_classes(folder / "val", count=3, first_seed=50_000, classes=CLASSES[:2])
    write_classes(folder / "test", count=4, first_seed=90_000)
    return folder
