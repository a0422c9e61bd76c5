"""Usage points, their series and their readings, as those read them who may."""

from datetime import timedelta
from functools import partial

import pytest

from tierline.model.identity import PartyId, der_id
from tierline.operations.serving import topology
from tierline.operations.serving.state import Serving
from tierline.operations.serving.tails import KEPT
from tierline.protocols.sep2.codec import parse, render
from tierline.protocols.sep2.hrefs import Place, parse_path
from tierline.protocols.sep2.lists import in_order
from tierline.protocols.sep2.resources import (
    DateTimeInterval,
    List,
    MeterReadingList,
    MirrorMeterReading,
    MirrorReadingSet,
    MirrorUsagePoint,
    Reading,
    ReadingList,
    ReadingType,
    UsagePointList,
)
from tierline.protocols.sep2.resources.der import DERStatus
from tierline.protocols.sep2.resources.exchange import DERControlResponse
from tierline.protocols.sep2.server import Sep2Server
from tierline.protocols.sep2.views import Rates, Views, short

POWER, VOLTAGE = "B" * 32, "C" * 32
WORDS = "Roof of Ada, 12 Mill Lane"


def meter(*values, mrid=POWER, start=0, uom=38):
    """Make a series with a reading per minute."""
    readings = tuple(
        Reading(value=value, local_id=number, time_period=DateTimeInterval(start=start + 60 * number, duration=60))
        for number, value in enumerate(values)
    )
    sets = MirrorReadingSet(mrid="D" * 32, time_period=DateTimeInterval(start=start, duration=60), readings=readings)
    return MirrorMeterReading(
        mrid=mrid,
        description=WORDS,
        reading_type=ReadingType(uom=uom, power_of_ten_multiplier=1, kind=37, flow_direction=19),
        mirror_reading_sets=(sets,) if values else (),
    )


def mirror(lfdi, *meters, mrid="A" * 32):
    return MirrorUsagePoint(
        mrid=mrid,
        description=WORDS,
        role_flags=0x49,
        service_category_kind=0,
        status=1,
        device_lfdi=lfdi,
        mirror_meter_readings=meters,
    )


async def posted(bench, *values, who="pv-1", mrid="A" * 32, series=POWER):
    """Let a device make a mirror with one series; gives the path of its usage point."""
    lfdi = bench.LFDIS[who]
    made = await bench.ask("POST", "/mup", who, render(mirror(lfdi, meter(*values, mrid=series), mrid=mrid)))
    assert made.status == 201
    return made.location.replace("/mup/", "/upt/")


def series_at(point, mrid=POWER):
    return f"{point}/mr/{short(mrid)}"


def metering_paths(bench, who="pv-1"):
    """Follow what is named from the entry to the readings."""
    seen, waiting = [], ["/upt"]
    while waiting:
        path = waiting.pop()
        if path not in seen:
            seen.append(path)
            found = bench.get(f"{path}?l=255", who)
            assert found.href == path
            if isinstance(found, List):
                assert found.all == len(found.items)
                assert list(found.items) == in_order(found.items)
            waiting += bench.links(found)
    return seen


async def test_from_the_entry_to_the_latest_reading_by_links_alone(bench):
    await posted(bench, 5, 7)
    entry = bench.get("/dcap").usage_point_list_link
    assert entry.all == 1
    (point,) = bench.get(f"{entry.href}?l=255").items
    assert (point.mrid, point.role_flags, point.status, point.device_lfdi) == ("A" * 32, 0x49, 1, bench.LFDIS["pv-1"])
    (series,) = bench.get(f"{point.meter_reading_list_link.href}?l=255").items
    assert series.mrid == POWER
    kind = bench.get(series.reading_type_link.href)
    assert (kind.uom, kind.power_of_ten_multiplier, kind.flow_direction) == (38, 1, 19)
    last = bench.get(series.reading_link.href)
    assert (last.value, last.time_period, last.subscribable) == (7, DateTimeInterval(start=60, duration=60), 3)
    (readings,) = bench.get(f"{series.reading_set_list_link.href}?l=255").items
    assert readings.time_period == DateTimeInterval(start=0, duration=120)
    listed = bench.get(f"{readings.reading_list_link.href}?l=255")
    assert (listed.subscribable, readings.reading_list_link.all) == (3, 2)
    assert [(item.local_id, item.value) for item in listed.items] == [(0, 5), (1, 7)]


