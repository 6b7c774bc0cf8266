from pathlib import Path

import pytest

from mnet_deploy.errors import DeviceError, ResultFormatError, SpecError
from mnet_deploy.runners.benchmark_model.delegation import Delegate, Delegated
from mnet_deploy.runners.benchmark_model.text import parse_log, require_delegated

SAMPLES = Path(__file__).with_name("samples")
REPLACED = "Replacing {} out of {} node(s) with delegate ({}) node, yielding 1 partitions for subgraph {}."
APPLIED = "Explicitly applied {} delegate, and the model graph will be {} executed by the delegate."
OLD = "Replacing 31 node(s) with delegate (TfLiteNnapiDelegate) node, yielding 1 partitions."


def log(name):
    return (SAMPLES / f"{name}.txt").read_text(encoding="utf-8")


def with_lines(*lines):
    return parse_log(log("a_tf1") + "".join(f"INFO: {line}\n" for line in lines))


@pytest.mark.parametrize(
    ("lines", "delegate", "least", "proved"),
    [
        ([REPLACED.format(31, 31, "TfLiteXNNPackDelegate", 0)], Delegate.XNNPACK, None, (31, 31)),
        ([REPLACED.format(31, 31, "LITERT_CL", "0 (main)")] * 2, Delegate.GPU, None, (31, 31)),
        (
            [REPLACED.format(9, 9, "TfLiteGpuDelegateV2", 0), REPLACED.format(8, 8, "TfLiteGpuDelegateV2", 1)],
            Delegate.GPU,
            None,
            (17, 17),
        ),
        ([REPLACED.format(29, 31, "TfLiteGpuDelegateV2", 0)], Delegate.GPU, 29, (29, 31)),
        ([APPLIED.format("NNAPI", "completely")], Delegate.NNAPI, None, (None, None)),
        ([OLD, APPLIED.format("NNAPI", "completely")], Delegate.NNAPI, None, (31, None)),
        ([OLD], Delegate.NNAPI, 31, (31, None)),
        ([APPLIED.format("XNNPACK", "partially")], Delegate.XNNPACK, None, (None, None)),
        ([REPLACED.format(30, 31, "TfLiteXNNPackDelegate", 0)], Delegate.XNNPACK, None, (30, 31)),
        ([APPLIED.format("XNNPACK", "completely")], Delegate.XNNPACK, 9, (None, None)),
        ([], Delegate.NONE, None, (0, None)),
    ],
)
def test_what_is_proved(lines, delegate, least, proved):
    nodes, total_nodes = proved
    found = require_delegated(with_lines(*lines), delegate, least_nodes=least)
    assert found == Delegated(nodes=nodes, total_nodes=total_nodes)


@pytest.mark.parametrize(
    ("lines", "delegate", "least", "words"),
    [
        ([], Delegate.XNNPACK, None, "without such a line"),
        (["Created TensorFlow Lite XNNPACK delegate for CPU."], Delegate.XNNPACK, None, "without such a line"),
        ([REPLACED.format(31, 31, "TfLiteXNNPackDelegate", 0)], Delegate.GPU, None, "without such a line"),
        ([REPLACED.format(31, 31, "Vx Delegate", 0)], Delegate.NNAPI, None, "without such a line"),
        ([REPLACED.format(29, 31, "TfLiteGpuDelegateV2", 0)], Delegate.GPU, None, "29 of 31"),
        ([REPLACED.format(29, 31, "TfLiteGpuDelegateV2", 0)], Delegate.GPU, 30, "29 of 31"),
        (
            [REPLACED.format(9, 9, "LITERT_CL", 0), REPLACED.format(7, 8, "LITERT_CL", 1)],
            Delegate.GPU,
            None,
            "16 of 17",
        ),
        ([OLD], Delegate.NNAPI, None, "31; the rest"),
        ([OLD], Delegate.NNAPI, 32, "at least 32"),
        ([APPLIED.format("GPU", "partially")], Delegate.GPU, None, "an unknown number"),
        ([REPLACED.format(0, 31, "TfLiteXNNPackDelegate", 0)], Delegate.XNNPACK, None, "0 of 31"),
        ([APPLIED.format("XNNPACK", "partially")], Delegate.XNNPACK, 2, "an unknown number"),
        (
            ["Though GPU delegate is explicitly applied, the model graph will not be executed by the delegate."],
            Delegate.GPU,
            1,
            "will not be executed",
        ),
        ([REPLACED.format(31, 31, "TfLiteXNNPackDelegate", 0)], Delegate.NONE, None, "use_xnnpack=false"),
        (["Created TensorFlow Lite XNNPACK delegate for CPU."], Delegate.NONE, None, "use_xnnpack=false"),
    ],
)
def test_what_is_not_proved(lines, delegate, least, words):
    with pytest.raises(DeviceError, match=words):
        require_delegated(with_lines(*lines), delegate, least_nodes=least)


def test_the_delegates_of_the_samples():
    assert require_delegated(parse_log(log("d_nnapi")), Delegate.NNAPI) == Delegated(nodes=31, total_nodes=31)
    assert require_delegated(parse_log(log("f_xnnpack")), Delegate.XNNPACK) == Delegated(nodes=49, total_nodes=49)
    assert require_delegated(parse_log(log("e_percentiles")), Delegate.NONE).nodes == 0
    with pytest.raises(DeviceError):
        require_delegated(parse_log(log("h_litert")), Delegate.XNNPACK)  # it says `Created` and no number of nodes


def test_the_default_proves_nothing():
    with pytest.raises(SpecError):
        require_delegated(parse_log(log("f_xnnpack")), Delegate.DEFAULT)


def test_more_nodes_than_there_are():
    with pytest.raises(ResultFormatError, match="at most all"):
        with_lines(REPLACED.format(32, 31, "LITERT_CL", 0))
