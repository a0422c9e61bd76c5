import numpy as np
import pytest

from tierline.plant.response import lag


def respond(response_s, seconds, dt=0.1):
    """Return the answer to a step from 0 to 1."""
    before, out = np.zeros(1), np.zeros(1)
    for _ in range(round(seconds / dt)):
        out = lag(np.ones(1), before, out, np.array([response_s]), dt)
        before = np.ones(1)
    return out[0]


@pytest.mark.parametrize("response_s", [2.0, 5.0, 90.0])
def test_ninety_percent_show_after_the_response_time(response_s):
    assert respond(response_s, response_s) == pytest.approx(0.9, abs=0.01)


def test_a_response_faster_than_the_step_acts_at_once():
    assert respond(1.0, 1.0, dt=1.0) == 1.0
    assert respond(0.0, 1.0, dt=1.0) == 1.0


def test_units_respond_each_with_their_own_time():
    found = lag(np.ones(2), np.ones(2), np.zeros(2), np.array([5.0, 50.0]), 0.5)
    assert found[0] > found[1] > 0
