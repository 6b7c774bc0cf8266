"""The training loop: epochs of seeded batches, validation, and a state that survives a kill."""

import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from mnet_deploy.errors import SpecError
from mnet_deploy.models.training.augment import augment, centre_crop
from mnet_deploy.models.training.options import TrainOptions
from mnet_deploy.models.training.photos import Photos
from mnet_deploy.models.training.state import Progressed, load_state, save_state

EVALUATION_BATCH = 64
BOUND_STEPS = 12  # steps of the forward-backward bound; the first two are not counted

Report = Callable[[dict[str, float], int], None]  # (record of an epoch, epochs in all)
Predict = Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]]


class TrainingDiverged(SpecError):
    """The loss is not a number any more."""

    exit_code = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Trainer:
    """A compiled model with what it learns from.

    Attributes:
        model: compiled.
        options: of the run.
        train: photos to learn from.
        validation: photos to choose by.
        classes: how many.
        teacher: model whose answers are learned beside the labels; None for none.
        folder: where the state is kept after every epoch.
        identity: what a resumed run must have in common with this one.
    """

    model: keras.Model
    options: TrainOptions
    train: Photos
    validation: Photos
    classes: int
    teacher: keras.Model | None
    folder: Path
    identity: dict[str, Any]

    def run(self, *, resume: bool, report: Report) -> Progressed:
        """Train to the last epoch, or until validation has not improved for `patience` epochs.

        Returns:
            The history and the weights of the best epoch: highest validation top-1, of equal ones the lowest loss.

        Raises:
            TrainingDiverged: the loss became NaN or infinite.
            SpecError: nothing to resume, or the state cannot be written.
        """
        done = load_state(self.folder, self.model, self.identity) if resume else _nothing_done(self.model)
        while done.epoch < self.options.all_epochs and not self._out_of_patience(done):
            record = self._epoch(done.epoch)
            history = (*done.history, record)
            best_epoch = max(range(len(history)), key=lambda i: (history[i]["val_top1"], -history[i]["val_loss"])) + 1
            is_best = best_epoch == len(history)
            weights = tuple(self.model.get_weights()) if is_best else done.best_weights
            done = Progressed(epoch=done.epoch + 1, history=history, best_epoch=best_epoch, best_weights=weights)
            save_state(self.folder, self.model, done, self.identity)
            report(record, self.options.all_epochs)
        return done

    def _out_of_patience(self, done: Progressed) -> bool:
        return self.options.patience is not None and done.epoch - done.best_epoch >= self.options.patience

    def _epoch(self, epoch: int) -> dict[str, float]:
        order = np.random.default_rng((self.options.seed, epoch)).permutation(len(self.train.classes))
        size = self.options.batch_size
        chunks = [np.sort(order[start : start + size]) for start in range(0, len(order), size)]
        loss = hits = 0.0
        started = time.perf_counter()
        for step, (inputs, targets) in enumerate(self._prepared(chunks, epoch)):
            step_loss, accuracy = (float(figure) for figure in self.model.train_on_batch(inputs, targets))
            if not math.isfinite(step_loss):
                raise TrainingDiverged(
                    f"the loss became {step_loss} in epoch {epoch + 1}, step {step + 1} of {len(chunks)}. Try a "
                    f"--learning-rate below {self.options.peak_learning_rate:g}"
                )
            loss += step_loss * len(chunks[step])
            hits += accuracy * len(chunks[step])
        count, elapsed_s = len(order), time.perf_counter() - started
        val_loss, val_top1, _ = evaluate(self.model, self.validation, self.options)
        return {
            "epoch": epoch + 1,
            "loss": loss / count,
            "top1": hits / count,
            "val_loss": val_loss,
            "val_top1": val_top1,
            "images_per_s": count / elapsed_s,
        }

    def _prepared(self, chunks: list[npt.NDArray[np.intp]], epoch: int) -> Iterator[tuple[tf.Tensor, tf.Tensor]]:
        """Yield the batches; the next one is prepared while the model learns from the one before."""
        with ThreadPoolExecutor(1) as background:
            coming = background.submit(self._batch, chunks[0], (epoch, 0))
            for step in range(1, len(chunks)):
                ready = coming
                coming = background.submit(self._batch, chunks[step], (epoch, step))
                yield ready.result()
            yield coming.result()

    def _batch(self, rows: npt.NDArray[np.intp], position: tuple[int, int]) -> tuple[tf.Tensor, tf.Tensor]:
        """Return normalised varied photos and their targets: labels, smoothed, mixed, and with the teacher's part."""
        epoch, step = position
        seed = tf.constant([self.options.seed, epoch * 1_000_003 + step], tf.int32)
        size = self.model.input_shape[1]
        pixels = _AUGMENT(self.train.pixels[rows], seed, size, self.options.augmentation_in(epoch))
        targets = tf.one_hot(self.train.classes[rows], self.classes)
        targets = targets * (1 - self.options.label_smoothing) + self.options.label_smoothing / self.classes
        if mixup := self.options.mixup_in(epoch):
            generator = np.random.default_rng((self.options.seed, epoch, step))
            share = float(generator.beta(mixup, mixup))
            pixels = share * pixels + (1 - share) * pixels[::-1]
            targets = share * targets + (1 - share) * targets[::-1]
        inputs = normalized(pixels, self.options)
        if self.teacher is not None:
            part = self.options.teacher_weight
            targets = (1 - part) * targets + part * tf.convert_to_tensor(self.teacher(inputs, training=False))
        return inputs, targets

    def forward_backward_bound(self) -> float:
        """Return images per second of the model alone, on one batch that is there already; its weights stay."""
        kept = self.model.get_weights(), [np.asarray(variable) for variable in self.model.optimizer.variables]
        rows = np.arange(min(self.options.batch_size, len(self.train.classes)))
        inputs, targets = self._batch(rows, (0, 0))
        times = []
        for _ in range(BOUND_STEPS):
            started = time.perf_counter()
            self.model.train_on_batch(inputs, targets)
            times.append(time.perf_counter() - started)
        self.model.set_weights(kept[0])
        for variable, value in zip(self.model.optimizer.variables, kept[1], strict=True):
            variable.assign(value)
        return len(rows) / float(np.median(times[2:]))


