"""Published tables: the errata are found, clean rows raise no alarm."""

import csv
import json

import pytest

from mnet_deploy.errors import ResultFormatError
from mnet_deploy.measurement.table_checks import check_table
from mnet_deploy.measurement.table_rows import TableRow, rows_from_csv, rows_from_json

# Raspberry Pi 5, 2.4 GHz: Tencent/ncnn@a4d2ea1, benchmark/README.md
NCNN_PI_5 = """
config,model,threads,min_ms,max_ms,mean_ms
ncnn Pi 5,mobilenet,4,9.00,72.98,33.88
ncnn Pi 5,mobilenet_int8,4,8.68,8.80,8.74
ncnn Pi 5,mobilenet_v2,4,10.46,10.63,10.52
ncnn Pi 5,squeezenet,4,6.74,8.16,7.38
ncnn Pi 5,mobilenet,1,20.24,20.59,20.30
ncnn Pi 5,mobilenet_int8,1,14.38,14.51,14.44
ncnn Pi 5,mobilenet_v2,1,16.21,16.49,16.38
ncnn Pi 5,squeezenet,1,11.77,12.18,11.87
""".strip()

# Raspberry Pi 4B, CPU, models of one config and one input size: opencv/opencv_zoo@966be4c, benchmark/README.md. In
# benchmark/benchmark.py there, `run` adds each model's samples to the list of those before it.
OPENCV_ZOO_PI_4B = """
config,model,mean_ms,median_ms,min_ms
image_classification_mobilenet,mobilenetv1,64.20,64.30,63.98
image_classification_mobilenet,mobilenetv2,57.91,58.41,52.53
image_classification_mobilenet,mobilenetv1_int8,61.35,52.83,52.53
image_classification_mobilenet,mobilenetv2_int8,61.49,61.28,52.53
face_detection_yunet,yunet,6.23,6.27,6.18
handpose_estimation_mediapipe,handpose,42.58,42.41,42.25
""".strip()

# NUCLEO-L4R5ZI, X-CUBE-AI 8.0, person detection: mlcommons/tiny_results_v1.1@c32ef94,
# closed/Krai/results/NUCLEO-L4R5ZI_X-CUBE-AI-8.0/vww, performance and energy (of which the windows are long enough).
# The log of the former says "The run must take at least 10 seconds and 10 iterations to be valid" of each window.
MLPERF_TINY = """
config,model,mean_ms,count,required_count,window_s,required_window_s
performance window 2,vww,221.2,45,10,9.952,10
performance window 4,vww,221.2,45,10,9.952,10
energy window 2,vww,221.3,50,10,11.067,10
""".strip()

ALPHAS, SIZES = (0.25, 0.5, 0.75, 1.0), (128, 160, 192, 224)
# From the smallest to the largest alpha, 128 to 224 px each: tensorflow/tensorflow, lite/g3doc/guide/hosted_models.md
PIXEL_3_INT8 = (0.8, 1.3, 1.8, 2.3, 1.7, 2.6, 3.6, 4.7, 3.1, 4.7, 6.4, 8.5, 4.8, 7.3, 9.9, 13.0)
# 0.5-224 stands out with 164.2 ms: 0.75-224, twice the work, is 143.4
PIXEL_2_TENSORFLOW = (
    *(13.0, 19.5, 27.8, 37.3, 29.9, 45.9, 65.3, 164.2),
    *(48.7, 75.2, 107.0, 143.4, 76.8, 117.7, 167.3, 224.3),
)

# Of the grids with a median or an unnamed statistic, those with a larger model that is faster: system and precision.
NOT_MONOTONE = {
    ("tensorflow-mobile", "fp32"),
    ("tflite-nnapi", "fp32"),
    ("hikey960-armnn-v19.08-opencl", "fp32"),
    ("mate10pro-tflite-v1.13", "int8(uint8)"),
    ("firefly-tflite-v2.4.1-ruy", "fp32"),
    ("firefly-tflite-v2.5.0-ruy", "fp32"),
    ("xavier-power.0-fan.cool-armnn-v21.02-neon", "fp32"),
    ("xavier-power.0-fan.cool-armnn-v21.02-neon", "int8(uint8)"),
    ("xavier-power.0-fan.cool-armnn-v21.11-neon", "fp32"),
    ("xavier-power.0-fan.cool-armnn-v21.11-neon", "int8(uint8)"),
}


def grid(name, latencies_ms):
    cells = [(alpha, size) for alpha in ALPHAS for size in SIZES]
    return [
        TableRow(
            config=name, model=f"{alpha}-{size}", alpha=alpha, resolution_px=size, median_s=float(latency_ms) / 1e3
        )
        for (alpha, size), latency_ms in zip(cells, latencies_ms, strict=True)
    ]


def checks(findings):
    return [finding.check for finding in findings]


def test_four_threads_slower_than_one():
    findings = check_table(rows_from_csv(NCNN_PI_5))
    assert checks(findings) == ["wide_extremes", "slower_with_threads"]
    assert findings[1].rows == ("ncnn Pi 5, mobilenet, 4 threads", "ncnn Pi 5, mobilenet, 1 thread")
    assert findings[1].text == (
        "ncnn Pi 5, mobilenet, 4 threads: 33.9 ms with 4 threads, 20.3 ms with one: 1.67 times as long."
    )
    assert "from 9 ms to 73 ms" in findings[0].text


def test_a_sample_list_that_only_grows():
    (finding,) = [each for each in check_table(rows_from_csv(OPENCV_ZOO_PI_4B)) if each.check == "growing_list"]
    assert len(finding.rows) == 3
    assert "52.5 ms" in finding.text
    assert "image_classification_mobilenet, mobilenetv1," not in finding.text


