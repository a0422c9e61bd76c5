"""CORE rows, the DER client under test: polling, time, its own description, assignments, programs, randomization, Responses."""

import itertools
from decimal import Decimal

import pytest
from bench.documents import Assignment, Curve, Event, Program, mrid
from bench.schema import faults_of

pytestmark = pytest.mark.csip

SYSTEM = mrid("5E")


def one_program(*events, default=None, curves=()):
    return [Assignment(mrid("F1"), [Program(SYSTEM, 10, list(events), default, list(curves))])]


async def test_core_003_der_polls_at_the_rate_the_server_states(der):
    """Polling.

    Stimulus: every resource states pollRate 20, then 40.
    Required: the client comes back after as many seconds as are stated, neither sooner nor half as late again.
    Clause: CSIP 2.1 P34-P38; IEEE 2030.5-2018 pollRate.
    """
    async with der.head_end() as server:
        server.poll_s = 20
        async with der.following():
            await der.until(lambda: len(server.asked("GET", "^/dcap$")) == 5)
            server.poll_s = 40
            await der.until(lambda: len(server.asked("GET", "^/dcap$")) == 9)
    at = [one.at for one in server.asked("GET", "^/dcap$")]
    gaps = [after - before for before, after in itertools.pairwise(at)]
    assert all(20 <= gap + 1 < 30 for gap in gaps[1:4]), gaps
    assert all(40 <= gap + 1 < 60 for gap in gaps[6:]), gaps


async def test_core_005_der_keeps_the_time_of_the_server(der):
    """Basic time.

    Stimulus: Time of quality 7, two minutes ahead of the client's own clock; an event in that time.
    Required: the event begins and ends at the server's time, and the Responses bear it.
    Clause: CSIP 2.1 P3; IEEE 2030.5-2018 11.2 (Time), 10.2.3 (events by the time of their server).
    """
    async with der.head_end() as server:
        server.clock_error_s = 120
        start = int(der.now()) + 120 + 60
        event = Event(mrid("A1"), start, 30, {"opModMaxLimW": 6000})
        server.devices[0].assignments = one_program(event)
        async with der.following():
            await der.until(lambda: 3 in der.statuses(event.mrid))
    (begun, _), (ended, _) = der.device.history[-2:]
    # Time is told in whole seconds, so the client cannot know it better than that
    assert -1.5 <= begun + 120 - start < 15
    assert -1.5 <= ended + 120 - (start + 30) < 15
    created = {status: at for at, _, status, _ in server.responses()}
    assert -2 <= created[2] - start < 15
    assert -2 <= created[3] - (start + 30) < 15


DESCRIPTION = {"dercap": "DERCapability", "derg": "DERSettings", "ders": "DERStatus", "dera": "DERAvailability"}


async def test_core_009_der_puts_all_of_its_description_at_the_links_it_was_given(der):
    """Advanced EndDevice.

    Stimulus: an EndDevice with links to DeviceInformation and to a DER with its four resources.
    Required: each is PUT once at the start, valid by the schema, under the client's own LFDI; status again when it changes.
    Clause: CSIP 2.1 P4, P43, P44, G28-G30; IEEE 2030.5-2018 10.10.4.
    """
    async with der.head_end() as server:
        paths = {f"/e/0/der/1/{end}": name for end, name in DESCRIPTION.items()} | {"/e/0/di": "DeviceInformation"}
        async with der.following():
            await der.until(lambda: paths.keys() <= server.kept.keys())
            await der.walked(2)
            assert {path: len(server.kept[path]) for path in paths} == dict.fromkeys(paths, 1)
            der.device.status["inverter_status"] = 5
            await der.until(lambda: len(server.kept["/e/0/der/1/ders"]) == 2)
    for path, name in paths.items():
        for put in server.kept[path]:
            assert put.document.tag.endswith(f"}}{name}")
            assert faults_of(put.body) == []
    assert server.kept["/e/0/di"][0].text("lFDI") == der.lfdi


