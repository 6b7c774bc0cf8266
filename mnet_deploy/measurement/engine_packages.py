"""The packages that the engines come in."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EnginePackage:
    """Where an engine comes from.

    Attributes:
        package: its name in the package index.
        module: that it installs.
        loads: the module that has to be imported for the engine to load.
        extra: of this package that brings it.
    """

    package: str
    module: str
    loads: str
    extra: str


# By the name that a user gives, the preferred ones first.
ENGINE_PACKAGES = {
    "litert": EnginePackage("ai-edge-litert", "ai_edge_litert", "ai_edge_litert.interpreter", "litert"),
    "tflite-runtime": EnginePackage("tflite-runtime", "tflite_runtime", "tflite_runtime.interpreter", "tflite-runtime"),
    "onnxruntime": EnginePackage("onnxruntime", "onnxruntime", "onnxruntime", "onnx"),
}
