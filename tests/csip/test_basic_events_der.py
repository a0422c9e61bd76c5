"""BASIC-015 to 026, the DER client under test: which of several controls it obeys, and what it answers."""

from itertools import groupby

import pytest
from bench.der import FUNCTIONS
from bench.documents import Assignment, mrid
from bench.timetable import LEAD_S, Timetable

pytestmark = pytest.mark.csip


async def play(der, row):
    """Show a gateway what a vector shows, at the vector's instants; hold what the device did and what was answered against it."""
    async with der.head_end() as server:
        table = Timetable(row, int(der.now()) + 1)
        held = []

        def show(programs):
            server.devices[0].assignments = [Assignment(mrid("F1"), programs)]

        walks = table.walks()
        show(walks[0][1])
        async with der.following(follow=f'supersede_code = "{table.supersede_code}"'):
            moments = sorted(
                [(at, 1, programs) for at, programs in walks[1:]] + [(p[1] - 1, 0, p) for p in table.periods()]
            )
            for at, is_walk, what in sorted(moments, key=lambda one: one[:2]):
                await der.sleep_until(at)
                if is_walk:
                    show(what)
                else:
                    held.append(der.device.holds)
            await der.sleep_until(table.end)
    periods = table.periods()
    wanted = [{FUNCTIONS[name]: value for name, value in values.items()} for *_, values in periods]
    assert held == wanted
    # nothing else was ever written, and nothing twice
    written = [values for values, _ in groupby([{}, *(values for _, values in der.device.history)])]
    due = [values for values, _ in groupby(wanted)]
    assert written in (due, [{}, *due])
    answered = {}
    for at, subject, status, _ in server.responses():
        answered.setdefault(subject, []).append((at, status))
    wanted_answers = table.responses()
    assert {subject: [status for _, status in found] for subject, found in answered.items()} == {
        subject: [status for _, status in found] for subject, found in wanted_answers.items()
    }
    for subject, found in answered.items():
        for (at, status), (not_before, _) in zip(found, wanted_answers[subject], strict=True):
            assert not_before - 1 <= at < not_before + LEAD_S, (subject, status)
    assert {lfdi for *_, lfdi in server.responses()} <= {der.lfdi}


async def test_basic_015_der_carries_out_24_controls_and_two_cancellations(der):
    """Twenty-four controls.

    Stimulus: 24 controls that follow each other without a gap, known ahead; one is cancelled ahead, one while it runs.
    Required: each is carried out in its time, the cancelled ones are not or no more; 1, 2, 3; 1, 6; 1, 2, 6.
    Clause: CSIP 2.1 G10, P30; IEEE 2030.5-2018 10.2.3.
    """
    await play(der, "basic_015")


async def test_basic_016_der_combines_the_defaults_of_two_programs(der):
    """Two programs with defaults, no control.

    Required: for each function the default of the lower primacy holds, what it lacks comes from the other; no Response.
    Clause: CSIP 2.1 G6, G7, G11, G13; IEEE 2030.5-2018 10.10.4.3, DefaultDERControl.
    """
    await play(der, "basic_016")


async def test_basic_017_der_carries_out_a_control_without_a_default(der):
    """One program with a control, no default.

    Required: the function is commanded while the control lasts and released after it; 1, 2, 3.
    Clause: CSIP 2.1 G8, G9, P30; IEEE 2030.5-2018 10.2.3.
    """
    await play(der, "basic_017")


async def test_basic_018_der_returns_to_the_default_after_a_control(der):
    """One program with a default and a control.

    Required: default, control, default; 1, 2, 3.
    Clause: CSIP 2.1 G8, G11; IEEE 2030.5-2018 10.2.3.
    """
    await play(der, "basic_018")


async def test_basic_019_der_carries_out_two_controls_one_after_the_other(der):
    """Two controls of one program that do not overlap.

    Required: each in its time, the default between them; 1, 2, 3 for each.
    Clause: CSIP 2.1 G9, G11; IEEE 2030.5-2018 10.2.3.
    """
    await play(der, "basic_019")


async def test_basic_020_der_carries_out_controls_of_two_programs_one_after_the_other(der):
    """Controls of two programs that do not overlap.

    Required: each in its time, whatever its primacy; 1, 2, 3 for each.
    Clause: CSIP 2.1 G9, G13; IEEE 2030.5-2018 10.2.3, 10.10.4.3.
    """
    await play(der, "basic_020")


async def test_basic_021_der_supersedes_a_control_by_a_local_one_known_ahead(der):
    """Two programs, similar controls that overlap, both known ahead.

    Stimulus: the local program's control begins first and ends first.
    Required: the local one is carried out; the other never, not even after it; 1, 2, 3 and 1, 7.
    Clause: CSIP 2.1 G13, 7.10; IEEE 2030.5-2018 10.2.3.4 (supersession), table 27.
    """
    await play(der, "basic_021")


async def test_basic_022_der_supersedes_by_primacy_whichever_came_first(der):
    """Two programs, similar controls that overlap, known in the other order.

    Stimulus: the weaker program's control is created later, begins at the same time and lasts longer.
    Required: as before: primacy decides, not age; 1, 2, 3 and 1, 7.
    Clause: CSIP 2.1 G13, 7.10; IEEE 2030.5-2018 10.2.3.4, table 27.
    """
    await play(der, "basic_022")


async def test_basic_023_der_supersedes_a_control_in_flight_and_does_not_resume_it(der):
    """Two programs, similar controls, the local one comes while the other runs.

    Required: the running one ends when the local one begins, and is not resumed after it; 1, 2, 7 and 1, 2, 3.
    Clause: CSIP 2.1 G13, 7.10; IEEE 2030.5-2018 10.2.3.4, table 27.
    """
    await play(der, "basic_023")


async def test_basic_024_der_runs_independent_controls_known_ahead_side_by_side(der):
    """Two programs, independent controls that overlap, both known ahead.

    Required: both are carried out for the whole of their time; 1, 2, 3 for each.
    Clause: CSIP 2.1 G15, 7.10; IEEE 2030.5-2018 10.2.3.4.
    """
    await play(der, "basic_024")


async def test_basic_025_der_runs_independent_controls_in_the_other_order_side_by_side(der):
    """As before, the weaker program's control created later.

    Required: both are carried out; 1, 2, 3 for each.
    Clause: CSIP 2.1 G15, 7.10; IEEE 2030.5-2018 10.2.3.4.
    """
    await play(der, "basic_025")


async def test_basic_026_der_runs_an_independent_control_beside_one_in_flight(der):
    """As before, the local control comes while the other runs.

    Required: the running one goes on; 1, 2, 3 for each.
    Clause: CSIP 2.1 G15, 7.10; IEEE 2030.5-2018 10.2.3.4.
    """
    await play(der, "basic_026")
