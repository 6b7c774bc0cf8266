import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from mnet_deploy.cli import main
from mnet_deploy.cost import CostEstimate, LayerCost, Precision, estimate
from mnet_deploy.cost.text import graph_text
from mnet_deploy.spec import Family, ModelSpec
from mnet_deploy.text_table import render_table

COUNTS = ("macs", "params", "weight_bytes", "activation_bytes")


def output_of(capsys, *argv):
    assert main(["cost", *argv]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


def error_of(capsys, *argv):
    assert main(["cost", *argv]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    return captured.err


def printed_table(text, first_header):
    """Return the rows below the header that starts with `first_header`: (rows, total row or None)."""
    lines = [*text.splitlines(), ""]
    start = next(index for index, line in enumerate(lines) if f"{line} ".startswith(f"{first_header} "))
    rule = lines[start + 1]
    edges = [index for index, sign in enumerate(rule) if sign == "-" and (index == 0 or rule[index - 1] == " ")]
    cells = [
        [line[left:right].strip() for left, right in zip(edges, [*edges[1:], None], strict=True)]
        for line in lines[start + 2 : lines.index("", start)]
        if line != rule
    ]
    return (cells[:-1], cells[-1]) if cells[-1][0] == "total" else (cells, None)


def numbers(cells):
    return [int(cell.replace(",", "")) for cell in cells]


@pytest.mark.parametrize(
    "argv",
    [
        (),
        ("0.25-128",),
        ("--family", "conv_mobilenet"),
        ("--family", "dense1_mobilenet", "--growth", "16", "--precision", "fp32"),
        ("dense2_mobilenet_0.35_200", "--precision", "int16x8"),
        ("--no-top", "--channels", "1"),
    ],
)
def test_printed_columns_add_up_to_the_printed_totals(capsys, argv):
    text = output_of(capsys, *argv)
    rows, total = printed_table(text, "layer")
    columns = zip(*(numbers(row[3:]) for row in rows), strict=True)
    assert [sum(column) for column in columns] == numbers(total[3:])
    summary = {row[0]: row[1] for row in printed_table(text, "whole model")[0]}
    assert numbers(total[3:5]) == numbers([summary["MACs"], summary["params"]])


def test_printed_parts_of_the_parameters_add_up(capsys):
    rows, _ = printed_table(output_of(capsys, "--classes", "7"), "whole model")
    _, count, parts = next(row for row in rows if row[0] == "params")
    words = parts.replace(",", "").split()
    assert sum(int(word) for word in words if word.isdigit()) == int(count.replace(",", ""))


def test_the_default_is_mobilenet_v1_1_0_224(capsys):
    text = output_of(capsys)
    assert text.startswith("mobilenet_v1_1.0_224: input 224x224x3, 1000 classes, padding keras\n")
    rows, total = printed_table(text, "layer")
    assert len(rows) == len(ModelSpec().layers())
    assert rows[0] == ["conv1", "convolution", "112x112x32", "10,838,016", "928", "992", "551,936"]
    assert total[3:5] == ["568,740,352", "4,231,976"]
    assert "567,716,352 without the classifier" in text


def test_sizes_at_each_precision(capsys):
    rows, _ = printed_table(output_of(capsys), "precision")
    assert [row[0] for row in rows] == list(Precision)
    int8 = next(row for row in rows if row[0] == "int8")
    assert (int8[1], int8[3]) == ("4157.09 KiB", "1176.00 KiB")


def test_shares_stand_beside_the_papers_with_its_misprint_named(capsys):
    text = output_of(capsys)
    rows, _ = printed_table(text, "kind of layer")
    shares = {row[0]: row[2:] for row in rows}
    assert shares["pointwise"] == ["94.86 %", "74.59 %", "94.86 %", "74.59 %"]
    assert shares["convolution"] == ["1.91 %", "0.02 %", "1.19 % *", "0.02 %"]
    assert "* Misprint: 10,838,016 of 568,740,352 MACs are 1.91 %" in text


@pytest.mark.parametrize("family", [family for family in Family if family is not Family.MOBILENET_V1])
def test_the_papers_shares_stand_only_beside_its_model(capsys, family):
    assert "(paper)" not in output_of(capsys, "--family", family)


def test_grid(capsys):
    rows, _ = printed_table(output_of(capsys), "alpha")
    assert rows[0] == ["1.0", "568.740", "418.122", "290.675", "186.401", "4.232"]
    assert [row[0] for row in rows] == ["1.0", "0.75", "0.5", "0.25"]
    assert rows[3] == ["0.25", "41.030", "30.213", "21.059", "13.570", "0.470"]


def test_ratio_to_standard_convolution(capsys):
    rows, _ = printed_table(output_of(capsys), "at int8")
    ratios = {row[0]: row[3] for row in rows}
    assert ratios == {"MACs": "8.56", "params": "6.92", "weight bytes": "6.89", "activation bytes": "0.62"}


@pytest.mark.parametrize(
    ("family", "reason"),
    [("conv_mobilenet", "it has no depthwise layer"), ("dense1_mobilenet", "are read by several layers")],
)
def test_a_family_without_standard_counterpart_says_why(capsys, family, reason):
    assert reason in " ".join(output_of(capsys, "--family", family).split())


@pytest.mark.parametrize("family", Family)
def test_lines_fit_a_terminal_of_100_columns(capsys, family):
    assert max(len(line) for line in output_of(capsys, "--family", family).splitlines()) <= 100


def test_published_lines_fit_a_terminal_of_100_columns(capsys):
    assert max(len(line) for line in output_of(capsys, "--published").splitlines()) <= 100


@pytest.mark.parametrize(
    ("argv", "spec"),
    [
        ((), ModelSpec()),
        (("0.5-160",), ModelSpec(alpha=0.5, resolution_px=160)),
        (("0.5-160", "--alpha", "0.50"), ModelSpec(alpha=0.5, resolution_px=160)),
        (("mobilenet_v1_0.25_128",), ModelSpec(alpha=0.25, resolution_px=128)),
        (("shallow_mobilenet", "--classes", "10"), ModelSpec(family="shallow_mobilenet", classes=10)),
        (("0.5-96", "--family", "dense2_mobilenet"), ModelSpec(family="dense2_mobilenet", alpha=0.5, resolution_px=96)),
        (
            ("--no-top", "--channels", "4", "--padding", "symmetric"),
            ModelSpec(classes=None, channels_in=4, padding="symmetric"),
        ),
    ],
)
def test_model_and_options_together_say_what_is_counted(capsys, argv, spec):
    result = json.loads(output_of(capsys, *argv, "--json"))
    assert ModelSpec.from_json(result["spec"]) == spec
    assert result["title"] == spec.name
    assert result["totals"]["macs"] == estimate(spec).macs


def test_json_layers_add_up_to_the_totals(capsys):
    result = json.loads(output_of(capsys, "--json", "--precision", "fp16"))
    totals = result["totals"] | result["totals"]["by_precision"]["fp16"]
    assert next(iter(result)) == "format"
    assert (result["format"], result["precision"]) == ("mnet.cost/1", "fp16")
    for count in COUNTS:
        assert totals[count] == sum(layer[count] for layer in result["layers"])
        assert totals[count] == sum(kind[count] for kind in result["by_kind"])
    assert totals["by_precision"]["int8"]["weight_bytes"] == 4_256_864
    assert result["standard_convolution"]["macs"] == 4_867_293_184
    assert len(result["grid"]) == 16


def test_json_of_a_family_without_standard_counterpart(capsys):
    assert json.loads(output_of(capsys, "--family", "conv_mobilenet", "--json"))["standard_convolution"] is None


def test_published_json(capsys):
    result = json.loads(output_of(capsys, "--published", "--json"))
    assert result["format"] == "mnet.published-costs/1"
    wrong = [figure for figure in result["figures"] if figure["published"] == 34]
    assert [round(figure["ours"], 1) for figure in wrong] == [30.2]
    assert wrong[0]["explanation"].startswith("Not reproduced")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("--alpha", "0"), "alpha must be a number above 0"),
        (("--alpha", "-1"), "Received: -1.0"),
        (("--alpha", "a"), "Received: 'a'"),
        (("--alpha", "nan"), "Received: nan"),
        (("--resolution", "31"), "resolution must be an integer of 32 or more. Received: 31"),
        (("--resolution", "224x"), "resolution must be an integer of 32 or more. Received: '224x'"),
        (("--resolution", "224.5"), "Received: '224.5'"),
        (("--channels", "0"), "channels must be an integer of 1 or more"),
        (("--classes", "0"), "classes must be an integer of 1 or more"),
        (("--classes", "5", "--no-top"), "--no-top leaves out the classifier"),
        (("--growth", "8"), "growth belongs to the dense families"),
        (("--growth", "103", "--family", "dense2_mobilenet"), "growth must be 102 or less"),
        (("--family", "mobilenet_v2"), "family must be one of mobilenet_v1, conv_mobilenet"),
        (("--padding", "valid"), "padding must be one of keras, same, symmetric"),
        (("--precision", "int4"), "precision must be one of fp32, fp16, dynamic, int8, int16x8. Received: 'int4'"),
        (("0.5-31",), "resolution must be an integer of 32 or more. Received: 31"),
        (("0.5-160", "--alpha", "0.25"), "Received: 0.5-160 with alpha 0.25"),
        (("mobilenet_v1", "--family", "conv_mobilenet"), "Received: mobilenet_v1 with family conv_mobilenet"),
        (("--published", "--alpha", "1"), "Received: --alpha too"),
        (("--published", "0.5-160"), "Received: 0.5-160 too"),
        (("missing.tflite",), "a file to count must exist. Received: missing.tflite"),
        (("missing.onnx", "--no-top"), "a file is counted from its own graph. Received: --no-top too"),
    ],
)
def test_bad_input_is_one_line(capsys, argv, message):
    assert message in error_of(capsys, *argv)


