"""What those see who stand for many, and what a control point sees and takes over."""

from collections import Counter
from dataclasses import replace
from datetime import timedelta

import pytest

from tierline.model.identity import GroupId, Lfdi, PartyId, der_id, sfdi_of
from tierline.model.programs import ResponseStatus
from tierline.operations.serving import registry, telemetry, topology
from tierline.operations.serving.state import Serving
from tierline.protocols.sep2.codec import parse, render
from tierline.protocols.sep2.hrefs import PageQuery, parse_path
from tierline.protocols.sep2.lists import in_order
from tierline.protocols.sep2.resources import MirrorMeterReading, MirrorUsagePoint, ReadingType
from tierline.protocols.sep2.resources.der import DERStatus
from tierline.protocols.sep2.resources.exchange import DERControlResponse
from tierline.protocols.sep2.resources.objects import List
from tierline.protocols.sep2.server import Sep2Server
from tierline.protocols.sep2.views import Rates, Views, entries, response_id, short, sight

WEST, AT_WEST = PartyId("west"), Lfdi("CC" * 20)


def walked(bench, who):
    """Read everything that is named from the entry on; gives the status of each path."""
    seen, waiting = {}, ["/dcap"]
    while waiting:
        path = waiting.pop()
        if path not in seen:
            seen[path] = bench.status(f"{path}?s=0&l=255", who)
            if seen[path] == 200:
                found = bench.get(f"{path}?s=0&l=255", who)
                assert found.href == path
                if isinstance(found, List):
                    assert found.all == len(found.items)
                waiting += bench.links(found)
    return seen


def not_put_yet(seen):
    """Give those that are named before anything is there: what a DER says of itself."""
    return {path for path in seen if path.rsplit("/", 1)[1] in {"dercap", "derg", "ders", "dera", "di"}}


# --- the list of EndDevices -----------------------------------------------------------------------------------------


async def test_a_party_sees_itself_and_those_it_manages_in_the_order_of_the_standard(bench, pool, other):
    listed = pool.get("/edev?l=255")
    assert (listed.all, listed.subscribable) == (4, 1)
    assert list(listed.items) == in_order(listed.items)
    assert {item.lfdi for item in listed.items} == {pool.lfdi, *(pool.lfdi_of(der) for der in pool.ders)}
    assert pool.get("/dcap").end_device_list_link.all == 4
    assert [item.lfdi for item in other.get("/edev?l=255").items] == ["B1" * 20, other.lfdi]


async def test_devices_are_ordered_by_sfdi_and_path(bench, pool):
    ordered = bench.views._sight.ordered(bench.state.devices[pool.own])
    keys = [(sfdi_of(pool.lfdi_of(der)), der) for der in ordered]
    assert keys == sorted(keys)


async def test_pages_of_the_list_fit_together(pool):
    whole = pool.get("/edev?l=255").items
    pages = [pool.get(f"/edev?s={start}&l=2") for start in (0, 2, 4)]
    assert [page.results for page in pages] == [2, 2, 0]
    assert [page.all for page in pages] == [4, 4, 4]
    assert tuple(item for page in pages for item in page.items) == whole


async def test_an_own_entry_has_subscriptions_and_neither_assignments_nor_a_der(pool):
    own = pool.get(f"/edev/{pool.own}")
    assert own.subscription_list_link.href == f"/edev/{pool.own}/sub"
    assert (own.function_set_assignments_list_link, own.der_list_link, own.device_category) == (None, None, None)
    assert pool.get(own.registration_link.href).pin == 111115
    for rest in ("/fsa", "/fsa/t", "/fsa/t/derp", "/der", "/der/1", "/der/1/ders"):
        assert pool.status(f"/edev/{pool.own}{rest}") == 404


