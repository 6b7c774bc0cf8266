"""Each rule of the verdict, on a recorded session in which one condition alone is another one.

`device_tests/record_transcripts.py` recorded the sessions with the stand-in Raspberry Pi.
"""

import itertools
import json
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from transcript_edits import (
    agent,
    also_says,
    blocks,
    busy,
    conditions,
    degrees,
    keeper,
    option,
    repeated,
    says,
    scaled,
    throttled,
)

from mnet_deploy.errors import LinkLost
from mnet_deploy.measurement.device_info import AGENT_RUNNER
from mnet_deploy.measurement.measurement import MeasuredFile, Verdict
from mnet_deploy.measurement.rules import RULES, SLOWER_WITH_THREADS, rule
from mnet_deploy.measurement.run_config import Protocol, RunConfig
from mnet_deploy.measurement.verdict import judge, judge_run
from mnet_deploy.runners.device_programs import python_programs
from mnet_deploy.runners.device_session import DeviceSession, SessionOptions
from mnet_deploy.runners.measure import MeasuringRun
from mnet_deploy.runners.timed_block import Candidate
from mnet_deploy.runners.transports.fake_transport import FakeTransport
from mnet_deploy.runners.transports.transcript import read_transcript

TRANSCRIPTS = Path(__file__).parent / "transcripts"
ROUNDS = sum(
    record["call"] == "start" and "time" in record["argv"] for record in read_transcript(TRANSCRIPTS / "bench.jsonl")[1]
)
RECORDED = Protocol(min_blocks=ROUNDS - 1)  # the intervals of two rounds in a row have to be narrow enough
UNDER_VOLTAGE, CAPPED, THROTTLED, SOFT_LIMIT = (1 << bit for bit in range(4))
SINCE_BOOT = 16
# Only tools that print summaries alone can break the one; without any sample, what the agent says is refused. The agent
# brings no C library of its own.
NOT_IN_A_TRANSCRIPT = {"summary_only", "no_result", "glibc_on_android"}


@dataclass
class Session:
    """A recorded session, and what was asked for in it."""

    records: list[dict[str, Any]]
    protocol: Protocol = RECORDED
    config: dict[str, Any] = field(default_factory=dict)
    tune: str | None = None
    threads: tuple[int, ...] = (1,)
    time_is_up_after: int | None = None  # rounds

    def measured(self, tmp_path):
        """Return what the toolkit makes of it, judged by all rules."""
        name = next(record["local"] for record in self.records if record.get("local", "").endswith(".tflite"))
        path = tmp_path / name
        path.write_bytes(b"what is in it does not matter to a transcript")
        sha256 = next(record["sha256"] for record in self.records if record.get("local") == name)
        file = MeasuredFile(file=name, sha256=sha256, size_bytes=path.stat().st_size, tune=self.tune)
        candidates = [
            Candidate(path=path, file=file, config=RunConfig(**{"engine": "litert", "threads": count, **self.config}))
            for count in self.threads
        ]
        transport = FakeTransport(read_transcript(TRANSCRIPTS / "bench.jsonl")[0], self.records)
        options = SessionOptions(pin="performance" if self.protocol.pin else None)
        session = DeviceSession(transport, programs=python_programs(keeper(self.records)["argv"][0]), options=options)
        run = MeasuringRun(session, candidates, self.protocol, pause=lambda seconds: None, clock=self._clock())
        try:
            with session:
                run.measure()
        except LinkLost:
            return run.measurements()
        assert transport.unused == []
        return run.measurements()

    def _clock(self):
        if self.time_is_up_after is None:
            return lambda: 0.0
        ticks = itertools.count()  # three until the first round, then one for each decision and one for each block
        until = 2 + 2 * self.time_is_up_after
        return lambda: self.protocol.time_limit_s if next(ticks) > until else 0.0


def recorded(name):
    """Return the session of a transcript, from where the device is taken on."""
    records = read_transcript(TRANSCRIPTS / f"{name}.jsonl")[1]
    begin = records.index(keeper(records))
    return [deepcopy(dict(record)) for record in records[begin:]]


def valid():
    return Session(recorded("bench"))


def after_block(number, change):
    """Return the edit of the look after a block."""

    def edit(session):
        change(conditions(session.records)[1 + number])

    return edit


def before(change):
    def edit(session):
        change(conditions(session.records)[0])

    return edit


def after(change):
    def edit(session):
        change(conditions(session.records)[-1])

    return edit


def always(change):
    def edit(session):
        for record in conditions(session.records):
            change(record)

    return edit


def every_block(change):
    def edit(session):
        for record in blocks(session.records):
            change(record)

    return edit


def asked(name, text, **config):
    """Return the edit of an option that the agent was given."""

    def edit(session):
        session.config |= config
        for record in blocks(session.records):
            option(record, name, text)

    return edit


