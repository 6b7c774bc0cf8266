"""What measurements are worth, by the table of rules."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from mnet_deploy.measurement import predicates
from mnet_deploy.measurement.measurement import Measurement, Reason, Verdict
from mnet_deploy.measurement.rules import RULES, SLOWER_WITH_THREADS, Rule

SEVERITY = (Verdict.VALID, Verdict.SUSPECT, Verdict.INVALID)


def worst(reasons: Iterable[Reason]) -> Verdict:
    """Return the verdict of several reasons; VALID without any."""
    return max((reason.verdict for reason in reasons), key=SEVERITY.index, default=Verdict.VALID)


def judge(measurement: Measurement, rules: Iterable[Rule] = RULES) -> Measurement:
    """Return the measurement with its verdict and all reasons; what it had of them before is replaced."""
    reasons = tuple(_reasons(measurement, rules))
    return replace(measurement, verdict=worst(reasons), reasons=reasons)


def _reasons(measurement: Measurement, rules: Iterable[Rule]) -> Iterator[Reason]:
    for rule in rules:
        text = rule.check(measurement)
        if text is not None:
            yield Reason(rule=rule.name, verdict=rule.verdict, text=text)
            if rule.ends:
                return


def judge_run(measurements: Sequence[Measurement], rules: Iterable[Rule] = RULES) -> tuple[Measurement, ...]:
    """Judge all measurements of a run, each by itself and the one with several threads by the one with one."""
    rules = tuple(rules)
    alone = {_but_threads(one): one for one in measurements if one.config.threads == 1}
    return tuple(_beside(judge(one, rules), alone.get(_but_threads(one))) for one in measurements)


def _but_threads(measurement: Measurement) -> tuple[Any, ...]:
    config = measurement.config
    return (measurement.file.sha256, measurement.device.address, config.engine, config.delegate, config.session_options)


def _beside(measurement: Measurement, one: Measurement | None) -> Measurement:
    """Add the reason why several threads slower than one are doubtful; where the intervals overlap, they are not."""
    threads = measurement.config.threads
    if one is None or threads == 1 or one.median_s is None or measurement.median_s is None:
        return measurement
    fastest_s = measurement.interval_s[0] if measurement.interval_s else measurement.median_s
    slowest_s = one.interval_s[1] if one.interval_s else one.median_s
    seen = fastest_s > slowest_s and predicates.slower_with_threads(one.median_s, measurement.median_s, threads)
    if not seen:
        return measurement
    text = f"The file took {seen}; use one thread, or look for what keeps the other cores busy."
    reasons = (*measurement.reasons, Reason(rule=SLOWER_WITH_THREADS, verdict=Verdict.SUSPECT, text=text))
    return replace(measurement, verdict=worst(reasons), reasons=reasons)