async def test_core_010_der_reads_the_assignments_of_seven_levels(der):
    """Function set assignments, seven levels.

    Stimulus: seven assignments, one for each level of the network, each with one program; all seven defaults differ.
    Required: every program, with its controls and its default, is read; the default of the lowest primacy holds, and the
    next one when that program is taken away.
    Clause: CSIP 2.1 P25-P27, 5.2.3; IEEE 2030.5-2018 10.10.4.3 (primacy).
    """
    await assert_every_assignment_is_read(der, 7)


async def test_core_011_der_reads_fifteen_assignments(der):
    """Function set assignments, as many as CSIP asks for.

    Stimulus and requirement as for seven, with fifteen.
    Clause: CSIP 2.1 P24, P25, P27.
    """
    await assert_every_assignment_is_read(der, 15)


async def assert_every_assignment_is_read(der, count):
    programs = [
        Program(mrid(f"5E{n:02X}"), 1 + n, [], {"opModMaxLimW": 1000 + 100 * n, **({"setGradW": 50} if n == 1 else {})})
        for n in range(count)
    ]
    async with der.head_end() as server:
        assignments = [Assignment(mrid(f"F{n:02X}"), [program]) for n, program in enumerate(programs)]
        server.devices[0].assignments = assignments
        async with der.following():
            await der.until(lambda: der.device.holds)
            assert {f"/p/{p.id}/{end}" for p in programs for end in ("dderc",)} <= {one.path for one in server.requests}
            assert {f"/e/0/fsa/{n}/derp" for n in range(count)} <= {one.path for one in server.requests}
            # each level has its default: the strongest holds, and what it lacks comes from the next
            assert der.device.holds == {"max_lim_w_pct": 10, "grad_w_pct_per_s": Decimal("0.5")}
            server.devices[0].assignments = assignments[2:]
            await der.until(lambda: der.device.holds == {"max_lim_w_pct": 12})
            events = [Event(mrid(f"A{n:02X}"), int(der.now()) + 40, 30, {"opModFixedW": 100 * n}) for n in range(count)]
            for program, event in zip(programs, events, strict=True):
                program.events = [event]
            await der.until(lambda: 3 in der.statuses(events[2].mrid))
            # every level was heard: its event was received, and the strongest won
            assert {subject for _, subject, status, _ in server.responses() if status == 1} == {
                event.mrid for event in events[2:]
            }
    assert der.statuses(events[2].mrid) == [1, 2, 3]
    assert {tuple(der.statuses(event.mrid)) for event in events[3:]} == {(1, 14)}


async def test_core_012_der_carries_out_a_curve_of_ten_points(der):
    """DERProgram with a curve.

    Stimulus: a default with a volt-var curve, then an event with another, of ten points each, the most a curve may have.
    Required: the device holds exactly those points, each while it is due.
    Clause: CSIP 2.1 P29, table 9; IEEE 2030.5-2018 10.10.4.4 (DERCurve), DERCurveType 11.
    """
    usual = Curve(mrid("C1"), 11, [(90 + 2 * n, 44 - 9 * n) for n in range(10)], y_ref_type=3)
    other = Curve(mrid("C2"), 11, [(900 + 20 * n, 300 - 60 * n) for n in range(10)], x_multiplier=-1, y_multiplier=-1)
    async with der.head_end() as server:
        event = Event(mrid("A1"), int(der.now()) + 60, 40, {"opModVoltVar": other})
        server.devices[0].assignments = one_program(event, default={"opModVoltVar": usual}, curves=[usual, other])
        async with der.following():
            await der.until(lambda: 3 in der.statuses(event.mrid))
            await der.until(lambda: len(der.device.history) == 3)
    held = [[(point.x, point.y) for point in values["volt_var"].points] for _, values in der.device.history]
    assert held == [usual.points, [(x / 10, y / 10) for x, y in other.points], usual.points]


