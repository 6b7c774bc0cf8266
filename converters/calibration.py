"""The images on which a converter sees what ranges a model's activations take."""

import hashlib
import json
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mnet_deploy.converters import synthetic_images
from mnet_deploy.errors import SpecError
from mnet_deploy.image_folder import list_images
from mnet_deploy.images import BrokenImage, load_images, preprocessing, require_photo_channels

DEFAULT_COUNT = 100
BATCH = 32  # photos decoded at a time
MAX_COUNT = 10_000  # 1.5 GB of pixels at 224 px
MIN_COUNT = 10  # fewer photos than that give ranges of chance, unless the user asks for fewer

Progress = Callable[[int, int], None]  # (images done, images in all)


class CalibrationSource(StrEnum):
    """Where calibration images come from."""

    FOLDER = "folder"
    GENERATED = "generated"
    NOISE = "noise"


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationSet:
    """Calibration images, and what identifies them.

    Attributes:
        pixels: 8-bit, of shape (images, height, width, channels), read-only; not normalised.
        source: where they come from.
        count: how many there are.
        requested: how many were asked for; a folder may have fewer.
        seed: of the choice, or of the generator.
        digest: sha256, in hex, over the preprocessing and the pixels.
        skipped: one line a broken file, naming it and the cause.
    """

    pixels: npt.NDArray[np.uint8] = field(repr=False, compare=False)
    source: CalibrationSource
    count: int
    requested: int
    seed: int
    digest: str
    skipped: tuple[str, ...] = ()

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should be told, a line each."""
        notes = [f"skipped: {line}" for line in self.skipped]
        if self.count < self.requested:
            notes.append(f"calibrating with {self.count} images: {self.requested} were asked for")
        return tuple(notes)


def from_folder(
    folder: Path,
    *,
    count: int = DEFAULT_COUNT,
    seed: int = 0,
    resolution_px: int,
    channels: int = 3,
    on_progress: Progress | None = None,
) -> CalibrationSet:
    """Choose photos, the same ones for the same seed and files, and decode them.

    The choice goes round the folders that hold photos, so each class has its share. A broken file is left out, named
    in `skipped`, and replaced by another one of its folder where there is one.

    Raises:
        SpecError: no folder with images, a number of channels that photos do not have, or fewer usable photos than
            `count` and than `MIN_COUNT`.
    """
    _require_options(count, seed)
    require_photo_channels(channels)
    paths = list_images(folder)
    limit = min(count, len(paths))
    pixels = np.empty((limit, resolution_px, resolution_px, channels), np.uint8)
    turns = deque(_shuffled_queues(folder, paths, seed))
    owed: deque[list[Path]] = deque()  # queues that owe an image for a broken one
    skipped: list[str] = []
    used = 0
    while used < limit and (drawn := _draw(turns, owed, min(BATCH, limit - used))):
        images = load_images([path for path, _ in drawn], resolution_px=resolution_px, channels=channels)
        for (_, queue), image in zip(drawn, images, strict=True):
            if isinstance(image, BrokenImage):
                skipped.append(str(image))
                owed.append(queue)
            else:
                pixels[used] = image
                used += 1
        if on_progress is not None:
            on_progress(used, limit)
    _require_enough(folder, used, count, skipped)
    return _seal(pixels[:used], CalibrationSource.FOLDER, count, seed, preprocessing(resolution_px), tuple(skipped))


def generated(*, count: int = DEFAULT_COUNT, seed: int = 0, resolution_px: int, channels: int = 3) -> CalibrationSet:
    """Make dead-leaves images: no photos needed, fit for latency, and for accuracy only with fixed ranges."""
    _require_options(count, seed)
    pixels = synthetic_images.dead_leaves(count, seed=seed, resolution_px=resolution_px, channels=channels)
    return _seal(pixels, CalibrationSource.GENERATED, count, seed, {"resolution_px": resolution_px}, ())


def noise(*, count: int = DEFAULT_COUNT, seed: int = 0, resolution_px: int, channels: int = 3) -> CalibrationSet:
    """Make uniform noise: fit for latency only (ranges from noise cost most of a model's accuracy)."""
    _require_options(count, seed)
    pixels = synthetic_images.uniform_noise(count, seed=seed, resolution_px=resolution_px, channels=channels)
    return _seal(pixels, CalibrationSource.NOISE, count, seed, {"resolution_px": resolution_px}, ())


def _shuffled_queues(folder: Path, paths: tuple[Path, ...], seed: int) -> list[list[Path]]:
    """Return the paths of each folder that holds some, all in random order."""
    chance = random.Random(seed)
    queues: dict[str, list[Path]] = {}
    for path in paths:
        queues.setdefault(path.relative_to(folder).parent.as_posix(), []).append(path)
    order = [queues[name] for name in sorted(queues)]
    chance.shuffle(order)
    for queue in order:
        chance.shuffle(queue)
    return order


def _draw(turns: deque[list[Path]], owed: deque[list[Path]], count: int) -> list[tuple[Path, list[Path]]]:
    """Take up to `count` paths, each with its queue: what is owed first, then one from each queue in turn."""
    drawn: list[tuple[Path, list[Path]]] = []
    while (owed or turns) and len(drawn) < count:
        in_turn = not owed
        queue = (owed or turns).popleft()
        if queue:
            drawn.append((queue.pop(), queue))
            if in_turn:
                turns.append(queue)
    return drawn


def _require_enough(folder: Path, used: int, count: int, skipped: list[str]) -> None:
    needed = min(count, MIN_COUNT)
    if used >= needed:
        return
    cause = f" and {len(skipped)} broken ones (first: {skipped[0]})" if skipped else ""
    raise SpecError(
        f"calibration needs at least {needed} usable photos. Received: {used} in {folder}{cause}. "
        "Add photos, or try --calibration-source generated"
    )


def _require_options(count: int, seed: int) -> None:
    if not 1 <= count <= MAX_COUNT:
        raise SpecError(f"a calibration takes 1 to {MAX_COUNT} images. Received: {count}. Try {DEFAULT_COUNT}")
    if seed < 0:
        raise SpecError(f"a seed is an integer of 0 or more. Received: {seed}")


def _seal(
    pixels: npt.NDArray[np.uint8],
    source: CalibrationSource,
    requested: int,
    seed: int,
    made_by: dict[str, object],
    skipped: tuple[str, ...],
) -> CalibrationSet:
    digest = hashlib.sha256(json.dumps([made_by, pixels.shape], sort_keys=True).encode())
    digest.update(np.ascontiguousarray(pixels).data)
    pixels.setflags(write=False)
    return CalibrationSet(
        pixels=pixels,
        source=source,
        count=len(pixels),
        requested=requested,
        seed=seed,
        digest=digest.hexdigest(),
        skipped=skipped,
    )
