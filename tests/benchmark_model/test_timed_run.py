"""Blocks of `benchmark_model`, with a script in its place that prints what the tool prints."""

import json
import os
import signal
import struct
import sys
from pathlib import Path

import pytest

from mnet_deploy.errors import CommandFailed, CommandTimeout, SpecError
from mnet_deploy.measurement.measurement import MeasuredFile
from mnet_deploy.measurement.run_config import Protocol, RunConfig
from mnet_deploy.runners.agent_events import AgentRefusal
from mnet_deploy.runners.benchmark_model.flags import Flavour
from mnet_deploy.runners.benchmark_model.profile_run import SOURCE, profile_layers
from mnet_deploy.runners.benchmark_model.timed_run import ToolTimer
from mnet_deploy.runners.benchmark_model.tool import BenchmarkTool, Companion
from mnet_deploy.runners.elf import ElfFile
from mnet_deploy.runners.timed_block import Candidate

TOOL = """#!{python}
import json, os, sys, time
spec = json.loads({spec!r})
with open(spec["seen"], "a") as seen:
    path, cores = os.environ.get("LD_LIBRARY_PATH"), sorted(os.sched_getaffinity(0))
    print(json.dumps(dict(flags=sys.argv[1:], cores=cores, libraries=path)), file=seen)
flags = dict(argument[2:].split("=", 1) for argument in sys.argv[1:])
unknown = [argument for argument in sys.argv[1:] if argument[2:].split("=")[0] in spec["unknown"]]
if unknown:
    print("WARN: Unconsumed cmdline flags:", *unknown)
elif "result_file_path" in flags and spec["writes"]:
    open(flags["result_file_path"], "wb").write(bytes.fromhex(spec["result"]))
print(spec["profile"] if flags.get("enable_op_profiling") == "true" else spec["stdout"], flush=True)
print(spec["stderr"], file=sys.stderr, flush=True)
time.sleep(spec["sleep_s"])
os.kill(os.getpid(), spec["signal"]) if spec["signal"] else sys.exit(spec["status"])
"""
HEADING = (
    "INFO: Running benchmark for at least 10 iterations and at least 0 seconds but terminate if exceeding 9 seconds."
)
OLD_COUNT = "INFO: count=50 first=2100 curr=2000 min=1900 max=2500 avg=2050.25 std=70"
COUNT = f"{OLD_COUNT} p5=1910 median=2010 p95=2400"
WARMUP = f"{HEADING}\nINFO: count=10 first=9000 curr=2000 min=1900 max=9000 avg=3000 std=900\n"
TIMINGS = (
    "INFO: Inference timings in us: Init: 5579, First inference: 9000, Warmup (avg): 3000, Inference (avg): 2050.25"
)
XNNPACK = "VERBOSE: Replacing {} out of 31 node(s) with delegate (TfLiteXNNPackDelegate) node, yielding 1 partitions."
APPLIED = "INFO: Explicitly applied XNNPACK delegate, and the model graph will be {} executed by the delegate."
QUICK = Protocol(warmup_count=3, warmup_s=0.25, min_count=10, block_s=0, block_timeout_s=30)
FLOAT32 = 1e-6  # relative: the result has floats
CORE = min(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
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


def log(count=COUNT, *more):
    return "\n".join(("INFO: STARTING!", *more, f"{WARMUP}\n{HEADING}\n{count}\n\n{TIMINGS}\n"))


def result_file(*, mean_ms=2.05025, median_ms=2.0105, count=50):
    latency = b"".join(
        bytes((number << 3 | 5,)) + struct.pack("<f", value)
        for number, value in ((1, mean_ms), (2, 1.9), (3, 2.5), (4, 0.07), (5, median_ms), (6, 1.91), (7, 2.4))
    )
    runs = bytes((2 << 3, count))
    return bytes((2 << 3 | 2, len(latency))) + latency + bytes((4 << 3 | 2, len(runs))) + runs


@pytest.fixture
def tool(tmp_path):
    """Make a tool that behaves: `tool(**what it prints and how it ends)`; its `path` says what it is."""

    def make(flavour=Flavour.CLASSIC, companions=(), **spec):
        known = {
            "stdout": log(),
            "stderr": "",
            "profile": "",
            "unknown": [],
            "sleep_s": 0,
            "signal": 0,
            "status": 0,
            "writes": True,
        }
        spec = known | {"result": result_file().hex(), "seen": str(tmp_path / "seen")} | spec
        path = tmp_path / "tool"
        path.write_text(TOOL.format(python=sys.executable, spec=json.dumps(spec)))
        return BenchmarkTool(
            path=path, sha256="ab" * 32, source="https://x.org/1", flavour=flavour, elf=ELF, companions=companions
        )

    return make


@pytest.fixture
def seen(tmp_path):
    return lambda: [json.loads(line) for line in (tmp_path / "seen").read_text().splitlines()]


def candidate(tmp_path, **config):
    path = tmp_path / "m.tflite"
    path.write_bytes(b"a model")
    file = MeasuredFile(file=path.name, sha256="cd" * 32, size_bytes=7)
    return Candidate(path=path, file=file, config=RunConfig(engine="benchmark_model", **config))


@pytest.fixture
def block(session, tool, tmp_path):
    """Run blocks: `block(config, protocol, timer options, **what the tool does)`."""

    def run(config=None, protocol=QUICK, timer=None, count=1, **spec):
        made = ToolTimer(tool(**spec), **(timer or {}))
        what = candidate(tmp_path, **(config or {}))
        remote = session.push(what.path)
        return [made.time_block(session, what, remote, protocol) for _ in range(count)][-1]

    return run


def test_a_block(block, seen, session):
    timed = block({"threads": 2})
    assert timed.block.latency_s is None
    assert timed.block.median_s == pytest.approx(2.0105e-3, rel=FLOAT32)  # of the result, not the text's 2010 us
    assert (timed.block.init_s, timed.block.warmup_s) == (pytest.approx(5.579e-3), ())
    assert (timed.block.wall_s, timed.block.cpu_s, timed.block.peak_rss_bytes) == (None, None, None)
    engine = timed.engine
    assert (engine.name, engine.version, engine.threads, engine.machine) == ("benchmark_model", None, 2, "aarch64")
    assert (engine.runner, engine.runner_sha256, engine.runner_source) == (
        "benchmark_model",
        "ab" * 32,
        "https://x.org/1",
    )
    assert (engine.delegate, engine.delegate_evidence, engine.nodes, engine.affinity) == (None, None, None, None)
    (run,) = seen()
    assert run["libraries"] is None
    assert run["flags"] == [
        f"--graph={session.folder}/0.tflite",
        "--num_threads=2",
        "--num_runs=10",
        "--min_secs=0",
        "--max_secs=30",
        "--warmup_runs=3",
        "--warmup_min_secs=0.25",
        f"--result_file_path={session.folder}/result-1.pb",
    ]


def test_without_the_result_file_it_is_run_again_and_remembered(block, seen):
    timed = block(unknown=["result_file_path"], count=2)
    assert timed.block.median_s == pytest.approx(2010e-6)
    asked = [any("result_file_path" in flag for flag in run["flags"]) for run in seen()]
    assert asked == [True, False, False]


def test_an_old_version_has_no_median(block):
    timed = block(unknown=["result_file_path"], stdout=log(OLD_COUNT))
    assert timed.block.median_s is None


def test_the_tool_of_litert(block, seen):
    sample = (Path(__file__).with_name("samples") / "h_litert.txt").read_text(encoding="utf-8")
    timed = block(unknown=["result_file_path"], flavour=Flavour.LITERT, stdout=sample)
    assert timed.block.median_s == pytest.approx(942e-6)
    assert {"--use_cpu=true", "--use_gpu=false", "--use_npu=false"} < set(seen()[-1]["flags"])


def test_every_block_writes_a_result_of_its_own(block, seen):
    block(count=2)
    assert [run["flags"][-1].rpartition("/")[2] for run in seen()] == ["result-1.pb", "result-2.pb"]


def test_what_is_bound_and_brought(block, seen, session, tmp_path):
    library = tmp_path / "other name.so"
    library.write_bytes(b"a library")
    companion = Companion(name="libLiteRt.so", path=library, sha256="12" * 32, source="b.so")
    timed = block({"cpu_affinity": (CORE,)}, companions=(companion,))
    (run,) = seen()
    assert (run["cores"], run["libraries"]) == ([CORE], session.folder)
    assert Path(session.folder, "libLiteRt.so").read_bytes() == b"a library"
    assert timed.engine.affinity == (CORE,)
    assert timed.engine.runner_source == f"https://x.org/1; libLiteRt.so {'12' * 32} from b.so"


def test_what_else_is_known(block, seen):
    lines = ("INFO: runner: mnet-deploy reference runner 1, LiteRT 2.3.0", "INFO: Tensorflow Version : 2.15.0")
    memory = "INFO: Overall peak memory footprint (MB) via periodic monitoring: 12.5"
    timed = block(
        {"session_options": ("allow_fp16=true",)},
        timer={"peak_memory": True},
        stdout=log(COUNT, *lines) + memory + "\n",
    )
    assert timed.engine.runner == "mnet-deploy reference runner 1, LiteRT 2.3.0"
    assert timed.engine.version == "2.15.0"
    assert timed.block.peak_rss_bytes == 12.5 * 1024 * 1024
    assert {"--allow_fp16=true", "--report_peak_memory_footprint=true"} < set(seen()[0]["flags"])


@pytest.mark.parametrize(
    ("delegate", "printed", "least", "proved"),
    [
        ("default", XNNPACK.format(31), None, ("xnnpack", 31, 31)),
        ("default", XNNPACK.format(20), None, ("xnnpack", 20, 31)),
        ("xnnpack", XNNPACK.format(31), None, ("xnnpack", 31, 31)),
        ("xnnpack", XNNPACK.format(20), None, ("xnnpack", 20, 31)),
        ("xnnpack", APPLIED.format("completely"), None, ("xnnpack", None, None)),
        ("none", "", None, ("none", 0, None)),
    ],
)
def test_what_computed(block, delegate, printed, least, proved):
    engine = block({"delegate": delegate}, timer={"least_nodes": least}, stderr=printed).engine
    assert (engine.delegate, engine.delegated_nodes, engine.nodes) == proved
    assert engine.delegate_evidence == (
        printed.partition(": ")[2] if printed else "--use_xnnpack=false, and no delegate in the log"
    )


@pytest.mark.parametrize(
    ("delegate", "printed", "words"),
    [
        ("xnnpack", "", "without such a line"),
        ("xnnpack", XNNPACK.format(0), "0 of 31"),
        ("gpu", XNNPACK.format(31), "without such a line"),
        ("none", XNNPACK.format(31), "no delegate was asked for"),
    ],
)
def test_another_delegate_than_asked_for(block, delegate, printed, words):
    with pytest.raises(CommandFailed, match=words):
        block({"delegate": delegate}, stderr=printed)


MANY_FLAGS = ["result_file_path", "warmup_min_secs"]


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"unknown": ["warmup_min_secs"]}, "does not know --warmup_min_secs=0.25 and ran without"),
        ({"unknown": MANY_FLAGS}, "does not know --warmup_min_secs=0.25 --result_file_path="),
        ({"stdout": log(COUNT.replace("count=50", "count=9"))}, "is the file left over"),
        ({"result": result_file(mean_ms=2.2).hex()}, "is the file left over"),
        ({"result": "ff"}, "damaged"),
        ({"writes": False}, r"the result of benchmark_model cannot be had: .*result-1\.pb"),
        ({"stdout": log(COUNT)[:300]}, "it was cut off, or the run failed"),
        ({"status": 1, "stderr": "ERROR: Benchmarking failed."}, r"exit status 1 \(Benchmarking failed\.\)"),
        (
            {"status": 1, "stderr": "ERROR: Failed to apply GPU delegate.\nERROR: Benchmarking failed."},
            r"\(Failed to apply GPU delegate\.\)",
        ),
        ({"stderr": "ERROR: Benchmarking failed."}, "itself says that it failed"),
        (
            {"status": 1, "stderr": "ERROR: Model provided has model identifier 'a mo', should be 'TFL3'"},
            r"cannot use the model .*it takes \.tflite files",
        ),
        ({"status": 1, "stderr": "ERROR: Disallowed CPU fallback detected."}, "does not take all of the model"),
        (
            {
                "status": 1,
                "stderr": 'CANNOT LINK EXECUTABLE "./benchmark_model": cannot locate symbol "LiteRtCreateModel" '
                'referenced by "/data/local/tmp/benchmark_model"...',
            },
            "different versions .*from one folder of one version",
        ),
        (
            {"status": 127, "stderr": "./benchmark_model: symbol lookup error: undefined symbol: LiteRtCreateModel"},
            "different versions",
        ),
        (
            {"status": 1, "stderr": 'CANNOT LINK EXECUTABLE "./b": library "libLiteRt.so" not found: needed by main'},
            "is not there",
        ),
        ({"status": 1, "stderr": "./b: /lib/libc.so.6: version `GLIBC_2.38' not found (required by ./b)"}, "is older"),
        (
            {"status": 126, "stderr": "sh: ./benchmark_model: not executable: 64-bit ELF file"},
            "another processor .*take the build for the device",
        ),
        ({"status": 126, "stderr": "sh: ./benchmark_model: can't execute: Permission denied"}, "does not let"),
        ({"status": 127, "stderr": "sh: ./benchmark_model: inaccessible or not found"}, "no loader"),
        ({"signal": signal.SIGBUS}, "SIGBUS.*libLiteRt.so of another version"),
        ({"signal": signal.SIGSEGV}, "SIGSEGV"),
        ({"signal": signal.SIGILL}, "SIGILL.*code for another processor"),
        ({"signal": signal.SIGKILL}, "SIGKILL.*memory is short"),
        (
            {"signal": signal.SIGABRT, "stderr": "FATAL: Failed to initialize delegate"},
            r"SIGABRT \(Failed to initialize delegate\)",
        ),
    ],
)
def test_what_is_no_result(block, spec, words):
    with pytest.raises(CommandFailed, match=words) as caught:
        block(**spec)
    assert str(caught.value).startswith("m.tflite (benchmark_model, 1 thread) on local: ")
    assert "\n" not in str(caught.value)


