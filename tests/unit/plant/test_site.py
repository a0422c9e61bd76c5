from pathlib import Path

import numpy as np
import pytest

import tierline.scenario
from tierline.engine.connectivity import members
from tierline.model.errors import ConfigError
from tierline.model.topology import Grid
from tierline.plant.inverter import VOLT_VAR_CATEGORY_B
from tierline.plant.site import DRAWS_PER_UNIT, Plant, PlantSetup
from tierline.plant.weather import Weather

pytest.importorskip("power_grid_model", reason="power-grid-model is the extra `demo`")

DATA = Path(tierline.scenario.__file__).parent / "data"
TOML = (DATA / "oberrhein.toml").read_text("utf-8")
SETUP = PlantSetup.from_toml(TOML)
GRID = Grid.from_json((DATA / SETUP.grid).read_text("utf-8"))
WEATHER = Weather.from_json((DATA / SETUP.weather).read_text("utf-8"))
N = len(GRID.service_points)
NOON = 12 * 3600.0


def make_plant(seed=1):
    return Plant(SETUP, GRID, WEATHER, np.random.default_rng(seed).random((DRAWS_PER_UNIT, N)))


def bus_minutes_above(plant, start_s, hours, dt_s=10.0):
    above = 0.0
    for k in range(int(hours * 3600 / dt_s)):
        plant.step(start_s + k * dt_s, dt_s)
        above += plant.buses_above_limit() * dt_s / 60
    return above


def test_the_scenario_lifts_about_46_buses_above_the_limit_at_noon():
    plant = make_plant()
    flow = plant.step(NOON, 1.0)
    assert 40 <= plant.buses_above_limit() <= 46
    assert flow.node_v_pu.max() == pytest.approx(1.0575, abs=1e-3)
    assert plant.buses_below_limit() == 0


def test_the_default_volt_var_curve_takes_away_at_least_half_of_the_bus_minutes():
    without, with_curve = make_plant(), make_plant()
    with_curve.fleet.settings.vv_ena[:] = True
    assert with_curve.fleet.settings.vv_curve.points(0) == VOLT_VAR_CATEGORY_B
    reference = bus_minutes_above(without, SETUP.starts_at_h * 3600, 0.5)
    assert reference > 1000
    assert bus_minutes_above(with_curve, SETUP.starts_at_h * 3600, 0.5) <= 0.5 * reference
    assert with_curve.fleet.state.energy_wh.sum() == pytest.approx(without.fleet.state.energy_wh.sum(), rel=0.01)


def test_curtailing_one_feeder_lowers_its_own_head_flow():
    plant = make_plant()
    plant.step(NOON, 1.0)
    before = plant.flow.head_p_w.copy()
    settings = plant.fleet.settings
    chosen = np.isin(plant.ids, members(GRID, plant.switches, "feeder-4"))
    settings.w_max_lim_pct_ena[chosen] = True
    settings.w_max_lim_pct[chosen] = 30.0
    for k in range(20):
        plant.step(NOON + k, 1.0)
    change = plant.flow.head_p_w - before
    assert change[3] > 3e6
    assert np.abs(change[:3]).max() < 0.1e6


def test_an_operated_switch_stays_and_moves_the_units():
    plant = make_plant()
    plant.operate({265: False})
    plant.operate({48: True})
    assert (plant.switches[265], plant.switches[48]) == (False, True)
    plant.step(NOON, 1.0)
    assert plant.flow.head_p_w[0] == pytest.approx(0, abs=1.0)
    assert (plant.flow.v_pu > 0.9).all()


def test_a_refused_operation_changes_nothing():
    plant = make_plant()
    before = plant.switches
    with pytest.raises(ConfigError):
        plant.operate({999: True})
    assert plant.switches == before


def test_units_of_a_dead_feeder_go_out_of_service():
    plant = make_plant()
    plant.operate({265: False})
    for k in range(5):
        plant.step(NOON + k, 1.0)
    dead = np.isin(plant.ids, members(GRID, {}, "feeder-1"))
    assert not plant.fleet.state.service.in_service[dead].any()
    assert plant.fleet.state.service.in_service[~dead].all()


def test_a_low_source_shows_buses_below_the_limit():
    plant = make_plant()
    plant.source_u_pu = 0.94
    plant.step(0.0, 1.0)
    assert plant.buses_below_limit() == len(GRID.nodes)


def test_the_same_draws_give_the_same_plant():
    one, other = make_plant(3), make_plant(3)
    for k in range(3):
        assert np.array_equal(one.step(NOON + k, 1.0).v_pu, other.step(NOON + k, 1.0).v_pu)


def test_draws_of_the_wrong_shape_are_refused():
    with pytest.raises(ConfigError, match=r"draws of shape \(4, 153\), not \(4, 3\)"):
        Plant(SETUP, GRID, WEATHER, np.zeros((4, 3)))


def test_defaults_fill_what_a_scenario_leaves_out():
    setup = PlantSetup.from_toml('[plant]\ngrid = "g"\nweather = "w"\nday = "d"\nstarts_at_h = 6\n')
    assert setup.source_u_pu == 1.0
    assert setup.load_share == (1.0,) * 24


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[plant", "not TOML"),
        ("", r"the table \[plant\] is missing"),
        ("plant = 3", r"the table \[plant\] is missing"),
        ('[plant]\ngrid = "g"', "plant.weather is missing"),
        (TOML + "\ncolour = 1", "plant.colour is unknown; known are day"),
        (TOML.replace("1.03", '"high"'), "plant.source_u_pu must be a number, not 'high'"),
        (TOML.replace("11.0", "true"), "plant.starts_at_h must be a number, not True"),
        (TOML.replace("= false", "= 0"), "plant.watt_priority must be true or false, not 0"),
        (TOML.replace('"june-sunny"', "6"), "plant.day must be a text, not 6"),
        (TOML.replace("0.09, 0.08", "0.08"), "plant.load_share must be 24 shares from 0 upwards"),
        (TOML.replace("0.09, 0.08", "-0.09, 0.08"), "plant.load_share must be 24 shares from 0 upwards"),
    ],
)
def test_a_bad_plant_table_is_refused_with_its_key(text, message):
    with pytest.raises(ConfigError, match=message):
        PlantSetup.from_toml(text)
