import asyncio
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from tierline.model.identity import der_id
from tierline.model.programs import ResponseStatus
from tierline.model.records import DerInfoRecord, MirrorUsagePointRecord, ReadingRecord, ResponseRecord
from tierline.operations.serving import registry
from tierline.protocols.sep2 import mirrors
from tierline.protocols.sep2.codec import parse, render
from tierline.protocols.sep2.resources import (
    ActivePower,
    DERCapability,
    DERStatus,
    DeviceInformation,
    EndDevice,
    Error,
    MirrorMeterReading,
    MirrorMeterReadingList,
    MirrorReadingSet,
    MirrorUsagePoint,
    Reading,
    ReadingType,
)
from tierline.protocols.sep2.resources import DERControlResponse as Answer
from tierline.protocols.sep2.resources.objects import DateTimeInterval
from tierline.protocols.sep2.server import Sep2Server
from tierline.protocols.sep2.views import Rates, Views

W = ReadingType(uom=38, power_of_ten_multiplier=0, kind=37, flow_direction=19)
MUP, MMR = "A" * 32, "B" * 32
CAPABILITY = DERCapability(modes_supported=1 << 20, rtg_max_w=ActivePower(multiplier=0, value=5000), type=4)


def meter(mrid=MMR, *values, kind=W, at=0, description=None):
    """Give a MirrorMeterReading with some values, a minute apart."""
    readings = tuple(
        Reading(value=value, local_id=index, time_period=DateTimeInterval(start=at + 60 * index, duration=60))
        for index, value in enumerate(values)
    )
    sets = (MirrorReadingSet(mrid="C" * 32, time_period=DateTimeInterval(start=at, duration=60), readings=readings),)
    return MirrorMeterReading(
        mrid=mrid,
        reading_type=kind,
        description=description,
        mirror_reading_sets=sets if values else (),
    )


def usage_point(bench, *meters, mrid=MUP, who="pv-1"):
    return MirrorUsagePoint(
        mrid=mrid,
        role_flags=0x49,
        service_category_kind=0,
        status=1,
        device_lfdi=bench.LFDIS[who],
        mirror_meter_readings=meters,
    )


async def made(bench, *meters, **more):
    """Create a usage point and give its path."""
    answer = await bench.ask("POST", "/mup", more.get("who", "pv-1"), render(usage_point(bench, *meters, **more)))
    assert answer.status == 201
    return answer.location


def reason(answer):
    return parse(answer.body, Error).reason_code


def kept(bench, kind):
    return bench.store.load(kind)


# --- methods, media types, strangers -------------------------------------------------------------------------------


METHODS = {
    "/dcap": "",
    "/tm": "",
    "/edev": "POST",
    "{own}": "",
    "{own}/rg": "",
    "{own}/fsa": "",
    "{own}/fsa/t": "",
    "{own}/fsa/t/derp": "",
    "{own}/der": "",
    "{own}/der/1": "",
    "{own}/der/1/dercap": "PUT",
    "{own}/der/1/derg": "PUT",
    "{own}/der/1/ders": "PUT",
    "{own}/der/1/dera": "PUT",
    "{own}/di": "PUT",
    "{program}": "",
    "{program}/derc": "",
    "{program}/actderc": "",
    "{program}/dc": "",
    "/mup": "POST",
    "/rsps": "",
    "/rsps/r": "",
    "/rsps/r/rsp": "POST",
}
"""What may be done besides reading. Source: IEEE 2030.5-2018 annex A."""


@pytest.mark.parametrize("path", METHODS)
async def test_a_method_that_is_not_allowed_is_answered_with_those_that_are(bench, path):
    target = path.format(own=bench.own(), program=bench.program())
    allowed = ("GET", "HEAD", *METHODS[path].split())
    for method in {"PUT", "POST", "DELETE"} - set(allowed):
        answer = await bench.ask(method, target, body=b"<a/>")
        assert (method, answer.status, answer.allow, answer.body) == (method, 405, allowed, b"")


@pytest.mark.parametrize("method", ["PATCH", "OPTIONS", "TRACE", "CONNECT", "BREW"])
async def test_a_method_nobody_knows_is_501_for_everybody(bench, method):
    assert (await bench.ask(method, "/dcap")).status == 501
    assert (await bench.ask(method, "/dcap", bench.STRANGER)).status == 501


