"""Bytes on the wire, as EPRI's client sends and needs them, against a composed node over TLS on both families."""

import asyncio
import runpy
from contextlib import asynccontextmanager
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from lxml import etree

from tierline.model.control import Setpoints
from tierline.model.identity import GroupId
from tierline.model.records import ReadingRecord, ResponseRecord
from tierline.node.compose import prepare
from tierline.operations.serving import dispatch, groups, prices, registry, topology
from tierline.protocols.sep2.views import short
from tierline.security.keys import load_certificates
from tierline.security.tls import client_context

pytestmark = [pytest.mark.e2e, pytest.mark.parametrize("host", ["127.0.0.1", "::1"])]

_SPINE = runpy.run_path(str(Path(__file__).parent.parent / "spine.py"))
Spine, OPERATOR = _SPINE["Spine"], _SPINE["OPERATOR"]

NS = "urn:ieee:std:2030.5:ns"


class Wire:
    """One connection on which bytes are written by hand."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer

    def write(self, method, target, body=b"", *, length=None):
        head = f"{method} {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nDate: Thu, 18 Jun 2026 12:00:00 GMT\r\n"
        if method in {"GET", "HEAD"}:
            head += "Accept: application/sep+xml; level=-S1\r\n"
        else:
            # EPRI pads the length with blanks, because it does not know it yet when it writes the header
            head += f"Content-Type: application/sep+xml\r\nContent-Length: {length or f'{len(body):<6}'}\r\n"
        self.writer.write(head.encode() + b"\r\n" + body)

    async def read(self, *, head=False):
        """Read one answer as a strict client does: by its Content-Length and by nothing else."""
        lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        assert lines[0].startswith("HTTP/1.1 ")
        status = int(lines[0].split()[1])
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:] if line)}
        assert "transfer-encoding" not in headers
        assert ("content-length" in headers) == (status != 204)
        body = b"" if head else await self.reader.readexactly(int(headers.get("content-length", 0)))
        return status, headers, body

    async def ask(self, method, target, body=b"", **more):
        self.write(method, target, body, **more)
        return await self.read(head=method == "HEAD")

    async def get(self, target):
        status, headers, body = await self.ask("GET", target)
        assert (status, headers["content-type"]) == (200, "application/sep+xml")
        assert b"xmlns:" not in body
        root = etree.fromstring(body)
        assert root.get("href") == target.partition("?")[0]
        return root


def find(root, name):
    return root.find(f".//{{{NS}}}{name}")


@pytest.fixture
async def node(tmp_path, host):
    spine = Spine(tmp_path, speed=1.0)
    utility = spine.utility()
    await prepare(utility)
    state = utility.serving.state
    lfdi = spine.device("device")
    (device,) = await registry.register(
        OPERATOR, state, [registry.NewDevice(lfdi=lfdi, service_point="pv_000", pin=111115)]
    )
    context = client_context(tmp_path / "device.pem", tmp_path / "device.key", load_certificates(tmp_path / "root.pem"))
    async with utility.serving.http as http, asyncio.timeout(30):
        listener = await http.listen(host, 0)

        @asynccontextmanager
        async def connected():
            reader, writer = await asyncio.open_connection(host, listener.port, ssl=context)
            try:
                yield Wire(reader, writer)
            finally:
                writer.transport.abort()

        yield state, device, lfdi, connected
    await spine.close()


async def a_control(state):
    feeder = next(iter(topology.elements_of(state, "pv_000") & {f.id for f in state.grid.feeders}))
    order = dispatch.Order(
        group_id=topology.find_group(state, feeder).group.id,
        setpoints=Setpoints.of({"max_lim_w_pct": Decimal(50)}),
        start=state.clock.now() + timedelta(seconds=60),
        duration_s=60,
    )
    return await dispatch.create_control(OPERATOR, state, order)


async def test_a_client_gets_from_the_entry_to_its_control_by_links_alone(node):
    state, _, lfdi, connected = node
    record = await a_control(state)
    async with connected() as wire:
        dcap = await wire.get("/dcap")
        listed = await wire.get(find(dcap, "EndDeviceListLink").get("href") + "?s=0&l=255")
        assert find(listed, "lFDI").text == lfdi
        assert find(await wire.get(find(listed, "RegistrationLink").get("href")), "pIN").text == "111115"
        fsa = await wire.get(find(listed, "FunctionSetAssignmentsListLink").get("href") + "?l=1")
        programs = await wire.get(find(fsa, "DERProgramListLink").get("href") + "?s=0&l=1")
        assert (programs.get("all"), programs.get("results")) == ("3", "1")
        link = find(programs, "DERControlListLink")
        controls = await wire.get(f"{link.get('href')}?s=0&l={link.get('all')}")
        (control,) = controls.findall(f"{{{NS}}}DERControl")
        assert find(control, "mRID").text == record.mrid
        assert find(await wire.get(control.get("href")), "opModMaxLimW").text == "5000"


async def test_a_client_gets_from_the_entry_to_what_a_kilowatt_hour_costs_by_links_alone(node):
    state, _, _, connected = node
    tariff = await prices.create_tariff(OPERATOR, state, prices.NewTariff(description="day ahead", currency=978))
    other = await groups.create_group(OPERATOR, state, "others")
    hidden = prices.NewTariff(description="hidden", currency=978, group=GroupId(other.group.id))
    secret = await prices.create_tariff(OPERATOR, state, hidden)
    new = prices.NewPrice(start=state.clock.now(), duration_s=3600, price=Decimal("-0.12345"))
    (record,) = await prices.set_prices(OPERATOR, state, tariff.mrid, [new])
    async with connected() as wire:

        async def follow(root, name):
            return await wire.get(f"{find(root, name).get('href')}?s=0&l=255")

        listed = await follow(await wire.get("/dcap"), "TariffProfileListLink")
        assert [found.text for found in listed.findall(f".//{{{NS}}}description")] == ["day ahead"]
        assert (find(listed, "currency").text, find(listed, "pricePowerOfTenMultiplier").text) == ("978", "-5")
        parts = await follow(listed, "RateComponentListLink")
        unit = await follow(parts, "ReadingTypeLink")
        # Watt-hours times ten to the third: per kilowatt-hour.
        assert (find(unit, "uom").text, find(unit, "powerOfTenMultiplier").text) == ("72", "3")
        intervals = await follow(parts, "ActiveTimeTariffIntervalListLink")
        assert (find(intervals, "mRID").text, find(intervals, "currentStatus").text) == (record.mrid, "1")
        costs = await follow(intervals, "ConsumptionTariffIntervalListLink")
        assert (find(costs, "price").text, find(costs, "startValue").text) == ("-12345", "0")
        status, _, _ = await wire.ask("GET", f"/tp/{short(secret.mrid)}")
        assert status == 404


async def test_pipelined_requests_are_answered_in_order_reads_and_writes_alike(node):
    state, device, lfdi, connected = node
    record = await a_control(state)
    async with connected() as wire:
        wire.write("GET", "/tm")
        wire.write("PUT", f"/edev/{device.der_id}/der/1/ders", status_of(state))
        wire.write("POST", "/rsps/r/rsp", a_response(lfdi, record.mrid))
        wire.write("GET", "/nowhere")
        wire.write("HEAD", "/dcap")
        wire.write("GET", "/edev?s=0&l=255")
        answers = [await wire.read(head=number == 4) for number in range(6)]
        assert [status for status, _, _ in answers] == [200, 204, 201, 404, 200, 200]
        assert b"<Time " in answers[0][2]
        assert int(answers[4][1]["content-length"]) > 0
        assert b"<EndDeviceList " in answers[5][2]


def status_of(state):
    now = int(state.clock.now().timestamp())
    return f'<DERStatus xmlns="{NS}"><readingTime>{now}</readingTime></DERStatus>'.encode()


def a_response(lfdi, mrid, status=1):
    """Write a Response as EPRI does: hex in lower case and without leading zeros."""
    return (
        f'<DERControlResponse xmlns="{NS}"><createdDateTime>1781784000</createdDateTime>'
        f"<endDeviceLFDI>{lfdi.lower().lstrip('0')}</endDeviceLFDI><status>{status}</status>"
        f"<subject>{mrid.lower().lstrip('0')}</subject></DERControlResponse>"
    ).encode()


async def test_a_response_is_created_where_its_location_says_and_kept_once(node):
    state, _, lfdi, connected = node
    record = await a_control(state)
    async with connected() as wire:
        body = a_response(lfdi, record.mrid)
        first = await wire.ask("POST", "/rsps/r/rsp", body, length=f"{len(body)}   ")
        assert (first[0], first[2]) == (201, b"")
        assert first[1]["location"].startswith("/")
        assert find(await wire.get(first[1]["location"]), "subject").text == record.mrid
        again = await wire.ask("POST", "/rsps/r/rsp", body)
        assert (again[0], again[1]["location"]) == (201, first[1]["location"])
    assert len(state.store.load(ResponseRecord)) == 1


async def test_a_meter_is_mirrored_with_201_first_and_204_from_then_on(node):
    state, _, lfdi, connected = node
    kind = "<ReadingType><kind>37</kind><powerOfTenMultiplier>0</powerOfTenMultiplier><uom>38</uom></ReadingType>"
    mirror = (
        f'<MirrorUsagePoint xmlns="{NS}"><mRID>20</mRID><roleFlags>49</roleFlags><serviceCategoryKind>0'
        f"</serviceCategoryKind><status>1</status><deviceLFDI>{lfdi.lower()}</deviceLFDI>"
        f"<MirrorMeterReading><mRID>21</mRID>{kind}</MirrorMeterReading></MirrorUsagePoint>"
    ).encode()
    reading = (
        f'<MirrorMeterReading xmlns="{NS}"><mRID>21</mRID><Reading><qualityFlags>1</qualityFlags><timePeriod>'
        "<duration>0</duration><start>1781784000</start></timePeriod><value>4200</value></Reading></MirrorMeterReading>"
    ).encode()
    async with connected() as wire:
        status, headers, _ = await wire.ask("POST", "/mup", mirror)
        assert status == 201
        shown = await wire.get(headers["location"])
        assert find(shown, "mRID").text == f"{0x20:032X}"
        assert find(shown, "postRate").text == "300"
        assert (await wire.ask("POST", "/mup", mirror))[0] == 204
        for _ in range(2):
            assert (await wire.ask("POST", headers["location"], reading))[0] == 204
        assert (await wire.get("/mup")).get("all") == "1"
        assert (await wire.ask("DELETE", headers["location"]))[0] == 204
        assert (await wire.ask("GET", headers["location"]))[0] == 404
    (kept,) = state.store.load(ReadingRecord)
    assert (kept.reading.point, kept.reading.value) == ("w", 4200)


async def test_what_is_refused_leaves_the_connection_open_and_carries_no_words(node):
    _, device, lfdi, connected = node
    async with connected() as wire:
        answers = {
            "method": await wire.ask("DELETE", "/dcap"),
            "verb": await wire.ask("PATCH", "/dcap"),
            "path": await wire.ask("GET", "/edev/zzzzzzzzzzzzz"),
            "document": await wire.ask("PUT", f"/edev/{device.der_id}/der/1/dercap", b"<a/>"),
            "event": await wire.ask("POST", "/rsps/r/rsp", a_response(lfdi, "F" * 32)),
        }
        assert {name: status for name, (status, _, _) in answers.items()} == {
            "method": 405,
            "verb": 501,
            "path": 404,
            "document": 400,
            "event": 400,
        }
        assert answers["method"][1]["allow"] == "GET, HEAD"
        for name, code in (("document", "0"), ("event", "1")):
            assert answers[name][1]["content-type"] == "application/sep+xml"
            assert find(etree.fromstring(answers[name][2]), "reasonCode").text == code
        assert all(answers[name][2] == b"" for name in ("method", "verb", "path"))
        await wire.get("/dcap")


async def test_a_page_past_the_end_is_an_empty_list(node):
    *_, connected = node
    async with connected() as wire:
        page = await wire.get("/edev?s=7&l=50")
        assert (page.get("all"), page.get("results"), len(page)) == ("1", "0", 0)


async def test_the_answer_is_on_the_disk_before_it_is_on_the_wire(node):
    state, device, _, connected = node
    async with connected() as wire:
        commit, order = state.store.commit, []

        class Slow:
            """The store, with a disk that takes its time."""

            def __getattr__(self, name):
                return getattr(kept, name)

            async def commit(self, put=(), delete=()):
                await asyncio.sleep(0.2)
                await commit(put, delete)
                order.append("durable")

        kept, state.store = state.store, Slow()
        wire.write("PUT", f"/edev/{device.der_id}/der/1/ders", status_of(state))
        status, _, _ = await wire.read()
        order.append("answered")
        assert (status, order) == (204, ["durable", "answered"])
