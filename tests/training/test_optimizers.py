import keras
import numpy as np
import pytest

from mnet_deploy.models.builder import build
from mnet_deploy.models.training.optimizers import is_decayed, leave_undecayed, make_optimizer
from mnet_deploy.models.training.options import Augmentation, OptimizerName, TrainOptions
from mnet_deploy.spec import ModelSpec


@pytest.fixture
def model():
    return build(ModelSpec(alpha=0.05, resolution_px=32, classes=3))


def test_only_full_pointwise_and_classifier_kernels_decay(model):
    decayed = {variable.path.split("/")[0] for variable in model.trainable_variables if is_decayed(model, variable)}
    assert decayed == {"conv1", "conv_preds", *(f"conv_pw_{index}" for index in range(1, 14))}


@pytest.mark.parametrize("name", list(OptimizerName))
def test_a_step_without_gradient_shrinks_decayed_kernels_alone(model, name):
    options = TrainOptions(optimizer=name, weight_decay=0.1, learning_rate=0.5, epochs=1)
    optimizer = make_optimizer(options, steps_per_epoch=1)
    leave_undecayed(optimizer, model)
    before = [np.array(keras.ops.convert_to_numpy(variable)) for variable in model.trainable_variables]
    optimizer.build(model.trainable_variables)
    optimizer.apply([keras.ops.zeros_like(variable) for variable in model.trainable_variables])
    for variable, old in zip(model.trainable_variables, before, strict=True):
        new = keras.ops.convert_to_numpy(variable)
        if is_decayed(model, variable):
            shrunk = new[old != 0] / old[old != 0]
            np.testing.assert_allclose(shrunk, shrunk[0], rtol=1e-4)
            assert shrunk[0] < 1
        else:
            np.testing.assert_array_equal(new, old)


def test_the_cosine_ends_at_a_hundredth_of_the_peak(model):
    options = TrainOptions(epochs=10, learning_rate=0.2)
    schedule = make_optimizer(options, steps_per_epoch=20)._learning_rate
    assert float(schedule(10)) == pytest.approx(0.2, rel=0.02)  # after the warm-up of 5 % of 200 steps
    assert float(schedule(200)) == pytest.approx(0.002, rel=0.02)


def test_rmsprop_decays_its_rate_every_epoch(model):
    options = TrainOptions(optimizer=OptimizerName.RMSPROP, epochs=10, learning_rate=0.1)
    schedule = make_optimizer(options, steps_per_epoch=7)._learning_rate
    assert [float(schedule(step)) for step in (0, 6, 7, 14)] == pytest.approx([0.1, 0.1, 0.098, 0.1 * 0.98**2])


def test_settling_begins_at_a_tenth_of_the_peak():
    options = TrainOptions(epochs=10, settle_epochs=5, learning_rate=0.2)
    schedule = make_optimizer(options, steps_per_epoch=20)._learning_rate
    assert float(schedule(199)) == pytest.approx(0.002, rel=0.05)
    assert float(schedule(200)) == pytest.approx(0.02, rel=0.01)
    assert float(schedule(300)) == pytest.approx(0.002, rel=0.01)


def test_settling_varies_little_and_mixes_nothing():
    options = TrainOptions(epochs=2, settle_epochs=1, augmentation=Augmentation.STRONG, mixup=0.2)
    assert [options.augmentation_in(epoch) for epoch in range(3)] == ["strong", "strong", "light"]
    assert [options.mixup_in(epoch) for epoch in range(3)] == [0.2, 0.2, 0.0]
    assert TrainOptions(augmentation=Augmentation.NONE, epochs=1).augmentation_in(1) is Augmentation.NONE
