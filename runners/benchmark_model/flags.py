"""The flags of `benchmark_model`, each set on purpose.

The tool understands `--name=value` alone. What it does not know it names in a warning, and runs with its defaults.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from math import isfinite

from mnet_deploy.errors import SpecError
from mnet_deploy.runners.benchmark_model.delegation import Delegate
from mnet_deploy.terminal import printable

_MOST_THREADS = 1024
_MOST_RUNS = 1_000_000


class Flavour(StrEnum):
    """Two programs have the name: TensorFlow Lite's and LiteRT's (`benchmark_litert_model` in its sources)."""

    CLASSIC = "classic"
    LITERT = "litert"


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# tensorflow/lite/tools/benchmark/benchmark_model.cc
_SHARED = _words(
    """graph num_runs min_secs max_secs run_delay run_frequency num_threads use_caching benchmark_name output_prefix
    warmup_runs warmup_min_secs verbose report_peak_memory_footprint memory_footprint_check_interval_ms
    require_full_delegation allow_fp16 use_gpu gpu_backend signature_to_run_for result_file_path
    model_runtime_info_output_file"""
)
# benchmark_tflite_model.cc there, and tensorflow/lite/tools/delegates
_CLASSIC = _words(
    """input_layer input_layer_shape input_layer_value_range input_layer_value_files enable_op_profiling
    op_profiling_output_mode op_profiling_output_file profiling_output_csv_file max_profiling_buffer_entries
    allow_dynamic_profiling_buffer_increase export_model_runtime_info print_preinvoke_state print_postinvoke_state
    release_dynamic_tensors optimize_memory_for_large_tensors disable_delegate_clustering output_filepath
    output_proto_filepath use_xnnpack xnnpack_force_fp16 xnnpack_weight_cache_file_path xnnpack_runtime_flags
    gpu_precision_loss_allowed gpu_experimental_enable_quant gpu_inference_for_sustained_speed gpu_wait_type use_nnapi
    nnapi_accelerator_name nnapi_execution_preference disable_nnapi_cpu max_delegated_partitions
    min_nodes_per_partition delegate_serialize_dir delegate_serialize_token external_delegate_path
    external_delegate_options"""
)
# litert/tools/benchmark_litert_model.h
_LITERT = _words(
    """use_cpu use_npu dispatch_library_path compiler_plugin_library_path compiler_cache_path use_profiler
    gpu_low_priority"""
)
KNOWN_FLAGS = {Flavour.CLASSIC: _SHARED | _CLASSIC, Flavour.LITERT: _SHARED | _LITERT}


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkFlags:
    """How `benchmark_model` is to run.

    Attributes:
        graph: path of the model on the device.
        delegate: what computes it.
        threads: of the processor.
        min_count: measured inferences, at least,
        min_s: and as many as take this long,
        max_s: but no more begin after this time; the same holds for the warm-up.
        warmup_count: inferences before the measured ones, at least,
        warmup_s: and as many as take this long.
        require_full: let the tool itself fail unless the delegate takes all nodes.
        gpu_fp16: whether a GPU may compute with 16 bits, the tool's own default; written out for a GPU only.
        profile: time each op; that makes inferences slower.
        result_path: where the tool is to write its result as a protocol buffer; old versions cannot.
        others: further flags by name, of those that the flavour has.
    """

    graph: str
    delegate: Delegate = Delegate.DEFAULT
    threads: int = 1
    min_count: int = 50
    min_s: float = 1.0
    max_s: float = 150.0
    warmup_count: int = 1
    warmup_s: float = 0.5
    require_full: bool = False
    gpu_fp16: bool = True
    profile: bool = False
    result_path: str | None = None
    others: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse what the tool would take for something else."""
        for name, most in (("threads", _MOST_THREADS), ("min_count", _MOST_RUNS), ("warmup_count", _MOST_RUNS)):
            if not 1 <= getattr(self, name) <= most:
                raise SpecError(f"{name} is 1 to {most}. Received: {getattr(self, name)}")
        for name in ("min_s", "max_s", "warmup_s"):
            value = getattr(self, name)
            if not (isfinite(value) and value >= 0):
                raise SpecError(f"{name} is a number of 0 or more. Received: {value}")
        if self.max_s < max(self.min_s, self.warmup_s) or not self.max_s:
            raise SpecError(f"max_s is above 0, and at least min_s and warmup_s. Received: {self.max_s:g}")
        if self.require_full and self.delegate in (Delegate.DEFAULT, Delegate.NONE):
            raise SpecError(f"full delegation needs a delegate. Received: {self.delegate}; take xnnpack, gpu or nnapi")


