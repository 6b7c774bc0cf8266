"""The float model that an exported file was made from, found again."""

from pathlib import Path

from mnet_deploy.artifact import Artifact, TensorInfo, file_sha256
from mnet_deploy.converters.options import Layout, OnnxOptions
from mnet_deploy.errors import SpecError
from mnet_deploy.models.load import LoadedModel, load_model
from mnet_deploy.spec.families import INPUT_NAME

# What `write_float_model` writes; the batch comes with the images.
FLOAT_INPUT = TensorInfo(name=INPUT_NAME, shape=(), layout="NHWC", dtype="float32")


def find_float_model(artifact: Artifact, weights: str | None) -> tuple[LoadedModel | None, tuple[str, ...]]:
    """Return the float model, or None and why it is not at hand.

    Args:
        artifact: of the exported file.
        weights: the checkpoint; None for the one that the sidecar names.

    Raises:
        SpecError: the checkpoint that was given is another one.
    """
    recorded, digest = artifact.weights["path"], artifact.weights["sha256"]
    if weights is None and recorded is not None and (problem := _changed_since(Path(recorded), digest)):
        return None, (f"the float model is not at hand: {recorded} {problem}; give the checkpoint with --weights",)
    source = weights or recorded or artifact.weights["origin"]
    # classes that are None say that there is no classifier; any other None says nothing
    fields = {key: value for key, value in artifact.spec.to_json().items() if value is not None or key == "classes"}
    loaded = load_model(source, fields, seed=artifact.calibration["seed"])
    if loaded.sha256 == digest and not loaded.head_trained and artifact.weights["trained"]:
        return None, ("the float model is not at hand: its classifier is not the family's, and only Keras runs it",)
    if loaded.sha256 == digest:
        return loaded, ()
    if weights is not None:
        raise SpecError(f"{weights} is not the checkpoint that {artifact.file} was made from (its sha256 differs)")
    return None, (f"the float model is not at hand: the {source} weights are not those of the export any more",)


def write_float_model(loaded: LoadedModel, folder: Path) -> Path:
    """Write the float model as an .onnx that takes `FLOAT_INPUT`; return where."""
    from mnet_deploy.converters.folded_graph import fold  # these import ONNX: only where the float model is at hand
    from mnet_deploy.converters.onnx_float import write_float

    path = folder / "float.onnx"
    path.write_bytes(write_float(fold(loaded.spec, loaded.weights), OnnxOptions(layout=Layout.NHWC)))
    return path


def _changed_since(path: Path, sha256: str) -> str:
    """Return in words how a file differs from the one with this sha256; empty if it does not."""
    if not path.is_file():
        return "is gone"
    return "" if file_sha256(path) == sha256 else "was changed since the export"
