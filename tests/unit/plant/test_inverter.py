import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tierline.plant.inverter import VOLT_VAR_CATEGORY_B, Fleet, InverterStatus, Nameplate, step

W = 100e3


def fleet_of(n=1, *, in_service=True, oversize=1.1):
    return Fleet.of(Nameplate.of(np.full(n, W), oversize=oversize), in_service=in_service)


def run(fleet, seconds=60, *, v=1.0, f=60.0, sun=1.0, dt=1.0):
    n = fleet.size
    for _ in range(round(seconds / dt)):
        step(fleet, np.broadcast_to(np.asarray(v, dtype=float), n).copy(), f, np.full(n, sun * W), dt)
    return fleet.state


def test_the_sun_sets_the_output_up_to_the_rating():
    assert run(fleet_of(), sun=0.6).p_w[0] == pytest.approx(60e3)
    assert run(fleet_of(), sun=1.4).p_w[0] == pytest.approx(W)


def test_defaults_run_without_reactive_power():
    fleet = fleet_of()
    assert run(fleet, v=1.07).q_var[0] == 0
    assert fleet.status()[0] == InverterStatus.RUNNING


def test_a_limit_holds_and_is_lifted():
    fleet = fleet_of()
    run(fleet)
    fleet.settings.w_max_lim_pct_ena[:] = True
    fleet.settings.w_max_lim_pct[:] = 40.0
    assert run(fleet).p_w[0] == pytest.approx(40e3)
    assert fleet.status()[0] == InverterStatus.THROTTLED
    fleet.settings.w_max_lim_pct_ena[:] = False
    assert run(fleet).p_w[0] == pytest.approx(W)


def test_a_limit_is_reached_in_its_response_time():
    fleet = fleet_of()
    fleet.settings.w_max_lim_pct_ena[:] = True
    fleet.settings.w_max_lim_pct[:] = 0.0
    assert run(fleet, 7.5, dt=0.5).p_w[0] == pytest.approx(50e3)
    assert run(fleet, 7.5, dt=0.5).p_w[0] == pytest.approx(0, abs=1e-6)


def test_with_no_response_time_a_limit_holds_in_the_next_step():
    fleet = fleet_of()
    fleet.settings.ap_rt_s[:] = 0.0
    fleet.settings.w_max_lim_pct_ena[:] = True
    fleet.settings.w_max_lim_pct[:] = 30.0
    assert run(fleet, 1).p_w[0] == pytest.approx(30e3)


def test_a_set_point_is_held_as_far_as_the_sun_allows():
    fleet = fleet_of()
    fleet.settings.w_set_ena[:] = True
    fleet.settings.w_set_pct[:] = 70.0
    assert run(fleet).p_w[0] == pytest.approx(70e3)
    assert run(fleet, sun=0.5).p_w[0] == pytest.approx(50e3)


def test_a_set_point_to_draw_power_stops_a_generator():
    fleet = fleet_of()
    fleet.settings.w_set_ena[:] = True
    fleet.settings.w_set_pct[:] = -20.0
    assert run(fleet).p_w[0] == 0


def test_the_tighter_of_limit_and_set_point_binds():
    fleet = fleet_of(2)
    fleet.settings.w_set_ena[:] = fleet.settings.w_max_lim_pct_ena[:] = True
    fleet.settings.w_set_pct[:] = [70.0, 30.0]
    fleet.settings.w_max_lim_pct[:] = [40.0, 90.0]
    np.testing.assert_allclose(run(fleet).p_w, [40e3, 30e3])


def test_percent_are_of_the_maximum_power_setting():
    fleet = fleet_of()
    fleet.settings.w_max_w[:] = 0.5 * W
    fleet.settings.w_max_lim_pct_ena[:] = True
    fleet.settings.w_max_lim_pct[:] = 50.0
    assert run(fleet).p_w[0] == pytest.approx(25e3)


def test_a_ramp_rate_bounds_the_rise_and_not_the_fall_of_the_sun():
    fleet = fleet_of()
    run(fleet, sun=0.2)
    fleet.settings.w_rmp_pct_s[:] = 2.0
    assert run(fleet, 10).p_w[0] == pytest.approx(40e3)
    assert run(fleet, 1, sun=0.1).p_w[0] == pytest.approx(10e3)


def test_a_ramp_rate_bounds_a_commanded_fall():
    fleet = fleet_of()
    run(fleet)
    fleet.settings.w_rmp_pct_s[:] = 1.0
    fleet.settings.w_max_lim_pct_ena[:] = True
    fleet.settings.w_max_lim_pct[:] = 0.0
    assert run(fleet, 10).p_w[0] == pytest.approx(90e3)


@pytest.mark.parametrize(("v", "q_pu"), [(0.90, 0.44), (0.95, 0.22), (1.0, 0.0), (1.05, -0.22), (1.09, -0.44)])
def test_volt_var_follows_its_curve(v, q_pu):
    fleet = fleet_of()
    fleet.settings.vv_ena[:] = True
    state = run(fleet, v=v, sun=0.5)
    assert state.q_var[0] == pytest.approx(q_pu * 1.1 * W, abs=1.0)


