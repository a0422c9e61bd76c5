import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierline.model.errors import ConfigError
from tierline.plant.curve import MAX_POINTS, Curves

CATEGORY_B = ((0.92, 0.44), (0.98, 0.0), (1.02, 0.0), (1.08, -0.44))


@st.composite
def curve(draw):
    n = draw(st.integers(2, MAX_POINTS))
    x = sorted(draw(st.lists(st.integers(0, 100), min_size=n, max_size=n, unique=True)))
    y = draw(st.lists(st.floats(-1, 1), min_size=n, max_size=n))
    return tuple((k / 10, v) for k, v in zip(x, y, strict=True))


@given(st.lists(curve(), min_size=1, max_size=4), st.floats(-1, 11))
def test_each_unit_follows_its_own_curve_as_numpy_interpolates_it(curves, x):
    bank = Curves(len(curves), CATEGORY_B)
    for unit, points in enumerate(curves):
        bank.adopt(unit, points)
    expected = [np.interp(x, *zip(*points, strict=True)) for points in curves]
    np.testing.assert_allclose(bank.at(np.full(len(curves), x)), expected, atol=1e-9)


def test_a_curve_reads_back_as_it_was_adopted():
    bank = Curves(2, CATEGORY_B)
    bank.adopt(1, ((0.9, 1.0), (1.1, -1.0)))
    assert bank.points(0) == CATEGORY_B
    assert bank.points(1) == ((0.9, 1.0), (1.1, -1.0))
    assert bank.n_points.tolist() == [4, 2]


def test_several_units_adopt_one_curve_at_once():
    bank = Curves(3, CATEGORY_B)
    bank.adopt(np.array([0, 2]), ((0.0, 0.0), (1.0, 1.0)))
    assert bank.at(np.full(3, 0.5)).tolist() == [0.5, 0.44, 0.5]


def test_coinciding_points_are_accepted():
    bank = Curves(1, ((0.9, 0.4), (1.0, 0.0), (1.0, 0.0), (1.1, -0.4)))
    assert bank.at(np.array([1.0])).tolist() == [0.0]


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (((1.0, 0.0),), "2 to 10 points, not 1"),
        (tuple((x, 0.0) for x in range(11)), "2 to 10 points, not 11"),
        (((1.0, 0.0), (0.9, 0.0)), "left to right"),
        (((1.0, 0.0), (1.0, 0.1)), "without a step"),
        (((1.0, 0.0), (1.1, float("nan"))), "finite points only"),
    ],
)
def test_a_curve_that_is_no_function_is_refused(points, message):
    with pytest.raises(ConfigError, match=message):
        Curves(1, points)
