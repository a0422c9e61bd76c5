"""UTIL rows, the aggregator under test: it is taken in, finds its groups, and an event reaches all of one of them."""

import pytest
from bench.agg import LEAD_S
from bench.documents import Event, mrid
from bench.figure import Figure

pytestmark = pytest.mark.csip


async def test_util_002_agg_registers_its_ders_in_band(agg):
    """Commissioning of an aggregator and its DERs.

    Stimulus: a head-end that lists the aggregator alone; two DERs are registered at the aggregator.
    Required: it POSTs an EndDevice for each, with LFDI, SFDI and nothing of its own; it finds them listed, and PUTs what they
    say of themselves there. One that is taken out again is DELETEd.
    Clause: CSIP 2.1 6.1 (in-band registration), P20, P22; IEEE 2030.5-2018 10.3.3, annex A (EndDeviceList).
    """
    async with agg.head_end() as server:
        server.poll_s = 20
        del server.devices[1:]
        async with agg.aggregating(enrol="offer", leaves=False) as node:
            await agg.register_leaves()
            await agg.until(lambda: len(server.asked("POST", "^/e$")) == 2 and server.asked("GET", "^/e/2/fsa$"))
            await agg.take_out("eda2")
            await agg.until(lambda: server.asked("DELETE", r"^/e/\d+$"))
            assert node.relaying.unwalked() == []
    posted = {one.text("lFDI"): int(one.text("sFDI")) for one in server.asked("POST", "^/e$")}
    lfdis = {leaf.lfdi for leaf in agg.leaves.values()}
    assert posted.keys() == lfdis
    assert all(sum(map(int, str(sfdi))) % 10 == 0 and sfdi // 10 == int(lfdi[:9], 16) for lfdi, sfdi in posted.items())
    (gone,) = server.asked("DELETE", r"^/e/\d+$")
    assert [one.lfdi for one in server.devices if one and one.lfdi != agg.lfdi] == [agg.leaves["eda1"].lfdi], gone.path


async def test_util_003_agg_reads_its_groups_and_subscribes(figure):
    """Groups of an aggregator.

    Stimulus: four DERs in a tree five levels deep: their own points, two transformers, two segments, two feeders, one system.
    Required: each program is read and its list of controls subscribed to once, though up to four DERs share it; each DER obeys
    the default of its own point.
    Clause: CSIP 2.1 P23-P27, P31-P33, P46-P51, 5.2.3, G16.
    """
    agg, tree = figure
    async with agg.head_end() as server, agg.aggregating():
        await agg.until(lambda: all(leaf.device.holds for leaf in agg.leaves.values()))
        await agg.until(
            lambda: {f"/p/{program.id}/derc" for program in tree.programs.values()} <= set(server.watched())
        )
        assert len(server.watched()) == len(set(server.watched()))
    assert len({tuple(leaf.device.holds.items()) for leaf in agg.leaves.values()}) == 4
    for program in tree.programs.values():
        assert len(server.asked("GET", f"^/p/{program.id}/derc$")) == 1


async def test_util_004_agg_carries_an_event_to_every_der_of_a_group_and_to_no_other(figure):
    """Fan-out of an event.

    Stimulus: an event of one segment, and later one of the system, each told of by its list.
    Required: the two DERs of the segment carry out the first, all four the second; each answers 1, 2, 3 for what concerns it.
    Clause: CSIP 2.1 G5, G8, P30, P32; IEEE 2030.5-2018 10.2.3.5.
    """
    agg, tree = figure
    async with agg.head_end() as server, agg.aggregating():
        await agg.until(
            lambda: {f"/p/{tree.programs[name].id}/derc" for name in ("SGA", "SY")} <= set(server.watched())
        )
        start = int(agg.now()) + LEAD_S
        segment = Event(mrid("A1"), start, 30, {"opModFixedW": 2000})
        system = Event(mrid("A2"), start + 60, 30, {"opModFixedW": 3000})
        tree.programs["SGA"].events.append(segment)
        assert await server.tell(f"/p/{tree.programs['SGA'].id}/derc") == [204]
        tree.programs["SY"].events.append(system)
        assert await server.tell(f"/p/{tree.programs['SY'].id}/derc") == [204]
        await agg.until(lambda: len([one for one in server.responses() if one[1:3] == (system.mrid, 3)]) == 4)
    for name, leaf in agg.leaves.items():
        answers = {subject: [status for _, status in found] for subject, found in agg.answers(leaf.lfdi).items()}
        assert answers == ({segment.mrid: [1, 2, 3]} if name in Figure.SEGMENT_A else {}) | {system.mrid: [1, 2, 3]}
