"""BASIC rows, our server under test."""

import pytest
from bench.der import OPERATOR
from bench.documents import NS
from bench.scripted_client import find, text
from bench.switching import a_switching

from tierline.model.identity import sfdi_of
from tierline.model.records import ReadingRecord
from tierline.operations.serving import registry, topology

pytestmark = pytest.mark.csip


async def test_basic_001_server_shows_a_der_itself_and_nobody_else(served):
    """Identification of the DER.

    Stimulus: two registered DERs ask.
    Required: each finds its own EndDevice alone, by LFDI and SFDI, with its PIN; what is the other's does not exist for it.
    Clause: CSIP 2.1 P14, P17, P20, P21, 5.2.1; IEEE 2030.5-2018 6.3.4, 10.3.4.
    """
    other = served.spine.device("other")
    (second,) = await registry.register(OPERATOR, served.state, [registry.NewDevice(lfdi=other, pin=123455)])
    for name, lfdi, pin in (("device", served.lfdi, "111115"), ("other", other, "123455")):
        async with served.client(served.context(name)) as client:
            device = await client.own_device()
            assert (text(device, "lFDI"), int(text(device, "sFDI"))) == (lfdi, sfdi_of(lfdi))
            digits = [int(digit) for digit in text(device, "sFDI")]
            assert sum(digits) % 10 == 0
            assert text(await client.follow(device, "Registration"), "pIN") == pin
    async with served.client() as client:
        for path in (f"/edev/{second.der_id}", f"/edev/{second.der_id}/rg", f"/edev/{second.der_id}/fsa"):
            assert (await client.ask("GET", path)).status == 404


async def test_basic_002_server_assigns_the_groups_of_the_network(served):
    """Group management.

    Stimulus: a DER behind a feeder of a substation; a default for each of its groups.
    Required: one program for each tier, the more local the lower its primacy, in that order, each with its default.
    Clause: CSIP 2.1 G5, P23-P26, 5.2.3; IEEE 2030.5-2018 10.10.4.3.
    """
    for number, group in enumerate(sorted(served.state.groups_of[served.device.der_id])):
        await served.default({"max_lim_w_pct": 50 + number}, group)
    async with served.client() as client:
        programs = await client.programs()
        assert [text(program, "description") for program in programs] == ["feeder", "substation", "system"]
        primacies = [int(text(program, "primacy")) for program in programs]
        assert primacies == sorted(set(primacies))
        limits = [
            text(await client.follow(one, "DefaultDERControl"), "DERControlBase/opModMaxLimW") for one in programs
        ]
        assert sorted(limits) == ["5000", "5100", "5200"]


async def test_basic_003_server_moves_a_der_when_the_network_is_switched(served):
    """Group management with a change of topology.

    Stimulus: while a control of its feeder runs, switches feed the DER from another feeder, and back.
    Required: the programs of the old feeder are gone at once, those of the new one are there; what is common stays as it was.
    Clause: CSIP 2.1 G5, P23, 5.2.3.
    """
    positions, back = a_switching(served)
    control = await served.control({"max_lim_w_pct": 50}, after_s=10, duration_s=600)
    async with served.client() as client:
        before = {one.get("href") for one in await client.programs()}
        href = (await client.controls())[control.mrid].get("href")
        await topology.confirm_switching(OPERATOR, served.state, positions)
        after = {one.get("href") for one in await client.programs()}
        assert before - after
        assert after - before
        assert before & after
        assert control.mrid not in await client.controls()
        assert (await client.ask("GET", href)).status == 404
        await topology.confirm_switching(OPERATOR, served.state, back)
        assert {one.get("href") for one in await client.programs()} == before
        assert control.mrid in await client.controls()


async def test_basic_015_server_shows_24_controls_and_their_cancellations(served):
    """Twenty-four controls.

    Stimulus: 24 controls one after the other; one is cancelled ahead, one while it runs.
    Required: all are listed at once, scheduled, then active from their start on, never scheduled after it; the cancelled
    ones stay with status 2; what is over leaves the list.
    Clause: CSIP 2.1 G10; IEEE 2030.5-2018 10.2.3.3 (EventStatus).
    """
    now = served.clock.now()
    made = [
        await served.control({"max_lim_w_pct": 10 + n}, at=now, after_s=90 + 30 * n, duration_s=30) for n in range(24)
    ]
    async with served.client() as client:

        async def statuses():
            shown = await client.controls()
            return [text(shown[one.mrid], "EventStatus/currentStatus") if one.mrid in shown else "-" for one in made]

        assert await statuses() == ["0"] * 24
        await served.cancel(made[5])
        await served.sleep_until(made[0].interval.start.timestamp())
        assert await statuses() == ["1", *["0"] * 4, "2", *["0"] * 18]
        await served.sleep_until(made[3].interval.start.timestamp() + 15)
        await served.cancel(made[3])
        assert await statuses() == ["-", "-", "-", "2", "0", "2", *["0"] * 18]
        await served.sleep_until(made[6].interval.start.timestamp() + 15)
        assert await statuses() == ["-"] * 6 + ["1", *["0"] * 17]