async def test_core_013_der_handles_ten_programs_of_ten_controls(der):
    """Ten programs with ten controls each.

    Stimulus: a hundred controls, known ahead; those of one slot of time share a function and differ by program.
    Required: all are received; in each slot the one of the lowest primacy is carried out, the others are answered 14.
    Clause: CSIP 2.1 G10, P24; IEEE 2030.5-2018 10.2.3, 10.10.4.3.
    """
    async with der.head_end() as server:
        server.poll_s = 600
        first, slot = int(der.now()) + 60, 20
        programs = [
            Program(
                mrid(f"5E{p:X}"),
                1 + p,
                [
                    Event(mrid(f"A{p:X}{n:X}"), first + n * slot, slot, {"opModMaxLimW": 900 * (1 + p) + 10 * n})
                    for n in range(10)
                ],
            )
            for p in range(10)
        ]
        server.devices[0].assignments = [Assignment(mrid("F1"), programs)]
        async with der.following():
            last = programs[0].events[9]
            await der.until(lambda: 3 in der.statuses(last.mrid))
            await der.until(lambda: len(server.responses()) == 10 * 3 + 90 * 2)
    assert {tuple(der.statuses(event.mrid)) for event in programs[0].events} == {(1, 2, 3)}
    assert {tuple(der.statuses(event.mrid)) for p in programs[1:] for event in p.events} == {(1, 14)}
    assert [values.get("max_lim_w_pct") for _, values in der.device.history if values] == [
        Decimal(90 + n) / 10 for n in range(10)
    ]


async def test_core_014_der_states_settings_that_fit_its_nameplate(der):
    """DER settings.

    Stimulus: links to DERCapability and DERSettings; a device that is set below its nameplate.
    Required: both are PUT; no set value is above its rating; what is enabled is supported; the function that was
    refused as unsupported is not among the modes, those carried out are.
    Clause: CSIP 2.1 P43, table 12; IEEE 2030.5-2018 10.10.4.2 (DERCapability, DERSettings), DERControlType.
    """
    async with der.head_end() as server:
        start = int(der.now()) + 40
        carried = Event(mrid("A1"), start, 20, {"opModMaxLimW": 6000})
        strange = Event(mrid("A2"), start, 20, {"opModFixedVar": "<refType>2</refType><value>10</value>"})
        server.devices[0].assignments = one_program(carried, strange)
        async with der.following():
            await der.until(lambda: "/e/0/der/1/derg" in server.kept and 3 in der.statuses(carried.mrid))
    (capability,), (settings,) = server.kept["/e/0/der/1/dercap"], server.kept["/e/0/der/1/derg"]
    watts = {name: scaled(one, name) for one, name in ((capability, "rtgMaxW"), (settings, "setMaxW"))}
    assert watts == {"rtgMaxW": 10_000, "setMaxW": 9000}
    assert scaled(settings, "setMaxVA") <= scaled(capability, "rtgMaxVA")
    supported, enabled = (
        int(one.text(name), 16) for one, name in ((capability, "modesSupported"), (settings, "modesEnabled"))
    )
    assert enabled & ~supported == 0
    assert supported >> 20 & 1
    assert not supported >> 6 & 1
    assert der.statuses(strange.mrid) == [252]
    assert abs(int(settings.text("updatedTime")) - settings.at) < 30
    assert faults_of(capability.body) + faults_of(settings.body) == []


def scaled(request, name):
    found = request.document.find(f"{{*}}{name}")
    return int(found.find("{*}value").text) * 10 ** int(found.find("{*}multiplier").text)


