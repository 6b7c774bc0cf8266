import csv
import io
import json
from dataclasses import replace

import pytest

from mnet_deploy.errors import ResultFormatError, SpecError
from mnet_deploy.latency.grid_rules import same_device, sort_grids
from mnet_deploy.latency.grids import (
    GRID_SPECS,
    LATENCY_COLUMNS,
    TEXT_COLUMNS,
    published_grids,
    read_grids,
)
from mnet_deploy.latency.learning import learn_prior
from mnet_deploy.latency.prior import Prior, shipped_prior
from mnet_deploy.precision import Precision

ACCEPTED = 44
GOOD = tuple(sum(layer.macs for layer in spec.layers()) / 1e10 + 1e-3 for spec in GRID_SPECS)  # seconds


def csv_text(*changes, factor=1000.0, without=()):
    """Return a table with one row a change of a good one; latencies in ms."""
    columns = [name for name in (*TEXT_COLUMNS, *LATENCY_COLUMNS) if name not in without]
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, extrasaction="ignore")
    writer.writeheader()
    texts = {"source": "a paper", "device": "a board", "system": "tflite", "precision": "fp32", "stat": "min"}
    latencies = {name: value * factor for name, value in zip(LATENCY_COLUMNS, GOOD, strict=True)}
    writer.writerows({**texts, **latencies, **change} for change in changes or ({},))
    return out.getvalue()


def grid(**changes):
    return replace(read_grids(csv_text(), "grids.csv")[0], **changes)


def swapped(first, second):
    values = list(GOOD)
    values[first], values[second] = values[second], values[first]
    return tuple(values)


def test_the_published_grids():
    rows = published_grids()
    assert len(rows) == 210
    assert len({row.key for row in rows}) == 63
    assert rows[0].latency_s[0] == pytest.approx(1.2e-3)
    assert {row.precision for row in rows} == {Precision.INT8, Precision.FP32}


def test_which_published_grids_are_accepted():
    found = sort_grids(published_grids())
    assert len(found.accepted) == ACCEPTED
    assert not any(each.accelerator for each in found.accepted)
    assert all(each.accelerator for each in found.accelerators)
    refused = {(each.grid.device, each.grid.system) for each in found.refused if not each.grid.accelerator}
    assert refused == {
        ("Pixel 2", "tensorflow-mobile"),
        ("Linaro HiKey960 (hikey", "hikey960-armnn-v19.08-neon"),
        ("Huawei Mate 10 Pro (ma", "mate10pro-tflite-v1.13"),
        ("Raspberry Pi 3B rev1.2", "rpi3-tflite-v2.7.1-ruy"),  # its uint8 grid
    }
    assert len(found.accepted) + len(found.accelerators) + len(found.refused) == 63
    assert all("not monotone" in each.reason for each in found.refused)


def test_a_grid_is_its_minimum_or_its_single_value():
    rows = [grid(stat=stat, latency_s=tuple(v * f for v in GOOD)) for stat, f in (("p50", 2.0), ("min", 1.0))]
    assert [each.latency_s for each in sort_grids(rows).accepted] == [GOOD]
    assert [each.stat for each in sort_grids(rows[:1]).accepted] == ["p50"]


@pytest.mark.parametrize(("factor", "refused"), [(1.0, 0), (1.02, 0), (1.04, 1)])
def test_repeats_that_differ_are_refused(factor, refused):
    found = sort_grids([grid(), grid(latency_s=(*GOOD[:15], GOOD[15] * factor))])
    assert (len(found.accepted), len(found.refused)) == (1 - refused, refused)
    if refused:
        assert found.refused[0].reason == "its repeats differ by up to 4.0%"


def test_the_middle_of_repeats_counts():
    rows = [grid(latency_s=tuple(v * f for v in GOOD)) for f in (0.99, 1.0, 1.01)]
    assert sort_grids(rows).accepted[0].latency_s == pytest.approx(GOOD)


@pytest.mark.parametrize(
    ("latency_s", "reason"),
    [
        (swapped(14, 15), "not monotone: 1.0-224 takes"),
        (swapped(11, 15), "not monotone: 1.0-224 takes"),
        (swapped(0, 15), " more such pairs"),
    ],
)
def test_a_grid_in_disorder_is_refused(latency_s, reason):
    found = sort_grids([grid(latency_s=latency_s)])
    assert found.accepted == ()
    assert reason in found.refused[0].reason


def test_equal_latencies_of_rounded_tables_are_no_disorder():
    assert sort_grids([grid(latency_s=(GOOD[0], GOOD[0], *GOOD[2:]))]).refused == ()


@pytest.mark.parametrize("system", ["armnn-v21.11-opencl", "tflite-GPU", "tflite-nnapi"])
def test_accelerators_are_apart(system):
    found = sort_grids([grid(system=system), grid(system="rpi4coral-fan.on-tflite")])
    assert [each.system for each in found.accelerators] == [system]
    assert len(found.accepted) == 1


