import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from mnet_deploy.cli import main
from mnet_deploy.errors import SpecError
from mnet_deploy.models.training import loop
from mnet_deploy.models.training.options import Augmentation, OptimizerName, TrainOptions
from mnet_deploy.models.training.run import TrainRequest, train
from mnet_deploy.progress import Progress
from mnet_deploy.spec import Family

SPEC = {"family": Family.SHALLOW_MOBILENET, "alpha": 0.25, "resolution_px": 32}  # the fewest layers, for speed
# Batches of 10 divide the 30 photos of both sets: TensorFlow spends most of a run on tracing a step for each new size.
TINY = {"spec_overrides": SPEC, "batch_size": 10, "seed": 5}
LEARNS = {"epochs": 25, "batch_size": 8}  # the last batch of an epoch has 6 photos
NAME = "shallow_mobilenet_0.25_32"


def _typed(options):
    kinds = {"optimizer": OptimizerName, "augmentation": Augmentation}
    return {name: kinds.get(name, lambda value: value)(value) for name, value in options.items()}


def _train(photos: Path, out: Path, *, resume=False, force=False, use_test=False, **options):
    request = TrainRequest(
        data=photos,
        out=out,
        options=TrainOptions(**{**TINY, **_typed(options)}),
        resume=resume,
        force=force,
        use_test=use_test,
        notes={"source": "made by the tests", "licence": "CC0"},
    )
    return train(request, Progress())


@pytest.fixture(scope="module")
def trained(photos, tmp_path_factory):
    out = tmp_path_factory.mktemp("trained")
    return out, _train(photos, out, **LEARNS)


@pytest.fixture
def trained_copy(trained, tmp_path):
    return Path(shutil.copytree(trained[0], tmp_path / "copy"))


@pytest.fixture(scope="module")
def two_epochs(split_photos, tmp_path_factory):
    out = tmp_path_factory.mktemp("two_epochs")
    return out, _train(split_photos, out, epochs=2)


def test_a_small_model_learns_three_colours(trained):
    _, record = trained
    assert record["result"]["accuracy"]["val"]["top1"] >= 0.8  # a guess is right a third of the time
    assert record["history"][-1]["loss"] < record["history"][0]["loss"]


def test_the_result_is_complete(trained):
    out, record = trained
    names = {path.name for path in out.iterdir()}
    assert names == {
        f"{NAME}.keras",
        "labels.txt",
        "training.json",
        "learning_curve.png",
        "confusion_matrix.png",
        "MODEL_CARD.md",
        "state",
    }
    assert json.loads((out / "training.json").read_text()) == json.loads(json.dumps(record))
    assert (out / "labels.txt").read_text().split() == ["cyan", "orange", "violet"]
    assert (out / "learning_curve.png").read_bytes().startswith(b"\x89PNG")
    assert "made by the tests" in (out / "MODEL_CARD.md").read_text()


def test_record_and_state_are_what_their_schemas_say(trained, violations):
    out, record = trained
    (state,) = (out / "state").rglob("*.npz")
    with np.load(state) as archive:
        meta = json.loads(archive["meta"].tobytes())
    assert violations(record) == violations(meta) == []


def test_the_kept_epoch_is_the_best_on_validation(trained):
    _, record = trained
    history, kept = record["history"], record["result"]["best_epoch"]
    best = max(history, key=lambda epoch: (epoch["val_top1"], -epoch["val_loss"]))
    assert history[kept - 1] == best
    assert record["result"]["accuracy"]["val"]["top1"] == pytest.approx(best["val_top1"])


def test_the_checkpoint_exports(trained, photos, tmp_path, capsys):
    out, _ = trained
    arguments = ["--weights", str(out / f"{NAME}.keras"), "--labels", str(out / "labels.txt")]
    assert main(["export", *arguments, "--calibration", str(photos), "--out", str(tmp_path / "o")]) == 0
    assert f"{NAME}_int8_uint8.tflite" in capsys.readouterr().out


def test_a_teacher_of_another_size_mixup_and_the_papers_optimiser(trained, photos, tmp_path):
    teacher = trained[0] / f"{NAME}.keras"
    model = {"spec_overrides": SPEC | {"alpha": 0.1, "resolution_px": 48}, "teacher": teacher, "teacher_weight": 0.7}
    record = _train(photos, tmp_path, epochs=1, optimizer="rmsprop", mixup=0.2, augmentation="strong", **model)
    assert record["options"]["teacher"] == str(teacher)
    assert np.isfinite(record["history"][0]["loss"])


