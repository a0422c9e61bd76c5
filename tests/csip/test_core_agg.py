"""CORE rows, the aggregator under test."""

import itertools

import pytest
from bench.documents import Assignment, Curve, Event, Program, mrid
from bench.schema import faults_of

pytestmark = pytest.mark.csip

SYSTEM = mrid("5E")


def assign(server, *assignments):
    """Assign the same to all DERs of the aggregator."""
    for device in server.devices[1:]:
        device.assignments = list(assignments)


def one_program(*events, default=None, curves=()):
    return Assignment(mrid("F1"), [Program(SYSTEM, 10, list(events), default, list(curves))])


def statuses(agg, event):
    """Give what each DER answered to an event."""
    return {
        name: [status for _, status in agg.answers(leaf.lfdi).get(event.mrid, [])] for name, leaf in agg.leaves.items()
    }


async def test_core_003_agg_polls_at_the_rate_the_server_states(agg):
    """Polling, where nothing can be subscribed to.

    Stimulus: the head-end takes no subscription; every resource states pollRate 20, then 40.
    Required: the aggregator comes back after as many seconds as are stated.
    Clause: CSIP 2.1 P37, P38, P52; IEEE 2030.5-2018 pollRate.
    """
    async with agg.head_end() as server:
        server.poll_s = 20
        assign(server, one_program())
        async with agg.aggregating(leaves=False, subscribe=False):
            await agg.until(lambda: len(server.asked("GET", "^/p/5e/derc$")) == 5)
            server.poll_s = 40
            await agg.until(lambda: len(server.asked("GET", "^/p/5e/derc$")) == 9)
    at = [one.at for one in server.asked("GET", "^/p/5e/derc$")]
    gaps = [after - before for before, after in itertools.pairwise(at)]
    assert all(20 <= gap + 1 < 30 for gap in gaps[1:4]), gaps
    assert all(40 <= gap + 1 < 60 for gap in gaps[6:]), gaps
    assert server.asked("POST", "/sub$") == []


DESCRIPTION = {"dercap": "DERCapability", "derg": "DERSettings", "ders": "DERStatus", "dera": "DERAvailability"}


async def test_core_009_agg_hands_on_what_each_of_its_ders_says_of_itself(agg):
    """Advanced EndDevice.

    Stimulus: two DERs below describe themselves differently; one changes its status.
    Required: each document arrives at the links of that DER's own EndDevice, valid, and again when it changed.
    Clause: CSIP 2.1 P4, P43, P44; IEEE 2030.5-2018 10.10.4.2.
    """
    first, second = agg.leaves.values()
    first.device.status["inverter_status"], second.device.status["inverter_status"] = 4, 5
    async with agg.head_end() as server:
        paths = {f"/e/{n}/der/1/{end}": name for n in (1, 2) for end, name in DESCRIPTION.items()}
        paths |= {"/e/1/di": "DeviceInformation", "/e/2/di": "DeviceInformation"}
        async with agg.aggregating():
            await agg.until(lambda: paths.keys() <= server.kept.keys())
            second.device.status["inverter_status"] = 7
            await agg.until(lambda: len(server.kept["/e/2/der/1/ders"]) == 2)
    for path, name in paths.items():
        for put in server.kept[path]:
            assert put.document.tag.endswith(f"}}{name}")
            assert faults_of(put.body) == []
    assert {server.kept[f"/e/{n}/di"][0].text("lFDI") for n in (1, 2)} == {first.lfdi, second.lfdi}
    assert server.kept["/e/1/di"][0].text("lFDI") == first.lfdi
    status = {
        n: [int(put.document.find("{*}inverterStatus/{*}value").text) for put in server.kept[f"/e/{n}/der/1/ders"]]
        for n in (1, 2)
    }
    assert status == {1: [4], 2: [5, 7]}


async def test_core_010_agg_carries_the_assignments_of_seven_levels_to_its_ders(agg):
    """Function set assignments, seven levels.

    Stimulus: seven assignments of one program each; their defaults differ.
    Required: the DERs below obey the default of the lowest primacy, and of the next when it is taken away and told of.
    Clause: CSIP 2.1 P25-P27, 5.2.3; IEEE 2030.5-2018 10.10.4.3.
    """
    await assert_every_assignment_is_carried(agg, 7)