@pytest.mark.parametrize("model", ["squeezenet", "model.h5", "0.5x160", "", "/"])
def test_a_model_that_is_neither_name_nor_file_names_both_forms(capsys, model):
    error = error_of(capsys, model)
    assert "0.5-160 or mobilenet_v1_0.25_128" in error
    assert ".tflite, .onnx or .keras file" in error
    assert repr(model) in error


@pytest.fixture
def onnx_file(tmp_path):
    """A 3x3 convolution of 3 to 16 channels over 5x5 pixels without padding, then an op whose MACs are not known."""
    onnx = pytest.importorskip("onnx", reason="needs the extra onnx")
    shape = onnx.helper.make_tensor_value_info
    weights = onnx.helper.make_tensor("w", onnx.TensorProto.FLOAT, [16, 3, 3, 3], [0.0] * (16 * 3 * 3 * 3))
    graph = onnx.helper.make_graph(
        [
            onnx.helper.make_node("Conv", ["x", "w"], ["y"], name="conv"),
            onnx.helper.make_node("MeanVarianceNormalization", ["y"], ["z"], name="odd one"),
        ],
        "graph",
        [shape("x", onnx.TensorProto.FLOAT, [1, 3, 5, 5])],
        [shape("z", onnx.TensorProto.FLOAT, [1, 16, 3, 3])],
        [weights],
    )
    opsets = [onnx.helper.make_opsetid("", 17)]
    path = tmp_path / "model.onnx"
    onnx.save(onnx.helper.make_model(graph, opset_imports=opsets), path)
    return path


