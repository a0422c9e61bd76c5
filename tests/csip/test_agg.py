"""AGG rows, the aggregator under test: what it is told reaches the DERs it concerns and no other, and each answers for itself."""

from itertools import groupby

import pytest
from bench.agg import LEAD_S, STEP_S, WALK_S
from bench.der import FUNCTIONS
from bench.documents import Assignment, Event, Program, mrid
from bench.timetable import Timetable

pytestmark = pytest.mark.csip

SYSTEM, LOCAL = mrid("5E"), mrid("5A")


async def play(agg, row, *, system=True, code="14"):
    """Show a head-end what a vector shows and tell of it; hold two DERs against it: one under all of it, one outside the local program.

    Without `system` the second one is under no program at all. Nothing is polled: pollRate is a quarter of an hour.
    """
    inside, outside = agg.leaves.values()
    async with agg.head_end() as server:
        server.poll_s = 900
        table = Timetable(row, int(agg.now()) + 1, code=code, lead_s=LEAD_S, walk_s=WALK_S, step_s=STEP_S)
        held = []

        def show(programs):
            server.devices[1].assignments = [Assignment(mrid("F1"), programs)]
            shared = [one for one in programs if one.mrid == SYSTEM]
            server.devices[2].assignments = [Assignment(mrid("F2"), shared)] if system else []

        walks = table.walks()
        show(walks[0][1])
        async with agg.aggregating():
            moments = [(at, 1, programs) for at, programs in walks[1:]]
            moments += [(until - 1, 0, None) for _, until, _ in table.periods()]
            for at, is_walk, programs in sorted(moments, key=lambda one: one[:2]):
                await agg.sleep_until(at)
                if is_walk:
                    show(programs)
                    for one in programs:
                        assert set(await server.tell(f"/p/{one.id}/derc")) == {204}
                else:
                    held.append(inside.device.holds)
            await agg.sleep_until(table.end)
    wanted = [{FUNCTIONS[name]: value for name, value in values.items()} for *_, values in table.periods()]
    assert held == wanted
    written = [values for values, _ in groupby([{}, *(values for _, values in inside.device.history)])]
    due = [values for values, _ in groupby(wanted)]
    assert written in (due, [{}, *due])
    assert statuses(agg.answers(inside.lfdi)) == statuses(table.responses())
    for subject, found in agg.answers(inside.lfdi).items():
        for (at, status), (not_before, _) in zip(found, table.responses()[subject], strict=True):
            assert not_before - 1 <= at < not_before + LEAD_S, (subject, status)
    shared = {e.mrid: e for _, programs in walks for p in programs for e in p.events if system and p.mrid == SYSTEM}
    assert statuses(agg.answers(outside.lfdi)) == {name: [1, 2, 3] for name in shared}
    begun = [at for at, values in outside.device.history if values]
    assert all(any(-1 <= at - e.start < STEP_S for at in begun) for e in shared.values())
    assert {lfdi for *_, lfdi in server.responses()} <= {inside.lfdi, outside.lfdi}
    return server


def statuses(answers):
    return {subject: [status for _, status in found] for subject, found in answers.items()}


async def test_agg_001_agg_hears_of_a_new_end_device_by_its_subscription(agg):
    """Subscription to the EndDeviceList.

    Stimulus: the aggregator's entry has a SubscriptionListLink; later a DER is added to its list and it is notified.
    Required: it subscribes to the EndDeviceList before anything is told; after the notice, without a poll, the new DER is under
    its group's control and answers under its own LFDI.
    Clause: CSIP 2.1 P39, P46, G16; IEEE 2030.5-2018 9.5 (subscription), 10.3.
    """
    first, second = agg.leaves.values()
    async with agg.head_end() as server:
        server.poll_s = 900
        late = server.devices.pop()
        program = Program(SYSTEM, 10, [], {"opModMaxLimW": 8000})
        server.devices[1].assignments = late.assignments = [Assignment(mrid("F1"), [program])]
        async with agg.aggregating():
            await agg.until(lambda: first.device.holds and "/e" in server.watched())
            assert second.device.holds == {}
            program.events = [Event(mrid("A1"), int(agg.now()) + 90, 30, {"opModMaxLimW": 6000})]
            server.devices.append(late)
            assert await server.tell("/e") == [204]
            assert await server.tell(f"/p/{program.id}/derc") == [204]
            await agg.until(lambda: 3 in [status for _, status in agg.answers(second.lfdi).get(mrid("A1"), [])])
    assert len(server.asked("GET", "^/dcap$")) == 2
    assert statuses(agg.answers(second.lfdi)) == {mrid("A1"): [1, 2, 3]}


