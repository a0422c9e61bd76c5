"""What those send who stand for many: registration in band, for whom a message is, and subscriptions."""

import asyncio
from dataclasses import replace

import pytest

from tierline.model.errors import Forbidden, PeerError, Unsupported
from tierline.model.identity import Lfdi, der_id, sfdi_of
from tierline.model.records import IdentityRecord, ResponseRecord, SubscriptionRecord
from tierline.operations.serving import enrolment, registry
from tierline.operations.serving.audit import faults
from tierline.operations.serving.destinations import Destinations
from tierline.operations.serving.subscriptions import Subscriptions, TooMany
from tierline.protocols.sep2.codec import parse, render
from tierline.protocols.sep2.notifier import Locator
from tierline.protocols.sep2.resources import (
    ActivePower,
    DERCapability,
    DERControlResponse,
    DeviceInformation,
    EndDevice,
    Error,
    MirrorMeterReading,
    MirrorReadingSet,
    MirrorUsagePoint,
    Reading,
    ReadingType,
    Subscription,
)
from tierline.protocols.sep2.resources.exchange import Condition
from tierline.protocols.sep2.resources.objects import DateTimeInterval
from tierline.protocols.sep2.server import Sep2Server
from tierline.protocols.sep2.views import short

NEW = Lfdi("CD" * 20)
CAPABILITY = DERCapability(modes_supported=1 << 20, rtg_max_w=ActivePower(multiplier=0, value=5000), type=4)
URI = "https://203.0.113.7:8443/ntfy"


def reason(answer):
    return parse(answer.body, Error).reason_code


def entry(lfdi=NEW, **changes):
    given = {"lfdi": lfdi, "sfdi": sfdi_of(lfdi), "changed_time": 0, "device_category": 1 << 23} | changes
    return render(EndDevice(**given))


async def enrolled(pool, lfdi=NEW):
    answer = await pool.ask("POST", "/edev", entry(lfdi))
    assert (answer.status, answer.body) == (201, b"")
    return answer.location


# --- registration in band -------------------------------------------------------------------------------------------


async def test_a_new_der_is_201_and_can_be_read_where_it_is_said_to_be(bench, pool):
    location = await enrolled(pool)
    shown = pool.get(location)
    assert (shown.lfdi, shown.sfdi, shown.device_category, shown.enabled) == (NEW, sfdi_of(NEW), 1 << 23, True)
    pin = pool.get(shown.registration_link.href).pin
    assert 0 <= pin <= 999_999
    assert pool.get(shown.function_set_assignments_list_link.href).items[0].der_program_list_link.all == 0
    assert pool.get("/edev").all == pool.get("/dcap").end_device_list_link.all == 5
    assert bench.state.audit_tail.verb == "register"


async def test_the_same_der_again_is_204_with_the_same_place(bench, pool):
    location = await enrolled(pool)
    answer = await pool.ask("POST", "/edev", entry(device_category=None))
    assert (answer.status, answer.location, answer.body) == (204, location, b"")
    assert pool.get("/edev").all == 5


async def test_a_der_registered_out_of_band_and_the_own_entry_are_known(bench, pool):
    answer = await pool.ask("POST", "/edev", entry(Lfdi("A1" * 20)))
    assert (answer.status, answer.location) == (204, f"/edev/{pool.ders[0]}")
    for body in (entry(pool.lfdi), render(EndDevice(sfdi=sfdi_of(pool.lfdi), changed_time=0))):
        answer = await pool.ask("POST", "/edev", body)
        assert (answer.status, answer.location) == (204, f"/edev/{pool.own}")


