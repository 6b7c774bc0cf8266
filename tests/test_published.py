from fractions import Fraction

import pytest

from mnet_deploy.cost.published import OURS, PublishedFigure, Quantity, Recount, explanations, published_figures
from mnet_deploy.cost.published_text import published_text
from mnet_deploy.errors import SpecError
from mnet_deploy.spec import ModelSpec

FIGURES = published_figures()
PAPER = "Howard et al. 2017, arXiv 1704.04861"
SLIM = "tensorflow/models@02c04f49 research/slim/nets/mobilenet_v1.md"

# Differences that no way of counting explains: misprints, and networks that are not described in full.
WITHOUT_ARITHMETIC = {
    "share-misprint",
    "face-misprint",
    "slim-misprint",
    "keras-misprint",
    "embedding-layer",
    "embedding-below-body",
}


def figure_id(figure):
    return f"{figure.table} {figure.row} {figure.quantity}".replace(" ", "_")


def figures(source=None, table=None, quantity=None, **fields):
    return [
        figure
        for figure in FIGURES
        if source in (None, figure.source)
        and table in (None, figure.table)
        and quantity in (None, figure.quantity)
        and all(getattr(figure.spec, name) == value for name, value in fields.items())
    ]


@pytest.mark.parametrize("figure", FIGURES, ids=figure_id)
def test_a_figure_agrees_or_is_explained_and_never_both(figure):
    assert figure.agrees() is not bool(figure.note)


@pytest.mark.parametrize("figure", [figure for figure in FIGURES if figure.recount], ids=figure_id)
def test_counting_as_explained_gives_the_published_figure(figure):
    assert figure.note
    assert figure.agrees(figure.recount)


def test_an_explanation_without_arithmetic_is_a_known_exception():
    assert {figure.note for figure in FIGURES if figure.note and not figure.recount} == WITHOUT_ARITHMETIC


def test_every_explanation_is_used_and_is_a_sentence():
    assert {figure.note for figure in FIGURES if figure.note} == set(explanations())
    assert all(text.endswith(".") and len(text) > 20 for text in explanations().values())


def test_every_figure_of_the_sources_is_there():
    grid = {(alpha, size) for alpha in (0.25, 0.5, 0.75, 1.0) for size in (128, 160, 192, 224)}
    for quantity in (Quantity.MACS, Quantity.PARAMS):
        slim = figures(source=SLIM, quantity=quantity)
        assert sorted((figure.spec.alpha, figure.spec.resolution_px) for figure in slim) == sorted(grid)
    tables = {figure.table for figure in figures(source=PAPER)}
    assert tables == {f"Table {number}" for number in (2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 14)}


def test_table_2_adds_up_only_with_its_misprint_corrected():
    shares = figures(source=PAPER, table="Table 2", quantity=Quantity.MACS_SHARE)
    assert sum(Fraction(figure.published) for figure in shares) == Fraction("99.29")
    [wrong] = [figure for figure in shares if figure.note]
    assert wrong.counted() == Fraction(10_838_016 * 100, 568_740_352)
    assert round(float(wrong.counted()), 2) == 1.91
    assert sum(Fraction(figure.published) for figure in shares if figure is not wrong) + Fraction("1.91") == Fraction(
        "100.01"
    )


def test_slims_three_quarter_rows_leave_out_the_first_convolution():
    for figure in figures(source=SLIM, quantity=Quantity.MACS, alpha=0.75):
        side = figure.spec.resolution_px // 2
        first = 3 * 3 * 3 * 24 * side * side
        assert round(float(figure.counted() - Fraction(first, 10**6))) == int(figure.published)


def test_slims_parameters_count_1001_classes_and_three_values_a_batch_norm_channel():
    # kernels of the body + (width + 1) · 1001 + 3 · batch-norm channels, for alpha 1.0: 10,944 channels.
    assert 3_185_088 + 1025 * 1001 + 3 * 10_944 == 4_243_945
    figure = figures(source=SLIM, quantity=Quantity.PARAMS, alpha=1.0)[0]
    assert figure.counted(figure.recount) * 10**6 == 4_243_945


