"""JSON schemas (draft 2020-12) of every format that the toolkit writes: `mnet.cost/1` is in `cost.schema.json`.

They describe exactly what this version writes. Readers of a format may leave out names that they do not know.
"""

import json
from importlib.resources import files
from typing import Any

SUFFIX = ".schema.json"


def names() -> tuple[str, ...]:
    """Return the names of all schemas, which are those of the formats without `mnet.` and version."""
    return tuple(sorted(file.name.removesuffix(SUFFIX) for file in files(__name__).iterdir() if _is_schema(file.name)))


def load(name: str) -> dict[str, Any]:
    """Return a schema. Others that it refers to are found by their `$id`, which ends with their file name.

    Raises:
        KeyError: there is none of this name.
    """
    if name not in names():
        raise KeyError(name)
    schema: dict[str, Any] = json.loads((files(__name__) / f"{name}{SUFFIX}").read_text(encoding="utf-8"))
    return schema


def _is_schema(file: str) -> bool:
    return file.endswith(SUFFIX)
