"""MAINT rows, the aggregator under test: what changes above is told once and carried to those it concerns."""

import pytest
from bench.agg import LEAD_S
from bench.documents import Event, mrid

pytestmark = pytest.mark.csip


async def test_maint_001_agg_takes_in_and_lets_go_of_ders(figure):
    """DERs come and go.

    Stimulus: one of four DERs is missing in the list at first, is added, and another is removed; each change of the list is told.
    Required: the one that came is served its groups; the one that went is not let in any more and answers nothing more.
    Clause: CSIP 2.1 P20, P39, P46; IEEE 2030.5-2018 9.5, 10.3.
    """
    agg, tree = figure
    late, gone = agg.leaves["edb2"], agg.leaves["eda1"]
    async with agg.head_end() as server:
        server.devices[4], kept = None, server.devices[4]
        async with agg.aggregating():
            await agg.until(lambda: gone.device.holds and "/e" in server.watched())
            assert late.device.holds == {}
            server.devices[4] = kept
            assert await server.tell("/e") == [204]
            await agg.until(lambda: late.device.holds == {"max_lim_w_pct": tree.limit_of("SPB2")})
            server.devices[1] = None
            assert await server.tell("/e") == [204]
            start = int(agg.now()) + LEAD_S
            event = Event(mrid("A1"), start, 30, {"opModFixedW": 2000})
            tree.programs["SY"].events.append(event)
            assert await server.tell(f"/p/{tree.programs['SY'].id}/derc") == [204]
            await agg.until(lambda: [status for _, status in agg.answers(late.lfdi).get(event.mrid, [])] == [1, 2, 3])
    assert agg.answers(gone.lfdi) == {}
    assert "fixed_w_pct" not in str(gone.device.history)


async def test_maint_003_agg_follows_a_der_that_moves_to_another_group(figure):
    """A DER moves.

    Stimulus: a DER is moved from its own point to that of another; its assignments are told of.
    Required: the aggregator reads them anew and watches what is new; the DER holds the default of where it is now; the others
    hold what they held.
    Clause: CSIP 2.1 G5, P23, P46, 5.2.3; IEEE 2030.5-2018 9.5.
    """
    agg, tree = figure
    moved = agg.leaves["edb1"]
    async with agg.head_end() as server, agg.aggregating():
        await agg.until(
            lambda: all(leaf.device.holds for leaf in agg.leaves.values()) and "/e/3/fsa" in server.watched()
        )
        held = {name: leaf.device.holds for name, leaf in agg.leaves.items()}
        assert moved.device.holds == {"max_lim_w_pct": tree.limit_of("SPB1")}
        tree.assign(server.devices[3], ("SPA1", "TFA", "SGA", "FDA", "SY"))
        assert await server.tell("/e/3/fsa") == [204]
        await agg.until(lambda: moved.device.holds == {"max_lim_w_pct": tree.limit_of("SPA1")})
        await agg.until(lambda: f"/p/{tree.programs['SPB1'].id}/derc" not in server.watched())
    assert {name: leaf.device.holds for name, leaf in agg.leaves.items() if leaf is not moved} == {
        name: values for name, values in held.items() if name != "edb1"
    }


async def test_maint_004_agg_carries_every_change_of_a_control(figure):
    """Controls change.

    Stimulus: a control is added, then cancelled while it runs; another is added, and a default is changed; each is told of.
    Required: each arrives at the DERs of the group, and each is answered as it should be.
    Clause: CSIP 2.1 G6, P30, P32, P33; IEEE 2030.5-2018 10.2.3.
    """
    agg, tree = figure
    program = tree.programs["FDB"]
    ders = [agg.leaves["edb1"], agg.leaves["edb2"]]
    async with agg.head_end() as server, agg.aggregating():
        at = f"/p/{program.id}/derc"
        await agg.until(lambda: at in server.watched() and all(leaf.device.holds for leaf in ders))
        first = Event(mrid("A1"), int(agg.now()) + 40, 600, {"opModFixedW": 2000})
        program.events = [first]
        assert await server.tell(at) == [204]
        await agg.until(lambda: all(leaf.device.holds.get("fixed_w_pct") == 20 for leaf in ders))
        first.status = 2
        second = Event(mrid("A2"), int(agg.now()) + 60, 30, {"opModFixedW": 3000})
        program.events = [first, second]
        assert await server.tell(at) == [204]
        local = tree.programs["SPB1"]
        local.default = {"opModMaxLimW": 1200}
        assert await server.tell(f"/p/{local.id}/dderc") == [204]
        await agg.until(lambda: all(3 in statuses(agg, leaf, second) for leaf in ders))
        await agg.until(lambda: ders[0].device.holds == {"max_lim_w_pct": 12})
    for leaf in ders:
        assert statuses(agg, leaf, first) == [1, 2, 6]
        assert statuses(agg, leaf, second) == [1, 2, 3]
    assert agg.answers(agg.leaves["eda1"].lfdi) == {}


def statuses(agg, leaf, event):
    return [status for _, status in agg.answers(leaf.lfdi).get(event.mrid, [])]


async def test_maint_005_agg_carries_an_exchange_of_primacies(figure):
    """Primacies are exchanged.

    Stimulus: while an event of the transformer's program runs, it exchanges its primacy with the segment's; the lists of programs
    that hold them are told of, then a similar control is added to the segment's program.
    Required: the segment's control takes over at its start, which it could not before; the transformer's is answered 7 and not
    resumed.
    Clause: CSIP 2.1 G13, P31, P48, 7.10; IEEE 2030.5-2018 10.2.3.4, 10.10.4.3.
    """
    agg, tree = figure
    transformer, segment = tree.programs["TFA"], tree.programs["SGA"]
    ders = [agg.leaves["eda1"], agg.leaves["eda2"]]
    async with agg.head_end() as server:
        start = int(agg.now()) + LEAD_S + 20
        transformer.events = [Event(mrid("A1"), start, 300, {"opModFixedW": 2000})]
        async with agg.aggregating():
            await agg.until(lambda: all(leaf.device.holds.get("fixed_w_pct") == 20 for leaf in ders))
            transformer.primacy, segment.primacy = segment.primacy, transformer.primacy
            for number in (1, 2):
                assert await server.tell(f"/e/{number}/fsa/0/derp") == [204]
            segment.events = [Event(mrid("A2"), int(agg.now()) + 60, 60, {"opModFixedW": 3000})]
            assert await server.tell(f"/p/{segment.id}/derc") == [204]
            await agg.until(lambda: all(leaf.device.holds.get("fixed_w_pct") == 30 for leaf in ders))
            await agg.until(lambda: all(3 in statuses(agg, leaf, segment.events[0]) for leaf in ders))
            await agg.until(lambda: all("fixed_w_pct" not in leaf.device.holds for leaf in ders))
    for leaf in ders:
        assert statuses(agg, leaf, transformer.events[0]) == [1, 2, 7]
        assert statuses(agg, leaf, segment.events[0]) == [1, 2, 3]
