"""The arrays of a checkpoint's layers, before they are matched with a spec."""

import re
from dataclasses import dataclass

from mnet_deploy.models.weights import FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredLayer:
    """The arrays of one layer as a file has them.

    Attributes:
        name: the layer's name; the file's own group name where it does not keep it.
        path: where in the file; contains the layer's class in Keras 3 files, names of its arrays in older ones.
        arrays: in Keras' order.
        class_name: Keras' class where the file has a configuration that says it, else None.
    """

    name: str
    path: str
    arrays: tuple[FloatArray, ...]
    class_name: str | None = None

    @property
    def is_batch_norm(self) -> bool:
        return len(self.arrays) == 4 and all(array.ndim == 1 for array in self.arrays)

    @property
    def is_depthwise(self) -> bool:
        if self.arrays[0].ndim != 4:
            return False
        if self.class_name is not None:
            return self.class_name == "DepthwiseConv2D"
        words = f"{self.path}/{self.name}"
        if re.search(r"depthwise|(^|[_/])dw(_|/|$)", words):
            return True
        if re.search(r"(^|/)conv", words):
            return False
        height, _, channels, multiplier = self.arrays[0].shape
        return bool(height > 1 and channels > 1 and multiplier == 1)  # nothing but the shape is left to tell by

    @property
    def is_convolution(self) -> bool:
        return self.arrays[0].ndim == 4 and not self.is_depthwise

    @property
    def is_dense(self) -> bool:
        return self.arrays[0].ndim == 2
