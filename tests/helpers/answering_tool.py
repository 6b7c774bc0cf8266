"""A script in the place of `benchmark_model` that takes inputs and writes outputs as the tool is documented to do.

tensorflow/lite/tools/benchmark/README.md, and benchmark_tflite_model.cc for what that does not say.
"""

import json
import sys
from pathlib import Path

from mnet_deploy.runners.benchmark_model.flags import Flavour
from mnet_deploy.runners.benchmark_model.tool import BenchmarkTool
from mnet_deploy.runners.elf import ElfFile

ELF = ElfFile(
    path=Path("benchmark_model"),
    bits=64,
    machine="aarch64",
    interpreter="/system/bin/linker64",
    needed=("libc.so",),
    soname=None,
    version_needs={},
    version_definitions=(),
)
RUNNER = "a script of the tests"
SCRIPT = Path(__file__).with_name("answering_tool_script.py")
USUAL = {
    "engine": "litert",  # or `reverse`, which does that to the bytes of an input, whatever the model
    "runner": RUNNER,
    "unknown": [],  # flags that this version does not know
    "nodes": {},  # that a delegate takes, by its flag; all of them by default
    "steps": {},  # by which a delegate moves every byte of the outputs, by its flag
    "most_bytes": None,  # of the outputs that are written
    "more_bytes": 0,
    "writes": True,
    "hangs": None,  # on a delegate, by its flag
    "status": 0,
}


def write_tool(folder, *, flavour=Flavour.CLASSIC, **spec):
    """Return a tool that behaves, by what it does otherwise than usual."""
    path = folder / "answering_tool"
    text = json.dumps({**USUAL, "seen": str(seen_path(folder)), **spec})
    script = SCRIPT.read_text(encoding="utf-8").replace('json.loads("{}")', f"json.loads({text!r})")
    path.write_text(f"#!{sys.executable} -I\n{script}", encoding="utf-8")
    return BenchmarkTool(path=path, sha256="ab" * 32, source="https://x.org/1", flavour=flavour, elf=ELF)


def seen_path(folder):
    return folder / "seen"


def starts(folder):
    """Return the flags of each start of the folder's tool, by name."""
    lines = seen_path(folder).read_text(encoding="utf-8").splitlines() if seen_path(folder).is_file() else []
    return [dict(argument[2:].split("=", 1) for argument in json.loads(line)) for line in lines]
