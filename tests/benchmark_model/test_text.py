import random
from dataclasses import replace
from pathlib import Path

import pytest

from mnet_deploy.errors import DeviceError, ResultFormatError
from mnet_deploy.runners.benchmark_model.latency_summary import LatencySummary
from mnet_deploy.runners.benchmark_model.performance_options import parse_options
from mnet_deploy.runners.benchmark_model.text import parse_log

SAMPLES = Path(__file__).with_name("samples")
TEXTS = {path.stem.partition("_")[0]: path.read_text(encoding="utf-8") for path in SAMPLES.glob("*.txt")}
RUNS = sorted(set(TEXTS) - {"i"})
WITH_HEADINGS = sorted(set(RUNS) - {"j"})
ROUNDING = 1e-12  # of floats: all expected numbers are exact decimals
MIB = 1024 * 1024
US = 1e-6
HEADING = "Running benchmark for at least 50 iterations and at least 1 seconds but terminate if exceeding 150 seconds."


def summary(count, *values):
    """Return a summary of whole microseconds in the order of the line; percentiles may be missing."""
    names = ("first_s", "last_s", "min_s", "max_s", "mean_s", "std_s", "p5_s", "median_s", "p95_s")
    times = (None if value is None else pytest.approx(value * US, rel=ROUNDING) for value in values)
    return LatencySummaryLike(count, dict(zip(names, times, strict=False)))


class LatencySummaryLike:
    """Equal to a LatencySummary with these numbers; those not named are None."""

    def __init__(self, count, times):
        self.count, self.times = count, times

    def __eq__(self, other):
        names = ("first_s", "last_s", "min_s", "max_s", "mean_s", "std_s", "p5_s", "median_s", "p95_s")
        return self.count == other.count and all(self.times.get(name) == getattr(other, name) for name in names)

    def __hash__(self):
        return hash(self.count)

    def __repr__(self):
        return f"{self.count} {self.times}"


def one(value, *, percentiles=False):
    """Return the summary of a line that says `curr` alone."""
    outer = value if percentiles else None
    return summary(1, value, value, value, value, value, None, outer, value, outer)


EXPECTED = {
    "a": (
        summary(7, 127425, 66709, 66709, 127425, 76605.9, 20944),
        summary(15, 66753, 66800, 66699, 66838, 66767.6, 39),
    ),
    "b": (
        summary(15, 49060, 33682, 32825, 49060, 34825.1, 3930),
        summary(50, 32891, 33978, 32641, 34005, 33209.4, 450),
    ),
    "c": (one(3512391), summary(50, 2990275, 2913402, 2727568, 3189954, 2950340, 109798)),
    "d": (one(637079), summary(520, 2531, 2793, 1171, 9925, 1885.74, 870)),
    "e": (
        one(1357602, percentiles=True),
        summary(50, 1249964, 1240143, 1238588, 1252566, 1240270, 2565, 1238753, 1239807, 1247415),
    ),
    "f": (
        one(670083, percentiles=True),
        summary(50, 591245, 917186, 502355, 2270688, 699438, 325425, 502674, 576856, 1373207),
    ),
    "g": (
        summary(32, 19834, 15648, 14936, 21608, 15997.4, 1663),
        summary(64, 16067, 15102, 14661, 17579, 15517.6, 551),
    ),
    "h": (
        summary(526, 2125, 969, 910, 2125, 949.861, 68, 915, 939, 990),
        summary(1054, 1015, 942, 910, 1102, 947.132, 23, 915, 942, 991),
    ),
    "j": (None, summary(50, 249042, 250889, 247067, 254474, 249684, 1442)),
}
# init_s, first_inference_s, model_size_bytes, and both footprints in MiB.
OTHERS = {
    "a": (9933 * US, None, None, None, None),
    "b": (855 * US, 49060 * US, 4448, 0, 12.8672),
    "c": (17187 * US, 3512391 * US, 16.9008e6, 4.21094, 46.0859),
    "d": (66002 * US, 637079 * US, 497264, 7.40234, 7.83203),
    "e": (5579 * US, 1357602 * US, 67.3128e6, 6.36328, 109.832),
    "f": (102320 * US, 670083 * US, 16.1527e6, 98.0977, 99.2031),
    "g": (32163 * US, 19834 * US, 4.56118e6, 22.0273, 34.8281),
    "h": (5757 * US, None, 229746, 4.06, 7.07),
    "j": (16242 * US, 360262 * US, None, 4.92969, 138.809),
}


@pytest.mark.parametrize("name", RUNS)
def test_the_latencies_of_every_sample(name):
    log = parse_log(TEXTS[name])
    warmup, measured = EXPECTED[name]
    assert measured == log.measured
    assert log.warmup is None if warmup is None else warmup == log.warmup