async def test_a_managed_entry_has_all_that_a_der_needs(bench, pool):
    der = pool.ders[0]
    shown = pool.get(f"/edev/{der}")
    assert (shown.lfdi, shown.sfdi, shown.subscribable) == ("A1" * 20, sfdi_of("A1" * 20), 1)
    assert pool.get(shown.registration_link.href).pin == bench.state.devices[der].pin
    assert pool.get(shown.der_list_link.href).all == 1
    (assigned,) = pool.get(f"{shown.function_set_assignments_list_link.href}?l=1").items
    programs = pool.get(f"{assigned.der_program_list_link.href}?l=255")
    assert [item.description for item in programs.items] == ["feeder", "substation", "system"]
    assert bench.get(f"/edev/{der}", "A1" * 20).lfdi == "A1" * 20


async def test_every_path_that_a_party_is_named_is_there(bench, pool):
    await bench.control()
    seen = walked(bench, pool.lfdi)
    assert {path for path, status in seen.items() if status != 200} == not_put_yet(seen)
    assert {f"/edev/{der}/fsa/t/derp" for der in pool.ders} < seen.keys()
    assert {bench.program(), bench.program("feeder-2")} < seen.keys()


async def test_what_can_be_subscribed_to_says_so_and_nothing_else_does(bench, pool):
    await bench.control()
    saying = set()
    for path, status in walked(bench, pool.lfdi).items():
        if status == 200 and getattr(pool.get(path), "subscribable", None):
            saying.add(path.rsplit("/", 1)[1] if path.count("/") in {3, 5} else path.split("/")[1])
    assert saying == {"edev", "derp", "fsa", "derc", "actderc", "tp"}


async def test_a_der_that_has_no_lfdi_is_not_shown(bench, pool):
    silent = registry.NewDevice(lfdi=None, managed_by=pool.party)
    (device,) = await registry.register(bench.OPERATOR, bench.state, [silent])
    assert pool.get("/edev").all == pool.get("/dcap").end_device_list_link.all == 4
    assert pool.status(f"/edev/{device.der_id}") == 404


async def test_who_is_shut_out_or_has_another_lfdi_changes_the_list_at_once(bench, pool):
    der = pool.ders[0]
    assert pool.get("/edev").all == 4
    await registry.enable(bench.OPERATOR, bench.state, der, enabled=False)
    assert pool.get("/edev").all == 3
    assert pool.status(f"/edev/{der}") == 404
    await registry.enable(bench.OPERATOR, bench.state, der, enabled=True)
    old = bench.state.identities[pool.lfdi_of(der)]
    await bench.state.commit([replace(old, valid_to=bench.NOON), replace(old, lfdi=Lfdi("FF" * 20))])
    assert pool.get("/edev?l=255").items[-1].lfdi == "FF" * 20


async def test_a_page_costs_what_is_on_it_and_the_order_is_made_once(bench, make_pool, monkeypatch):
    counts = Counter()
    for module, name in ((entries, "render_fragment"), (sight, "end_device_key")):
        real = getattr(module, name)

        def count(*args, _real=real, _name=name, **more):
            counts[_name] += 1
            return _real(*args, **more)

        monkeypatch.setattr(module, name, count)
    managed = [(Lfdi(f"{number << 124 | 7:040X}"), "") for number in range(1, 31)]
    pool = await make_pool(bench, "big", Lfdi("DD" * 20), managed)
    pool.get("/edev?s=5&l=7")
    assert counts == {"render_fragment": 7, "end_device_key": 31}
    for start in range(0, 31, 10):
        pool.get(f"/edev?s={start}&l=10")
    assert counts == {"render_fragment": 31, "end_device_key": 31}
    await registry.register(bench.OPERATOR, bench.state, [registry.NewDevice(lfdi=Lfdi("DC" * 20))])
    pool.get("/edev?l=255")
    assert counts == {"render_fragment": 31, "end_device_key": 31}


# --- nothing of others ----------------------------------------------------------------------------------------------


