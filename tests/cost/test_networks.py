"""Counted networks against published parameters to the unit, published MACs, and the tables of their papers."""

import json
import math

import pytest

from mnet_deploy.cli import main
from mnet_deploy.cost import by_kind
from mnet_deploy.cost.networks.densenet import dense_block, transition
from mnet_deploy.cost.networks.mobilenets import divisible, mobilenet_v3_small
from mnet_deploy.cost.networks.published import OURS, count_network, reference_figures, reference_notes
from mnet_deploy.cost.networks.reference import NETWORKS
from mnet_deploy.cost.networks.steps import DEPTHWISE, Branches, Conv, Dense, Part, Pool, layers_of
from mnet_deploy.cost.networks.text import networks_text
from mnet_deploy.cost.text import WIDTH
from mnet_deploy.errors import ResultFormatError

FIGURES = reference_figures()
# Differences that no way of counting explains, and sources that count other operations too.
WITHOUT_ARITHMETIC = {
    "flops-halved",
    "googlenet-macs",
    "inception-macs",
    "inception-params",
    "older-code",
    "v3-small-macs",
    "v3-small-params",
}
# (MACs, parameters with gamma and beta) for 1000 classes, at the network's own resolution.
COUNTS = {
    "alexnet": (724_406_816, 60_965_224),
    "vgg_16": (15_470_264_320, 138_357_544),
    "googlenet": (1_582_671_872, 6_998_552),
    "inception_v3": (5_713_216_096, 23_834_568),
    "xception": (8_357_403_496, 22_855_952),
    "densenet_121": (2_834_161_664, 7_978_856),
    "squeezenet_1.0": (818_924_576, 1_248_424),
    "squeezenet_1.1": (349_151_936, 1_235_496),
    "mobilenet_v2_1.0": (300_774_272, 3_504_872),
    "mobilenet_v2_1.4": (582_195_824, 6_108_776),
    "mobilenet_v3_large": (216_589_760, 5_483_032),
    "mobilenet_v3_small": (56_510_400, 2_542_856),
}


def figure_id(figure):
    return f"{figure.network} {figure.source.split()[0]} {figure.quantity}".replace(" ", "_")


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_counts(name):
    cost = count_network(name)
    assert (cost.macs, cost.params) == COUNTS[name]
    assert len({layer.name for layer in cost.layers}) == len(cost.layers)
    assert cost.layers[-1].out_shape == (1, 1, 1000)


@pytest.mark.parametrize("figure", FIGURES, ids=figure_id)
def test_a_figure_agrees_or_is_explained_and_never_both(figure):
    assert figure.agrees() is not bool(figure.note)


@pytest.mark.parametrize("figure", [figure for figure in FIGURES if figure.recount], ids=figure_id)
def test_counting_as_explained_gives_the_published_figure(figure):
    assert figure.recount != OURS
    assert figure.agrees(figure.recount)


def test_an_explanation_without_arithmetic_is_a_known_exception():
    assert {figure.note for figure in FIGURES if figure.note and not figure.recount} == WITHOUT_ARITHMETIC


def test_every_explanation_is_used_and_is_a_sentence():
    assert {figure.note for figure in FIGURES if figure.note} == set(reference_notes())
    assert all(text.endswith(".") and len(text) > 20 for text in reference_notes().values())


def test_every_network_has_a_published_figure():
    assert set(NETWORKS) < {figure.network for figure in FIGURES}


def test_a_name_of_no_network_is_refused():
    with pytest.raises(ResultFormatError, match="resnet"):
        count_network("resnet")


def part_macs(name):
    parts = {}
    for layer in count_network(name).layers:
        part = layer.name.partition("/")[0]
        parts[part] = parts.get(part, 0) + layer.macs
    return parts


