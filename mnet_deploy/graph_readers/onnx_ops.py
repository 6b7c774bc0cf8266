"""Whether every op of an .onnx is one that its opset or ONNX Runtime has, with the inputs and attributes of that op."""

from collections.abc import Iterable, Mapping
from typing import Any

import onnx
from onnx import AttributeProto, NodeProto

from mnet_deploy.graph_readers.graph import RefusedFile, shown
from mnet_deploy.graph_readers.onnx_walk import with_inner

Opsets = Mapping[str, int]  # version by domain; the standard one is ""

# Domains that ONNX Runtime and exporters of PyTorch declare in every file, used or not; each has one version.
ENGINE_DOMAINS = (
    "ai.onnx.preview",
    "ai.onnx.preview.training",
    "ai.onnx.training",
    "com.microsoft",
    "com.microsoft.experimental",
    "com.microsoft.nchwc",
    "com.ms.internal.nhwc",
    "org.pytorch.aten",
    "pkg.onnxscript.torch_lib",
    "pkg.onnxscript.torch_lib.common",
)


def require_ops(nodes: Iterable[NodeProto], opsets: Opsets, functions: set[tuple[str, str]]) -> None:
    """Raise a `RefusedFile` unless every node, inner graphs included, is a well-formed call of a known op.

    Args:
        nodes: of a graph or function.
        opsets: that it may use.
        functions: (domain, name) of those that the file itself defines.
    """
    for node in with_inner(nodes):
        if not any(node.output):
            raise _malformed(node, "an output with a name", "none")
        if (node.domain, node.op_type) not in functions:
            _require_op(node, opsets)


def standard_name(domain: str) -> str:
    """Return a domain as the keys of `Opsets` have it: the standard ops go by two names."""
    return "" if domain == "ai.onnx" else domain


def domain_shown(domain: str) -> str:
    """Return a domain for people."""
    return domain or "ai.onnx"


def _require_op(node: NodeProto, opsets: Opsets) -> None:
    domain = standard_name(node.domain)
    if domain not in opsets and domain in ("", *ENGINE_DOMAINS):
        raise RefusedFile(
            f"expected an opset version for every domain in use; received none of {domain_shown(domain)} for"
            f" {_node_shown(node)}: export the model again"
        )
    found, schema = _find_schema(domain, node.op_type, opsets.get(domain, 0))
    if not found:
        standard = f"opset {opsets['']}" if "" in opsets else "ONNX"
        raise RefusedFile(
            f"expected ops of {standard} or of ONNX Runtime; received {_node_shown(node)}, which neither has: a"
            " custom op cannot be read, export the model with standard ops"
        )
    if schema is not None:
        _require_call(node, schema)


def _find_schema(domain: str, op_type: str, version: int) -> tuple[bool, Any | None]:
    """Return whether an op is known, and its schema.

    Without ONNX Runtime every op of its own domains counts as known. It is loaded only for an op that is not standard.
    """
    try:
        return True, onnx.defs.get_schema(op_type, version, domain)
    except onnx.defs.SchemaError:
        pass
    try:
        from mnet_deploy.graph_readers.onnx_engine_ops import find_schema
    except ImportError:
        return domain in ENGINE_DOMAINS, None
    schema = find_schema(domain, op_type, version)
    return schema is not None, schema


def _require_call(node: NodeProto, schema: Any) -> None:  # noqa: ANN401 - of onnx or of ONNX Runtime
    """Refuse a node with another number of inputs or outputs, or another type of attribute, than its op has."""
    for what, names, fewest, most in (
        ("inputs", node.input, schema.min_input, schema.max_input),
        ("outputs", node.output, schema.min_output, schema.max_output),
    ):
        if not fewest <= len(names) <= most:
            expected = f"{fewest}" if fewest == most else f"{fewest} or more" if most > 99 else f"{fewest} to {most}"
            raise _malformed(node, f"{expected} {what}", f"{len(names)}")
    kinds = {name: attribute.type.value for name, attribute in schema.attributes.items()}
    for attribute in node.attribute:
        expected_kind = kinds.get(attribute.name, attribute.type)
        if attribute.type != expected_kind and not attribute.ref_attr_name:
            received = f"{_kind_shown(attribute.type)} as {shown(attribute.name)}"
            raise _malformed(node, f"an attribute of type {_kind_shown(expected_kind)}", received)


def _malformed(node: NodeProto, expected: str, received: str) -> RefusedFile:
    return RefusedFile(
        f"expected {expected} for {_node_shown(node)}; received {received}: the file is damaged, export the model again"
    )


def _kind_shown(kind: int) -> str:
    known = kind in AttributeProto.AttributeType.values()
    return str(AttributeProto.AttributeType.Name(kind)).lower() if known else f"number {kind}"


def _node_shown(node: NodeProto) -> str:
    name = node.name or next(filter(None, node.output), "")
    return f"{shown(f'{domain_shown(node.domain)}::{node.op_type}')} (node {shown(name)})"
