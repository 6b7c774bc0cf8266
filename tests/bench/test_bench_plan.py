"""What is measured follows from the files, what was asked for and what the device has."""

from dataclasses import replace
from pathlib import Path

import pytest

from mnet_deploy.errors import DeviceUnavailable, MnetError, SpecError
from mnet_deploy.measurement.device_info import AndroidInfo, Core, DeviceInfo
from mnet_deploy.measurement.measurement import MeasuredFile
from mnet_deploy.pipeline.bench_files import BenchFile
from mnet_deploy.pipeline.bench_plan import plan
from mnet_deploy.pipeline.bench_request import BenchRequest, ToolRequest
from mnet_deploy.pipeline.device_runtime import DeviceRuntime
from mnet_deploy.pipeline.native_runtime import phone_runtime
from mnet_deploy.runners.device_programs import DevicePrograms, PythonAgent
from mnet_deploy.runners.transports.address import DeviceAddress

PHONE = DeviceInfo(
    address="adb://R58M",
    machine="aarch64",
    cores=tuple(Core(number=number, max_clock_hz=1.8e9 if number < 4 else 2.4e9) for number in range(8)),
    android=AndroidInfo(release="14", sdk=34, abis=("arm64-v8a", "armeabi-v7a")),
)
TFLITE, ONNX = (
    BenchFile(path=Path(name), file=MeasuredFile(file=name, sha256="0", size_bytes=1), artifact=None)
    for name in ("m.tflite", "m.onnx")
)
TOOL = ToolRequest(source="benchmark_model", flags=("use_caching=true",))


def request(*files, **options):
    address = DeviceAddress(scheme="adb", host="R58M")
    return BenchRequest(files=tuple(file.path for file in files), device=address, **options)


def runtime(*engines, affinity=lambda threads: None):
    return DeviceRuntime(
        keeper=("keeper",),
        engines=dict.fromkeys(engines),
        missing=lambda engine: f"there is no {engine}",
        agent=lambda engines, progress: pytest.fail("no agent is made for a plan"),
        affinity=affinity,
    )


def planned(files, there, **options):
    candidates = plan(files, request(*files, **options), there)
    return [(one.path.suffix, one.config.engine, one.config.delegate) for one in candidates]


def test_the_first_engine_that_is_there_runs_a_file():
    assert planned([TFLITE, ONNX], runtime("tflite-runtime", "litert", "onnxruntime")) == [
        (".tflite", "litert", "default"),
        (".onnx", "onnxruntime", "default"),
    ]


def test_who_brings_the_tool_gets_its_numbers_and_the_others_for_other_files():
    there = runtime("litert", "onnxruntime", "benchmark_model")
    options = {"tool": TOOL, "delegates": ("xnnpack", "gpu")}
    assert planned([TFLITE, ONNX], there, **options) == [
        (".tflite", "benchmark_model", "xnnpack"),
        (".tflite", "benchmark_model", "gpu"),
        (".onnx", "onnxruntime", "default"),
    ]


def test_a_delegate_has_to_take_a_node():
    with pytest.raises(SpecError, match=r"^--benchmark-model-nodes is 1 or more: .*\. Received: 0$"):
        ToolRequest(source="benchmark_model", delegated_nodes=0)


def test_each_engine_takes_the_delegates_that_it_has():
    there = runtime("litert", "benchmark_model")
    options = {"tool": TOOL, "delegates": ("none", "gpu"), "engines": ("litert", "benchmark_model")}
    assert planned([TFLITE], there, **options) == [
        (".tflite", "litert", "none"),
        (".tflite", "benchmark_model", "none"),
        (".tflite", "benchmark_model", "gpu"),
    ]


def test_flags_are_the_tools_alone():
    there = runtime("litert", "benchmark_model")
    both = plan([TFLITE], request(TFLITE, tool=TOOL, engines=("litert", "benchmark_model")), there)
    assert [one.config.session_options for one in both] == [(), ("use_caching=true",)]


@pytest.mark.parametrize(
    ("options", "engines", "error", "message"),
    [
        ({"delegates": ("gpu",)}, ("litert",), SpecError, r"^--delegate gpu needs TensorFlow Lite's own tool: give"),
        ({}, ("onnxruntime",), DeviceUnavailable, "^there is no litert$"),
        ({"engines": ("benchmark_model",)}, ("litert",), DeviceUnavailable, "^there is no benchmark_model$"),
        ({"engines": ("onnxruntime",)}, ("litert",), SpecError, "^m.tflite runs on litert or tflite-runtime or bench"),
        ({"sustain": True, "threads": (1, 2)}, ("litert",), SpecError, "^--sustain keeps one file running, one way"),
    ],
)
def test_what_cannot_be_measured_is_refused(options, engines, error, message):
    with pytest.raises(error, match=message):
        planned([TFLITE], runtime(*engines), **options)


@pytest.mark.parametrize(("asked", "cores"), [(None, (4, 5, 6, 7)), ((), None), ((1,), (1,))])
def test_programs_run_on_the_fastest_cores_of_a_phone_unless_asked_otherwise(asked, cores):
    there = runtime("litert", affinity=phone_runtime(PHONE).affinity)
    assert plan([TFLITE], request(TFLITE, cpu_affinity=asked), there)[0].config.cpu_affinity == cores


def test_what_is_experimental_is_said_where_it_runs():
    there, programs = phone_runtime(PHONE), DevicePrograms(keeper=())
    assert there.notes(programs) == ()
    assert "experimental" in there.notes(replace(programs, agent=PythonAgent("python3")))[0]


def test_more_threads_than_fast_cores_take_slower_ones_and_leave_those_of_one_thread():
    there = runtime("litert", affinity=phone_runtime(PHONE).affinity)
    both = plan([TFLITE], request(TFLITE, threads=(1, 6)), there)
    assert [one.config.cpu_affinity for one in both] == [(4, 5, 6, 7), None]


def test_layers_are_refused_before_anything_is_measured():
    with pytest.raises(SpecError, match=r"^--layers is not for our C program"):
        planned([TFLITE], replace(runtime("litert"), profiles=False), layers=True)
    there = replace(runtime("litert", "benchmark_model"), profiles=False)
    assert planned([TFLITE], there, layers=True, tool=TOOL) == [(".tflite", "benchmark_model", "default")]


def test_no_delegate_is_refused_where_no_file_has_any():
    with pytest.raises(SpecError, match=r"^--delegate none is of \.tflite files\. Received: none; leave it out$"):
        planned([ONNX], runtime("onnxruntime"), delegates=("none",))


def test_a_phone_of_32_bits_is_told_to_bring_the_tool():
    old = DeviceInfo(address="adb://R58M", android=AndroidInfo(release="8", sdk=27, abis=("armeabi-v7a", "armeabi")))
    with pytest.raises(MnetError, match=r"^adb://R58M: litert cannot be used there: it runs armeabi-v7a, armeabi, and"):
        planned([TFLITE], phone_runtime(old))