def flag_list(flags: BenchmarkFlags, flavour: Flavour) -> tuple[str, ...]:
    """Return the arguments of the tool; the paths among them are not quoted for a shell.

    Raises:
        SpecError: this flavour cannot do it.
    """
    written: dict[str, str | bool | int | float] = {
        "graph": flags.graph,
        "num_threads": flags.threads,
        "num_runs": flags.min_count,
        "min_secs": flags.min_s,
        "max_secs": flags.max_s,
        "warmup_runs": flags.warmup_count,
        "warmup_min_secs": flags.warmup_s,
    }
    written |= _classic(flags) if flavour is Flavour.CLASSIC else _litert(flags)
    if flags.require_full:
        written["require_full_delegation"] = True
    if flags.result_path is not None:
        written["result_file_path"] = flags.result_path
    for name, value in flags.others.items():
        if name not in KNOWN_FLAGS[flavour]:
            raise SpecError(
                f"the {flavour} benchmark_model has no flag {printable(name)!r}; it would warn and run without it"
            )
        if name in written:
            raise SpecError(f"--{name} is set already, to {_text(written[name])}; it cannot be given again")
        written[name] = value
    return tuple(f"--{name}={_checked(name, _text(value))}" for name, value in written.items())


def _classic(flags: BenchmarkFlags) -> dict[str, bool]:
    """Return the flags of delegates. Not to write --use_xnnpack is a third state: the runtime's default takes XNNPACK.

    The same default computes what a GPU or NNAPI leaves.
    """
    written = {
        Delegate.DEFAULT: {},
        Delegate.NONE: {"use_xnnpack": False},
        Delegate.XNNPACK: {"use_xnnpack": True},
        Delegate.GPU: {"use_gpu": True, "gpu_precision_loss_allowed": flags.gpu_fp16},
        Delegate.NNAPI: {"use_nnapi": True},
    }[flags.delegate]
    return written | ({"enable_op_profiling": True} if flags.profile else {})


def _litert(flags: BenchmarkFlags) -> dict[str, bool]:
    if flags.delegate in (Delegate.NONE, Delegate.NNAPI):
        raise SpecError(
            f"LiteRT's benchmark_model has no flag for {flags.delegate}: on the processor it is XNNPACK. "
            "Take xnnpack or gpu, or TensorFlow Lite's benchmark_model"
        )
    gpu = flags.delegate is Delegate.GPU
    if flags.require_full and not gpu:
        raise SpecError("LiteRT's benchmark_model requires full delegation to a GPU only, and aborts otherwise")
    # It aborts if both full delegation and the processor are asked for (CreateCompiledModelOptions).
    written = {"use_cpu": not (gpu and flags.require_full), "use_gpu": gpu, "use_npu": False}
    if gpu:
        written["allow_fp16"] = flags.gpu_fp16
    return written | ({"use_profiler": True} if flags.profile else {})


def _text(value: str | bool | int | float) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else f"{value:.9g}"


def _checked(name: str, value: str) -> str:
    if not value or value != printable(value):
        raise SpecError(f"--{name} is a text without control characters. Received: {value!r}")
    return value
