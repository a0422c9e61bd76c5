import numpy as np
import pytest

from tierline.plant.inverter import Fleet, InverterStatus, Nameplate, step

W = 100e3


def fleet_of(*, in_service=True):
    return Fleet.of(Nameplate.of(np.full(1, W)), in_service=in_service)


def run(fleet, seconds=60, *, v=1.0, f=60.0, sun=1.0, dt=1.0):
    for _ in range(round(seconds / dt)):
        step(fleet, np.array([v]), f, np.array([sun * W]), dt)
    return fleet.state.p_w[0] / W


@pytest.mark.parametrize(("v", "p"), [(1.05, 1.0), (1.07, 0.75), (1.09, 0.25), (1.099, 0.025)])
def test_volt_watt_lowers_the_ceiling_as_voltage_rises(v, p):
    fleet = fleet_of()
    fleet.settings.vw_ena[:] = True
    assert run(fleet, v=v) == pytest.approx(p, abs=1e-4)
    assert bool(fleet.status()[0] == InverterStatus.THROTTLED) is (p < 1)


def test_volt_watt_answers_in_its_response_time():
    fleet = fleet_of()
    fleet.settings.vw_ena[:] = True
    run(fleet)
    assert run(fleet, 10, v=1.08, dt=0.1) == pytest.approx(1 - 0.9 * 0.5, abs=0.01)


def test_the_tighter_of_volt_watt_and_limit_binds():
    fleet = fleet_of()
    fleet.settings.vw_ena[:] = fleet.settings.w_max_lim_pct_ena[:] = True
    fleet.settings.w_max_lim_pct[:] = 40.0
    assert run(fleet, v=1.07) == pytest.approx(0.4)
    assert run(fleet, v=1.09) == pytest.approx(0.25, abs=1e-4)


def test_disabled_volt_watt_lets_go_at_once():
    fleet = fleet_of()
    fleet.settings.vw_ena[:] = True
    run(fleet, v=1.09)
    fleet.settings.vw_ena[:] = False
    assert run(fleet, 1, v=1.09) == pytest.approx(1.0)


@pytest.mark.parametrize(("f", "p"), [(60.03, 0.8), (60.336, 0.7), (60.636, 0.6), (61.1, 0.8 - 1.064 / 3)])
def test_above_the_deadband_power_falls_by_the_droop_from_what_it_was(f, p):
    fleet = fleet_of()
    run(fleet, sun=0.8)
    assert run(fleet, f=f, sun=0.8) == pytest.approx(p, abs=1e-4)


def test_droop_does_not_go_below_the_least_power():
    fleet = fleet_of()
    run(fleet, sun=0.1)
    assert run(fleet, f=61.1, sun=0.1) == pytest.approx(0.005, abs=1e-4)


def test_below_the_deadband_a_curtailed_unit_gives_more_even_above_its_limit():
    fleet = fleet_of()
    fleet.settings.w_max_lim_pct_ena[:] = True
    fleet.settings.w_max_lim_pct[:] = 50.0
    run(fleet)
    assert run(fleet, f=59.664) == pytest.approx(0.6, abs=1e-4)


def test_below_the_deadband_a_unit_gives_no_more_than_the_sun():
    fleet = fleet_of()
    run(fleet, sun=0.5)
    assert run(fleet, f=59.664, sun=0.5) == pytest.approx(0.5)


def test_when_frequency_returns_power_returns_in_the_response_time():
    fleet = fleet_of()
    run(fleet)
    low = run(fleet, f=61.0)
    assert run(fleet, 5, dt=0.1) == pytest.approx(low + 0.9 * (1 - low), abs=0.01)
    assert run(fleet, 30) == pytest.approx(1.0)
    assert not fleet.state.droop_active[0]


def test_droop_can_be_disabled():
    fleet = fleet_of()
    fleet.settings.fd_ena[:] = False
    assert run(fleet, f=61.0) == pytest.approx(1.0)


def test_a_unit_that_starts_outside_the_deadband_still_reaches_what_droop_allows():
    fleet = fleet_of(in_service=False)
    fleet.settings.service.es_dly_s[:] = 0.0
    fleet.settings.service.es_rmp_s[:] = 20.0
    assert run(fleet, 60, f=60.096) == pytest.approx(1.0 - 0.06 / 3, abs=0.02)


def test_a_unit_out_of_service_keeps_no_droop():
    fleet = fleet_of()
    run(fleet, f=61.0)
    fleet.settings.service.es[:] = False
    run(fleet, 2, f=61.0)
    assert not fleet.state.droop_active[0]


def test_a_jump_from_one_side_of_the_deadband_to_the_other_is_a_disturbance_of_its_own():
    fleet = fleet_of()
    run(fleet)
    low = run(fleet, f=61.0)
    rise = (60 - 0.036 - 59.7) / (60 * 0.05)
    assert run(fleet, f=59.7) == pytest.approx(low + rise, abs=1e-3)
