"""Each rule speaks where its condition alone is wrong, and nowhere else."""

import re
from dataclasses import fields, replace
from statistics import median

import pytest

from mnet_deploy.cli import main
from mnet_deploy.measurement.device_info import (
    AGENT_RUNNER,
    KNOWN_RUNNERS,
    NATIVE_RUNNER,
    OFFICIAL_TOOL,
    AndroidInfo,
    Conditions,
    Core,
)
from mnet_deploy.measurement.device_rules import not_looked_at
from mnet_deploy.measurement.measurement import Verdict
from mnet_deploy.measurement.rules import RULES, SLOWER_WITH_THREADS, rule
from mnet_deploy.measurement.run_config import Protocol
from mnet_deploy.measurement.statistics import median_interval
from mnet_deploy.measurement.verdict import judge, judge_run

OPTION = re.compile(r"--[a-z][a-z-]*")
UNDER_VOLTAGE, CAPPED, THROTTLED, SOFT_LIMIT = (1 << bit for bit in range(4))
SINCE_BOOT = 16
TWO_AND_TWO = tuple(Core(number=number, max_clock_hz=(1.8e9, 2.4e9)[number // 2]) for number in range(4))
STATE = tuple(field.name for field in fields(Conditions))


def of(measurement, part, **changes):
    return replace(measurement, **{part: replace(getattr(measurement, part), **changes)})


def block(measurement, index, **changes):
    blocks = list(measurement.blocks)
    blocks[index] = replace(blocks[index], **changes)
    return replace(measurement, blocks=tuple(blocks))


def every_block(measurement, change):
    return replace(measurement, blocks=tuple(replace(each, **change(each)) for each in measurement.blocks))


def after_block(measurement, index, **changes):
    return block(measurement, index, after=replace(measurement.blocks[index].after, **changes))


def governor(measurement, name):
    changed = of(of(measurement, "before", governor=name), "after", governor=name)
    return every_block(changed, lambda each: {"after": replace(each.after, governor=name)})


def scaled(measurement, factors):
    """Make each block as many times slower; the interval follows."""
    changed = replace(
        measurement,
        blocks=tuple(
            replace(
                each,
                latency_s=tuple(value * factor for value in each.latency_s),
                median_s=each.median_s * factor,
                wall_s=each.wall_s * factor,
                cpu_s=each.cpu_s * factor,
            )
            for each, factor in zip(measurement.blocks, factors, strict=True)
        ),
    )
    return replace(changed, interval_s=median_interval(changed.block_medians_s))


def slow_block_at_low_clock(measurement):
    slow = scaled(measurement, [1, 1, 1, 1.3, 1, 1, 1, 1])
    return after_block(slow, 3, clocks_hz=(6e8, 6e8, 6e8, 6e8))


def two_speeds(measurement):
    """Eight of 24 blocks are 7 % off, on either side, so that the median itself is certain."""
    return scaled(replace(measurement, blocks=measurement.blocks * 3), [1, 0.93, 1.07, 1, 1, 1] * 4)


def threads(measurement, count, *, cores_used):
    given = of(of(measurement, "config", threads=count), "engine", threads=count)
    return every_block(given, lambda each: {"cpu_s": each.cpu_s * cores_used})


def slow_start(each):
    return {"latency_s": tuple(value * (1.2 if index < 11 else 1) for index, value in enumerate(each.latency_s))}


def ticking(each):
    """What a clock of 1 ms gives: 20 or 21."""
    return {"latency_s": tuple(0.020 + 0.001 * (index % 2) for index in range(len(each.latency_s)))}


def limited(measurement):
    """What a driver that has to cool the device does for a while."""
    return after_block(measurement, 3, limits_hz=(1.8e9, 1.8e9, 6e8, 6e8))


def slow_end(each):
    return {"latency_s": tuple(value * (1.2 if index >= 55 else 1) for index, value in enumerate(each.latency_s))}


def two_in_three_slow(each):
    return {"latency_s": tuple(value * (1.4 if index % 3 else 1) for index, value in enumerate(each.latency_s))}


def one_in_ten_long(each):
    return {"latency_s": tuple(value * (10 if index % 10 == 5 else 1) for index, value in enumerate(each.latency_s))}


def silent(measurement, *names):
    """Let the device say nothing of its state, or only not these."""
    unknown = {name: getattr(type(measurement.before)(), name) for name in names or STATE}
    changed = of(of(measurement, "before", **unknown), "after", **unknown)
    return every_block(changed, lambda each: {"after": replace(each.after, **unknown)})


def no_medians(measurement):
    return every_block(measurement, lambda each: {"median_s": None})


# Each makes one condition of the valid measurement wrong, and no other.
CASES = {
    "no_result": no_medians,
    "impossible_latency": lambda m: block(m, 2, latency_s=(*m.blocks[2].latency_s[:-1], -1e-9)),
    "other_engine": lambda m: of(m, "engine", threads=2),
    "delegate_unasked": lambda m: of(m, "config", delegate="none"),
    "under_voltage": lambda m: after_block(m, 3, throttle_bits=UNDER_VOLTAGE),
    "clock_capped": lambda m: of(m, "after", throttle_bits=CAPPED),
    "throttled": lambda m: of(m, "after", throttle_bits=THROTTLED << SINCE_BOOT),
    "soft_limit": lambda m: of(m, "before", throttle_bits=SOFT_LIMIT),
    "throttled_since_boot": lambda m: of(m, "before", throttle_bits=UNDER_VOLTAGE << SINCE_BOOT),
    "throttling_unknown": lambda m: silent(m, "throttle_bits"),
    "thermal_light": lambda m: after_block(m, 3, thermal_status=1),
    "thermal_throttled": lambda m: of(m, "after", thermal_status=2),
    "started_warm": lambda m: of(m, "before", temperature_c=66.0),
    "hot": lambda m: after_block(m, 5, temperature_c=80.2),
    "governor_changed": lambda m: of(m, "after", governor="schedutil"),
    "not_pinned": lambda m: of(m, "protocol", pin=True),
    "powersave": lambda m: governor(m, "powersave"),
    "clock_below_max": lambda m: after_block(governor(m, "performance"), 4, clocks_hz=(1.8e9, 1.8e9, 1.8e9, 1.5e9)),
    "clock_limited": limited,
    "clock_drift": slow_block_at_low_clock,
    "battery_low": lambda m: of(m, "after", battery_level=0.15),
    "power_saving": lambda m: of(m, "before", power_saving=True),
    "screen_off": lambda m: after_block(m, 3, screen_on=False),
    "other_load": lambda m: of(m, "before", busy_cores=0.8),
    "memory_short": lambda m: of(m, "before", free_memory_bytes=50_000_000),
    "delegate_fallback": lambda m: of(m, "engine", delegate="none", nodes=31, delegated_nodes=0),
    "delegate_unknown": lambda m: of(m, "engine", delegate=None, nodes=None, delegated_nodes=None),
    "mixed_cores": lambda m: of(m, "device", cores=TWO_AND_TWO),
    "glibc_on_android": lambda m: of(of(m, "device", android=AndroidInfo()), "engine", c_library="glibc 2.36"),
    "reference_runner": lambda m: of(m, "engine", runner="a reference runner"),
    "too_many_threads": lambda m: threads(m, 5, cores_used=3.8),
    "other_target": lambda m: of(m, "file", tune="x86"),
    "weaker_protocol": lambda m: of(m, "protocol", min_blocks=3),
    "summary_only": lambda m: every_block(m, lambda each: {"latency_s": None}),
    "cut_off": lambda m: replace(m, stopped="error"),
    "few_blocks": lambda m: of(m, "protocol", min_blocks=9),
    "wide_interval": lambda m: replace(m, interval_s=(0.0195, m.interval_s[1]), stopped="time"),
    "short_window": lambda m: of(m, "protocol", block_s=2.5),
    "few_samples": lambda m: of(m, "protocol", min_count=111),
    "trend": lambda m: scaled(m, [1 + 0.005 * index for index in range(8)]),
    "blocks_disagree": two_speeds,
    "unsettled_warmup": lambda m: every_block(m, slow_start),
    "slowing_blocks": lambda m: every_block(m, slow_end),
    "scattered": lambda m: every_block(m, two_in_three_slow),
    "mean_over_median": lambda m: every_block(m, one_in_ten_long),
    "interrupted": lambda m: block(m, 6, wall_s=m.blocks[6].wall_s * 1.08),
    "crowded_out": lambda m: every_block(m, lambda each: {"cpu_s": each.cpu_s * 0.85}),
    "threads_unused": lambda m: threads(m, 4, cores_used=1.0),
    "threads_unasked": lambda m: every_block(m, lambda each: {"cpu_s": each.cpu_s * 3.8}),
    "coarse_timer": lambda m: every_block(m, ticking),
}


def reasons(measurement):
    return [reason.rule for reason in measurement.reasons]


def test_an_ordinary_pi_is_valid(valid):
    assert (valid.verdict, valid.reasons) == (Verdict.VALID, ())


def test_an_ordinary_laptop_is_valid(valid):
    """Its governor is called powersave, its highest clock is one core's turbo, and it is warm."""
    cores = tuple(Core(number=number, max_clock_hz=4.7e9) for number in range(8))
    laptop = replace(valid.device, address="local:", model="Intel Core i7", machine="x86_64", cores=cores)
    laptop = of(governor(replace(valid, device=laptop), "powersave"), "engine", affinity=tuple(range(8)))
    laptop = every_block(
        laptop,
        lambda each: {
            "after": replace(each.after, clocks_hz=(3.4e9,) * 8, temperature_c=88.0, throttle_bits=None),
        },
    )
    laptop = of(of(laptop, "before", throttle_bits=None, busy_cores=0.35), "after", throttle_bits=None)
    assert judge(laptop).reasons == ()


def test_a_device_that_says_nothing_of_its_state_is_valid(valid):
    machine = of(valid, "device", model="QEMU Virtual Machine")
    assert judge(silent(machine)).reasons == ()
    assert not_looked_at(silent(machine)) == ("temperature", "clocks", "throttling", "load")
    assert not_looked_at(valid) == ()


def test_a_raspberry_pi_has_to_say_whether_it_throttled(valid):
    judged = judge(silent(valid))
    assert reasons(judged) == ["throttling_unknown"]
    assert "sudo usermod -aG video $USER" in judged.reasons[0].text
    assert not_looked_at(judged) == ("temperature", "clocks", "load")


def test_bits_after_the_run_say_what_happened_in_it(valid):
    later = silent(valid, "throttle_bits")
    assert judge(of(later, "after", throttle_bits=0)).reasons == ()


@pytest.mark.parametrize(
    ("limits_hz", "affinity", "expected"),
    [
        ((1.8e9,) * 4, None, []),
        ((6e8,) * 4, None, ["clock_limited"]),
        ((1.8e9, 1.8e9, 6e8, 6e8), (0, 1), []),
        ((1.8e9, 1.8e9, 6e8, 6e8), (2, 3), ["clock_limited"]),
        ((6e8,), None, []),  # of which core is not known
    ],
)
def test_limits_count_for_the_cores_that_were_used(limits_hz, affinity, expected, valid):
    assert reasons(judge(of(of(valid, "before", limits_hz=limits_hz), "engine", affinity=affinity))) == expected


def test_a_clock_that_is_set_by_hand(valid):
    fast = governor(valid, "userspace")
    assert judge(fast).reasons == ()
    slow = every_block(fast, lambda each: {"after": replace(each.after, clocks_hz=(6e8,) * 4)})
    judged = judge(slow)
    assert reasons(judged) == ["clock_limited"]
    assert "userspace held core 0 at 600 MHz of 1800" in judged.reasons[0].text


@pytest.mark.parametrize("latency_s", [0.0, -1.0, float("inf"), float("nan")])
def test_of_latencies_that_no_clock_gives_nothing_else_is_asked(latency_s, valid):
    broken = every_block(valid, lambda each: {"latency_s": (latency_s,) * 110, "median_s": latency_s, "wall_s": 0.0})
    one, four = judge_run([broken, of(of(broken, "config", threads=4), "engine", threads=4)])
    assert reasons(one) == reasons(four) == ["impossible_latency"]
    assert one.verdict is Verdict.INVALID


def test_a_summary_of_zero_is_impossible_too(valid):
    zero = every_block(valid, lambda each: {"latency_s": None, "median_s": 0.0})
    assert reasons(judge(zero)) == ["impossible_latency"]


@pytest.mark.parametrize(("odd", "expected"), [(2, []), (3, ["mean_over_median"])])
def test_a_median_bears_long_inferences_in_few_blocks(odd, expected, valid):
    changed = valid
    for index in range(odd):
        changed = block(changed, index, **one_in_ten_long(valid.blocks[index]))
    assert reasons(judge(changed)) == expected


def test_every_second_inference_twice_as_long_is_not_valid(valid):
    alternating = every_block(
        valid, lambda each: {"latency_s": tuple(v * (1 + i % 2) for i, v in enumerate(each.latency_s))}
    )
    assert "scattered" in reasons(judge(alternating))


@pytest.mark.parametrize("name", CASES)
def test_a_condition_gives_its_reason_alone(name, valid):
    judged = judge(CASES[name](valid))
    assert reasons(judged) == [name]
    assert judged.verdict is judged.reasons[0].verdict is rule(name).verdict


@pytest.mark.parametrize("name", CASES)
def test_a_reason_is_a_sentence_that_says_what_to_do(name, valid):
    text = judge(CASES[name](valid)).reasons[0].text
    assert text[0].isupper()
    assert text.endswith(".")
    assert ";" in text
    assert "\n" not in text


def test_options_that_reasons_name_are_there(valid, capsys):
    for verb in ("bench", "export"):
        with pytest.raises(SystemExit):
            main([verb, "--help"])
    there = set(OPTION.findall(capsys.readouterr().out))
    named = {option for change in CASES.values() for option in OPTION.findall(judge(change(valid)).reasons[0].text)}
    assert "--pin" in named
    assert named <= there


@pytest.mark.parametrize("deleted", RULES, ids=lambda rule: rule.name)
def test_without_a_rule_its_case_and_no_other_passes_unseen(deleted, valid):
    left = [rule for rule in RULES if rule is not deleted]
    unseen = [name for name, change in CASES.items() if reasons(judge(change(valid), left)) != [name]]
    assert unseen == [deleted.name]


def test_names_of_rules_are_unique():
    assert len({rule.name for rule in RULES} | {SLOWER_WITH_THREADS}) == len(RULES) + 1


def test_the_worst_reason_is_the_verdict_and_all_are_named(valid):
    judged = judge(CASES["throttled"](CASES["started_warm"](valid)))
    assert (judged.verdict, reasons(judged)) == (Verdict.INVALID, ["throttled", "started_warm"])


def test_judging_again_replaces_the_reasons(valid):
    judged = judge(CASES["throttled"](valid))
    mended = of(judged, "after", throttle_bits=0)
    assert judge(mended).reasons == ()


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (0, 0x50000, ["under_voltage", "throttled"]),
        (0x50000, 0x50000, ["throttled_since_boot"]),
        (0x50000, 0x50005, ["under_voltage", "throttled"]),
        (0x10000, 0x30000, ["clock_capped", "throttled_since_boot"]),
        (None, 0x50000, []),  # nobody knows when
        (0x50005, None, ["under_voltage", "throttled"]),
        (0xE0000008, 0, ["soft_limit"]),  # bits from 20 on mean nothing
    ],
)
def test_throttle_bits(before, after, expected, valid):
    changed = of(of(valid, "before", throttle_bits=before), "after", throttle_bits=after)
    changed = every_block(changed, lambda each: {"after": replace(each.after, throttle_bits=None)})
    assert reasons(judge(changed)) == expected


def test_a_low_clock_after_a_block_that_was_not_slow_means_nothing(valid):
    """The governor lowers it as soon as nothing runs."""
    assert judge(after_block(valid, 3, clocks_hz=(6e8,) * 4)).reasons == ()


@pytest.mark.parametrize(("share", "expected"), [(0.6, []), (0.4, ["crowded_out"])])
def test_a_median_bears_others_in_one_block(share, expected, valid):
    assert reasons(judge(block(valid, 1, cpu_s=valid.blocks[1].cpu_s * share))) == expected


def test_threads_that_others_kept_from_running_are_not_unused(valid):
    assert reasons(judge(threads(valid, 2, cores_used=0.5))) == ["crowded_out"]


def test_every_core_in_use_bears_less_other_load(valid):
    loaded = of(valid, "before", busy_cores=0.3)
    assert judge(loaded).reasons == ()
    assert reasons(judge(threads(loaded, 4, cores_used=3.7))) == ["other_load"]


@pytest.mark.parametrize(
    ("engine", "expected"),
    [
        ({"delegate": "xnnpack", "nodes": 31, "delegated_nodes": 29}, []),
        ({"delegate": "xnnpack", "nodes": 31, "delegated_nodes": 3}, ["delegate_fallback"]),
        ({"delegate": None, "nodes": None, "delegated_nodes": None}, ["delegate_unknown"]),
        ({"delegate": None, "nodes": 31, "delegated_nodes": 0}, ["delegate_fallback"]),
    ],
)
def test_a_delegate_that_takes_part_of_the_graph(engine, expected, valid):
    assert reasons(judge(of(valid, "engine", **engine))) == expected


def test_a_phone_with_the_official_tool_is_as_good_as_a_summary_can_be(phone):
    assert reasons(phone) == ["summary_only"]


def test_what_was_asked_for_of_the_official_tool_is_what_computed(phone):
    assert reasons(judge(of(phone, "engine", name="ai-edge-litert"))) == ["other_engine", "summary_only"]


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        ((0, 0, 0), []),
        ((1, 0, 0), ["thermal_light"]),
        ((0, 1, 2), ["thermal_throttled"]),
        ((0, 6, 0), ["thermal_throttled"]),
        ((None, None, None), []),
    ],
)
def test_the_worst_thermal_status_counts(statuses, expected, phone):
    before, block_3, after = statuses
    changed = of(of(phone, "before", thermal_status=before), "after", thermal_status=after)
    changed = every_block(changed, lambda each: {"after": replace(each.after, thermal_status=before)})
    assert reasons(judge(after_block(changed, 3, thermal_status=block_3))) == [*expected, "summary_only"]


