"""Turn option texts into values; what does not fit is an error that names the option."""

import re
from enum import StrEnum
from typing import TypeVar

from mnet_deploy.errors import SpecError

_Enum = TypeVar("_Enum", bound=StrEnum)


def member(enum: type[_Enum], text: str, option: str) -> _Enum:
    """Return the member that a text names.

    Raises:
        SpecError: none of them.
    """
    try:
        return enum(text.strip())
    except ValueError:
        raise SpecError(f"{option} takes {', '.join(enum)}. Received: {text!r}") from None


def whole_number(text: str, option: str) -> int:
    """Return a number of 0 or more without fraction.

    Raises:
        SpecError: something else.
    """
    if not (text.isascii() and text.isdecimal()):
        raise SpecError(f"{option} takes a whole number. Received: {text!r}")
    return int(text)


def number(text: str, option: str) -> float:
    """Return a number.

    Raises:
        SpecError: something else.
    """
    try:
        return float(text)
    except ValueError:
        raise SpecError(f"{option} takes a number. Received: {text!r}") from None


_UNITS_S = {"ms": 1e-3, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}


def duration_s(text: str, option: str) -> float:
    """Return a time such as `90s`, `30m` or `2h` in seconds; a number alone is seconds.

    Raises:
        SpecError: something else.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?|\.\d+)\s*([a-z]*)", text.strip())
    unit_s = _UNITS_S.get((found[2] or "s") if found else "")
    if found is None or unit_s is None:
        raise SpecError(f"{option} takes a time such as 90s, 30m or 2h. Received: {text!r}")
    return float(found[1]) * unit_s


def fraction(text: str, option: str) -> float:
    """Return a share such as `5%` or `0.05` as a fraction of 0 or more.

    Raises:
        SpecError: something else.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?|\.\d+)\s*(%?)", text.strip())
    if found is None:
        raise SpecError(f"{option} takes a share such as 5% or 0.05. Received: {text!r}")
    return float(found[1]) / (100 if found[2] else 1)
