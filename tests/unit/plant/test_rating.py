import numpy as np
import pytest

from tierline.plant.inverter import Fleet, InverterStatus, Nameplate, step

W = 100e3


def fleet_of(n=1, *, in_service=True, oversize=1.1):
    return Fleet.of(Nameplate.of(np.full(n, W), oversize=oversize), in_service=in_service)


def run(fleet, seconds=60, *, v=1.0, f=60.0, sun=1.0, dt=1.0):
    n = fleet.size
    for _ in range(round(seconds / dt)):
        step(fleet, np.broadcast_to(np.asarray(v, dtype=float), n).copy(), f, np.full(n, sun * W), dt)
    return fleet.state


def test_reactive_capability_falls_away_at_low_power():
    fleet = fleet_of()
    fleet.settings.vv_ena[:] = True
    assert run(fleet, v=1.09, sun=0.1).q_var[0] == pytest.approx(-0.5 * 0.44 * 1.1 * W)
    assert run(fleet, v=1.09, sun=0.04).q_var[0] == 0
    fleet.nameplate.var_at_low_w[:] = True
    assert run(fleet, v=1.09, sun=0.04).q_var[0] == pytest.approx(-0.44 * 1.1 * W, rel=1e-6)


def test_under_var_priority_active_power_makes_room():
    fleet = fleet_of(oversize=1.0)
    fleet.settings.vv_ena[:] = True
    state = run(fleet, v=1.09)
    assert state.q_var[0] == pytest.approx(-0.44 * W, rel=1e-6)
    assert state.p_w[0] == pytest.approx(np.sqrt(1 - 0.44**2) * W)
    assert fleet.status()[0] == InverterStatus.THROTTLED


def test_under_watt_priority_reactive_power_makes_room_down_to_what_is_required():
    fleet = fleet_of(2, oversize=1.0)
    fleet.settings.watt_priority[:] = True
    fleet.settings.vv_ena[:] = True
    fleet.settings.var_max_abs_var[:] = 0.8 * W
    fleet.settings.vv_curve.adopt(slice(None), ((0.9, 0.0), (1.0, 0.0), (1.05, -0.8)))
    state = run(fleet, v=1.08, sun=0.85)
    assert state.p_w[0] == pytest.approx(85e3)
    assert state.q_var[0] == pytest.approx(-np.sqrt(1 - 0.85**2) * W)
    state = run(fleet, v=1.08, sun=1.0)
    assert state.q_var[0] == pytest.approx(-0.44 * W)
    assert state.p_w[0] == pytest.approx(np.sqrt(1 - 0.44**2) * W)


def test_current_is_bounded_at_low_voltage():
    fleet = fleet_of(oversize=1.0)
    assert run(fleet, 5, v=0.7).p_w[0] == pytest.approx(1.2 * 0.7 * W)