def places_of(der):
    rests = ("", "/rg", "/di", "/fsa", "/fsa/t", "/fsa/t/derp", "/der", "/der/1", "/der/1/ders", "/sub", "/sub/a")
    return [f"/edev/{der}{rest}" for rest in rests]


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "POST", "DELETE"])
async def test_what_is_anothers_answers_a_party_as_what_does_not_exist(bench, pool, other, method):
    nobody = der_id(12345)
    foreign = [other.own, *other.ders, bench.der("pv-1")]
    for path in (path for der in foreign for path in places_of(der)):
        parts = path.split("/")
        parts[2] = nobody
        missing = await pool.ask(method, "/".join(parts))
        assert await pool.ask(method, path) == missing
        assert (missing.status, missing.body) == (404, b"")


async def test_a_device_sees_nothing_of_a_party_and_it_nothing_of_devices(bench, pool):
    for der in (pool.own, *pool.ders):
        assert all(bench.status(path) == 404 for path in places_of(der))
    assert bench.get("/edev?l=255").all == 1


async def test_programs_are_read_as_long_as_one_of_those_a_party_stands_for_is_assigned(bench, pool, other):
    control = await bench.control()
    mine, theirs = bench.program(), bench.program("feeder-2")
    paths = [mine, f"{mine}/derc", f"{mine}/actderc", f"{mine}/dc", f"/derc/{short(control.mrid)}"]
    for path in paths:
        assert (pool.status(path), other.status(path)) == (200, 404)
    assert (pool.status(theirs), other.status(theirs)) == (200, 200)
    leaves = topology.Move(der_id=pool.ders[0], leaves=(GroupId(bench.feeder()),), joins=())
    await bench.state.commit(topology.membership_records(bench.state, [leaves], "operator"))
    assert {pool.status(path) for path in paths} == {404}
    assert pool.status(theirs) == 200


# --- what was sent up -----------------------------------------------------------------------------------------------


def usage_point(lfdi, number):
    meter = MirrorMeterReading(mrid=f"{number:031X}B", reading_type=ReadingType(uom=38, power_of_ten_multiplier=0))
    return MirrorUsagePoint(
        mrid=f"{number:031X}A", role_flags=73, service_category_kind=0, status=1, device_lfdi=lfdi,
        mirror_meter_readings=(meter,),
    )  # fmt: skip


async def test_usage_points_of_all_it_stands_for_are_listed_to_a_party_in_order(bench, pool, other):
    ders = [pool.own, *pool.ders]
    for number, der in enumerate(ders):
        answer = await pool.ask("POST", "/mup", render(usage_point(pool.lfdi_of(der), number)))
        assert answer.status == 201
        assert pool.get(answer.location).device_lfdi == pool.lfdi_of(der)
        assert other.status(answer.location) == bench.status(answer.location) == 404
        assert pool.get("/dcap").mirror_usage_point_list_link.all == number + 1
    listed = pool.get("/mup?l=255")
    assert list(listed.items) == in_order(listed.items)
    assert pool.get("/mup?s=1&l=2").items == listed.items[1:3]
    assert other.get("/mup").all == 0
    assert (await pool.ask("DELETE", listed.items[0].href)).status == 204
    assert pool.get("/mup").all == pool.get("/dcap").mirror_usage_point_list_link.all == 3


async def test_responses_of_all_it_stands_for_are_listed_to_a_party(bench, pool, other):
    record = await bench.control()
    who = registry.principal_of(bench.state.devices[pool.own], pool.lfdi)
    for second, der in enumerate(pool.ders):
        await telemetry.record_response(
            who, bench.state, der, record.mrid, ResponseStatus.RECEIVED, bench.NOON + timedelta(seconds=second)
        )
        listed = pool.get("/rsps/r/rsp?l=255")
        assert listed.items[0].end_device_lfdi == pool.lfdi_of(der)
    assert list(listed.items) == in_order(listed.items)
    assert pool.get("/rsps/r/rsp?s=1&l=1").items == listed.items[1:2]
    assert other.get("/rsps/r/rsp").all == bench.get("/rsps/r/rsp").all == 0
    for item in listed.items:
        assert pool.get(item.href) == item
        assert other.status(item.href) == bench.status(item.href) == 404
    assert pool.status("/rsps/zz/rsp") == pool.status(listed.items[0].href.replace("/r/", "/zz/", 1)) == 404
    for wrong in (response_id(record.mrid, pool.ders[0], 1000), response_id("0" * 32, pool.ders[0], 1)):
        assert pool.status(f"/rsps/r/rsp/{wrong}") == 404
    assert pool.status(f"/rsps/r/rsp/{response_id(record.mrid, pool.ders[0], 2)}") == 404


