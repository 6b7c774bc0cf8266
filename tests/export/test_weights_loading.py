"""What `--weights` may name, and what it may not: damaged files, the ImageNet weights, random ones."""

import io
import random
import zipfile
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

from mnet_deploy.errors import MnetError, SpecError
from mnet_deploy.models import imagenet
from mnet_deploy.models.builder import build
from mnet_deploy.models.load import digest, load_model, require_file_or_name
from mnet_deploy.spec import ModelSpec

SPEC = ModelSpec(family="shallow_mobilenet", alpha=0.05, resolution_px=32, classes=3)
SUFFIXES = (".keras", ".weights.h5", ".h5")


@pytest.fixture(scope="module")
def contents(stirred, tmp_path_factory):
    """Return the bytes of a good checkpoint of each format."""
    folder = tmp_path_factory.mktemp("good")
    model = build(SPEC, stirred(SPEC))
    model.save(folder / "m.keras")
    model.save(folder / "m.h5")
    model.save_weights(folder / "m.weights.h5")
    return {suffix: (folder / f"m{suffix}").read_bytes() for suffix in SUFFIXES}


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_truncated_file_is_refused_at_any_length(contents, tmp_path, suffix):
    whole = contents[suffix]
    path = tmp_path / f"m{suffix}"
    for length in (1, 2, 4, 100, 1000, len(whole) // 2, len(whole) - 2000, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(
            SpecError, match=r"expected a \.keras, \.weights\.h5, \.h5 or \.safetensors checkpoint"
        ) as caught:
            load_model(str(path), {})
        assert str(path) in str(caught.value), length
        assert "Copy it again" in str(caught.value), length


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_damaged_file_is_refused_or_read_but_never_a_traceback(contents, tmp_path, suffix):
    path = tmp_path / f"m{suffix}"
    refused = 0
    for seed in range(60):
        chance = random.Random(seed)
        damaged = bytearray(contents[suffix])
        for _ in range(chance.choice((1, 4, 64))):
            damaged[chance.randrange(len(damaged) if seed % 2 else 4000)] = chance.randrange(256)
        path.write_bytes(damaged)
        try:
            load_model(str(path), {})
        except MnetError as error:
            refused += str(path) in str(error)
    assert refused >= 10  # the others were hit in unused bytes or in a weight


def png():
    buffer = io.BytesIO()
    keras.utils.array_to_img(np.zeros((4, 4, 3))).save(buffer, "PNG")
    return buffer.getvalue()


