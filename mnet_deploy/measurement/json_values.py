"""Frozen data classes as JSON values and back, each value checked against the type of its field."""

import math
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from enum import StrEnum
from functools import cache
from types import NoneType, UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

T = TypeVar("T")
# Evaluating them anew takes most of the time of reading a run.
_type_hints: Callable[[Any], dict[str, Any]] = cache(get_type_hints)


def as_value(value: Any) -> Any:  # noqa: ANN401 (any value of a field)
    """Return what `json.dumps` writes of a data class, a tuple or a plain value."""
    if is_dataclass(value):
        return {field.name: as_value(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, tuple):
        return [as_value(item) for item in value]
    return str(value) if isinstance(value, StrEnum) else value


def read_as(kind: type[T], value: object, where: str) -> T:
    """Return a value as a data class, whose fields may be plain, None, tuples, enums or data classes.

    Names that the class does not have are left out: later versions may add some.

    Args:
        kind: the class.
        value: what `json.loads` returned.
        where: the name of the value, for messages.

    Raises:
        ValueError: the value is something else, a name is missing, or a field has another type.
    """
    if not isinstance(value, Mapping):
        raise ValueError(f"{where} is an object. Received: {_short(value)}")
    types, found = _type_hints(kind), {}
    for field in fields(kind):  # type: ignore[arg-type]  # a data class, which type[T] cannot say
        if field.name in value:
            found[field.name] = _read(types[field.name], value[field.name], f"{where}.{field.name}")
        elif field.default is MISSING and field.default_factory is MISSING:
            raise ValueError(f"{where} has {field.name}. Received: {', '.join(map(str, value)) or 'nothing'}")
    return kind(**found)


def _read(kind: Any, value: Any, where: str) -> Any:  # noqa: ANN401 (types and values of any field)
    if get_origin(kind) is UnionType:
        inner = next(option for option in get_args(kind) if option is not NoneType)
        return None if value is None else _read(inner, value, where)
    if get_origin(kind) is tuple:
        return _tuple(get_args(kind), value, where)
    if is_dataclass(kind):
        return read_as(kind, value, where)  # type: ignore[arg-type]
    if issubclass(kind, StrEnum):
        return kind(value)
    return _plain(kind, value, where)


def _tuple(kinds: tuple[Any, ...], value: object, where: str) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise ValueError(f"{where} is a list. Received: {_short(value)}")
    if kinds[-1] is Ellipsis:
        return tuple(_read(kinds[0], item, f"{where}[{index}]") for index, item in enumerate(value))
    if len(value) != len(kinds):
        raise ValueError(f"{where} has {len(kinds)} values. Received: {_short(value)}")
    return tuple(_read(kind, item, where) for kind, item in zip(kinds, value, strict=True))


def _plain(kind: type, value: object, where: str) -> object:
    """Return a text, truth value or number; whole numbers are floats, too, but true is no number."""
    fits = isinstance(value, int | float) if kind is float else isinstance(value, kind)
    if not fits or (isinstance(value, bool) and kind is not bool):
        raise ValueError(f"{where} is of the type {kind.__name__}. Received: {_short(value)}")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{where} is a finite number. Received: {value}")
    return float(value) if kind is float and isinstance(value, int) else value


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
