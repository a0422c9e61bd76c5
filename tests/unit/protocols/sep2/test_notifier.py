from datetime import timedelta
from decimal import Decimal

import pytest

from tierline.model.identity import PartyId
from tierline.model.records import NoticeRecord, NoticeStatus, SubscriptionRecord
from tierline.operations.serving import prices
from tierline.operations.serving.watching import Watch, Watched
from tierline.protocols.sep2.codec import parse, render
from tierline.protocols.sep2.hrefs import Place
from tierline.protocols.sep2.notifier import Locator, Notifier, has_values, is_subscribable
from tierline.protocols.sep2.resources import (
    DateTimeInterval,
    MirrorMeterReading,
    MirrorReadingSet,
    MirrorUsagePoint,
    Notification,
    Reading,
    ReadingType,
)
from tierline.protocols.sep2.views import short


@pytest.fixture
def meter_of(bench):
    """Let pv-1 mirror a series; gives the path of its usage point and of the series."""

    async def make(*values):
        readings = tuple(
            Reading(value=value, time_period=DateTimeInterval(start=60 * number, duration=60), local_id=number)
            for number, value in enumerate(values)
        )
        period = DateTimeInterval(start=0, duration=60)
        sets = MirrorReadingSet(mrid="D" * 32, time_period=period, readings=readings)
        meter = MirrorMeterReading(mrid="B" * 32, reading_type=ReadingType(uom=38), mirror_reading_sets=(sets,))
        lfdi = bench.LFDIS["pv-1"]
        mirror = MirrorUsagePoint(
            mrid="A" * 32,
            role_flags=73,
            service_category_kind=0,
            status=1,
            device_lfdi=lfdi,
            mirror_meter_readings=(meter,),
        )
        point = (await bench.ask("POST", "/mup", body=render(mirror))).location.replace("mup", "upt")
        return point, f"{point}/mr/{short('B' * 32)}"

    return make


@pytest.fixture
def tell(bench, is_valid):
    """Give the notice of pv-1, or another, about a path; it is valid by the schema."""
    notifier = Notifier(bench.views.resource)

    def make(path, limit=255, who="pv-1", status=NoticeStatus.CHANGED):
        device = bench.state.devices[bench.der(who)]
        times = {"created_at": bench.NOON, "renewed_at": bench.NOON}
        record = SubscriptionRecord(
            party=PartyId("utility"),
            subscription_id="abc",
            der_id=device.der_id,
            resource=path,
            notification_uri="https://192.0.2.20/x",
            encoding=0,
            level="+S1",
            limit=limit,
            **times,
        )
        notice = NoticeRecord(
            party=PartyId("utility"),
            subscription_id="abc",
            status=status,
            since=bench.NOON,
            attempts=0,
            next_at=bench.NOON,
        )
        told = notifier.tell(record, notice, device, bench.clock.now())
        is_valid(told.document)
        return parse(told.document, Notification), told

    return make


async def test_a_notice_holds_what_a_get_would_give(bench, tell):
    await bench.control()
    await bench.default()
    program = bench.program()
    paths = [
        "/edev",
        bench.own(),
        bench.own("/fsa"),
        bench.own("/fsa/t/derp"),
        program,
        f"{program}/derc",
        f"{program}/dderc",
    ]
    for path in paths:
        notice, told = tell(path)
        assert not told.is_last
        assert (notice.subscribed_resource, notice.status) == (path, 0)
        assert notice.subscription_uri == bench.own("/sub/abc")
        assert notice.resource == bench.get(f"{path}?l=255")
        kind = type(notice.resource).__name__
        assert f'xsi:type="{kind}"'.encode() in told.document


async def test_a_list_is_cut_to_the_limit_and_says_how_many_there_are(bench, tell):
    for start_s in (60, 200, 400):
        await bench.control(start_s)
    notice, _ = tell(f"{bench.program()}/derc", limit=2)
    assert (notice.resource.all, notice.resource.results) == (3, 2)


async def test_readings_and_active_controls_are_told_as_they_are_read(bench, tell, meter_of):
    await bench.control(start_s=0)
    point, at = await meter_of(5, 7)
    for path in (f"{bench.program()}/actderc", f"{at}/r", f"{at}/rs/l/r"):
        notice, told = tell(path)
        assert not told.is_last
        assert notice.resource == bench.get(f"{path}?l=255")
        assert f'xsi:type="{type(notice.resource).__name__}"'.encode() in told.document
    notice, _ = tell(f"{at}/rs/l/r", limit=1)
    assert [item.value for item in notice.resource.items] == [7]
    assert (await bench.ask("DELETE", point.replace("upt", "mup"))).status == 204
    notice, told = tell(f"{at}/r")
    assert (notice.status, notice.resource, told.is_last) == (NoticeStatus.DELETED, None, True)


async def test_a_limit_of_0_asks_for_no_body(bench, tell):
    await bench.control()
    notice, told = tell(f"{bench.program()}/derc", limit=0)
    assert (notice.status, notice.resource) == (0, None)
    assert not told.is_last


async def test_a_notice_shows_the_time_of_its_sending(bench, tell):
    await bench.control(60, 60)
    path = f"{bench.program()}/derc"
    assert tell(path)[0].resource.items[0].event_status.current_status == 0
    bench.clock.move(seconds=61)
    assert tell(path)[0].resource.items[0].event_status.current_status == 1


async def test_what_is_not_seen_any_more_is_told_as_gone(bench, tell):
    program = bench.program()
    assert not tell(f"{program}/derc", who="pv-2")[1].is_last
    await bench.move_pv_2()
    notice, told = tell(f"{program}/derc", who="pv-2")
    assert told.is_last
    assert (notice.status, notice.resource) == (4, None)
    assert not tell(f"{program}/derc")[1].is_last