async def test_head_is_answered_as_get(bench):
    assert await bench.ask("HEAD", "/dcap") == await bench.ask("GET", "/dcap")


@pytest.mark.parametrize(
    "accept",
    [None, "*/*", "application/sep+xml; level=-S1", "application/sep+xml;level=+S1", "APPLICATION/SEP+XML",
     "application/xml", "text/xml", "application/*", "application/sep-exi, application/sep+xml"],
)  # fmt: skip
async def test_what_clients_accept_is_what_they_get(bench, accept):
    answer = await bench.ask("GET", "/dcap", accept=accept)
    assert (answer.status, answer.content_type) == (200, "application/sep+xml")


@pytest.mark.parametrize("accept", ["application/sep-exi", "text/html", "application/json"])
async def test_another_form_is_not_to_be_had(bench, accept):
    assert (await bench.ask("GET", "/dcap", accept=accept)).status == 406


@pytest.mark.parametrize("content_type", [None, "text/plain", "application/sep-exi"])
async def test_another_form_is_not_taken(bench, content_type):
    answer = await bench.ask("PUT", bench.own("/der/1/dercap"), body=render(CAPABILITY), content_type=content_type)
    assert answer.status == 415


@pytest.mark.parametrize("content_type", ["application/sep+xml; charset=utf-8", "application/xml", "TEXT/XML"])
async def test_xml_by_its_other_names_is_taken(bench, content_type):
    answer = await bench.ask("PUT", bench.own("/der/1/dercap"), body=render(CAPABILITY), content_type=content_type)
    assert answer.status == 204


@pytest.mark.parametrize("query", ["l=x", "s=-1", "l=1&l=2", "a=99999999999999999999"])
async def test_a_bad_query_is_refused_with_an_error_document(bench, query, is_valid):
    answer = await bench.ask("GET", f"/edev?{query}")
    assert (answer.status, reason(answer)) == (400, 1)
    is_valid(answer.body)


async def test_a_stranger_finds_nothing_anywhere(bench):
    for path in METHODS:
        target = path.format(own=bench.own(), program=bench.program())
        for method in ("GET", "HEAD", "PUT", "POST", "DELETE"):
            answer = await bench.ask(method, target, bench.STRANGER, b"<a/>")
            assert (answer.status, answer.body, answer.allow) == (404, b"", ())
    assert not bench.server.knows(bench.STRANGER)
    assert bench.server.knows(bench.LFDIS["pv-1"])


async def test_a_header_gives_nobody_another_identity(bench):
    for name in ("x_forwarded_lfdi", "x_ssl_client_cert", "forwarded"):
        answer = await bench.ask("GET", "/edev", bench.STRANGER, **{name: bench.LFDIS["pv-1"]})
        assert answer.status == 404


async def test_a_disabled_device_is_shut_out_from_its_next_request_on(bench):
    assert bench.status("/dcap") == 200
    await registry.enable(bench.OPERATOR, bench.state, bench.LFDIS["pv-1"], enabled=False)
    assert bench.status("/dcap") == 404
    assert not bench.server.knows(bench.LFDIS["pv-1"])
    await registry.enable(bench.OPERATOR, bench.state, bench.LFDIS["pv-1"], enabled=True)
    assert bench.status("/dcap") == 200


async def test_it_is_noted_when_a_device_was_last_there(bench):
    bench.clock.move(seconds=7)
    await bench.ask("GET", "/nowhere")
    assert bench.state.last_seen == {bench.der(): bench.clock.now().timestamp()}


async def test_devices_do_not_register_themselves(bench):
    body = render(EndDevice(sfdi=167261211391, changed_time=0))
    assert (await bench.ask("POST", "/edev", body=body)).status == 403


@pytest.mark.parametrize(
    "path",
    ["/", "//dcap", "/dcap/", "/../dcap", "/edev/%2e%2e", "/edev/../dcap", "/DCAP", "dcap", "/mup/a/b", "/x" * 40],
)
async def test_a_path_that_is_none_of_ours_is_not_there(bench, path):
    assert bench.status(path) == 404


# --- what a DER says of itself --------------------------------------------------------------------------------------


