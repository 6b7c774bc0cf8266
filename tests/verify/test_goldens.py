import argparse
import io
import json
import platform
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from golden_copies import copy_to, with_goldens
from PIL import Image

from mnet_deploy.artifact import read_artifact, sidecar_path
from mnet_deploy.cli.verify_goldens import add_replay_arguments, run_replay
from mnet_deploy.converters.ort_file import to_ort
from mnet_deploy.errors import ResultFormatError, SpecError
from mnet_deploy.normalization import Normalization
from mnet_deploy.pipeline.golden_images import generate
from mnet_deploy.pipeline.golden_tolerance import QUANTISED_MARGIN, Distance, Moved
from mnet_deploy.pipeline.goldens import GoldenReplay, goldens_path, make_goldens, replay_goldens
from mnet_deploy.runners import local
from mnet_deploy.runners.on_device import agent

OTHER_KERNELS = {"xnnpack": False, "optimizer": False, "threads": 2}


def infer_here(path, inputs):
    """Run a file in this process, which is fast: for files whose weights alone are damaged."""
    options = argparse.Namespace(model=str(path), engine=None, threads=1, no_xnnpack=False, no_optimizer=False)
    engine = agent.engine_for(options, [])
    outputs = np.concatenate([engine.run(np.ascontiguousarray(one[None]))[0].copy() for one in inputs])
    version = agent.version_of(engine.name)
    return local.Inference(outputs=outputs, engine=engine.name, engine_version=version, machine=platform.machine())


@pytest.fixture(scope="module", params=["int8.tflite", "int8.onnx", "fp32.tflite", "fp32.onnx"])
def file(request, write_file, quantized, folded, tmp_path_factory):
    """A file with sidecar and goldens."""
    path = write_file(tmp_path_factory.mktemp("file") / request.param, quantized if "int8" in request.param else folded)
    return with_goldens(path)


def test_an_intact_copy_passes_with_either_kernels(file, tmp_path):
    copy = copy_to(tmp_path, file)
    for kernels in ({}, OTHER_KERNELS):
        replay = replay_goldens(copy, infer=partial(local.infer, **kernels))
        assert (replay.passed, replay.equal, replay.same_file, replay.same_engine) == (True,) * 4
        assert replay.images == 4


def test_the_tolerance_is_the_measured_spread_with_its_margin(file):
    """By hand, from the answers of both sets of kernels."""
    artifact = read_artifact(file)
    with np.load(goldens_path(file)) as stored:
        one, other = (stored[name].astype(np.float64) for name in ("outputs", "outputs_of_other_kernels"))
    record = artifact.goldens
    apart = np.abs(one - other)
    assert record["spread"] == {"largest": apart.max(), "mean": pytest.approx(apart.mean())}
    quantised = artifact.output.scale is not None
    smallest = 1.0 if quantised else 2.0**-16 * np.abs(one).max()
    margin = QUANTISED_MARGIN if quantised else 4.0
    assert record["margin"] == margin
    assert record["tolerance"]["largest"] == pytest.approx(max(smallest, margin * apart.max()))
    assert record["tolerance"]["mean"] == pytest.approx(max(smallest / 10, margin * apart.mean()))


def test_goldens_are_the_same_bytes_again(file):
    artifact = replace(read_artifact(file), goldens=None)
    again = make_goldens(file, artifact)
    assert again.content == goldens_path(file).read_bytes()
    assert again.record == read_artifact(file).goldens


def test_of_an_ort_file_the_other_kernels_are_those_of_its_onnx(quantized, write_file, tmp_path):
    """It cannot be run without the optimisation that it was made with: alone it would differ from itself by nothing."""
    onnx = write_file(tmp_path / "int8.onnx", quantized)
    content = onnx.read_bytes()
    ort = tmp_path / "int8.ort"
    ort.write_bytes(to_ort(content).content)
    artifact = replace(read_artifact(onnx), file="int8.ort", file_format="ort")
    goldens = make_goldens(ort, artifact, source=content)
    with np.load(io.BytesIO(goldens.content)) as kept:
        stored = artifact.input.store(artifact.normalization.apply(generate(artifact.spec).pixels))
        assert (kept["outputs"] == local.infer(ort, stored).outputs).all()
        assert (kept["outputs_of_other_kernels"] == local.infer(onnx, stored, optimizer=False).outputs).all()


# Damage.


def damaged(path, kernels, chance):
    """Return the file with 1 to 64 random bytes in the weights of one layer."""
    content = bytearray(path.read_bytes())
    starts = [(content.find(kernel), len(kernel)) for kernel in kernels]
    start, size = chance.choice([found for found in starts if found[0] >= 0])
    count = int(chance.integers(1, 65))
    at = int(chance.integers(start, start + max(1, size - count)))
    content[at : at + count] = chance.bytes(count)
    return bytes(content)


@pytest.fixture(scope="module")
def stored_kernels(quantized, folded):
    """The weights as they lie in either kind of file: 1x1 kernels, which have [out, in] in both."""
    by_layer = [(layer.spec, layer.kernel) for graph in (quantized, folded) for layer in graph.layers]
    return [
        np.ascontiguousarray(kernel.transpose(3, 0, 1, 2)).tobytes()
        for spec, kernel in by_layer
        if kernel is not None and spec.kernel_px == 1
    ]


