from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tierline.scenario
from tierline.engine.connectivity import can_feed, energised, feeder_of, members, normal_positions, transformer_of
from tierline.model.errors import ConfigError
from tierline.model.topology import (
    Feeder,
    Grid,
    Line,
    Node,
    ServicePoint,
    Source,
    Switch,
    SwitchKind,
    Transformer,
)

OBERRHEIN = Grid.from_json((Path(tierline.scenario.__file__).parent / "data/oberrhein.json").read_text("utf-8"))
TIES_OF_TRANSFORMERS = (34, 48, 144)
TIES_OF_FEEDERS = (107, 311)


def count(feeders):
    return {
        feeder.id: sum(feeders[point.id] == feeder.id for point in OBERRHEIN.service_points)
        for feeder in OBERRHEIN.feeders
    }


def sides(tie):
    """Return the two nodes that a switch of Oberrhein holds apart."""
    switch = next(s for s in OBERRHEIN.switches if s.id == tie)
    return next(line.ends for line in OBERRHEIN.lines if line.id == switch.element)


def test_every_node_is_live_in_the_normal_position():
    assert energised(OBERRHEIN, {}) == {node.id for node in OBERRHEIN.nodes}


def test_four_feeders_carry_the_153_service_points():
    assert count(feeder_of(OBERRHEIN, {})) == {"feeder-1": 32, "feeder-2": 28, "feeder-3": 35, "feeder-4": 58}


def test_two_feeders_hang_on_each_transformer():
    transformers = transformer_of(OBERRHEIN, {})
    assert [transformers[members(OBERRHEIN, {}, f.id)[0]] for f in OBERRHEIN.feeders] == [
        "trafo_114",
        "trafo_114",
        "trafo_142",
        "trafo_142",
    ]
    assert transformers["bus_039"] == "trafo_114"
    assert transformers["bus_058"] is None


@pytest.mark.parametrize("tie", TIES_OF_TRANSFORMERS)
def test_these_ties_hold_the_two_transformers_apart(tie):
    transformers = transformer_of(OBERRHEIN, {})
    assert {transformers[node] for node in sides(tie)} == {"trafo_114", "trafo_142"}


@pytest.mark.parametrize("tie", TIES_OF_FEEDERS)
def test_these_ties_hold_two_feeders_of_one_transformer_apart(tie):
    one, other = sides(tie)
    transformers, feeders = transformer_of(OBERRHEIN, {}), feeder_of(OBERRHEIN, {})
    assert transformers[one] == transformers[other]
    assert feeders[one] != feeders[other]


def test_a_busbar_belongs_to_no_feeder():
    assert feeder_of(OBERRHEIN, {})["bus_039"] is None


@pytest.mark.parametrize("tie", TIES_OF_TRANSFORMERS + TIES_OF_FEEDERS)
def test_closing_a_tie_alone_moves_nobody(tie):
    assert feeder_of(OBERRHEIN, {tie: True}) == feeder_of(OBERRHEIN, {})
    assert transformer_of(OBERRHEIN, {tie: True}) == transformer_of(OBERRHEIN, {})


def test_an_open_head_darkens_its_feeder():
    feeders = feeder_of(OBERRHEIN, {265: False})
    assert count(feeders)["feeder-1"] == 0
    assert [p for p in OBERRHEIN.service_points if feeders[p.id] is None]
    assert {p.node for p in OBERRHEIN.service_points if feeders[p.id] is None}.isdisjoint(
        energised(OBERRHEIN, {265: False})
    )


def test_a_feeder_without_its_head_moves_to_the_neighbour_behind_the_tie():
    moved = members(OBERRHEIN, {}, "feeder-1")
    switches = {265: False, 48: True}
    assert set(moved) < set(members(OBERRHEIN, switches, "feeder-3"))
    assert transformer_of(OBERRHEIN, switches)[moved[0]] == "trafo_142"


