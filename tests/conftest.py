"""Fixtures of the host tests, and the guard against a second copy of our modules."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

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


@pytest.fixture(scope="session", autouse=True)
def _no_second_copy() -> Iterator[None]:
    """Fail if `models` was imported beside `mnet_deploy.models`: every class would exist twice."""
    yield
    copies = sorted(set(TOP_LEVEL_FOLDERS) & set(sys.modules))
    assert not copies, f"imported as top-level packages: {copies}. Import mnet_deploy.{copies[0]} instead"
