""".onnx to .ort, the format of ONNX Runtime's reduced build for phones, by the tools that ONNX Runtime brings.

They run in child processes: they write files, log and set options of the whole process.
"""

import re
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from mnet_deploy.child_process import ChildResult, run_child
from mnet_deploy.errors import ConversionError

_TIMEOUT_S = 120.0
_VERDICT = re.compile(r"Model should perform well with (.+) as is: (YES|NO)")


@dataclass(frozen=True, slots=True, kw_only=True)
class OrtFile:
    """A model for ONNX Runtime Mobile.

    Attributes:
        content: of the .ort.
        required_operators: of the .config that a reduced build is made with: `domain;opset;operator,operator` lines.
        usability: ONNX Runtime's own verdict for each accelerator of phones: whether it can take the whole model.
    """

    content: bytes
    required_operators: str
    usability: dict[str, bool]


def to_ort(onnx_content: bytes) -> OrtFile:
    """Convert an .onnx, optimised for ARM: without the rearrangements that ONNX Runtime makes for x86 only.

    Raises:
        ConversionError: ONNX Runtime's tool failed.
        CommandTimeout: it did not end in time.
    """
    with tempfile.TemporaryDirectory(prefix="mnet-") as folder:
        source = Path(folder, "model.onnx")
        source.write_bytes(onnx_content)
        options = ["--optimization_style", "Fixed", "--target_platform", "arm", "--output_dir", folder]
        _run_tool("convert_onnx_models_to_ort", *options, str(source))
        checked = _run_tool("check_onnx_model_mobile_usability", str(source))
        operators = Path(folder, "model.required_operators.config").read_text(encoding="utf-8")
        return OrtFile(
            content=Path(folder, "model.ort").read_bytes(),
            required_operators="".join(
                line for line in operators.splitlines(keepends=True) if not line.startswith("#")
            ),
            usability=_usability(checked.stderr + checked.stdout.decode(errors="replace")),
        )


def _run_tool(name: str, *arguments: str) -> ChildResult:
    command = [sys.executable, "-P", "-m", f"onnxruntime.tools.{name}", *arguments]
    result = run_child(command, timeout_s=_TIMEOUT_S)
    if result.return_code != 0:
        raise ConversionError(f"ONNX Runtime's {name} ended with {result.ending} ({result.last_line})")
    return result


def _usability(log: str) -> dict[str, bool]:
    found = {match[1]: match[2] == "YES" for match in _VERDICT.finditer(log)}
    if not found:
        raise ConversionError(
            "ONNX Runtime's check_onnx_model_mobile_usability gave no verdict; its output has changed"
        )
    return found
