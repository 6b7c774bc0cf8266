"""An inspection as text for a terminal."""

import re
from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import Any

from mnet_deploy.artifact import Artifact
from mnet_deploy.pipeline.inspection import Inspection, SidecarState, TensorFacts
from mnet_deploy.text_table import render_table
from mnet_deploy.units import format_bytes

WIDTH = 100
_MAX_NAMES = 3
_MAX_NAME_LENGTH = 40
_DIGEST = re.compile("[0-9a-f]{64}")
_DIGEST_SHOWN = 12


def inspection_text(found: Inspection) -> str:
    """Return everything that `mnet inspect` says."""
    tensors = [*(("input", each) for each in found.inputs), *(("output", each) for each in found.outputs)]
    sections = [
        f"{found.file}\n\n{_pairs(_file_lines(found))}",
        render_table(
            ("tensor", "name", "shape", "layout", "type", "scale", "zero point"),
            [_tensor_row(role, each) for role, each in tensors],
            align="<<<<<>>",
        ),
        _pairs(_graph_lines(found)),
        render_table(("op", "count"), [(op, f"{count:,}") for op, count in found.op_histogram.items()], align="<>"),
        _pairs(_sidecar_lines(found)),
    ]
    return "\n\n".join(sections)


def _file_lines(found: Inspection) -> dict[str, str]:
    return {
        "format": found.file_format,
        "size": f"{format_bytes(found.size_bytes)} ({found.size_bytes:,} bytes)",
        "sha256": found.sha256,
        **{name.replace("_", " "): text for name, text in found.metadata.items() if text},
    }


def _graph_lines(found: Inspection) -> dict[str, str]:
    per_what = f"{found.per_channel_kernels} with a scale per channel, {found.per_tensor_kernels} with a single one"
    lines = {
        "precision": found.precision,
        "quantised kernels": per_what,
        "float ops": "all" if len(found.float_ops) == sum(found.op_histogram.values()) else _names(found.float_ops),
        "batch norm left": _names(found.unfolded_batch_norms),
        "pad ops": str(found.pad_ops),
        "fused activations": _counts(found.fused_activations),
        "MACs": f"{found.macs:,}",
        "params": f"{found.params:,}",
        "peak activations": "unknown" if found.peak_elements is None else f"{found.peak_elements:,} elements",
    }
    return lines | ({"MACs not counted": _names(found.uncounted)} if found.uncounted else {})


def _sidecar_lines(found: Inspection) -> dict[str, str]:
    if found.sidecar is None:
        unreadable = found.sidecar_state is SidecarState.UNREADABLE
        return {"sidecar": f"CANNOT BE READ: {found.sidecar_error}" if unreadable else "none"}
    said = found.sidecar
    verdict = (
        "describes this very file"
        if found.sidecar_state is SidecarState.MATCHES
        else f"THE FILE WAS CHANGED: its sidecar describes one with sha256 {said.sha256}"
    )
    return {"sidecar": verdict, **_said_lines(said)}


def _said_lines(said: Artifact) -> dict[str, str]:
    lines = {
        "model": f"{said.spec.name}, {said.precision}, {said.io} input and output",
        "weights": _values(said.weights),
        "calibration": _values(said.calibration) or "none",
        "labels": "none" if said.labels is None else f"{len(said.labels):,}",
        "checks": _values(_judged(said.checks)),
        "made with": _values(said.tool_versions),
        "derived from": said.derived_from or "",
        "UNFIT FOR ACCURACY": "; ".join(said.unfit_for_accuracy),
    }
    return {name: text for name, text in lines.items() if text}


def _judged(checks: dict[str, Any]) -> dict[str, Any]:
    """Return the checks without figures that say nothing, such as those of random weights."""
    if checks.get("fidelity_judged", True):
        return {name: value for name, value in checks.items() if name != "fidelity_judged"}
    return {name: value for name, value in checks.items() if name not in ("fidelity", "fidelity_judged")} | {
        "fidelity": "not judged"
    }


def _tensor_row(role: str, facts: TensorFacts) -> Sequence[str]:
    shape = "?" if facts.shape is None else "x".join("?" if size is None else str(size) for size in facts.shape)
    scale = "" if facts.scale is None else f"{facts.scale:.6g}"
    zero_point = "" if facts.zero_point is None else str(facts.zero_point)
    return (role, _short(facts.name), shape, facts.layout or "", facts.dtype, scale, zero_point)


def _names(names: Sequence[str]) -> str:
    if not names:
        return "none"
    more = f" and {len(names) - _MAX_NAMES:,} more" if len(names) > _MAX_NAMES else ""
    return f"{len(names):,}: {', '.join(map(_short, names[:_MAX_NAMES]))}{more}"


def _short(name: str) -> str:
    return name if len(name) <= _MAX_NAME_LENGTH else f"...{name[3 - _MAX_NAME_LENGTH :]}"


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in counts.items()) or "none"


def _values(values: Mapping[str, Any]) -> str:
    """Return what is known of a part of the sidecar; unknown and empty values are left out."""
    known = {name: value for name, value in values.items() if value not in (None, "", [], {})}
    return ", ".join(f"{name} {_value(value)}" for name, value in known.items())


def _value(value: object) -> str:
    if isinstance(value, Mapping):
        return f"({_values(value)})"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return " ".join(map(_value, value))
    if isinstance(value, str) and _DIGEST.fullmatch(value):
        return f"{value[:_DIGEST_SHOWN]}..."
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _pairs(lines: Mapping[str, str]) -> str:
    """Return names and texts in two columns; long texts are wrapped below themselves."""
    width = max(map(len, lines)) + 2
    return "\n".join(
        fill(
            f"{name:<{width}}{text}",
            WIDTH,
            subsequent_indent=" " * width,
            break_long_words=False,
            break_on_hyphens=False,
        )
        for name, text in lines.items()
    )
