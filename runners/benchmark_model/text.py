"""What `benchmark_model` prints, in the grammar of every version since TensorFlow 1.13, as numbers.

TensorFlow: tensorflow/lite/tools/benchmark/benchmark_model.cc and benchmark_tflite_model.cc. LiteRT:
litert/tools/benchmark_litert_model.h, another program of the same name, with the same count lines and a block of its
own. Lines of other programs may stand anywhere between; the order of stdout and stderr is not known.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from mnet_deploy.errors import DeviceError, ResultFormatError
from mnet_deploy.runners.benchmark_model.delegation import (
    Delegate,
    Delegated,
    DelegateFact,
    delegation_by_default,
    read_delegation,
    require_delegation,
)
from mnet_deploy.runners.benchmark_model.latency_summary import LatencySummary, read_summary, same_latency
from mnet_deploy.runners.benchmark_model.log_lines import LONGEST_LOG, LogLine, log_lines
from mnet_deploy.terminal import printable

_US_PER_S = 1e6
_MS_PER_S = 1e3
_BYTES_PER_MB = 1_000_000  # of the size of the model
_BYTES_PER_MIB = 1024 * 1024  # of memory, although the tool says MB
_PRINTED_DIGITS = 1e-5  # what is no whole number is printed with six digits
_ROUNDED_MS = 0.0051  # LiteRT's block has two decimals
_SHOWN = 160  # characters of a line in a message

_N = r"-?[0-9]{1,15}(?:\.[0-9]{1,15})?(?:e[+-][0-9]{2})?"
_RUNNING = re.compile(rf"Running benchmark for at least {_N} iterations and at least {_N} seconds\b.*")
_TIMINGS = re.compile(
    rf"Inference timings in us: Init: (?P<init>{_N}), First inference: (?P<first>{_N}), "
    rf"Warmup \(avg\): (?P<warmup>{_N}), Inference \(avg\): (?P<inference>{_N})"
)
_TIMINGS_1X = re.compile(
    rf"Average inference timings in us: Warmup: (?P<warmup>{_N}), Init: (?P<init>{_N}), "
    rf"(?:Inference|no stats): (?P<inference>{_N})(?:,.*)?"
)
_FOOTPRINT = re.compile(
    r"(?:Memory footprint delta from the start of the tool|Peak memory footprint) \(MB\): "
    rf"init=(?P<init>{_N}) overall=(?P<overall>{_N})"
)
# A line that says one number: what it is of, and what makes it SI.
_SINGLE = (
    ("init_s", re.compile(rf"Initialized session in ({_N})ms\.?"), 1 / _MS_PER_S),
    ("model_size_bytes", re.compile(rf"The input model file size \(MB\): ({_N})"), _BYTES_PER_MB),
    (
        "peak_bytes",
        re.compile(rf"Overall peak memory footprint \(MB\) via periodic monitoring: ({_N})"),
        _BYTES_PER_MIB,
    ),
    ("peak_bytes", re.compile(rf"Peak memory: +({_N}) MB"), _BYTES_PER_MIB),
    ("init_footprint_bytes", re.compile(rf"Init footprint: +({_N}) MB"), _BYTES_PER_MIB),
    ("overall_footprint_bytes", re.compile(rf"Overall footprint: +({_N}) MB"), _BYTES_PER_MIB),
)
_BLOCK = re.compile(rf"(?P<phase>Warmup|Inference) \(avg\): +(?P<mean>{_N}) ms \((?P<count>[0-9]{{1,12}}) runs\)")
_VERSION = re.compile(r"Tensorflow Version : (\S{1,40})")
_RUNNER = re.compile(r"runner: (\S.{0,119})")
UNCONSUMED = "Unconsumed cmdline flags"
_REFUSALS = (
    (UNCONSUMED, "this version of benchmark_model does not know all flags and ran without them"),
    ("Disallowed CPU fallback detected", "the delegate does not take all of the model, as was required"),
    ("Benchmarking failed", "benchmark_model itself says that it failed"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkLog:
    """A whole run of `benchmark_model`; None is what this version does not print.

    Attributes:
        warmup: the inferences before the measured ones; None only where the log has no headings.
        measured: the inferences that count.
        init_s: loading the model and applying delegates.
        first_inference_s: the first one of the warm-up.
        model_size_bytes: size of the file.
        init_footprint_bytes: memory after the start over memory before it; may be below zero.
        overall_footprint_bytes: the same, after the last inference.
        peak_bytes: highest memory seen, where it was asked for.
        delegation: what it says of delegates, in its order.
        runtime_version: of TensorFlow, where a vendor's build says it.
        runner: what another program that prints the same calls itself; None of the tool, which does not name itself.
    """

    measured: LatencySummary
    warmup: LatencySummary | None = None
    init_s: float | None = None
    first_inference_s: float | None = None
    model_size_bytes: float | None = None
    init_footprint_bytes: float | None = None
    overall_footprint_bytes: float | None = None
    peak_bytes: float | None = None
    delegation: tuple[DelegateFact, ...] = ()
    runtime_version: str | None = None
    runner: str | None = None


@dataclass(slots=True)
class _Collected:
    """What was found so far, of all streams."""

    phases: list[list[LatencySummary]] = field(default_factory=list)  # by heading
    loose: list[LatencySummary] = field(default_factory=list)  # count lines without a heading
    facts: dict[str, float] = field(default_factory=dict)
    means_s: dict[str, float] = field(default_factory=dict)  # by phase, of the line of timings
    blocks: list[tuple[str, float, int]] = field(default_factory=list)  # of LiteRT: phase, mean in ms, count
    version: str | None = None
    runner: str | None = None

    def learn(self, name: str, value: float) -> None:
        """Keep what two lines say alike; which of the two was read first makes no difference."""
        known = self.facts.get(name, value)
        self.facts[name] = min(known, value)
        if abs(known - value) > max(abs(known), abs(value)) * _PRINTED_DIGITS:
            raise ResultFormatError(
                f"benchmark_model says one {name} a run. Received: {known:g} and {value:g}; is it the log of several?"
            )


def parse_log(*streams: str) -> BenchmarkLog:
    """Return the numbers of one run.

    Args:
        streams: stdout and stderr in any order, both in one, or what logcat has of the tags tflite and litert.

    Raises:
        DeviceError: the tool says that it failed, or that it ran otherwise than asked.
        ResultFormatError: the measured inferences are missing, or lines do not agree with each other.
    """
    if sum(map(len, streams)) > LONGEST_LOG:
        raise ResultFormatError(f"a log of benchmark_model has at most {LONGEST_LOG} characters")
    collected, facts = _Collected(), list[DelegateFact]()
    everything = [list(log_lines(stream)) for stream in streams]
    for lines in everything:
        _require_success(lines)
    for lines in everything:
        whole = [line for line in lines if line.whole]
        _collect(whole, collected)
        facts += read_delegation(whole)
    warmup, measured = _phases(collected, everything)
    _require_agreement(collected, warmup, measured)
    return BenchmarkLog(
        measured=measured,
        warmup=warmup,
        delegation=tuple(facts),
        runtime_version=collected.version,
        runner=collected.runner,
        init_s=collected.facts.get("init_s"),
        first_inference_s=collected.facts.get("first_inference_s"),
        model_size_bytes=collected.facts.get("model_size_bytes"),
        init_footprint_bytes=collected.facts.get("init_footprint_bytes"),
        overall_footprint_bytes=collected.facts.get("overall_footprint_bytes"),
        peak_bytes=collected.facts.get("peak_bytes"),
    )


def unconsumed_flags(*streams: str) -> str | None:
    """Return the flags that the tool says it does not know, as it joins them: with blanks; None if it knows all."""
    for stream in streams:
        for line in log_lines(stream):
            if line.text.startswith(UNCONSUMED):
                return printable(line.text.removeprefix(UNCONSUMED).removeprefix(":").strip())
    return None


def require_delegated(log: BenchmarkLog, delegate: Delegate, *, least_nodes: int | None = None) -> Delegated:
    """Return what the delegate took over, as the log of the run proves it; see `require_delegation`."""
    return require_delegation(log.delegation, delegate, least_nodes=least_nodes)


def what_computed(
    log: BenchmarkLog, delegate: Delegate, *, least_nodes: int | None = None
) -> tuple[str | None, Delegated]:
    """Return the name of what computed, and the proof; no name, if the choice was the tool's and it is mute.

    Raises:
        DeviceError: a delegate was asked for, and the log does not prove it; see `require_delegation`.
    """
    if delegate is Delegate.DEFAULT:
        return delegation_by_default(log.delegation) or (None, Delegated(nodes=None, total_nodes=None))
    proof = require_delegated(log, delegate, least_nodes=least_nodes)
    if delegate is Delegate.NONE:
        proof = replace(proof, evidence="--use_xnnpack=false, and no delegate in the log")
    return str(delegate), proof


def _require_success(lines: Sequence[LogLine]) -> None:
    for line in lines:
        for mark, meaning in _REFUSALS:
            if mark in line.text:
                raise DeviceError(f"{meaning}. Received: {_shown(line)}")
        if line.level == "FATAL":
            raise DeviceError(f"benchmark_model ended with an error that it calls fatal. Received: {_shown(line)}")


def _collect(lines: Sequence[LogLine], collected: _Collected) -> None:
    open_phase: list[LatencySummary] | None = None
    for line in lines:
        if _RUNNING.fullmatch(line.text):
            open_phase = []
            collected.phases.append(open_phase)
        elif line.text.startswith("count="):
            (collected.loose if open_phase is None else open_phase).append(read_summary(line.text))
            open_phase = None  # a heading belongs to one line
        else:
            _collect_fact(line.text, collected)


def _collect_fact(text: str, collected: _Collected) -> None:
    for pattern, read in _READERS:
        if found := pattern.fullmatch(text):
            read(found, collected)
            return
    for name, pattern, factor in _SINGLE:
        if found := pattern.fullmatch(text):
            collected.learn(name, float(found[1]) * factor)


def _read_timings(found: re.Match[str], collected: _Collected) -> None:
    said = {name: float(value) / _US_PER_S for name, value in found.groupdict().items()}
    collected.learn("init_s", said["init"])
    if "first" in said:
        collected.learn("first_inference_s", said["first"])
    for phase in ("warmup", "inference"):
        if not same_latency(collected.means_s.setdefault(phase, said[phase]), said[phase]):
            raise ResultFormatError("benchmark_model prints one line of timings a run. Received: two that differ")


def _read_footprint(found: re.Match[str], collected: _Collected) -> None:
    for name in ("init", "overall"):
        collected.learn(f"{name}_footprint_bytes", float(found[name]) * _BYTES_PER_MIB)


def _read_block(found: re.Match[str], collected: _Collected) -> None:
    collected.blocks.append((found["phase"].lower(), float(found["mean"]), int(found["count"])))


def _read_version(found: re.Match[str], collected: _Collected) -> None:
    collected.version = printable(found[1])


def _read_runner(found: re.Match[str], collected: _Collected) -> None:
    collected.runner = printable(found[1])


_READERS: tuple[tuple[re.Pattern[str], Callable[[re.Match[str], _Collected], None]], ...] = (
    (_TIMINGS, _read_timings),
    (_TIMINGS_1X, _read_timings),
    (_FOOTPRINT, _read_footprint),
    (_BLOCK, _read_block),
    (_VERSION, _read_version),
    (_RUNNER, _read_runner),
)


def _phases(
    collected: _Collected, everything: Sequence[Sequence[LogLine]]
) -> tuple[LatencySummary | None, LatencySummary]:
    """Return (warm-up, measured inferences)."""
    found = [phase[0] if phase else None for phase in collected.phases]
    if len(found) > 2:
        raise ResultFormatError(
            f"a run of benchmark_model has a warm-up and the measured inferences. Received: {len(found)} headings "
            "'Running benchmark'; give the log of one run (benchmark_model_performance_options does several)"
        )
    if not found:
        return None, _loose(collected, everything)
    if collected.loose or len(found) < 2 or found[0] is None or found[1] is None:
        raise _no_measurement(everything)
    return found[0], found[1]


def _loose(collected: _Collected, everything: Sequence[Sequence[LogLine]]) -> LatencySummary:
    """Return the measured inferences of a log without headings: those whose average the line of timings has."""
    means_s = collected.means_s
    if means_s and not same_latency(means_s["warmup"], means_s["inference"]):
        ours = [summary for summary in collected.loose if same_latency(summary.mean_s, means_s["inference"])]
        if len(ours) == 1:
            return ours[0]
    raise _no_measurement(everything)


def _no_measurement(everything: Sequence[Sequence[LogLine]]) -> ResultFormatError:
    lines = [line for stream in everything for line in stream if line.text]
    last = next((line for line in reversed(lines) if line.level == "ERROR"), lines[-1] if lines else LogLine(""))
    return ResultFormatError(
        "a log of benchmark_model has two lines 'Running benchmark', each followed by its own 'count=', the second one "
        f"of the measured inferences. Received: a log without, its last line {_shown(last)}; it was cut off, or "
        "the run failed: run it again"
    )


def _require_agreement(collected: _Collected, warmup: LatencySummary | None, measured: LatencySummary) -> None:
    """Compare what is printed twice: a mix of lines of two runs, or of the two phases, is found by it."""
    for phase, summary in (("warmup", warmup), ("inference", measured)):
        if summary is None:
            continue
        mean_s = collected.means_s.get(phase, summary.mean_s)
        blocks = [(mean_ms, count) for name, mean_ms, count in collected.blocks if name == phase]
        if not same_latency(mean_s, summary.mean_s) or any(
            count != summary.count or abs(mean_ms - summary.mean_s * _MS_PER_S) > _ROUNDED_MS + mean_ms * 1e-5
            for mean_ms, count in blocks
        ):
            raise ResultFormatError(
                f"the count line of the {phase} and the summary at the end agree. Received: an average of "
                f"{summary.mean_s:g} s over {summary.count} and another one; is it the log of several runs?"
            )
    first_s = collected.facts.get("first_inference_s")
    warmup_first_s = None if warmup is None else warmup.first_s
    if None not in (first_s, warmup_first_s) and first_s != warmup_first_s:
        raise ResultFormatError(
            f"the first inference is the warm-up's. Received: {first_s} s and {warmup_first_s} s; "
            "is it the log of several runs?"
        )


def _shown(line: LogLine) -> str:
    return repr(printable(line.text[:_SHOWN]))