# --- control points -------------------------------------------------------------------------------------------------


@pytest.fixture
async def pointed(bench, make_pool):
    """The same utility where feeder-1 is served by a substation."""
    bench.state = Serving(
        party=bench.state.party, store=bench.store, clock=bench.clock, random=bench.state.random, pen=bench.PEN,
        grid=bench.state.grid, control_points={"feeder-1": WEST},
    )  # fmt: skip
    bench.state.load()
    bench.views = Views(bench.state, Rates(poll_s=60, post_s=300))
    bench.server = Sep2Server(bench.state, bench.views)
    bench.west = await make_pool(bench, WEST, AT_WEST)
    return bench


def shown(bench, name):
    """Give how many assignments a DER itself is shown, wherever it says so."""
    listed = bench.get(bench.own("/fsa?l=255", name), name)
    link = bench.get(bench.own("", name), name).function_set_assignments_list_link
    der = bench.get(bench.own("/der/1", name), name)
    assert listed.all == len(listed.items) == link.all
    assert (der.associated_der_program_list_link is not None) == bool(listed.all)
    assert bench.status(bench.own("/fsa/t", name), name) == (200 if listed.all else 404)
    assert bench.status(bench.own("/fsa/t/derp", name), name) == (200 if listed.all else 404)
    return listed.all


async def test_a_control_point_sees_those_its_element_can_feed_and_the_assignments_of_those_it_feeds(pointed):
    west = pointed.west
    listed = {item.lfdi: item for item in west.get("/edev?l=255").items}
    assert listed.keys() == {AT_WEST, *(pointed.LFDIS[name] for name in ("pv-1", "pv-2", "pv-3"))}
    assert {
        name: listed[pointed.LFDIS[name]].function_set_assignments_list_link.all for name in ("pv-1", "pv-2", "pv-3")
    } == {"pv-1": 1, "pv-2": 1, "pv-3": 0}
    (assigned,) = west.get(f"/edev/{pointed.der('pv-2')}/fsa").items
    programs = west.get(f"{assigned.der_program_list_link.href}?l=255")
    assert [item.description for item in programs.items] == ["feeder", "substation", "system"]
    assert west.status(f"{programs.items[0].href}/derc") == 200
    assert west.status(pointed.program("feeder-2")) == 404
    seen = walked(pointed, AT_WEST)
    assert {path for path, status in seen.items() if status != 200} == not_put_yet(seen)


async def test_a_der_that_a_control_point_could_feed_is_listed_to_it_with_no_assignments(pointed):
    west, at = pointed.west, f"/edev/{pointed.der('pv-3')}"
    assert west.get(f"{at}/fsa").all == 0
    assert west.get(f"{at}/der/1").associated_der_program_list_link is None
    assert (west.status(f"{at}/fsa/t"), west.status(f"{at}/fsa/t/derp")) == (404, 404)
    assert west.get(f"{at}/rg").pin == pointed.state.devices[pointed.der("pv-3")].pin
    assert pointed.get(f"{at}/fsa", "pv-3").all == 1, "the utility itself serves it"


async def test_what_is_read_of_one_der_by_one_peer_is_not_shown_to_another(pointed):
    at = f"/edev/{pointed.der('pv-3')}"
    for _ in range(2):  # the second time from what was kept
        assert pointed.get(at, "pv-3").function_set_assignments_list_link.all == 1
        assert pointed.west.get(at).function_set_assignments_list_link.all == 0
        assert pointed.get(f"{at}/der/1", "pv-3").associated_der_program_list_link.all == 3
        assert pointed.west.get(f"{at}/der/1").associated_der_program_list_link is None