async def test_every_kind_of_place_is_reached_and_valid(bench):
    await posted(bench, 5)
    places = {parse_path(path).place for path in metering_paths(bench)}
    assert places == {
        Place.USAGE_POINT_LIST,
        Place.USAGE_POINT,
        Place.METER_READING_LIST,
        Place.METER_READING,
        Place.READING_TYPE,
        Place.READING,
        Place.READING_SET_LIST,
        Place.READING_SET,
        Place.READING_LIST,
    }


async def test_words_of_a_peer_are_not_shown(bench):
    await posted(bench, 5)
    for path in metering_paths(bench):
        assert b"Mill Lane" not in bench.start("GET", f"{path}?l=255").body


async def test_lists_are_in_the_order_of_the_standard_and_cut_into_pages(bench):
    point = await posted(bench, 5)
    await posted(bench, 5, mrid="F" * 32, series="E" * 32)
    assert [item.mrid for item in bench.get("/upt?l=255").items] == ["F" * 32, "A" * 32]
    second = render(meter(1, mrid=VOLTAGE, uom=29))
    assert (await bench.ask("POST", point.replace("upt", "mup"), "pv-1", second)).status == 201
    assert [item.mrid for item in bench.get(f"{point}/mr?l=255").items] == [VOLTAGE, POWER]
    for path in ("/upt", f"{point}/mr"):
        first, last, none = (bench.get(f"{path}?s={start}&l=1") for start in (0, 1, 2))
        assert [page.all for page in (first, last, none)] == [2, 2, 2]
        assert [page.results for page in (first, last, none)] == [1, 1, 0]
    page = bench.get(
        f"{series_at(await posted(bench, 1, 2, 3, mrid='9' * 32, series='8' * 32), '8' * 32)}/rs/l/r?s=1&l=1"
    )
    assert (page.all, [(item.local_id, item.value) for item in page.items]) == (3, [(1, 2)])


async def test_only_the_last_readings_are_held_and_the_store_is_not_asked_for_them(bench):
    point = await posted(bench, *range(KEPT + 3))
    calls = bench.store.calls["load"]
    listed = bench.get(f"{series_at(point)}/rs/l/r?l=255")
    assert [item.value for item in listed.items] == list(range(3, KEPT + 3))
    assert bench.get(f"{series_at(point)}/rs").all == 1
    assert bench.store.calls["load"] == calls


async def test_a_series_without_a_reading_is_there_and_empty(bench):
    point = await posted(bench)
    last = bench.get(f"{series_at(point)}/r")
    assert (last.value, last.time_period, last.subscribable) == (None, None, 3)
    assert bench.get(f"{series_at(point)}/rs/l/r").all == 0
    made_at = int(bench.NOON.timestamp())
    assert bench.get(f"{series_at(point)}/rs/l").time_period == DateTimeInterval(start=made_at, duration=0)


async def test_an_older_reading_that_comes_late_is_not_the_latest(bench):
    point = await posted(bench, 1, 2)
    late = render(meter(9, start=-30 + 60))
    assert (await bench.ask("POST", point.replace("upt", "mup"), "pv-1", late)).status == 204
    assert bench.get(f"{series_at(point)}/r").value == 2
    assert [item.value for item in bench.get(f"{series_at(point)}/rs/l/r?l=255").items] == [1, 9, 2]