async def test_what_a_der_says_of_itself_is_kept_and_shown_again(bench):
    path = bench.own("/der/1/dercap")
    assert bench.status(path) == 404
    assert (await bench.ask("PUT", path, body=render(CAPABILITY))).status == 204
    assert bench.get(path).rtg_max_w == CAPABILITY.rtg_max_w
    assert bench.get(path).href == path
    (record,) = kept(bench, DerInfoRecord)
    assert (record.der_id, record.kind) == (bench.der(), "dercap")
    assert bench.status(bench.own("/der/1/dercap"), "pv-2") == 404


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (render(DERStatus(reading_time=1)), 0),
        (b'<DERCapability xmlns="urn:ieee:std:2030.5:ns"><type>4</type></DERCapability>', 0),
        (b'<!DOCTYPE a><DERCapability xmlns="urn:ieee:std:2030.5:ns"/>', 0),
        (b"", 0),
        (b"hello", 0),
    ],
    ids=["another resource", "what is required is missing", "a document type", "nothing", "no XML"],
)
async def test_a_wrong_document_is_refused_and_nothing_is_kept(bench, body, code):
    answer = await bench.ask("PUT", bench.own("/der/1/dercap"), body=body, content_type="application/sep+xml")
    assert (answer.status, reason(answer)) == (400, code)
    assert kept(bench, DerInfoRecord) == []


async def test_a_der_that_is_not_there_cannot_be_described(bench):
    assert (await bench.ask("PUT", bench.own("/der/2/dercap"), body=render(CAPABILITY))).status == 404


@pytest.mark.parametrize(("lfdi", "status"), [("pv-1", 204), ("pv-2", 403)])
async def test_device_information_is_of_the_device_itself(bench, lfdi, status):
    body = DeviceInformation(
        lfdi=bench.LFDIS[lfdi], mf_date=0, mf_hw_ver="", mf_id=0, mf_model="", mf_ser_num="", primary_power=1,
        secondary_power=0, sw_act_time=0, sw_ver="",
    )  # fmt: skip
    assert (await bench.ask("PUT", bench.own("/di"), body=render(body))).status == status
    assert bench.status(bench.own("/di")) == (200 if status == 204 else 404)


# --- mirror metering --------------------------------------------------------------------------------------------------


async def test_a_new_usage_point_is_201_and_can_be_read_where_it_is_said_to_be(bench):
    location = await made(bench, meter())
    shown = bench.get(location)
    assert (shown.mrid, shown.post_rate, shown.device_lfdi) == (MUP, 300, bench.LFDIS["pv-1"])
    assert [one.mrid for one in shown.mirror_meter_readings] == [MMR]
    assert bench.get("/mup?l=255").items == (shown,)
    assert bench.get("/dcap").mirror_usage_point_list_link.all == 1
    assert bench.status(location, "pv-2") == 404
    assert bench.get("/mup?l=255", "pv-2").items == ()


async def test_the_same_usage_point_again_is_replaced_and_not_doubled(bench):
    location = await made(bench, meter())
    other = usage_point(bench, meter("D" * 32))
    answer = await bench.ask("POST", "/mup", body=render(other))
    assert (answer.status, answer.location) == (204, location)
    assert [one.mrid for one in bench.get(location).mirror_meter_readings] == ["D" * 32]
    assert bench.get("/mup").all == 1
    answer = await bench.ask("PUT", location, body=render(usage_point(bench, meter())))
    assert answer.status == 204


async def test_a_usage_point_cannot_be_put_over_another(bench):
    location = await made(bench, meter())
    answer = await bench.ask("PUT", location, body=render(usage_point(bench, mrid="D" * 32)))
    assert (answer.status, reason(answer)) == (400, 1)
    assert bench.get("/mup").all == 1


async def test_a_usage_point_of_another_device_is_refused(bench):
    answer = await bench.ask("POST", "/mup", "pv-2", render(usage_point(bench, meter())))
    assert (answer.status, answer.location) == (403, "")
    assert kept(bench, MirrorUsagePointRecord) == []


async def test_the_name_of_anothers_usage_point_is_taken(bench):
    await made(bench, meter())
    answer = await bench.ask("POST", "/mup", "pv-2", render(usage_point(bench, meter("D" * 32), who="pv-2")))
    assert answer.status == 403
    assert [record.der_id for record in kept(bench, MirrorUsagePointRecord)] == [bench.der()]


