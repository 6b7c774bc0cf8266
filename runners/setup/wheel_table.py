"""The wheels of the engines that PyPI has: for which Python, instruction set and C library.

Seen on 2026-11-20 with one `pip download` a row and Python, whose answers `tests/bench/test_wheels.py` repeats:

    pip download --no-deps --only-binary=:all: --implementation cp --python-version 3.11 --abi cp311
        --platform manylinux_2_27_aarch64 ai-edge-litert==2.3.0

`needs_glibc` is the newest GLIBC_2.x among the dynamic symbols of a wheel's shared objects (`readelf --dyn-syms`).
"""

from dataclasses import dataclass

from mnet_deploy.measurement.engine_packages import ENGINE_PACKAGES

Version = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wheel:
    """Wheels of one engine version that differ in Python only.

    Attributes:
        engine: its name, a key of `ENGINE_PACKAGES`.
        version: of the engine.
        pythons: for each of these, a wheel is there.
        platform: tag in the file name, `manylinux_2_27_aarch64`, several joined by dots.
        needs_glibc: what it really needs where that is more than its tag says.
    """

    engine: str
    version: str
    pythons: tuple[Version, ...]
    platform: str
    needs_glibc: Version | None = None

    def file_name(self, python: Version) -> str:
        """Return the name that PyPI has it under."""
        tag = _python_tag(python)
        return (
            f"{ENGINE_PACKAGES[self.engine].package.replace('-', '_')}-{self.version}-{tag}-{tag}-{self.platform}.whl"
        )

    @property
    def least_glibc(self) -> Version | None:
        """The oldest C library that it runs with; None for macOS."""
        if self.needs_glibc is not None:
            return self.needs_glibc
        tags = [tag.removeprefix("manylinux_").split("_") for tag in self.platform.split(".") if "manylinux_" in tag]
        return min(((int(tag[0]), int(tag[1])) for tag in tags), default=None if "macos" in self.platform else (2, 17))


def _python_tag(python: Version) -> str:
    return f"cp{python[0]}{python[1]}"


def _pythons(first: int, last: int) -> tuple[Version, ...]:
    return tuple((3, minor) for minor in range(first, last + 1))


# The newest that fits is taken: newest first.
WHEELS = (
    Wheel(
        engine="litert",
        version="2.3.0",
        pythons=_pythons(10, 14),
        platform="manylinux_2_27_aarch64",
        needs_glibc=(2, 34),
    ),
    Wheel(engine="litert", version="2.3.0", pythons=_pythons(10, 14), platform="manylinux_2_27_x86_64"),
    Wheel(engine="litert", version="2.3.0", pythons=_pythons(10, 14), platform="macosx_12_0_arm64"),
    Wheel(
        engine="litert",
        version="2.1.0",
        pythons=_pythons(9, 13),
        platform="manylinux_2_27_aarch64",
        needs_glibc=(2, 30),
    ),
    Wheel(engine="onnxruntime", version="1.31.1", pythons=_pythons(11, 14), platform="manylinux_2_28_aarch64"),
    Wheel(engine="onnxruntime", version="1.31.1", pythons=_pythons(11, 14), platform="manylinux_2_28_x86_64"),
    Wheel(engine="onnxruntime", version="1.31.1", pythons=_pythons(11, 14), platform="macosx_14_0_arm64"),
    Wheel(
        engine="onnxruntime",
        version="1.23.2",
        pythons=((3, 10),),
        platform="manylinux_2_27_aarch64.manylinux_2_28_aarch64",
    ),
    Wheel(
        engine="onnxruntime",
        version="1.23.2",
        pythons=((3, 10),),
        platform="manylinux_2_27_x86_64.manylinux_2_28_x86_64",
    ),
    Wheel(
        engine="onnxruntime",
        version="1.19.2",
        pythons=((3, 9),),
        platform="manylinux_2_27_aarch64.manylinux_2_28_aarch64",
    ),
    # Tagged 2_34 though 2.27 would do: pip on an older system does not take it.
    Wheel(engine="tflite-runtime", version="2.14.0", pythons=_pythons(9, 11), platform="manylinux_2_34_aarch64"),
    Wheel(engine="tflite-runtime", version="2.14.0", pythons=_pythons(9, 11), platform="manylinux_2_34_armv7l"),
    Wheel(engine="tflite-runtime", version="2.14.0", pythons=_pythons(9, 11), platform="manylinux2014_x86_64"),
    Wheel(
        engine="tflite-runtime",
        version="2.13.0",
        pythons=_pythons(9, 10),
        platform="manylinux2014_aarch64",
        needs_glibc=(2, 27),
    ),
    Wheel(
        engine="tflite-runtime",
        version="2.13.0",
        pythons=_pythons(9, 10),
        platform="manylinux2014_armv7l",
        needs_glibc=(2, 27),
    ),
)

# The newest NumPy for each Python. tflite-runtime was compiled against NumPy 1 and fails with 2 as soon as it is used.
NUMPY_1 = dict.fromkeys(_pythons(9, 12), "1.26.4")
NUMPY_2 = {(3, 9): "2.0.2", (3, 10): "2.2.6", (3, 11): "2.4.6", (3, 12): "2.5.5", (3, 13): "2.5.5", (3, 14): "2.5.5"}
# From their metadata. With the 1.19.5 of Debian 11 the engine imports, and fails when an interpreter is made: "module
# compiled against API version 0xe but this version of numpy is 0xd".
LEAST_NUMPY = {"2.13.0": (1, 21), "2.14.0": (1, 23)}
