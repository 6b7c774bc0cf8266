"""Finding the images of a folder, without opening them."""

import os
from collections.abc import Iterator
from pathlib import Path

from mnet_deploy.errors import SpecError

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")


def list_images(folder: Path) -> tuple[Path, ...]:
    """Return every image file below a folder, sorted by its path relative to the folder.

    Files are told by suffix, upper or lower case. Hidden files and folders are left out; links are followed, each
    folder once.

    Raises:
        SpecError: the folder is not there, is a file, cannot be read, or has no images.
    """
    files = list(_walk(folder))
    found = [path for path in files if path.name.lower().endswith(SUFFIXES)]
    if not found:
        others = f"has {len(files)} other files, such as {min(files).name}" if files else "is empty"
        raise SpecError(f"a folder with images ({', '.join(SUFFIXES)}) is needed. Received: {folder}, which {others}")
    return tuple(sorted(found, key=lambda path: path.relative_to(folder).as_posix()))


def list_labelled(folder: Path) -> tuple[tuple[Path, str], ...]:
    """Return every image below a folder with its class: the name of the first folder on the way to it.

    Raises:
        SpecError: as `list_images`, or images lie directly in the folder.
    """
    images = list_images(folder)
    classes = [path.relative_to(folder).parts[0] for path in images]
    loose = [path for path, label in zip(images, classes, strict=True) if path == folder / label]
    if loose:
        raise SpecError(
            f"labelled images lie in one folder a class ({folder / 'CLASS' / 'photo.jpg'}). "
            f"Received: {len(loose)} directly in {folder}, such as {loose[0].name}"
        )
    return tuple(zip(images, classes, strict=True))


def _walk(folder: Path) -> Iterator[Path]:
    """Yield every file below a folder that is not hidden."""
    if folder.is_file():
        raise SpecError(f"a folder with images is needed. Received: {folder}, which is a file")
    seen: set[tuple[int, int]] = set()  # a link may lead back up
    for path, folders, files in os.walk(folder, followlinks=True, onerror=_fail):
        status = Path(path).stat()
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(path, name) for name in files if not name.startswith("."))


def _fail(error: OSError) -> None:
    raise SpecError(f"a folder with images is needed. Received: {error.filename}: {error.strerror}") from error