@pytest.mark.parametrize("restarted", [False, True])
async def test_nobody_writes_into_anothers_series(bench, restarted):
    """Its mRID can be computed by whoever knows an LFDI, and readings are kept by it."""
    location = await made(bench, meter(MMR, 1))
    theirs = await made(bench, meter("D" * 32), mrid="E" * 32, who="pv-2")
    if restarted:
        bench.server = Sep2Server(bench.state, bench.views)
    answers = [
        await bench.ask("POST", theirs, "pv-2", render(meter(MMR, 666))),
        await bench.ask("POST", "/mup", "pv-2", render(usage_point(bench, meter(MMR, 666), mrid="E" * 32, who="pv-2"))),
        await bench.ask("POST", "/mup", "pv-2", render(usage_point(bench, meter(MMR, 666), mrid="F" * 32, who="pv-2"))),
        await bench.ask("POST", location, "pv-2", render(meter(MMR, 666))),
    ]
    assert [answer.status for answer in answers] == [403, 403, 403, 404]
    assert [record.reading.value for record in kept(bench, ReadingRecord)] == [1]


async def test_readings_are_kept_once_with_their_type(bench):
    location = await made(bench, meter())
    for _ in range(2):
        assert (await bench.ask("POST", location, body=render(meter(MMR, 10, 20)))).status == 204
    assert [record.reading.value for record in kept(bench, ReadingRecord)] == [10, 20]
    ((key, record),) = bench.state.latest.items()
    assert (key, record.reading.value) == ((bench.der(), "w", 0), 20)


async def test_another_value_of_the_same_time_replaces_the_first(bench):
    location = await made(bench, meter())
    for value in (10, 11):
        assert (await bench.ask("POST", location, body=render(meter(MMR, value)))).status == 204
    assert [record.reading.value for record in kept(bench, ReadingRecord)] == [11]


async def test_a_new_series_is_201_and_belongs_to_the_usage_point(bench):
    location = await made(bench, meter())
    answer = await bench.ask("POST", location, body=render(meter("D" * 32, 5)))
    assert (answer.status, answer.location) == (201, location)
    assert [one.mrid for one in bench.get(location).mirror_meter_readings] == [MMR, "D" * 32]


async def test_a_known_series_needs_no_type_and_keeps_what_it_is_called(bench):
    location = await made(bench, meter(description="power"))
    assert (await bench.ask("POST", location, body=render(meter(MMR, 5, kind=None)))).status == 204
    assert bench.get(location).mirror_meter_readings[0].description == "power"
    again = usage_point(bench, meter(MMR, 6, kind=None, at=600))
    assert (await bench.ask("POST", "/mup", body=render(again))).status == 204
    assert [record.reading.point for record in kept(bench, ReadingRecord)] == ["w", "w"]


async def test_a_list_of_series_is_taken_at_once(bench):
    location = await made(bench, meter())
    items = (meter(MMR, 1), meter("D" * 32, 2))
    body = render(MirrorMeterReadingList(all=2, results=2, items=items))
    assert (await bench.ask("POST", location, body=body)).status == 201
    assert sorted(record.reading.value for record in kept(bench, ReadingRecord)) == [1, 2]


async def test_readings_that_come_with_the_usage_point_are_kept_too(bench):
    await made(bench, meter(MMR, 7))
    assert [record.reading.value for record in kept(bench, ReadingRecord)] == [7]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (render(meter("D" * 32, 5, kind=None)), 1),
        (render(meter("D" * 32, 5, kind=ReadingType(kind=37))), 1),
        (render(MirrorMeterReading(mrid=MMR, reading_type=W, reading=Reading(value=1))), 1),
        (render(meter(MMR, 5, at=2**62)), 1),
        (render(CAPABILITY), 0),
        (render(meter(MMR, 5)).replace(b">5<", b">3000000000000000<"), 0),
    ],
    ids=["no type", "no uom", "no time", "no era", "no reading", "beyond Int48"],
)
async def test_readings_that_say_too_little_are_refused(bench, body, code):
    location = await made(bench, meter())
    answer = await bench.ask("POST", location, body=body)
    assert (answer.status, reason(answer)) == (400, code)
    assert kept(bench, ReadingRecord) == []
    assert len(bench.get(location).mirror_meter_readings) == 1