async def test_a_category_that_is_not_said_is_not_shown(pool):
    answer = await pool.ask("POST", "/edev", entry(device_category=None))
    assert pool.get(answer.location).device_category is None


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (entry(Lfdi("01" * 20)), 403, 1),
        (entry(Lfdi("B1" * 20)), 403, 1),
        (entry(Lfdi("BB" * 20)), 403, 1),
        (entry(Lfdi("A1" * 5 + "00" * 15)), 403, 1),
        (entry(sfdi=sfdi_of(Lfdi("A1" * 20))), 400, 1),
        (render(EndDevice(sfdi=sfdi_of(NEW), changed_time=0)), 400, 1),
        (render(CAPABILITY), 400, 0),
        (b"hello", 400, 0),
    ],
    ids=["direct", "another's", "another party", "SFDI taken", "SFDI of another", "SFDI alone", "no device", "no XML"],
)
async def test_what_cannot_be_registered_is_refused_and_nothing_is_kept(
    bench, pool, other, body, status, code, is_valid
):
    before = dict(bench.state.devices)
    answer = await pool.ask("POST", "/edev", body, content_type="application/sep+xml")
    assert (answer.status, answer.location, reason(answer)) == (status, "", code)
    is_valid(answer.body)
    assert bench.state.devices == before


async def test_too_many_are_refused(pool, monkeypatch):
    monkeypatch.setattr(enrolment, "DEVICES_PER_PARTY", 3)
    answer = await pool.ask("POST", "/edev", entry())
    assert (answer.status, reason(answer)) == (403, 2)


async def test_a_device_registers_nobody_even_not_itself(bench):
    for body in (entry(), entry(bench.LFDIS["pv-1"])):
        assert (await bench.ask("POST", "/edev", body=body)).status == 403


async def test_registrations_at_once_are_one(bench, pool):
    bench.store.gate = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(pool.ask("POST", "/edev", entry())) for _ in range(4)]
        await asyncio.sleep(0)
        bench.store.gate.set()
    assert sorted(task.result().status for task in tasks) == [201, 204, 204, 204]
    assert len({task.result().location for task in tasks}) == 1


@pytest.mark.parametrize("method", ["POST", "DELETE"])
async def test_what_the_store_refuses_is_503_and_nobody_came_or_went(bench, pool, method):
    path, body = ("/edev", entry()) if method == "POST" else (f"/edev/{pool.ders[0]}", b"")
    bench.store.refuses = True
    answer = await pool.ask(method, path, body)
    assert (answer.status, dict(answer.headers)) == (503, {"Retry-After": "30"})
    assert pool.get("/edev").all == 4
    bench.store.refuses = False
    assert (await pool.ask(method, path, body)).status in {200, 201}


async def test_a_der_that_is_taken_out_is_not_there_and_what_was_stays(bench, pool):
    location = await enrolled(pool)
    record = await bench.control()
    assert (await pool.ask("POST", "/rsps/r/rsp", answer_of(NEW, record))).status == 201
    answer = await pool.ask("DELETE", location)
    assert (answer.status, answer.body, answer.location) == (200, b"", "")
    for path in (location, f"{location}/fsa", f"{location}/rg", f"{location}/der"):
        assert pool.status(path) == 404
    assert (await pool.ask("DELETE", location)).status == 404
    assert pool.get("/edev").all == 4
    assert not bench.server.knows(NEW)
    assert len(bench.store.load(ResponseRecord)) == 1
    assert faults(bench.store.load(type(bench.state.audit_tail))) == []


async def test_a_der_that_was_taken_out_comes_back_and_goes_on(bench, pool):
    location = await enrolled(pool)
    body = usage_point(NEW, 5)
    assert (await pool.ask("POST", "/mup", body)).status == 201
    assert (await pool.ask("DELETE", location)).status == 200
    assert pool.get("/mup").all == 0
    assert await enrolled(pool) == location
    assert (await pool.ask("POST", "/mup", body)).status == 201
    (identity,) = (record for record in bench.store.load(IdentityRecord) if record.lfdi == NEW)
    assert identity.valid_to is None


