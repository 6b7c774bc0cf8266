"""The options that describe a model, shared by the verbs that take one."""

import argparse
from collections.abc import Sequence
from typing import Any

from mnet_deploy.errors import SpecError
from mnet_deploy.spec import Family, ModelSpec, Padding
from mnet_deploy.spec.text_fields import fields_of_name, fields_of_text

# option: field of ModelSpec
_FIELDS = {
    "family": "family",
    "alpha": "alpha",
    "resolution": "resolution_px",
    "channels": "channels_in",
    "classes": "classes",
    "growth": "growth",
    "padding": "padding",
}


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


def spec_overrides(args: argparse.Namespace) -> dict[str, Any]:
    """Return the fields of `ModelSpec` that the options give, converted and checked.

    Whether the growth suits the family is checked only where the family is given too.

    Raises:
        SpecError: a value outside its range.
    """
    return fields_of_text({_FIELDS[option]: text for option, text in given_options(args).items()})


def given_options(args: argparse.Namespace) -> dict[str, str]:
    """Return the texts of the model options that were given, by option name without its dashes."""
    return {option: getattr(args, option) for option in _FIELDS if getattr(args, option) is not None}


def specs_of_words(words: Sequence[str], option: str) -> tuple[ModelSpec, ...]:
    """Return the models that words name: ALPHA-PX, FAMILY ALPHA-PX, FAMILY_ALPHA_PX, or FAMILY for its 1.0-224.

    Raises:
        SpecError: a word that names none, or a value outside its range.
    """
    found: list[dict[str, Any]] = []
    family_alone = False
    for word in " ".join(words).split():
        fields = fields_of_name(word)
        if fields is None:
            raise SpecError(
                f"{option} takes models such as 0.5-160, conv_mobilenet 0.5-160 or mobilenet_v1_0.25_128. "
                f"Received: {word!r}"
            )
        if family_alone and "family" not in fields:
            found[-1] |= fields
        else:
            found.append(fields)
        family_alone = tuple(fields) == ("family",)
    return tuple(ModelSpec(**fields) for fields in found)