@pytest.mark.parametrize("name", RUNS)
def test_what_else_every_sample_says(name):
    log = parse_log(TEXTS[name])
    init_s, first_s, size_bytes, init_mib, overall_mib = OTHERS[name]
    found = (log.init_s, log.first_inference_s, log.model_size_bytes)
    assert found == tuple(
        None if value is None else pytest.approx(value, rel=ROUNDING) for value in (init_s, first_s, size_bytes)
    )
    for value, mib in ((log.init_footprint_bytes, init_mib), (log.overall_footprint_bytes, overall_mib)):
        assert value == (None if mib is None else pytest.approx(mib * MIB, rel=ROUNDING))
    assert log.peak_bytes is None
    assert log.runtime_version == ("2.15.0" if name == "d" else None)


def test_the_peak_where_it_is_asked_for():
    line = "INFO: Overall peak memory footprint (MB) via periodic monitoring: 101.5\n"
    assert parse_log(TEXTS["f"] + line).peak_bytes == 101.5 * MIB
    assert parse_log(TEXTS["h"] + "INFO: Peak memory:          7.25 MB\n").peak_bytes == 7.25 * MIB


def test_the_summary_of_all_options():
    found = parse_options("noise\n" + TEXTS["i"])
    assert list(found) == [
        "cpu w/ 4 threads",
        "cpu w/ 4 threads (xnnpack)",
        "cpu w/ 2 threads (xnnpack)",
        "cpu w/ 2 threads",
        "gpu-default",
        "cpu w/ 1 threads (xnnpack)",
        "cpu w/ 1 threads",
    ]
    assert summary(50, 43192, 38624, 33059, 48052, 39220.2, 2730) == found["cpu w/ 4 threads (xnnpack)"]
    assert summary(50, 59303, 58209, 56596, 59303, 57705.5, 705) == found["gpu-default"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        TEXTS["f"],
        TEXTS["i"].partition("\n")[0] + "\n",
        TEXTS["i"] * 2,
        TEXTS["i"] + TEXTS["i"].splitlines()[1] + "\n",
    ],
    ids=["nothing", "a single run", "no row", "two summaries", "an option twice"],
)
def test_no_summary_of_options(text):
    with pytest.raises(ResultFormatError):
        parse_options(text)


@pytest.mark.parametrize("name", WITH_HEADINGS)
@pytest.mark.parametrize(
    "logcat", ["I tflite  : ", "I/tflite  ( 1234): ", "08-17 21:47:50.323 29423 29423 I tflite  : ", "I/tflite: "]
)
def test_logcat(name, logcat):
    plain = TEXTS[name].replace("INFO: ", "")
    assert parse_log("".join(f"{logcat}{line}\n" for line in plain.splitlines())) == parse_log(plain)


@pytest.mark.parametrize("name", RUNS)
def test_line_ends_of_a_terminal(name):
    assert parse_log(TEXTS[name].replace("\n", "\r\n")) == parse_log(TEXTS[name])


@pytest.mark.parametrize("name", RUNS)
def test_lines_of_others_may_stand_anywhere(name):
    expected = parse_log(TEXTS[name])
    noise = ["type 54 str SoftmaxAxis0", "count me in", "ERROR: File x couldn't be opened for reading", "\x1b[2J", ""]
    chance = random.Random(name)
    lines = TEXTS[name].splitlines()
    for _ in range(40):
        lines.insert(chance.randint(0, len(lines)), chance.choice(noise))
    assert parse_log("\n".join(lines) + "\n") == expected


@pytest.mark.parametrize("name", RUNS)
def test_the_order_of_stdout_and_stderr_makes_no_difference(name):
    """The runtime's own lines go to stderr; LiteRT's block of results, too."""
    lines = TEXTS[name].splitlines(keepends=True)
    runtime = ("VERBOSE", "INFO: Created", "INFO: Initialized TensorFlow", "INFO: [", "I0000")
    stderr = "".join(line for line in lines if line.startswith(runtime))
    stdout = "".join(line for line in lines if not line.startswith(runtime))
    expected = parse_log(TEXTS[name])
    # Within a stream all keeps its order; between them delegates' lines may change theirs.
    for found in (parse_log(stdout, stderr), parse_log(stderr, stdout), parse_log(stderr + stdout)):
        assert replace(found, delegation=()) == replace(expected, delegation=())
        assert set(found.delegation) == set(expected.delegation)


@pytest.mark.parametrize("name", RUNS)
def test_a_log_that_is_cut_off_has_the_right_number_or_none(name):
    """At every character."""
    text = TEXTS[name]
    whole = parse_log(text)
    results = 0
    for end in range(len(text)):
        try:
            found = parse_log(text[:end])
        except ResultFormatError:
            continue
        results += 1
        assert found.measured == whole.measured
        for field in ("init_s", "first_inference_s", "model_size_bytes", "overall_footprint_bytes"):
            value = getattr(found, field)
            assert value is None or value == pytest.approx(getattr(whole, field), rel=ROUNDING)
    assert 0 < results < len(text)


