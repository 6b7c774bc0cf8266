"""What probe.sh prints, as texts and as numbers: whatever is no such number is not known."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence

from mnet_deploy.errors import LinkLost
from mnet_deploy.terminal import printable

Answers = Mapping[str, Sequence[str]]

_LAST_LINE = "end=probe"
_LONGEST = 2000  # characters of an answer
_WHOLE = re.compile("-?[0-9]{1,18}")  # more digits are no number of ours
_DECIMAL = re.compile(r"-?[0-9]{1,18}(\.[0-9]{0,18})?")
_PLAUSIBLE_C = (-40.0, 150.0)  # a sensor that is not there often reads 0 K or the largest number


def parse_answers(text: str) -> Answers:
    """Return {key: values in their order}, without what a terminal would obey.

    Raises:
        LinkLost: the last line is missing.
    """
    lines = text.splitlines()
    if _LAST_LINE not in lines:
        raise LinkLost(f"the probe ended without its last line. Received: {text[-80:]!r}; run it again")
    answers = defaultdict(list)
    for line in lines:
        key, _, value = line.partition("=")
        if value.strip():
            answers[key].append(printable(value.strip()[:_LONGEST]))
    return dict(answers)


def first(answers: Answers, *keys: str) -> str | None:
    """Return the first value of the first of these keys that has one."""
    return next((answers[key][0] for key in keys if answers.get(key)), None)


def whole(text: str | None) -> int | None:
    """Return a whole number."""
    return int(text) if text and _WHOLE.fullmatch(text) else None


def decimal(text: str | None) -> float | None:
    """Return a decimal number."""
    return float(text) if text and _DECIMAL.fullmatch(text) else None


def plausible_c(temperature_c: float | None) -> float | None:
    """Return a temperature that a device can have."""
    lowest, highest = _PLAUSIBLE_C
    return temperature_c if temperature_c is not None and lowest <= temperature_c <= highest else None
