"""Which model: family, width, resolution, classes."""

from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any, Self, TypeVar

from mnet_deploy.errors import SpecError
from mnet_deploy.spec.families import DENSE2_MAX_GROWTH, layers_of
from mnet_deploy.spec.layer_spec import LayerSpec

MIN_RESOLUTION_PX = 32  # five layers of stride 2: below 32 px the last feature maps would be empty
DEFAULT_RESOLUTION_PX = 224
DEFAULT_GROWTH = 32
MAX_ALPHA = 1_000_000  # far beyond any use; keeps every count a number that can be printed

_Member = TypeVar("_Member", bound=StrEnum)


class Family(StrEnum):
    """The builder family.

    mobilenet_v1, conv_mobilenet (full convolutions instead of separable ones) and shallow_mobilenet (without the five
    14 x 14 x 512 layers) are those of Howard et al. 2017 (arXiv 1704.04861). dense1_mobilenet and dense2_mobilenet are
    this project's interpretation of Wang et al. 2020 (Mobile Information Systems, article 7602384): see
    `docs/dense-families.md` for what is interpretation.
    """

    MOBILENET_V1 = "mobilenet_v1"
    CONV_MOBILENET = "conv_mobilenet"
    SHALLOW_MOBILENET = "shallow_mobilenet"
    DENSE1_MOBILENET = "dense1_mobilenet"
    DENSE2_MOBILENET = "dense2_mobilenet"

    @property
    def is_dense(self) -> bool:
        return self in (Family.DENSE1_MOBILENET, Family.DENSE2_MOBILENET)


class Padding(StrEnum):
    """Where zeros go around a 3x3 kernel.

    keras: as `keras.applications.MobileNet` does: SAME for the first layer, then one row and column at the bottom and
        right before stride 2.
    same: TensorFlow's SAME. Equal to keras at even sizes; at odd ones its output is a pixel larger.
    symmetric: one pixel on each side, as PyTorch implementations do.
    """

    KERAS = "keras"
    SAME = "same"
    SYMMETRIC = "symmetric"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """A model of the family; `layers()` lists what it is made of.

    Attributes:
        family: the architecture.
        alpha: width multiplier, any positive number up to `MAX_ALPHA`; every width is `int(width * alpha)` as in Keras,
            at least 1.
        resolution_px: side of the square input, 32 or more.
        channels_in: channels of the input, 1 or more.
        classes: outputs of the classifier; None leaves out pooling, classifier and softmax.
        growth: channels that a dense layer adds at alpha 1 (scaled like every width), at most `DENSE2_MAX_GROWTH` for
            dense2_mobilenet; None for the other families.
        padding: where zeros go around the 3x3 kernels.

    Raises:
        SpecError: a value outside these ranges.
    """

    family: Family = Family.MOBILENET_V1
    alpha: float = 1.0
    resolution_px: int = DEFAULT_RESOLUTION_PX
    channels_in: int = 3
    classes: int | None = 1000
    growth: int | None = None
    padding: Padding = Padding.KERAS

    def __post_init__(self) -> None:
        _set = object.__setattr__  # the dataclass is frozen; this is its own construction
        _set(self, "family", _member(Family, self.family, "family"))
        _set(self, "padding", _member(Padding, self.padding, "padding"))
        if isinstance(self.alpha, bool) or not isinstance(self.alpha, int | float) or not 0 < self.alpha <= MAX_ALPHA:
            raise SpecError(
                f"alpha must be a number above 0 and at most {MAX_ALPHA:,}. Received: {self.alpha!r}. "
                "Try 0.25, 0.5, 0.75 or 1.0"
            )
        _set(self, "alpha", float(self.alpha))
        _require_int("resolution", self.resolution_px, MIN_RESOLUTION_PX, "224, 192, 160 or 128")
        _require_int("channels", self.channels_in, 1, "3 for colour, 1 for grey")
        if self.classes is not None:
            _require_int("classes", self.classes, 1, "1000 for ImageNet")
        self._check_growth()

    def _check_growth(self) -> None:
        if not self.family.is_dense:
            if self.growth is not None:
                raise SpecError(
                    f"growth belongs to the dense families. Received: growth={self.growth} with {self.family}. "
                    "Leave it out"
                )
            return
        if self.growth is None:
            object.__setattr__(self, "growth", DEFAULT_GROWTH)
        _require_int("growth", self.growth, 1, "16, 32 or 64")
        if self.family is Family.DENSE2_MOBILENET and (self.growth or 0) > DENSE2_MAX_GROWTH:
            raise SpecError(
                f"growth must be {DENSE2_MAX_GROWTH} or less for {self.family}, so that its layers fit into the "
                f"stage's width. Received: {self.growth}. Try 16, 32 or 64"
            )

    def layers(self) -> tuple[LayerSpec, ...]:
        """Return the layers in topological order, inputs before the layers that read them."""
        return layers_of(self)

    @property
    def name(self) -> str:
        """The stem of file names, e.g. `mobilenet_v1_0.25_224`."""
        return f"{self.family}_{self.alpha_text}_{self.resolution_px}"

    @property
    def alpha_text(self) -> str:
        """Alpha as people write it: 1.0, 0.75, 0.35."""
        return repr(float(f"{self.alpha:.6g}"))

    def with_changes(self, **changes: Any) -> Self:  # noqa: ANN401 (each field has its own type)
        """Return a copy with some fields replaced, checked like a new one."""
        return replace(self, **changes)

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return {key: str(value) if isinstance(value, StrEnum) else value for key, value in asdict(self).items()}

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Self:
        """Build from `to_json()`'s result.

        Raises:
            SpecError: unknown or invalid fields.
        """
        unknown = set(fields) - set(cls.__dataclass_fields__)
        if unknown:
            raise SpecError(f"a model spec has the fields {', '.join(cls.__dataclass_fields__)}. Received: {unknown}")
        return cls(**fields)


def _member(enum: type[_Member], value: object, field: str) -> _Member:
    try:
        return enum(str(value))
    except ValueError:
        raise SpecError(f"{field} must be one of {', '.join(enum)}. Received: {value!r}") from None


def _require_int(field: str, value: object, minimum: int, examples: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
        raise SpecError(f"{field} must be an integer of {minimum} or more. Received: {value!r}. Try {examples}")
