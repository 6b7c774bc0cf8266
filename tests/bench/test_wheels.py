"""The table of wheels against what pip found, and what each kind of device gets of it."""

import tomllib
from pathlib import Path

import pytest

from mnet_deploy.errors import DeviceUnavailable
from mnet_deploy.measurement.engine_packages import ENGINE_PACKAGES
from mnet_deploy.runners.on_device import agent
from mnet_deploy.runners.setup.wheel_table import NUMPY_1, NUMPY_2, WHEELS
from mnet_deploy.runners.setup.wheels import WheelTarget, fits, plan, platform_tags

ROOT = Path(__file__).parents[2]
# What `pip download` of PyPI chose on 2026-11-20, given all tags that fit the system:
#   pip download --no-deps --only-binary=:all: --implementation cp
#     --python-version 3.11 --abi cp311 --abi abi3 --abi none --platform linux_aarch64 --platform manylinux2014_aarch64
#     --platform manylinux_2_17_aarch64 ... --platform manylinux_2_36_aarch64 ai-edge-litert
PIP_CHOSE = {
    ("bullseye", (3, 9), (2, 31), "aarch64", 64): [
        "ai_edge_litert-2.1.0-cp39-cp39-manylinux_2_27_aarch64.whl",
        "tflite_runtime-2.13.0-cp39-cp39-manylinux2014_aarch64.whl",
        "onnxruntime-1.19.2-cp39-cp39-manylinux_2_27_aarch64.manylinux_2_28_aarch64.whl",
    ],
    ("bookworm", (3, 11), (2, 36), "aarch64", 64): [
        "ai_edge_litert-2.3.0-cp311-cp311-manylinux_2_27_aarch64.whl",
        "tflite_runtime-2.14.0-cp311-cp311-manylinux_2_34_aarch64.whl",
        "onnxruntime-1.31.1-cp311-cp311-manylinux_2_28_aarch64.whl",
    ],
    ("trixie", (3, 13), (2, 41), "aarch64", 64): [
        "ai_edge_litert-2.3.0-cp313-cp313-manylinux_2_27_aarch64.whl",
        "onnxruntime-1.31.1-cp313-cp313-manylinux_2_28_aarch64.whl",
    ],
    ("bullseye", (3, 9), (2, 31), "armv7l", 32): ["tflite_runtime-2.13.0-cp39-cp39-manylinux2014_armv7l.whl"],
    ("bookworm", (3, 11), (2, 36), "armv7l", 32): ["tflite_runtime-2.14.0-cp311-cp311-manylinux_2_34_armv7l.whl"],
    ("trixie", (3, 13), (2, 41), "armv7l", 32): [],
    ("Ubuntu 22.04", (3, 10), (2, 35), "aarch64", 64): [
        "ai_edge_litert-2.3.0-cp310-cp310-manylinux_2_27_aarch64.whl",
        "tflite_runtime-2.14.0-cp310-cp310-manylinux_2_34_aarch64.whl",
        "onnxruntime-1.23.2-cp310-cp310-manylinux_2_27_aarch64.manylinux_2_28_aarch64.whl",
    ],
    ("Ubuntu 24.04", (3, 12), (2, 39), "aarch64", 64): [
        "ai_edge_litert-2.3.0-cp312-cp312-manylinux_2_27_aarch64.whl",
        "onnxruntime-1.31.1-cp312-cp312-manylinux_2_28_aarch64.whl",
    ],
    ("newest", (3, 14), (2, 41), "aarch64", 64): [
        "ai_edge_litert-2.3.0-cp314-cp314-manylinux_2_27_aarch64.whl",
        "onnxruntime-1.31.1-cp314-cp314-manylinux_2_28_aarch64.whl",
    ],
    ("bookworm", (3, 11), (2, 36), "x86_64", 64): [
        "ai_edge_litert-2.3.0-cp311-cp311-manylinux_2_27_x86_64.whl",
        "tflite_runtime-2.14.0-cp311-cp311-manylinux2014_x86_64.whl",
        "onnxruntime-1.31.1-cp311-cp311-manylinux_2_28_x86_64.whl",
    ],
}

BULLSEYE_64 = WheelTarget(python=(3, 9), bits=64, machine="aarch64", glibc=(2, 31))
BOOKWORM_64 = WheelTarget(python=(3, 11), bits=64, machine="aarch64", glibc=(2, 36))
TRIXIE_64 = WheelTarget(python=(3, 13), bits=64, machine="aarch64", glibc=(2, 41))
BULLSEYE_32 = WheelTarget(python=(3, 9), bits=32, machine="armv7l", glibc=(2, 31))
BOOKWORM_32 = WheelTarget(python=(3, 11), bits=32, machine="aarch64", glibc=(2, 36))  # on a 64-bit kernel
TRIXIE_32 = WheelTarget(python=(3, 13), bits=32, machine="armv7l", glibc=(2, 41))
MAC = WheelTarget(python=(3, 12), bits=64, machine="arm64", system="macos")


@pytest.mark.parametrize("system", PIP_CHOSE)
def test_the_table_chooses_what_pip_chose(system):
    _, python, glibc, machine, bits = system
    target = WheelTarget(python=python, bits=bits, machine=machine, glibc=glibc)
    chosen = [fit.wheel.file_name(python) for fit in fits(target) if fit.wheel]
    assert chosen == PIP_CHOSE[system]


