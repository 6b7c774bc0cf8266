"""A network that tells colours apart: its answers are known beforehand, and survive 8 bits."""

import signal
import sys
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

from mnet_deploy.cli import main
from mnet_deploy.interrupts import INTERRUPTS
from mnet_deploy.models.weights import BATCH_NORM_EPSILON, LayerWeights, random_weights
from mnet_deploy.normalization import Normalization
from mnet_deploy.spec import LayerKind, ModelSpec

# In the order of the classes, which is that of the sorted names.
COLOURS = {
    "black": (10, 10, 10),
    "blue": (40, 40, 220),
    "green": (30, 200, 30),
    "red": (220, 30, 30),
    "white": (240, 240, 240),
}
PHOTOS_PER_CLASS = 4
SPEC = ModelSpec(alpha=0.25, resolution_px=32, classes=len(COLOURS))
STEM = "mobilenet_v1_0.25_32"


class Answer(NamedTuple):
    """What a run of the command left: its exit status and what it printed."""

    status: int
    out: str
    err: str

    @property
    def error_line(self):
        """The one line that an error prints."""
        lines = self.err.splitlines()
        assert len(lines) == 1, self.err
        assert lines[0].startswith("mnet: ")
        assert self.out == ""
        return lines[0]


def run_in_process(*arguments):
    """Run the command in this process and return its exit status; it leaves the signals as they were."""
    handlers = {number: signal.getsignal(number) for number in INTERRUPTS}
    try:
        return main([str(argument) for argument in arguments])
    except SystemExit as ended:
        return ended.code
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


@pytest.fixture(scope="session")
def mnet_status():
    """Run the command in this process and return its exit status: for what tests share."""
    return run_in_process


@pytest.fixture
def mnet(capfd):
    """Run the command in this process; also sees what native code prints."""

    def run(*arguments):
        capfd.readouterr()
        return Answer(run_in_process(*arguments), *capfd.readouterr())

    return run


@pytest.fixture(scope="session")
def mnet_command():
    """The beginning of a command line that runs the command in a process of its own."""
    return [sys.executable, "-c", "import sys; from mnet_deploy.cli import main; sys.exit(main())"]


@pytest.fixture(scope="session")
def stirred():
    """Return a function that gives random weights whose batch-norm statistics are random, too."""

    def weights_of(spec, seed=0):
        chance = np.random.default_rng(seed)
        return {
            name: layer if layer.gamma is None else replace(layer, **statistics(len(layer.gamma), chance))
            for name, layer in random_weights(spec, seed=seed).items()
        }

    return weights_of


def statistics(channels, chance):
    return {
        "gamma": chance.uniform(0.5, 1.5, channels).astype(np.float32),
        "beta": chance.normal(0, 0.3, channels).astype(np.float32),
        "mean": chance.normal(0, 0.3, channels).astype(np.float32),
        "variance": chance.uniform(0.5, 1.5, channels).astype(np.float32),
    }


def colour_weights(spec):
    """Return weights that carry the colour of a photo unchanged to a classifier of the nearest colour."""
    chance = np.random.default_rng(0)
    return {
        layer.name: nearest_colour(layer) if layer.kind is LayerKind.CLASSIFIER else carry(layer, chance)
        for layer in spec.layers()
        if layer.kind.has_weights
    }


