"""A whole training run: from a folder of photos to a checkpoint with its log, pictures and card."""

import hashlib
import io
import json
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from mnet_deploy.errors import SpecError
from mnet_deploy.intervals import wilson_interval
from mnet_deploy.models.builder import build
from mnet_deploy.models.load import LoadedModel, load_model
from mnet_deploy.models.shipped_checkpoint import LABELS_NAME, RECORD_NAME
from mnet_deploy.models.training import pictures
from mnet_deploy.models.training.card import model_card
from mnet_deploy.models.training.loop import Trainer, evaluate
from mnet_deploy.models.training.optimizers import leave_undecayed, make_optimizer
from mnet_deploy.models.training.options import TrainOptions
from mnet_deploy.models.training.photos import PhotoFolder, Photos, Split, decode, read_folder
from mnet_deploy.models.training.qat import build_qat, qat_weights
from mnet_deploy.models.training.record import TRAINING_FORMAT
from mnet_deploy.models.training.state import STATE_NAME, Progressed
from mnet_deploy.output_folder import OutputFolder
from mnet_deploy.progress import Progress
from mnet_deploy.spec import ModelSpec

STATE_FOLDER = "state"
FILE_NAMES = (LABELS_NAME, RECORD_NAME, "learning_curve.png", "confusion_matrix.png", "MODEL_CARD.md")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainRequest:
    """A run with its files.

    Attributes:
        data: folder of photos.
        out: folder for the result; `state/` in it is what `resume` goes on with.
        options: what shapes the result.
        resume: go on with a run that was stopped.
        force: replace an earlier result.
        use_test: evaluate the kept epoch on the test split, once, at the end.
        notes: `source` and `licence` of the photos, for the record and the card.
    """

    data: Path
    out: Path
    options: TrainOptions
    resume: bool = False
    force: bool = False
    use_test: bool = False
    notes: dict[str, str]


def train(request: TrainRequest, progress: Progress) -> dict[str, Any]:
    """Train, and write the checkpoint, labels, log, pictures and card.

    Returns:
        The record that was written to `training.json`.

    Raises:
        SpecError: unusable data, options or folders, or a loss that is not a number any more (exit status 1).
    """
    options = request.options
    folder = read_folder(request.data, validation_share=options.validation_share, seed=options.seed)
    overrides = {**options.spec_overrides, "classes": len(folder.labels)}
    loaded = load_model(options.weights, overrides, seed=options.seed)
    for note in (*folder.notes, *(loaded.notes if options.weights != "random" else ())):
        progress.note(note)
    names = dict.fromkeys((f"{loaded.spec.name}.keras", *FILE_NAMES))
    state = request.out / STATE_FOLDER
    with OutputFolder(request.out, stem="training", names=names, force=request.force) as output:
        _prepare_state(state, resume=request.resume, force=request.force)
        trainer = _trainer(request, folder, loaded, state, progress)
        done = trainer.run(resume=request.resume, report=lambda record, epochs: _show(progress, record, epochs))
        bound = trainer.forward_backward_bound()
        trainer.model.set_weights(list(done.best_weights))
        record = _record(request, folder, loaded, trainer, done, bound, progress)
        _stage_all(output, record, folder, loaded, trainer, done)
        output.commit()
    return record


def _prepare_state(state: Path, *, resume: bool, force: bool) -> None:
    if not resume and (state / STATE_NAME).exists() and not force:
        raise SpecError(f"{state} has the state of a stopped run. Go on with --resume, or start anew with --force")
    state.mkdir(exist_ok=True)