async def test_another_party_that_takes_it_in_may_use_its_names(bench, pool, other):
    location = await enrolled(pool)
    assert (await pool.ask("POST", "/mup", usage_point(NEW, 5))).status == 201
    assert (await other.ask("POST", "/edev", entry())).status == 403
    assert (await pool.ask("DELETE", location)).status == 200
    theirs = await enrolled(other)
    assert theirs != location
    assert pool.status(theirs) == other.status(location) == 404
    bench.store.refuses = True
    assert (await other.ask("POST", "/mup", usage_point(NEW, 6))).status == 503
    bench.store.refuses = False
    assert (await other.ask("POST", "/mup", usage_point(NEW, 6))).status == 201
    assert (await pool.ask("POST", "/mup", usage_point(pool.lfdi_of(pool.ders[0]), 6, mrid="D"))).status == 403


async def test_only_those_it_manages_can_be_taken_out(bench, pool, other):
    assert (await pool.ask("DELETE", f"/edev/{pool.own}")).status == 403
    for path in (bench.own(), f"/edev/{other.ders[0]}", f"/edev/{other.own}", f"/edev/{der_id(5)}"):
        assert (await pool.ask("DELETE", path)).status == 404
    answer = await bench.ask("DELETE", bench.own())
    assert (answer.status, answer.allow) == (405, ("GET", "HEAD"))
    answer = await pool.ask("PUT", f"/edev/{pool.ders[0]}", entry())
    assert (answer.status, answer.allow) == (405, ("GET", "HEAD", "DELETE"))
    assert pool.get("/edev").all == 4


# --- for whom a message is ------------------------------------------------------------------------------------------


def answer_of(lfdi, record, status=1):
    return render(
        DERControlResponse(created_date_time=1_750_000_000, end_device_lfdi=lfdi, status=status, subject=record.mrid)
    )


def usage_point(lfdi, *values, mrid="A"):
    readings = tuple(
        Reading(value=value, local_id=number, time_period=DateTimeInterval(start=60 * number, duration=60))
        for number, value in enumerate(values)
    )
    sets = MirrorReadingSet(mrid="C" * 32, time_period=DateTimeInterval(start=0, duration=60), readings=readings)
    meter = MirrorMeterReading(
        mrid="B" * 32,
        reading_type=ReadingType(uom=38, power_of_ten_multiplier=0, kind=37, flow_direction=19),
        mirror_reading_sets=(sets,),
    )
    return render(
        MirrorUsagePoint(
            mrid=mrid * 32,
            role_flags=73,
            service_category_kind=0,
            status=1,
            device_lfdi=lfdi,
            mirror_meter_readings=(meter,),
        )
    )


async def test_each_der_answers_an_event_for_itself_and_once(bench, pool):
    record = await bench.control()
    places = []
    for der in pool.ders[:2]:
        first = await pool.ask("POST", "/rsps/r/rsp", answer_of(pool.lfdi_of(der), record))
        again = await pool.ask("POST", "/rsps/r/rsp", answer_of(pool.lfdi_of(der), record))
        assert first == again
        assert first.status == 201
        assert pool.get(first.location).end_device_lfdi == pool.lfdi_of(der)
        places.append(first.location)
    assert len(set(places)) == 2
    kept = bench.store.load(ResponseRecord)
    assert {(found.der_id, found.lfdi) for found in kept} == {(der, pool.lfdi_of(der)) for der in pool.ders[:2]}
    assert {der: at for der, at in bench.state.last_seen.items() if der in pool.ders} == dict.fromkeys(
        pool.ders[:2], bench.NOON.timestamp()
    )


@pytest.mark.parametrize("whose", ["own", "direct", "another's", "nobody's", "shut out"])
async def test_a_response_of_none_it_stands_for_is_refused(bench, pool, other, whose):
    record = await bench.control()
    await registry.enable(bench.OPERATOR, bench.state, pool.ders[2], enabled=False)
    lfdis = {
        "own": pool.lfdi, "direct": bench.LFDIS["pv-1"], "another's": other.lfdi_of(other.ders[0]),
        "nobody's": NEW, "shut out": "A2" * 20,
    }  # fmt: skip
    answer = await pool.ask("POST", "/rsps/r/rsp", answer_of(lfdis[whose], record))
    assert (answer.status, reason(answer)) == (403, 1)
    assert bench.store.load(ResponseRecord) == []


