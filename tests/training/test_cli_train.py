import json
import re

import pytest

from mnet_deploy.cli import main

TINY = ["--family", "shallow_mobilenet", "--alpha", "0.1", "--resolution", "32", "--epochs", "1", "--batch-size", "10"]


@pytest.fixture
def refused(capsys, tmp_path):
    """Return a function that runs mnet train and returns (status, its last line on stderr)."""

    def run(*arguments):
        status = main(["train", "--out", str(tmp_path / "out"), *map(str, arguments)])
        answer = capsys.readouterr()
        assert not answer.out
        return status, answer.err.strip().splitlines()[-1]

    return run


def test_training_prints_what_came_of_it(photos, tmp_path, capsys):
    assert main(["train", "--data", str(photos), "--out", str(tmp_path), *TINY, "--source", "tests"]) == 0
    answer = capsys.readouterr()
    lines = answer.out.splitlines()
    assert lines[0].split() == ["split", "photos", "top-1", "95", "%", "interval"]
    assert lines[2].split()[:2] == ["val", "6"]
    assert any("forward and backward alone" in line for line in lines)
    assert "validate (seed 0)" in answer.err

    earlier = tmp_path / "training.json"
    arguments = ["--data", str(photos), "--out", str(tmp_path / "again"), "--recipe", str(earlier), "--seed", "1"]
    assert main(["train", *arguments]) == 0
    answer = capsys.readouterr()
    assert "val (recipe)" in answer.out
    record = json.loads((tmp_path / "again" / "training.json").read_text())
    assert record["options"] == json.loads(earlier.read_text())["options"] | {"seed": 1}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--classes", "3"], "the classes come from the folders of --data"),
        (["--epochs", "0"], "epochs must be 1 or more. Received: 0"),
        (["--epochs", "ten"], "--epochs takes a whole number. Received: 'ten'"),
        (["--learning-rate", "-1"], "learning_rate must be above 0. Received: -1.0"),
        (["--optimizer", "sgd"], "--optimizer takes rmsprop, adamw. Received: 'sgd'"),
        (["--augmentation", "wild"], "--augmentation takes none, light, strong. Received: 'wild'"),
        (["--label-smoothing", "1"], "label_smoothing must be at least 0 and below 1. Received: 1.0"),
        (["--recipe", "nowhere.json"], "nowhere.json: expected the log of a training run (training.json)"),
        (["--weights", "nowhere.keras"], "nowhere.keras"),
    ],
)
def test_an_unusable_option_is_one_line(refused, photos, options, expected):
    status, line = refused("--data", photos, *options)
    assert status == 2
    assert line.startswith("mnet: ")
    assert expected in line


def test_unusable_photos_are_one_line(refused, tmp_path):
    (tmp_path / "one" / "only").mkdir(parents=True)
    assert refused("--data", tmp_path / "one") == (
        2,
        f"mnet: {tmp_path / 'one'}: training needs 2 class folders or more. Received: 1",
    )
    assert refused("--data", tmp_path / "none")[0] == 2


def test_a_damaged_safetensors_file_is_one_line(refused, photos, tmp_path):
    (tmp_path / "x.safetensors").write_bytes((40).to_bytes(8, "little") + b'{"conv_stem.weight": nonsense' + bytes(60))
    status, line = refused("--data", photos, "--weights", tmp_path / "x.safetensors")
    assert status == 2
    assert "x.safetensors" in line


def test_a_diverging_run_is_a_negative_verdict(refused, photos, tmp_path):
    status, line = refused("--data", photos, *TINY, "--learning-rate", "1e30")
    assert status == 1
    assert re.search(r"the loss became nan in epoch 1, step \d of 3\. ", line)
    assert "--learning-rate below 1e+30" in line
    assert not (tmp_path / "out" / "training.json").exists()