def test_a_dead_busbar_passes_the_neighbours_feeder_on():
    """A substation without its transformer is fed backwards: both its feeders hang on the neighbour's head."""
    grid = two_substations()
    switches = {10: False, 3: True}
    assert feeder_of(grid, switches) == {
        **dict.fromkeys(("hv1", "hv2", "mv2"), None),
        **dict.fromkeys(("mv1", "a", "b", "c", "pv_a", "pv_b", "pv_c"), "feeder-c"),
    }
    assert transformer_of(grid, switches)["pv_b"] == "t2"


def test_a_coupler_between_busbars_replaces_a_lost_transformer():
    grid = two_substations()
    switches = {10: False, 4: True}
    assert feeder_of(grid, switches)["pv_a"] == "feeder-a"
    assert transformer_of(grid, switches)["pv_a"] == "t2"


def test_without_a_normal_home_a_loop_belongs_to_the_first_feeder():
    grid = two_substations(joined=True)
    assert feeder_of(grid, {})["pv_b"] == "feeder-a"


def test_an_unknown_feeder_is_refused():
    with pytest.raises(ConfigError, match="no feeder 'feeder-9'; it has feeder-1"):
        members(OBERRHEIN, {}, "feeder-9")


def test_an_unknown_switch_is_refused():
    with pytest.raises(ConfigError, match="no switch 999"):
        energised(OBERRHEIN, {999: True})


def test_an_element_that_feeds_nothing_is_refused():
    with pytest.raises(ConfigError, match=r"no transformer or feeder 'bus_039'; it has feeder-1, .*trafo_142"):
        can_feed(OBERRHEIN, "bus_039")


@pytest.mark.parametrize("element", ["feeder-1", "feeder-4", "trafo_114", "trafo_142"])
def test_in_a_network_whose_parts_can_be_joined_each_element_can_feed_all(element):
    assert can_feed(OBERRHEIN, element) == {point.id for point in OBERRHEIN.service_points}


def two_substations(*, joined=False):
    """hv1-t1-mv1-(a, b)  and  hv2-t2-mv2-c;  3 ties a to c, 4 couples mv1 to mv2, 10 lies at t1."""

    def line(name, start, end):
        return Line(
            id=name,
            from_node=start,
            to_node=end,
            length_km=Decimal(1),
            r_ohm_per_km=Decimal(1),
            x_ohm_per_km=Decimal(1),
            c_nf_per_km=Decimal(0),
            i_max_a=Decimal(100),
        )

    def transformer(name, hv, lv):
        return Transformer(
            id=name,
            hv_node=hv,
            lv_node=lv,
            sn_mva=Decimal(25),
            hv_kv=Decimal(110),
            lv_kv=Decimal(20),
            vk_percent=Decimal(10),
            vkr_percent=Decimal(1),
        )

    def switch(number, node, element, *, normally_open):
        return Switch(
            id=number,
            node=node,
            element=element,
            kind=SwitchKind.TIE,
            closed=not normally_open,
            normally_open=normally_open,
        )

    extra = (line("ab", "a", "b"),) if joined else ()
    return Grid(
        name="two substations",
        source="made for this test",
        licence="Apache-2.0",
        nodes=tuple(
            Node(id=n, kv=Decimal(110 if n.startswith("hv") else 20)) for n in ("hv1", "hv2", "mv1", "mv2", *"abc")
        ),
        lines=(line("la", "mv1", "a"), line("lb", "mv1", "b"), line("lc", "c", "mv2"), line("tie", "a", "c"), *extra),
        transformers=(transformer("t1", "hv1", "mv1"), transformer("t2", "hv2", "mv2")),
        switches=(
            switch(3, "a", "tie", normally_open=True),
            switch(4, "mv1", "mv2", normally_open=True),
            switch(10, "mv1", "t1", normally_open=False),
        ),
        sources=(Source(id="s1", node="hv1"), Source(id="s2", node="hv2")),
        service_points=tuple(ServicePoint(id=f"pv_{n}", node=n, p_w=Decimal(1000)) for n in "abc"),
        feeders=(
            Feeder(id="feeder-a", transformer="t1", node="mv1", branch="la"),
            Feeder(id="feeder-b", transformer="t1", node="mv1", branch="lb"),
            Feeder(id="feeder-c", transformer="t2", node="mv2", branch="lc"),
        ),
    )


