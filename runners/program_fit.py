"""Whether a phone can start a program that was built somewhere."""

from collections.abc import Sequence

from mnet_deploy.errors import SpecError
from mnet_deploy.runners.elf import ElfFile

_LINKER = "/system/bin/linker"  # Android's loader; linker64 and those of sanitizers begin so, too
_KINDS = {  # of what runs on an ABI of Android: machine and bits
    "arm64-v8a": ("aarch64", 64),
    "armeabi-v7a": ("arm", 32),
    "armeabi": ("arm", 32),
    "x86_64": ("x86_64", 64),
    "x86": ("i386", 32),
    "riscv64": ("riscv", 64),
}
# What publishers of Android builds call them: of TensorFlow's nightly tools and LiteRT's binaries.
_BUILDS = {
    "arm64-v8a": "android_aarch64 or android_arm64",
    "armeabi-v7a": "android_arm",
    "x86_64": "android_x86_64",
    "x86": "android_x86",
}


def require_runs_on(elf: ElfFile, *, abis: Sequence[str]) -> None:
    """Do nothing if a phone can start the program.

    Args:
        elf: the program.
        abis: what the phone runs, its favourite first, as `ro.product.cpu.abilist` names them: `arm64-v8a`. Empty if
            it does not say, and then the instruction set is not checked.

    Raises:
        SpecError: the phone cannot start it.
    """
    kinds = [_KINDS[abi] for abi in abis if abi in _KINDS]
    if kinds and (elf.machine, elf.bits) not in kinds:
        raise SpecError(
            f"{elf.path.name} is built for {_in_words(elf)}; this phone runs {', '.join(abis)}; {_take(abis)}"
        )
    if elf.interpreter and not elf.interpreter.startswith(_LINKER):
        raise SpecError(
            f"{elf.path.name} is built for Linux on computers: {elf.interpreter} starts it, which Android has not; "
            f"{_take(abis)}"
        )


def _take(abis: Sequence[str]) -> str:
    builds = [_BUILDS[abi] for abi in abis if abi in _BUILDS]
    return f"take the build named {builds[0]}" if builds else "take a build for Android"


def _in_words(elf: ElfFile) -> str:
    abi = next((abi for abi, kind in _KINDS.items() if kind == (elf.machine, elf.bits)), None)
    return f"{elf.bits}-bit {elf.machine}" + (f" ({abi})" if abi and abi != elf.machine else "")