async def test_core_011_agg_carries_fifteen_assignments_to_its_ders(agg):
    """Function set assignments, as many as CSIP asks for.

    Stimulus and requirement as for seven, with fifteen.
    Clause: CSIP 2.1 P24, P25, P27.
    """
    await assert_every_assignment_is_carried(agg, 15)


async def assert_every_assignment_is_carried(agg, count):
    leaf = agg.leaves["eda1"]
    async with agg.head_end() as server:
        server.poll_s = 900
        programs = [Program(mrid(f"5E{n:02X}"), 1 + n, [], {"opModMaxLimW": 1000 + 100 * n}) for n in range(count)]
        assignments = [Assignment(mrid(f"F{n:02X}"), [program]) for n, program in enumerate(programs)]
        assign(server, *assignments)
        async with agg.aggregating():
            await agg.until(lambda: leaf.device.holds == {"max_lim_w_pct": 10})
            watched = server.watched()
            assert {f"/p/{program.id}/derc" for program in programs} <= set(watched)
            assert {f"/e/1/fsa/{n}/derp" for n in range(count)} <= set(watched)
            assign(server, *assignments[1:])
            assert await server.tell("/e/1/fsa") == await server.tell("/e/2/fsa") == [204]
            await agg.until(lambda: leaf.device.holds == {"max_lim_w_pct": 11})


async def test_core_012_agg_carries_a_curve_of_ten_points_to_its_ders(agg):
    """DERProgram with a curve.

    Stimulus: a default and an event with a volt-var curve of ten points each.
    Required: the DERs below hold exactly those points, each while it is due.
    Clause: CSIP 2.1 P29, table 9; IEEE 2030.5-2018 10.10.4.4, DERCurveType 11.
    """
    usual = Curve(mrid("C1"), 11, [(90 + 2 * n, 44 - 9 * n) for n in range(10)], y_ref_type=3)
    other = Curve(mrid("C2"), 11, [(900 + 20 * n, 300 - 60 * n) for n in range(10)], x_multiplier=-1, y_multiplier=-1)
    async with agg.head_end() as server:
        event = Event(mrid("A1"), int(agg.now()) + 90, 40, {"opModVoltVar": other})
        assign(server, one_program(event, default={"opModVoltVar": usual}, curves=[usual, other]))
        async with agg.aggregating():
            await agg.until(lambda: set(map(tuple, statuses(agg, event).values())) == {(1, 2, 3)})
            await agg.until(lambda: all(len(leaf.device.history) == 3 for leaf in agg.leaves.values()))
    for leaf in agg.leaves.values():
        held = [[(point.x, point.y) for point in values["volt_var"].points] for _, values in leaf.device.history]
        assert held == [usual.points, [(x / 10, y / 10) for x, y in other.points], usual.points]


async def test_core_013_agg_carries_ten_programs_of_ten_controls(agg):
    """Ten programs with ten controls each.

    Stimulus: a hundred controls, known ahead; those of one slot of time share a function and differ by program.
    Required: the DER below they are for receives all of them and carries out that of the lowest primacy in each slot; the
    other one hears of none.
    Clause: CSIP 2.1 G10, P24; IEEE 2030.5-2018 10.2.3, 10.10.4.3.
    """
    async with agg.head_end() as server:
        first, slot = int(agg.now()) + 110, 20
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
        server.poll_s = 900
        server.devices[1].assignments = [Assignment(mrid("F1"), programs)]
        async with agg.aggregating(poll_s=600):
            await agg.until(lambda: len(server.responses()) == 10 * 3 + 90 * 2)
    for event in programs[0].events:
        assert statuses(agg, event) == {"eda1": [1, 2, 3], "eda2": []}
    for program in programs[1:]:
        for event in program.events:
            assert statuses(agg, event) == {"eda1": [1, 14], "eda2": []}


