"""The images that exported files are tried on: which class each shows, and their pixels a chunk at a time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from mnet_deploy.artifact import Artifact
from mnet_deploy.converters import calibration
from mnet_deploy.errors import SpecError
from mnet_deploy.image_folder import list_images, list_labelled
from mnet_deploy.images import BrokenImage, load_images
from mnet_deploy.labels import read_labels, require_labels
from mnet_deploy.progress import Progress

Pixels = NDArray[np.uint8]

CHUNK_IMAGES = 200  # decoded at a time, fewer of large ones
CHUNK_BYTES = 32 << 20  # of pixels; as the floats of a model they take four times as much
GENERATED_IMAGES = 100
_GENERATOR_SEED = 1  # exports calibrate with seed 0: other images than those
CLASS_FILES = ("class_ids.txt", "labels.txt")  # looked for in the data folder and beside it


def labelled_images(
    data: Path,
    class_file: Path | None,
    *,
    classes: int,
    labels: tuple[str, ...] | None,
    background_first: bool = False,
) -> tuple[list[tuple[Path, int]], tuple[str, ...]]:
    """Return each image with the index of its class, and what the user should know of how that was found.

    Args:
        data: one folder a class.
        class_file: names of the class folders in the order of the model's outputs; found by itself if None.
        classes: of the model.
        labels: that the model says of itself; None if it says nothing.
        background_first: whether one name less than classes means a model whose first output is a background class,
            as of TensorFlow's older ImageNet models.

    Raises:
        SpecError: no usable folder, or folders that are no class of the model.
    """
    labelled = list_labelled(data)
    folders = tuple(sorted({name for _, name in labelled}))
    lengths = (classes, classes - 1) if background_first else (classes,)
    names, notes = _class_names(data, class_file, folders, labels, lengths)
    if len(names) == classes - 1 and background_first:
        names = ("", *names)  # the name of no folder
        notes = (
            *notes,
            f"the first of {classes} outputs was taken for a background class: there are {classes - 1} names",
        )
    for wrong, what in (
        ([name for name in folders if name not in names], "none"),
        ([name for name in folders if names.count(name) > 1], "several"),
    ):
        if wrong:
            raise SpecError(
                f"{data}: each folder must be one class of the model. Received: {len(wrong)} that are {what}, such as "
                f"{wrong[0]}. Give --classes-file with the folders' names in the order of the model's outputs"
            )
    index = {name: position for position, name in enumerate(names)}
    return [(image, index[name]) for image, name in labelled], notes


def _class_names(
    data: Path,
    class_file: Path | None,
    folders: tuple[str, ...],
    labels: tuple[str, ...] | None,
    lengths: tuple[int, ...],
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the class names in the model's order, and a note if that order was assumed.

    Taken from the file that was given, the model's labels, or a file beside the data, whichever has the folders.
    """
    if class_file is not None:
        names = read_labels(class_file)
        if len(names) not in lengths:
            require_labels(names, lengths[0], origin=str(class_file))
        return names, ()
    candidates = [labels] if labels is not None else []
    files = [folder / name for folder in (data, data.resolve().parent) for name in CLASS_FILES]
    candidates += [read_labels(file) for file in files if file.is_file()]
    for length in lengths:
        for names in candidates:
            if len(names) == length and set(folders) <= set(names):
                return names, ()
    if len(folders) in lengths:  # Keras' own convention
        return folders, ("no label file has these folders: their sorted order was taken for the classes'",)
    return labels or (), ()


class SeesPhotos(Protocol):
    """What says the size and channels of a model's input, such as a `ModelSpec`."""

    @property
    def resolution_px(self) -> int: ...

    @property
    def channels_in(self) -> int: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationImages:
    """Photos, with or without the index of their class, or generated pixels.

    Attributes:
        paths: of the photos; empty for generated images.
        classes: index of the class of each photo; None if not known.
        pixels: [images, height, width, channels] generated; None for photos.
        notes: what the user should know, a sentence each.
    """

    paths: tuple[Path, ...] = ()
    classes: tuple[int, ...] | None = None
    pixels: Pixels | None = None
    notes: tuple[str, ...] = ()

    def chunks(self, spec: SeesPhotos, broken: list[str], progress: Progress) -> Iterator[tuple[Pixels, list[int]]]:
        """Yield pixels with the places of these images; see `decoded_chunks`."""
        if self.pixels is not None:
            yield self.pixels, list(range(len(self.pixels)))
        else:
            yield from decoded_chunks(spec, self.paths, broken, progress)

    def sample(self, count: int) -> Self:
        """Return up to `count` images, evenly spread: photos come sorted by class."""
        total = len(self.paths) if self.pixels is None else len(self.pixels)
        places = np.linspace(0, total - 1, min(count, total)).round().astype(int)
        if self.pixels is not None:
            return type(self)(pixels=self.pixels[places])
        return type(self)(paths=tuple(self.paths[place] for place in places))


def find_images(artifact: Artifact, data: Path | None, class_file: Path | None) -> EvaluationImages:
    """Return photos with their classes where they can be told, or generated images.

    Args:
        artifact: of the model.
        data: photos, one folder a class or without classes; None for generated images.
        class_file: names of the class folders in the order of the model's outputs; found by itself if None.

    Raises:
        SpecError: no usable photos, or a class file that does not fit.
    """
    spec = artifact.spec
    if data is None:
        made = calibration.generated(
            count=GENERATED_IMAGES, seed=_GENERATOR_SEED, resolution_px=spec.resolution_px, channels=spec.channels_in
        )
        note = "the images are generated, no photos: on them models agree more or less often than in use; give --data"
        return EvaluationImages(pixels=made.pixels, notes=(note,))
    paths = list_images(data)
    if spec.classes is None:
        return EvaluationImages(paths=paths)
    try:
        labelled, notes = labelled_images(data, class_file, classes=spec.classes, labels=artifact.labels)
    except SpecError as error:
        if class_file is not None:
            raise
        return EvaluationImages(paths=paths, notes=(f"no accuracy: {error}",))
    return EvaluationImages(
        paths=tuple(path for path, _ in labelled), classes=tuple(index for _, index in labelled), notes=notes
    )


def decoded_chunks(
    spec: SeesPhotos, paths: Sequence[Path], broken: list[str], progress: Progress, *, squash: bool = False
) -> Iterator[tuple[Pixels, list[int]]]:
    """Yield pixels [images, height, width, channels] with the places of these images in `paths`.

    Args:
        spec: says which size and channels.
        paths: of the images.
        broken: gets a line for each image that cannot be used.
        progress: told how far it is.
        squash: scale whole photos to the square in place of a crop.

    Raises:
        SpecError: none of them can be used.
    """
    image_bytes = spec.resolution_px**2 * spec.channels_in
    at_once = max(1, min(CHUNK_IMAGES, CHUNK_BYTES // image_bytes))
    usable = 0
    for start in range(0, len(paths), at_once):
        progress.stage(f"image {start + 1} of {len(paths)}")
        chunk = paths[start : start + at_once]
        images = load_images(chunk, resolution_px=spec.resolution_px, channels=spec.channels_in, squash=squash)
        pixels, places = [], []
        for place, image in enumerate(images, start):
            if isinstance(image, BrokenImage):
                broken.append(f"skipped: {image}")
                continue
            pixels.append(image)
            places.append(place)
        usable += len(places)
        if places:
            yield np.stack(pixels), places
    progress.done()
    if not usable:
        raise SpecError(f"expected images that can be decoded. Received: {len(broken)} broken ones ({broken[0]})")