async def test_another_or_nobody_sees_nothing_of_it_as_of_what_is_not_there(bench):
    await posted(bench, 5)
    for path in metering_paths(bench)[1:]:
        missing = f"/upt/{der_id(7)}" + "".join(f"/{part}" for part in path.split("/")[3:])
        for method in ("GET", "HEAD", "PUT", "POST", "DELETE"):
            answer = await bench.ask(method, path, "pv-2")
            assert answer == await bench.ask(method, missing, "pv-2")
            assert (answer.status, answer.body) == (404, b"")
        assert bench.status(path, bench.STRANGER) == 404
    assert bench.get("/upt", "pv-2").all == bench.get("/dcap", "pv-2").usage_point_list_link.all == 0


async def test_it_is_read_only(bench):
    await posted(bench, 5)
    for path in metering_paths(bench):
        for method in ("PUT", "POST", "DELETE"):
            answer = await bench.ask(method, path, "pv-1", b"<x/>")
            assert (answer.status, answer.allow) == (405, ("GET", "HEAD"))


@pytest.mark.parametrize("rest", ["/mr/zz", "/mr/zz/r", "/mr/zz/rt", "/mr/zz/rs", "/mr/zz/rs/l", "/mr/zz/rs/l/r"])
async def test_a_series_that_is_not_there_is_missing(bench, rest):
    point = await posted(bench, 5)
    assert bench.status(f"{point}{rest}") == 404


async def test_a_set_that_is_not_there_is_missing(bench):
    at = series_at(await posted(bench, 5))
    assert [bench.status(f"{at}/rs/{rest}") for rest in ("x", "x/r", "l", "l/r")] == [404, 404, 200, 200]


async def test_who_stands_for_a_der_sees_its_readings_and_no_others(bench, pool, other):
    mine = pool.lfdi_of(pool.ders[0])
    made = await pool.ask("POST", "/mup", render(mirror(mine, meter(5))))
    point = made.location.replace("mup", "upt")
    assert pool.get("/upt").all == pool.get("/dcap").usage_point_list_link.all == 1
    assert pool.get(f"{series_at(point)}/r").value == 5
    assert bench.get(f"{series_at(point)}/r", mine).value == 5
    assert other.get("/upt").all == 0
    for path in (point, f"{point}/mr", f"{series_at(point)}/r", f"{series_at(point)}/rs/l/r"):
        assert other.status(path) == bench.status(path, "pv-1") == 404


WEST, EAST = "west", "east"


@pytest.fixture
async def points(bench, make_pool):
    """The utility where feeder-1 is served by west and feeder-2 by east; gives both. A switching operation moves pv-2 to east."""
    bench.state = Serving(
        party=bench.state.party, store=bench.store, clock=bench.clock, random=bench.state.random, pen=bench.PEN,
        grid=bench.state.grid, control_points={"feeder-1": PartyId(WEST), "feeder-2": PartyId(EAST)},
    )  # fmt: skip
    bench.state.load()
    bench.views = Views(bench.state, Rates(poll_s=60, post_s=300))
    bench.server = Sep2Server(bench.state, bench.views)
    return [await make_pool(bench, party, lfdi * 20) for party, lfdi in ((WEST, "CC"), (EAST, "DD"))]


def heard(peer, point, response, der):
    """Tell what a peer may read of a DER: all of what it measured, answered and said, or nothing."""
    at = series_at(point)
    paths = [point, f"{point}/mr", at, f"{at}/rt", f"{at}/r", f"{at}/rs", f"{at}/rs/l", f"{at}/rs/l/r"]
    paths += [response, f"/edev/{der}/der/1/ders", f"/edev/{der}/upt"]
    statuses = {peer.status(path) for path in paths}
    assert len(statuses) == 1, {path: peer.status(path) for path in paths}
    is_heard = statuses == {200}
    assert peer.get("/upt").all == peer.get("/dcap").usage_point_list_link.all == is_heard
    assert peer.get("/rsps/r/rsp").all == is_heard
    assert peer.get("/mup").all == peer.get("/dcap").mirror_usage_point_list_link.all == 1, "where readings go"
    return is_heard