def test_no_position_of_the_switches_joins_two_networks_that_nothing_lies_between():
    grid = two_substations()
    assert can_feed(grid, "feeder-c") == can_feed(grid, "t1") == {"pv_a", "pv_b", "pv_c"}
    apart = replace(
        grid,
        lines=tuple(row for row in grid.lines if row.id != "tie"),
        switches=tuple(row for row in grid.switches if row.id not in {3, 4}),
    )
    for element in ("t1", "feeder-a", "feeder-b"):
        assert can_feed(apart, element) == {"pv_a", "pv_b"}
    assert can_feed(apart, "feeder-c") == can_feed(apart, "t2") == {"pv_c"}
    dark = replace(apart, sources=apart.sources[:1])
    assert can_feed(dark, "t2") == frozenset()


CAN_FEED = {row.id: can_feed(OBERRHEIN, row.id) for row in (*OBERRHEIN.feeders, *OBERRHEIN.transformers)}
POSITIONS = st.dictionaries(st.sampled_from([s.id for s in OBERRHEIN.switches]), st.booleans(), max_size=40)


def conducting(switches):
    """Return the graph of conducting branches, made independently of the code under test."""
    state = {s.id: s.closed for s in OBERRHEIN.switches} | switches
    broken = {s.element for s in OBERRHEIN.switches if not state[s.id]}
    graph = nx.Graph()
    graph.add_nodes_from(node.id for node in OBERRHEIN.nodes)
    graph.add_edges_from((*branch.ends, {"id": branch.id}) for branch in OBERRHEIN.branches if branch.id not in broken)
    return graph


@given(POSITIONS)
@settings(max_examples=60, deadline=None)
def test_live_nodes_are_those_networkx_connects_to_a_source(switches):
    graph = conducting(switches)
    expected = set().union(*(nx.node_connected_component(graph, s.node) for s in OBERRHEIN.sources))
    assert energised(OBERRHEIN, switches) == expected


@given(POSITIONS)
@settings(max_examples=60, deadline=None)
def test_a_feeder_is_one_whose_head_networkx_reaches_without_the_busbars(switches):
    whole = conducting(switches)
    busbars = {feeder.node for feeder in OBERRHEIN.feeders}
    graph = whole.subgraph(set(whole) - busbars)
    feeders, usual = feeder_of(OBERRHEIN, switches), feeder_of(OBERRHEIN, normal_positions(OBERRHEIN))
    behind = {}
    for feeder in OBERRHEIN.feeders:
        for _, node, name in whole.edges(feeder.node, data="id"):
            if name == feeder.branch:
                behind[feeder.id] = nx.node_connected_component(graph, node)
    for node in graph:
        reaching = {name for name, nodes in behind.items() if node in nodes}
        if usual[node] in reaching:
            assert feeders[node] == usual[node]
        else:
            assert feeders[node] == min(reaching, default=None)


@given(POSITIONS)
@settings(max_examples=30, deadline=None)
def test_whatever_an_element_feeds_it_can_feed(switches):
    for fed_by in (feeder_of(OBERRHEIN, switches), transformer_of(OBERRHEIN, switches)):
        for point in OBERRHEIN.service_points:
            element = fed_by[point.id]
            assert element is None or point.id in CAN_FEED[element]


@given(POSITIONS)
@settings(max_examples=30, deadline=None)
def test_each_live_service_point_has_exactly_one_feeder_and_a_transformer(switches):
    live = energised(OBERRHEIN, switches)
    of_feeder = [set(members(OBERRHEIN, switches, feeder.id)) for feeder in OBERRHEIN.feeders]
    transformers = transformer_of(OBERRHEIN, switches)
    for point in OBERRHEIN.service_points:
        assert sum(point.id in some for some in of_feeder) == (point.node in live)
        assert (transformers[point.id] is not None) == (point.node in live)