async def test_core_014_agg_hands_on_the_settings_of_each_of_its_ders(agg):
    """DER settings.

    Stimulus: two DERs below with the same nameplate are set to different limits.
    Required: each one's DERSettings arrives at its own EndDevice; set is not above rated; enabled is not beyond supported.
    Clause: CSIP 2.1 P43, table 12; IEEE 2030.5-2018 10.10.4.2.
    """
    first, second = agg.leaves.values()
    second.device.settings["set_max_w"] = second.device.settings["set_max_w"] / 2
    async with agg.head_end() as server, agg.aggregating():
        await agg.until(
            lambda: {f"/e/{n}/der/1/{end}" for n in (1, 2) for end in ("derg", "dercap")} <= server.kept.keys()
        )
    watts = {}
    for number in (1, 2):
        capability, settings = (server.kept[f"/e/{number}/der/1/{end}"][0] for end in ("dercap", "derg"))
        watts[number] = [scaled(capability, "rtgMaxW"), scaled(settings, "setMaxW")]
        supported, enabled = int(capability.text("modesSupported"), 16), int(settings.text("modesEnabled"), 16)
        assert enabled & ~supported == 0
    assert watts == {1: [10_000, 9000], 2: [10_000, 4500]}
    assert first.lfdi == server.devices[1].lfdi


def scaled(request, name):
    found = request.document.find(f"{{*}}{name}")
    return int(found.find("{*}value").text) * 10 ** int(found.find("{*}multiplier").text)


async def test_core_018_agg_subscribes_and_obeys_what_it_is_told(agg):
    """Subscription and notification.

    Stimulus: a head-end that takes subscriptions; a control is added, and its list is told of; nothing is polled.
    Required: the aggregator subscribes once to each list, program and default it needs, however many DERs share it, by XML,
    with an absolute URI of its own; it answers the notice, reads the list and carries the control down.
    Clause: CSIP 2.1 P31-P33, P39, P46-P51, G16; IEEE 2030.5-2018 9.5.
    """
    async with agg.head_end() as server:
        server.poll_s = 900
        assign(server, one_program(default={"opModMaxLimW": 8000}))
        program = server.devices[1].assignments[0].programs[0]
        async with agg.aggregating():
            wanted = {"/e", "/e/1/fsa", "/e/2/fsa", "/e/1/fsa/0/derp", "/e/2/fsa/0/derp", "/p/5e/derc", "/p/5e/dderc"}
            await agg.until(lambda: wanted <= set(server.watched()))
            assert len(server.watched()) == len(set(server.watched()))
            walks = len(server.asked("GET", "^/dcap$"))
            event = Event(mrid("A1"), int(agg.now()) + 60, 30, {"opModMaxLimW": 6000})
            program.events.append(event)
            assert await server.tell("/p/5e/derc") == [204]
            await agg.until(lambda: set(map(tuple, statuses(agg, event).values())) == {(1, 2, 3)})
            program.default = {"opModMaxLimW": 7000}
            assert await server.tell("/p/5e/dderc") == [204]
            await agg.until(lambda: agg.leaves["eda2"].device.holds == {"max_lim_w_pct": 70})
            assert len(server.asked("GET", "^/dcap$")) == walks
    for one in server.asked("POST", "/sub$"):
        assert faults_of(one.body) == []
        assert (one.path, one.text("encoding"), one.text("level")) == ("/e/0/sub", "0", "+S1")
        assert one.text("notificationURI").startswith(f"https://127.0.0.1:{agg.listener_port}/")


async def test_core_019_agg_goes_on_when_a_subscription_is_ended(agg):
    """Subscription and its end.

    Stimulus: the head-end ends the subscription of a list (status 1) and drops it; later the list changes, untold.
    Required: the aggregator takes the notice; it polls what it is not told of any more, and so still learns of the control in time.
    Clause: CSIP 2.1 P52; IEEE 2030.5-2018 9.5.2 (Notification.status).
    """
    async with agg.head_end() as server:
        server.poll_s = 30
        assign(server, one_program(default={"opModMaxLimW": 8000}))
        async with agg.aggregating():
            await agg.until(lambda: "/p/5e/derc" in server.watched())
            assert await server.tell("/p/5e/derc", status=1) == [204]
            event = Event(mrid("A1"), int(agg.now()) + 120, 30, {"opModMaxLimW": 6000})
            server.devices[1].assignments[0].programs[0].events.append(event)
            await agg.until(lambda: set(map(tuple, statuses(agg, event).values())) == {(1, 2, 3)})


