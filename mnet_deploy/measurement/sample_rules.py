"""Rules about the samples: enough of them, in windows that are long enough, and do they agree?"""

from collections.abc import Callable, Iterator, Sequence
from statistics import fmean, median

from mnet_deploy.measurement import predicates
from mnet_deploy.measurement.measurement import Block, Measurement
from mnet_deploy.measurement.run_config import BENCHMARK_MODEL
from mnet_deploy.measurement.statistics import interval_width, is_settled
from mnet_deploy.units import format_seconds

# Blocks that are this far from the median of all are of another state of the device; one in four may be.
APART = 0.05
APART_SHARE = 0.25

# The first tenth of a block (3 inferences at least) against its second half.
UNSETTLED = 1.05
LONG_BLOCK = 10  # fewer inferences say nothing of how they are distributed

# Of the timed loop, what is not inference is under 1 %. More: the process did not run for a while.
OUTSIDE_SHARE = 0.05

# One thread always works while an inference runs: with less processor time than this share, others had the core. A
# median bears that in one block, unless hardly anything of the block is left.
OWN_SHARE = 0.9
OWN_SHARE_OF_EACH = 0.5
# Several threads that take no more time than this many took turns, or were never started.
ONE_THREAD_CORES = 1.2
# benchmark_model takes and prints its times as whole microseconds (tensorflow/lite/tools/benchmark/benchmark_model.cc).
TOOL_STEP_S = 1e-6
# What engines do besides (a pool that spins before it sleeps) stays below half a core.
MORE_THREADS_CORES = 0.5


def no_result(measurement: Measurement) -> str | None:
    if measurement.median_s is not None:
        return None
    if measurement.config.engine == BENCHMARK_MODEL and measurement.blocks:
        return (
            "The tool printed averages and no median, and an average is moved by every interruption; measure with a "
            "later version of it (that of TensorFlow 2.18 prints medians)."
        )
    return "No block has a result; look at the errors of the blocks, and measure again."


def cut_off(measurement: Measurement) -> str | None:
    if measurement.stopped != "error":
        return None
    return "The run was cut off, so that nobody looked at the device after it; measure again."


def impossible_latency(measurement: Measurement) -> str | None:
    seen = predicates.impossible((*timed_latencies(measurement), *measurement.block_medians_s))
    return (
        f"The device gave {seen}, which no clock does; measure again, and report it if it comes back." if seen else None
    )


def timed_latencies(measurement: Measurement) -> list[float]:
    """Return every latency of the blocks that have them."""
    return [value for block in measurement.blocks for value in block.latency_s or ()]


def summary_only(measurement: Measurement) -> str | None:
    if not measurement.blocks or measurement.latency_s is not None:
        return None
    return (
        "The tool gave summaries only, so that windows, warm-up and outliers cannot be checked; "
        "use a tool that keeps every latency."
    )


def few_blocks(measurement: Measurement) -> str | None:
    count, required = len(measurement.block_medians_s), measurement.protocol.min_blocks
    if not 0 < count < required:
        return None
    return f"The number of blocks is {count} instead of at least {required}; allow more time (--time-limit)."


def wide_interval(measurement: Measurement) -> str | None:
    """Find medians that are not known as well as was asked for; one that would need only one block more counts, too."""
    median_s, limit = measurement.median_s, measurement.protocol.max_interval
    if median_s is None or limit is None or is_settled(measurement.interval_s, median_s, limit):
        return None
    if measurement.interval_s is None:
        return "One block gives no interval of the median; measure 5 or more (--min-blocks)."
    width = interval_width(measurement.interval_s, median_s)
    why, more = {
        "time": (" when the time was up", "time (--time-limit)"),
        "blocks": (" after the most blocks allowed", "blocks (--max-blocks)"),
    }.get(measurement.stopped, ("", "time (--time-limit)"))
    return (
        f"The 95 % interval of the median was ±{width:.1%} instead of ±{limit:.1%}{why}; allow more {more}, or quieten "
        "the device."
    )


def short_window(measurement: Measurement) -> str | None:
    for block in measurement.blocks:
        window_s = block.wall_s if block.wall_s is not None else sum(block.latency_s) if block.latency_s else None
        if window_s is None:
            continue
        seen = predicates.window_too_short(window_s, measurement.protocol.block_s)
        if seen:
            return f"Block {block.number} has {seen}; measure again without a limit on the number of inferences."
    return None


def few_samples(measurement: Measurement) -> str | None:
    for block in measurement.blocks:
        seen = block.latency_s and predicates.too_few(len(block.latency_s), measurement.protocol.min_count)
        if seen:
            return f"Block {block.number} has {seen}; measure again without a limit on the number of inferences."
    return None


def trend(measurement: Measurement) -> str | None:
    seen = predicates.drifting(measurement.block_medians_s)
    return f"The {seen}; warm the device up, or cool it, until its speed stays." if seen else None


def blocks_disagree(measurement: Measurement) -> str | None:
    """Find devices with two speeds, whose median can be sure and yet say little."""
    medians, median_s = measurement.block_medians_s, measurement.median_s
    if median_s is None:
        return None
    apart = sum(abs(value - median_s) > APART * median_s for value in medians)
    if apart <= APART_SHARE * len(medians):
        return None
    return (
        f"Of {len(medians)} blocks, {apart} are more than {APART:.0%} from the median of all: the device has more than "
        "one speed; look for other programs, pin the clock (--pin) or the cores (--affinity)."
    )


