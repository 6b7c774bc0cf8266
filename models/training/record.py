"""The log of a training run, and the recipe that it holds."""

import json
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

from mnet_deploy.errors import ResultFormatError
from mnet_deploy.models.shipped_checkpoint import RECORD_NAME, SHIPPED, shipped_path
from mnet_deploy.models.training.options import Augmentation, OptimizerName, TrainOptions
from mnet_deploy.normalization import Normalization

# History: 1 = first.
TRAINING_FORMAT = "mnet.training/1"

_READERS: dict[str, Callable[[Any], Any]] = {
    "optimizer": OptimizerName,
    "augmentation": Augmentation,
    "normalization": Normalization.from_json,
}


def read_record(source: str) -> dict[str, Any]:
    """Read a `training.json`, or the one of the checkpoint in this package (`shipped`).

    Raises:
        ResultFormatError: not there, damaged, or of another version.
    """
    try:
        path = shipped_path(RECORD_NAME) if source == SHIPPED else Path(source)
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if record["format"] != TRAINING_FORMAT:
            raise ResultFormatError(f"{source}: expected {TRAINING_FORMAT}. Received: {record['format']}")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ResultFormatError(
            f"{source}: expected the log of a training run ({RECORD_NAME}). Received: {error}"
        ) from error
    return record


def recipe_of(record: dict[str, Any]) -> TrainOptions:
    """Return the options of a run; a teacher is not part of it and must be given again.

    Raises:
        ResultFormatError: an option is missing or unknown.
    """
    saved = dict(record["options"])
    try:
        known = {field.name: saved.pop(field.name) for field in fields(TrainOptions)}
        known |= {name: read(known[name]) for name, read in _READERS.items()}
        if saved:
            raise KeyError(next(iter(saved)))
        return TrainOptions(**{**known, "teacher": None})
    except (KeyError, ValueError) as error:
        raise ResultFormatError(f"a recipe has the options of this version. Received: {error}") from error