async def test_a_usage_point_with_readings_of_no_type_is_refused(bench):
    answer = await bench.ask("POST", "/mup", body=render(usage_point(bench, meter(MMR, 1, kind=None))))
    assert (answer.status, reason(answer)) == (400, 1)


async def test_a_deleted_usage_point_is_gone_and_its_readings_stay(bench):
    location = await made(bench, meter(MMR, 7))
    assert (await bench.ask("DELETE", location, "pv-2")).status == 404
    assert (await bench.ask("DELETE", location)).status == 204
    assert bench.status(location) == 404
    for method in ("DELETE", "PUT", "POST"):
        assert (await bench.ask(method, location, body=render(meter(MMR, 8)))).status == 404
    assert bench.get("/mup").all == 0
    assert [record.reading.value for record in kept(bench, ReadingRecord)] == [7]
    theirs = usage_point(bench, meter(MMR, 8), mrid="E" * 32, who="pv-2")
    assert (await bench.ask("POST", "/mup", "pv-2", render(theirs))).status == 403


async def test_a_device_has_so_many_usage_points_and_series_and_no_more(bench, monkeypatch):
    monkeypatch.setattr(mirrors, "METERS_PER_MIRROR", 2)
    location = await made(bench, meter())
    assert (await bench.ask("POST", location, body=render(meter("1" * 32, 1)))).status == 201
    answer = await bench.ask("POST", location, body=render(meter("2" * 32, 1)))
    assert (answer.status, reason(answer)) == (403, 2)
    for number in range(1, mirrors.MIRRORS_PER_DEVICE):
        await made(bench, mrid=f"{number:032X}")
    answer = await bench.ask("POST", "/mup", body=render(usage_point(bench, mrid="F" * 32)))
    assert (answer.status, reason(answer)) == (403, 2)
    assert (await bench.ask("POST", "/mup", body=render(usage_point(bench, meter())))).status == 204
    await made(bench, meter("3" * 32), mrid="E" * 32, who="pv-2")


async def test_parallel_posts_of_one_new_usage_point_make_one(bench):
    body = render(usage_point(bench, meter(MMR, 1)))
    bench.store.gate = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(bench.ask("POST", "/mup", body=body)) for _ in range(5)]
        await asyncio.sleep(0)
        bench.store.gate.set()
    answers = [task.result() for task in tasks]
    assert sorted(answer.status for answer in answers) == [201, 204, 204, 204, 204]
    assert len({answer.location for answer in answers}) == 1
    assert len(kept(bench, MirrorUsagePointRecord)) == len(bench.state.mirrors) == 1


async def test_parallel_posts_of_one_reading_keep_it_once(bench):
    location = await made(bench, meter())
    body = render(meter("D" * 32, 1, 2))
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(bench.ask("POST", location, body=body)) for _ in range(5)]
    assert sorted(task.result().status for task in tasks) == [201, 204, 204, 204, 204]
    assert len(kept(bench, ReadingRecord)) == 2
    assert len(bench.get(location).mirror_meter_readings) == 2


async def test_two_devices_that_want_one_series_at_once_do_not_both_get_it(bench):
    bodies = {
        who: render(usage_point(bench, meter(), mrid=mrid, who=who))
        for who, mrid in (("pv-1", "1" * 32), ("pv-2", "2" * 32))
    }
    bench.store.gate = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(bench.ask("POST", "/mup", who, body)) for who, body in bodies.items()]
        await asyncio.sleep(0)
        bench.store.gate.set()
    assert sorted(task.result().status for task in tasks) == [201, 403]


async def test_readings_for_a_usage_point_that_is_deleted_meanwhile_are_refused(bench):
    location = await made(bench, meter())
    bench.store.gate = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        gone = group.create_task(bench.ask("DELETE", location))
        await asyncio.sleep(0)
        late = group.create_task(bench.ask("POST", location, body=render(meter(MMR, 1))))
        again = group.create_task(bench.ask("DELETE", location))
        await asyncio.sleep(0)
        bench.store.gate.set()
    assert (gone.result().status, late.result().status, again.result().status) == (204, 400, 204)


# --- Responses ----------------------------------------------------------------------------------------------------------


def response(bench, record, status=1, who="pv-1", created=1_750_000_000):
    return Answer(created_date_time=created, end_device_lfdi=bench.LFDIS[who], status=status, subject=record.mrid)