def test_slims_34_million_contradict_the_table_they_stand_in():
    at_224, at_192 = (
        int(figures(source=SLIM, quantity=Quantity.MACS, alpha=0.25, resolution_px=size)[0].published)
        for size in (224, 192)
    )
    assert at_192 == 34
    assert round(at_224 * (192 / 224) ** 2) == 30


def test_the_face_attribute_misprints_contradict_table_6():
    [table_6] = figures(source=PAPER, table="Table 6", quantity=Quantity.MACS, alpha=0.25)
    misprints = [figure for figure in figures(source=PAPER, table="Table 12") if figure.note == "face-misprint"]
    assert [figure.published for figure in misprints] == ["45", "15"]
    for figure in misprints:
        with_classifier = float(table_6.published) * (figure.spec.resolution_px / 224) ** 2
        assert float(figure.published) > with_classifier + 0.5


def test_the_embedding_row_below_our_body_cannot_be_explained_by_an_embedding():
    [figure] = [figure for figure in FIGURES if figure.note == "embedding-below-body"]
    assert float(figure.published) + 0.5 < float(figure.counted())


@pytest.mark.parametrize("figure", [f for f in FIGURES if f.note == "embedding-layer"], ids=figure_id)
def test_an_embedding_layer_adds_to_the_body(figure):
    assert Fraction(figure.published) > figure.counted()


def test_kerass_529_stands_at_every_resolution():
    wrong = [figure for figure in FIGURES if figure.note == "keras-misprint"]
    assert {figure.published for figure in wrong} == {"529"}
    assert sorted(figure.spec.resolution_px for figure in wrong) == [128, 160, 192, 224]


def figure_of(published, unit="M", **fields):
    known = {"source": "", "table": "", "row": "", "layers": (), "note": "", "recount": None}
    return PublishedFigure(
        **{**known, "spec": ModelSpec(), "quantity": Quantity.MACS, **fields}, published=published, unit=unit
    )


@pytest.mark.parametrize(
    ("published", "agrees"),
    [
        ("569", True),
        ("568.7", True),
        ("568.74", True),
        ("568", False),
        ("570", False),
        ("568.8", False),
        ("568.75", False),
    ],
)
def test_agreement_is_that_of_the_printed_digits(published, agrees):
    assert figure_of(published).agrees() is agrees


def test_a_figure_that_was_cut_off():
    assert figure_of("568").agrees(Recount(rounding="down"))
    assert not figure_of("569").agrees(Recount(rounding="down"))


def test_figures_of_chosen_layers():
    assert figure_of("1024000", unit="", layers=("conv_preds",)).counted() == 1_024_000
    assert figure_of("0", unit="", layers=("kind:softmax",)).counted() == 0


@pytest.mark.parametrize(
    ("text", "recount"),
    [
        ("", OURS),
        ("without=conv1", Recount(without="conv1")),
        ("classes=1001 batch_norm_vectors=3", Recount(spec_changes=(("classes", "1001"),), batch_norm_vectors=3)),
        ("pooling=additions", Recount(pooling="additions")),
        ("rounding=down", Recount(rounding="down")),
    ],
)
def test_recounts_as_text(text, recount):
    assert Recount.from_text(text) == recount


def test_a_recount_of_an_impossible_model_is_refused():
    with pytest.raises(SpecError, match="alpha"):
        figure_of("1").counted(Recount.from_text("alpha=0"))


def test_the_text_shows_every_figure_and_every_explanation():
    text = published_text()
    words = " ".join(text.split())
    differing = sum(bool(figure.note) for figure in FIGURES)
    assert f"{len(FIGURES) - differing} of {len(FIGURES)} figures agree" in words
    for explanation in explanations().values():
        assert explanation in words
    for source in {figure.source for figure in FIGURES}:
        assert text.count(source) == 1
    assert sum(line.startswith(("Table", "table", "docstring", "network", "MCU")) for line in text.splitlines()) == len(
        FIGURES
    )


def test_a_differing_row_points_to_its_explanation():
    [row] = [line for line in published_text().splitlines() if "MobileNet_v1_0.25_192" in line and "MACs" in line]
    number = row.split()[-1]
    [note] = [line for line in published_text().splitlines() if line.strip().startswith(number)]
    assert "34 M" in row
    assert "30.213 M" in row
    assert explanations()["slim-misprint"].startswith(note.strip().removeprefix(number).strip())
