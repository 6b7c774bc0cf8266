"""What a training run is asked to do."""

from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from mnet_deploy.errors import SpecError
from mnet_deploy.normalization import Normalization


class OptimizerName(StrEnum):
    """The paper's optimiser, and what has become usual since."""

    RMSPROP = "rmsprop"
    ADAMW = "adamw"


class Augmentation(StrEnum):
    """How far training photos are varied. light: crop and flip, a little colour; strong: more of the same."""

    NONE = "none"
    LIGHT = "light"
    STRONG = "strong"


_BY_STRENGTH = tuple(Augmentation).index

DEFAULT_LEARNING_RATE = 1e-2  # chosen on validation: of 0.002, 0.006, 0.01 and 0.015 for adamw


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainOptions:
    """The options of `mnet train` that shape the result: a resumed run must have the same.

    Attributes:
        weights: `random`, `imagenet` or a checkpoint to start from.
        spec_overrides: fields of `ModelSpec` that the user gave (classes come from the data).
        epochs: passes over the training photos.
        settle_epochs: more of them at the end, with light variation, without mixup, from a tenth of the learning rate.
        batch_size: photos a step.
        optimizer: which.
        learning_rate: at its peak; None for the default.
        weight_decay: on kernels other than depthwise ones, per step and unit of learning rate (decoupled).
        label_smoothing: share of the target spread over all classes.
        mixup: parameter of the beta distribution of mixing weights (Zhang et al. 2017); 0 is off.
        dropout: before the classifier.
        augmentation: of training photos.
        batch_norm_momentum: of the moving statistics. Keras' 0.99 needs hundreds of steps to forget its start.
        validation_share: of the photos, if the folder has no split of its own.
        patience: epochs without a better validation before training stops; None never stops early.
        teacher: checkpoint whose answers are learned beside the labels; None for none.
        teacher_weight: share of the teacher in the target.
        qat: quantisation-aware fine-tuning.
        seed: of everything that is drawn.
        normalization: from pixels to the model's input.
    """

    weights: str = "random"
    spec_overrides: dict[str, Any] = field(default_factory=dict)
    epochs: int = 60
    settle_epochs: int = 0
    batch_size: int = 32
    optimizer: OptimizerName = OptimizerName.ADAMW
    learning_rate: float | None = None
    weight_decay: float = 0.05
    label_smoothing: float = 0.1
    mixup: float = 0.0
    dropout: float = 0.0
    augmentation: Augmentation = Augmentation.LIGHT
    batch_norm_momentum: float = 0.9
    validation_share: float = 0.15
    patience: int | None = None
    teacher: Path | None = None
    teacher_weight: float = 0.5
    qat: bool = False
    seed: int = 0
    normalization: Normalization = field(default_factory=Normalization)

    def __post_init__(self) -> None:
        """Refuse values outside their ranges.

        Raises:
            SpecError: naming the value.
        """
        for name in ("epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise SpecError(f"{name} must be 1 or more. Received: {getattr(self, name)}")
        for name in ("label_smoothing", "dropout", "teacher_weight", "batch_norm_momentum", "validation_share"):
            if not 0 <= getattr(self, name) < 1:
                raise SpecError(f"{name} must be at least 0 and below 1. Received: {getattr(self, name)}")
        for name in ("weight_decay", "mixup"):
            if not getattr(self, name) >= 0:
                raise SpecError(f"{name} must be 0 or more. Received: {getattr(self, name)}")
        if self.settle_epochs < 0:
            raise SpecError(f"settle_epochs must be 0 or more. Received: {self.settle_epochs}")
        if self.learning_rate is not None and not self.learning_rate > 0:
            raise SpecError(f"learning_rate must be above 0. Received: {self.learning_rate}")

    @property
    def all_epochs(self) -> int:
        return self.epochs + self.settle_epochs

    def augmentation_in(self, epoch: int) -> Augmentation:
        """Return how far photos are varied in an epoch, counted from 0."""
        return (
            min(self.augmentation, Augmentation.LIGHT, key=_BY_STRENGTH) if epoch >= self.epochs else self.augmentation
        )

    def mixup_in(self, epoch: int) -> float:
        """Return the parameter of mixup in an epoch, counted from 0."""
        return self.mixup if epoch < self.epochs else 0.0

    @property
    def peak_learning_rate(self) -> float:
        return DEFAULT_LEARNING_RATE if self.learning_rate is None else self.learning_rate

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        fields = asdict(self) | {"normalization": self.normalization.to_json()}
        return {name: _plain(value) for name, value in fields.items()}


def _plain(value: Any) -> Any:  # noqa: ANN401 (any field's value)
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    return str(value) if isinstance(value, StrEnum | Path) else value