async def test_a_response_is_kept_and_can_be_read_where_it_is_said_to_be(bench):
    record = await bench.control()
    answer = await bench.ask("POST", "/rsps/r/rsp", body=render(response(bench, record)))
    assert (answer.status, answer.body) == (201, b"")
    assert bench.get(answer.location).subject == record.mrid
    assert bench.status(answer.location, "pv-2") == 404
    (found,) = kept(bench, ResponseRecord)
    assert (found.mrid, found.der_id, found.status, found.lfdi) == (record.mrid, bench.der(), 1, bench.LFDIS["pv-1"])


async def test_the_same_response_again_has_the_same_answer_and_is_kept_once(bench):
    record = await bench.control()
    first = await bench.ask("POST", "/rsps/r/rsp", body=render(response(bench, record)))
    bench.clock.move(seconds=5)
    again = await bench.ask("POST", "/rsps/r/rsp", body=render(response(bench, record, created=1_750_000_009)))
    assert first == again
    assert [found.created_at.timestamp() for found in kept(bench, ResponseRecord)] == [1_750_000_000]


async def test_a_response_without_a_time_is_of_now(bench):
    record = await bench.control()
    await bench.ask("POST", "/rsps/r/rsp", body=render(response(bench, record, created=None)))
    assert kept(bench, ResponseRecord)[0].created_at == bench.clock.now()


async def test_hex_may_be_short_and_of_any_case(bench):
    lfdi = "00" * 4 + "AB" * 16
    (device,) = await registry.register(bench.OPERATOR, bench.state, [registry.NewDevice(lfdi=lfdi)])
    record = await bench.control()
    body = (
        f'<DERControlResponse xmlns="urn:ieee:std:2030.5:ns"><endDeviceLFDI>{lfdi.lstrip("0").lower()}</endDeviceLFDI>'
        f"<status>1</status><subject>{record.mrid.lstrip('0').lower()}</subject></DERControlResponse>"
    )
    assert (await bench.ask("POST", "/rsps/r/rsp", lfdi, body.encode())).status == 201
    assert kept(bench, ResponseRecord)[0].der_id == device.der_id


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"subject": "9" * 32}, 400, 1),
        ({"status": 0}, 400, 1),
        ({"status": None}, 400, 1),
        ({"status": 42}, 400, 1),
        ({"created_date_time": 2**62}, 400, 1),
        ({"end_device_lfdi": "02" * 20}, 403, 1),
        ({"end_device_lfdi": "EE" * 20}, 403, 1),
    ],
    ids=["no event", "status 0", "no status", "status 42", "no era", "another's", "a stranger's"],
)
async def test_a_response_that_cannot_be_true_is_refused(bench, changes, status, code):
    record = await bench.control()
    good = response(bench, record)
    bad = Answer(**{name: getattr(good, name) for name in good.__struct_fields__} | changes)
    answer = await bench.ask("POST", "/rsps/r/rsp", body=render(bad))
    assert (answer.status, reason(answer)) == (status, code)
    assert kept(bench, ResponseRecord) == []


async def test_what_is_no_response_is_refused(bench):
    answer = await bench.ask("POST", "/rsps/r/rsp", body=render(CAPABILITY))
    assert (answer.status, reason(answer)) == (400, 0)
    assert (await bench.ask("POST", "/rsps/zz/rsp", body=render(CAPABILITY))).status == 404


@pytest.mark.parametrize("status", [status for status in ResponseStatus if status < 15])
async def test_every_status_of_the_table_is_taken(bench, status):
    record = await bench.control()
    assert (await bench.ask("POST", "/rsps/r/rsp", body=render(response(bench, record, int(status))))).status == 201


# --- durability ---------------------------------------------------------------------------------------------------------


async def writes(bench):
    """Give one request of each kind that must be durable before it is acknowledged."""
    record = await bench.control()
    location = await made(bench, meter("1" * 32), mrid="1" * 32)
    return {
        "info": ("PUT", bench.own("/der/1/dercap"), render(CAPABILITY)),
        "usage point": ("POST", "/mup", render(usage_point(bench, meter(MMR, 1)))),
        "readings": ("POST", location, render(meter("1" * 32, 1))),
        "series": ("POST", location, render(meter("2" * 32, 1))),
        "response": ("POST", "/rsps/r/rsp", render(response(bench, record))),
        "delete": ("DELETE", location, b""),
    }


