"""Models whose body is of the family and whose classifier is not: Keras runs them, TensorFlow converts them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from mnet_deploy.errors import ForeignHead, SpecError
from mnet_deploy.interrupts import raise_if_interrupted
from mnet_deploy.models.builder import predict
from mnet_deploy.models.load import LoadedModel, load_model
from mnet_deploy.quiet import silenced_native_output


def load_with_own_head(
    source: str, overrides: dict[str, Any], *, seed: int, problem: ForeignHead
) -> tuple[LoadedModel, keras.Model]:
    """Load a whole Keras model.

    Args:
        source: a .keras or .h5 file with the whole model.
        overrides: fields of `ModelSpec` that the user asked for.
        seed: unused weights are drawn with it.
        problem: why the family's own way does not work.

    Returns:
        The body with the number of classes that the model puts out, and the model.

    Raises:
        ForeignHead: Keras cannot load the file (it has weights only, or code that is not run), again.
        SpecError: what the model puts out are no scores of classes.
    """
    try:
        with silenced_native_output():
            model = keras.saving.load_model(Path(source), compile=False, safe_mode=True)
    except Exception as error:  # Keras raises anything at all on a damaged file
        raise_if_interrupted()
        raise ForeignHead(f"{problem}. Keras cannot load the whole model either ({error})") from error
    inputs, outputs = ([tuple(tensor.shape) for tensor in tensors or ()] for tensors in (model.inputs, model.outputs))
    if len(outputs) != 1 or len(outputs[0]) != 2 or outputs[0][1] is None:
        raise SpecError(f"{source}: expected one output of scores, [batch, classes]. Received: {outputs}")
    body = load_model(source, overrides | {"classes": None}, seed=seed)
    side_px, channels = body.spec.resolution_px, body.spec.channels_in
    if [shape[1:] for shape in inputs] != [(side_px, side_px, channels)]:
        raise SpecError(f"{source}: expected one input of {side_px}x{side_px}x{channels}. Received: {inputs}")
    classes = int(outputs[0][1])
    loaded = replace(
        body,
        spec=body.spec.with_changes(classes=classes),
        notes=(f"the classifier is not the family's: TensorFlow's converter writes the file ({problem})",),
    )
    return loaded, model


def answers(model: keras.Model, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return what the model answers to [images, height, width, channels]."""
    with silenced_native_output():
        return predict(model, inputs)
