"""What an .onnx must be before its graph is read: a known opset, known ops, and weights that are where it says.

Runs in the child process of `read_graph`. Every refusal is a `RefusedFile`.
"""

import functools
from collections.abc import Iterable
from pathlib import Path

import onnx
from onnx import ModelProto, OperatorSetIdProto, helper

from mnet_deploy.graph_readers.graph import RefusedFile, shown
from mnet_deploy.graph_readers.onnx_ops import ENGINE_DOMAINS, Opsets, domain_shown, require_ops, standard_name
from mnet_deploy.graph_readers.onnx_walk import stored_tensors
from mnet_deploy.graph_readers.onnx_weights import require_weights


def require_readable(model: ModelProto, folder: Path) -> None:
    """Raise a `RefusedFile` if the model asks for what is not here, or for what it must not have.

    Args:
        model: as parsed, weights in other files not loaded.
        folder: of the file, where all weights in other files must lie.
    """
    _require_ir_version(model)
    functions = {(function.domain, function.name) for function in model.functions}
    opsets = _opsets(model.opset_import)
    if not opsets and model.ir_version < 3:  # opset_import came with IR 3
        opsets = {"": 1}
    _require_known(opsets)
    require_ops(model.graph.node, opsets, functions)
    for function in model.functions:
        own = _opsets(function.opset_import)
        _require_known(own)
        require_ops(function.node, own, functions)
    _require_domains(opsets, {domain for domain, _ in functions})
    for tensor in stored_tensors(model):
        require_weights(tensor, folder)


def _require_ir_version(model: ModelProto) -> None:
    if model.ir_version > onnx.IR_VERSION:
        raise RefusedFile(
            f"expected IR version {onnx.IR_VERSION} or lower, which onnx {onnx.__version__} knows; received"
            f" {model.ir_version}: install a newer onnx, or write the file with an older IR version"
        )


def _opsets(imports: Iterable[OperatorSetIdProto]) -> dict[str, int]:
    return {standard_name(entry.domain): entry.version for entry in imports}


def _require_known(opsets: Opsets) -> None:
    newest = _newest_opsets()
    for domain, version in opsets.items():
        if domain in newest and not 1 <= version <= newest[domain]:
            raise RefusedFile(
                f"expected opset 1 to {newest[domain]} of {domain_shown(domain)}, which onnx {onnx.__version__}"
                f" knows; received {version}: install a newer onnx, or export with an older opset (17 runs everywhere)"
            )


def _require_domains(opsets: Opsets, own: set[str]) -> None:
    """Refuse a domain that nothing here knows, although no op of it is in use."""
    for domain, version in opsets.items():
        if domain not in own and domain not in _newest_opsets():
            raise RefusedFile(
                f"expected opsets of ai.onnx, ai.onnx.ml or ONNX Runtime's domains; received {shown(domain)} {version}:"
                " a domain of custom ops; export the model without it"
            )


@functools.cache
def _newest_opsets() -> dict[str, int]:
    machine_learning = max(row[3] for row in helper.VERSION_TABLE)
    return {"": onnx.defs.onnx_opset_version(), "ai.onnx.ml": machine_learning, **dict.fromkeys(ENGINE_DOMAINS, 1)}