KINDS = ("info", "usage point", "readings", "series", "response", "delete")
RECORDS = (DerInfoRecord, MirrorUsagePointRecord, ReadingRecord, ResponseRecord)


@pytest.mark.parametrize("kind", KINDS)
async def test_what_the_store_refuses_is_503_and_nothing_is_kept(bench, kind):
    method, path, body = (await writes(bench))[kind]
    before = [kept(bench, record) for record in RECORDS]
    bench.store.refuses = True
    answer = await bench.ask(method, path, body=body)
    assert (answer.status, answer.body, dict(answer.headers)) == (503, b"", {"Retry-After": "30"})
    assert [kept(bench, record) for record in RECORDS] == before
    assert bench.state.latest == {}
    bench.store.refuses = False
    assert (await bench.ask(method, path, body=body)).status in {201, 204}


@pytest.mark.parametrize("kind", KINDS)
async def test_nothing_is_acknowledged_before_it_is_durable(bench, kind):
    method, path, body = (await writes(bench))[kind]
    before = bench.store.calls["commit"]
    bench.store.gate = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(bench.ask(method, path, body=body))
        for _ in range(20):
            await asyncio.sleep(0)
        assert bench.store.calls["commit"] == before + 1
        assert not task.done()
        bench.store.gate.set()
    assert task.result().status in {201, 204}


async def test_a_refused_series_is_free_for_others(bench):
    bench.store.refuses = True
    assert (await bench.ask("POST", "/mup", body=render(usage_point(bench, meter())))).status == 503
    bench.store.refuses = False
    await made(bench, meter(), mrid="E" * 32, who="pv-2")


async def test_everything_is_there_again_after_a_restart(bench):
    record = await bench.control()
    location = await made(bench, meter(MMR, 5))
    answer = await bench.ask("POST", "/rsps/r/rsp", body=render(response(bench, record)))
    await bench.ask("PUT", bench.own("/der/1/dercap"), body=render(CAPABILITY))
    paths = [location, answer.location, bench.own("/der/1/dercap"), f"{bench.program()}/derc", "/dcap", "/edev"]
    before = [bench.start("GET", path).body for path in paths]
    state = type(bench.state)(
        party=bench.state.party,
        store=bench.store,
        clock=bench.clock,
        random=bench.state.random,
        pen=bench.state.pen,
        grid=bench.state.grid,
    )
    state.load()
    bench.server = Sep2Server(state, Views(state, Rates(poll_s=60, post_s=300)))
    assert [bench.start("GET", path).body for path in paths] == before


async def test_an_event_of_a_program_it_left_can_still_be_answered(bench):
    record = await bench.control(duration_s=600, setpoints={"max_lim_w_pct": Decimal(10)})
    bench.clock.move(seconds=70)
    await bench.move_pv_2()
    answer = await bench.ask("POST", "/rsps/r/rsp", "pv-2", render(response(bench, record, 6, "pv-2")))
    assert answer.status == 201


async def test_a_renewed_certificate_takes_the_place_of_the_old_one(bench):
    old = bench.state.identities[bench.LFDIS["pv-1"]]
    now = bench.clock.now() + timedelta(seconds=1)
    new = replace(old, lfdi="CD" * 20, valid_from=now)
    await bench.state.commit([replace(old, valid_to=now), new])
    assert bench.status("/dcap") == 404
    assert bench.status("/dcap", "CD" * 20) == 200
    assert bench.get("/edev", "CD" * 20).items[0].lfdi == "CD" * 20


async def test_an_unknown_identifier_is_not_there(bench):
    assert bench.status(f"/edev/{der_id(1)}") == 404


async def test_requests_are_counted_by_method_and_status(bench):
    before = bench.server.requests.copy()
    await bench.ask("GET", "/dcap")
    await bench.ask("GET", "/nowhere")
    await bench.ask("BREW", "/dcap")
    await bench.ask("POST", "/edev", body=b"<EndDevice/>")
    counted = bench.server.requests - before
    assert counted == {("GET", 200): 1, ("GET", 404): 1, ("other", 501): 1, ("POST", 403): 1}
