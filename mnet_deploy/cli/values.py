"""Turn option texts into values; what does not fit is an error that names the option."""

import math
import re
from enum import StrEnum
from typing import TypeVar

from mnet_deploy.errors import SpecError

_Enum = TypeVar("_Enum", bound=StrEnum)
MOST_DIGITS = 18  # of any number that is meant


def member(enum: type[_Enum], text: str, option: str) -> _Enum:
    """Return the member that a text names.

    Raises:
        SpecError: none of them.
    """
    try:
        return enum(text.strip())
    except ValueError:
        raise SpecError(f"{option} takes {', '.join(enum)}. Received: {text!r}") from None


def names(text: str) -> tuple[str, ...]:
    """Return the parts of a text such as `a,b`."""
    return tuple(name for part in text.split(",") if (name := part.strip()))


def whole_number(text: str, option: str) -> int:
    """Return a number of 0 or more without fraction.

    Raises:
        SpecError: something else.
    """
    if not (text.isascii() and text.isdecimal() and len(text) <= MOST_DIGITS):
        raise SpecError(f"{option} takes a whole number. Received: {_short(text)}")
    return int(text)


def number(text: str, option: str) -> float:
    """Return a finite number.

    Raises:
        SpecError: something else.
    """
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not math.isfinite(found):
        raise SpecError(f"{option} takes a number. Received: {_short(text)}")
    return found


_UNITS_S = {"ms": 1e-3, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}


def duration_s(text: str, option: str) -> float:
    """Return a time such as `90s`, `30m` or `2h` in seconds; a number alone is seconds.

    Raises:
        SpecError: something else.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?|\.\d+)\s*([a-z]*)", text.strip())
    unit_s = _UNITS_S.get((found[2] or "s") if found else "")
    if found is None or unit_s is None or len(found[1]) > MOST_DIGITS:
        raise SpecError(f"{option} takes a time such as 90s, 30m or 2h. Received: {_short(text)}")
    return float(found[1]) * unit_s


def fraction(text: str, option: str) -> float:
    """Return a share such as `5%` or `0.05` as a fraction of 0 or more.

    Raises:
        SpecError: something else.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?|\.\d+)\s*(%?)", text.strip())
    if found is None or len(found[1]) > MOST_DIGITS:
        raise SpecError(f"{option} takes a share such as 5% or 0.05. Received: {_short(text)}")
    share = float(found[1]) / (100 if found[2] else 1)
    if share > 1 and not found[2]:
        raise SpecError(f"{option} takes a share such as 5% or 0.05. Received: {text!r}. Did you mean {text.strip()}%?")
    return share


def _short(text: str) -> str:
    return repr(text) if len(text) <= 60 else f"{text[:57]!r}..."
