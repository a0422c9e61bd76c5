"""BASIC rows, the DER client under test: identity, groups, status and metering."""

import itertools

import pytest
from bench.documents import Assignment, Device, Event, Program, mrid
from bench.schema import faults_of

pytestmark = pytest.mark.csip

TIERS = ("system", "sub-transmission", "substation", "feeder", "segment", "service transformer", "service point")
DER_ROLE = 0x49
"""roleFlags of a MirrorUsagePoint: a mirror, of a DER, submetered."""


async def test_basic_001_der_finds_itself_by_lfdi_and_compares_the_pin(der):
    """Identification of the DER.

    Stimulus: three EndDevices, the client's own the last; a Registration with the PIN it was given.
    Required: it goes on with its own EndDevice and reads nothing below the others; LFDI and SFDI are those of its certificate.
    Clause: CSIP 2.1 P14, P21, 5.2.1; IEEE 2030.5-2018 6.3.4 (LFDI, SFDI), 6.3.5 (PIN).
    """
    async with der.head_end() as server:
        others = [Device(f"{n:040X}", [Assignment(mrid("F0"), [Program(mrid("E0"), 1)])]) for n in (1, 2)]
        own = Device(der.lfdi, [Assignment(mrid("F1"), [Program(mrid("5E"), 10, [], {"opModMaxLimW": 8000})])])
        server.devices = [*others, own]
        async with der.following():
            await der.until(lambda: der.device.holds and server.asked("PUT", "/di$"))
    assert {one.path.split("/")[2] for one in server.asked("", "^/e/")} == {"2"}
    assert server.asked("GET", "^/e/2/rg$")
    assert server.asked("PUT", "^/e/2/di$")[0].text("lFDI") == der.lfdi
    assert {one.peer for one in server.requests} == {der.lfdi}


async def test_basic_001_der_obeys_no_server_that_shows_another_pin(der):
    """Identification of the DER, refused.

    Stimulus: a Registration with a PIN that is not the client's.
    Required: it reads no assignment, obeys nothing and posts nothing there.
    Clause: IEEE 2030.5-2018 6.3.5, 10.3.4 (Registration).
    """
    async with der.head_end() as server:
        own = Device(
            der.lfdi, [Assignment(mrid("F1"), [Program(mrid("5E"), 10, [], {"opModMaxLimW": 8000})])], pin=123455
        )
        server.devices = [own]
        async with der.following(pin=111115):
            await der.until(lambda: len(server.asked("GET", "/rg$")) >= 2)
    assert server.asked("", "fsa|/p/") == server.asked("PUT") == server.asked("POST") == []
    assert der.device.history == []


async def test_basic_002_der_obeys_the_most_local_of_seven_groups(der):
    """Group management.

    Stimulus: one assignment with the programs of seven groups from the system down to the service point, each with a default
    and an event of the same time; the more local, the lower the primacy.
    Required: each program is read; the default and the event of the service point hold; every group's event is answered.
    Clause: CSIP 2.1 G5, G13, P23-P26, 5.2.3; IEEE 2030.5-2018 10.10.4.3.
    """
    async with der.head_end() as server:
        start = int(der.now()) + 60
        programs = [
            Program(
                mrid(f"5E{n}"),
                70 - 10 * n,
                [Event(mrid(f"A{n}"), start, 40, {"opModMaxLimW": 1000 + 100 * n})],
                {"opModMaxLimW": 5000 + 100 * n},
            )
            for n, _ in enumerate(TIERS)
        ]
        server.devices[0].assignments = [Assignment(mrid("F1"), programs)]
        async with der.following():
            local = programs[-1].events[0]
            await der.until(lambda: 3 in der.statuses(local.mrid))
            await der.until(lambda: len(der.device.history) == 3)
    assert [values["max_lim_w_pct"] for _, values in der.device.history] == [56, 16, 56]
    assert all(one.query == {"s": 0, "l": 255} for one in server.asked("GET", "/(e|fsa|derp|derc)$"))
    assert {f"/p/{program.id}/derc" for program in programs} <= {one.path for one in server.requests}
    assert [der.statuses(program.events[0].mrid) for program in programs] == [[1, 14]] * 6 + [[1, 2, 3]]