def test_too_few_inferences(block):
    with pytest.raises(CommandFailed, match=r"60 inferences were to be timed\. Received: 50 within 30 s; allow more"):
        block(protocol=Protocol(min_count=60, block_s=0, block_timeout_s=30))


def test_a_block_that_does_not_end(block):
    with pytest.raises(CommandTimeout, match=r"within 0\.5 s and was stopped; allow more \(--block-timeout\)"):
        block(protocol=Protocol(block_s=0, warmup_s=0, block_timeout_s=0.5), sleep_s=60)


def test_cores_that_are_not_there(block):
    with pytest.raises(CommandFailed, match=r"cannot bind a program to these cores \(taskset: .*choose cores"):
        block({"cpu_affinity": (511,)})


@pytest.mark.parametrize(
    ("config", "spec", "words"),
    [
        ({"delegate": "nnapi"}, {"flavour": Flavour.LITERT}, "has no flag for nnapi"),
        ({"session_options": ("use_npu=true",)}, {}, "has no flag 'use_npu'"),
        ({"session_options": ("use_gpu=true",)}, {}, "an option of its own"),
        ({"session_options": ("--verbose=1",)}, {}, "without dashes"),
        ({"session_options": ("verbose",)}, {}, "name=value"),
        ({"session_options": ("num_runs=1",)}, {}, "is set already"),
    ],
)
def test_what_the_tool_cannot_be_asked(block, config, spec, words):
    with pytest.raises(SpecError, match=words):
        block(config, **spec)