def test_ninety_percent_of_a_volt_var_step_show_after_the_response_time():
    fleet = fleet_of()
    fleet.settings.vv_ena[:] = True
    fleet.settings.vv_rsp_s[:] = 10.0
    run(fleet, sun=0.5)
    assert run(fleet, 10, v=1.09, sun=0.5, dt=0.1).q_var[0] == pytest.approx(-0.9 * 0.44 * 1.1 * W, rel=0.01)


def test_a_reference_voltage_moves_the_curve():
    fleet = fleet_of()
    fleet.settings.vv_ena[:] = True
    fleet.settings.vv_v_ref_pu[:] = 1.03
    assert run(fleet, v=1.08, sun=0.5).q_var[0] == pytest.approx(-0.22 * 1.1 * W, abs=1.0)


def test_a_reference_that_follows_the_voltage_lets_reactive_power_fade():
    fleet = fleet_of()
    fleet.settings.vv_ena[:] = fleet.settings.vv_v_ref_auto_ena[:] = True
    first = run(fleet, 30, v=1.05, sun=0.5).q_var[0]
    assert first < -0.1 * W
    assert run(fleet, 3000, v=1.05, sun=0.5, dt=5).q_var[0] == pytest.approx(0, abs=1.0)


def test_a_unit_that_was_off_waits_then_starts_softly_then_runs():
    fleet = fleet_of(in_service=False)
    fleet.settings.service.es_dly_s[:] = 10.0
    fleet.settings.service.es_rmp_s[:] = 20.0
    run(fleet, 5)
    assert fleet.status()[0] == InverterStatus.STANDBY
    assert run(fleet, 14).p_w[0] == pytest.approx(50e3)
    assert fleet.status()[0] == InverterStatus.STARTING
    run(fleet, 20)
    assert fleet.status()[0] == InverterStatus.RUNNING


def test_a_limit_holds_from_the_first_step_in_service():
    fleet = fleet_of(in_service=False)
    fleet.settings.service.es_dly_s[:] = fleet.settings.service.es_rmp_s[:] = 0.0
    fleet.settings.w_max_lim_pct_ena[:] = True
    fleet.settings.w_max_lim_pct[:] = 25.0
    assert run(fleet, 1).p_w[0] == pytest.approx(25e3)


def test_status_names_why_a_unit_is_out():
    fleet = fleet_of(5)
    fleet.settings.service.es[0] = False
    fleet.settings.service.connect[1] = False
    v = np.array([1.0, 1.0, 1.25, 1.0, 1.12])
    step(fleet, v, 60.0, np.array([W, W, W, 0.0, W]), 1.0)
    assert [InverterStatus(s).name for s in fleet.status()] == ["OFF", "OFF", "FAULT", "SLEEPING", "STANDBY"]
    assert (fleet.state.p_w == 0).all()


def test_energy_is_counted():
    assert run(fleet_of(), 3600, sun=0.5, dt=10).energy_wh[0] == pytest.approx(50e3, rel=0.01)


def test_the_default_curve_is_that_of_category_b():
    assert fleet_of(2).settings.vv_curve.points(1) == VOLT_VAR_CATEGORY_B


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_no_unit_ever_exceeds_limit_set_point_sun_or_rating(seed):
    rng = np.random.default_rng(seed)
    n = 20
    fleet = fleet_of(n, oversize=float(rng.uniform(1.0, 1.2)))
    s = fleet.settings
    s.ap_rt_s[:] = 0.0
    s.watt_priority[:] = rng.random(n) < 0.5
    for _ in range(15):
        s.vv_ena[:] = rng.random(n) < 0.7
        s.w_max_lim_pct_ena[:] = rng.random(n) < 0.5
        s.w_max_lim_pct[:] = rng.uniform(0, 100, n)
        s.w_set_ena[:] = rng.random(n) < 0.3
        s.w_set_pct[:] = rng.uniform(0, 100, n)
        s.service.es[:] = rng.random(n) < 0.9
        sun = rng.uniform(0, 1.3, n) * W
        state = step(fleet, rng.uniform(0.4, 1.15, n), 60.0, sun, 1.0)
        roof = np.minimum(sun, s.w_max_w)
        roof = np.where(s.w_max_lim_pct_ena, np.minimum(roof, s.w_max_lim_pct / 100 * W), roof)
        roof = np.where(s.w_set_ena, np.minimum(roof, s.w_set_pct / 100 * W), roof)
        roof = np.where(s.service.es, roof, 0.0)
        assert (state.p_w >= 0).all()
        assert (state.p_w <= roof + 1e-6).all()
        assert (np.hypot(state.p_w, state.q_var) <= s.va_max_va * (1 + 1e-9)).all()
        assert (np.abs(state.q_var) <= s.var_max_inj_var + 1e-6).all()
