"""BASIC rows, the aggregator under test; the event matrix is that of the AGG rows."""

import pytest
from bench.agg import LEAD_S
from bench.documents import Assignment, Event, Program, mrid
from bench.schema import faults_of

pytestmark = pytest.mark.csip

DER_ROLE = 0x49
"""roleFlags of a MirrorUsagePoint: a mirror, of a DER, submetered."""
TIERS = ("system", "sub-transmission", "substation", "feeder", "segment", "service transformer", "service point")


async def test_basic_001_agg_finds_itself_and_its_ders_by_lfdi(agg):
    """Identification.

    Stimulus: a list with the aggregator's own entry last, and a PIN for each.
    Required: it takes its own entry by its LFDI, compares that PIN, and stands for the others; its DERs are let in by their own
    LFDI and find the PIN their server gave them.
    Clause: CSIP 2.1 P14, P17, P20, P22; IEEE 2030.5-2018 6.3.4, 6.3.5.
    """
    async with agg.head_end() as server:
        program = Program(mrid("5E"), 10, [], {"opModMaxLimW": 8000})
        own = server.devices.pop(0)
        server.devices.append(own)
        for device in server.devices[:2]:
            device.assignments = [Assignment(mrid("F1"), [program])]
        async with agg.aggregating():
            await agg.until(lambda: all(leaf.device.holds for leaf in agg.leaves.values()))
            await agg.until(lambda: server.asked("POST", "^/e/2/sub$"))
    assert {one.peer for one in server.requests} == {agg.lfdi}
    assert server.asked("GET", "^/e/2/fsa") == []


async def test_basic_001_agg_stands_for_nobody_at_a_server_with_another_pin(agg):
    """Identification, refused.

    Stimulus: the aggregator's own Registration has a PIN that is not the configured one.
    Required: it reads nothing of its DERs and subscribes to nothing.
    Clause: IEEE 2030.5-2018 6.3.5, 10.3.4.
    """
    async with agg.head_end() as server:
        server.devices[0].pin = 123455
        async with agg.aggregating(leaves=False, walked=False):
            await agg.until(lambda: len(server.asked("GET", "^/e/0/rg$")) >= 2)
    assert server.asked("", "fsa|/p/|/sub") == server.asked("POST") == server.asked("PUT") == []


async def test_basic_002_agg_lets_each_der_obey_the_most_local_of_its_seven_groups(agg):
    """Group management.

    Stimulus: the programs of seven groups; the two DERs share all but the last, the service point, which each has for itself.
    Required: each DER obeys the default of its own service point; the shared programs are read once for both.
    Clause: CSIP 2.1 G5, G13, P23-P26, 5.2.3; IEEE 2030.5-2018 10.10.4.3.
    """
    first, second = agg.leaves.values()
    async with agg.head_end() as server:
        server.poll_s = 900
        shared = [
            Program(mrid(f"5E{n}"), 70 - 10 * n, [], {"opModMaxLimW": 5000 + 100 * n}) for n, _ in enumerate(TIERS[:-1])
        ]
        for number, device in enumerate(server.devices[1:]):
            local = Program(mrid(f"5F{number}"), 1, [], {"opModMaxLimW": 1000 * (1 + number)})
            device.assignments = [Assignment(mrid(f"F{number}"), [*shared, local])]
        async with agg.aggregating():
            await agg.until(lambda: first.device.holds and second.device.holds)
    assert first.device.holds == {"max_lim_w_pct": 10}
    assert second.device.holds == {"max_lim_w_pct": 20}
    for program in shared:
        assert len(server.asked("GET", f"^/p/{program.id}/dderc$")) == 1


async def test_basic_003_agg_follows_when_one_of_its_ders_is_switched_over(agg):
    """Group management with a change of topology.

    Stimulus: while the event of their feeder runs, one of the two DERs is moved to another feeder, and its list is told of.
    Required: that DER leaves the one event and joins the other; the DER that stays is not touched.
    Clause: CSIP 2.1 G5, P23, P46, 5.2.3; IEEE 2030.5-2018 10.10.4.3.
    """
    first, second = agg.leaves.values()
    async with agg.head_end() as server:
        server.poll_s = 900
        start = int(agg.now()) + LEAD_S
        old = Event(mrid("A1"), start, 150, {"opModMaxLimW": 6000})
        new = Event(mrid("A2"), start, 150, {"opModFixedW": 2000})
        feeder_a = Program(mrid("FA"), 10, [old], {"opModMaxLimW": 9000})
        feeder_b = Program(mrid("FB"), 10, [new], {"opModMaxLimW": 8000})
        for device in server.devices[1:]:
            device.assignments = [Assignment(mrid("F1"), [feeder_a])]
        async with agg.aggregating():
            await agg.until(lambda: first.device.holds == second.device.holds == {"max_lim_w_pct": 60})
            server.devices[2].assignments = [Assignment(mrid("F1"), [feeder_b])]
            assert await server.tell("/e/2/fsa") == [204]
            await agg.until(lambda: second.device.holds == {"max_lim_w_pct": 80, "fixed_w_pct": 20})
            assert first.device.holds == {"max_lim_w_pct": 60}
            await agg.until(lambda: len(agg.answers(second.lfdi).get(new.mrid, [])) == 3)
            await agg.until(lambda: len(agg.answers(first.lfdi).get(old.mrid, [])) == 3)
    assert [status for _, status in agg.answers(first.lfdi)[old.mrid]] == [1, 2, 3]
    assert [status for _, status in agg.answers(second.lfdi)[old.mrid]] == [1, 2]
    assert [status for _, status in agg.answers(second.lfdi)[new.mrid]] == [1, 2, 3]