PROFILE = """INFO: Operator-wise Profiling Info for Regular Benchmark Runs:
============================== Run Order ==============================
\t[node type]\t[first]\t[avg ms]\t[%]\t[cdf%]\t[mem KB]\t[times called]\t[Name]
\tQUANTIZE\t0.199\t0.203\t10%\t10%\t0.000\t1\t[tfl.quantize]:0
{delegate}
Number of nodes executed: {count}
"""
FLAT = """\tConvolution (NHWC, QC8) DWConv\t0.428\t0.050\t4%\t8%\t0.000\t3\tDelegate/Convolution (NHWC, QC8) DWConv:1
"""
INTERNAL = """\tTfLiteXNNPackDelegate\t1\t1.000\t50%\t60%\t0.000\t1\tTfLiteXNNPackDelegate:7
\tSOFTMAX\t0.1\t0.100\t5%\t65%\t0.000\t1\t[out]:3

Number of nodes executed: 3
Delegate internal:
============================== Run Order ==============================
\t[node type]\t[first]\t[avg ms]\t[%]\t[cdf%]\t[mem KB]\t[times called]\t[Name]
\tConvolution (NHWC, QC8) IGEMM\t0.4\t0.300\t30%\t30%\t0.000\t1\tDelegate/Convolution (NHWC, QC8) IGEMM:0
\tConvolution (NHWC, QC8) DWConv\t0.4\t0.700\t70%\t100%\t0.000\t1\tDelegate/Convolution (NHWC, QC8) DWConv:1
"""