def test_a_reason_of_heat_says_when_and_how_much(phone):
    text = judge(after_block(phone, 3, thermal_status=3)).reasons[0].text
    assert "after block 6 (thermal status 3, severe)" in text


def test_a_phone_that_says_its_thermal_status_was_looked_at_for_throttling(phone):
    assert not_looked_at(phone) == ("clocks",)


@pytest.mark.parametrize(
    ("affinity", "threads", "expected"),
    [
        (None, 1, ["mixed_cores"]),
        ((0, 1, 2, 3), 1, ["mixed_cores"]),
        ((1, 2), 1, ["mixed_cores"]),
        ((2, 3), 1, []),
        ((0, 1), 1, []),
        ((1, 2), 2, []),  # both of them work
        (None, 4, []),
    ],
)
def test_unequal_cores_are_said_where_the_system_chooses(affinity, threads, expected, valid):
    changed = of(of(valid, "device", cores=TWO_AND_TWO), "engine", affinity=affinity, threads=threads)
    changed = every_block(of(changed, "config", threads=threads), lambda each: {"cpu_s": None})
    assert reasons(judge(changed)) == expected


def test_the_fast_cores_are_named(valid):
    judged = judge(CASES["mixed_cores"](valid))
    assert "(2 of 2400 MHz, 2 of 1800 MHz)" in judged.reasons[0].text
    assert "--affinity 2,3" in judged.reasons[0].text


