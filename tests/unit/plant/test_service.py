import numpy as np
import pytest

from tierline.model.errors import ConfigError
from tierline.plant.service import LEVELS, ServiceSettings, ServiceState, Side, ramp, update

GOOD = 1.0


class OneUnit:
    """One unit, stepped by 1 s; `in_service` after each step is what the tests ask for."""

    def __init__(self, *, in_service=False, delay=10.0, ramp_s=0.0):
        self.settings = ServiceSettings.defaults(1)
        self.settings.es_dly_s[:] = delay
        self.settings.es_rmp_s[:] = ramp_s
        self.state = ServiceState.initial(1, in_service=in_service)

    def steps(self, n, v=GOOD, f=60.0, *, power=True):
        """Return how many of n steps passed before the first one in service; n if there was none."""
        seen = []
        for _ in range(n):
            update(self.state, self.settings, np.array([v]), f, np.array([power]), 1.0)
            ramp(self.state, self.settings, 1.0)
            seen.append(bool(self.state.in_service[0]))
        return seen.index(True) if True in seen else n

    @property
    def on(self):
        return bool(self.state.in_service[0])


def test_service_is_entered_when_conditions_were_good_for_the_delay():
    assert OneUnit().steps(20) == 9  # the tenth good step completes ten seconds


@pytest.mark.parametrize(("v", "f"), [(1.06, 60.0), (0.91, 60.0), (1.0, 59.4), (1.0, 60.2)])
def test_service_is_not_entered_outside_the_window(v, f):
    assert OneUnit().steps(20, v, f) == 20


def test_one_bad_step_starts_the_delay_anew():
    unit = OneUnit()
    unit.steps(9)
    unit.steps(1, v=1.06)
    assert unit.steps(20) == 9


def test_a_window_left_while_running_does_not_take_the_unit_out():
    unit = OneUnit(in_service=True)
    unit.steps(20, v=1.06)
    assert unit.on


def test_the_random_delay_comes_on_top():
    unit = OneUnit()
    unit.settings.es_rnd_s[:] = 8.0
    unit.state.draw[:] = 0.5
    assert unit.steps(30) == 13


@pytest.mark.parametrize("which", ["es", "connect"])
def test_withdrawn_permission_takes_the_unit_out_at_once_and_is_no_fault(which):
    unit = OneUnit(in_service=True)
    getattr(unit.settings, which)[:] = False
    unit.steps(1)
    assert not unit.on
    assert not unit.state.tripped[0]
    getattr(unit.settings, which)[:] = True
    assert unit.steps(20) == 9


def test_without_power_the_unit_goes_out_and_comes_back_with_it():
    unit = OneUnit(in_service=True)
    assert unit.steps(20, power=False) == 20
    assert unit.steps(3) == 0  # voltage and frequency were good all the time


@pytest.mark.parametrize(
    ("side", "level", "v", "f"),
    [
        (Side.OVER_VOLTAGE, 1.1, 1.15, 60.0),
        (Side.UNDER_VOLTAGE, 0.5, 0.3, 60.0),
        (Side.OVER_FREQUENCY, 62.0, 1.0, 63.0),
        (Side.UNDER_FREQUENCY, 58.5, 1.0, 58.0),
    ],
)
def test_a_trip_waits_for_its_clearing_time(side, level, v, f):
    unit = OneUnit(in_service=True)
    for each in Side:
        unit.settings.set_trips(each, 0, ((level, 3.0),) if each is side else ())
    unit.steps(2, v, f)
    assert unit.on
    unit.steps(1, v, f)
    assert not unit.on
    assert unit.state.tripped[0]


@pytest.mark.parametrize(("v", "after"), [(0.45, 2), (0.65, 5), (0.85, 9), (0.9, 20)])
def test_each_of_three_levels_has_its_own_clearing_time(v, after):
    unit = OneUnit(in_service=True)
    unit.settings.set_trips(Side.UNDER_VOLTAGE, 0, ((0.5, 2.0), (0.7, 5.0), (0.88, 9.0)))
    seen = []
    for _ in range(20):
        unit.steps(1, v)
        seen.append(unit.on)
    assert sum(seen) == (after - 1 if after < 20 else 20)


def test_a_side_without_levels_never_trips():
    unit = OneUnit(in_service=True)
    for side in Side:
        unit.settings.set_trips(side, slice(None), ())
    for v, f in ((5.0, 60.0), (0.0, 60.0), (1.0, 90.0), (1.0, 10.0)):
        unit.steps(400, v, f)
        assert unit.on


def test_more_levels_than_there_are_are_refused():
    with pytest.raises(ConfigError, match="at most 3 trip levels a side, not 4"):
        ServiceSettings.defaults(1).set_trips(Side.UNDER_VOLTAGE, 0, ((0.5, 1.0),) * (LEVELS + 1))


def test_a_trip_timer_starts_anew_when_the_voltage_recovers():
    unit = OneUnit(in_service=True)
    for _ in range(5):
        unit.steps(12, v=1.15)
        unit.steps(1)
    assert unit.on


def test_a_tripped_unit_comes_back_after_the_delay_and_is_faulty_no_more():
    unit = OneUnit(in_service=True)
    unit.steps(1, v=1.25)
    assert unit.state.tripped[0]
    assert unit.steps(20) == 9
    assert not unit.state.tripped[0]


@pytest.mark.parametrize(("v", "ceased"), [(1.11, True), (0.5, True), (1.09, False), (0.6, False)])
def test_output_ceases_momentarily_outside_the_limits(v, ceased):
    unit = OneUnit(in_service=True)
    unit.steps(1, v=v)
    assert unit.on
    assert bool(unit.state.ceased[0]) is ceased
    unit.steps(1)
    assert not unit.state.ceased[0]


@pytest.mark.parametrize(("v", "which"), [(1.11, "mc_hi_after_s"), (0.5, "mc_lo_after_s")])
def test_output_ceases_after_its_time(v, which):
    unit = OneUnit(in_service=True)
    getattr(unit.settings, which)[:] = 3.0
    unit.steps(2, v=v)
    assert not unit.state.ceased[0]
    unit.steps(1, v=v)
    assert unit.state.ceased[0]


def test_momentary_cessation_can_be_disabled():
    unit = OneUnit(in_service=True)
    unit.settings.mc_enabled[:] = False
    unit.steps(1, v=1.11)
    assert not unit.state.ceased[0]


def test_the_soft_start_rises_in_the_ramp_time():
    unit = OneUnit(delay=0.0, ramp_s=10.0)
    unit.steps(5)
    assert unit.state.ramp_pu[0] == pytest.approx(0.5)
    unit.steps(20)
    assert unit.state.ramp_pu[0] == pytest.approx(1.1)


def test_without_a_ramp_time_full_power_is_free_at_once():
    unit = OneUnit(delay=0.0)
    unit.steps(1)
    assert unit.state.ramp_pu[0] == pytest.approx(1.1)