def test_one_grid_in_another_unit_is_refused_alone():
    slow = tuple(value * 1000 for value in GOOD)
    found = sort_grids([grid(), grid(system="other", latency_s=slow)])
    assert "are its latencies in ms?" in found.refused[0].reason


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected the columns source, device"),
        ("a,b\n1,2\n", "Received: none of the name source, device, system and 18 more"),
        (csv_text(without=["a0.5_r160"]), "Received: none of the name a0.5_r160"),
        (csv_text().splitlines()[0], "Received: a header without rows"),
        (csv_text({}, {"a0.5_r160": "0"}), "grids.csv, line 3, a0.5_r160: expected a latency in ms above 0"),
        (csv_text({"a0.5_r160": "-3"}), "Received: '-3'"),
        (csv_text({"a0.5_r160": "nan"}), "Received: 'nan'"),
        (csv_text({"a0.5_r160": "inf"}), "Received: 'inf'"),
        (csv_text({"a0.5_r160": ""}), "Received: ''"),
        (csv_text({"a0.5_r160": "1,5"}), "Received: '1,5'"),
        (csv_text().rpartition(",")[0], "line 2, a1.0_r224: expected a latency in ms above 0. Received: None"),
        (csv_text({"precision": "int4"}), "line 2: expected a precision such as int8"),
        (csv_text({"device": "x" * 200_000}), "expected a CSV. Received: field larger than"),
        (csv_text(factor=1e6), "they look like microseconds"),
        (csv_text(factor=1.0), "they look like seconds"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused(text, message):
    with pytest.raises(SpecError) as refused:
        read_grids(text, "grids.csv")
    assert message in str(refused.value)
    assert str(refused.value).startswith("grids.csv")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("factor", [1e3, 1e-3], ids=["microseconds", "seconds"])
def test_the_published_grids_in_another_unit_are_noticed(factor):
    rows = [
        {**{name: getattr(row, name) for name in TEXT_COLUMNS if name != "precision"}, "precision": row.precision_text}
        | dict(zip(LATENCY_COLUMNS, (value * 1000 * factor for value in row.latency_s), strict=True))
        for row in published_grids()
    ]
    with pytest.raises(SpecError, match="they look like"):
        read_grids(csv_text(*rows), "grids.csv")


def test_spreadsheets_may_have_a_byte_order_mark_and_more_columns():
    text = "\ufeff" + csv_text().replace("source,", "source,note,", 1).replace("a paper,", "a paper,x,", 1)
    assert read_grids(text, "grids.csv") == read_grids(csv_text(), "grids.csv")


@pytest.mark.parametrize(
    ("text", "precision"),
    [("int8(uint8 QAT)", "int8"), ("UINT8", "int8"), ("fp32", "fp32"), ("float16", "fp16"), ("float", "fp32")],
)
def test_precisions_of_publications(text, precision):
    assert grid(precision_text=text).precision == precision


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("HiKey960", "Linaro HiKey960 (hikey", True),
        ("Raspberry Pi 4", "Raspberry Pi 4 Model B Rev 1.1", True),
        ("Raspberry Pi 4", "Raspberry Pi 3B rev1.2", False),
        ("Pixel 2", "Pixel 3", False),
        ("", "Pixel 3", False),
    ],
)
def test_names_of_one_device(one, other, same):
    assert same_device(one, other) is same_device(other, one) is same


def test_the_shipped_prior_is_what_the_shipped_grids_teach(violations):
    learnt = learn_prior(sort_grids(published_grids()).accepted)
    assert violations(learnt.to_json()) == []
    shipped = shipped_prior()
    assert shipped.learnt_from == learnt.learnt_from == ACCEPTED
    assert shipped.spread == pytest.approx(learnt.spread, abs=2e-4)
    for name, shares in learnt.shares.items():
        assert shipped.shares[name] == pytest.approx(shares, abs=2e-4)
        assert sum(shares) == pytest.approx(1, abs=0.1)


def test_a_precision_that_no_grid_has_is_in_the_middle():
    prior = shipped_prior()
    assert prior.shares_of(Precision.FP16).tolist() == prior.shares_of(Precision.FP32).tolist()
    middle = (prior.shares_of(Precision.FP32) + prior.shares_of(Precision.INT8)) / 2
    assert prior.shares_of(Precision.DYNAMIC) == pytest.approx(middle)


@pytest.mark.parametrize("changes", [{"format": "mnet.latency-prior/2"}, {"terms": ["macs"]}])
def test_a_prior_of_other_terms_is_refused(changes):
    with pytest.raises(ResultFormatError, match="Received: "):
        Prior.from_json({**json.loads(json.dumps(shipped_prior().to_json())), **changes})
