import importlib.metadata
import runpy
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest

import mnet_deploy

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
SETUPTOOLS = PROJECT["tool"]["setuptools"]
FOLDERS = {
    "mnet_deploy": ROOT / "mnet_deploy",
    **{f"mnet_deploy.{name}": ROOT / name for name in ("converters", "runners", "models")},
}
check_host = runpy.run_path(str(ROOT / "tools" / "check_host.py"))


def files_by_package():
    """Yield (package, file) for every file in the folders, with the package that setuptools would file it under."""
    for top, folder in FOLDERS.items():
        for path in folder.rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                yield ".".join((top, *path.parent.relative_to(folder).parts)), path


def test_every_folder_with_modules_is_a_listed_package():
    folders = {package for package, path in files_by_package() if path.suffix == ".py"}
    assert sorted(SETUPTOOLS["packages"]) == sorted(folders)


@pytest.mark.parametrize("package", SETUPTOOLS["packages"])
def test_packages_are_regular_packages(package):
    assert importlib.metadata.packages_distributions()["mnet_deploy"] == ["mnet-deploy"]
    assert (next(path for name, path in files_by_package() if name == package).parent / "__init__.py").is_file()


def is_shipped(package, name):
    """Whether a glob of the package, or of one that its folder lies in, takes a file."""
    patterns = SETUPTOOLS["package-data"].get(package, [])
    if any(fnmatch(name, pattern) for pattern in patterns):
        return True
    parent, _, folder = package.rpartition(".")
    return package not in SETUPTOOLS["packages"] and is_shipped(parent, f"{folder}/{name}")


def test_every_data_file_is_shipped():
    data = [(package, path) for package, path in files_by_package() if path.suffix != ".py"]
    assert [str(path.relative_to(ROOT)) for package, path in data if not is_shipped(package, path.name)] == []


def test_folders_beside_the_package_install_inside_it():
    assert {name: SETUPTOOLS["package-dir"][name] for name in FOLDERS} == {
        name: folder.name for name, folder in FOLDERS.items()
    }


def test_version_has_one_source():
    assert PROJECT["project"]["dynamic"] == ["version"]
    assert SETUPTOOLS["dynamic"]["version"] == {"attr": "mnet_deploy.__version__"}
    assert importlib.metadata.version("mnet-deploy") == mnet_deploy.__version__


def test_extras_are_those_the_readme_names():
    extras = {"export", "tensorflow", "onnx", "litert", "tflite-runtime", "android", "fit", "report", "dev"}
    assert set(PROJECT["project"]["optional-dependencies"]) == extras


def test_core_install_needs_no_framework():
    names = {requirement.partition(">")[0] for requirement in PROJECT["project"]["dependencies"]}
    assert names == {"numpy", "tqdm"}


def test_oldest_python_is_stated_once_for_pip_and_once_for_make():
    oldest = check_host["OLDEST_PYTHON"]
    assert PROJECT["project"]["requires-python"] == ">={}.{}".format(*oldest)
    assert PROJECT["tool"]["ruff"]["target-version"] == "py{}{}".format(*oldest)


@pytest.mark.parametrize(
    ("python", "system", "machine", "has_venv", "expected"),
    [
        ((3, 11, 0), "Linux", "x86_64", True, ""),
        ((3, 13, 1), "Linux", "aarch64", True, ""),
        ((3, 12, 1), "Darwin", "arm64", True, ""),
        ((3, 10, 13), "Linux", "x86_64", True, "make PYTHON="),
        ((3, 11, 0), "Linux", "x86_64", False, "apt install python3-venv"),
        ((3, 11, 0), "Linux", "armv7l", True, "this is"),
        ((3, 11, 0), "FreeBSD", "amd64", True, "this is"),
        ((3, 11, 0), "Windows", "AMD64", True, "WSL"),
        ((3, 11, 0), "MINGW64_NT-10.0", "x86_64", True, "WSL"),
    ],
)
def test_make_says_in_one_line_what_is_missing(python, system, machine, has_venv, expected):
    message = check_host["problem"](python, system, machine, has_venv)
    assert expected in message
    assert bool(message) == bool(expected)
    assert "\n" not in message
