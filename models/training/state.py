"""What a stopped run needs to go on as if it had not been stopped."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from mnet_deploy.errors import ResultFormatError, SpecError

# History: 1 = first.
STATE_FORMAT = "mnet.training_state/1"
STATE_NAME = "state.npz"


@dataclass(frozen=True, slots=True, kw_only=True)
class Progressed:
    """Where a run stands after an epoch.

    Attributes:
        epoch: epochs done.
        history: one record an epoch.
        best_epoch: the epoch of the best validation so far, counted from 1.
        best_weights: `model.get_weights()` at that epoch.
    """

    epoch: int
    history: tuple[dict[str, float], ...]
    best_epoch: int
    best_weights: tuple[np.ndarray[Any, Any], ...]


def save_state(folder: Path, model: keras.Model, progressed: Progressed, identity: dict[str, Any]) -> None:
    """Write everything that the next epoch depends on; a kill at any moment leaves the old state or the new one.

    Raises:
        SpecError: the disk is full or the folder cannot be written; the old state is still there.
    """
    meta = {
        "format": STATE_FORMAT,
        "identity": identity,
        "epoch": progressed.epoch,
        "history": list(progressed.history),
        "best_epoch": progressed.best_epoch,
    }
    arrays = {f"model_{index}": array for index, array in enumerate(model.get_weights())}
    arrays |= {f"best_{index}": array for index, array in enumerate(progressed.best_weights)}
    arrays |= {f"optimizer_{i}": np.asarray(variable) for i, variable in enumerate(model.optimizer.variables)}
    temporary = folder / f".{STATE_NAME}.part"
    try:
        with temporary.open("wb") as file:
            np.savez(file, meta=np.frombuffer(json.dumps(meta).encode(), np.uint8), **arrays)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(folder / STATE_NAME)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise SpecError(
            f"{folder}: the state after epoch {progressed.epoch} cannot be written ({error.strerror}); the last saved "
            "one is whole. Free some space and go on with --resume"
        ) from error


def load_state(folder: Path, model: keras.Model, identity: dict[str, Any]) -> Progressed:
    """Put a saved state into the model and its optimiser.

    Raises:
        SpecError: there is none, or it belongs to a run with other options (the first that differs is named).
        ResultFormatError: it is damaged or of another version.
    """
    path = folder / STATE_NAME
    if not path.is_file():
        raise SpecError(f"{folder}: expected {STATE_NAME} of a run to go on with. Received: none. Leave --resume out")
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        meta = json.loads(arrays["meta"].tobytes())
        if meta["format"] != STATE_FORMAT:
            raise ResultFormatError(f"{path}: expected {STATE_FORMAT}. Received: {meta['format']}. Train again")
        _require_same(meta["identity"], json.loads(json.dumps(identity)))
        model.set_weights(_numbered(arrays, "model_"))
        model.optimizer.build(model.trainable_variables)
        for variable, value in zip(model.optimizer.variables, _numbered(arrays, "optimizer_"), strict=True):
            variable.assign(value)
    except (OSError, KeyError, ValueError) as error:
        if isinstance(error, SpecError):
            raise
        raise ResultFormatError(f"{path}: expected the state of a training run. Received: {error}") from error
    return Progressed(
        epoch=meta["epoch"],
        history=tuple(meta["history"]),
        best_epoch=meta["best_epoch"],
        best_weights=tuple(_numbered(arrays, "best_")),
    )


def _numbered(arrays: dict[str, Any], prefix: str) -> list[Any]:
    count = sum(name.startswith(prefix) for name in arrays)
    return [arrays[f"{prefix}{index}"] for index in range(count)]


def _require_same(saved: dict[str, Any], given: dict[str, Any]) -> None:
    for name in (*saved, *given):
        if saved.get(name) != given.get(name):
            raise SpecError(
                f"a run goes on with the options it began with: {name} was {saved.get(name)}. Received: "
                f"{given.get(name)}. Give the same options, or start anew without --resume"
            )
