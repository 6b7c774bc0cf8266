"""Exact ranks of kernels, and how near the others come."""

import random
from fractions import Fraction

import pytest

from mnet_deploy.cost.separability import KNOWN_KERNELS, matrix_of, separability
from mnet_deploy.errors import SpecError

TOLERANCE = 1e-9  # of the power method against a full decomposition
RANKS = {"laplacian": 2, "sharpen": 2, "emboss": 3, "roberts": 2}


@pytest.mark.parametrize("name", KNOWN_KERNELS)
def test_known_kernels(name):
    found = separability(matrix_of(name))
    assert found.rank == RANKS.get(name, 1)
    assert found.separates is (name not in RANKS)


def test_sobel_is_a_smoothing_column_times_a_difference():
    found = separability(matrix_of("sobel"))
    assert (found.column, found.row) == ((1, 2, 1), (1, 0, -1))


@pytest.mark.parametrize("text", [text for name, text in KNOWN_KERNELS.items() if name not in RANKS])
def test_the_factors_multiply_to_the_kernel(text):
    found = separability(matrix_of(text))
    assert tuple(tuple(a * b for b in found.row) for a in found.column) == found.matrix


@pytest.mark.parametrize(
    ("text", "rank"),
    [
        ("0.1 0.2; 0.3 0.6", 1),  # not in binary floating point: 0.1 * 0.6 != 0.2 * 0.3
        ("0.1 0.2; 0.3 0.61", 2),
        ("1/3 1; 1 3", 1),
        ("0 0; 0 0", 0),
        ("5", 1),
        ("1,2,3", 1),
        ("0 0 1; 0 0 2", 1),
        ("0 1; 1 0", 2),
    ],
)
def test_ranks_are_exact(text, rank):
    assert separability(matrix_of(text)).rank == rank


def test_products_of_a_column_and_a_row_separate_and_stop_when_one_value_changes():
    chance = random.Random(3)
    for _ in range(50):
        column, row = ([Fraction(chance.randint(1, 99), chance.randint(1, 9)) for _ in range(5)] for _ in range(2))
        matrix = [[a * b for b in row] for a in column]
        assert separability(tuple(map(tuple, matrix))).separates
        matrix[2][3] += Fraction(1, 10**6)
        assert separability(tuple(map(tuple, matrix))).rank == 2


def test_energy_and_rank_against_numpy():
    numpy = pytest.importorskip("numpy")
    chance = random.Random(4)
    for side in (2, 3, 5, 7):
        values = [[chance.randint(-9, 9) for _ in range(side)] for _ in range(side + 1)]
        found = separability(tuple(tuple(map(Fraction, row)) for row in values))
        strengths = numpy.linalg.svd(numpy.array(values, float), compute_uv=False)
        assert found.rank == numpy.linalg.matrix_rank(numpy.array(values))
        assert found.kept == pytest.approx(float(strengths[0] ** 2 / (strengths**2).sum()), abs=TOLERANCE)


def test_the_direction_that_the_largest_row_does_not_have_is_found():
    """The largest row is orthogonal to the strongest direction."""
    assert separability(matrix_of("0 0 1.1; 1 0 0; 1 0 0")).kept == pytest.approx(2 / (2 + 1.21))


@pytest.mark.parametrize(
    "text", ["", ";", "1 2; 3", "a b", "1 nan; 1 2", "inf", "1/0", "1e9999999", "1 " * 32, "1;" * 40]
)
def test_what_is_no_kernel_is_refused(text):
    with pytest.raises(SpecError, match="a kernel is one of box"):
        matrix_of(text)