def test_googlenet_by_part():
    """Szegedy et al. 2014, arXiv 1409.4842, Table 1, column ops; 34M of conv1 and 54M of 5a are misprints there."""
    published = {"conv2": 360, "inception_3a": 128, "inception_3b": 304, "inception_4b": 88, "inception_4c": 100}
    published |= {"inception_4d": 119, "inception_4e": 170, "inception_5b": 71, "classifier": 1}
    ours = {part: round(macs / 1e6) for part, macs in part_macs("googlenet").items()}
    assert {part: ours[part] for part in published} == published
    assert (ours["conv1"], ours["inception_5a"]) == (118, 51)


def test_inception_v3_at_the_classes_of_table_10():
    """Howard et al. 2017, Table 10, has 23.2 million: between the 120 classes of Stanford Dogs and 1000."""
    dogs = NETWORKS["inception_v3"].estimate(classes=120)
    assert dogs.params == 22_031_448 == 23_834_568 - 880 * 2049
    assert dogs.params < 23_200_000 < COUNTS["inception_v3"][1]


def test_the_small_v3_of_the_paper_s_first_version():
    """tensorflow/models prints 2.9 million parameters, and 66 million MACs that this does not explain."""
    layers = tuple(layers_of(mobilenet_v3_small(features=1280), (224, 224, 3)))
    assert sum(layer.params for layer in layers) == 2_946_568
    assert sum(layer.macs for layer in layers) < 57_000_000


def test_squeezenet_needs_eleven_times_the_macs_of_mobilenet_0_50_160():
    """Howard et al. 2017, section 4.3, says 22 times, of 1700 against 76."""
    assert COUNTS["squeezenet_1.0"][0] / count_network("mobilenet_v1_0.5_160").macs == pytest.approx(10.7, abs=0.05)


def test_a_dense_block_and_its_transition():
    """Block 1 of DenseNet-121: six layers of 32 channels on 64, then half of 256."""
    block = tuple(layers_of(dense_block(6, 32), (56, 56, 64)))
    pixels = 56 * 56
    assert block[-1].out_shape == (56, 56, 64 + 6 * 32)
    bottlenecks = sum((64 + 32 * index) * 128 for index in range(6))
    assert sum(layer.macs for layer in block) == pixels * (bottlenecks + 6 * 9 * 128 * 32)
    halved = tuple(layers_of(transition(128), (56, 56, 256)))
    assert halved[-1].out_shape == (28, 28, 128)
    assert sum(layer.macs for layer in halved) == pixels * 256 * 128
    assert sum(layer.params for layer in halved) == 2 * 256 + 256 * 128


@pytest.mark.parametrize(
    ("width", "expected"), [(32, 32), (44.8, 48), (22.4, 24), (18, 24), (11.2, 16), (3, 8), (1792, 1792)]
)
def test_widths_are_multiples_of_8_and_not_much_narrower(width, expected):
    assert divisible(width) == expected


def test_branches_join():
    shape = (8, 8, 4)
    joined = {
        join: tuple(layers_of((Branches(((), (Conv(4, 3),)), join),), shape))[-1] for join in ("concat", "add", "scale")
    }
    assert {join: layer.out_shape for join, layer in joined.items()} == {
        "concat": (8, 8, 8),
        "add": shape,
        "scale": shape,
    }
    assert joined["add"].in_elements == 2 * 8 * 8 * 4
    assert all(layer.macs == 0 for layer in joined.values())


def test_steps_count_what_they_say():
    steps = (
        Part("a", (Conv(6, (1, 3), norm=False), Conv(0, 3, 2, groups=DEPTHWISE), Pool(2, 2))),
        Part("b", (Pool(), Dense(10))),
    )
    layers = tuple(layers_of(steps, (8, 8, 2)))
    assert [layer.name for layer in layers] == [
        "a/1_convolution",
        "a/2_depthwise",
        "a/3_pool",
        "b/1_global_pool",
        "b/2_dense",
    ]
    assert [layer.macs for layer in layers] == [64 * 3 * 2 * 6, 16 * 9 * 6, 0, 0, 60]
    assert [layer.params for layer in layers] == [36 + 6, 54 + 12, 0, 0, 70]