@pytest.mark.parametrize(
    ("delegate", "count", "expected"),
    [
        (FLAT, 2, [("QUANTIZE", 203e-6, 1), ("Convolution (NHWC, QC8) DWConv", 150e-6, 3)]),
        (
            INTERNAL,
            2,
            [
                ("QUANTIZE", 203e-6, 1),
                ("Convolution (NHWC, QC8) IGEMM", 300e-6, 1),
                ("Convolution (NHWC, QC8) DWConv", 700e-6, 1),
                ("SOFTMAX", 100e-6, 1),
            ],
        ),
    ],
)
def test_layers(session, tool, tmp_path, seen, delegate, count, expected):
    made = tool(profile=log(COUNT) + PROFILE.format(delegate=delegate, count=count))
    layers = profile_layers(session, candidate(tmp_path, delegate="default"), made)
    assert layers.source == SOURCE
    assert layers.total_s == pytest.approx(2010e-6)
    assert [(op.op, pytest.approx(op.mean_s), op.count) for op in layers.ops] == expected
    assert ["--enable_op_profiling=true" in run["flags"] for run in seen()] == [True, False]


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"unknown": ["enable_op_profiling"]}, "does not know --enable_op_profiling=true"),
        ({"flavour": Flavour.LITERT}, "litert.*does not print"),
        ({"profile": log(COUNT)}, "a log without"),
    ],
)
def test_layers_that_cannot_be_had(session, tool, tmp_path, spec, words):
    with pytest.raises(AgentRefusal, match=words) as caught:
        profile_layers(session, candidate(tmp_path), tool(**spec))
    assert caught.value.kind == "layers_unavailable"
