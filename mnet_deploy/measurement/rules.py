"""The table of what makes a measurement doubtful or worthless.

INVALID is what changes the number by more than its interval says and by an unknown amount, or puts it under a wrong
name. SUSPECT is what may have changed it, or what a reader has to know.
"""

from collections.abc import Callable
from dataclasses import dataclass

from mnet_deploy.measurement import android_rules as android
from mnet_deploy.measurement import clock_rules as clock
from mnet_deploy.measurement import device_rules as device
from mnet_deploy.measurement import sample_rules as samples
from mnet_deploy.measurement import setup_rules as setup
from mnet_deploy.measurement.measurement import Measurement, Verdict


@dataclass(frozen=True, slots=True)
class Rule:
    """One question to a measurement.

    Attributes:
        name: by which reasons name it.
        verdict: what it makes of a measurement.
        check: returns what was seen and what to do, a sentence; None if there is nothing to say.
        ends: whether nothing else is asked of a measurement that it speaks about: the others compute with latencies.
    """

    name: str
    verdict: Verdict
    check: Callable[[Measurement], str | None]
    ends: bool = False


SUSPECT, INVALID = Verdict.SUSPECT, Verdict.INVALID

RULES: tuple[Rule, ...] = (
    Rule("no_result", INVALID, samples.no_result, ends=True),
    Rule("impossible_latency", INVALID, samples.impossible_latency, ends=True),
    Rule("other_engine", INVALID, setup.other_engine),
    Rule("delegate_unasked", INVALID, setup.delegate_unasked),
    Rule("under_voltage", INVALID, device.throttle_rule(0)),
    Rule("clock_capped", INVALID, device.throttle_rule(1)),
    Rule("throttled", INVALID, device.throttle_rule(2)),
    Rule("soft_limit", SUSPECT, device.throttle_rule(3)),
    Rule("throttled_since_boot", SUSPECT, device.throttled_since_boot),
    Rule("throttling_unknown", SUSPECT, device.throttling_unknown),
    Rule("thermal_light", SUSPECT, android.thermal_light),
    Rule("thermal_throttled", INVALID, android.thermal_throttled),
    Rule("started_warm", SUSPECT, device.started_warm),
    Rule("hot", SUSPECT, device.hot),
    Rule("governor_changed", INVALID, clock.governor_changed),
    Rule("not_pinned", SUSPECT, clock.not_pinned),
    Rule("powersave", SUSPECT, clock.powersave),
    Rule("clock_below_max", SUSPECT, clock.clock_below_max),
    Rule("clock_limited", SUSPECT, clock.clock_limited),
    Rule("clock_drift", SUSPECT, clock.clock_drift),
    Rule("battery_low", SUSPECT, android.battery_low),
    Rule("power_saving", SUSPECT, android.power_saving),
    Rule("screen_off", SUSPECT, android.screen_off),
    Rule("other_load", SUSPECT, device.other_load),
    Rule("memory_short", SUSPECT, device.memory_short),
    Rule("delegate_fallback", SUSPECT, setup.delegate_fallback),
    Rule("delegate_unknown", SUSPECT, setup.delegate_unknown),
    Rule("mixed_cores", SUSPECT, android.mixed_cores),
    Rule("glibc_on_android", SUSPECT, android.glibc_on_android),
    Rule("reference_runner", SUSPECT, android.reference_runner),
    Rule("too_many_threads", SUSPECT, setup.too_many_threads),
    Rule("other_target", SUSPECT, setup.other_target),
    Rule("weaker_protocol", SUSPECT, setup.weaker_protocol),
    Rule("summary_only", SUSPECT, samples.summary_only),
    Rule("cut_off", INVALID, samples.cut_off),
    Rule("few_blocks", SUSPECT, samples.few_blocks),
    Rule("wide_interval", SUSPECT, samples.wide_interval),
    Rule("short_window", SUSPECT, samples.short_window),
    Rule("few_samples", SUSPECT, samples.few_samples),
    Rule("trend", SUSPECT, samples.trend),
    Rule("blocks_disagree", SUSPECT, samples.blocks_disagree),
    Rule("unsettled_warmup", SUSPECT, samples.unsettled_warmup),
    Rule("slowing_blocks", SUSPECT, samples.slowing_blocks),
    Rule("scattered", SUSPECT, samples.scattered),
    Rule("mean_over_median", SUSPECT, samples.mean_over_median),
    Rule("interrupted", SUSPECT, samples.interrupted),
    Rule("crowded_out", SUSPECT, samples.crowded_out),
    Rule("threads_unused", SUSPECT, samples.threads_unused),
    Rule("threads_unasked", SUSPECT, samples.threads_unasked),
    Rule("coarse_timer", SUSPECT, samples.coarse_timer),
)

SLOWER_WITH_THREADS = "slower_with_threads"  # about two measurements of a run: see `verdict.judge_run`


def rule(name: str) -> Rule:
    """Return the rule of this name.

    Raises:
        KeyError: there is none.
    """
    return {rule.name: rule for rule in RULES}[name]