async def test_a_notice_with_a_status_of_its_own_is_the_last(bench, tell):
    for limit in (0, 10):
        notice, told = tell("/edev", limit, status=NoticeStatus.CANCELLED)
        assert (notice.status, notice.resource, told.is_last) == (1, None, True)


def test_another_device_is_never_shown(bench, tell):
    notice, told = tell(bench.own(name="pv-2"))
    assert (notice.status, notice.resource, told.is_last) == (4, None, True)


async def test_paths_are_found_what_they_stand_for(bench):
    locate = Locator(bench.state)
    program = bench.program()
    mrid = bench.state.programs_of[bench.feeder()][0]
    der = bench.der()
    assert {path: locate(path) for path in ("/edev", bench.own(), bench.own("/fsa"), bench.own("/fsa/t/derp"))} == {
        "/edev": Watch(Watched.END_DEVICES),
        bench.own(): Watch(Watched.END_DEVICE, der),
        bench.own("/fsa"): Watch(Watched.ASSIGNMENTS, der),
        bench.own("/fsa/t/derp"): Watch(Watched.PROGRAMS, der),
    }
    assert locate(program) == Watch(Watched.PROGRAM, mrid)
    assert locate(f"{program}/derc") == Watch(Watched.CONTROLS, mrid)
    assert locate(f"{program}/dderc") == Watch(Watched.DEFAULT, mrid)


@pytest.mark.parametrize(
    "path", ["", "edev", "/edev?l=1", "https://192.0.2.1/edev", "/dcap", "/tm", "/derp/abc/derc", "/x"]
)
def test_what_cannot_be_subscribed_to_is_found_nothing(bench, path):
    assert Locator(bench.state)(path) is None


async def test_what_is_subscribable_says_so(bench):
    """Wherever the attribute is shown, the place can be subscribed to, and the other way round."""
    await bench.control()
    await bench.default()
    program = bench.program()
    paths = ["/dcap", "/tm", "/edev", "/mup", "/rsps", program]
    paths += [bench.own(rest) for rest in ("", "/fsa", "/fsa/t", "/fsa/t/derp", "/der", "/der/1")]
    paths += [f"{program}/{rest}" for rest in ("derc", "actderc", "dderc", "dc")]
    locate = Locator(bench.state)
    for path in paths:
        shown = getattr(bench.get(path), "subscribable", None)
        assert (shown == 1) == (locate(path) is not None), path


def test_places_are_subscribable_or_not():
    assert is_subscribable(Place.DER_CONTROL_LIST)
    assert not is_subscribable(Place.READING_SET_LIST)
    assert has_values(Place.READING)
    assert not has_values(Place.DER_CONTROL_LIST)
    assert not has_values(Place.TIME)


async def test_a_series_is_found_by_its_usage_point_and_mrid(bench, meter_of):
    point, at = await meter_of(5)
    locate = Locator(bench.state)
    named = (bench.der(), point.removeprefix("/upt/"), "B" * 32)
    assert locate(f"{at}/r") == Watch(Watched.READING, *named)
    assert locate(f"{at}/rs/l/r") == Watch(Watched.READINGS, *named)
    assert locate(f"{point}/mr/zz/r") is None
    assert locate("/upt/zz/mr/zz/r") is None
    assert locate(f"{at}/rs") is None


async def test_a_new_program_is_found(bench):
    locate = Locator(bench.state)
    assert locate(bench.program("feeder-2")) is not None
    served = bench.state.programs[bench.state.programs_of[bench.feeder()][0]]
    bench.clock.move(seconds=timedelta(1).total_seconds())
    assert locate(bench.program()).program == served.record.mrid


async def test_tariffs_and_their_prices_can_be_subscribed_to_and_what_hangs_on_them_cannot(bench, tell):
    new = prices.NewTariff(description="day ahead", currency=978)
    tariff = await prices.create_tariff(bench.OPERATOR, bench.state, new)
    price = prices.NewPrice(start=bench.NOON, duration_s=3600, price=Decimal("0.1"))
    await prices.set_prices(bench.OPERATOR, bench.state, tariff.mrid, [price])
    locate, at = Locator(bench.state), f"/tp/{short(tariff.mrid)}"
    assert locate("/tp") == Watch(Watched.TARIFFS)
    assert locate(bench.own("/fsa/t/tp")) == Watch(Watched.TARIFFS, bench.der())
    assert locate(f"{at}/rc/1/tti") == Watch(Watched.PRICES, tariff.mrid)
    assert locate(f"{at}/rc/1/actti") == Watch(Watched.ACTIVE_PRICES, tariff.mrid)
    for path in (at, f"{at}/rc", f"{at}/rc/1", f"{at}/rc/1/rt", "/tp/aaaaaaaaaaaaa/rc/1/tti"):
        assert locate(path) is None
    for path in ("/tp", bench.own("/fsa/t/tp"), f"{at}/rc/1/tti", f"{at}/rc/1/actti"):
        notice, told = tell(path)
        assert (notice.resource, told.is_last) == (bench.get(f"{path}?l=255"), False)
        assert (notice.resource.subscribable, notice.resource.all) == (1, 1)
    await prices.withdraw_prices(bench.OPERATOR, bench.state, tariff.mrid, [bench.NOON])
    await prices.remove_tariff(bench.OPERATOR, bench.state, tariff.mrid)
    notice, told = tell(f"{at}/rc/1/tti")
    assert (notice.status, told.is_last) == (4, True)