def test_a_mean_of_samples_of_two_models():
    (finding,) = [each for each in check_table(rows_from_csv(OPENCV_ZOO_PI_4B)) if each.check == "mean_over_median"]
    assert finding.rows == ("image_classification_mobilenet, mobilenetv1_int8",)


def test_a_window_that_is_a_little_too_short():
    findings = check_table(rows_from_csv(MLPERF_TINY))
    assert checks(findings) == ["short_window", "short_window"]
    assert findings[0].text == "performance window 2, vww: a window of 9.952 s under a rule of at least 10 s."


def test_clean_rows_raise_no_alarm():
    clean = [line for line in NCNN_PI_5.splitlines() if "mobilenet,4" not in line]
    assert check_table(rows_from_csv("\n".join(clean))) == ()
    assert check_table(grid("Pixel 3 int8", PIXEL_3_INT8)) == ()
    assert check_table([]) == ()


def test_a_published_outlier_in_a_grid():
    findings = check_table(grid("Pixel 2 TensorFlow", PIXEL_2_TENSORFLOW))
    assert checks(findings) == ["not_monotone"]
    assert findings[0].rows == ("Pixel 2 TensorFlow, 0.5-224", "Pixel 2 TensorFlow, 0.75-224")


def test_published_grids(test_data):
    """Those that are known to have been disturbed are named, and all others raise no alarm."""
    with (test_data / "published_grids.csv").open(encoding="utf-8", newline="") as file:
        published = [row for row in csv.DictReader(file) if row["stat"] in ("p50", "unspecified")]
    named, raised, seen = set(), set(), 0
    for number, row in enumerate(published):
        if row["source"].startswith("ck-request"):
            continue  # GPU with the first ArmCL versions: half of them are not monotone
        latencies = [row[f"a{alpha}_r{size}"] for alpha in ALPHAS for size in SIZES]
        findings = check_table(grid(f"{number}", latencies))
        seen += 1
        named |= {(row["system"], row["precision"])} if findings else set()
        raised |= set(checks(findings))
    assert seen > 50
    assert raised == {"not_monotone"}
    assert named == NOT_MONOTONE


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"mean_s": 0.01, "count": 9, "required_count": 10}, ["few_samples"]),
        ({"median_s": 0.01, "mean_s": 0.0105}, []),
        ({"median_s": 0.01, "mean_s": 0.012}, ["mean_over_median"]),
        ({"median_s": 0.01, "min_s": 0.011, "max_s": 0.012}, ["disordered"]),
        ({"median_s": 0.0}, ["impossible_latency"]),
        ({"mean_s": 0.0, "min_s": 0.01, "max_s": 0.2, "samples_s": (0.01, 0.01)}, ["impossible_latency"]),
        ({"samples_s": (0.01, 0.01, 0.01)}, ["coarse_timer"]),
        ({"samples_s": (0.01, 0.011, 0.01)}, ["coarse_timer"]),
        ({"samples_s": (0.01, 0.01001, 0.0105)}, []),
        ({}, []),
    ],
)
def test_rows_by_themselves(row, expected):
    assert checks(check_table([TableRow(model="m", **row)])) == expected


def test_a_row_that_no_clock_gives_is_compared_with_none():
    rows = [TableRow(model="m", threads=count, mean_s=mean_s) for count, mean_s in ((1, 0.0), (4, 0.01))]
    assert checks(check_table(rows)) == ["impossible_latency"]


@pytest.mark.parametrize(("four_s", "expected"), [(0.01001, []), (0.0104, []), (0.0106, ["slower_with_threads"])])
def test_threads_may_be_slower_by_what_two_runs_differ(four_s, expected):
    rows = [TableRow(model="m", threads=count, mean_s=mean_s) for count, mean_s in ((1, 0.01), (4, four_s))]
    assert checks(check_table(rows)) == expected


def test_the_same_minimum_in_other_programs_is_no_grown_list():
    rows = [TableRow(model="m", config=str(n), min_s=0.01, mean_s=0.01 + 0.001 * n) for n in range(3)]
    assert check_table(rows) == ()
    together = [TableRow(model=str(n), config="c", min_s=0.01, mean_s=0.01 + 0.001 * n) for n in range(3)]
    assert checks(check_table(together)) == ["growing_list"]


def test_rows_of_json_are_those_of_csv():
    rows = [{"config": "c", "model": "m", "threads": 4, "median_s": 0.002, "more": "left out"}]
    assert rows_from_json(json.dumps(rows)) == rows_from_csv("config,model,threads,median_ms,more\nc,m,4,2,x\n")


@pytest.mark.parametrize(
    ("read", "text"),
    [
        (rows_from_csv, "name\nmobilenet\n"),
        (rows_from_csv, "model,mean_ms\nm,fast\n"),
        (rows_from_csv, "model,threads\nm,1.5\n"),
        (rows_from_csv, "model,mean_ms\nm,nan\n"),
        (rows_from_csv, 'model\n"m'),
        (rows_from_csv, ""),
        (rows_from_csv, "model,mean_ms\n"),
        (rows_from_json, "[]"),
        (rows_from_json, "{"),
        (rows_from_json, "{}"),
        (rows_from_json, "[1]"),
        (rows_from_json, '[{"model": "m", "mean_s": "1"}]'),
        (rows_from_json, '[{"model": "m", "mean_s": true}]'),
        (rows_from_json, "[" * 100_000),
    ],
)
def test_what_is_no_table_is_refused_in_one_line(read, text):
    with pytest.raises(ResultFormatError, match="Received: ") as refused:
        read(text)
    assert "\n" not in str(refused.value)
