import numpy as np
import pytest

from tierline.plant.inverter import Fleet, Nameplate, step

W = 100e3
VA = 110e3


def fleet_of(**modes):
    fleet = Fleet.of(Nameplate.of(np.full(1, W)))
    for name, value in modes.items():
        getattr(fleet.settings, name)[:] = value
    return fleet


def run(fleet, seconds=60, *, v=1.0, sun=1.0, dt=1.0):
    for _ in range(round(seconds / dt)):
        step(fleet, np.array([v]), 60.0, np.array([sun * W]), dt)
    return fleet.state.p_w[0], fleet.state.q_var[0]


@pytest.mark.parametrize("inject", [True, False])
def test_constant_power_factor_holds_at_any_power_and_in_its_direction(inject):
    fleet = fleet_of(pf_ena=True, pf=0.95, pf_inject=inject)
    for sun in (0.3, 0.6, 1.0):
        p, q = run(fleet, sun=sun)
        assert p / np.hypot(p, q) == pytest.approx(0.95)
        assert bool(q > 0) is inject


def test_at_constant_power_factor_both_powers_yield_to_the_rating():
    p, q = run(fleet_of(pf_ena=True, pf=0.9, va_max_va=W))
    assert np.hypot(p, q) == pytest.approx(W)
    assert p == pytest.approx(0.9 * W)


@pytest.mark.parametrize("percent", [30.0, -30.0])
def test_constant_var_is_a_share_of_apparent_power(percent):
    assert run(fleet_of(var_set_ena=True, var_set_pct=percent))[1] == pytest.approx(percent / 100 * VA)


def test_constant_var_is_reached_in_its_response_time():
    assert run(fleet_of(var_set_ena=True, var_set_pct=20.0), 5, dt=0.1)[1] == pytest.approx(0.9 * 0.2 * VA, rel=0.02)


@pytest.mark.parametrize(("sun", "q_pu"), [(0.4, 0.0), (0.75, -0.22), (0.9, -0.352)])
def test_watt_var_follows_its_curve(sun, q_pu):
    assert run(fleet_of(wv_ena=True), sun=sun)[1] == pytest.approx(q_pu * VA, abs=1.0)


def test_watt_var_meets_the_rating_on_its_curve():
    p, q = run(fleet_of(wv_ena=True, va_max_va=W))
    assert np.hypot(p, q) == pytest.approx(W, rel=1e-3)
    assert q / W == pytest.approx(-0.44 * (p / W - 0.5) / 0.5, abs=1e-3)


def test_where_several_modes_are_enabled_the_first_acts():
    every = fleet_of(
        pf_ena=True, pf=0.95, pf_inject=True, vv_ena=True, wv_ena=True, var_set_ena=True, var_set_pct=-10.0
    )
    assert run(every, v=1.05, sun=0.5)[1] == pytest.approx(0.5 * W * np.tan(np.arccos(0.95)))
    every.settings.pf_ena[:] = False
    assert run(every, v=1.05, sun=0.5)[1] == pytest.approx(-0.22 * VA, rel=1e-3)
    every.settings.vv_ena[:] = False
    assert run(every, v=1.05, sun=0.75)[1] == pytest.approx(-0.22 * VA, rel=1e-3)
    every.settings.wv_ena[:] = False
    assert run(every, v=1.05)[1] == pytest.approx(-0.1 * VA, rel=1e-3)
