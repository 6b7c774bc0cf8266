import argparse
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest

pytest.importorskip("jinja2", reason="the page needs jinja2: pip install 'mnet-deploy[report]'")

from mnet_deploy.artifact import read_artifact
from mnet_deploy.cli.verify_layers import add_layer_arguments, run_layers
from mnet_deploy.converters import quantizer
from mnet_deploy.errors import SpecError
from mnet_deploy.intervals import wilson_interval
from mnet_deploy.models.load import LoadedModel
from mnet_deploy.pipeline import layer_diagnosis
from mnet_deploy.pipeline.accuracy import Accuracy, PairedDifference
from mnet_deploy.pipeline.diagnosis_page import diagnosis_page
from mnet_deploy.pipeline.layer_diagnosis import diagnose
from mnet_deploy.pipeline.verify import Verification
from mnet_deploy.progress import Progress
from mnet_deploy.report.chart import PLOT_PX, bar_chart
from mnet_deploy.report.page import FindingText, LayerRow, Page, render_page

VOID = {"meta", "link", "img", "br"}
EMPTY = Page(
    title="a.tflite", facts=(), findings=(), accuracy=(), accuracy_note="", layers=(), layers_note="", notes=()
)


class Reader(HTMLParser):
    """Checks that every element is closed, and collects tags, attributes and the cells of tables."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.attributes, self.rows = [], set(), [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.attributes += attributes
        if tag == "tr":
            self.rows.append([])
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.add(tag)
        self.attributes += attributes

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1].append(data)


def row(name, value, marked=False):
    return LayerRow(
        name=name, sqnr_db=value, cosine=0.5, mean_shift=None, saturated=-0.001, stored_range=(0, 6), marked=marked
    )


def test_a_page_needs_nothing_from_elsewhere():
    text = render_page(replace(EMPTY, layers=(row("conv1", 40.0), row("conv_dw_1", None))))
    page = Reader(text)
    assert page.tags & {"script", "link", "img", "iframe", "object", "base"} == set()
    assert not [name for name, _ in page.attributes if name in ("src", "href")]
    assert "url(" not in text
    assert "@import" not in text
    assert re.findall("https?://[^\"']*", text) == ["http://www.w3.org/2000/svg"]  # the name of a namespace


def test_text_is_escaped():
    finding = FindingText(title="<b>", what="1 < 2 & 3", remedy="")
    text = render_page(replace(EMPTY, title="<script>", layers=(row('"><svg', 1.0),), findings=(finding,)))
    page = Reader(text)
    assert "script" not in page.tags
    assert "1 &lt; 2 &amp; 3" in text
    ElementTree.fromstring(svg_of(text))


def svg_of(text):
    (found,) = re.findall("<svg.*?</svg>", text, re.DOTALL)
    return found


def test_the_picture_has_a_bar_for_each_layer_as_high_as_its_value():
    text = render_page(replace(EMPTY, layers=(row("a", 40.0), row("b", 20.0, marked=True), row("c", None))))
    picture = ElementTree.fromstring(svg_of(text))
    bars = picture.findall("{*}rect")
    assert [float(bar.get("height")) for bar in bars] == [PLOT_PX, PLOT_PX / 2, 0]
    assert [bar.find("{*}title").text for bar in bars] == ["a: 40.0 dB", "b: 20.0 dB", "c: -"]
    assert bars[1].get("fill") != bars[0].get("fill") == bars[2].get("fill")
    for bar in bars:
        assert float(bar.get("x")) + float(bar.get("width")) <= float(picture.get("width"))


@pytest.mark.parametrize(
    ("values", "ticks", "heights"),
    [
        ((41.0, -3.0), ["0", "10", "20", "30", "40", "50"], [PLOT_PX * 41 / 50, 0]),
        ((0.0,), ["0", "10"], [0]),
        ((), ["0", "10"], []),
    ],
)
def test_the_scale_ends_at_a_whole_line_above_the_largest_value(values, ticks, heights):
    chart = bar_chart([("layer", value, False) for value in values])
    assert [text for _, text in chart.ticks] == ticks
    assert [bar.height for bar in chart.bars] == pytest.approx(heights, abs=0.06)
    assert chart.ticks[0][0] == chart.base


# A diagnosis as a page.


@pytest.fixture(scope="module")
def loaded(spec, weights):
    return LoadedModel(
        spec=spec, weights=weights, origin="test", path=None, sha256="", body_trained=True, head_trained=True
    )


@pytest.fixture(scope="module")
def file(folded, int8_graph, write_file, tmp_path_factory):
    """A file whose range of logits was stretched."""
    with pytest.MonkeyPatch.context() as patch:
        clean = quantizer.fixed_range
        patch.setattr(quantizer, "fixed_range", lambda one: (-50, 100) if "preds" in one.spec.name else clean(one))
        graph = int8_graph(folded)
    return write_file(tmp_path_factory.mktemp("file") / "int8.tflite", graph)


def test_the_page_has_findings_accuracy_and_all_layers(file, loaded, images):
    artifact = read_artifact(file)
    found = diagnose(file, artifact, loaded, images(4, seed=4), Progress())
    difference = PairedDifference(top1=-0.1, low=-0.3, high=0.1, gained=1, lost=2, p_value=1.0)
    verification = Verification(
        file="int8.tflite",
        sha256=artifact.sha256,
        artifact=artifact,
        images=10,
        converted=Accuracy(top1=0.7, top5=0.9),
        reference=Accuracy(top1=0.8, top5=1.0),
        top1_agreement=0.9,
        difference=difference,
        preparation=None,
        notes=("one photo is broken",),
    )
    text = diagnosis_page(found, verification)
    page = Reader(text)
    low, high = wilson_interval(7, 10)
    assert ["int8.tflite", "70.0%", f"{low:.1%} to {high:.1%}", "90.0%"] in page.rows
    assert [cells[0] for cells in page.rows[-len(found.layers) :]] == [layer.layer for layer in found.layers]
    for expected in ("conv_preds: stretched range", "-30.0% to +10.0%, which contains 0", "one photo is broken"):
        assert expected in text
    assert text.count('class="finding"') == 1
    assert "95% interval" not in diagnosis_page(found, None)


@pytest.fixture
def command(file, loaded, monkeypatch, capsys):
    monkeypatch.setattr(layer_diagnosis, "find_float_model", lambda artifact, weights: (loaded, ()))

    def run(*options):
        parser = argparse.ArgumentParser()
        parser.add_argument("--json", action="store_true")
        add_layer_arguments(parser)
        args = parser.parse_args(["--layers", *(str(option) for option in options)])
        args.artifact, args.data, args.classes_file, args.weights, args.no_diagnosis = file, None, None, None, True
        return run_layers(args), capsys.readouterr().out

    return run


def test_the_command_prints_the_layers_and_writes_the_page(command, tmp_path):
    page = tmp_path / "page.html"
    status, out = command("--page", page)
    assert status == 1
    assert out.splitlines()[-1].startswith("stretched range: conv_preds is stored in the range -50 to 100, ")
    assert len(out.splitlines()) == 2 + 31 + 3
    Reader(page.read_text(encoding="utf-8"))
    with pytest.raises(SpecError, match=r"page\.html exists already and is not overwritten\. Give --force"):
        command("--page", page)
    page.write_text("old")
    status, out = command("--page", page, "--force", "--json")
    assert json.loads(out)["findings"][0]["cause"] == "stretched range"
    assert Path(page).read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