async def test_agg_002_agg_combines_the_defaults_of_two_programs_by_der(agg):
    """Two programs with defaults, no control.

    Required: the DER under both has the local default with what it lacks from the other, the one outside has the other's; no
    Response.
    Clause: CSIP 2.1 G6, G7, G11, G13, P33; IEEE 2030.5-2018 10.10.4.3.
    """
    await play(agg, "basic_016")
    (default,) = {tuple(sorted(one.items())) for _, one in agg.leaves["eda2"].device.history}
    assert dict(default) == {"max_lim_w_pct": 100, "grad_w_pct_per_s": pytest.approx(0.5)}


async def test_agg_003_agg_carries_a_control_to_the_ders_of_its_node_alone(agg):
    """One program with a control, no default.

    Required: the DER under it carries it out and answers 1, 2, 3; the one outside holds nothing and answers nothing.
    Clause: CSIP 2.1 G8, G9, P30, P32; IEEE 2030.5-2018 10.2.3.
    """
    await play(agg, "basic_017", system=False)
    assert agg.leaves["eda2"].device.holds == {}


async def test_agg_004_agg_returns_to_the_default_after_a_control_by_der(agg):
    """One program with a default and a control.

    Required: default, control, default for the DER under it; nothing for the other.
    Clause: CSIP 2.1 G8, G11; IEEE 2030.5-2018 10.2.3.
    """
    await play(agg, "basic_018", system=False)
    assert agg.leaves["eda2"].device.holds == {}


async def test_agg_005_agg_carries_two_controls_one_after_the_other_by_der(agg):
    """Two controls of one program that do not overlap.

    Required: each in its time for both DERs under it; each answers 1, 2, 3 for each.
    Clause: CSIP 2.1 G9, G11; IEEE 2030.5-2018 10.2.3.
    """
    await play(agg, "basic_019")


async def test_agg_006_agg_carries_controls_of_two_programs_one_after_the_other_by_der(agg):
    """Controls of two programs that do not overlap.

    Required: both for the DER under both programs, one for the other; 1, 2, 3 for each.
    Clause: CSIP 2.1 G9, G13; IEEE 2030.5-2018 10.2.3, 10.10.4.3.
    """
    await play(agg, "basic_020")


async def test_agg_007_agg_supersedes_by_a_local_control_known_ahead_by_der(agg):
    """Two programs, similar controls that overlap, both known ahead.

    Required: under both programs the local one is carried out, the other is answered 14; outside it runs to its end.
    Clause: CSIP 2.1 G13, 7.10; IEEE 2030.5-2018 10.2.3.4, table 27.
    """
    await play(agg, "basic_021")


async def test_agg_008_agg_supersedes_by_primacy_whichever_came_first_by_der(agg):
    """Two programs, similar controls that overlap, known in the other order.

    Required: as before: primacy decides; 14 under both programs, 1, 2, 3 outside.
    Clause: CSIP 2.1 G13, 7.10; IEEE 2030.5-2018 10.2.3.4, table 27.
    """
    await play(agg, "basic_022")


async def test_agg_009_agg_supersedes_a_control_in_flight_by_der(agg):
    """Two programs, similar controls, the local one comes while the other runs.

    Required: under both programs the running one ends with 7 and is not resumed; outside it runs to its end.
    Clause: CSIP 2.1 G13, 7.10; IEEE 2030.5-2018 10.2.3.4, table 27.
    """
    await play(agg, "basic_023")


async def test_agg_010_agg_runs_independent_controls_known_ahead_side_by_side_by_der(agg):
    """Two programs, independent controls that overlap, both known ahead.

    Required: both for the DER under both, one for the other; 1, 2, 3 for each.
    Clause: CSIP 2.1 G15, 7.10; IEEE 2030.5-2018 10.2.3.4.
    """
    await play(agg, "basic_024")


async def test_agg_011_agg_runs_independent_controls_in_the_other_order_by_der(agg):
    """As before, the weaker program's control created later.

    Required: both for the DER under both, one for the other; 1, 2, 3 for each.
    Clause: CSIP 2.1 G15, 7.10; IEEE 2030.5-2018 10.2.3.4.
    """
    await play(agg, "basic_025")


async def test_agg_012_agg_runs_an_independent_control_beside_one_in_flight_by_der(agg):
    """As before, the local control comes while the other runs.

    Required: the running one goes on for both DERs; 1, 2, 3 for each.
    Clause: CSIP 2.1 G15, 7.10; IEEE 2030.5-2018 10.2.3.4.
    """
    await play(agg, "basic_026")
