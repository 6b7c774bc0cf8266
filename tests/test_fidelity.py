import json
from math import log10, sqrt

import numpy as np
import pytest

from mnet_deploy.converters.fidelity import REQUIREMENTS, Fidelity, compare, failures
from mnet_deploy.cost import Precision

REFERENCE = np.array([[3.0, 4.0], [0.0, 1.0]], np.float32)


def test_the_figures_of_a_comparison_by_hand():
    outputs = np.array([[4.0, 3.0], [0.0, 2.0]], np.float32)
    found = compare(REFERENCE, outputs, classifier=True)
    assert found.images == 2
    # image 1: (3*4 + 4*3) / (5 * 5) = 0.96; image 2: parallel, so 1
    assert found.cosine == pytest.approx((0.96 + 1) / 2)
    # signal 9 + 16 + 1, noise 1 + 1 + 1
    assert found.sqnr_db == pytest.approx(10 * log10(26 / 3))
    assert found.max_abs_error == 1.0
    assert found.top1_agreement == 0.5  # image 1 has its best class moved from 1 to 0


def test_equal_outputs_have_no_sqnr():
    found = compare(REFERENCE, REFERENCE.copy(), classifier=True)
    assert found == Fidelity(images=2, cosine=pytest.approx(1), sqnr_db=None, max_abs_error=0, top1_agreement=1)


def test_without_a_classifier_there_is_no_best_class():
    maps = np.ones((2, 4, 4, 3), np.float32)
    found = compare(maps, maps * 2, classifier=False)
    assert found.top1_agreement is None
    assert found.cosine == pytest.approx(1)
    assert found.sqnr_db == pytest.approx(0)  # the error is as large as the signal


@pytest.mark.parametrize("outputs", [np.zeros((2, 2)), np.ones((2, 2))])
def test_a_reference_of_zeros_has_figures_without_a_warning(outputs):
    found = compare(np.zeros((2, 2), np.float32), outputs.astype(np.float32), classifier=False)
    assert found.sqnr_db is None
    assert found.cosine == 0


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_outputs_that_are_no_numbers_fail_every_precision(bad):
    outputs = REFERENCE.copy()
    outputs[1, 0] = bad
    found = compare(REFERENCE, outputs, classifier=True)
    for precision in Precision:
        assert any(text.startswith("cosine") for text in failures(found, precision))
    text = json.dumps(found.to_json(), allow_nan=False)  # raises where a figure is not finite
    assert json.loads(text)["cosine"] is None


def fidelity(**changes):
    perfect = {"images": 10, "cosine": 1.0, "sqnr_db": 90.0, "max_abs_error": 0.0, "top1_agreement": 1.0}
    return Fidelity(**{**perfect, **changes})


@pytest.mark.parametrize("precision", Precision)
def test_each_requirement_is_met_at_its_limit_and_missed_below(precision):
    need = REQUIREMENTS[precision]
    assert failures(fidelity(cosine=need.cosine, top1_agreement=need.top1_agreement), precision) == ()
    assert len(failures(fidelity(cosine=need.cosine - 1e-3), precision)) == 1
    assert len(failures(fidelity(top1_agreement=need.top1_agreement - 1e-3), precision)) == 1
    assert failures(fidelity(top1_agreement=None), precision) == ()


def test_float_files_may_not_differ_by_much_in_any_output():
    (failure,) = failures(fidelity(max_abs_error=0.01), Precision.FP32)
    assert failure == "largest error 0.01, at most 0.001 allowed"


def test_a_failure_says_what_was_reached_and_what_is_needed():
    low = fidelity(cosine=1 / sqrt(2), top1_agreement=0.5)
    assert failures(low, Precision.INT8) == (
        "cosine 0.7071, at least 0.8 needed",
        "top-1 agreement 50.0%, at least 60% needed",
    )
