"""Which measurements of two runs belong together, and how they compare."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mnet_deploy.errors import SpecError
from mnet_deploy.measurement.comparable import require_comparable
from mnet_deploy.measurement.measurement import Measurement, Verdict, label_of
from mnet_deploy.measurement.ratios import FEWEST_BLOCKS
from mnet_deploy.results.ratio import Ratio, independent_ratio
from mnet_deploy.units import format_seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One measurement of the new run beside the same one of the old run.

    Attributes:
        old: its verdict is not INVALID.
        new: as comparable as `require_comparable` demands.
        ratio: median of the new one over that of the old one: above 1, the new one is slower.
    """

    old: Measurement
    new: Measurement
    ratio: Ratio

    def to_json(self) -> dict[str, Any]:
        """Return the figures."""
        return {
            **self.new.label,
            "emulated": self.new.device.emulated,
            "old_sha256": self.old.file.sha256,
            "new_sha256": self.new.file.sha256,
            "old_median_s": self.old.median_s,
            "new_median_s": self.new.median_s,
            "old_verdict": str(self.old.verdict),
            "new_verdict": str(self.new.verdict),
            "ratio": self.ratio.value,
            "interval": None if self.ratio.low is None else [self.ratio.low, self.ratio.high],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparisons:
    """Two runs beside each other.

    Attributes:
        compared: what is in both, in the order of the new run.
        refused: what is in both and cannot be compared, a sentence each that names what differs.
        only_old: what only the old run has.
        only_new: what only the new run has.
    """

    compared: tuple[Compared, ...]
    refused: tuple[str, ...]
    only_old: tuple[Measurement, ...]
    only_new: tuple[Measurement, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the figures, and what could not be compared."""
        return {
            "compared": [compared.to_json() for compared in self.compared],
            "refused": list(self.refused),
            "only_old": [measurement.label for measurement in self.only_old],
            "only_new": [measurement.label for measurement in self.only_new],
        }


def compare_runs(old: Sequence[Measurement], new: Sequence[Measurement]) -> Comparisons:
    """Compare each measurement of a run with the one of another run that has the same file name and configuration.

    Where the runs have none in common, each is held against the one that is most like it, so that a refusal says what
    differs.
    """
    left, compared, refused, only_new = list(old), [], [], []
    in_common = any(_same(a, b) for a in old for b in new)
    for measurement in new:
        partner = _partner(measurement, left, exact=in_common)
        if partner is None:
            only_new.append(measurement)
            continue
        left.remove(partner)
        try:
            compared.append(compare_pair(partner, measurement))
        except SpecError as error:
            refused.append(f"{label_text(measurement)}: {error}")
    return Comparisons(compared=tuple(compared), refused=tuple(refused), only_old=tuple(left), only_new=tuple(only_new))


def _same(a: Measurement, b: Measurement) -> bool:
    return (a.file.file, a.config) == (b.file.file, b.config)


def _partner(measurement: Measurement, others: Sequence[Measurement], *, exact: bool) -> Measurement | None:
    """Return the most alike of the others: files of one name may be several."""
    candidates = [other for other in others if _same(measurement, other)] if exact else others
    return max(candidates, key=lambda other: _likeness(measurement, other), default=None)


def _likeness(a: Measurement, b: Measurement) -> tuple[int, ...]:
    pairs = ((a.file.sha256, b.file.sha256), (a.file.file, b.file.file), (a.file.model, b.file.model))
    return (*(one == other for one, other in pairs), sum(b.label[name] == value for name, value in a.label.items()))


def compare_pair(old: Measurement, new: Measurement) -> Compared:
    """Compare two measurements of separate runs.

    Raises:
        SpecError: they were not made under the same conditions, or one of them is worth nothing.
    """
    require_comparable(old, new)
    for measurement, which in ((old, "older"), (new, "newer")):
        if measurement.verdict is Verdict.INVALID:
            reasons = " ".join(reason.text for reason in measurement.reasons)
            raise SpecError(f"the {which} one is INVALID: {reasons}")
        if not measurement.block_medians_s or min(measurement.block_medians_s) <= 0:
            raise SpecError(f"the {which} one has no latency. Measure again")
    return Compared(old=old, new=new, ratio=independent_ratio(new.block_medians_s, old.block_medians_s))


def label_text(measurement: Measurement) -> str:
    """Return what was measured with what, for the beginning of a sentence."""
    said = label_of(measurement.file, measurement.config)
    return f"{said}, emulated" if measurement.device.emulated else said


def change_text(compared: Compared) -> str:
    """Return what was measured and how its time compares, with the interval: the beginning of a sentence."""
    ratio, old, new = compared.ratio, compared.old, compared.new
    renamed = f" ({old.file.file})" if old.file.file != new.file.file else ""
    said = f"{label_text(new)}: {_time(new)} after {_time(old)}{renamed}, {ratio.value:.3f} times as long"
    if ratio.low is None or ratio.high is None:
        return f"{said} (no interval: it takes {FEWEST_BLOCKS} blocks on both sides)"
    return f"{said} (95 %: {ratio.low:.3f} to {ratio.high:.3f})"


def _time(measurement: Measurement) -> str:
    time = "nothing" if measurement.median_s is None else format_seconds(measurement.median_s)
    return time if measurement.verdict is Verdict.VALID else f"{time} ({measurement.verdict})"