def test_a_c_library_of_its_own_is_nothing_special_on_linux(valid):
    assert judge(of(valid, "engine", c_library="glibc 2.36")).reasons == ()


@pytest.mark.parametrize("runner", [*KNOWN_RUNNERS, None])
def test_known_runners_give_no_reason(runner, valid):
    assert judge(of(valid, "engine", runner=runner)).reasons == ()


@pytest.mark.parametrize(
    ("asked", "engine", "expected"),
    [
        ("gpu", {"delegate": "gpu"}, []),
        ("gpu", {"delegate": "xnnpack"}, ["delegate_unasked"]),
        ("gpu", {"delegate": "none", "delegated_nodes": 0}, ["delegate_unasked", "delegate_fallback"]),
        ("gpu", {"delegate": "gpu", "delegated_nodes": 3}, ["delegate_fallback"]),
        ("nnapi", {"delegate": None, "nodes": None, "delegated_nodes": None}, ["delegate_unknown"]),
        ("default", {"delegate": None, "nodes": None, "delegated_nodes": None}, ["delegate_unknown"]),
        ("default", {"delegate": "xnnpack", "delegated_nodes": 0}, ["delegate_fallback"]),
    ],
)
def test_a_delegate_that_was_asked_for_is_the_one_that_computed(asked, engine, expected, phone):
    changed = of(of(phone, "config", delegate=asked), "engine", **engine)
    assert reasons(judge(changed)) == [*expected, "summary_only"]