def test_the_agent_and_the_extras_have_the_engines_that_a_configuration_takes():
    """The agent is sent as a single file, with a table of its own."""
    assert {name: engine.package for name, engine in ENGINE_PACKAGES.items()} == agent.PACKAGES
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for engine in ENGINE_PACKAGES.values():
        assert any(each.startswith(engine.package) for each in project["optional-dependencies"][engine.extra])


def test_every_python_of_a_wheel_has_a_numpy():
    for wheel in WHEELS:
        known = NUMPY_1 if wheel.engine == "tflite-runtime" else NUMPY_2
        assert set(wheel.pythons) <= set(known)


@pytest.mark.parametrize(
    ("target", "engines", "requirements"),
    [
        (BULLSEYE_64, (), ("ai-edge-litert==2.1.0", "onnxruntime==1.19.2", "numpy==2.0.2")),
        (BOOKWORM_64, (), ("ai-edge-litert==2.3.0", "onnxruntime==1.31.1", "numpy==2.4.6")),
        (TRIXIE_64, (), ("ai-edge-litert==2.3.0", "onnxruntime==1.31.1", "numpy==2.5.5")),
        (MAC, (), ("ai-edge-litert==2.3.0", "onnxruntime==1.31.1", "numpy==2.5.5")),
        (BOOKWORM_64, ("onnxruntime",), ("onnxruntime==1.31.1", "numpy==2.4.6")),
        (
            BOOKWORM_64,
            ("tflite-runtime", "litert"),
            ("ai-edge-litert==2.3.0", "tflite-runtime==2.14.0", "numpy==1.26.4"),
        ),
    ],
)
def test_what_is_installed_is_pinned(target, engines, requirements):
    planned = plan(target, engines)
    assert planned.requirements == requirements
    assert not planned.system_numpy


def test_the_default_engine_comes_first():
    assert next(iter(plan(BOOKWORM_64, ["onnxruntime", "litert"]).engines)) == "litert"
    assert next(iter(plan(BOOKWORM_32).engines)) == "tflite-runtime"


@pytest.mark.parametrize(
    ("target", "version", "numpy"), [(BULLSEYE_32, "2.13.0", (1, 21)), (BOOKWORM_32, "2.14.0", (1, 23))]
)
def test_32_bit_takes_numpy_from_the_system(target, version, numpy):
    planned = plan(target)
    assert planned.requirements == (f"tflite-runtime=={version}",)
    assert planned.system_numpy
    assert planned.least_numpy == numpy


@pytest.mark.parametrize(
    ("target", "engines", "said"),
    [
        (BOOKWORM_32, ["litert"], ["ai-edge-litert: no wheel for 32-bit armv7l", "--engine tflite-runtime"]),
        (BOOKWORM_32, ["onnxruntime"], ["onnxruntime: no wheel for 32-bit armv7l", "--engine tflite-runtime"]),
        (TRIXIE_32, [], ["tflite-runtime: no 32-bit armv7l Linux wheel for Python 3.13", "Use a 64-bit"]),
        (TRIXIE_64, ["tflite-runtime"], ["wheel for Python 3.13", "--engine litert,onnxruntime"]),
        (WheelTarget(python=(3, 11), bits=32, machine="armv6l", glibc=(2, 36)), [], ["armv6l", "64-bit ARM"]),
        (WheelTarget(python=(3, 11), bits=64, machine="riscv64", glibc=(2, 36)), [], ["riscv64", "64-bit ARM"]),
        (WheelTarget(python=(3, 8), bits=64, machine="aarch64", glibc=(2, 31)), [], ["Python 3.8", "3.10 to 3.14"]),
        (WheelTarget(python=(3, 11), bits=64, machine="aarch64"), [], ["no glibc", "needs glibc 2.30"]),
    ],
)
def test_a_refusal_names_the_reason_and_a_way_out(target, engines, said):
    with pytest.raises(DeviceUnavailable) as refused:
        plan(target, engines)
    assert [text for text in said if text not in str(refused.value)] == []
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("glibc", "litert"), [((2, 29), None), ((2, 30), "2.1.0"), ((2, 33), "2.1.0"), ((2, 34), "2.3.0")]
)
def test_litert_is_chosen_by_the_symbols_it_needs_and_not_by_its_tag(glibc, litert):
    target = WheelTarget(python=(3, 11), bits=64, machine="aarch64", glibc=glibc)
    found = {fit.engine: fit.wheel for fit in fits(target)}
    assert (found["litert"] and found["litert"].version) == litert


@pytest.mark.parametrize(("glibc", "version"), [((2, 31), "2.13.0"), ((2, 34), "2.14.0")])
def test_tflite_runtime_is_chosen_by_its_tag_because_pip_reads_that(glibc, version):
    found = {fit.engine: fit.wheel for fit in fits(WheelTarget(python=(3, 9), bits=64, machine="aarch64", glibc=glibc))}
    assert found["tflite-runtime"].version == version


def test_every_older_tag_is_named_for_pip():
    tags = platform_tags(BULLSEYE_64)
    assert tags[0] == "manylinux_2_31_aarch64"
    assert len(tags) == 31 - 17 + 1 + 2
    assert {"manylinux_2_17_aarch64", "manylinux2014_aarch64", "linux_aarch64"} <= set(tags)


def test_32_bit_programs_on_a_64_bit_kernel_get_32_bit_wheels():
    assert BOOKWORM_32.architecture == "armv7l"
    assert platform_tags(BOOKWORM_32)[-1] == "linux_armv7l"