def with_threads(count, cores_used):
    def edit(session):
        session.threads = (count,)
        for record in blocks(session.records):
            option(record, "--threads", str(count))
            agent(record, "start", threads=count)
            agent(record, "usage", cpu_s=lambda value: value * cores_used)

    return edit


def clocks(*megahertz):
    return lambda record: says(record, clock=[str(value * 1000) for value in megahertz])


def at_full_clock(session):
    always(lambda record: (says(record, governor="performance"), clocks(1800, 1800, 1800, 1800)(record)))(session)
    after_block(4, clocks(1800, 1500, 1800, 1800))(session)


def slow_block_at_low_clock(session):
    scaled(session.records, [1.3 if index == 3 else 1 for index in range(ROUNDS)])
    always(clocks(1800, 1800, 1800, 1800))(session)
    after_block(3, clocks(600, 600, 600, 600))(session)


def two_speeds(session):
    session.records = repeated(session.records, 3)
    session.protocol = replace(RECORDED, min_blocks=3 * ROUNDS - 1)
    scaled(session.records, list(itertools.islice(itertools.cycle([1.08, 1, 1.16, 1.08, 1.08, 1.08]), 3 * ROUNDS)))


def a_latency_of_zero(session):
    agent(blocks(session.records)[2], "samples", latency_s=lambda values: [*values[:-1], 0.0])


def pinned_in_vain(session):
    session.protocol = replace(RECORDED, pin=True)
    option(keeper(session.records), "--pin", "performance")


def weaker(session):
    session.protocol = replace(RECORDED, max_interval=0.03)


def too_warm(session):
    session.protocol = replace(RECORDED, cool_down_s=0.0)
    degrees(conditions(session.records)[0], 66.0)


def lost_at_the_end(session):
    """Lose the link when everything is measured but the last look, which would have shown throttling."""
    last = conditions(session.records)[-1]
    last |= {"ending": "link_lost", "message": "the connection was closed"}


def time_is_up(session):
    session.protocol = replace(RECORDED, min_blocks=ROUNDS)
    last = blocks(session.records)[-1]
    index = session.records.index(last)
    del session.records[index : index + 2]
    session.time_is_up_after = ROUNDS - 1


def uncertain(session):
    session.protocol = replace(RECORDED, max_blocks=ROUNDS)
    scaled(session.records, list(itertools.islice(itertools.cycle([1, 1.045]), ROUNDS)))


