"""Each way to prepare photos wrongly is planted in turn: it is the one that is named, and nothing on clean photos.

The network looks at a grid of 2 x 4 mean colours and answers the nearest of its templates, so that its answers under
any preparation are known beforehand:
- plain greys go wrong under another normalisation;
- plain colours go wrong when red and blue change places;
- columns of greys go wrong when what lies outside the centre crop is squashed into the square, or is missing.
"""

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from mnet_deploy.artifact import TensorInfo
from mnet_deploy.normalization import Normalization
from mnet_deploy.pipeline.preparation import Preparation, alternatives, normalization_name

SIDE = 32
GRID = (2, 4)
LOW, MIDDLE, HIGH = 20, 128, 236
GREYS = {f"grey_{level:03}": (level,) * 3 for level in range(20, 220, 28)}
COLOURS = {
    "blue": (60, 60, 200),
    "red": (200, 60, 60),
    "sky": (60, 130, 200),
    "sun": (200, 130, 60),
}
COLUMNS = {"thick": (HIGH, MIDDLE, MIDDLE, HIGH), "thin": (LOW, MIDDLE, MIDDLE, LOW)}
NAMES = sorted([*GREYS, *COLOURS, *COLUMNS])
PHOTOS = dict.fromkeys(GREYS, 3) | dict.fromkeys(COLOURS, 4) | dict.fromkeys(COLUMNS, 8)
COUNT = sum(PHOTOS.values())
# 224 / 0.875 = 256 of Keras' usual size, in small: what the short side is scaled to before the crop
HEIGHT, WIDTH = 37, 74


def template(name):
    """Return the mean pixels [2, 4, 3] that a class has."""
    columns = np.array(COLUMNS[name])[:, None] if name in COLUMNS else np.array((GREYS | COLOURS)[name])
    return np.broadcast_to(columns, (*GRID, 3)).astype(np.float32)