async def test_core_021_der_randomizes_within_the_bounds_it_is_given(der):
    """Randomized events.

    Stimulus: events of the same time with randomizeStart 0, +30 and -30, and one with randomizeDuration -30.
    Required: each begins within its bounds and at its own drawn moment; the one without begins at its start.
    Clause: CSIP 2.1 P30; IEEE 2030.5-2018 10.2.3.2 (randomization).
    """
    async with der.head_end() as server:
        start = int(der.now()) + 70
        exact = Event(mrid("A0"), start, 60, {"opModMaxLimW": 6000})
        late = [
            Event(mrid(f"B{n}"), start, 60, {name: value}, randomize_start=30)
            for n, (name, value) in enumerate((("opModFixedW", 100), ("opModConnect", "true")))
        ]
        early = [
            Event(mrid(f"C{n}"), start, 60, {name: value}, randomize_start=-30)
            for n, (name, value) in enumerate(
                (
                    ("opModEnergize", "true"),
                    (
                        "opModFixedPFInjectW",
                        "<displacement>95</displacement><excitation>true</excitation><multiplier>-2</multiplier>",
                    ),
                )
            )
        ]
        shorter = Event(mrid("D0"), start + 110, 60, {"opModMaxLimW": 5000}, randomize_duration=-30)
        every = [exact, *late, *early, shorter]
        server.devices[0].assignments = one_program(*every)
        async with der.following():
            await der.until(lambda: all(3 in der.statuses(event.mrid) for event in every))
    begun = {subject: at - start for at, subject, status, _ in server.responses() if status == 2}
    ended = {subject: at - start for at, subject, status, _ in server.responses() if status == 3}
    slack = 8
    assert -1 <= begun[exact.mrid] < slack
    assert all(-1 <= begun[event.mrid] < 30 + slack for event in late), begun
    assert all(-31 <= begun[event.mrid] < slack for event in early), begun
    assert len({begun[event.mrid] for event in [*late, *early]}) > 1
    assert begun[late[0].mrid] > slack or begun[late[1].mrid] > slack or begun[early[0].mrid] < -slack
    assert 139 <= ended[shorter.mrid] < 170 + slack
    assert all(tuple(der.statuses(event.mrid)) == (1, 2, 3) for event in every)


async def test_core_022_der_answers_received_started_completed_and_cancelled(der):
    """Responses.

    Stimulus: one event runs to its end, one is cancelled before it begins, one while it runs; one wants no answer at all,
    one wants to know of its receipt only.
    Required: 1, 2, 3; 1, 6; 1, 2, 6; none; 1. Each bears the client's own LFDI and is posted once, where replyTo says.
    Clause: CSIP 2.1 P30; IEEE 2030.5-2018 10.2.3.5, table 27, responseRequired.
    """
    async with der.head_end() as server:
        start = int(der.now()) + 60
        whole = Event(mrid("A1"), start, 40, {"opModMaxLimW": 6000})
        ahead = Event(mrid("A2"), start + 100, 40, {"opModMaxLimW": 5000})
        running = Event(mrid("A3"), start, 400, {"opModFixedW": 1000})
        silent = Event(mrid("A4"), start, 20, {"opModConnect": "true"}, response_required="00")
        received = Event(mrid("A5"), start, 20, {"opModEnergize": "true"}, response_required="01")
        server.devices[0].assignments = one_program(whole, ahead, running, silent, received, default={"opModFixedW": 0})
        async with der.following():
            await der.until(lambda: 2 in der.statuses(running.mrid))
            ahead.status = running.status = 2
            await der.until(lambda: der.statuses(running.mrid)[-1] == 6 and 3 in der.statuses(whole.mrid))
            await der.walked(2)
            assert "max_lim_w_pct" not in der.device.holds
            assert der.device.holds["fixed_w_pct"] == 0
    assert der.statuses(whole.mrid) == [1, 2, 3]
    assert der.statuses(ahead.mrid) == [1, 6]
    assert der.statuses(running.mrid) == [1, 2, 6]
    assert der.statuses(silent.mrid) == []
    assert der.statuses(received.mrid) == [1]
    assert {lfdi for *_, lfdi in server.responses()} == {der.lfdi}
    assert {one.path for one in server.asked("POST", "^/r")} == {"/r/0/rsp"}
    assert [fault for one in server.asked("POST", "^/r") for fault in faults_of(one.body)] == []