def slow_start(values):
    return [value * (1.2 if index < len(values) // 10 else 1) for index, value in enumerate(values)]


def slow_end(values):
    return [value * (1.2 if index >= 0.4 * len(values) else 1) for index, value in enumerate(values)]


def two_in_three_slow(values):
    return [value * (1.4 if index % 3 else 1) for index, value in enumerate(values)]


def one_in_ten_long(values):
    return [value * (10 if index % 10 == 5 else 1) for index, value in enumerate(values)]


def answers(change):
    """Return the edit of every latency that the agent told."""
    return every_block(lambda record: agent(record, "samples", latency_s=change))


def android(**values):
    """Return the edit of a look at a device that also tells what Android's services say."""
    return lambda record: also_says(record, **values)


def two_kinds_of_cores(session):
    device = next(record for record in session.records if record.get("argv", [])[:3] == ["sh", "-s", "device"])
    says(device, core=["0 1500000", "1 1800000", "2 1500000", "3 1800000"])


def not_allowed(record):
    """Answer as the firmware does to a user who may not ask it."""
    says(record, vcgencmd_throttled="VCHI initialization failed", firmware_throttled="0")


def held_back(record):
    """Let a driver hold the clock down, as one that has to cool the device does."""
    lines = [line for line in record["stdout"].splitlines() if not line.startswith("clock_limit=")]
    record["stdout"] = "\n".join([*["clock_limit=600000"] * 4, *lines, ""])


def ticking(session):
    """Let the clock count in fiftieths of what an inference takes."""
    first = next(json.loads(line) for line in blocks(session.records)[0]["lines"] if '"samples"' in line)
    tick = median(first["latency_s"]) / 50
    for record in blocks(session.records):
        agent(record, "samples", latency_s=lambda values: [round(value / tick) * tick for value in values])


def for_another_target(session):
    session.tune = "x86"


# Each changes one condition of the recorded session, and no other.
CASES = {
    "impossible_latency": a_latency_of_zero,
    "other_engine": every_block(lambda record: agent(record, "start", threads=2)),
    "delegate_unasked": asked("--delegate", "none", delegate="none"),
    "under_voltage": after_block(3, lambda record: throttled(record, UNDER_VOLTAGE)),
    "clock_capped": after(lambda record: throttled(record, CAPPED)),
    "throttled": after(lambda record: throttled(record, THROTTLED << SINCE_BOOT)),
    "soft_limit": before(lambda record: throttled(record, SOFT_LIMIT)),
    "throttled_since_boot": before(lambda record: throttled(record, UNDER_VOLTAGE << SINCE_BOOT)),
    "throttling_unknown": always(not_allowed),
    "thermal_light": after_block(3, android(thermal_status=1)),
    "thermal_throttled": after_block(3, android(thermal_status=2)),
    "started_warm": too_warm,
    "hot": after_block(5, lambda record: degrees(record, 80.2)),
    "governor_changed": after(lambda record: says(record, governor="schedutil")),
    "not_pinned": pinned_in_vain,
    "powersave": always(lambda record: says(record, governor="powersave")),
    "clock_below_max": at_full_clock,
    "clock_limited": after_block(3, held_back),
    "clock_drift": slow_block_at_low_clock,
    "battery_low": after(android(battery_level=15, battery_scale=100)),
    "power_saving": before(android(low_power=1)),
    "screen_off": after_block(2, android(wakefulness="Asleep")),
    "other_load": before(lambda record: busy(record, 0.8)),
    "memory_short": before(lambda record: says(record, available_kib="50000")),
    "delegate_fallback": every_block(lambda record: agent(record, "start", delegate="none", delegated_nodes=0)),
    "delegate_unknown": every_block(
        lambda record: agent(record, "start", delegate=None, delegate_evidence=None, nodes=None, delegated_nodes=None)
    ),
    "mixed_cores": two_kinds_of_cores,
    "reference_runner": every_block(lambda record: agent(record, "start", runner="a reference runner")),
    "too_many_threads": with_threads(5, 3.8),
    "other_target": for_another_target,
    "weaker_protocol": weaker,
    "cut_off": lost_at_the_end,
    "few_blocks": time_is_up,
    "wide_interval": uncertain,
    "short_window": lambda session: agent(blocks(session.records)[2], "usage", wall_s=1.9),
    "few_samples": asked("--min-count", "100000"),
    "trend": lambda session: scaled(session.records, [1 + 0.005 * index for index in range(ROUNDS)]),
    "blocks_disagree": two_speeds,
    "unsettled_warmup": answers(slow_start),
    "slowing_blocks": answers(slow_end),
    "scattered": answers(two_in_three_slow),
    "mean_over_median": answers(one_in_ten_long),
    "interrupted": lambda session: agent(blocks(session.records)[6], "usage", wall_s=lambda value: value * 1.08),
    "crowded_out": every_block(lambda record: agent(record, "usage", cpu_s=lambda value: value * 0.85)),
    "threads_unused": with_threads(2, 1.0),
    "threads_unasked": every_block(lambda record: agent(record, "usage", cpu_s=lambda value: value * 3.8)),
    "coarse_timer": ticking,
}


def changed(name):
    session = valid()
    CASES[name](session)
    if name == "few_samples":
        session.protocol = replace(RECORDED, min_count=100000)
    return session


def reasons(measurement):
    return [reason.rule for reason in measurement.reasons]


def test_the_recorded_session_is_valid_and_labelled_emulated(tmp_path):
    (measurement,) = valid().measured(tmp_path)
    assert (measurement.verdict, reasons(measurement)) == (Verdict.VALID, [])
    assert measurement.device.emulated == "qemu-user"
    assert measurement.device.model.startswith("Raspberry Pi 4")
    assert len(measurement.blocks) == ROUNDS
    assert (measurement.engine.name, measurement.engine.delegate) == ("ai-edge-litert", "xnnpack")
    assert measurement.engine.runner == AGENT_RUNNER


def test_there_is_a_case_for_every_rule():
    assert set(CASES) == {rule.name for rule in RULES} - NOT_IN_A_TRANSCRIPT


@pytest.mark.parametrize("name", CASES)
def test_a_condition_gives_its_reason_alone(name, tmp_path):
    (measurement,) = changed(name).measured(tmp_path)
    assert reasons(measurement) == [name]
    assert measurement.verdict is rule(name).verdict


@pytest.mark.parametrize("name", CASES)
def test_without_its_rule_a_condition_passes_unseen(name, tmp_path):
    (measurement,) = changed(name).measured(tmp_path)
    left = [rule for rule in RULES if rule.name != name]
    assert reasons(judge(measurement, left)) == []


def test_two_threads_slower_than_one(tmp_path):
    session = Session(recorded("bench_threads"), threads=(1, 2))
    one, two = session.measured(tmp_path)
    assert (reasons(one), reasons(two)) == ([], [])
    slower = [
        4.0 if record["argv"][record["argv"].index("--threads") + 1] == "2" else 1.0
        for record in blocks(session.records)
    ]
    scaled(session.records, slower)
    one, two = session.measured(tmp_path)
    assert (reasons(one), reasons(two)) == ([], [SLOWER_WITH_THREADS])
    assert [reasons(each) for each in judge_run([two])] == [[]]
