"""Every format has a schema, and what is written is what the schema says."""

import ast
import copy
import json
import re
from pathlib import Path

import pytest

from mnet_deploy import schemas
from mnet_deploy.cli import main
from mnet_deploy.models.shipped_checkpoint import shipped_record

ROOT = Path(__file__).resolve().parent.parent
FORMAT = re.compile(r"mnet\.[a-z_-]+/\d+")


def formats_in_code():
    """Return every format that a module names as a text of its own."""
    return {
        node.value
        for folder in ("mnet_deploy", "models", "runners", "converters")
        for path in (ROOT / folder).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and FORMAT.fullmatch(node.value)
    }


def test_every_format_has_a_schema_and_every_schema_a_format():
    described = {schemas.load(name)["properties"]["format"]["const"] for name in schemas.names()}
    assert described == formats_in_code()


@pytest.mark.parametrize("name", schemas.names())
def test_a_schema_is_one_and_is_named_like_its_format(name, validators):
    schema = schemas.load(name)
    validators[name].check_schema(schema)
    assert schema["properties"]["format"]["const"].partition("/")[0] == f"mnet.{name}"
    assert schema["$id"].endswith(f"/{name}.schema.json")
    assert "format" in schema["required"]


def test_there_is_no_schema_of_another_name():
    with pytest.raises(KeyError):
        schemas.load("nothing")
    with pytest.raises(KeyError):
        schemas.load("../errors")


@pytest.mark.parametrize(
    "arguments",
    [
        ("cost", "--json"),
        ("cost", "--json", "--family", "dense1_mobilenet", "--resolution", "64"),
        ("cost", "--json", "--precision", "fp16", "--no-top"),
        ("cost", "--json", "--published"),
    ],
    ids=" ".join,
)
def test_cost(arguments, capsys, violations):
    assert main(list(arguments)) == 0
    assert violations(json.loads(capsys.readouterr().out)) == []


def test_the_record_of_a_training(violations):
    assert violations(shipped_record()) == []


def test_a_document_that_is_not_as_described_is_refused(violations):
    """Of the record, each name is needed, no other is known, and values have types."""
    record = shipped_record()
    for name in set(record) - {"format"}:
        assert violations({key: value for key, value in record.items() if key != name}), name
    assert violations({**record, "more": 1})
    assert violations({**record, "history": "none"})
    nested = copy.deepcopy(record)
    nested["result"]["accuracy"]["val"]["top1"] = 1.5
    assert violations(nested)
