"""Numbers as options give them: what no computation could use is refused at once."""

import pytest

from mnet_deploy.cli.values import duration_s, fraction, number, whole_number
from mnet_deploy.errors import SpecError

LONG = "9" * 5000


@pytest.mark.parametrize(
    ("read", "text", "expected"),
    [
        (number, "65.5", 65.5),
        (number, "-3", -3.0),
        (whole_number, "0", 0),
        (duration_s, "2m", 120.0),
        (duration_s, "90", 90.0),
        (fraction, "5%", 0.05),
        (fraction, ".05", 0.05),
    ],
)
def test_numbers(read, text, expected):
    assert read(text, "--x") == expected


@pytest.mark.parametrize(
    ("read", "text"),
    [
        *((number, text) for text in ("nan", "inf", "-inf", "1e400", LONG, "many", "")),
        *((whole_number, text) for text in ("1.5", "-1", "²", LONG, "")),
        *((duration_s, text) for text in ("inf", "nan", "-1s", "3 days", LONG, "")),
        *((fraction, text) for text in ("inf", "nan", "-5%", "5 per cent", LONG, "")),
    ],
)
def test_what_is_no_finite_number_is_refused_in_one_short_line(read, text):
    with pytest.raises(SpecError, match=r"^--x takes a .*Received: ") as refused:
        read(text, "--x")
    assert len(str(refused.value)) < 150
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("text", ["5", "200"])
def test_a_share_above_one_without_percent_asks_what_was_meant(text):
    with pytest.raises(SpecError, match=f"Did you mean {text}%"):
        fraction(text, "--max-slowdown")
