"""What a .tflite, .onnx or .keras file is: found in the file, with its sidecar beside it where there is one."""

import hashlib
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from mnet_deploy import graph_facts
from mnet_deploy.artifact import Artifact, sidecar_path
from mnet_deploy.cost.graph_cost import estimate_graph
from mnet_deploy.errors import ResultFormatError
from mnet_deploy.graph_readers import OpGraph, read_graph

# History: 1 = first.
INSPECTION_FORMAT = "mnet.inspection/1"


class SidecarState(StrEnum):
    """How a file and the sidecar beside it go together."""

    NONE = "none"
    MATCHES = "matches"
    CHANGED = "changed"
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorFacts:
    """An input or output of a graph; scale and zero point are None for a float tensor."""

    name: str
    shape: tuple[int | None, ...] | None
    layout: str | None
    dtype: str
    scale: float | None
    zero_point: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """What a file is.

    Attributes:
        file: its name.
        file_format: `tflite`, `onnx` or `keras`.
        size_bytes: of the file.
        sha256: of the file.
        metadata: what the file says of itself.
        inputs: of the graph.
        outputs: of the graph.
        op_histogram: how often each op occurs, the most frequent first.
        precision: how it computes, in words.
        per_channel_kernels: quantised kernels with a scale per output channel.
        per_tensor_kernels: quantised kernels with a single scale.
        float_ops: names of the ops that compute on floats.
        unfolded_batch_norms: names of the ops that are left of batch normalisations.
        pad_ops: ops that do nothing but pad.
        fused_activations: how often each activation is fused into another op.
        macs: of one image, without `uncounted`.
        params: stored parameters.
        uncounted: names of the ops whose MACs are not known.
        peak_elements: the most activation elements alive at once; None if a shape is not known.
        sidecar_state: whether the sidecar describes this very file.
        sidecar: what it says; None if there is none or it cannot be read.
        sidecar_error: why it cannot be read.
    """

    file: str
    file_format: str
    size_bytes: int
    sha256: str
    metadata: dict[str, str]
    inputs: tuple[TensorFacts, ...]
    outputs: tuple[TensorFacts, ...]
    op_histogram: dict[str, int]
    precision: str
    per_channel_kernels: int
    per_tensor_kernels: int
    float_ops: tuple[str, ...]
    unfolded_batch_norms: tuple[str, ...]
    pad_ops: int
    fused_activations: dict[str, int]
    macs: int
    params: int
    uncounted: tuple[str, ...]
    peak_elements: int | None
    sidecar_state: SidecarState
    sidecar: Artifact | None
    sidecar_error: str | None

    @property
    def is_as_described(self) -> bool:
        """Whether nothing speaks against the sidecar; a file without one is as good as one that matches."""
        return self.sidecar_state in (SidecarState.NONE, SidecarState.MATCHES)

    def to_json(self) -> dict[str, Any]:
        """Return the facts as JSON values; of the sidecar only what is not in the file itself."""
        facts = {name: value for name, value in asdict(self).items() if name != "sidecar"}
        return {
            "format": INSPECTION_FORMAT,
            **facts,
            "sidecar": None if self.sidecar is None else said_of(self.sidecar),
        }


def said_of(artifact: Artifact) -> dict[str, Any]:
    """Return the key facts of a sidecar: what cannot be seen in the file."""
    return {
        "model": artifact.spec.name,
        "precision": artifact.precision,
        "io": artifact.io,
        "sha256": artifact.sha256,
        "weights": artifact.weights,
        "calibration": artifact.calibration,
        "labels": None if artifact.labels is None else len(artifact.labels),
        "checks": artifact.checks,
        "unfit_for_accuracy": list(artifact.unfit_for_accuracy),
        "tool_versions": artifact.tool_versions,
        "derived_from": artifact.derived_from,
    }


def inspect_file(path: Path) -> Inspection:
    """Say what a file is.

    Raises:
        SpecError: not a .tflite, .onnx or .keras file, or a damaged one.
        ToolMissing: the library that reads its format is not installed.
    """
    graph = read_graph(path)
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    cost = estimate_graph(graph, title=path.name)
    per_channel, per_tensor = graph_facts.per_channel_weights(graph)
    state, artifact, problem = _sidecar(path, sha256)
    return Inspection(
        file=path.name,
        file_format=graph.format,
        size_bytes=path.stat().st_size,
        sha256=sha256,
        metadata=graph.metadata,
        inputs=tuple(_facts(graph, name) for name in graph.inputs),
        outputs=tuple(_facts(graph, name) for name in graph.outputs),
        op_histogram=graph_facts.op_histogram(graph),
        precision=graph_facts.precision_found(graph),
        per_channel_kernels=per_channel,
        per_tensor_kernels=per_tensor,
        float_ops=graph_facts.float_ops(graph),
        unfolded_batch_norms=graph_facts.unfolded_batch_norms(graph),
        pad_ops=graph_facts.pad_count(graph),
        fused_activations=graph_facts.fused_activations(graph),
        macs=cost.macs,
        params=cost.params,
        uncounted=cost.uncounted,
        peak_elements=cost.peak_elements,
        sidecar_state=state,
        sidecar=artifact,
        sidecar_error=problem,
    )


def _facts(graph: OpGraph, name: str) -> TensorFacts:
    tensor = graph.tensors[name]
    return TensorFacts(
        name=name,
        shape=tensor.shape,
        layout=graph_facts.layout(graph, name),
        dtype=tensor.dtype,
        scale=tensor.scale[0] if tensor.scale else None,
        zero_point=tensor.zero_point[0] if tensor.zero_point else None,
    )


def _sidecar(path: Path, sha256: str) -> tuple[SidecarState, Artifact | None, str | None]:
    beside = sidecar_path(path)
    if not beside.is_file():
        return SidecarState.NONE, None, None
    try:
        artifact = Artifact.from_json(beside.read_text(encoding="utf-8"), origin=beside.name)
    except (ResultFormatError, OSError, UnicodeDecodeError) as error:
        return SidecarState.UNREADABLE, None, str(error)
    return SidecarState.MATCHES if artifact.sha256 == sha256 else SidecarState.CHANGED, artifact, None