async def test_a_der_is_named_by_the_lfdi_it_has_and_not_by_one_it_had(bench, pool):
    record = await bench.control()
    der, before = pool.ders[0], pool.lfdi_of(pool.ders[0])
    old = bench.state.identities[before]
    await bench.state.commit([replace(old, valid_to=bench.NOON), replace(old, lfdi=NEW)])
    assert (await pool.ask("POST", "/rsps/r/rsp", answer_of(before, record))).status == 403
    assert (await pool.ask("POST", "/rsps/r/rsp", answer_of(NEW, record))).status == 201
    assert bench.store.load(ResponseRecord)[0].der_id == der


async def test_a_der_says_what_it_is_through_its_party(bench, pool, other):
    der = pool.ders[0]
    path = f"/edev/{der}/der/1/dercap"
    assert (await pool.ask("PUT", path, render(CAPABILITY))).status == 204
    assert pool.get(path).rtg_max_w == CAPABILITY.rtg_max_w
    assert bench.get(path, pool.lfdi_of(der)).href == path
    assert (await other.ask("PUT", path, render(CAPABILITY))).status == 404
    assert (await pool.ask("PUT", f"/edev/{pool.own}/der/1/dercap", render(CAPABILITY))).status == 404
    assert (await pool.ask("PUT", f"/edev/{der}/der/2/dercap", render(CAPABILITY))).status == 404
    assert bench.state.last_seen[der] == bench.NOON.timestamp()


async def test_device_information_names_the_device_of_its_path(bench, pool):
    der = pool.ders[0]
    for path, lfdi, status in (
        (f"/edev/{der}/di", pool.lfdi_of(der), 204),
        (f"/edev/{der}/di", pool.lfdi, 403),
        (f"/edev/{pool.own}/di", pool.lfdi, 204),
    ):
        body = DeviceInformation(
            lfdi=lfdi, mf_date=0, mf_hw_ver="", mf_id=0, mf_model="", mf_ser_num="", primary_power=1,
            secondary_power=0, sw_act_time=0, sw_ver="",
        )  # fmt: skip
        assert (await pool.ask("PUT", path, render(body))).status == status
    assert pool.get(f"/edev/{pool.own}/di").lfdi == pool.lfdi


async def test_readings_belong_to_the_der_their_usage_point_names(bench, pool, other):
    der = pool.ders[0]
    answer = await pool.ask("POST", "/mup", usage_point(pool.lfdi_of(der), 7))
    assert answer.status == 201
    assert (await pool.ask("POST", answer.location, usage_point_readings(8, 9))).status == 204
    assert (await pool.ask("PUT", answer.location, usage_point(pool.lfdi_of(der), 7))).status == 204
    assert bench.state.latest[der, "w", 0].reading.value == 9
    assert bench.state.last_seen[der] == bench.NOON.timestamp()
    for method, body in (("POST", usage_point_readings(1)), ("PUT", usage_point(NEW, 1)), ("DELETE", b"")):
        assert (await other.ask(method, answer.location, body)).status == 404
        assert (await bench.ask(method, answer.location, body=body)).status == 404
    assert bench.get("/mup", pool.lfdi_of(der)).all == 1


def usage_point_readings(*values):
    return render(parse(usage_point(NEW, *values), MirrorUsagePoint).mirror_meter_readings[0])


async def test_a_sum_over_many_is_the_party_s_own_and_no_der_s(bench, pool, other):
    answer = await pool.ask("POST", "/mup", usage_point(pool.lfdi, 7))
    assert answer.status == 201
    assert bench.state.latest[pool.own, "w", 0].reading.value == 7
    for lfdi in (other.lfdi, bench.LFDIS["pv-1"], NEW):
        assert (await pool.ask("POST", "/mup", usage_point(lfdi, 7, mrid="D"))).status == 403