def test_a_file_is_counted_from_its_graph(capsys, onnx_file):
    text = output_of(capsys, str(onnx_file))
    rows, total = printed_table(text, "kind of op")
    assert rows[0][1:4] == ["1", "3,888", "432"]  # 3·3·3·16·3·3 MACs, 3·3·3·16 weights
    assert rows[1][:3] == ["MeanVarianceNormalization", "1", "?"]
    assert total[2:4] == ["3,888 + ?", "432"]
    assert "MeanVarianceNormalization: odd one" in text


def test_json_of_a_file(capsys, onnx_file):
    result = json.loads(output_of(capsys, str(onnx_file), "--json", "--precision", "fp32"))
    assert (result["format"], result["title"], result["precision"]) == ("mnet.cost/1", "model.onnx", "fp32")
    assert result["uncounted"] == ["odd one"]
    assert [layer["macs"] for layer in result["layers"]] == [3_888, None]
    assert result["totals"]["by_precision"]["fp32"]["weight_bytes"] == 4 * 432


def test_a_file_is_known_by_its_content_whatever_its_name(capsys, onnx_file):
    other = onnx_file.rename(onnx_file.with_name("weights.bin"))
    assert output_of(capsys, str(other)).startswith("weights.bin\n")


def test_a_file_of_another_format_is_one_line(capsys, tmp_path):
    (tmp_path / "model.tflite").write_text("not a model")
    assert "model.tflite" in error_of(capsys, str(tmp_path / "model.tflite"))


