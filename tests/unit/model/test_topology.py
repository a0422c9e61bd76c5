import json
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

import tierline.scenario
from tierline.model.errors import ConfigError
from tierline.model.topology import Feeder, Grid, Group, Line, Membership, Node, ServicePoint, SwitchKind, Tier

OBERRHEIN = Path(tierline.scenario.__file__).parent / "data/oberrhein.json"


@pytest.fixture(scope="module")
def oberrhein():
    return Grid.from_json(OBERRHEIN.read_text(encoding="utf-8"))


SMALL = {
    "format": "tierline-grid-1",
    "name": "small",
    "source": "made for this test",
    "licence": "Apache-2.0",
    "nodes": [{"id": "hv", "kv": 110}, {"id": "mv", "kv": 20}, {"id": "far", "kv": 20.0, "x": 7.5, "y": 48}],
    "lines": [
        {
            "id": "line",
            "from_node": "mv",
            "to_node": "far",
            "length_km": 1.5,
            "r_ohm_per_km": 0.1,
            "x_ohm_per_km": 0.1,
            "c_nf_per_km": 270,
            "i_max_a": 300,
        }
    ],
    "transformers": [
        {
            "id": "trafo",
            "hv_node": "hv",
            "lv_node": "mv",
            "sn_mva": 25,
            "hv_kv": 110,
            "lv_kv": 20,
            "vk_percent": 11.2,
            "vkr_percent": 0.3,
        }
    ],
    "switches": [
        {"id": 1, "node": "mv", "element": "line", "kind": "breaker", "closed": True},
        {"id": 2, "node": "mv", "element": "far", "kind": "tie", "closed": False, "normally_open": True},
    ],
    "sources": [{"id": "source", "node": "hv"}],
    "loads": [{"id": "load", "node": "far", "p_w": 1000, "q_var": -200}],
    "service_points": [{"id": "pv", "node": "far", "p_w": 5000}],
    "feeders": [{"id": "feeder", "transformer": "trafo", "node": "mv", "branch": "line", "breaker": 1}],
}


def changed(table, **keys):
    """Return the small grid with keys of the last row of one table replaced; None takes the key away."""
    data = json.loads(json.dumps(SMALL))
    row = data[table][-1] | keys
    data[table][-1] = {key: value for key, value in row.items() if value is not None}
    return json.dumps(data)


def test_the_committed_grid_has_the_measured_size(oberrhein):
    assert len(oberrhein.nodes) == 179
    assert len(oberrhein.lines) == 181
    assert len(oberrhein.transformers) == 2
    assert len(oberrhein.switches) == 322
    assert len(oberrhein.loads) == 147
    assert len(oberrhein.service_points) == 153
    assert len(oberrhein.sources) == 2
    assert len(oberrhein.branches) == 183


def test_the_committed_grid_has_22_07_megawatts_of_photovoltaics(oberrhein):
    assert round(sum(point.p_w for point in oberrhein.service_points) / 10**6, 2) == Decimal("22.07")


def test_the_committed_grid_has_six_open_switches(oberrhein):
    assert [switch.id for switch in oberrhein.switches if not switch.closed] == [14, 34, 48, 107, 144, 311]
    assert all(switch.normally_open is not switch.closed for switch in oberrhein.switches)


def test_the_committed_grid_has_a_breaker_at_the_head_of_each_feeder(oberrhein):
    kinds = {switch.id: switch.kind for switch in oberrhein.switches}
    assert len(oberrhein.feeders) == 4
    assert {kinds[feeder.breaker] for feeder in oberrhein.feeders} == {SwitchKind.BREAKER}


def test_the_committed_grid_says_where_it_comes_from(oberrhein):
    assert "pandapower" in oberrhein.source
    assert "BSD-3-Clause" in oberrhein.licence
    assert (OBERRHEIN.parent / "LICENSE-pandapower.txt").exists()


@pytest.mark.parametrize("text", [OBERRHEIN.read_text(encoding="utf-8"), json.dumps(SMALL)])
def test_a_grid_survives_writing_and_reading(text):
    grid = Grid.from_json(text)
    assert Grid.from_json(grid.to_json()) == grid


def test_numbers_are_decimals_and_defaults_are_filled_in():
    grid = Grid.from_json(json.dumps(SMALL))
    assert grid.nodes[2] == Node(id="far", kv=Decimal(20), x=Decimal("7.5"), y=Decimal(48))
    assert isinstance(grid.lines[0].length_km, Decimal)
    assert grid.sources[0].u_pu == 1
    assert grid.switches[1].ends == ("mv", "far")


