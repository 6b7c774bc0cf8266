"""The optimisers, with weight decay where the paper has it."""

import math

import keras

from mnet_deploy.errors import SpecError
from mnet_deploy.models.training.options import OptimizerName, TrainOptions

WARMUP_SHARE = 0.05  # of all steps
RMSPROP_DECAY = 0.98  # per epoch, as in the training script published beside the paper's models
FINAL_SHARE = 0.01  # of the peak learning rate, at the end of a cosine
SETTLE_SHARE = 0.1  # of the peak learning rate, where the settling epochs begin


def make_optimizer(options: TrainOptions, *, steps_per_epoch: int) -> keras.optimizers.Optimizer:
    """Return the optimiser with its learning-rate schedule.

    adamw: Loshchilov & Hutter 2019 with a linear warm-up and a cosine to almost zero.
    rmsprop: momentum, rho and epsilon as in the training script published beside the paper's models
    (tensorflow/models, research/slim/train_image_classifier.py), with an exponential decay every epoch.
    """
    schedule = _schedule(options, steps_per_epoch)
    if options.optimizer is OptimizerName.RMSPROP:
        return keras.optimizers.RMSprop(
            schedule, rho=0.9, momentum=0.9, epsilon=1.0, weight_decay=options.weight_decay or None
        )
    return keras.optimizers.AdamW(schedule, weight_decay=options.weight_decay)


def _schedule(options: TrainOptions, steps_per_epoch: int) -> keras.optimizers.schedules.LearningRateSchedule:
    peak, steps = options.peak_learning_rate, options.epochs * steps_per_epoch
    schedules = keras.optimizers.schedules
    if options.optimizer is OptimizerName.RMSPROP:
        return schedules.ExponentialDecay(peak, steps_per_epoch, RMSPROP_DECAY, staircase=True)
    warmup = math.ceil(steps * WARMUP_SHARE)
    main = schedules.CosineDecay(
        peak / 100, max(1, steps - warmup), alpha=FINAL_SHARE, warmup_target=peak, warmup_steps=warmup
    )
    if not options.settle_epochs:
        return main
    settle_steps = options.settle_epochs * steps_per_epoch
    return _Then(
        main, schedules.CosineDecay(SETTLE_SHARE * peak, settle_steps, alpha=FINAL_SHARE / SETTLE_SHARE), steps
    )


class _Then(keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]  # Keras ships no type information
    """One schedule, and from a step on another one."""

    def __init__(
        self,
        first: keras.optimizers.schedules.LearningRateSchedule,
        second: keras.optimizers.schedules.LearningRateSchedule,
        boundary: int,
    ) -> None:
        self._first, self._second, self._boundary = first, second, boundary

    def __call__(self, step: keras.KerasTensor) -> keras.KerasTensor:
        later = keras.ops.maximum(step - self._boundary, 0)
        return keras.ops.where(step < self._boundary, self._first(step), self._second(later))


def leave_undecayed(optimizer: keras.optimizers.Optimizer, model: keras.Model) -> None:
    """Exclude depthwise kernels, biases and batch normalisation from weight decay.

    The paper (section 3.2): "it was important to put very little or no weight decay on the depthwise filters since
    their are so few parameters in them".
    """
    excluded = [variable for variable in model.trainable_variables if not is_decayed(model, variable)]
    if len(excluded) == len(model.trainable_variables):
        raise SpecError("expected kernels to decay. Received: a model without any")
    optimizer.exclude_from_weight_decay(var_list=excluded)


def is_decayed(model: keras.Model, variable: keras.Variable) -> bool:
    """Whether weight decay applies: kernels of full, pointwise and classifier convolutions."""
    owner = next(layer for layer in model.layers if any(variable is own for own in layer.trainable_variables))
    return variable.name == "kernel" and not isinstance(owner, keras.layers.DepthwiseConv2D)