async def test_core_021_agg_lets_each_der_draw_its_own_randomization(agg):
    """Randomized events.

    Stimulus: events with randomizeStart 0, +30 and -30.
    Required: each DER begins within the bounds, by a draw of its own; nothing is drawn on the way.
    Clause: CSIP 2.1 P30; IEEE 2030.5-2018 10.2.3.2.
    """
    async with agg.head_end() as server:
        start = int(agg.now()) + 130
        exact = Event(mrid("A0"), start, 60, {"opModMaxLimW": 6000})
        late = [
            Event(mrid(f"B{n}"), start, 60, {name: value}, randomize_start=30)
            for n, (name, value) in enumerate((("opModFixedW", 100), ("opModConnect", "true")))
        ]
        early = [Event(mrid("C0"), start, 60, {"opModEnergize": "true"}, randomize_start=-30)]
        every = [exact, *late, *early]
        assign(server, one_program(*every))
        async with agg.aggregating():
            await agg.until(
                lambda: all(set(map(tuple, statuses(agg, event).values())) == {(1, 2, 3)} for event in every)
            )
    begun = {
        (name, subject): at - start
        for name, leaf in agg.leaves.items()
        for subject, found in agg.answers(leaf.lfdi).items()
        for at, status in found
        if status == 2
    }
    slack = 8
    for name in agg.leaves:
        assert -1 <= begun[name, exact.mrid] < slack
        assert all(-1 <= begun[name, event.mrid] < 30 + slack for event in late), begun
        assert all(-31 <= begun[name, event.mrid] < slack for event in early), begun
    assert any(abs(begun["eda1", event.mrid] - begun["eda2", event.mrid]) > 2 for event in [*late, *early]), begun


async def test_core_022_agg_hands_on_the_responses_of_each_der_once(agg):
    """Responses.

    Stimulus: one event runs to its end, one is cancelled before it begins, one while it runs, each change told of.
    Required: 1, 2, 3; 1, 6; 1, 2, 6 of each DER under its own LFDI, each once, where replyTo says; none of the aggregator's own.
    Clause: CSIP 2.1 P30; IEEE 2030.5-2018 10.2.3.5, table 27.
    """
    async with agg.head_end() as server:
        server.poll_s = 900
        start = int(agg.now()) + 90
        whole = Event(mrid("A1"), start, 40, {"opModMaxLimW": 6000})
        ahead = Event(mrid("A2"), start + 200, 40, {"opModMaxLimW": 5000})
        running = Event(mrid("A3"), start, 400, {"opModFixedW": 1000})
        assign(server, one_program(whole, ahead, running))
        async with agg.aggregating():
            await agg.until(lambda: all(2 in found for found in statuses(agg, running).values()))
            ahead.status = running.status = 2
            assert await server.tell("/p/5e/derc") == [204]
            await agg.until(lambda: all(found[-1] == 6 for found in statuses(agg, running).values()))
            await agg.until(lambda: all(3 in found for found in statuses(agg, whole).values()))
            await agg.until(lambda: all(6 in found for found in statuses(agg, ahead).values()))
    assert statuses(agg, whole) == {"eda1": [1, 2, 3], "eda2": [1, 2, 3]}
    assert statuses(agg, ahead) == {"eda1": [1, 6], "eda2": [1, 6]}
    assert statuses(agg, running) == {"eda1": [1, 2, 6], "eda2": [1, 2, 6]}
    assert {lfdi for *_, lfdi in server.responses()} == {leaf.lfdi for leaf in agg.leaves.values()}
    assert {one.path for one in server.asked("POST", "^/r")} == {"/r/0/rsp"}
    assert {one.peer for one in server.asked("POST", "^/r")} == {agg.lfdi}
