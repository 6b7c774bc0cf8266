"""Which of two measurements of one run is faster, by how much, and how sure that is."""

from dataclasses import dataclass
from typing import Any

from mnet_deploy.errors import SpecError
from mnet_deploy.measurement.measurement import Measurement, Verdict, label_of
from mnet_deploy.measurement.ratios import (
    EQUAL_WITHIN,
    FEWEST_BLOCKS,
    blocks_needed,
    is_equal,
    ratio_interval,
    ratio_of_medians,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two measurements whose blocks were taken in turn.

    Attributes:
        a: what is compared,
        b: and with what.
        ratio: median of A over median of B: below 1, A is faster.
        interval: 95 % interval of the ratio, rounds drawn as a whole; None from fewer than `FEWEST_BLOCKS` rounds.
        rounds: that both have a block in.
        more_rounds: how many more it should take to tell: 0 if the interval excludes 1 or is close around it; None if
            no number that anyone would wait for, or it cannot be said.
    """

    a: Measurement
    b: Measurement
    ratio: float
    interval: tuple[float, float] | None
    rounds: int
    more_rounds: int | None

    @property
    def decided(self) -> bool:
        """Whether the interval excludes 1."""
        return self.interval is not None and not self.interval[0] <= 1 <= self.interval[1]

    @property
    def equal(self) -> bool:
        """Whether the interval leaves no difference of more than `EQUAL_WITHIN`."""
        return is_equal(self.interval)

    def to_json(self) -> dict[str, Any]:
        """Return the figures."""
        return {
            "a": self.a.label,
            "b": self.b.label,
            "ratio": self.ratio,
            "interval": self.interval,
            "rounds": self.rounds,
            "more_rounds": self.more_rounds,
            "decided": self.decided,
            "equal": self.equal,
        }


def compare(a: Measurement, b: Measurement) -> Comparison:
    """Compare two measurements of one run.

    Raises:
        SpecError: one of them has no median, or none that a ratio can be taken of.
    """
    rounds = min(len(a.block_medians_s), len(b.block_medians_s))
    a_medians, b_medians = a.block_medians_s[:rounds], b.block_medians_s[:rounds]
    if min((*a_medians, *b_medians), default=0.0) <= 0:
        raise SpecError(f"nothing to compare: {_name(a)} or {_name(b)} has no latency, or one that no clock gives")
    return Comparison(
        a=a,
        b=b,
        ratio=ratio_of_medians(a_medians, b_medians),
        interval=ratio_interval(a_medians, b_medians),
        rounds=rounds,
        more_rounds=blocks_needed(a_medians, b_medians),
    )


def sentence(comparison: Comparison) -> str:
    """Return what the comparison says."""
    invalid = [_name(one) for one in (comparison.a, comparison.b) if one.verdict is Verdict.INVALID]
    if invalid:
        return f"{_said(comparison)} But INVALID: {' and '.join(invalid)}; do not quote the ratio."
    return _said(comparison)


def _said(comparison: Comparison) -> str:
    a, b = _name(comparison.a), _name(comparison.b)
    ratio, interval = comparison.ratio, comparison.interval
    if interval is None:
        return (
            f"{a} takes {ratio:.3f} times as long as {b}, in {comparison.rounds} rounds; it takes {FEWEST_BLOCKS} to "
            f"say how sure that is (--min-blocks {FEWEST_BLOCKS})."
        )
    said = f"{a} takes {ratio:.3f} times as long as {b} (95 %: {interval[0]:.3f} to {interval[1]:.3f}, "
    said += f"{comparison.rounds} rounds)"
    if comparison.decided:
        change = abs(1 - ratio)
        return f"{said}: it is {'faster' if ratio < 1 else 'slower'}, by {change:.1%}."
    if comparison.equal:
        return f"{said}: no difference of more than {EQUAL_WITHIN:.0%}."
    if comparison.more_rounds is None:
        return f"{said}: undecided; the rounds differ too much, so quieten the device and measure again."
    return f"{said}: undecided; about {comparison.more_rounds} more rounds should tell (--min-blocks)."


def _name(measurement: Measurement) -> str:
    return label_of(measurement.file, measurement.config)