def _trainer(
    request: TrainRequest, folder: PhotoFolder, loaded: LoadedModel, state: Path, progress: Progress
) -> Trainer:
    options, spec = request.options, loaded.spec
    photos = {split.name: _decoded(split, loaded, progress) for split in (folder.train, folder.validation)}
    if tf.config.list_physical_devices("GPU") and not options.qat:  # TensorFlow rounds to grids in float32 only
        keras.mixed_precision.set_global_policy("mixed_float16")
    keras.utils.set_random_seed(options.seed)
    if options.qat:
        model = build_qat(spec, loaded.weights, options.normalization)
    else:
        model = build(spec, loaded.weights, batch_norm_momentum=options.batch_norm_momentum, dropout=options.dropout)
    steps = -(-len(photos["train"].classes) // options.batch_size)
    optimizer = make_optimizer(options, steps_per_epoch=steps)
    leave_undecayed(optimizer, model)
    # With the variables of both made here, TensorFlow traces the first step once, not twice.
    optimizer.build(model.trainable_variables)
    model.compile(optimizer, "categorical_crossentropy", metrics=[keras.metrics.CategoricalAccuracy()])
    return Trainer(
        model=model,
        options=options,
        train=photos["train"],
        validation=photos["val"],
        classes=len(folder.labels),
        teacher=_teacher(options, spec),
        folder=state,
        identity={"options": options.to_json(), "spec": spec.to_json(), "start": loaded.sha256, "data": digest(folder)},
    )


def _teacher(options: TrainOptions, spec: ModelSpec) -> keras.Model | None:
    if options.teacher is None:
        return None
    loaded = load_model(str(options.teacher), {})
    taught = loaded.spec.with_changes(resolution_px=spec.resolution_px)
    if (taught.classes, taught.channels_in) != (spec.classes, spec.channels_in):
        raise SpecError(
            f"{options.teacher}: a teacher of {spec.classes} classes and {spec.channels_in} channels is needed. "
            f"Received: {taught.classes} classes, {taught.channels_in} channels"
        )
    return build(taught, loaded.weights)


def _decoded(split: Split, loaded: LoadedModel, progress: Progress) -> Photos:
    photos = decode(
        split,
        resolution_px=loaded.spec.resolution_px,
        channels=loaded.spec.channels_in,
        on_progress=lambda done, count: progress.stage(f"decoding {split.name} photos: {done} of {count}"),
    )
    for note in photos.skipped:
        progress.note(note)
    return photos


def _show(progress: Progress, record: dict[str, float], epochs: int) -> None:
    progress.stage(
        f"epoch {record['epoch']} of {epochs}: loss {record['loss']:.3f}, validation {record['val_top1']:.1%}, "
        f"{record['images_per_s']:.0f} images/s"
    )


def _record(
    request: TrainRequest,
    folder: PhotoFolder,
    loaded: LoadedModel,
    trainer: Trainer,
    done: Progressed,
    bound_images_per_s: float,
    progress: Progress,
) -> dict[str, Any]:
    splits = {"val": trainer.validation}
    if request.use_test and folder.test is not None:
        splits["test"] = _decoded(folder.test, loaded, progress)
    speeds = sorted(record["images_per_s"] for record in done.history)
    params = sum(array.size for layer in loaded.weights.values() for _, array in layer.arrays())
    return {
        "format": TRAINING_FORMAT,
        "name": loaded.spec.name,
        "spec": loaded.spec.to_json(),
        "normalization": request.options.normalization.to_json(),
        "start": f"{loaded.origin} (sha256 {loaded.sha256})" if loaded.body_trained else "random weights",
        "options": request.options.to_json(),
        "data": {
            "name": request.data.name,
            "train": len(trainer.train.classes),
            "val": len(trainer.validation.classes),
            "test": len(folder.test.files) if folder.test is not None else None,
            "classes": len(folder.labels),
            "digest": digest(folder),
            "notes": list(folder.notes),
            **{key: request.notes[key] for key in ("source", "licence") if key in request.notes},
        },
        "result": {
            "best_epoch": done.best_epoch,
            "epochs": done.epoch,
            "params": params,
            "float_bytes": 4 * params,
            "images_per_s": speeds[len(speeds) // 2],
            "bound_images_per_s": bound_images_per_s,
            "accuracy": {name: _accuracy(trainer, photos) for name, photos in splits.items()},
        },
        "history": list(done.history),
    }


def _accuracy(trainer: Trainer, photos: Photos) -> dict[str, float]:
    _, top1, _ = evaluate(trainer.model, photos, trainer.options)
    count = len(photos.classes)
    low, high = wilson_interval(round(top1 * count), count)
    return {"photos": count, "top1": top1, "low": low, "high": high}


def _stage_all(
    output: OutputFolder,
    record: dict[str, Any],
    folder: PhotoFolder,
    loaded: LoadedModel,
    trainer: Trainer,
    done: Progressed,
) -> None:
    _, _, predicted = evaluate(trainer.model, trainer.validation, trainer.options)
    confusion = pictures.confusion_matrix(trainer.validation.classes, predicted, folder.labels, split="validation")
    output.stage(f"{record['name']}.keras", _checkpoint(loaded, trainer))
    output.stage(LABELS_NAME, ("\n".join(folder.labels) + "\n").encode())
    output.stage(RECORD_NAME, (json.dumps(record, indent=2) + "\n").encode())
    output.stage("learning_curve.png", pictures.learning_curve(done.history, best_epoch=done.best_epoch))
    output.stage("confusion_matrix.png", confusion)
    output.stage("MODEL_CARD.md", model_card(record).encode())


def _checkpoint(loaded: LoadedModel, trainer: Trainer) -> bytes:
    """Return a `.keras` file of the ordinary model in float32, without optimiser state."""
    keras.mixed_precision.set_global_policy("float32")
    if trainer.options.qat:
        plain = build(loaded.spec, qat_weights(trainer.model, loaded.spec))
    else:
        plain = build(loaded.spec)
        plain.set_weights(trainer.model.get_weights())
    with tempfile.TemporaryDirectory(prefix="mnet-") as folder:
        path = Path(folder, "model.keras")
        plain.save(path)
        return _deflated(path)


def _deflated(path: Path) -> bytes:
    """Return a zip file with its members compressed: HDF5 reserves room that small models do not fill."""
    content = io.BytesIO()
    with zipfile.ZipFile(path) as stored, zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as deflated:
        for member in stored.infolist():
            deflated.writestr(member.filename, stored.read(member))
    return content.getvalue()


def digest(folder: PhotoFolder) -> str:
    """Return the sha256 over split, class and content of every photo."""
    sha = hashlib.sha256()
    splits = [folder.train, folder.validation, *([folder.test] if folder.test is not None else [])]
    for split in splits:
        for path, index in split.files:
            sha.update(f"{split.name}/{folder.labels[index]}/{path.name}".encode())
            sha.update(hashlib.sha256(path.read_bytes()).digest())
    return sha.hexdigest()
