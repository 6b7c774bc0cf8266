"""Label files: one class name a line, in the order of the model's outputs."""

from pathlib import Path

from mnet_deploy.errors import SpecError


def read_labels(path: Path) -> tuple[str, ...]:
    """Read a label file; blank lines at its end are no labels.

    Raises:
        SpecError: no such file, not text, empty, or a blank line among the labels.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").rstrip().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"{path}: expected a text file with one label a line. Received: {error}") from error
    labels = tuple(line.strip() for line in lines)
    blank = [number for number, label in enumerate(labels, start=1) if not label]
    if not labels or blank:
        received = f"line {blank[0]} is blank" if blank else "an empty file"
        raise SpecError(f"{path}: expected one label a line. Received: {received}")
    return labels


def require_labels(labels: tuple[str, ...], classes: int | None, *, origin: str) -> None:
    """Raise a SpecError if there is not one label a class."""
    if len(labels) != classes:
        outputs = "no classifier" if classes is None else f"{classes} classes"
        raise SpecError(
            f"{origin}: the labels must match the model, which has {outputs}. Received: {len(labels)} labels. Give the "
            f"label file of this model, or --classes {len(labels)} for a new head"
        )
