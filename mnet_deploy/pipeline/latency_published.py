"""Check the latency model against published grids, ours or those of a file."""

from pathlib import Path
from typing import Any

from mnet_deploy.errors import SpecError
from mnet_deploy.latency.grid_check import check_grids
from mnet_deploy.latency.grid_check_json import check_to_json
from mnet_deploy.latency.grid_check_text import check_text
from mnet_deploy.latency.grids import PUBLISHED_FILE, PublishedGrid, published_grids, read_grids


def published_text(path: Path | None) -> str:
    """Return the check as text; None: of the grids that the project ships."""
    name, rows = _rows(path)
    return check_text(check_grids(rows), name)


def published_json(path: Path | None) -> dict[str, Any]:
    """Return the check as JSON values."""
    name, rows = _rows(path)
    return check_to_json(check_grids(rows), name)


def _rows(path: Path | None) -> tuple[str, tuple[PublishedGrid, ...]]:
    if path is None:
        return PUBLISHED_FILE, published_grids()
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"{path}: expected a table of grids. Received: {getattr(error, 'strerror', error)}") from None
    return path.name, read_grids(text, str(path))