async def test_basic_021_server_marks_what_it_superseded_itself(served):
    """Overlapping controls.

    Stimulus: two controls of one program for the same function, the later made beginning within the earlier; and one of
    another function.
    Required: both are shown; from the start of the later one on the earlier reads superseded (4); the third is untouched.
    Clause: IEEE 2030.5-2018 10.2.3.3 (EventStatus 4), 10.2.3.4; CSIP 2.1 G14.
    """
    now = served.clock.now()
    first = await served.control({"max_lim_w_pct": 50}, at=now, after_s=60, duration_s=200)
    await served.clock.sleep(2)
    second = await served.control({"max_lim_w_pct": 40}, at=now, after_s=100, duration_s=60)
    third = await served.control({"fixed_w_pct": 10}, at=now, after_s=60, duration_s=200)
    async with served.client() as client:
        seen = []
        for moment in (
            first.interval.start.timestamp() - 5,
            first.interval.start.timestamp() + 10,
            second.interval.start.timestamp() + 1,
        ):
            await served.sleep_until(moment)
            shown = await client.controls()
            seen.append([text(shown[one.mrid], "EventStatus/currentStatus") for one in (first, second, third)])
    assert seen == [["0", "0", "0"], ["1", "0", "1"], ["4", "1", "1"]]


async def test_basic_029_server_mirrors_a_meter(served):
    """Meter reading.

    Stimulus: a MirrorUsagePoint, then readings at where it was created, in bulk and twice.
    Required: 201 with a Location that states the postRate; the readings are kept once each, scaled; another's LFDI is refused.
    Clause: CSIP 2.1 P41, P42, G23; IEEE 2030.5-2018 10.11.3.
    """
    now = int(served.now()) - 600

    def mirror(lfdi):
        return (
            f'<MirrorUsagePoint xmlns="{NS}"><mRID>20</mRID><roleFlags>0049</roleFlags><serviceCategoryKind>0'
            f"</serviceCategoryKind><status>1</status><deviceLFDI>{lfdi}</deviceLFDI><MirrorMeterReading><mRID>21</mRID>"
            "<ReadingType><flowDirection>19</flowDirection><kind>37</kind><powerOfTenMultiplier>1</powerOfTenMultiplier>"
            "<uom>38</uom></ReadingType></MirrorMeterReading></MirrorUsagePoint>"
        )

    readings = "".join(
        f"<Reading><timePeriod><duration>0</duration><start>{now + 60 * n}</start></timePeriod><value>{400 + n}</value></Reading>"
        for n in range(5)
    )
    batch = (
        f'<MirrorMeterReading xmlns="{NS}"><mRID>21</mRID><MirrorReadingSet><mRID>22</mRID><timePeriod><duration>300</duration>'
        f"<start>{now}</start></timePeriod>{readings}</MirrorReadingSet></MirrorMeterReading>"
    )
    async with served.client() as client:
        link = find(await client.get("/dcap"), "MirrorUsagePointListLink").get("href")
        assert (await client.ask("POST", link, mirror("0" * 39 + "1"))).status == 403
        created = await client.ask("POST", link, mirror(served.lfdi))
        assert created.status == 201
        assert text(await client.get(created.headers["location"]), "postRate") == "300"
        for _ in range(2):
            assert (await client.ask("POST", created.headers["location"], batch)).status in {201, 204}
    kept = sorted(record.reading.time.timestamp() - now for record in served.state.store.load(ReadingRecord))
    assert kept == [60 * n for n in range(5)]
    latest = {point: record for (_, point, _), record in served.state.latest.items()}["w"]
    assert latest.reading.value * 10**latest.reading.power_of_ten == 4040


async def test_basic_028_server_keeps_the_status_of_an_inverter(served):
    """Inverter status.

    Stimulus: DERStatus is PUT as the state of an inverter changes.
    Required: 204, and the last one is read back and known to the operator.
    Clause: CSIP 2.1 P44, table 13; IEEE 2030.5-2018 10.10.4.2 (DERStatus).
    """
    async with served.client() as client:
        der = (await client.follow(await client.own_device(), "DERList"))[0]
        href = find(der, "DERStatusLink").get("href")
        for state in (4, 5, 7):
            now = int(served.now())
            body = (
                f'<DERStatus xmlns="{NS}"><genConnectStatus><dateTime>{now}</dateTime><value>07</value></genConnectStatus>'
                f"<inverterStatus><dateTime>{now}</dateTime><value>{state}</value></inverterStatus>"
                f"<readingTime>{now}</readingTime></DERStatus>"
            )
            assert (await client.ask("PUT", href, body)).status == 204
            assert text(await client.get(href), "inverterStatus/value") == str(state)
