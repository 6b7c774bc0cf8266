"""The checkpoint that comes with this package: `shipped/` beside this module, with its labels, log and card."""

import json
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

SHIPPED = "shipped"
RECORD_NAME = "training.json"
LABELS_NAME = "labels.txt"


def shipped_path(name: str) -> Path:
    """Return where a file of the shipped checkpoint lies."""
    return Path(str(files("mnet_deploy.models") / "shipped" / name))


@cache
def shipped_record() -> dict[str, Any]:
    """Return the log of the training run that made it."""
    record: dict[str, Any] = json.loads(shipped_path(RECORD_NAME).read_text(encoding="utf-8"))
    return record


def shipped_weights() -> Path:
    """Return where its weights lie."""
    return shipped_path(f"{shipped_record()['name']}.keras")