@pytest.mark.parametrize(
    ("runner", "remedy"),
    [(AGENT_RUNNER, "mnet device setup"), (OFFICIAL_TOOL, "--delegate"), (NATIVE_RUNNER, "benchmark_model")],
)
def test_what_to_do_about_unknown_kernels_depends_on_what_timed(runner, remedy, valid):
    unknown = of(valid, "engine", delegate=None, nodes=None, delegated_nodes=None, runner=runner)
    assert remedy in judge(unknown).reasons[0].text


@pytest.mark.parametrize(("factor", "expected"), [(0.0051, []), (0.0049, ["coarse_timer"])])
def test_whole_microseconds_are_too_coarse_for_the_quickest(factor, expected, phone):
    quick = every_block(phone, lambda each: {"median_s": each.median_s * factor})
    quick = replace(quick, interval_s=median_interval(quick.block_medians_s))
    assert reasons(judge(quick)) == ["summary_only", *expected]


def test_averages_alone_are_no_result(phone):
    judged = judge(no_medians(phone))
    assert reasons(judged) == ["no_result"]
    assert "averages" in judged.reasons[0].text


def test_own_kernels_that_were_asked_for_are_no_fallback(valid):
    asked = of(of(valid, "config", delegate="none"), "engine", delegate="none", delegated_nodes=0)
    assert judge(asked).reasons == ()


