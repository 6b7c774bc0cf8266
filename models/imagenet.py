"""The 16 published ImageNet checkpoints, through Keras' own download and cache."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import keras
import numpy as np

from mnet_deploy.errors import SpecError
from mnet_deploy.models.weights import LayerWeights
from mnet_deploy.quiet import silenced_native_output
from mnet_deploy.spec import Family, ModelSpec, Padding

PUBLISHED_ALPHAS = (0.25, 0.5, 0.75, 1.0)
PUBLISHED_RESOLUTIONS_PX = (128, 160, 192, 224)
IMAGENET_CLASSES = 1000
DOWNLOAD_TIMEOUT_S = 30.0


def published_resolution(resolution_px: int) -> int:
    """Return the published resolution nearest to one that was asked for."""
    return min(PUBLISHED_RESOLUTIONS_PX, key=lambda px: (abs(px - resolution_px), -px))


def imagenet_weights(spec: ModelSpec) -> dict[str, LayerWeights]:
    """Return the ImageNet weights for a spec of 1000 classes.

    They are downloaded into Keras' cache (`~/.keras/models`) at the first use.

    Raises:
        SpecError: not one of the published models, or no network and nothing in the cache.
    """
    _check_published(spec)
    side_px = published_resolution(spec.resolution_px)
    try:
        with silenced_native_output(), _socket_timeout(DOWNLOAD_TIMEOUT_S):  # Keras shows its download on stdout
            model = keras.applications.MobileNet(input_shape=(side_px, side_px, 3), alpha=spec.alpha)
    except Exception as error:  # Keras raises a bare Exception when the download fails
        raise SpecError(
            f"the ImageNet weights for alpha {spec.alpha:g} at {side_px} px could not be downloaded ({error}). Connect "
            "to the network once (Keras caches them in ~/.keras/models), or give --weights a file"
        ) from error
    return {layer.name: _layer(model, layer.name) for layer in spec.layers() if layer.kind.has_weights}


def _check_published(spec: ModelSpec) -> None:
    if spec.family is not Family.MOBILENET_V1 or spec.alpha not in PUBLISHED_ALPHAS or spec.channels_in != 3:
        alphas = ", ".join(map(str, PUBLISHED_ALPHAS))
        raise SpecError(
            f"ImageNet weights exist for mobilenet_v1 with 3 channels and alpha {alphas}. Received: {spec.family} with "
            f"{spec.channels_in} channels and alpha {spec.alpha:g}"
        )
    if spec.padding is Padding.SYMMETRIC:
        raise SpecError(
            "the ImageNet weights were trained with padding keras. Received: symmetric. Leave --padding out"
        )


def _layer(model: keras.Model, name: str) -> LayerWeights:
    kernel, *bias = (np.asarray(array) for array in model.get_layer(name).get_weights())
    if bias:
        return LayerWeights(kernel=kernel, bias=bias[0])
    gamma, beta, mean, variance = (np.asarray(array) for array in model.get_layer(f"{name}_bn").get_weights())
    return LayerWeights(kernel=kernel, gamma=gamma, beta=beta, mean=mean, variance=variance)


@contextmanager
def _socket_timeout(timeout_s: float) -> Iterator[None]:
    previous = socket.getdefaulttimeout()
    socket.setdefaulttimeout(timeout_s)
    try:
        yield
    finally:
        socket.setdefaulttimeout(previous)