def test_a_teacher_of_other_classes_is_refused(trained, split_photos, tmp_path):
    folder = tmp_path / "two"
    for label in ("cyan", "orange"):
        shutil.copytree(split_photos / "train" / label, folder / label)
    with pytest.raises(SpecError, match="a teacher of 2 classes and 3 channels is needed"):
        _train(folder, tmp_path / "out", epochs=1, teacher=trained[0] / f"{NAME}.keras")


def test_a_stopped_run_goes_on_with_the_same_curve(split_photos, two_epochs, tmp_path, monkeypatch):
    _, whole = two_epochs
    original, calls = loop.save_state, []

    def killed(*arguments):
        original(*arguments)
        calls.append(1)
        if len(calls) == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(loop, "save_state", killed)
    with pytest.raises(KeyboardInterrupt):
        _train(split_photos, tmp_path / "stopped", epochs=2)
    monkeypatch.setattr(loop, "save_state", original)
    with pytest.raises(SpecError, match="has the state of a stopped run"):
        _train(split_photos, tmp_path / "stopped", epochs=2)
    resumed = _train(split_photos, tmp_path / "stopped", epochs=2, resume=True)
    for key in ("loss", "top1", "val_loss", "val_top1"):
        expected = [epoch[key] for epoch in whole["history"]]
        np.testing.assert_allclose([epoch[key] for epoch in resumed["history"]], expected, rtol=1e-4, err_msg=key)


def test_other_options_cannot_resume(photos, trained_copy):
    with pytest.raises(SpecError, match="a run goes on with the options it began with: options was"):
        _train(photos, trained_copy, **LEARNS, resume=True, force=True, label_smoothing=0.3)


def test_nothing_to_resume_is_said(photos, tmp_path):
    with pytest.raises(SpecError, match=r"expected state\.npz of a run to go on with"):
        _train(photos, tmp_path, epochs=1, resume=True)


def test_patience_stops_early(photos, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "evaluate", lambda *_: (1.0, 0.5, np.zeros(3, np.intp)))
    trainer_result = []
    monkeypatch.setattr(
        "mnet_deploy.models.training.run._record", lambda *a: trainer_result.append(a[4]) or {"name": "x"}
    )
    monkeypatch.setattr("mnet_deploy.models.training.run._stage_all", lambda *_: None)
    _train(photos, tmp_path, epochs=9, patience=2)
    assert trainer_result[0].epoch == 3  # the first is the best, two more are not better


def test_a_full_disk_leaves_the_last_state(photos, trained_copy, monkeypatch):
    before = (trained_copy / "state" / "state.npz").read_bytes()

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("mnet_deploy.models.training.state.np.savez", full)
    with pytest.raises(SpecError, match="the state after epoch 1 cannot be written"):
        _train(photos, trained_copy, epochs=1, force=True)
    assert (trained_copy / "state" / "state.npz").read_bytes() == before
    assert not list((trained_copy / "state").glob(".*"))


def test_the_test_split_is_used_only_when_asked(split_photos, two_epochs, tmp_path):
    out, without = two_epochs
    assert set(without["result"]["accuracy"]) == {"val"}
    copy = Path(shutil.copytree(out, tmp_path / "copy"))
    used = _train(split_photos, copy, epochs=2, use_test=True, resume=True, force=True)
    assert used["history"] == without["history"]
    assert used["result"]["accuracy"]["test"]["photos"] == 12


@pytest.mark.parametrize("augmentation", ["none", "light", "strong"])
def test_batches_are_drawn_from_the_seed_alone(augmentation):
    import tensorflow as tf

    from mnet_deploy.models.training.augment import augment
    from mnet_deploy.models.training.options import Augmentation

    pixels = tf.constant(np.random.default_rng(0).integers(0, 256, (4, 37, 37, 3), np.uint8))
    first, again, other = (
        augment(pixels, tf.constant(seed), resolution_px=32, augmentation=Augmentation(augmentation)).numpy()
        for seed in ([1, 2], [1, 2], [1, 3])
    )
    assert first.shape == (4, 32, 32, 3)
    assert first.min() >= 0
    assert first.max() <= 255
    np.testing.assert_array_equal(first, again)
    assert np.array_equal(first, other) == (augmentation == "none")