async def test_one_der_of_a_party_does_not_write_into_the_series_of_another(bench, pool):
    first, second = (pool.lfdi_of(der) for der in pool.ders[:2])
    assert (await pool.ask("POST", "/mup", usage_point(first, 7))).status == 201
    assert (await pool.ask("POST", "/mup", usage_point(second, 8))).status == 403
    assert (await pool.ask("POST", "/mup", usage_point(second, 8, mrid="D"))).status == 403


# --- subscriptions --------------------------------------------------------------------------------------------------


async def no_address(name):
    raise AssertionError(name)


@pytest.fixture
def telling(bench):
    """The bench's server, telling of changes."""
    subscriptions = Subscriptions(bench.state, Destinations(frozenset(), no_address), Locator(bench.state))
    bench.server = Sep2Server(bench.state, bench.views, subscriptions)
    return subscriptions


class Refusing:
    """Keeps no wish."""

    def __init__(self, error):
        self.error = error

    async def subscribe(self, principal, der, wish):
        raise self.error


def wish(resource, **changes):
    given = {
        "subscribed_resource": resource,
        "encoding": 0,
        "level": "+S1",
        "limit": 10,
        "notification_uri": "https://93.184.215.14:8443/ntfy",
    }
    return render(Subscription(**(given | changes)))


async def test_a_subscription_is_201_and_can_be_read_where_it_is_said_to_be(bench, pool, other, telling):
    at = f"/edev/{pool.own}/sub"
    assert pool.get(at).all == 0
    for number, resource in enumerate(("/edev", f"/edev/{pool.ders[0]}/fsa/t/derp", f"{bench.program()}/derc"), 1):
        answer = await pool.ask("POST", at, wish(resource))
        assert (answer.status, answer.body) == (201, b"")
        shown = pool.get(answer.location)
        assert (shown.subscribed_resource, shown.level, shown.limit, shown.encoding) == (resource, "+S1", 10, 0)
        assert pool.get(f"/edev/{pool.own}").subscription_list_link.all == pool.get(at).all == number
        assert other.status(answer.location) == bench.status(answer.location) == 404
    listed = pool.get(f"{at}?l=255").items
    assert [item.href for item in listed] == sorted(item.href for item in listed)
    assert pool.get(f"{at}?s=1&l=1").items == listed[1:2]
    assert {record.der_id for record in bench.store.load(SubscriptionRecord)} == {pool.own}


@pytest.mark.parametrize("path", ["/edev", "{own}", "{own}/fsa", "{own}/fsa/t/derp", "{program}", "{program}/derc"])
async def test_a_device_may_subscribe_too(bench, telling, path):
    resource = path.format(own=bench.own(), program=bench.program())
    answer = await bench.ask("POST", bench.own("/sub"), body=wish(resource))
    assert answer.status == 201
    assert bench.get(answer.location).subscribed_resource == resource
    assert bench.status(answer.location, "pv-2") == 404


async def test_the_same_subscription_again_is_renewed(bench, pool, telling):
    at = f"/edev/{pool.own}/sub"
    first = await pool.ask("POST", at, wish("/edev"))
    bench.clock.move(hours=24)
    again = await pool.ask("POST", at, wish("/edev", limit=20))
    assert (again.status, again.location) == (204, first.location)
    assert pool.get(first.location).limit == 20
    answer = await pool.ask("PUT", first.location, wish("/edev", limit=30))
    assert (answer.status, answer.location) == (204, first.location)
    assert pool.get(first.location).limit == 30
    for changes in ({"subscribed_resource": f"/edev/{pool.own}"}, {"notification_uri": "https://93.184.215.14/other"}):
        answer = await pool.ask("PUT", first.location, wish("/edev", **changes))
        assert (answer.status, reason(answer)) == (400, 1)
    assert pool.get(at).all == 1


