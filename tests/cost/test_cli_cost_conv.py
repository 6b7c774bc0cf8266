import json
import subprocess
import sys

import pytest

from mnet_deploy.cli import main
from mnet_deploy.cost.convolutions import ConvolutionKind


def output_of(capsys, *argv):
    assert main(["cost", "conv", *argv]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


def rows_of(text):
    lines = text.splitlines()
    rule = next(index for index, line in enumerate(lines) if line.startswith("---"))
    return {line.split()[0]: line.split()[1:] for line in lines[rule + 1 :] if line and "-" not in line.split()[0][:1]}


def test_the_table_compares_all_kinds_at_the_paper_s_layer(capsys):
    text = output_of(capsys)
    rows = rows_of(text)
    assert text.startswith("14x14x512, 512 filters: 3x3 kernels, stride 1, padding same")
    assert set(ConvolutionKind) <= set(rows)
    assert rows["standard"] == ["14x14x512", "462,422,016", "1.0000", "2,359,296", "200,704", "180.63", "3"]
    assert rows["depthwise-separable"][1:3] == ["52,283,392", "0.1131"]
    for kind in ConvolutionKind:
        assert f"\n{kind}: keeps " in text


@pytest.mark.parametrize("kind", ConvolutionKind)
def test_one_kind_adds_up(capsys, kind):
    lines = output_of(capsys, "--kind", kind, "--stride", "2", "--precision", "fp32").splitlines()
    first, last = (index for index, line in enumerate(lines) if line.startswith("---"))
    *passes, total = (
        [int(cell.replace(",", "")) for cell in line.split()[-3:]]
        for line in [*lines[first + 1 : last], lines[last + 1]]
    )
    assert [sum(column) for column in zip(*passes, strict=True)] == total


def test_a_kind_shows_its_worked_example(capsys):
    argv = ("--resolution", "5", "--channels", "3", "--filters", "16", "--padding", "valid")
    text = output_of(capsys, "--kind", "depthwise separable", *argv)
    assert "K·K·M·D·D + M·N·D·D = 675" in text
    assert "0.1736 of 3,888" in text
    assert "Howard et al. 2017" in text


@pytest.mark.parametrize(
    ("kernel", "answer"),
    [
        ("sobel", "separates: rank 1, the column (1, 2, 1) times the row (1, 0, -1).\n6 instead of 9"),
        ("0 1 0; 1 -4 1; 0 1 0", "does not separate: rank 2"),
        ("0 0; 0 0", "separates: rank 0"),
        ("1 2; 2 4", "4 instead of 4 multiplications an output pixel: nothing is saved."),
    ],
)
def test_whether_a_kernel_separates(capsys, kernel, answer):
    assert answer in output_of(capsys, "--separates", kernel)


def test_claims(capsys):
    text = output_of(capsys, "--published")
    assert "1. 1,28,800 multiplications\n" in text
    assert "1,228,800 (separable: 53,952)" in text


@pytest.mark.parametrize(
    "argv",
    [
        (),
        ("--kind", "transposed", "--stride", "2"),
        ("--resolution", "4", "--padding", "valid", "--groups", "3"),
        ("--separates", "sobel"),
        ("--separates", "emboss"),
        ("--published",),
    ],
    ids=" ".join,
)
def test_json_is_as_its_schema_says_and_text_fits_a_terminal(capsys, violations, argv):
    value = json.loads(output_of(capsys, *argv, "--json"))
    assert next(iter(value)) == "format"
    assert violations(value) == []
    assert max(map(len, output_of(capsys, *argv).splitlines())) <= 100


def test_json_has_the_kinds_and_the_reasons_of_the_others(capsys):
    value = json.loads(output_of(capsys, "--resolution", "4", "--padding", "valid", "--groups", "3", "--json"))
    assert value["shape"]["size_px"] == 4
    assert {row["kind"] for row in value["left_out"]} == {"grouped", "pointwise-grouped", "shuffled-grouped", "dilated"}
    assert value["kinds"][0]["kind"] == "standard"
    assert value["kinds"][0]["to_standard"] == 1.0


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("conv", "--kind", "dense"), "--kind takes standard, depthwise"),
        (("conv", "--kernel", "0"), "--kernel must be 1 or more"),
        (("conv", "--kernel", "3x3"), "--kernel takes a whole number"),
        (("conv", "--padding", "keras"), "padding of a convolution must be same or valid. Received: 'keras'"),
        (("conv", "--resolution", "2", "--padding", "valid"), "3x3 pixels on 2x2"),
        (("conv", "--kind", "grouped", "--groups", "7"), "groups must divide the channels"),
        (("conv", "--alpha", "0.5", "--no-top"), "Received: conv with --alpha, --no-top"),
        (("conv", "--published", "--kernel", "5"), "--published of conv takes no shape. Received: --kernel too"),
        (("conv", "--separates", "sobel", "--channels", "5"), "--separates of conv takes no shape"),
        (("conv", "--separates", "1 2; 3"), "rows of equal length"),
        (("conv", "--precision", "int4"), "precision must be one of"),
        (("0.5-160", "--kernel", "5"), "--kernel belong(s) to mnet cost conv"),
        (("--kind", "depthwise"), "--kind belong(s) to mnet cost conv"),
    ],
)
def test_bad_input_is_one_line(capsys, argv, message):
    assert main(["cost", *argv]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert message in captured.err


@pytest.mark.parametrize("what", ["conv", "networks", "vgg_16"])
def test_no_framework_and_no_numpy_is_loaded(what):
    code = (
        f"import sys; from mnet_deploy.cli import main; main(['cost', {what!r}]); print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    loaded = {name.partition(".")[0] for name in done.stderr.split()}
    assert "mnet_deploy" in loaded
    assert loaded & {"numpy", "tensorflow", "keras", "onnx", "scipy", "torch"} == set()
