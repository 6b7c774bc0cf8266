"""The ops that the installed ONNX Runtime has beside those of the ONNX standard."""

import functools
from typing import Any

from onnxruntime.capi import onnxruntime_pybind11_state as engine


def find_schema(domain: str, op_type: str, version: int) -> Any | None:  # noqa: ANN401 - the engine's untyped class
    """Return the newest schema of an op up to a version of its domain, None if there is none."""
    known = [schema for schema in _schemas().get((domain, op_type), ()) if schema.since_version <= version]
    return max(known, key=lambda schema: int(schema.since_version), default=None)


@functools.cache
def _schemas() -> dict[tuple[str, str], list[Any]]:
    found: dict[tuple[str, str], list[Any]] = {}
    for schema in engine.get_all_operator_schema():
        found.setdefault((schema.domain, schema.name), []).append(schema)
    return found
