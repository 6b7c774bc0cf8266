"""What ran in a delegate, as the log says: the proof that a latency is the delegate's."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum

from mnet_deploy.errors import DeviceError, ResultFormatError, SpecError
from mnet_deploy.runners.benchmark_model.log_lines import LogLine
from mnet_deploy.terminal import printable

_COUNT = "[0-9]{1,9}"
# tensorflow/lite/core/subgraph.cc; old versions do not say how many nodes the graph has.
_REPLACING = re.compile(
    rf"Replacing (?P<nodes>{_COUNT})(?: out of (?P<total>{_COUNT}))? node\(s\) with delegate \((?P<delegate>[^)]+)\) "
    rf"node, yielding (?P<partitions>{_COUNT}) partitions(?: for (?P<where>.+?))?\.?"
)
# tensorflow/lite/tools/benchmark/benchmark_tflite_model.cc
_APPLIED = re.compile(
    r"Explicitly applied (?P<delegate>.+?) delegate, and the model graph will be (?P<how>completely|partially) "
    rf"executed by the delegate(?: w/ {_COUNT} delegate kernels)?\.?"
)
_NOT_APPLIED = re.compile(
    r"Though (?P<delegate>.+?) delegate is explicitly applied, the model graph will not be executed by the delegate\.?"
)
_CREATED = re.compile(r"Created TensorFlow Lite (?:(?P<cpu>XNNPACK) delegate for CPU|delegate for (?P<other>\S+?))\.")


class Delegate(StrEnum):
    """What computes a model.

    DEFAULT leaves it to the runtime, which takes XNNPACK. NONE is the kernels without XNNPACK.
    """

    DEFAULT = "default"
    NONE = "none"
    XNNPACK = "xnnpack"
    GPU = "gpu"
    NNAPI = "nnapi"


# As the runtime and the tool name them: TfLiteXNNPackDelegate, TfLiteGpuDelegateV2, LITERT_CL, TfLiteNnapiDelegate.
_NAMES = {
    Delegate.XNNPACK: re.compile("xnnpack", re.IGNORECASE),
    Delegate.GPU: re.compile("gpu|litert_cl|litert_gl", re.IGNORECASE),
    Delegate.NNAPI: re.compile("nnapi", re.IGNORECASE),
}


class Execution(StrEnum):
    """How much of a graph runs in the delegate that was asked for."""

    COMPLETE = "completely"
    PARTIAL = "partially"
    NOT = "not"


@dataclass(frozen=True, slots=True, kw_only=True)
class Replacement:
    """Nodes that a delegate took over.

    Attributes:
        delegate: the runtime's name of it.
        nodes: how many.
        total_nodes: of the graph at that time; None in old logs.
        partitions: in how many pieces.
        where: `the whole graph`, `subgraph 0`, ...; None in old logs.
        line: the log's own.
    """

    delegate: str
    nodes: int
    total_nodes: int | None
    partitions: int
    where: str | None
    line: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """The tool's own line on a delegate that was asked for by a flag.

    Attributes:
        delegate: the tool's name of it.
        execution: how much of the graph runs in it.
        line: the log's own.
    """

    delegate: str
    execution: Execution
    line: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Created:
    """A delegate that the runtime made: no proof that it computes anything, but against `no delegate`.

    Attributes:
        delegate: the runtime's name of it.
    """

    delegate: str


DelegateFact = Replacement | Applied | Created


def read_delegation(lines: Iterable[LogLine]) -> Iterator[DelegateFact]:
    """Yield all that a log says of delegates, in its order."""
    for line in lines:
        if found := _REPLACING.fullmatch(line.text):
            total = int(found["total"]) if found["total"] else None
            nodes = int(found["nodes"])
            if total is not None and nodes > total:
                raise ResultFormatError(f"a delegate takes at most all nodes. Received: {nodes} of {total}")
            yield Replacement(
                delegate=found["delegate"],
                nodes=nodes,
                total_nodes=total,
                partitions=int(found["partitions"]),
                where=found["where"],
                line=printable(line.text),
            )
        elif found := _APPLIED.fullmatch(line.text):
            yield Applied(delegate=found["delegate"], execution=Execution(found["how"]), line=printable(line.text))
        elif found := _NOT_APPLIED.fullmatch(line.text):
            yield Applied(delegate=found["delegate"], execution=Execution.NOT, line=printable(line.text))
        elif found := _CREATED.fullmatch(line.text):
            yield Created(delegate=found["cpu"] or found["other"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Delegated:
    """What is proved of a delegate.

    Attributes:
        nodes: that it took over; None where the log says `completely executed` and no number.
        total_nodes: of the graph; None where the log does not say it.
        evidence: the line of the log that says so; None where the lack of one does.
    """

    nodes: int | None
    total_nodes: int | None
    evidence: str | None = field(default=None, compare=False)


def require_delegation(
    said: Iterable[DelegateFact], delegate: Delegate, *, least_nodes: int | None = None
) -> Delegated:
    """Return what a delegate took over.

    Args:
        said: what the log of the run says of delegates.
        delegate: that was asked for, none of DEFAULT.
        least_nodes: how many nodes have to be in it. By default all of them; of XNNPACK one, because it leaves some of
            int8 graphs (of MobileNet v1 one in 31) to other kernels on the same processor. Ignored with NONE.

    Raises:
        DeviceError: the log proves nothing, or less than was asked for.
        SpecError: nothing was asked for.
    """
    said = tuple(dict.fromkeys(said))  # the runtime's lines go to stderr and to logcat, too
    if delegate is Delegate.DEFAULT:
        raise SpecError("a proof is of xnnpack, gpu, nnapi or none. Received: default, which asks for nothing")
    if delegate is Delegate.NONE:
        return _nothing(said)
    ours = [fact for fact in said if not isinstance(fact, Created) and _NAMES[delegate].search(fact.delegate)]
    if not ours:
        raise DeviceError(
            f"the log of a run on {delegate} says how much of the model runs there. Received: a log without such a "
            "line; the latency may be the processor's. Try another build of benchmark_model"
        )
    if least_nodes is None and delegate is Delegate.XNNPACK:
        least_nodes = 1
    replaced = [fact for fact in ours if isinstance(fact, Replacement)]
    proved = replace(_sum(replaced), evidence=(replaced or ours)[0].line)
    how = {fact.execution for fact in ours if isinstance(fact, Applied)}
    _require_enough(proved, how, delegate, least_nodes)
    return proved


def delegation_by_default(said: Iterable[DelegateFact]) -> tuple[str, Delegated] | None:
    """Return the name of what took over nodes without being asked for, and how many; None if the log does not say."""
    replaced = [fact for fact in dict.fromkeys(said) if isinstance(fact, Replacement)]
    names = dict.fromkeys(_short_name(fact.delegate) for fact in replaced)
    if not names:
        return None
    proved = replace(_sum(replaced), evidence=replaced[0].line)
    if len(names) > 1:  # the second one counts of what the first one left
        proved = replace(proved, total_nodes=None)
    return "+".join(names), proved


def _short_name(runtime_name: str) -> str:
    return next((str(known) for known, name in _NAMES.items() if name.search(runtime_name)), printable(runtime_name))


def _nothing(said: tuple[DelegateFact, ...]) -> Delegated:
    if said:
        raise DeviceError(
            f"no delegate was asked for. Received: a log of {printable(said[0].delegate)}; pass --use_xnnpack=false"
        )
    return Delegated(nodes=0, total_nodes=None)


def _sum(replaced: list[Replacement]) -> Delegated:
    """Return the nodes of all subgraphs together."""
    if not replaced:
        return Delegated(nodes=None, total_nodes=None)
    totals = [fact.total_nodes for fact in replaced]
    known = [total for total in totals if total is not None]
    return Delegated(
        nodes=sum(fact.nodes for fact in replaced), total_nodes=sum(known) if len(known) == len(totals) else None
    )


def _require_enough(proved: Delegated, how: set[Execution], delegate: Delegate, least_nodes: int | None) -> None:
    if Execution.NOT in how:
        raise DeviceError(
            f"{delegate} was asked for. Received: a log that says the model will not be executed by it, so the "
            "processor computed all of it; choose another delegate or another model"
        )
    complete = how == {Execution.COMPLETE} if how else proved.nodes is not None and proved.nodes == proved.total_nodes
    if proved.nodes is not None and proved.total_nodes is not None and proved.nodes != proved.total_nodes:
        complete = False
    if least_nodes is None:
        enough = complete
    elif proved.nodes is not None:
        enough = proved.nodes >= least_nodes
    else:
        enough = complete or (Execution.PARTIAL in how and least_nodes <= 1)
    if not enough:
        nodes = "an unknown number" if proved.nodes is None else str(proved.nodes)
        total = "" if proved.total_nodes is None else f" of {proved.total_nodes}"
        asked = "all nodes" if least_nodes is None else f"at least {least_nodes} nodes"
        raise DeviceError(
            f"{asked} were to run on {delegate}. Received: {nodes}{total}; the rest ran on the processor. "
            "Ask for fewer (--benchmark-model-nodes), or choose another delegate"
        )
