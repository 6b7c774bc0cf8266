"""Turn option texts into values; what does not fit is an error that names the option."""

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
