"""The options that describe a model, shared by the verbs that take one."""

import argparse
from collections.abc import Callable
from typing import Any

from mnet_deploy.spec import Family, ModelSpec, Padding


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options; all are texts, and None where not given, until `spec_overrides` checks them."""
    group = parser.add_argument_group("model")
    group.add_argument("--family", metavar="NAME", help=f"one of {', '.join(Family)} (default mobilenet_v1)")
    group.add_argument("--alpha", metavar="A", help="width multiplier, any number above 0 (default 1.0)")
    group.add_argument("--resolution", metavar="PX", help="side of the square input, 32 or more (default 224)")
    group.add_argument("--channels", metavar="N", help="channels of the input (default 3)")
    group.add_argument("--classes", metavar="N", help="outputs of the classifier (default 1000)")
    group.add_argument("--growth", metavar="G", help="channels that a layer of a dense family adds (default 32)")
    group.add_argument(
        "--padding", metavar="RULE", help=f"zeros around 3x3 kernels: {', '.join(Padding)} (default keras)"
    )


# option: (field of ModelSpec, what turns its text into a value)
_FIELDS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "family": ("family", Family),
    "alpha": ("alpha", float),
    "resolution": ("resolution_px", int),
    "channels": ("channels_in", int),
    "classes": ("classes", int),
    "growth": ("growth", int),
    "padding": ("padding", Padding),
}


def spec_overrides(args: argparse.Namespace) -> dict[str, Any]:
    """Return the fields of `ModelSpec` that the options give, converted and checked.

    Whether the growth suits the family is checked only where the family is given too.

    Raises:
        SpecError: a value outside its range.
    """
    given = {option: getattr(args, option) for option in _FIELDS if getattr(args, option) is not None}
    return checked_fields({_FIELDS[option][0]: _converted(text, _FIELDS[option][1]) for option, text in given.items()})


def checked_fields(fields: dict[str, Any]) -> dict[str, Any]:
    """Return `fields` if a model can have them.

    Raises:
        SpecError: a value outside its range.
    """
    dense = {"family": Family.DENSE1_MOBILENET} if "growth" in fields else {}
    ModelSpec(**{**dense, **fields})
    return fields


def _converted(text: str, convert: Callable[[str], Any]) -> Any:  # noqa: ANN401 (each field has its own type)
    """Return the value, or the text itself where it is none: the spec then says what it expected and received."""
    try:
        return convert(text)
    except ValueError:
        return text