async def test_basic_015_agg_carries_24_controls_and_two_cancellations(agg):
    """Twenty-four controls.

    Stimulus: 24 controls that follow each other without a gap; one is cancelled ahead, one while it runs, each told of.
    Required: each DER carries out each in its time and the cancelled ones not or no more; 1, 2, 3; 1, 6; 1, 2, 6.
    Clause: CSIP 2.1 G10, P30; IEEE 2030.5-2018 10.2.3.
    """
    async with agg.head_end() as server:
        server.poll_s = 900
        start = int(agg.now()) + LEAD_S
        events = [Event(mrid(f"C{n:02d}"), start + 16 * n, 16, {"opModMaxLimW": 100 * (n + 1)}) for n in range(23)]
        events.append(Event(mrid("C23"), start + 16 * 23, 600, {"opModMaxLimW": 2400}))
        for device in server.devices[1:]:
            device.assignments = [Assignment(mrid("F1"), [Program(mrid("5E"), 10, events, {"opModMaxLimW": 10_000})])]
        async with agg.aggregating():
            await agg.until(lambda: len(server.responses()) == 48)
            events[15].status = 2
            assert await server.tell("/p/5e/derc") == [204]
            await agg.until(lambda: len(server.responses()) >= 50 and events[23].status_at(agg.now()) == 1)
            await agg.until(lambda: all(2 in answered(agg, leaf, events[23]) for leaf in agg.leaves.values()))
            events[23].status = 2
            assert await server.tell("/p/5e/derc") == [204]
            await agg.until(lambda: all(6 in answered(agg, leaf, events[23]) for leaf in agg.leaves.values()))
            await agg.until(lambda: all(leaf.device.holds == {"max_lim_w_pct": 100} for leaf in agg.leaves.values()))
    for leaf in agg.leaves.values():
        found = [answered(agg, leaf, event) for event in events]
        assert found == [[1, 2, 3]] * 15 + [[1, 6]] + [[1, 2, 3]] * 7 + [[1, 2, 6]]
        held = [values["max_lim_w_pct"] for _, values in leaf.device.history]
        assert held == [100, *range(1, 16), 100, *range(17, 25), 100]


def answered(agg, leaf, event):
    return [status for _, status in agg.answers(leaf.lfdi).get(event.mrid, [])]


async def test_basic_028_agg_hands_on_every_change_of_status_of_its_ders(agg):
    """Inverter status.

    Stimulus: the two inverters change their states at different times.
    Required: DERStatus is PUT to the EndDevice of the one that changed, with its new state; the other's is left alone.
    Clause: CSIP 2.1 G30, P44, table 13; IEEE 2030.5-2018 10.10.4.2 (DERStatus).
    """
    first, second = agg.leaves.values()
    async with agg.head_end() as server, agg.aggregating():
        await agg.until(lambda: {"/e/1/der/1/ders", "/e/2/der/1/ders"} <= server.kept.keys())
        for count, state in enumerate((5, 1, 4), start=2):
            second.device.status["inverter_status"] = state
            await agg.until(lambda count=count: len(server.kept["/e/2/der/1/ders"]) == count)
    states = {
        number: [
            int(put.document.find("{*}inverterStatus/{*}value").text) for put in server.kept[f"/e/{number}/der/1/ders"]
        ]
        for number in (1, 2)
    }
    assert states == {1: [4], 2: [4, 5, 1, 4]}
    assert [
        fault for number in (1, 2) for put in server.kept[f"/e/{number}/der/1/ders"] for fault in faults_of(put.body)
    ] == []
    assert first.lfdi != second.lfdi


async def test_basic_029_agg_mirrors_the_meter_of_each_of_its_ders(agg):
    """Meter readings.

    Stimulus: two DERs of different output; the mirrors state postRate 30.
    Required: one MirrorUsagePoint for each DER under its own LFDI, as a DER's; its readings of W, var, Hz and V, scaled, with
    their times, and nothing of the other's among them.
    Clause: CSIP 2.1 G19, G23-G27, P41, P42; IEEE 2030.5-2018 10.11.3.
    """
    first, second = agg.leaves.values()
    first.device.watts, second.device.watts = 4200, 1700
    async with agg.head_end() as server, agg.aggregating():
        await agg.until(lambda: len(server.mirrors) == 2)
        await agg.until(lambda: all(len(server.kept.get(at, [])) >= 2 for at in server.mirrors))
    assert {lfdi.upper() for _, lfdi in server.mirrors.values()} == {first.lfdi, second.lfdi}
    assert {int(one.text("roleFlags"), 16) for one in server.kept["/m"]} == {DER_ROLE}
    for at, (name, lfdi) in server.mirrors.items():
        mirror = next(one for one in server.kept["/m"] if one.text("mRID") == name)
        types = {
            meter.find("{*}mRID").text: (
                meter.find(".//{*}uom").text,
                int(meter.find(".//{*}powerOfTenMultiplier").text),
            )
            for one in [mirror, *server.kept[at]]
            for meter in one.document.iter("{*}MirrorMeterReading")
            if meter.find(".//{*}uom") is not None
        }
        values = {}
        for one in server.kept[at]:
            assert faults_of(one.body) == []
            for meter in one.document.iter("{*}MirrorMeterReading"):
                unit, power = types[meter.find("{*}mRID").text]
                values.setdefault(unit, set()).update(
                    round(int(reading.find("{*}value").text) * 10**power, 2) for reading in meter.iter("{*}Reading")
                )
        watts = 4200 if lfdi.upper() == first.lfdi else 1700
        assert values == {"38": {watts}, "63": {-300}, "33": {50.01}, "29": {230.5}}