def test_damage_that_changes_answers_beyond_the_tolerance_is_caught(file, stored_kernels, images, tmp_path):
    """On images that are no goldens: what moves their answers is found by the few that are, with few exceptions."""
    chance = np.random.default_rng(0)
    artifact = read_artifact(file)
    others = artifact.input.store(images(16, seed=9))
    before = infer_here(file, others).outputs
    tolerance = Distance(**artifact.goldens["tolerance"])
    beyond, caught, unchanged = 0, 0, 0
    for _ in range(24):
        copy = copy_to(tmp_path, file, damaged(file, stored_kernels, chance))
        replay = replay_goldens(copy, infer=infer_here)
        apart = Distance.between(before, infer_here(copy, others).outputs)
        assert not replay.same_file
        if apart.largest == 0 and replay.equal:
            unchanged += 1
            assert replay.passed, "bytes were changed that no image depends on"
        if not apart.within(tolerance):
            beyond += 1
            caught += not replay.passed
    assert caught >= 0.9 * beyond
    assert caught >= 1


def test_answers_changed_by_less_than_kernels_differ_are_caught_on_the_same_engine(file, write_file, tmp_path):
    artifact = read_artifact(file)
    figures = {
        "images": 4,
        "engine": "e 1",
        "same_input": True,
        "unit": "1",
        "tolerance": Distance(largest=9, mean=1),
        "step": 0.0,
    }
    figures["moved"] = Moved(outputs=40, count=2, by_steps=None)
    replay = GoldenReplay(
        artifact=artifact, **figures, same_file=False, same_engine=True, distance=Distance(largest=2, mean=0.1)
    )
    assert replay.passed is (artifact.precision == "fp32")
    assert replace(replay, same_engine=False).passed
    assert replace(replay, same_file=True).passed
    assert replace(replay, distance=Distance(largest=0, mean=0)).passed
    assert not replace(replay, same_file=True, distance=Distance(largest=2, mean=1.1)).passed
    assert not replace(replay, same_file=True, same_input=False).passed


@pytest.fixture(scope="module")
def int8(write_file, quantized, tmp_path_factory):
    return with_goldens(write_file(tmp_path_factory.mktemp("int8") / "int8.tflite", quantized))


def test_another_preprocessing_is_named(int8, tmp_path, command):
    copy = copy_to(tmp_path, int8)
    artifact = replace(read_artifact(copy), normalization=Normalization.from_range(0, 1))
    sidecar_path(copy).write_text(artifact.to_json(), encoding="utf-8")
    status, out = command(copy)
    assert status == 1
    assert "the same images gave another input than at the export" in out


def test_answers_of_another_shape_or_that_are_no_numbers_fail(int8):
    given = np.zeros((4, 10))
    assert Distance.between(given, np.zeros((4, 5))).largest == np.inf
    assert Distance.between(given, np.full((4, 10), np.nan)).mean == np.inf
    distance = Distance.between(given, given + np.eye(4, 10))
    assert distance == Distance(largest=1, mean=0.1)
    assert json.dumps(Distance(largest=np.inf, mean=1).to_json()) == '{"largest": null, "mean": 1}'


# The file of goldens.


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda path: goldens_path(path).unlink(), SpecError, r"no int8\.tflite\.goldens\.npz there"),
        (lambda path: sidecar_path(path).unlink(), SpecError, r"no int8\.tflite\.json there"),
        (lambda path: goldens_path(path).write_bytes(b"x"), ResultFormatError, "not the file that the sidecar names"),
        (lambda path: edit(path, None), SpecError, "a sidecar without goldens"),
        (lambda path: edit(path, {"sha256": ""}), ResultFormatError, "a damaged one"),
    ],
)
def test_goldens_that_cannot_be_used_are_one_line(int8, tmp_path, change, error, message):
    copy = copy_to(tmp_path, int8)
    change(copy)
    with pytest.raises(error, match=message) as caught:
        replay_goldens(copy)
    assert "\n" not in str(caught.value)


def edit(path, goldens):
    sidecar_path(path).write_text(replace(read_artifact(path), goldens=goldens).to_json(), encoding="utf-8")


def test_images_go_through_decoding_and_cropping(spec):
    """The PNG has the size to which photos are scaled, 64 / 0.875; the crop takes its middle."""
    images = generate(spec, count=2, seed=3)
    whole = np.asarray(Image.open(io.BytesIO(images.pngs[1])))
    assert whole.shape == (73, 73, 3)
    assert (images.pixels[1] == whole[4:68, 4:68]).all()


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_any_number_of_channels_fits_into_a_png(spec, channels):
    images = generate(replace(spec, channels_in=channels), count=2)
    assert images.pixels.shape == (2, 64, 64, channels)
    assert images.pixels.std() > 10


# The command.


@pytest.fixture
def command(capsys):
    def run(path, *options):
        parser = argparse.ArgumentParser()
        parser.add_argument("--json", action="store_true")
        add_replay_arguments(parser)
        args = parser.parse_args(["--goldens", *options])
        args.artifact = path
        status = run_replay(args)
        return status, capsys.readouterr().out

    return run


def test_the_command_says_whether_the_answers_are_those_of_the_export(int8, stored_kernels, tmp_path, command):
    copy = copy_to(tmp_path, int8)
    assert command(copy)[0] == command(copy, "--no-xnnpack")[0] == 0
    assert command(copy)[1].endswith("the answers are those of the export, exactly\n")
    figures = json.loads(command(copy, "--json")[1])
    assert figures["format"] == "mnet.golden-replay/1"
    assert (figures["passed"], figures["distance"]) == (True, {"largest": 0.0, "mean": 0.0})
    with copy.open("ab") as file:
        file.write(b"x")
    status, out = command(copy)
    assert status == 1
    assert out.splitlines()[-1].startswith("WARNING: the file is not the one that was exported, its sha256 differs")
    kernel = max((kernel for kernel in stored_kernels if kernel in copy.read_bytes()), key=len)
    copy.write_bytes(copy.read_bytes().replace(kernel, bytes(len(kernel))))
    status, out = command(copy)
    assert status == 1
    assert "its sha256 differs" in out
    assert "WARNING: the answers are further apart than kernels differ" in out
