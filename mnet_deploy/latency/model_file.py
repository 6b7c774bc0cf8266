"""Latency models as files."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mnet_deploy.errors import MnetError, ResultFormatError, SpecError
from mnet_deploy.latency.model import LatencyModel
from mnet_deploy.latency.terms import TERMS
from mnet_deploy.measurement.json_values import as_value, read_as
from mnet_deploy.output_folder import OutputFolder

# History: 1 = first.
MODEL_FORMAT = "mnet.latency-model/1"


def model_to_json(model: LatencyModel) -> dict[str, Any]:
    """Return a model with the names of its terms."""
    return {"format": MODEL_FORMAT, "terms": list(TERMS), **as_value(model)}


def model_from_json(value: object) -> LatencyModel:
    """Return the model that `model_to_json` wrote.

    Raises:
        ResultFormatError: it is something else, damaged, or of other terms than this version knows.
    """
    try:
        if not isinstance(value, Mapping) or value.get("format") != MODEL_FORMAT:
            found = value.get("format") if isinstance(value, Mapping) else type(value).__name__
            raise ValueError(f"the format {found!r}")
        if value.get("terms") != list(TERMS):
            raise ValueError(f"the terms {value.get('terms')}")
        return read_as(LatencyModel, value, "model")
    except (MnetError, ValueError, TypeError) as error:
        raise ResultFormatError(
            f"expected a latency model of the format {MODEL_FORMAT} with the terms {', '.join(TERMS)}. "
            f"Received: {error}; fit it again"
        ) from error


def write_model(path: Path, model: LatencyModel, *, force: bool) -> None:
    """Write a model; a file that exists is replaced only with `force`.

    Raises:
        SpecError: it exists, or cannot be written.
    """
    content = (json.dumps(model_to_json(model), indent=2, ensure_ascii=False) + "\n").encode("utf-8")
    with OutputFolder(path.parent, stem=path.name, names={path.name: content}, force=force) as folder:
        folder.stage(path.name, content)
        folder.commit()


def read_model(path: Path) -> LatencyModel:
    """Read a model.

    Raises:
        SpecError: there is no file that can be read.
        ResultFormatError: it is no latency model.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SpecError(f"{path}: expected a latency model. Received: {error.strerror or error}") from None
    except ValueError:
        raise ResultFormatError(f"{path}: expected a latency model. Received: no JSON. Fit it again") from None
    try:
        return model_from_json(value)
    except ResultFormatError as error:
        raise ResultFormatError(f"{path}: {error}") from error.__cause__