@pytest.mark.parametrize("name", WITH_HEADINGS)
def test_no_measured_count_line_is_an_error(name):
    lines = TEXTS[name].splitlines(keepends=True)
    places = [number for number, line in enumerate(lines) if line.removeprefix("INFO: ").startswith("count=")]
    assert len(places) == 2
    for missing in places:
        with pytest.raises(ResultFormatError, match="Running benchmark"):
            parse_log("".join(lines[:missing] + lines[missing + 1 :]))


@pytest.mark.parametrize("name", WITH_HEADINGS)
def test_shuffled_lines_are_never_another_number(name):
    whole = parse_log(TEXTS[name])
    chance = random.Random(name)
    lines = TEXTS[name].splitlines(keepends=True)
    for _ in range(200):
        mixed = lines.copy()
        chance.shuffle(mixed)
        try:
            found = parse_log("".join(mixed))
        except ResultFormatError:
            continue
        assert found.measured == whole.measured


@pytest.mark.parametrize("name", WITH_HEADINGS)
def test_swapped_phases_are_found(name):
    lines = TEXTS[name].splitlines(keepends=True)
    first, second = (at for at, line in enumerate(lines) if line.removeprefix("INFO: ").startswith("count="))
    lines[first], lines[second] = lines[second], lines[first]
    with pytest.raises(ResultFormatError, match="several runs"):
        parse_log("".join(lines))


@pytest.mark.parametrize("name", WITH_HEADINGS)
def test_two_runs_are_not_one(name):
    with pytest.raises(ResultFormatError):
        parse_log(TEXTS[name] * 2)
    with pytest.raises(ResultFormatError):
        parse_log(TEXTS[name], TEXTS["f" if name != "f" else "e"])


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("WARN: Unconsumed cmdline flags: --use_xnnpak=true", "does not know all flags"),
        ("ERROR: Disallowed CPU fallback detected.", "does not take all"),
        ("ERROR: Benchmarking failed.", "failed"),
        ("FATAL: Failed to read the input_layer_value_file:x", "fatal"),
        ("F tflite  : anything", "fatal"),
        ("ERROR: Benchmarking failed.\x1b[2J", "failed"),
    ],
)
@pytest.mark.parametrize("end", ["", "\n"])
def test_the_tool_says_that_it_failed(line, words, end):
    """It prints all of its numbers in spite of it."""
    for streams in ((TEXTS["f"], line + end), (line + end, TEXTS["f"]), (TEXTS["f"] + line + end,)):
        with pytest.raises(DeviceError, match=words) as caught:
            parse_log(*streams)
        assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize(
    "line",
    [
        "count=0",
        "count=50",
        "count=50 first=1 curr=1 min=1 max=1 avg=1",
        "count=50 first=1 curr=1 min=2 max=3 avg=2 std=1",
        "count=50 first=2 curr=2 min=3 max=1 avg=2 std=1",
        "count=50 first=2 curr=2 min=1 max=3 avg=9 std=1",
        "count=50 first=2 curr=2 min=1 max=9 avg=2 std=1 p5=8 median=3 p95=9",
        "count=50 first=2 curr=2 min=1 max=3 avg=nan std=1",
        "count=50 first=2 curr=2 min=1 max=3 avg=-2 std=1",
        "count=0 curr=5",
        "count=2 curr=5 and more",
        "count=999999999999999999999 curr=5",
    ],
)
def test_a_count_line_that_cannot_be_true(line):
    with pytest.raises(ResultFormatError):
        parse_log(f"{HEADING}\ncount=1 curr=5\n{HEADING}\n{line}\n")


@pytest.mark.parametrize("name", WITH_HEADINGS)
def test_a_line_of_another_stream_within_a_count_line(name):
    """Both may go to one terminal."""
    whole = parse_log(TEXTS[name])
    begin = TEXTS[name].rindex("\n", 0, TEXTS[name].index(" std=", TEXTS[name].index("at least 1 sec"))) + 1
    end = TEXTS[name].index("\n", begin)
    for at in range(begin, end + 1):
        text = f"{TEXTS[name][:at]}VERBOSE: Replacing\n{TEXTS[name][at:]}"
        try:
            found = parse_log(text)
        except ResultFormatError:
            continue
        assert found.measured == whole.measured
        assert at in (begin, begin + len("INFO: "))


def test_equal_latencies_are_not_repeated():
    log = parse_log(f"{HEADING}\ncount=1 curr=5\n{HEADING}\ncount=3 curr=7(all same)\n")
    assert summary(3, 7, 7, 7, 7, 7, None, None, 7, None) == log.measured


def test_nothing_is_a_result_without_numbers():
    for text in ("", "\n", "INFO: STARTING!\n", f"{HEADING}\n{HEADING}\n"):
        with pytest.raises(ResultFormatError):
            parse_log(text)
    with pytest.raises(ResultFormatError):
        LatencySummary(count=0, mean_s=1.0)


def test_a_last_count_line_may_lack_digits():
    """`std=450` that arrives as `std=45` looks whole."""
    cut = TEXTS["b"].partition("450\n")[0] + "45"
    with pytest.raises(ResultFormatError, match="cut off"):
        parse_log(cut)
