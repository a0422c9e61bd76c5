"""The power flow against pandapower, on the network the committed grid file was made from."""

import warnings
from pathlib import Path

import numpy as np
import pytest

import tierline.scenario
from tierline.model.topology import Grid
from tierline.plant.feeder import PowerFlow

pandapower = pytest.importorskip("pandapower", reason="pandapower is part of the test requirements")
pytest.importorskip("power_grid_model", reason="power-grid-model is the extra `demo`")

pytestmark = [pytest.mark.interop, pytest.mark.filterwarnings("ignore")]  # pandapower's own deprecations

GRID = Grid.from_json((Path(tierline.scenario.__file__).parent / "data/oberrhein.json").read_text("utf-8"))

SWITCHES = [{}, {34: True}, {48: True, 265: False}, {144: True, 107: True}, {34: True, 48: True, 144: True, 311: True}]


@pytest.fixture(scope="module")
def net():
    from pandapower.networks import mv_oberrhein

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return mv_oberrhein(scenario="generation")


@pytest.fixture(scope="module")
def power_flow():
    return PowerFlow(GRID)


def solve_with_pandapower(net, p_w, q_var, load_share, source_u_pu, switches):
    net.sgen["scaling"] = net.load["scaling"] = 1.0
    net.sgen["p_mw"], net.sgen["q_mvar"] = p_w / 1e6, q_var / 1e6
    net.load["p_mw"] = [float(load.p_w) / 1e6 * load_share for load in GRID.loads]
    net.load["q_mvar"] = [float(load.q_var) / 1e6 * load_share for load in GRID.loads]
    net.ext_grid["vm_pu"] = source_u_pu
    net.switch["closed"] = [switches.get(s.id, s.closed) for s in GRID.switches]
    pandapower.runpp(net, numba=False)
    node_v_pu = np.nan_to_num(net.res_bus.vm_pu.sort_index().to_numpy(), nan=0.0)
    heads = []
    for feeder in GRID.feeders:
        row = net.res_line.loc[int(feeder.branch.removeprefix("line_"))]
        line = next(line for line in GRID.lines if line.id == feeder.branch)
        heads.append(row.p_from_mw if line.from_node == feeder.node else row.p_to_mw)
    return node_v_pu, np.array(heads) * 1e6


@pytest.mark.parametrize("switches", SWITCHES)
def test_voltages_are_those_of_pandapower(net, power_flow, switches):
    rng = np.random.default_rng(len(switches))
    rating = np.array([float(point.p_w) for point in GRID.service_points])
    for source_u_pu in (1.0, 1.03):
        p_w = rating * rng.uniform(0, 1, rating.size)
        q_var = rating * rng.uniform(-0.44, 0.44, rating.size)
        share = float(rng.uniform(0.05, 0.6))
        power_flow.set_switches(switches)
        ours = power_flow.solve(p_w, q_var, load_share=share, source_u_pu=source_u_pu)
        node_v_pu, head_p_w = solve_with_pandapower(net, p_w, q_var, share, source_u_pu, switches)
        np.testing.assert_allclose(ours.node_v_pu, node_v_pu, rtol=1e-5)
        np.testing.assert_allclose(ours.head_p_w, head_p_w, atol=1e3)


def test_a_feeder_cut_off_is_dead_in_both(net, power_flow):
    zero = np.zeros(len(GRID.service_points))
    power_flow.set_switches({265: False})
    ours = power_flow.solve(zero, zero, load_share=0.3)
    theirs, _ = solve_with_pandapower(net, zero, zero, 0.3, 1.0, {265: False})
    assert np.array_equal(ours.node_v_pu == 0, theirs == 0)
    assert (ours.v_pu == 0).sum() == 32