async def test_a_cancelled_subscription_is_gone(bench, pool, other, telling):
    location = (await pool.ask("POST", f"/edev/{pool.own}/sub", wish("/edev"))).location
    for who in (other, pool):
        assert (await who.ask("DELETE", f"/edev/{who.own}/sub/{der_id(7)}")).status == 404
    assert (await other.ask("DELETE", location)).status == 404
    assert (await pool.ask("DELETE", location)).status == 204
    for method, body in (("GET", b""), ("DELETE", b""), ("PUT", wish("/edev"))):
        assert (await pool.ask(method, location, body)).status == 404
    assert pool.get(f"/edev/{pool.own}").subscription_list_link.all == 0
    assert bench.store.load(SubscriptionRecord) == []


@pytest.mark.parametrize(
    ("resource", "status"),
    [
        ("/edev/{theirs}", 404),
        ("/edev/{theirs}/fsa", 404),
        ("/edev/{own}/fsa", 404),
        ("/derp/aaaa", 404),
        ("/nowhere", 404),
        ("/edev?l=255", 404),
        ("https://127.0.0.1/edev", 404),
        ("/dcap", 400),
        ("/tm", 400),
        ("/mup", 400),
        ("/edev/{der}/fsa/t", 400),
        ("/edev/{der}/der", 400),
        ("/upt", 400),
        ("{program}/dc", 400),
    ],
)
async def test_what_is_not_there_or_does_not_change_cannot_be_subscribed_to(
    bench, pool, other, telling, resource, status
):
    named = resource.format(theirs=other.ders[0], own=pool.own, der=pool.ders[0], program=bench.program())
    answer = await pool.ask("POST", f"/edev/{pool.own}/sub", wish(named))
    assert (answer.status, answer.location) == (status, "")
    assert bench.store.load(SubscriptionRecord) == []


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"condition": Condition(attribute_identifier=0, lower_threshold=0, upper_threshold=1)}, 400, 3),
        ({"encoding": 1}, 400, 1),
        ({"level": "+S9"}, 400, 1),
        ({"notification_uri": "http://93.184.215.14/ntfy"}, 400, 1),
        ({"notification_uri": "https://127.0.0.1/ntfy"}, 403, 1),
    ],
    ids=["a condition", "EXI", "another level", "no TLS", "this machine"],
)
async def test_a_wish_that_cannot_be_fulfilled_is_refused(bench, pool, telling, is_valid, changes, status, code):
    answer = await pool.ask("POST", f"/edev/{pool.own}/sub", wish("/edev", **changes))
    assert (answer.status, reason(answer)) == (status, code)
    is_valid(answer.body)
    assert bench.store.load(SubscriptionRecord) == []


def thresholds(lower=10, upper=20, identifier=0):
    return Condition(attribute_identifier=identifier, lower_threshold=lower, upper_threshold=upper)


async def mirrored(bench, pool):
    """Let a member mirror a series; gives the path of its latest reading."""
    made = await pool.ask("POST", "/mup", usage_point(pool.lfdi_of(pool.ders[0]), 7))
    return f"{made.location.replace('mup', 'upt')}/mr/{short('B' * 32)}/r"


async def test_who_stands_for_a_der_subscribes_to_its_readings_with_thresholds(bench, pool, telling):
    reading = await mirrored(bench, pool)
    at = f"/edev/{pool.own}/sub"
    for resource in (reading, f"{reading[:-2]}/rs/l/r"):
        made = await pool.ask("POST", at, wish(resource, condition=thresholds()))
        assert made.status == 201
        assert pool.get(made.location).condition == thresholds()
        again = await pool.ask("POST", at, wish(resource, condition=thresholds(-5, 5)))
        assert (again.status, again.location) == (204, made.location)
        assert pool.get(made.location).condition == thresholds(-5, 5)
        assert (await pool.ask("PUT", made.location, wish(resource))).status == 204
        assert pool.get(made.location).condition is None