def unsettled_warmup(measurement: Measurement) -> str | None:
    ratio = _first_over_rest(measurement)
    if ratio is None or ratio <= UNSETTLED:
        return None
    return (
        f"Blocks begin {ratio - 1:.0%} slower than they end, so that the warm-up was too short; "
        "lengthen it (--warmup, --warmup-count)."
    )


def slowing_blocks(measurement: Measurement) -> str | None:
    ratio = _first_over_rest(measurement)
    if ratio is None or ratio * UNSETTLED >= 1:
        return None
    return (
        f"Blocks end {1 / ratio - 1:.0%} slower than they begin: the device cannot keep its speed for as long as they "
        "take; cool it, or see with --sustain which speed it keeps."
    )


def _first_over_rest(measurement: Measurement) -> float | None:
    ratios = [
        median(each[: max(3, len(each) // 10)]) / median(each[len(each) // 2 :])
        for each in _long_blocks(measurement).values()
    ]
    return median(ratios) if ratios else None


def _long_blocks(measurement: Measurement) -> dict[int, tuple[float, ...]]:
    """Return the latencies of blocks that have enough of them, by their number."""
    return {
        block.number: block.latency_s
        for block in measurement.blocks
        if block.latency_s is not None and len(block.latency_s) >= LONG_BLOCK
    }


def scattered(measurement: Measurement) -> str | None:
    seen = _seen_often(measurement, predicates.quartiles_apart)
    if seen is None:
        return None
    return (
        f"Inferences scatter {seen}: the device has more than one speed; look for other programs, pin the clock "
        "(--pin) or the cores (--affinity)."
    )


def mean_over_median(measurement: Measurement) -> str | None:
    """Find inferences that took far longer than most, which a median does not show."""
    seen = _seen_often(measurement, lambda values: predicates.mean_far_from_median(fmean(values), median(values)))
    if seen is None:
        return None
    return f"Some inferences took far longer than most {seen}; find out what stops them, or say p90 with the median."


def _seen_often(measurement: Measurement, predicate: Callable[[Sequence[float]], str | None]) -> str | None:
    """Return what was seen first, and in how many blocks, where it was in more than a few."""
    blocks = _long_blocks(measurement)
    found = [(number, text) for number, values in blocks.items() if (text := predicate(values))]
    if len(found) <= APART_SHARE * len(blocks):
        return None
    number, text = found[0]
    return f"in {len(found)} of {len(blocks)} blocks (block {number} has {text})"


def interrupted(measurement: Measurement) -> str | None:
    for block in measurement.blocks:
        if block.wall_s is None or not block.latency_s:
            continue
        outside = block.wall_s / sum(block.latency_s) - 1
        if outside > OUTSIDE_SHARE:
            return (
                f"In block {block.number}, {outside:.0%} of the time passed between inferences: the program was "
                "stopped or had to wait; find out what did it, and measure again."
            )
    return None


def crowded_out(measurement: Measurement) -> str | None:
    """Find programs that did not get even one core; a hypervisor's steal shows here, too."""
    ratios = list(_cores_used(measurement.blocks))
    if not ratios or (median(ratios) >= OWN_SHARE and min(ratios) >= OWN_SHARE_OF_EACH):
        return None
    return (
        f"The program ran for {median(ratios):.0%} of the time, in one block for {min(ratios):.0%}, the rest went to "
        "others (programs, or guests of the same hypervisor); stop them, and measure again."
    )


def threads_unused(measurement: Measurement) -> str | None:
    """Find engines that work with one thread whatever they are told; what shares a single core shows no sign of it."""
    ratios, threads = list(_cores_used(measurement.blocks)), measurement.config.threads
    affinity = measurement.engine.affinity
    alone = min(threads, len(affinity) if affinity is not None else threads) < 2
    if not ratios or alone or not OWN_SHARE <= median(ratios) <= ONE_THREAD_CORES:
        return None
    return (
        f"Asked for {threads} threads, the engine used {median(ratios):.1f} cores' worth of time: it works with one "
        "thread here; measure with --threads 1."
    )


def threads_unasked(measurement: Measurement) -> str | None:
    ratios, threads = list(_cores_used(measurement.blocks)), measurement.config.threads
    if not ratios or median(ratios) <= threads + MORE_THREADS_CORES:
        return None
    return (
        f"Asked for {threads} thread{'s' * (threads > 1)}, the engine used {median(ratios):.1f} cores' worth of time: "
        "it takes more than it is told; bind it to cores (--affinity)."
    )


def _cores_used(blocks: Sequence[Block]) -> Iterator[float]:
    for block in blocks:
        if block.wall_s and block.cpu_s is not None:
            yield block.cpu_s / block.wall_s


def coarse_timer(measurement: Measurement) -> str | None:
    values, median_s = timed_latencies(measurement), measurement.median_s
    tool = measurement.config.engine == BENCHMARK_MODEL and not values
    if tool and median_s is not None and predicates.TIMER_STEP * median_s < TOOL_STEP_S:
        return (
            f"The tool counts whole microseconds, and an inference takes {format_seconds(median_s)}; time a model that "
            "takes longer, or use a program with a finer clock."
        )
    seen = predicates.timer_too_coarse(values) if len(values) >= measurement.protocol.min_count else None
    return f"The clock of the device gives {seen}; time several inferences at once there." if seen else None