def network(normalization, *, bgr=False, background=False, batch=None):
    """Return an .onnx with NCHW input that answers the class whose template is nearest."""
    wanted = np.stack([normalization.apply(template(name))[..., :: -1 if bgr else 1] for name in NAMES])
    wanted = wanted.transpose(0, 3, 1, 2).reshape(len(NAMES), -1)  # as Flatten leaves the means
    kernel, bias = 2 * wanted, -(wanted**2).sum(axis=1)
    if background:
        kernel = np.concatenate([np.zeros_like(kernel[:1]), kernel])
        bias = np.concatenate([[bias.min() - 1e6], bias])
    window = [SIDE // GRID[0], SIDE // GRID[1]]
    nodes = [
        helper.make_node("AveragePool", ["image"], ["means"], kernel_shape=window, strides=window),
        helper.make_node("Flatten", ["means"], ["flat"]),
        helper.make_node("Gemm", ["flat", "kernel", "bias"], ["scores"], transB=1),
    ]
    stored = {"kernel": kernel, "bias": bias}
    graph = helper.make_graph(
        nodes,
        "nearest",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [batch or "N", 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [batch or "N", len(bias)])],
        [numpy_helper.from_array(values.astype(np.float32), name) for name, values in stored.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.fixture(scope="module")
def save(tmp_path_factory):
    """Return a function that writes such a network as a file without sidecar."""

    def write(normalization="-1..1", **options):
        path = tmp_path_factory.mktemp("model") / "foreign.onnx"
        onnx.save(network(Normalization.parse(normalization), **options), path)
        return path

    return write


def photo(name, chance, *, whole):
    """Return pixels whose centre crop, or which as a whole, are of a class."""
    inner = WIDTH if whole else SIDE
    outside = LOW + HIGH - COLUMNS[name][0] if name in COLUMNS else template(name)[0, 0]
    pixels = np.broadcast_to(np.asarray(outside, np.float32), (HEIGHT, WIDTH, 3)).copy()
    start = (WIDTH - inner) // 2
    for place in range(inner):
        pixels[:, start + place] = template(name)[0, place * GRID[1] // inner]
    return (pixels + chance.normal(0, 4, pixels.shape)).clip(0, 255).astype(np.uint8)


def save_photos(folder, *, whole=False):
    chance = np.random.default_rng(0)
    for name, count in PHOTOS.items():
        (folder / name).mkdir(parents=True)
        for number in range(count):
            Image.fromarray(photo(name, chance, whole=whole)).save(folder / name / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return save_photos(tmp_path_factory.mktemp("photos") / "crop")


@pytest.fixture(scope="module")
def whole_photos(tmp_path_factory):
    return save_photos(tmp_path_factory.mktemp("photos") / "whole", whole=True)


@pytest.fixture
def diagnosis(mnet):
    """Return what `mnet verify` says of the preparation."""

    def run(path, data, *options):
        answer = mnet("verify", path, "--data", data, "--json", *options)
        assert answer.status == 0, answer.err
        found = json.loads(answer.out)
        causes = [(cause["kind"], cause["name"], cause["instead_of"]) for cause in found["preprocessing"]["causes"]]
        return causes, found

    return run


@pytest.mark.parametrize("normalization", ["-1..1", "imagenet", "0..255", "10,20,30/100,90,80"])
def test_clean_photos_name_nothing(save, photos, diagnosis, normalization):
    causes, found = diagnosis(save(normalization), photos, f"--normalization={normalization}")
    assert (causes, found["file_top1"], found["preprocessing"]["right"]) == ([], 1.0, COUNT)
    assert "CAUSE" not in "".join(found["diagnosis"])


@pytest.mark.parametrize(
    ("wanted", "given"),
    [
        ("-1..1", "0..1"),
        ("0..1", "-1..1"),
        ("-1..1", "imagenet"),
        ("0..255", "-1..1"),
        ("imagenet", "10,20,30/100,90,80"),
    ],
)
def test_a_wrong_normalisation_is_named(save, photos, diagnosis, wanted, given):
    causes, found = diagnosis(save(wanted), photos, f"--normalization={given}")
    assert causes == [("normalization", wanted, given)]
    assert found["preprocessing"]["right_after"] == COUNT > found["preprocessing"]["right"]
    assert found["diagnosis"][0].startswith(f"CAUSE: the normalisation is {given}, the model wants {wanted} (")
    assert found["diagnosis"][0].endswith(f"measure with --normalization={wanted}")


def test_reversed_channels_are_named_both_ways(save, photos, diagnosis):
    assert diagnosis(save(bgr=True), photos)[0] == [("channels", "BGR", "RGB")]
    assert diagnosis(save(), photos, "--bgr")[0] == [("channels", "RGB", "BGR")]


def test_a_wrong_geometry_is_named_both_ways(save, photos, whole_photos, diagnosis):
    assert diagnosis(save(), whole_photos)[0] == [("geometry", "squash", "centre crop")]
    assert diagnosis(save(), photos, "--squash")[0] == [("geometry", "centre crop", "squash")]


@pytest.mark.parametrize(("step", "says"), [(1, "lack a line"), (-1, "have a line too many")])
def test_labels_off_by_one_are_named(save, photos, diagnosis, tmp_path, step, says):
    names = tmp_path / "names.txt"
    names.write_text("\n".join(np.roll(NAMES, -step)), encoding="utf-8")
    causes, found = diagnosis(save(), photos, "--classes-file", names)
    assert causes == [("labels", f"{step:+d}", "+0")]
    assert f"labels are off by one: the class names {says} before the first" in found["diagnosis"][0]


def test_two_causes_are_both_named(save, photos, diagnosis):
    causes, found = diagnosis(save("0..1", bgr=True), photos)
    assert sorted(causes) == [("channels", "BGR", "RGB"), ("normalization", "0..1", "-1..1")]
    assert found["preprocessing"]["right_after"] == COUNT


def test_a_gain_that_chance_explains_names_nothing(save, photos, diagnosis, tmp_path):
    few = tmp_path / "few"
    for name in ("red", "blue"):  # 4 of each: 2 / 2^8 = 0.008, which is 0.06 or so among all that is tried
        (few / name).mkdir(parents=True)
        for number in range(4):
            (few / name / f"{number}.png").write_bytes((photos / name / f"{number}.png").read_bytes())
    names = tmp_path / "names.txt"
    names.write_text("\n".join(NAMES), encoding="utf-8")
    causes, found = diagnosis(save(bgr=True), few, "--classes-file", names)
    (trial,) = [each for each in found["preprocessing"]["trials"] if each["kind"] == "channels"]
    assert (found["file_top1"], trial["gained"], trial["lost"], causes) == (0.0, 8, 0, [])
    assert trial["p_value"] == 2 / 2**8 * len(found["preprocessing"]["trials"])
    assert found["diagnosis"] == ["preparation: not distinguishable on 8 photos"]


def test_the_text_has_the_trials_and_the_cause(mnet, save, photos):
    answer = mnet("verify", save("0..1", batch=1), "--data", photos)
    assert answer.status == 0
    rows = [line.split() for line in answer.out.splitlines()]
    (row,) = [row for row in rows if row[:2] == ["normalization", "0..1"]]
    assert int(row[2]) == COUNT
    assert "CAUSE: the normalisation is -1..1, the model wants 0..1 (" in answer.out
    assert "no sidecar says how photos are prepared: pixels scaled to -1..1 were taken" in answer.err


def test_without_diagnosis_nothing_is_tried(mnet, save, photos):
    answer = mnet("verify", save("0..1"), "--data", photos, "--no-diagnosis", "--json")
    found = json.loads(answer.out)
    assert (found["preprocessing"], found["diagnosis"]) == (None, [])


# An exported file: what is wrong is found on the float model, whose input has no range.


@pytest.fixture(scope="module")
def many_photos(tmp_path_factory):
    """Photos of the colours that the network of `colour_checkpoint` tells apart, enough of each to be sure."""
    from PIL import ImageColor

    folder = tmp_path_factory.mktemp("many")
    for name, colour in {"black": "#0a0a0a", "blue": "#2828dc", "green": "#1ec81e", "red": "#dc1e1e"}.items():
        (folder / name).mkdir()
        for number in range(8):
            Image.new("RGB", (40, 40), ImageColor.getrgb(colour)).save(folder / name / f"{number}.png")
    return folder


def test_an_export_with_a_wrong_normalisation_is_named(
    mnet, diagnosis, colour_checkpoint, colour_photos, colour_labels, many_photos, tmp_path
):
    options = ["--weights", colour_checkpoint, "--calibration", colour_photos, "--labels", colour_labels]
    assert mnet("export", *options, "--normalization", "0..255", "--out", tmp_path / "out").status == 0
    path = tmp_path / "out" / "mobilenet_v1_0.25_32_int8.tflite"
    causes, found = diagnosis(path, many_photos)
    assert causes == [("normalization", "-1..1", "0..255")]
    assert found["preprocessing"]["tried_on"] == "the float model"
    assert found["diagnosis"][0].endswith("export again with --normalization=-1..1")


def test_a_clean_export_names_nothing(diagnosis, colour_export, many_photos):
    causes, found = diagnosis(colour_export / "mobilenet_v1_0.25_32_int8.tflite", many_photos)
    assert (causes, found["int8_top1"]) == ([], 1.0)


# What is tried.


def tried(given, channels, current):
    return [(str(each.kind), each.name) for each in alternatives(given, channels, current)]


FLOAT = TensorInfo(name="x", shape=(1, 32, 32, 3), layout="NHWC", dtype="float32")
LABELS = [("labels", "+1"), ("labels", "-1")]


def test_what_gives_the_same_input_is_not_tried():
    current = Preparation(normalization=Normalization())
    others = [("normalization", name) for name in ("0..1", "imagenet", "0..255")]
    assert tried(FLOAT, 3, current) == [*others, ("channels", "BGR"), ("geometry", "squash"), *LABELS]
    stored = TensorInfo(name="x", shape=(1, 32, 32, 3), layout="NHWC", dtype="uint8", scale=1 / 128, zero_point=128)
    near = Preparation(normalization=Normalization(mean=(128.0,), std=(128.0,)))
    assert tried(stored, 3, near) == [*others, ("channels", "BGR"), ("geometry", "squash"), *LABELS]


def test_grey_photos_have_no_order_of_channels_and_pixels_as_they_are_no_normalisation():
    whole = Preparation(normalization=Normalization(mean=(0.0,), std=(1.0,)), squash=True)
    stored = TensorInfo(name="x", shape=(1, 32, 32, 1), layout="NHWC", dtype="uint8")
    assert tried(stored, 1, whole) == [("geometry", "centre crop"), *LABELS]


@pytest.mark.parametrize("text", ["-1..1", "0..1", "imagenet", "0..255", "1,2,3/4,5,6"])
def test_a_normalisation_has_the_name_that_is_parsed(text):
    assert normalization_name(Normalization.parse(text)) == text