async def test_readings_of_another_are_refused_as_those_of_nobody(bench, pool, other, telling):
    reading = await mirrored(bench, pool)
    nobody = reading.replace(reading.split("/")[2], der_id(7))
    answers = [await other.ask("POST", f"/edev/{other.own}/sub", wish(path)) for path in (reading, nobody)]
    assert answers[0] == answers[1]
    assert (answers[0].status, answers[0].body) == (404, b"")
    assert (await bench.ask("POST", bench.own("/sub"), body=wish(reading))).status == 404
    assert bench.store.load(SubscriptionRecord) == []


async def test_thresholds_that_cannot_be_kept_are_refused(bench, pool, telling, is_valid):
    reading = await mirrored(bench, pool)
    for condition, code in ((thresholds(identifier=1), 3), (thresholds(20, 10), 1)):
        answer = await pool.ask("POST", f"/edev/{pool.own}/sub", wish(reading, condition=condition))
        assert (answer.status, reason(answer)) == (400, code)
        is_valid(answer.body)
    for path in ("", "/rt", "/rs", "/rs/l"):
        answer = await pool.ask("POST", f"/edev/{pool.own}/sub", wish(f"{reading[:-2]}{path}"))
        assert (answer.status, reason(answer)) == (400, 1)
    assert bench.store.load(SubscriptionRecord) == []


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (PeerError("no"), 400, 1),
        (Forbidden("no"), 403, 1),
        (Unsupported("no"), 400, 1),
        (TooMany("no"), 403, 2),
    ],
)
async def test_what_is_not_kept_is_said_so(bench, pool, error, status, code):
    bench.server = Sep2Server(bench.state, bench.views, Refusing(error))
    answer = await pool.ask("POST", f"/edev/{pool.own}/sub", wish("/edev"))
    assert (answer.status, reason(answer)) == (status, code)


async def test_subscriptions_stand_under_the_entry_of_who_is_told(bench, pool, telling):
    der = pool.ders[0]
    own = await bench.ask("POST", f"/edev/{der}/sub", "A1" * 20, wish(f"/edev/{der}/fsa"))
    assert own.status == 201
    assert pool.get(f"/edev/{der}/sub").all == pool.get(f"/edev/{der}").subscription_list_link.all == 0
    assert bench.get(f"/edev/{der}", "A1" * 20).subscription_list_link.all == 1
    assert (await pool.ask("POST", f"/edev/{der}/sub", wish("/edev"))).status == 403
    mine = (await pool.ask("POST", f"/edev/{pool.own}/sub", wish("/edev"))).location
    elsewhere = f"/edev/{der}/sub/{mine.rsplit('/', 1)[1]}"
    for path, resource in ((own.location, f"/edev/{der}/fsa"), (elsewhere, "/edev")):
        for method, body in (("GET", b""), ("DELETE", b""), ("PUT", wish(resource))):
            assert (await pool.ask(method, path, body)).status == 404
    assert pool.status(mine) == 200


async def test_a_node_that_tells_nobody_takes_no_subscriptions(bench, pool):
    assert pool.get(f"/edev/{pool.own}/sub").all == 0
    answer = await pool.ask("POST", f"/edev/{pool.own}/sub", wish("/edev"))
    assert (answer.status, reason(answer)) == (400, 1)
    assert (await pool.ask("DELETE", f"/edev/{pool.own}/sub/{der_id(7)}")).status == 404


async def test_a_default_can_be_subscribed_to_where_there_is_one(bench, pool, telling):
    at, default = f"/edev/{pool.own}/sub", f"{bench.program()}/dderc"
    assert (await pool.ask("POST", at, wish(default))).status == 404
    await bench.default()
    assert pool.get(default).subscribable == 1
    assert (await pool.ask("POST", at, wish(default))).status == 201