_AUGMENT = tf.function(
    lambda pixels, seed, size, augmentation: augment(pixels, seed, resolution_px=size, augmentation=augmentation),
    reduce_retracing=True,
)


def normalized(pixels: tf.Tensor, options: TrainOptions) -> tf.Tensor:
    """Turn 8-bit pixel values into the model's input."""
    rule = options.normalization.for_channels(pixels.shape[-1])
    return (pixels - tf.constant(rule.mean, tf.float32)) / tf.constant(rule.std, tf.float32)


def evaluate(model: keras.Model, photos: Photos, options: TrainOptions) -> tuple[float, float, npt.NDArray[np.intp]]:
    """Return the cross-entropy, the top-1 share and the predicted classes on centre crops."""
    scores = []
    for start in range(0, len(photos.classes), EVALUATION_BATCH):
        crops = centre_crop(
            tf.constant(photos.pixels[start : start + EVALUATION_BATCH]), resolution_px=model.input_shape[1]
        )
        scores.append(model.predict_on_batch(normalized(crops, options)))
    probabilities = np.concatenate(scores).astype(np.float64)
    true = probabilities[np.arange(len(photos.classes)), photos.classes]
    predicted = probabilities.argmax(axis=1)
    return (
        float(-np.log(np.maximum(true, 1e-12)).mean()),
        float((predicted == photos.classes).mean()),
        predicted,
    )


def _nothing_done(model: keras.Model) -> Progressed:
    return Progressed(epoch=0, history=(), best_epoch=0, best_weights=tuple(model.get_weights()))