def test_the_options_of_a_model_do_not_go_with_a_file(capsys, onnx_file):
    assert "Received: --alpha, --no-top too" in error_of(capsys, str(onnx_file), "--alpha", "0.5", "--no-top")


def layer(name, kind, macs, *, weights=0, biases=0, elements=4):
    return LayerCost(
        name=name,
        kind=kind,
        in_shape=(elements,),
        out_shape=(elements,),
        macs=macs,
        weight_count=weights,
        bias_count=biases,
        own_bias_count=biases,
        batch_norm_count=0,
        in_elements=elements,
        out_elements=elements,
    )


def test_the_table_of_a_file_adds_up_and_names_what_was_not_counted():
    layers = (
        layer("a", "CONV_2D", 1_000, weights=100, biases=10),
        layer("b", "CONV_2D", 3_000, weights=300, biases=30),
        layer("odd one", "CUSTOM", None),
        layer("c", "ADD", 0),
    )
    text = graph_text(
        CostEstimate(title="model.tflite", layers=layers, peak_elements=8, uncounted=("odd one",)), Precision.INT8
    )
    rows, total = printed_table(text, "kind of op")
    assert rows[0] == ["CONV_2D", "2", "4,000", "440", str(400 + 4 * 40), "16"]
    assert rows[1][:3] == ["CUSTOM", "1", "?"]
    assert total == ["total", "4", "4,000 + ?", "440", str(400 + 4 * 40), "32"]
    assert "(1 of 4 ops)" in text
    assert "CUSTOM: odd one" in text


def test_the_table_of_a_file_with_unknown_shapes_says_so():
    unknown = LayerCost(
        name="a",
        kind="Conv",
        in_shape=None,
        out_shape=None,
        macs=None,
        weight_count=9,
        bias_count=0,
        own_bias_count=0,
        batch_norm_count=0,
        in_elements=None,
        out_elements=None,
    )
    text = graph_text(
        CostEstimate(title="m.onnx", layers=(unknown,), peak_elements=None, uncounted=("a",)), Precision.FP32
    )
    rows, total = printed_table(text, "kind of op")
    assert rows == [["Conv", "1", "?", "9", "36", "?"]]
    assert total == ["total", "1", "?", "9", "36", "?"]


DOCS = Path(__file__).resolve().parent.parent / "docs"
PAGES = ("convolutions.md", "cost.md", "dense-families.md")


def shown_commands():
    """Return (file, arguments, lines shown, `...` where some are left out) of each command in the documents."""
    for name in PAGES:
        blocks = re.findall(r"```console\n\$ mnet cost(.*)\n([^`]*)```", (DOCS / name).read_text(encoding="utf-8"))
        yield from ((name, tuple(shlex.split(arguments)), shown) for arguments, shown in blocks)


@pytest.mark.parametrize(("name", "argv", "shown"), list(shown_commands()))
def test_the_documents_show_real_output(capsys, name, argv, shown):
    rest = output_of(capsys, *argv)
    for part in shown.split("...\n"):
        assert part in rest, f"docs/{name} shows what `mnet cost {' '.join(argv)}` does not print: {part}"
        rest = rest[rest.index(part) + len(part) :]


def test_the_documents_show_commands():
    assert {name for name, _, _ in shown_commands()} == {*PAGES}


HEAVY = ("numpy", "tensorflow", "keras", "onnx", "onnxruntime", "PIL", "h5py", "ai_edge_litert", "flatbuffers", "scipy")


@pytest.mark.parametrize("argv", [["cost"], ["cost", "0.5-160", "--json"], ["cost", "--published"]], ids=" ".join)
def test_counting_imports_no_framework_and_no_numpy(argv):
    code = f"import sys; from mnet_deploy.cli import main; main({argv!r}); print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert not {name.partition(".")[0] for name in done.stderr.split()} & {*HEAVY}
    assert "mnet_deploy.cost.estimate" in done.stderr.split()


def test_a_text_table_aligns_and_rules():
    table = render_table(("name", "n"), [("a", "1"), ("bb", "22"), (), ("total", "23")], align="<>")
    assert table.splitlines() == ["name    n", "-----  --", "a       1", "bb     22", "-----  --", "total  23"]


@pytest.mark.parametrize(("rows", "align"), [([("a",)], "<>"), ([("a", "b")], "<")])
def test_a_text_table_refuses_ragged_rows(rows, align):
    with pytest.raises(ValueError, match="zip"):
        render_table(("x", "y"), rows, align=align)
