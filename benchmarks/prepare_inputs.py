"""Make what the export benchmark needs: weights for keras.applications.MobileNet and synthetic photos.

Usage: prepare_inputs.py WEIGHTS.weights.h5 FOLDER

Nothing is downloaded, and both are the same in every run.
"""

import sys
from pathlib import Path

import keras
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

PHOTOS = 100
SMALLEST_PX, LARGEST_PX = 330, 420  # about the size of ImageNet's photos
PHOTOS_FOR_STATISTICS = 32
LOGIT_STD = 3.0


def save_photos(folder: Path) -> None:
    """Save photos that differ in colour and compress like real ones: decoding them is part of what is measured."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(PHOTOS):
        width, height = rng.integers(SMALLEST_PX, LARGEST_PX, 2).tolist()
        shapes = rng.normal(rng.uniform(0, 255, 3), 60, (12, 12, 3)).clip(0, 255).astype(np.uint8)
        smooth = np.asarray(Image.fromarray(shapes).resize((width, height), Image.Resampling.BICUBIC), np.float32)
        noisy = smooth + rng.normal(0, 8, smooth.shape)
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(folder / f"{number:03d}.jpg", quality=90)


def save_weights(path: Path, folder: Path) -> None:
    """Save weights that survive int8, as trained ones do and random ones do not.

    Otherwise the export would rightly reject its file. Every block passes its input on (kernels close to a permutation,
    batch norm fitted to the photos, activations in the linear part of ReLU6), and the classifier tells photos apart.
    """
    rng = np.random.default_rng(0)
    keras.utils.set_random_seed(0)
    model = keras.applications.MobileNet(weights=None)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0  # the statistics of one batch, as they are
            layer.beta.assign(rng.normal(3, 0.05, layer.beta.shape))  # equal biases would be stored once, too
        elif isinstance(layer, keras.layers.DepthwiseConv2D):
            kernel = rng.normal(0, 0.03, layer.kernel.shape)  # each layer its own, for the same reason
            kernel[1, 1] += 1
            layer.set_weights([kernel])
        elif layer.name.startswith("conv_pw_") and isinstance(layer, keras.layers.Conv2D):
            _, _, channels_in, channels_out = layer.kernel.shape
            shuffle = rng.permutation(channels_in)  # no two kernels equal: the converter would store them once
            kernel = np.tile(np.eye(channels_in)[shuffle], channels_out // channels_in)
            layer.set_weights([kernel[np.newaxis, np.newaxis]])
    photos = load_photos(folder)
    model(photos, training=True)
    spread_logits(model, photos)
    model.save_weights(path)


def load_photos(folder: Path) -> npt.NDArray[np.float32]:
    """Return a batch, normalised as keras.applications.MobileNet expects it."""
    paths = sorted(folder.glob("*.jpg"))[:PHOTOS_FOR_STATISTICS]
    return np.stack([np.asarray(ImageOps.fit(Image.open(path), (224, 224)), np.float32) / 127.5 - 1 for path in paths])


def spread_logits(model: keras.Model, photos: npt.NDArray[np.float32]) -> None:
    """Scale and shift the classifier so that each class has mean 0 and the logits a useful spread."""
    classifier = model.get_layer("conv_preds")
    logits = keras.Model(model.inputs, classifier.output)(photos).numpy().reshape(len(photos), -1)
    scale = LOGIT_STD / logits.std(axis=0).mean()
    kernel, bias = classifier.get_weights()
    classifier.set_weights([kernel * scale, (bias - logits.mean(axis=0)) * scale])


if __name__ == "__main__":
    save_photos(Path(sys.argv[2]))
    save_weights(Path(sys.argv[1]), Path(sys.argv[2]))