async def test_a_control_point_hears_of_a_der_while_it_feeds_it_and_what_it_holds_is_taken_afterwards(bench, points):
    west, east = points
    der, lfdi = bench.der("pv-2"), bench.LFDIS["pv-2"]
    control = await bench.control()
    made = await west.ask("POST", "/mup", render(mirror(lfdi, meter(5, 6))))
    point = made.location.replace("mup", "upt")
    said = DERControlResponse(created_date_time=1, end_device_lfdi=lfdi, status=1, subject=control.mrid)
    answered = (await west.ask("POST", "/rsps/r/rsp", render(said))).location
    await west.ask("PUT", f"/edev/{der}/der/1/ders", render(DERStatus(reading_time=1)))
    seen = partial(heard, point=point, response=answered, der=der)
    assert (seen(west), seen(east)) == (True, False)
    await bench.move_pv_2()
    assert (seen(west), seen(east)) == (False, True)
    assert (await west.ask("POST", made.location, render(meter(7, start=120)))).status == 204
    again = await west.ask("POST", "/mup", render(mirror(lfdi, meter(8, start=180))))
    assert (again.status, west.get(again.location).device_lfdi) == (204, lfdi), "it finds where they go"
    assert (seen(west), seen(east)) == (False, True)
    assert [one.value for one in east.get(f"{series_at(point)}/rs/l/r?l=255").items] == [5, 6, 7, 8]
    assert bench.get(f"{series_at(point)}/r", "pv-2").value == 8, "its own it always reads"
    await topology.confirm_switching(bench.OPERATOR, bench.state, {3: True, 2: False})
    assert (seen(west), seen(east)) == (True, False)


async def test_the_assignments_of_a_der_name_its_own_usage_points(bench, pool):
    for number, der in enumerate(pool.ders[:2]):
        mine = mirror(pool.lfdi_of(der), meter(5, mrid=f"{number + 2}" * 32), mrid=f"{number + 4}" * 32)
        await pool.ask("POST", "/mup", render(mine))
    for number, der in enumerate(pool.ders[:2]):
        link = pool.get(f"/edev/{der}/fsa/t").usage_point_list_link
        assert (link.href, link.all) == (f"/edev/{der}/upt", None)
        listed = pool.get(f"{link.href}?l=255")
        assert listed.href == link.href
        assert [item.mrid for item in listed.items] == [f"{number + 4}" * 32]
    assert pool.get(f"/edev/{pool.ders[2]}/upt").all == 0
    assert bench.status(f"/edev/{pool.ders[0]}/upt") == 404


async def test_what_a_device_no_longer_mirrors_is_gone(bench):
    point = await posted(bench, 5)
    lfdi = bench.LFDIS["pv-1"]
    await bench.ask("POST", "/mup", "pv-1", render(mirror(lfdi, meter(1, mrid=VOLTAGE, uom=29))))
    assert bench.status(f"{series_at(point)}/r") == 404
    assert bench.get(f"{series_at(point, VOLTAGE)}/r").value == 1
    assert (await bench.ask("DELETE", point.replace("upt", "mup"))).status == 204
    assert bench.status(point) == 404
    assert bench.get("/upt").all == 0


async def test_a_notice_of_a_list_of_readings_holds_the_last_of_them(bench):
    at = f"{series_at(await posted(bench, 1, 2, 3))}/rs/l/r"
    device = bench.state.devices[bench.der()]
    shown = parse(bench.views.resource(at, 2, device, bench.NOON + timedelta(seconds=1)), ReadingList)
    assert (shown.all, [(item.local_id, item.value) for item in shown.items]) == (3, [(1, 2), (2, 3)])
    assert bench.views.resource(at.replace("/rs/l/", "/rs/x/"), 2, device, bench.NOON) is None
    assert bench.views.resource(at.replace("/upt/", "/upt/a"), 2, device, bench.NOON) is None
    assert isinstance(parse(bench.views.resource("/upt", 2, device, bench.NOON)), UsagePointList)
    assert isinstance(parse(bench.views.resource(f"{at[:18]}/mr", 2, device, bench.NOON)), MeterReadingList)