async def test_basic_003_der_follows_its_group_when_the_network_is_switched(der):
    """Group management with a change of topology.

    Stimulus: while the event of its feeder runs, the client is moved to another feeder with an event of its own.
    Required: after its next walk it obeys the new feeder and nothing of the old one, for which it answers nothing more.
    Clause: CSIP 2.1 G5, P23, 5.2.3; IEEE 2030.5-2018 10.10.4.3.
    """
    async with der.head_end() as server:
        start = int(der.now()) + 40
        old = Event(mrid("A1"), start, 120, {"opModMaxLimW": 6000})
        new = Event(mrid("A2"), start, 160, {"opModFixedW": 2000})
        feeder_a = Program(mrid("FA"), 10, [old], {"opModMaxLimW": 9000})
        feeder_b = Program(mrid("FB"), 10, [new], {"opModMaxLimW": 8000})
        server.devices[0].assignments = [Assignment(mrid("F1"), [feeder_a])]
        async with der.following():
            await der.until(lambda: 2 in der.statuses(old.mrid))
            server.devices[0].assignments = [Assignment(mrid("F1"), [feeder_b])]
            await der.until(lambda: 2 in der.statuses(new.mrid))
            assert der.device.holds == {"max_lim_w_pct": 80, "fixed_w_pct": 20}
            moved = der.now()
            await der.until(lambda: 3 in der.statuses(new.mrid))
            await der.until(lambda: der.device.holds == {"max_lim_w_pct": 80})
    assert der.statuses(old.mrid) == [1, 2]
    assert all(one.at < moved for one in server.asked("GET", f"^/p/{feeder_a.id}/"))
    assert der.statuses(new.mrid) == [1, 2, 3]


async def test_basic_028_der_reports_every_change_of_its_status(der):
    """Inverter status.

    Stimulus: the inverter runs, is limited, stops with its connection open, and runs again.
    Required: DERStatus is PUT with each state, its connection and mode, and the time it was read.
    Clause: CSIP 2.1 G30, P44, table 13; IEEE 2030.5-2018 10.10.4.2 (DERStatus), InverterStatusType, ConnectStatusType.
    """
    states = [(4, 2, 7), (5, 2, 7), (1, 1, 0), (4, 2, 7)]
    async with der.head_end() as server, der.following():
        for count, state in enumerate(states, start=1):
            der.device.status = dict(zip(("inverter_status", "operational_mode", "connect_status"), state, strict=True))
            await der.until(lambda count=count: len(server.kept.get("/e/0/der/1/ders", [])) == count)
    puts = server.kept["/e/0/der/1/ders"]
    assert [
        (value(put, "inverterStatus"), value(put, "operationalModeStatus"), value(put, "genConnectStatus"))
        for put in puts
    ] == states
    assert all(abs(int(put.text("readingTime")) - put.at) < 30 for put in puts)
    assert [fault for put in puts for fault in faults_of(put.body)] == []


def value(put, name):
    return int(put.document.find(f"{{*}}{name}/{{*}}value").text, 16)


async def test_basic_029_der_mirrors_its_meter_at_the_rate_of_the_server(der):
    """Meter readings.

    Stimulus: a MirrorUsagePointList; the mirror states postRate 30.
    Required: one MirrorUsagePoint under the client's LFDI as a DER's; readings of W, var, Hz and V of every measurement,
    each with its time, scaled and in order, posted every 30 s to where the mirror was created.
    Clause: CSIP 2.1 G19, G23-G27, P41, P42; IEEE 2030.5-2018 10.11.3 (mirror metering), UomType, RoleFlagsType.
    """
    async with der.head_end() as server, der.following():
        await der.until(lambda: "/m/0" in server.kept)
        first = len(server.kept["/m/0"])
        begun = der.now()
        der.device.watts = 3900
        await der.until(lambda: len({one.at // 15 for one in server.kept["/m/0"]}) >= 4)
        taken = der.now() - begun
    (mirror,) = server.kept["/m"]
    assert (mirror.text("deviceLFDI"), int(mirror.text("roleFlags"), 16)) == (der.lfdi, DER_ROLE)
    assert {node.text for node in mirror.document.iter("{*}uom")} == {"38", "63", "33", "29"}
    types = {
        meter.find("{*}mRID").text: (meter.find(".//{*}uom").text, int(meter.find(".//{*}powerOfTenMultiplier").text))
        for meter in mirror.document.iter("{*}MirrorMeterReading")
    }
    posted = {}
    for one in server.kept["/m/0"]:
        for meter in one.document.iter("{*}MirrorMeterReading"):
            unit, power = types[meter.find("{*}mRID").text]
            for reading in meter.iter("{*}Reading"):
                time = int(reading.find("{*}timePeriod/{*}start").text)
                posted.setdefault(unit, []).append((time, int(reading.find("{*}value").text) * 10**power))
    assert {number for _, number in posted["38"]} == {4200, 3900}
    assert {number for _, number in posted["63"]} == {-300}
    assert {round(number, 2) for _, number in posted["33"]} == {50.01}
    assert {round(number, 1) for _, number in posted["29"]} == {230.5}
    for times in ([time for time, _ in readings] for readings in posted.values()):
        assert times == sorted(set(times))
        assert max(after - before for before, after in itertools.pairwise(times)) < 30
    assert taken > 60
    assert len(server.mirrors) == 1 <= first
    assert [fault for one in (mirror, *server.kept["/m/0"]) for fault in faults_of(one.body)] == []