@pytest.mark.parametrize(
    ("asked", "got", "expected"),
    [((2, 3), (2, 3), []), ((3, 2), (2, 3), []), ((2, 3), (0, 1, 2, 3), ["other_engine"]), (None, (0, 1), [])],
)
def test_cores_are_those_asked_for(asked, got, expected, valid):
    changed = of(of(valid, "config", cpu_affinity=asked), "engine", affinity=got)
    assert reasons(judge(changed)) == expected


def test_a_window_is_the_whole_loop_where_it_is_known(valid):
    """Single latencies leave out the loop around them, so that their sum is a little shorter."""
    sums = [sum(each.latency_s) for each in valid.blocks]
    assert judge(of(valid, "protocol", block_s=min(sums) * 1.0003)).reasons == ()
    unknown = every_block(valid, lambda each: {"wall_s": None})
    assert reasons(judge(of(unknown, "protocol", block_s=min(sums) * 1.0003))) == ["short_window"]


def test_fewer_than_two_blocks_give_no_interval(valid):
    one = replace(valid, blocks=valid.blocks[:1], interval_s=None)
    assert reasons(judge(one)) == ["few_blocks", "wide_interval"]


def test_stricter_protocols_are_no_weaker_ones(valid):
    strict = Protocol(min_blocks=6, block_s=2.0, max_interval=0.01, cool_down_s=600)
    assert judge(replace(valid, protocol=strict)).reasons == ()