def carry(layer, chance):
    """Return a layer whose channel i holds colour i % 3, above 0 by the shift of the first layer."""
    height, width, per_group, channels = layer.kernel_shape
    kernel = np.zeros((height, width, per_group, channels), np.float32)
    if layer.kind is LayerKind.DEPTHWISE:
        kernel = kernel.reshape(height, width, channels, 1)
        kernel[height // 2, width // 2] = 1
    else:
        same = np.arange(per_group)[:, None] % 3 == np.arange(channels) % 3
        kernel[height // 2, width // 2] = same / same.sum(axis=0)
    norm = statistics(channels, chance)
    factor = norm["gamma"] / np.sqrt(norm["variance"] + BATCH_NORM_EPSILON)
    shift = 1.0 if layer.kind is LayerKind.CONVOLUTION else 0.0  # from -1..1 to 0..2, which ReLU6 keeps
    norm["beta"] = (norm["mean"] * factor + shift).astype(np.float32)
    scale = factor[:, None] if layer.kind is LayerKind.DEPTHWISE else factor
    return LayerWeights(kernel=(kernel / scale).astype(np.float32), **norm)


def nearest_colour(layer):
    """Return a classifier: of |f - c|^2 only 2 f c - |c|^2 depends on the class."""
    channels = layer.in_shape_hwc[2]
    colours = np.array(list(COLOURS.values()), np.float32) / 127.5  # as `carry` shifts them
    share = np.bincount(np.arange(channels) % 3)[np.arange(channels) % 3]
    kernel = 3 * 2 * colours.T[np.arange(channels) % 3] / share[:, None]
    return LayerWeights(
        kernel=kernel[None, None].astype(np.float32), bias=(-3 * (colours**2).sum(axis=1)).astype(np.float32)
    )


@pytest.fixture(scope="session")
def colour_checkpoint(tmp_path_factory):
    """A .keras file of a trained network, as far as the toolkit can tell."""
    from mnet_deploy.models.builder import build

    path = tmp_path_factory.mktemp("checkpoint") / "colours.keras"
    build(SPEC, colour_weights(SPEC)).save(path)
    return path


@pytest.fixture(scope="session")
def colour_photos(tmp_path_factory):
    """A labelled folder: a folder a colour, photos of that colour with some noise."""
    folder = tmp_path_factory.mktemp("photos")
    chance = np.random.default_rng(1)
    for name, colour in COLOURS.items():
        (folder / name).mkdir()
        for number in range(PHOTOS_PER_CLASS):
            pixels = (np.array(colour) + chance.normal(0, 8, (48, 40, 3))).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder


@pytest.fixture(scope="session")
def colour_labels(tmp_path_factory):
    path = tmp_path_factory.mktemp("labels") / "colours.txt"
    path.write_text("".join(f"{name}\n" for name in COLOURS), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def colour_export(tmp_path_factory, colour_checkpoint, colour_photos, colour_labels):
    """The folder that an export of the colour network wrote: int8, its uint8 twin, fp32, labels."""
    out = tmp_path_factory.mktemp("export") / "out"
    options = ["--weights", colour_checkpoint, "--calibration", colour_photos, "--labels", colour_labels, "--out", out]
    assert run_in_process("export", *options, "--precision", "int8,fp32") == 0
    return out


@pytest.fixture(scope="session")
def colour_inputs():
    """The colours as the int8 file takes them: one image of each, of shape (5, 32, 32, 3)."""
    colours = np.array(list(COLOURS.values()), np.uint8)
    images = np.broadcast_to(colours[:, None, None, :], (len(colours), 32, 32, 3))
    return np.rint(Normalization().apply(images) * 127.5 - 0.5).clip(-128, 127).astype(np.int8)


@pytest.fixture(scope="session")
def difference():
    """Return how far the outputs of a model made from a checkpoint are from those of the model that wrote it."""
    from mnet_deploy.models.builder import build, predict

    def measure(loaded, model):
        spec = loaded.spec
        shape = (2, spec.resolution_px, spec.resolution_px, spec.channels_in)
        inputs = np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)
        return np.abs(predict(build(spec, loaded.weights), inputs) - predict(model, inputs)).max()

    return measure


@pytest.fixture(scope="session")
def mobilenet_body(stirred):
    """Keras' own MobileNet 0.25 for 64 px without its top: what users build their classifiers on."""
    import keras

    from mnet_deploy.models.builder import build

    spec = ModelSpec(alpha=0.25, resolution_px=64, classes=None)
    body = keras.applications.MobileNet((64, 64, 3), 0.25, include_top=False, weights=None)
    body.set_weights(build(spec, stirred(spec)).get_weights())
    return body


@pytest.fixture(scope="session")
def with_head(mobilenet_body):
    """Return a function that makes a user's model: the body as one nested layer, between layers of their own."""
    import keras

    def make(layers, *, before=(), sequential=False):
        inputs = tensor = keras.Input((64, 64, 3))
        if sequential:
            return keras.Sequential([inputs, *before, mobilenet_body, *layers])
        for layer in (*before, mobilenet_body, *layers):
            tensor = layer(tensor)
        return keras.Model(inputs, tensor)

    return make


@pytest.fixture(scope="session")
def dense_head():
    """Return a function that makes the layers of the usual head: pooling, dropout, dense layers of these widths."""
    from keras import layers

    def make(*units, activation="softmax"):
        hidden = [layers.Dense(count, activation="relu") for count in units[:-1]]
        last = layers.Dense(units[-1], activation=activation)
        return [layers.GlobalAveragePooling2D(), layers.Dropout(0.2), *hidden, last]

    return make
