"""Whether a run is slower than one that was kept as the baseline: for continuous integration."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any

from mnet_deploy.measurement.measurement import Measurement
from mnet_deploy.measurement.ratios import EQUAL_WITHIN, FEWEST_BLOCKS, is_equal
from mnet_deploy.results.pairs import Compared, change_text, compare_runs, label_text
from mnet_deploy.results.ratio import more_blocks
from mnet_deploy.results.run_file import read_run


class BaselineStatus(IntEnum):
    """The exit status that a comparison asks for."""

    NOT_SLOWER = 0
    SLOWER = 1
    NOT_COMPARABLE = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class BaselineResult:
    """What a comparison with a baseline says.

    Attributes:
        status: the worst of the measurements: SLOWER counts more than NOT_COMPARABLE, because it is proven.
        sentences: one for each measurement of the run.
        compared: the measurements that could be compared.
        max_slowdown: that is allowed, as a fraction.
    """

    status: BaselineStatus
    sentences: tuple[str, ...]
    compared: tuple[Compared, ...]
    max_slowdown: float

    def to_json(self) -> dict[str, Any]:
        """Return the figures."""
        return {
            "status": self.status.name.lower(),
            "max_slowdown": self.max_slowdown,
            "sentences": list(self.sentences),
            "compared": [compared.to_json() for compared in self.compared],
        }


def compare_to_baseline(measurements: Sequence[Measurement], baseline: Path, max_slowdown: float) -> BaselineResult:
    """Compare each measurement of a run with the one of a saved run that has the same file name and configuration.

    Args:
        measurements: of the run.
        baseline: the summary of another run; its raw samples are not needed.
        max_slowdown: what is allowed, as a fraction: 0.05 for 5 %.

    Raises:
        ResultFormatError: the baseline is no saved run.
    """
    found = compare_runs(read_run(baseline, raw=False).measurements, measurements)
    limit = 1 + max_slowdown
    slower = any(one.ratio.low is not None and one.ratio.low > limit for one in found.compared)
    usable = [one for one in found.compared if one.ratio.low is not None]
    complete = bool(measurements) and len(usable) == len(measurements)
    status = BaselineStatus.NOT_SLOWER if complete else BaselineStatus.NOT_COMPARABLE
    missing = (
        f"{label_text(one)}: {baseline.name} does not have it, so that there is nothing to compare it with"
        for one in found.only_new
    )
    return BaselineResult(
        status=BaselineStatus.SLOWER if slower else status,
        sentences=(*(_sentence(one, limit) for one in found.compared), *found.refused, *missing),
        compared=found.compared,
        max_slowdown=max_slowdown,
    )


def _sentence(one: Compared, limit: float) -> str:
    said, allowed = change_text(one), f"the {100 * (limit - 1):.3g} % that are allowed"
    if one.old.file.sha256 != one.new.file.sha256:
        said += " (the file is another one than before)"
    low, high = one.ratio.low, one.ratio.high
    if low is None or high is None:
        return f"{said}. Measure with {FEWEST_BLOCKS} blocks or more"
    if low > limit:
        return f"{said}: slower by more than {allowed}"
    if is_equal((low, high)) and high <= limit:
        return f"{said}: no difference of more than {EQUAL_WITHIN:.0%}"
    if high < 1:
        return f"{said}: faster"
    if high <= limit:
        return f"{said}: not slower by more than {allowed}"
    return f"{said}: no proof that it is slower by more than {allowed}; {_more(one, limit)}"


def _more(one: Compared, limit: float) -> str:
    count = more_blocks(one.new.block_medians_s, one.old.block_medians_s, limit)
    if count is None:
        return "more blocks of this run alone would not tell"
    return f"about {count} more blocks should tell"
