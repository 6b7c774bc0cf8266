import pytest

from mnet_deploy.errors import SpecError
from mnet_deploy.measurement.run_config import RunConfig
from mnet_deploy.runners.benchmark_model.delegation import Delegate
from mnet_deploy.runners.benchmark_model.flags import KNOWN_FLAGS, BenchmarkFlags, Flavour, flag_list
from mnet_deploy.runners.benchmark_model.tool_run import flags_of

GRAPH = "/data/local/tmp/a model.tflite"
COMMON = (
    f"--graph={GRAPH}",
    "--num_threads=1",
    "--num_runs=50",
    "--min_secs=1",
    "--max_secs=150",
    "--warmup_runs=1",
    "--warmup_min_secs=0.5",
)


@pytest.mark.parametrize(
    ("delegate", "flavour", "written"),
    [
        (Delegate.DEFAULT, Flavour.CLASSIC, ()),
        (Delegate.NONE, Flavour.CLASSIC, ("--use_xnnpack=false",)),
        (Delegate.XNNPACK, Flavour.CLASSIC, ("--use_xnnpack=true",)),
        (Delegate.GPU, Flavour.CLASSIC, ("--use_gpu=true", "--gpu_precision_loss_allowed=true")),
        (Delegate.NNAPI, Flavour.CLASSIC, ("--use_nnapi=true",)),
        (Delegate.DEFAULT, Flavour.LITERT, ("--use_cpu=true", "--use_gpu=false", "--use_npu=false")),
        (Delegate.XNNPACK, Flavour.LITERT, ("--use_cpu=true", "--use_gpu=false", "--use_npu=false")),
        (Delegate.GPU, Flavour.LITERT, ("--use_cpu=true", "--use_gpu=true", "--use_npu=false", "--allow_fp16=true")),
    ],
)
def test_delegates(delegate, flavour, written):
    assert flag_list(BenchmarkFlags(graph=GRAPH, delegate=delegate), flavour) == (*COMMON, *written)


def test_all_that_can_be_set():
    flags = BenchmarkFlags(
        graph="m",
        delegate=Delegate.GPU,
        threads=4,
        min_count=10,
        min_s=2.5,
        max_s=30,
        warmup_count=5,
        warmup_s=0,
        require_full=True,
        gpu_fp16=False,
        profile=True,
        result_path="r.pb",
        others={"gpu_backend": "cl"},
    )
    common = ["graph=m", "num_threads=4", "num_runs=10", "min_secs=2.5", "max_secs=30", "warmup_runs=5"]
    common += ["warmup_min_secs=0"]
    ends = ["require_full_delegation=true", "result_file_path=r.pb", "gpu_backend=cl"]
    classic = ["use_gpu=true", "gpu_precision_loss_allowed=false", "enable_op_profiling=true"]
    # With the processor beside it, LiteRT's tool aborts when full delegation is required.
    litert = ["use_cpu=false", "use_gpu=true", "use_npu=false", "allow_fp16=false", "use_profiler=true"]
    for flavour, own in ((Flavour.CLASSIC, classic), (Flavour.LITERT, litert)):
        assert flag_list(flags, flavour) == tuple(f"--{text}" for text in [*common, *own, *ends])


@pytest.mark.parametrize("flavour", Flavour)
@pytest.mark.parametrize("delegate", Delegate)
def test_only_flags_that_the_flavour_knows(flavour, delegate):
    for full in (False, True):
        try:
            written = flag_list(
                BenchmarkFlags(graph="m", delegate=delegate, require_full=full, profile=True, result_path="r"), flavour
            )
        except SpecError:
            continue
        names = [flag.removeprefix("--").partition("=")[0] for flag in written]
        assert set(names) <= KNOWN_FLAGS[flavour]
        assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("flavour", "change", "words"),
    [
        (Flavour.LITERT, {"delegate": Delegate.NONE}, "no flag for none"),
        (Flavour.LITERT, {"delegate": Delegate.NNAPI}, "no flag for nnapi"),
        (Flavour.LITERT, {"delegate": Delegate.XNNPACK, "require_full": True}, "GPU only"),
        (Flavour.LITERT, {"others": {"use_xnnpack": "true"}}, "no flag"),
        (Flavour.LITERT, {"others": {"enable_op_profiling": "true"}}, "no flag"),
        (Flavour.CLASSIC, {"others": {"use_cpu": "true"}}, "no flag"),
        (Flavour.CLASSIC, {"others": {"use_xnnpak": "true"}}, "no flag"),
        (Flavour.CLASSIC, {"others": {"dry_run": "true"}}, "no flag"),
        (Flavour.CLASSIC, {"others": {"num_threads": "2"}}, "set already"),
        (Flavour.CLASSIC, {"others": {"output_prefix": ""}}, "control characters"),
        (Flavour.CLASSIC, {"graph": "a\nb"}, "control characters"),
        (Flavour.CLASSIC, {"graph": ""}, "control characters"),
    ],
)
def test_what_a_flavour_cannot_do(flavour, change, words):
    with pytest.raises(SpecError, match=words):
        flag_list(BenchmarkFlags(**{"graph": GRAPH, **change}), flavour)


@pytest.mark.parametrize(
    "change",
    [
        {"threads": 0},
        {"threads": 100_000},
        {"min_count": 0},
        {"warmup_count": 0},
        {"min_s": -1},
        {"min_s": float("nan")},
        {"max_s": float("inf")},
        {"max_s": 0.5},
        {"max_s": 1, "warmup_s": 2},
        {"require_full": True},
        {"require_full": True, "delegate": Delegate.NONE},
    ],
)
def test_impossible_settings(change):
    with pytest.raises(SpecError):
        BenchmarkFlags(graph=GRAPH, **change)


@pytest.mark.parametrize(
    ("flavour", "option", "written"),
    [
        (Flavour.CLASSIC, "gpu_precision_loss_allowed=false", "--gpu_precision_loss_allowed=false"),
        (Flavour.LITERT, "allow_fp16=false", "--allow_fp16=false"),
    ],
)
def test_a_user_may_have_the_gpu_compute_with_32_bits(flavour, option, written):
    config = RunConfig(engine="benchmark_model", delegate="gpu", session_options=(option,))
    assert written in flag_list(flags_of(config, "m.tflite"), flavour)


def test_whether_the_gpu_may_round_is_true_or_false():
    config = RunConfig(engine="benchmark_model", delegate="gpu", session_options=("allow_fp16=0",))
    with pytest.raises(SpecError, match=r"^allow_fp16 is true or false"):
        flags_of(config, "m.tflite")
