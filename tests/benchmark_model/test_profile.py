from pathlib import Path

import pytest

from mnet_deploy.errors import ResultFormatError
from mnet_deploy.runners.benchmark_model.profile import (
    Phase,
    ProfiledOp,
    csv_tables,
    printed_tables,
    run_profile,
)

SAMPLES = Path(__file__).with_name("samples")
OLD = (SAMPLES / "c_exponents.txt").read_text(encoding="utf-8")
NEW = (SAMPLES / "g_profile.txt").read_text(encoding="utf-8")
ROUNDING = 1e-12
RUNS = "Operator-wise Profiling Info for Regular Benchmark Runs:"
TITLE = f"{'=' * 30} Run Order {'=' * 30}"
CSV_HEADER = "node type, first, avg_ms, %, cdf%, mem KB, times called, name"
CSV = f"""{RUNS}
{TITLE}
{CSV_HEADER}
Convolution (NHWC, QC8) DWConv, 0.428, 0.051, 4.317%, 8.304%, 0, 13, Delegate/Convolution (NHWC\t QC8) DWConv:1
SOFTMAX, 0.23, 0.233, 0.008%, 100%, 1.5, 1, [out]:30

Number of nodes executed: 2
"""


def close(value):
    return pytest.approx(value, rel=ROUNDING)


def test_new_columns():
    start, runs = printed_tables(NEW)
    assert (start.phase, runs.phase) == (Phase.INITIALIZATION, Phase.RUNS)
    assert (start.node_count, runs.node_count, len(runs.ops)) == (2, 171, 3)
    start.require_whole()
    assert start.ops[0] == ProfiledOp(
        op="ModifyGraphWithDelegate",
        name="ModifyGraphWithDelegate/0",
        first_s=close(6.348e-3),
        mean_s=close(6.348e-3),
        share=close(0.5564),
        calls=1,
        memory_bytes=close(7_148_000),
    )
    assert runs.ops[2] == ProfiledOp(
        op="Convolution (NHWC, QC8) DWConv",
        name="Delegate/Convolution (NHWC, QC8) DWConv:1",
        first_s=close(0.428e-3),
        mean_s=close(0.051e-3),
        share=close(0.04317),
        calls=13,
        memory_bytes=0,
    )


def test_old_columns():
    start, runs = printed_tables(OLD)
    start.require_whole()
    assert [op.start_s for op in runs.ops] == [close(0.066e-3), close(61.033e-3)]
    assert [op.mean_s for op in runs.ops] == [close(60.957e-3), close(49.870e-3)]
    assert [op.op for op in runs.ops] == ["CONV_2D", "DEPTHWISE_CONV_2D"]
    assert runs.ops[0].name == "[MobilenetV1/MobilenetV1/Conv2d_0/Relu6]:0"


@pytest.mark.parametrize("text", [OLD, NEW])
def test_rows_that_are_missing_are_found(text):
    with pytest.raises(ResultFormatError, match="cut off"):
        run_profile(text)


def test_a_whole_profile():
    text = NEW.replace("executed: 171", "executed: 3")
    (found,) = run_profile(text)
    assert [op.calls for op in found.ops] == [1, 1, 13]


def test_no_profile():
    for text in ("", NEW.partition("INFO: Operator-wise")[0]):
        with pytest.raises(ResultFormatError, match="enable_op_profiling"):
            run_profile(text)


def test_a_profile_that_is_cut_off_is_whole_or_an_error():
    text = NEW.replace("executed: 171", "executed: 3")
    whole = run_profile(text)
    for end in range(len(text)):
        try:
            assert run_profile(text[:end]) == whole
        except ResultFormatError:
            continue


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("[avg ms]", "[mean]"),
        ("[first]", "[avg ms]"),
        ("\t", "  "),
        ("\t            0.428", ""),
        ("0.428", "a lot"),
        ("13\t", "1.5\t"),
        ("0.051", "1e400"),
    ],
)
def test_tables_of_another_form(old, new):
    assert old in NEW
    with pytest.raises(ResultFormatError):
        printed_tables(NEW.replace(old, new))


def test_csv_has_commas_in_types():
    (found,) = csv_tables(CSV)
    found.require_whole()
    assert [op.op for op in found.ops] == ["Convolution (NHWC, QC8) DWConv", "SOFTMAX"]
    assert [op.name for op in found.ops] == ["Delegate/Convolution (NHWC, QC8) DWConv:1", "[out]:30"]
    assert [op.mean_s for op in found.ops] == [close(0.051e-3), close(0.233e-3)]
    assert [op.memory_bytes for op in found.ops] == [0, close(1500)]


def test_csv_with_a_start():
    text = CSV.replace("node type, ", "node type, start, ").replace("DWConv, 0.428", "DWConv, 7, 0.428")
    (found,) = csv_tables(text.replace("SOFTMAX, ", "SOFTMAX, 8, "))
    assert [(op.op, op.start_s) for op in found.ops] == [
        ("Convolution (NHWC, QC8) DWConv", close(7e-3)),
        ("SOFTMAX", close(8e-3)),
    ]


def test_subgraphs_and_what_is_inside_a_delegate():
    table = CSV.removeprefix(f"{RUNS}\n")
    text = f"{RUNS}\nSubgraph (index: 1, name: main) profile:\n{table}\nDelegate internal:\n{table}"
    found = csv_tables(text)
    assert [(table.subgraph, table.in_delegate) for table in found] == [
        ("1, name: main", False),
        ("1, name: main", True),
    ]
    assert {table.phase for table in found} == {Phase.RUNS}
