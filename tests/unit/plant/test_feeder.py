import builtins
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

import tierline.scenario
from tierline.model.errors import ConfigError
from tierline.model.topology import Grid, Line, Load, Node, ServicePoint, Source, Switch, SwitchKind, TapSide
from tierline.plant.feeder import PowerFlow

pytest.importorskip("power_grid_model", reason="power-grid-model is the extra `demo`")

GRID = Grid.from_json((Path(tierline.scenario.__file__).parent / "data/oberrhein.json").read_text("utf-8"))
RATING_W = np.array([float(point.p_w) for point in GRID.service_points])
STILL = np.zeros(RATING_W.size)


@pytest.fixture(scope="module")
def shared():
    return PowerFlow(GRID)


@pytest.fixture
def power_flow(shared):
    shared.set_switches({})
    return shared


def test_full_sun_on_a_raised_source_lifts_46_buses_above_the_limit(power_flow):
    flow = power_flow.solve(RATING_W, STILL, load_share=0.1, source_u_pu=1.03)
    assert flow.node_v_pu.max() == pytest.approx(1.0575, abs=1e-4)
    assert (flow.node_v_pu > 1.05).sum() == 46


def test_absorbing_reactive_power_brings_every_bus_back(power_flow):
    flow = power_flow.solve(RATING_W, -0.44 * RATING_W, load_share=0.1, source_u_pu=1.03)
    assert flow.v_pu.max() == pytest.approx(1.024, abs=1e-3)


def test_the_load_case_of_the_network_with_its_taps_has_the_known_lowest_voltage():
    taps = tuple(replace(t, tap_position=k) for t, k in zip(GRID.transformers, (-2, -3), strict=True))
    flow = PowerFlow(replace(GRID, transformers=taps)).solve(STILL, STILL, load_share=0.6)
    assert flow.node_v_pu.min() == pytest.approx(0.976, abs=1e-3)


def test_the_heads_carry_what_the_feeders_take(power_flow):
    flow = power_flow.solve(STILL, STILL, load_share=0.5)
    taken = 0.5 * sum(float(load.p_w) for load in GRID.loads)
    assert flow.head_p_w.sum() == pytest.approx(taken, rel=0.03)
    assert (flow.head_p_w > 0).all()
    assert (power_flow.solve(RATING_W, STILL, load_share=0.1).head_p_w < 0).all()


def test_each_load_may_have_its_own_share(power_flow):
    shares = np.linspace(0, 0.2, len(GRID.loads))
    flow = power_flow.solve(STILL, STILL, load_share=shares)
    assert flow.head_p_w.sum() == pytest.approx(sum(shares * [float(x.p_w) for x in GRID.loads]), rel=0.03)


def test_moving_a_section_moves_its_power_to_the_neighbour(power_flow):
    before = power_flow.solve(STILL, STILL, load_share=0.3).head_p_w
    power_flow.set_switches({265: False, 48: True})
    after = power_flow.solve(STILL, STILL, load_share=0.3).head_p_w
    assert after[0] == pytest.approx(0, abs=1.0)
    assert after[2] - before[2] == pytest.approx(before[0], rel=0.1)


def test_a_section_cut_off_is_dead(power_flow):
    power_flow.set_switches({265: False})
    flow = power_flow.solve(RATING_W, STILL)
    assert (flow.v_pu == 0).sum() == 32
    assert np.isfinite(flow.node_v_pu).all()


def test_switches_not_mentioned_go_back_to_the_file(power_flow):
    power_flow.set_switches({265: False})
    power_flow.set_switches({})
    assert (power_flow.solve(STILL, STILL).v_pu > 0.8).all()


def test_an_unknown_switch_is_refused(power_flow):
    with pytest.raises(ConfigError, match="no switch 999"):
        power_flow.set_switches({999: True})


def test_a_load_beyond_what_the_lines_carry_is_reported(power_flow):
    with pytest.raises(ConfigError, match=r"no steady state at 0\.00 MW of generation"):
        power_flow.solve(STILL, STILL, load_share=50.0)


def test_a_shift_between_the_clock_hours_is_refused():
    odd = replace(GRID.transformers[0], shift_degree=Decimal(45))
    with pytest.raises(ConfigError, match="shift_degree 45 is no multiple of 30"):
        PowerFlow(replace(GRID, transformers=(odd, GRID.transformers[1])))


def test_a_tap_on_either_side_moves_the_lower_voltage():
    def voltage(**keys):
        changed = tuple(replace(t, **keys) for t in GRID.transformers)
        return PowerFlow(replace(GRID, transformers=changed)).solve(STILL, STILL, load_share=0.0).node_v_pu.max()

    neutral = voltage()
    assert voltage(tap_position=-2) == pytest.approx(neutral / 0.97, rel=1e-3)
    assert voltage(tap_position=2, tap_side=TapSide.LV) == pytest.approx(neutral * 1.03, rel=1e-3)


def small_grid(**tables):
    """Two nodes and a source; a coupler joins a and b, a line joins b and c."""
    return Grid(
        name="small",
        source="made for this test",
        licence="Apache-2.0",
        nodes=tuple(Node(id=n, kv=Decimal(20)) for n in "abc"),
        lines=(
            Line(
                id="line",
                from_node="b",
                to_node="c",
                length_km=Decimal(1),
                r_ohm_per_km=Decimal("0.1"),
                x_ohm_per_km=Decimal("0.1"),
                c_nf_per_km=Decimal(0),
                i_max_a=Decimal(300),
            ),
        ),
        switches=(Switch(id=1, node="a", element="b", kind=SwitchKind.TIE, closed=True),),
        sources=(Source(id="source", node="a"),),
        **tables,
    )


def test_a_coupler_between_nodes_is_a_switch_too():
    flow = PowerFlow(small_grid(service_points=(ServicePoint(id="pv", node="c", p_w=Decimal(1000)),)))
    one = np.array([1000.0])
    assert flow.solve(one, 0 * one).v_pu[0] == pytest.approx(1.0, abs=1e-4)
    flow.set_switches({1: False})
    assert flow.solve(one, 0 * one).v_pu[0] == 0


def test_a_grid_without_units_or_without_loads_is_solved():
    none = np.zeros(0)
    loads = (Load(id="load", node="c", p_w=Decimal(10**6), q_var=Decimal(0)),)
    assert PowerFlow(small_grid(loads=loads)).solve(none, none).node_v_pu[2] < 1
    assert PowerFlow(small_grid()).solve(none, none).node_v_pu[2] == pytest.approx(1.0)


def test_a_missing_power_grid_model_says_what_to_install(monkeypatch):
    real = builtins.__import__

    def missing(name, *args, **kwargs):
        if name.startswith("power_grid_model"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(ConfigError, match=r"pip install tierline\[demo\]"):
        PowerFlow(GRID)