def archive(**files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as made:
        for name, content in files.items():
            made.writestr(name.replace("_", ".", 1), content)
    return buffer.getvalue()


def hdf5(fill):
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        fill(file)
    return buffer.getvalue()


def legacy(file, names=(b"conv1",), weights=(b"conv1/kernel:0",)):
    file.attrs["layer_names"] = names
    file.create_group("conv1").attrs["weight_names"] = weights


FOREIGN = {
    "a picture": png(),
    "text": b"weights = none\n",
    "a model for TFLite": b"\x1c\x00\x00\x00TFL3" + bytes(100),
    "an empty zip archive": archive(),
    "a zip archive of something else": archive(readme_txt="hello"),
    "a .keras without weights": archive(config_json="{}"),
    "a .keras whose configuration is no JSON": archive(config_json="{", model_weights="x"),
    "an HDF5 file of something else": hdf5(lambda file: file.create_dataset("temperature", data=[1.0, 2.0])),
    "an HDF5 file with a missing layer": hdf5(lambda file: legacy(file, names=(b"conv2",))),
    "an HDF5 file with a missing array": hdf5(legacy),
    "an HDF5 file with a group for an array": hdf5(
        lambda file: (legacy(file), file["conv1"].create_group("conv1/kernel:0"))
    ),
    "an HDF5 file with text for an array": hdf5(
        lambda file: (legacy(file), file["conv1"].create_dataset("conv1/kernel:0", data=["text"]))
    ),
    "an HDF5 file with a number for a name": hdf5(lambda file: legacy(file, names=[1, 2])),
}


@pytest.mark.parametrize("what", FOREIGN)
@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_file_of_another_format_is_refused(tmp_path, suffix, what):
    path = tmp_path / f"m{suffix}"
    path.write_bytes(FOREIGN[what])
    with pytest.raises(SpecError, match=r"expected a .*checkpoint") as caught:
        load_model(str(path), {})
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("config", ["[]", "5", '{"config": 5}', '{"config": {"layers": [5]}}', '{"layers": [{}]}'])
def test_a_configuration_of_another_form_is_refused(contents, tmp_path, config):
    path = tmp_path / "m.keras"
    with zipfile.ZipFile(io.BytesIO(contents[".keras"])) as whole:
        weights = whole.read("model.weights.h5")
    with zipfile.ZipFile(path, "w") as made:
        made.writestr("config.json", config)
        made.writestr("model.weights.h5", weights)
    with pytest.raises(SpecError, match=r"m\.keras"):
        load_model(str(path), {})


def test_nothing_a_folder_and_an_empty_file_are_refused_in_their_words(tmp_path):
    empty = tmp_path / "empty.keras"
    empty.touch()
    for path, received in (
        (tmp_path / "none.keras", "nothing there"),
        (tmp_path, "a folder"),
        (empty, "an empty file"),
    ):
        with pytest.raises(SpecError, match=f"Received: {received}"):
            load_model(str(path), {})


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs a /proc file system")
def test_a_file_that_cannot_be_read_is_refused():
    # Even root cannot read this one from its beginning.
    with pytest.raises(
        SpecError, match=r"/proc/self/mem: expected a checkpoint that can be read\. Received: Input/output error"
    ):
        load_model("/proc/self/mem", {})


def test_a_name_that_is_neither_known_nor_a_file_is_refused_early(tmp_path):
    require_file_or_name("random")
    require_file_or_name("imagenet")
    require_file_or_name(str(tmp_path))  # there; what it is shows when it is read
    with pytest.raises(
        SpecError, match=r"takes shipped, imagenet, random or a \.keras.* Received: ramdon, which does not exist"
    ):
        require_file_or_name("ramdon")


# Random weights.


def test_random_weights_are_those_of_their_seed():
    first, again, other = (load_model("random", {"alpha": 0.25, "classes": 3}, seed=seed) for seed in (1, 1, 2))
    assert first.spec == ModelSpec(alpha=0.25, classes=3)
    assert first.sha256 == again.sha256 == digest(again.weights)
    assert first.sha256 != other.sha256
    assert (first.body_trained, first.head_trained, first.path, first.origin) == (False, False, None, "random")
    assert first.notes == ("the weights are random (seed 1): good for size and latency, its answers mean nothing",)


def test_random_kernels_keep_the_scale_of_their_inputs():
    # He et al. 2015: variance 2 / (inputs of an output). 1x1x256x256 values: 1 % is 3.6 standard errors.
    kernel = load_model("random", {"alpha": 0.25}).weights["conv_pw_13"].kernel
    assert kernel.var() == pytest.approx(2 / 256, rel=0.02)


# The ImageNet weights.


@pytest.fixture
def published(monkeypatch, stirred):
    """Stand in for Keras' download; return the calls."""
    calls = []

    def fake(input_shape, alpha):
        calls.append((input_shape[0], alpha))
        spec = ModelSpec(alpha=alpha, resolution_px=input_shape[0])
        print("Downloading data from https://storage.googleapis.com/...")
        return build(spec, stirred(spec))

    monkeypatch.setattr(keras.applications, "MobileNet", fake)
    return calls


def test_the_imagenet_weights_are_those_of_keras(published, stirred, capfd):
    loaded = load_model("imagenet", {"alpha": 0.25, "resolution_px": 160})
    assert published == [(160, 0.25)]
    assert loaded.spec == ModelSpec(alpha=0.25, resolution_px=160)
    assert (loaded.origin, loaded.path, loaded.trained, loaded.notes) == ("imagenet", None, True, ())
    expected = stirred(loaded.spec)
    assert loaded.sha256 == digest(expected)
    assert capfd.readouterr().out == ""  # Keras shows its download there, which is for results


@pytest.mark.parametrize(("asked_px", "published_px"), [(32, 128), (145, 160), (176, 192), (200, 192), (500, 224)])
def test_another_resolution_takes_the_nearest_and_says_so(published, asked_px, published_px):
    loaded = load_model("imagenet", {"alpha": 0.25, "resolution_px": asked_px})
    assert published == [(published_px, 0.25)]
    assert loaded.spec.resolution_px == asked_px
    assert loaded.notes == (f"the ImageNet weights are those trained at {published_px} px, used here at {asked_px} px",)


def test_another_class_count_puts_a_new_head_on_the_imagenet_body(published):
    loaded = load_model("imagenet", {"alpha": 0.25, "classes": 7})
    assert loaded.weights["conv_preds"].kernel.shape == (1, 1, 256, 7)
    assert (loaded.body_trained, loaded.head_trained) == (True, False)
    assert "the body is that of imagenet, the classifier of 7 classes is new and random" in loaded.notes[0]


@pytest.mark.parametrize(
    ("overrides", "received"),
    [
        ({"alpha": 0.35}, "alpha 0.35"),
        ({"channels_in": 1}, "1 channels"),
        ({"family": "shallow_mobilenet"}, "shallow_mobilenet"),
        ({"padding": "symmetric"}, "symmetric"),
    ],
)
def test_what_was_not_published_is_refused_before_any_download(published, overrides, received):
    with pytest.raises(SpecError, match=f"Received: .*{received}"):
        load_model("imagenet", overrides)
    assert published == []


def test_offline_the_imagenet_weights_are_one_line_that_says_what_to_do(mnet, monkeypatch, tmp_path):
    # The cache is empty and the server is this machine, where nothing listens on port 9.
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setattr(keras.src.applications.mobilenet, "BASE_WEIGHT_PATH", "http://127.0.0.1:9/")
    out = tmp_path / "out"
    answer = mnet("export", "--weights", "imagenet", "--alpha", "0.25", "--resolution", "128", "--out", out)
    assert answer.status == 2
    assert "the ImageNet weights for alpha 0.25 at 128 px could not be downloaded" in answer.error_line
    assert "Connect to the network once" in answer.error_line
    assert not out.exists()


def test_a_download_does_not_change_the_timeout_of_other_sockets(published):
    import socket

    before = socket.getdefaulttimeout()
    imagenet.imagenet_weights(ModelSpec(alpha=0.25))
    assert socket.getdefaulttimeout() == before