def test_coordinates_are_marked_as_location():
    marked = {f.name for f in fields(Node) if f.metadata.get("privacy") == "location"}
    assert marked == {"x", "y"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1,", "not JSON"),
        ("[]", "expected an object, found list"),
        ("{}", '"format" must be "tierline-grid-1"'),
        ('{"format": "tierline-grid-1", "nodes": [{"kv": NaN}]}', "NaN is no value"),
        ('{"format": "tierline-grid-1", "name": "a", "name": "b"}', "'name' stands twice"),
        (json.dumps(SMALL | {"colour": 1}), "unknown key 'colour'"),
        (json.dumps(SMALL | {"name": 7}), "grid file: name must be a text, not 7"),
        (json.dumps(SMALL | {"nodes": {}}), "nodes must be a list"),
        (json.dumps(SMALL | {"loads": [3]}), r"loads\[0\] must be an object"),
        (changed("nodes", colour="red"), r"nodes\[2\]: unknown key 'colour'; known are id, kv, x, y"),
        (changed("nodes", kv=None), r"nodes\[2\]: key 'kv' is missing"),
        (changed("nodes", kv="20"), r"nodes\[2\].kv must be a number, not '20'"),
        (changed("nodes", kv=True), r"nodes\[2\].kv must be a number, not True"),
        (changed("switches", id=1.5), r"switches\[1\].id must be a whole number"),
        (changed("switches", closed=1), r"switches\[1\].closed must be true or false, not 1"),
        (changed("switches", kind="fuse"), r"kind must be one of breaker, sectionaliser, tie, not 'fuse'"),
        (changed("transformers", tap_side="top"), "tap_side must be one of hv, lv"),
        (changed("nodes", kv=0), "node 'far': kv must be above 0, not 0"),
        (changed("lines", c_nf_per_km=-1), "line 'line': c_nf_per_km must not be negative: -1"),
        (changed("lines", r_ohm_per_km=0, x_ohm_per_km=0), "line 'line' has no impedance"),
        (changed("lines", from_node="hv"), "joins 110 kV and 20.0 kV; use a transformer"),
        (changed("lines", to_node="mv"), "starts and ends at 'mv'"),
        (changed("lines", to_node="off"), "branch 'line' refers to the node 'off', which does not exist"),
        (changed("transformers", vkr_percent=12), "vkr_percent 12 is part of vk_percent and above it"),
        (changed("transformers", tap_position=3), "tap_position 3 is outside tap_min 0 .. tap_max 0"),
        (changed("switches", element="off"), "switch 2 refers to the branch or node 'off'"),
        (changed("switches", node="off"), "switch 2 refers to the node 'off'"),
        (changed("switches", node="hv", element="line"), "switch 2 stands at 'hv', which is no end of 'line'"),
        (changed("switches", id=1), "switches use the id 1, which switches use already"),
        (changed("loads", id="pv"), "service_points use the id 'pv', which loads use already"),
        (changed("loads", node="off"), "load 'load' refers to the node 'off'"),
        (changed("service_points", p_w=0), "servicepoint 'pv': p_w must be above 0"),
        (changed("feeders", transformer="line"), "feeder 'feeder' refers to the transformer 'line'"),
        (changed("feeders", branch="off"), "feeder 'feeder' refers to the branch 'off'"),
        (changed("feeders", node="hv"), "feeder 'feeder' starts at 'hv', which is no end of 'line'"),
        (changed("feeders", breaker=2), "the breaker 2 of feeder 'feeder' is no switch of 'line'"),
        (changed("feeders", breaker=9), "the breaker 9 of feeder 'feeder' is no switch of 'line'"),
    ],
)
def test_a_bad_grid_file_is_refused_with_what_and_where(text, message):
    with pytest.raises(ConfigError, match=message):
        Grid.from_json(text)


def test_a_feeder_without_a_breaker_is_accepted():
    assert Grid.from_json(changed("feeders", breaker=None)).feeders[0] == Feeder(
        id="feeder", transformer="trafo", node="mv", branch="line"
    )


def test_a_grid_made_in_code_is_checked_too(oberrhein):
    with pytest.raises(ConfigError, match="which does not exist"):
        replace(oberrhein, service_points=(ServicePoint(id="pv", node="bus_999", p_w=Decimal(1)),))


def test_a_line_knows_its_ends(oberrhein):
    assert isinstance(oberrhein.branches[0], Line)
    assert oberrhein.branches[0].ends == ("bus_238", "bus_109")


NOON = datetime(2026, 6, 21, 12, tzinfo=UTC)


def membership(valid_to):
    return Membership(der_id="d", group_id="g", valid_from=NOON, valid_to=valid_to, recorded_at=NOON)


def test_a_membership_holds_from_its_first_instant_until_before_its_end():
    one_hour = membership(NOON + timedelta(hours=1))
    assert not one_hour.holds_at(NOON - timedelta(seconds=1))
    assert one_hour.holds_at(NOON)
    assert not one_hour.holds_at(NOON + timedelta(hours=1))


def test_an_open_membership_holds_for_ever():
    assert membership(None).holds_at(NOON + timedelta(days=9999))


def test_a_membership_cannot_end_before_it_starts():
    with pytest.raises(ConfigError, match="before it starts"):
        membership(NOON - timedelta(seconds=1))


def test_a_group_names_its_tier():
    assert Group(id="7d2k", tier=Tier.FEEDER, name="North", element="feeder-1").tier == "feeder"
