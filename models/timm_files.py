"""Read PyTorch weights of MobileNet v1 in timm's layout (`mobilenetv1_100`, `mobilenetv1_125`) from safetensors.

The layout is that of timm 1.0's `_gen_mobilenet_v1` (huggingface/pytorch-image-models, timm/models/efficientnet.py):
`conv_stem`, `bn1`, `blocks.STAGE.BLOCK.{conv_dw,bn1,conv_pw,bn2}`, `classifier`; kernels are OIHW, padding is
symmetric, and batch normalisation has PyTorch's epsilon.
"""

import re
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load

from mnet_deploy.errors import SpecError
from mnet_deploy.models.stored_layer import StoredLayer
from mnet_deploy.models.weights import BATCH_NORM_EPSILON
from mnet_deploy.spec import Padding

TORCH_EPSILON = 1e-5
PADDING = Padding.SYMMETRIC

_BATCH_NORM = ("weight", "bias", "running_mean", "running_var")
_Array = npt.NDArray[np.float32]


def is_safetensors(content: bytes) -> bool:
    """Whether a file begins as safetensors do: the header's length, then the header, a JSON object."""
    return content[8:9] == b"{" and int.from_bytes(content[:8], "little") <= len(content) - 8


def read_safetensors(content: bytes) -> tuple[StoredLayer, ...]:
    """Return the layers under Keras' names and in Keras' layouts.

    Raises:
        SpecError: damaged, or not this layout.
    """
    try:
        arrays = {name: np.asarray(array, np.float32) for name, array in load(content).items()}
    except (SafetensorError, ValueError, TypeError, KeyError) as error:
        raise SpecError(f"expected a whole safetensors file. Received: {error}") from error
    if "conv_stem.weight" not in arrays:
        raise SpecError(
            "expected timm's MobileNet v1 layout (conv_stem.weight, blocks.0.0.conv_dw.weight, ...). Received: "
            f"{', '.join(sorted(arrays)[:3])}, ..."
        )
    if "conv_head.weight" in arrays:
        raise SpecError(
            "expected a MobileNet v1 as published. Received: one with an extra 1x1 layer (conv_head) at its end"
        )
    layers = [*_with_norm(arrays, "conv_stem", "bn1", "conv1")]
    for index, block in enumerate(_blocks(arrays), start=1):
        layers += _with_norm(arrays, f"{block}.conv_dw", f"{block}.bn1", f"conv_dw_{index}")
        layers += _with_norm(arrays, f"{block}.conv_pw", f"{block}.bn2", f"conv_pw_{index}")
    if "classifier.weight" in arrays:
        kernel = arrays["classifier.weight"].T
        layers.append(StoredLayer(name="conv_preds", path="classifier", arrays=(kernel, arrays["classifier.bias"])))
    return tuple(layers)


def _blocks(arrays: Mapping[str, _Array]) -> list[str]:
    found = {match[0] for name in arrays if (match := re.match(r"blocks\.\d+\.\d+", name))}
    return sorted(found, key=lambda name: tuple(int(number) for number in name.split(".")[1:]))


def _with_norm(arrays: Mapping[str, _Array], convolution: str, norm: str, name: str) -> list[StoredLayer]:
    needed = [f"{convolution}.weight", *(f"{norm}.{part}" for part in _BATCH_NORM)]
    missing = [key for key in needed if key not in arrays]
    if missing:
        raise SpecError(f"expected timm's MobileNet v1 layout. Received: a file without {missing[0]}")
    kernel = arrays[needed[0]]
    axes = (2, 3, 0, 1) if "_dw_" in name else (2, 3, 1, 0)  # OIHW; a depthwise kernel has one input channel
    gamma, beta, mean, variance = (arrays[key] for key in needed[1:])
    shifted = variance + np.float32(TORCH_EPSILON - BATCH_NORM_EPSILON)
    return [
        StoredLayer(name=name, path=convolution, arrays=(kernel.transpose(axes),)),
        StoredLayer(name=f"{name}_bn", path=norm, arrays=(gamma, beta, mean, shifted)),
    ]