async def test_who_is_not_fed_is_not_handed_over_however_often_its_empty_list_is_read(pointed):
    for _ in range(3):
        assert pointed.west.get(f"/edev/{pointed.der('pv-3')}/fsa").all == 0
        pointed.start("HEAD", "/edev", AT_WEST)
        pointed.clock.move(minutes=5)
    assert shown(pointed, "pv-3") == 1


async def test_what_a_control_point_still_holds_of_a_der_that_has_left_is_taken(pointed):
    control = await pointed.control()
    lfdi, at = pointed.LFDIS["pv-2"], f"/edev/{pointed.der('pv-2')}"
    mirror = (await pointed.west.ask("POST", "/mup", render(usage_point(lfdi, 1)))).location
    await pointed.move_pv_2()
    assert pointed.west.get(f"{at}/fsa").all == 0
    reading = MirrorMeterReading(mrid=f"{1:031X}B", reading_type=ReadingType(uom=38, power_of_ten_multiplier=0))
    assert (await pointed.west.ask("POST", mirror, render(reading))).status == 204
    said = DERControlResponse(
        created_date_time=int(pointed.NOON.timestamp()), end_device_lfdi=lfdi, status=1, subject=control.mrid
    )
    assert (await pointed.west.ask("POST", "/rsps/r/rsp", render(said))).status == 201
    assert (await pointed.west.ask("PUT", f"{at}/der/1/ders", render(DERStatus(reading_time=1)))).status == 204


async def test_a_der_is_shown_its_assignments_until_the_control_point_has_read_them(pointed):
    control = await pointed.control()
    program, fsa = pointed.program(), f"/edev/{pointed.der()}/fsa"
    paths = [program, f"{program}/derc", f"/derc/{short(control.mrid)}"]
    for ask in (
        lambda: pointed.start("HEAD", fsa, AT_WEST),
        lambda: pointed.start("HEAD", "/edev", AT_WEST),
        lambda: pointed.start("GET", f"{fsa}?s=1", AT_WEST),
        lambda: pointed.start("GET", f"{fsa}?l=0", AT_WEST),
        lambda: pointed.start("GET", fsa, "pv-1"),
        lambda: pointed.start("GET", fsa, AT_WEST, accept="text/html"),
    ):
        ask()
        assert shown(pointed, "pv-1") == 1
    for _ in range(2):
        assert pointed.west.get(f"{fsa}?l=255").all == 1
        assert shown(pointed, "pv-1") == 1
        pointed.clock.move(minutes=1)
    pointed.start("HEAD", "/edev", "pv-1")
    assert shown(pointed, "pv-1") == 1
    pointed.start("HEAD", "/edev", AT_WEST)
    assert (shown(pointed, "pv-1"), shown(pointed, "pv-2")) == (0, 1)
    assert {pointed.status(path) for path in paths} == {404}
    assert {pointed.status(path, "pv-2") for path in paths} == {pointed.west.status(path) for path in paths} == {200}
    assert pointed.west.get(fsa).all == 1
    for _ in range(2):
        assert pointed.west.get(pointed.own("/der/1")).associated_der_program_list_link.all == 3
        assert pointed.get(pointed.own("/der/1")).associated_der_program_list_link is None
    seen = walked(pointed, "pv-1")
    assert {path for path, status in seen.items() if status != 200} == not_put_yet(seen)


async def test_a_der_that_leaves_its_control_point_is_shown_its_assignments_at_once(pointed):
    fsa = f"/edev/{pointed.der('pv-2')}/fsa"

    def read_and_keep():
        assert pointed.west.get(fsa).all == 1
        pointed.start("HEAD", "/edev", AT_WEST)

    read_and_keep()
    assert shown(pointed, "pv-2") == 0
    await pointed.move_pv_2()
    assert shown(pointed, "pv-2") == 1
    assert pointed.west.get(fsa).all == 0
    assert pointed.west.get("/edev").all == pointed.west.get("/dcap").end_device_list_link.all == 4
    await topology.confirm_switching(pointed.OPERATOR, pointed.state, {3: True, 2: False})
    assert shown(pointed, "pv-2") == 1
    read_and_keep()
    assert shown(pointed, "pv-2") == 0


