"""Fixtures of the host tests, and the guard against a second copy of our modules."""

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

try:
    import mnet_deploy.converters  # noqa: F401 (a folder beside mnet_deploy/: importable only once it is installed)
except ModuleNotFoundError:
    pytest.exit("mnet_deploy is not installed in this environment: run `make install`, then `make test`", returncode=4)

TEST_DATA = "MNET_TEST_DATA"
TOP_LEVEL_FOLDERS = ("converters", "models", "runners")


@pytest.fixture(scope="session")
def test_data(pytestconfig: pytest.Config) -> Path:
    """Folder with real photos and weights; a relative path counts from the repository's root."""
    value = os.environ.get(TEST_DATA)
    if not value:
        pytest.skip(f"needs real photos and weights: set {TEST_DATA} to the folder that holds them")
    folder = pytestconfig.rootpath / value
    if not folder.is_dir():
        pytest.fail(f"{TEST_DATA} must name a folder. Received: {value}. Unset it to skip these tests")
    return folder


@pytest.fixture(scope="session")
def imagenet_data(test_data: Path) -> Path:
    """Trained MobileNet v1 0.25-224 weights with ImageNet photos: `calibration/`, `evaluation/`, `labels.txt`."""
    folder = test_data / "imagenet_0.25"
    if not folder.is_dir():
        pytest.skip(f"needs the folder imagenet_0.25 in {TEST_DATA}")
    return folder


@pytest.fixture(scope="session")
def validators() -> dict[str, Any]:
    """A validator of each of the project's JSON schemas, by name."""
    from jsonschema import Draft202012Validator
    from referencing import Registry, Resource

    from mnet_deploy import schemas

    loaded = {name: schemas.load(name) for name in schemas.names()}
    registry = Registry().with_resources((one["$id"], Resource.from_contents(one)) for one in loaded.values())
    return {name: Draft202012Validator(one, registry=registry) for name, one in loaded.items()}


@pytest.fixture(scope="session")
def violations(validators: dict[str, Any]) -> Callable[[dict[str, Any]], list[str]]:
    """Return where a JSON value is not what the schema of its format says."""

    def find(value: dict[str, Any]) -> list[str]:
        value = json.loads(json.dumps(value))
        name = value["format"].removeprefix("mnet.").partition("/")[0]
        return [f"{error.json_path}: {error.message}" for error in validators[name].iter_errors(value)]

    return find


@pytest.fixture(scope="session", autouse=True)
def _no_second_copy() -> Iterator[None]:
    """Fail if `models` was imported beside `mnet_deploy.models`: every class would exist twice."""
    yield
    copies = sorted(set(TOP_LEVEL_FOLDERS) & set(sys.modules))
    assert not copies, f"imported as top-level packages: {copies}. Import mnet_deploy.{copies[0]} instead"