def test_the_table_names_every_network_source_and_explanation(capsys):
    assert main(["cost", "networks"]) == 0
    text = capsys.readouterr().out
    assert text == networks_text() + "\n"
    assert max(map(len, text.splitlines())) <= WIDTH
    assert all(f"\n{name} " in text for name in NETWORKS)
    digits = text.replace(".", "")
    assert all(figure.source in text and figure.published.replace(".", "") in digits for figure in FIGURES)
    assert f"[{len(reference_notes())}] " in text


def test_json_of_the_table(capsys, violations):
    assert main(["cost", "networks", "--json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert violations(value) == []
    networks = {row["name"]: row for row in value["networks"]}
    assert networks["vgg_16"]["in_shape"] == [224, 224, 3]
    assert {name: (networks[name]["macs"], networks[name]["params"]) for name in NETWORKS} == COUNTS
    top1 = [figure for figure in networks["mobilenet_v1_1.0_224"]["published"] if figure["quantity"] == "top1"]
    assert [(figure["published"], figure["ours"]) for figure in top1] == [(70.6, None)]


@pytest.mark.parametrize("name", NETWORKS)
def test_one_network_adds_up(capsys, violations, name):
    assert main(["cost", name, "--precision", "fp32"]) == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= WIDTH
    lines = text.splitlines()
    first, second = [index for index, line in enumerate(lines) if line.startswith("---")][:2]
    numbers = [[int(cell.replace(",", "")) for cell in line.split()[-4:]] for line in lines[first + 1 : second]]
    total = [int(cell.replace(",", "")) for cell in lines[second + 1].split()[-4:]]
    assert [sum(column) for column in zip(*numbers, strict=True)] == total
    assert tuple(total[:2]) == COUNTS[name]

    assert main(["cost", name, "--json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert violations(value) == []
    assert value["totals"]["params"] == COUNTS[name][1]
    assert [group["kind"] for group in value["by_kind"]] == [group.title for group in by_kind(count_network(name))]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("networks", "--alpha", "1"), "networks is counted as it was published. Received: --alpha too"),
        (("vgg_16", "--resolution", "160", "--no-top"), "Received: --resolution, --no-top too"),
        (("vgg_16", "--published"), "Received: --published too"),
        (("networks", "--kind", "depthwise"), "--kind belong(s) to mnet cost conv"),
        (("vgg16",), "mnet cost networks lists networks of other families"),
        (("vgg_16", "--precision", "int4"), "precision must be one of"),
    ],
)
def test_bad_input_is_one_line(capsys, argv, message):
    assert main(["cost", *argv]) == 2
    captured = capsys.readouterr()
    assert (captured.out, captured.err.count("\n")) == ("", 1)
    assert message in captured.err


def kernel_positions(layer):
    """Return the MACs of a Keras layer: kernel elements times output pixels."""
    kernels = [weight for weight in layer.weights if "kernel" in weight.path]
    pixels = layer.output.shape[1:3] if len(layer.output.shape) == 4 else ()
    return sum(math.prod(kernel.shape) for kernel in kernels) * math.prod(pixels)


@pytest.mark.parametrize(
    ("name", "keras_name", "side"),
    [
        ("densenet_121", "DenseNet121", 224),
        ("mobilenet_v2_1.0", "MobileNetV2", 224),
        ("mobilenet_v3_large", "MobileNetV3Large", 224),
        ("mobilenet_v3_small", "MobileNetV3Small", 224),
        ("xception", "Xception", 299),
    ],
)
def test_a_network_counts_as_the_one_of_keras(name, keras_name, side):
    keras = pytest.importorskip("keras", reason="needs Keras: pip install 'mnet-deploy[export]'")
    model = getattr(keras.applications, keras_name)(weights=None, input_shape=(side, side, 3))
    params = sum(math.prod(weight.shape) for weight in model.trainable_weights)
    assert (sum(map(kernel_positions, model.layers)), params) == COUNTS[name]
