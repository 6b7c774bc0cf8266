"""Model specs written as text: names such as `mobilenet_v1_0.25_128`, the shorthand `0.25-128`, and single fields."""

from collections.abc import Callable, Mapping
from typing import Any

from mnet_deploy.spec.model_spec import Family, ModelSpec, Padding

_CONVERTERS: dict[str, Callable[[str], Any]] = {
    "family": Family,
    "alpha": float,
    "resolution_px": int,
    "channels_in": int,
    "classes": int,
    "growth": int,
    "padding": Padding,
}


def fields_of_text(texts: Mapping[str, str]) -> dict[str, Any]:
    """Return fields of `ModelSpec`, converted from their texts and checked.

    Whether the growth suits the family is checked only where the family is given too.

    Raises:
        SpecError: a value outside its range.
    """
    fields = {name: _converted(text, _CONVERTERS[name]) for name, text in texts.items()}
    assumed = {"family": Family.DENSE1_MOBILENET} if "growth" in fields else {}
    ModelSpec(**{**assumed, **fields})
    return fields


def fields_of_name(text: str) -> dict[str, Any] | None:
    """Return the fields that FAMILY, FAMILY_ALPHA_PX or ALPHA-PX names; None for a text of another form.

    Raises:
        SpecError: a text of one of these forms with a value outside its range.
    """
    for family in Family:
        alpha, separator, resolution = text.removeprefix(f"{family}_").partition("_")
        if text == family:
            return {"family": family}
        if text.startswith(f"{family}_") and separator:
            return {"family": family} | fields_of_text({"alpha": alpha, "resolution_px": resolution})
    alpha, separator, resolution = text.rpartition("-")
    if separator and isinstance(_converted(alpha, float), float):
        return fields_of_text({"alpha": alpha, "resolution_px": resolution})
    return None


def _converted(text: str, convert: Callable[[str], Any]) -> Any:  # noqa: ANN401 (each field has its own type)
    """Return the value, or the text itself where it is none: the spec then says what it expected and received."""
    try:
        return convert(text)
    except ValueError:
        return text