def test_an_interval_that_is_not_asked_for_is_not_judged(valid):
    wide = replace(CASES["wide_interval"](valid), protocol=Protocol(max_interval=None))
    assert judge(wide).reasons == ()


def four_threads(valid, factor):
    thrice = every_block(
        valid, lambda each: {"latency_s": each.latency_s * 3, "wall_s": each.wall_s * 3, "cpu_s": each.cpu_s * 3}
    )
    return threads(scaled(thrice, [factor] * len(valid.blocks)), 4, cores_used=3.8)


@pytest.mark.parametrize(("factor", "expected"), [(0.4, []), (1.002, []), (1.6, [SLOWER_WITH_THREADS])])
def test_four_threads_slower_than_one(factor, expected, valid):
    one, four = judge_run([valid, four_threads(valid, factor)])
    assert reasons(one) == []
    assert reasons(four) == expected
    assert four.verdict is (Verdict.SUSPECT if expected else Verdict.VALID)


def test_threads_are_compared_within_one_file_and_engine(valid):
    other = of(four_threads(valid, 1.6), "file", sha256="cd" * 32)
    assert [reasons(each) for each in judge_run([valid, other])] == [[], []]


def test_the_cases_start_from_medians_that_agree(valid):
    assert max(valid.block_medians_s) / min(valid.block_medians_s) < 1.01
    assert valid.median_s == median(valid.block_medians_s)