async def test_a_control_point_speaks_for_a_der_and_takes_none_out(pointed):
    record = await pointed.control()
    who = registry.principal_of(pointed.state.devices[pointed.west.own], AT_WEST)
    await telemetry.record_response(
        who, pointed.state, pointed.der(), record.mrid, ResponseStatus.RECEIVED, pointed.NOON
    )
    assert pointed.get("/rsps/r/rsp").items == pointed.west.get("/rsps/r/rsp").items
    assert (await pointed.west.ask("DELETE", pointed.own())).status == 403
    assert pointed.status("/dcap") == 200


async def test_a_managed_der_reads_of_a_party_hand_nothing_over(bench, pool):
    der = pool.ders[0]
    pool.get(f"/edev/{der}/fsa")
    assert bench.state.standing.handed_over == {}
    assert bench.get(f"/edev/{der}/fsa", pool.lfdi_of(der)).all == 1


# --- for notices ----------------------------------------------------------------------------------------------------


async def test_a_resource_is_rendered_as_the_peer_would_read_it_and_cut_to_its_limit(bench, pool):
    for start in (60, 90):
        await bench.control(start_s=start)
    own = bench.state.devices[pool.own]
    for path in ("/edev", f"/edev/{pool.ders[0]}/fsa/t/derp", f"{bench.program()}/derc", f"/edev/{pool.ders[1]}"):
        body = bench.views.resource(path, 2, own, bench.NOON)
        assert body == bench.views.body(parse_path(path), PageQuery(limit=2), own, bench.NOON)
    assert parse(bench.views.resource("/edev", 2, own, bench.NOON)).results == 2
    assert parse(bench.views.resource("/edev", 1000, own, bench.NOON)).results == 4


async def test_a_resource_is_none_for_whoever_may_not_see_it_now(bench, pool):
    own = bench.state.devices[pool.own]
    for path in ("nowhere", f"/edev/{bench.der()}", f"/edev/{pool.own}/fsa"):
        assert bench.views.resource(path, 1, own, bench.NOON) is None
    await registry.enable(bench.OPERATOR, bench.state, pool.own, enabled=False)
    assert bench.views.resource("/edev", 1, own, bench.NOON) is None
    assert bench.views.resource("/edev", 1, replace(own, der_id=der_id(5)), bench.NOON) is None


async def test_nothing_a_party_reads_names_anybody_of_others(bench, pool, other):
    record = await bench.control()
    for one in (pool, other):
        who = registry.principal_of(bench.state.devices[one.own], one.lfdi)
        for number, der in enumerate(one.ders):
            mirror = render(usage_point(one.lfdi_of(der), int(one.lfdi[:2], 16) * 16 + number))
            assert (await one.ask("POST", "/mup", mirror)).status == 201
            await telemetry.record_response(who, bench.state, der, record.mrid, ResponseStatus.RECEIVED, bench.NOON)
    names = {
        "pool": {pool.own, *pool.ders, pool.lfdi, *map(pool.lfdi_of, pool.ders)},
        "other": {other.own, *other.ders, other.lfdi, *map(other.lfdi_of, other.ders)},
        "direct": {name for who in bench.LFDIS for name in (bench.der(who), bench.LFDIS[who])},
    }
    readers = {"pool": pool.lfdi, "other": other.lfdi, "direct": bench.LFDIS["pv-1"]}
    for reader, lfdi in readers.items():
        foreign = set().union(*(found for whose, found in names.items() if whose != reader))
        seen = [path for path, status in walked(bench, lfdi).items() if status == 200]
        text = b"".join(bench.start("GET", f"{path}?l=255", lfdi).body for path in seen).decode()
        assert lfdi in text
        assert [name for name in foreign if name in text] == []
