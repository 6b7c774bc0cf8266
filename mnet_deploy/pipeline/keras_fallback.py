"""Models whose body is of the family and whose classifier is not: Keras runs them, TensorFlow converts them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from mnet_deploy.errors import ForeignHead, SpecError
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
    except (OSError, TypeError, ValueError) as error:
        raise ForeignHead(f"{problem}. Keras cannot load the whole model either ({error})") from error
    if len(model.outputs) != 1 or len(model.output_shape) != 2 or model.output_shape[1] is None:
        raise SpecError(f"{source}: expected one output of scores, [batch, classes]. Received: {model.output_shape}")
    body = load_model(source, overrides | {"classes": None}, seed=seed)
    classes = int(model.output_shape[1])
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
