"""The precisions that `mnet export` writes, and how many bytes an element of each takes."""

from enum import StrEnum


class Precision(StrEnum):
    """The precisions that `mnet export` writes."""

    FP32 = "fp32"
    FP16 = "fp16"
    DYNAMIC = "dynamic"
    INT8 = "int8"
    INT16X8 = "int16x8"

    @property
    def weight_bytes(self) -> int:
        """Bytes of a stored kernel element."""
        return {"fp32": 4, "fp16": 2}.get(str(self), 1)

    @property
    def bias_bytes(self) -> int:
        """Bytes of a stored bias element: int32 beside int8 kernels, int64 beside int16 activations."""
        return {"fp16": 2, "int16x8": 8}.get(str(self), 4)

    @property
    def activation_bytes(self) -> int:
        """Bytes of an activation element while the model runs on a CPU (fp16 files compute in fp32 there)."""
        return {"int8": 1, "int16x8": 2}.get(str(self), 4)


PRECISIONS = tuple(Precision)
