from collections import Counter
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from tierline.model.control import Curve, CurvePoint, EventStatus, Reference, Setpoints
from tierline.model.identity import GroupId, Mrid, der_id
from tierline.model.parties import Principal, Role
from tierline.model.programs import ResponseStatus
from tierline.operations.serving import dispatch, programs, registry, telemetry
from tierline.protocols.sep2 import views
from tierline.protocols.sep2.codec import parse
from tierline.protocols.sep2.hrefs import Href, PageQuery, Place
from tierline.protocols.sep2.lists import in_order
from tierline.protocols.sep2.resources.objects import List
from tierline.protocols.sep2.views import entries, keeping, places, reports
from tierline.protocols.sep2.views import programs as program_views

RENDERING = (entries, places, reports, program_views)

VOLT_WATT = Curve(
    mrid=Mrid("0" * 32),
    points=tuple(CurvePoint(x=Decimal(x), y=Decimal(y)) for x, y in ((100, 100), ("106.5", 100), (110, 20))),
    y_reference=Reference.SET_MAX_W,
)


@pytest.fixture
def rendered(monkeypatch):
    """Count what is rendered."""
    counts = Counter()
    for module, name in ((module, name) for module in RENDERING for name in ("render", "render_fragment")):
        real = getattr(module, name, None)
        if real is None:
            continue

        def count(*args, _real=real, _name=name, **more):
            counts[_name] += 1
            return _real(*args, **more)

        monkeypatch.setattr(module, name, count)
    return counts


async def fill(bench):
    """Give every list something to show."""
    await programs.set_default(
        bench.OPERATOR,
        bench.state,
        bench.feeder(),
        Setpoints.of({"grad_w_pct_per_s": Decimal("0.27"), "volt_watt": VOLT_WATT}),
    )
    for start in (60, 10, 30):
        await bench.control(start_s=start, duration_s=5)


async def test_every_path_that_is_named_is_there_and_says_its_own_name(bench):
    await fill(bench)
    seen, waiting = {}, ["/dcap"]
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        answer = bench.start("GET", f"{path}?s=0&l=255")
        seen[path] = answer.status
        if answer.status == 200:
            found = bench.get(f"{path}?s=0&l=255")
            assert found.href == path
            if isinstance(found, List):
                assert all(item.href for item in found.items)
            waiting += [link for link in bench.links(found) if link]
    not_put_yet = {"dercap", "derg", "ders", "dera", "di"}
    assert {path for path, status in seen.items() if status != 200} == {
        path for path in seen if path.rsplit("/", 1)[1] in not_put_yet
    }
    assert len(seen) > 20


async def test_every_path_with_its_query_fits_into_64_bytes(bench):
    await fill(bench)
    longest = f"?s={2**32 - 1}&l=255"
    for path in (bench.own("/fsa/t/derp"), bench.own("/der/1/dercap"), f"{bench.program()}/actderc"):
        assert len(path + longest) < 64


async def test_a_list_shows_one_item_unless_asked_for_more(bench):
    await fill(bench)
    path = f"{bench.program()}/derc"
    assert (bench.get(path).all, bench.get(path).results) == (3, 1)
    assert bench.get(f"{path}?l=255").results == 3
    assert bench.get(f"{path}?l=100000").results == 3
    assert bench.get(f"{path}?s=1&l=1").items == bench.get(f"{path}?l=255").items[1:2]


async def test_a_page_past_the_end_is_empty_and_still_tells_the_total(bench):
    await fill(bench)
    page = bench.get(f"{bench.program()}/derc?s=3&l=255")
    assert (page.all, page.results, page.items) == (3, 0, ())


async def test_a_list_after_a_time_holds_what_starts_later(bench):
    await fill(bench)
    after = int((bench.NOON + timedelta(seconds=10)).timestamp())
    page = bench.get(f"{bench.program()}/derc?a={after}&l=255")
    assert [item.interval.start - after for item in page.items] == [20, 50]


async def test_lists_are_in_the_order_of_the_standard(bench):
    await fill(bench)
    await bench.control(start_s=10, duration_s=5)
    for path in (f"{bench.program()}/derc", f"{bench.program()}/dc", bench.own("/fsa/t/derp"), "/rsps", "/edev"):
        items = list(bench.get(f"{path}?l=255").items)
        assert items == in_order(items)
        assert len(items) >= 1


async def test_a_program_that_went_is_counted_nowhere(bench):
    def counted():
        (assigned,) = bench.get(bench.own("/fsa")).items
        der = bench.get(bench.own("/der/1"))
        listed = bench.get(bench.own("/fsa/t/derp?l=255"))
        return assigned.der_program_list_link.all, der.associated_der_program_list_link.all, listed.all

    assert counted() == (3, 3, 3)
    path, mrid = bench.program(), bench.state.programs_of[GroupId(bench.feeder())][0]
    await bench.state.commit(delete=[bench.state.programs[mrid].record])
    assert counted() == (2, 2, 2)
    assert bench.status(path) == 404


async def test_programs_come_by_primacy(bench):
    listed = bench.get(bench.own("/fsa/t/derp?l=255"))
    assert [item.description for item in listed.items] == ["feeder", "substation", "system"]
    assert [item.primacy for item in listed.items] == [100, 110, 130]


async def test_the_status_changes_exactly_at_the_boundaries_and_nothing_is_read_from_the_store(bench):
    record = await bench.control(start_s=60, duration_s=30, randomize_start_s=-10)
    at = f"/derc/{views.short(record.mrid)}"
    path = f"{bench.program()}/derc?l=255"
    bench.store.calls.clear()
    for second, status in ((0, 0), (49.999, 0), (50, 1), (89.999, 1), (99.999, 1)):
        bench.clock.time = bench.NOON + timedelta(seconds=second)
        (item,) = bench.get(path).items
        assert (second, item.event_status.current_status) == (second, status)
        assert bench.get(at).event_status == item.event_status
        active = bench.get(f"{bench.program()}/actderc?l=255")
        assert active.all == status
        program = bench.get(bench.program())
        assert (program.der_control_list_link.all, program.active_der_control_list_link.all) == (1, status)
    bench.clock.time = bench.NOON + timedelta(seconds=100)
    assert bench.get(path).all == 0
    assert bench.status(at) == 404
    assert bench.get(bench.program()).der_control_list_link.all == 0
    assert bench.store.calls == {}


async def test_an_event_says_since_when_it_stands_where_it_stands(bench):
    await bench.control(start_s=60, duration_s=100, randomize_start_s=-10)
    path = f"{bench.program()}/derc?l=255"

    def shown():
        (item, *_) = bench.get(path).items
        return item.event_status.current_status, item.event_status.date_time - int(bench.NOON.timestamp())

    assert shown() == (0, 0)
    bench.clock.move(seconds=90)
    assert shown() == (1, 50)
    await bench.control(start_s=20, duration_s=10)
    assert shown() == (1, 50)
    bench.clock.move(seconds=25)
    assert shown() == (4, 110)


async def test_a_cancelled_event_stays_listed_and_is_not_active(bench):
    record = await bench.control(start_s=0, duration_s=30)
    bench.clock.move(seconds=5)
    await dispatch.cancel_control(bench.OPERATOR, bench.state, record.mrid)
    (item,) = bench.get(f"{bench.program()}/derc?l=255").items
    assert item.event_status.current_status == 2
    assert item.event_status.date_time == int((bench.NOON + timedelta(seconds=5)).timestamp())
    assert bench.get(f"{bench.program()}/actderc").all == 0


async def test_a_hit_renders_nothing_and_a_change_is_seen_at_once(bench, rendered):
    await fill(bench)
    program = bench.program()
    shared = [
        f"{program}/derc?l=255",
        f"{program}/actderc?l=255",
        f"{program}/dc?l=255",
        f"{program}/dderc",
        program,
        bench.own("/fsa/t/derp?l=255"),
        bench.own("/fsa?l=255"),
        bench.own(),
        "/edev?l=255",
        bench.own("/der"),
        "/dcap",
    ]
    before = [bench.get(path) for path in shared]
    rendered.clear()
    assert [bench.get(path) for path in shared] == before
    assert rendered == {}
    await bench.control(start_s=90)
    assert bench.get(f"{program}/derc").all == 4
    assert rendered["render_fragment"] == 4
    assert bench.get(bench.own("/fsa/t/derp")).items[0].der_control_list_link.all == 4
    # another device of the same program is served from the same fragments
    rendered.clear()
    assert bench.get(f"{program}/derc?l=255", "pv-2").results == 4
    assert rendered == {}


async def test_an_event_that_had_left_its_list_is_back_when_the_clock_is_set_back(bench):
    await bench.control(start_s=60, duration_s=30)
    path = f"{bench.program()}/derc?l=255"
    listed = []
    for second in (200, 70, 200, 10):
        bench.clock.time = bench.NOON + timedelta(seconds=second)
        listed.append([item.event_status.current_status for item in bench.get(path).items])
    assert listed == [[], [1], [], [0]]


async def test_a_full_cache_is_emptied_and_everything_is_still_right(bench, monkeypatch):
    monkeypatch.setattr(keeping, "_LIMIT", 2)
    await fill(bench)
    listed = bench.get(bench.own("/fsa/t/derp?l=255"))
    assert [item.der_control_list_link.all for item in listed.items] == [3, 0, 0]
    assert bench.get(bench.program()).der_curve_list_link.all == 1


def foreign_paths(bench, control):
    """List what exists and is not pv-1's."""
    other = bench.own("", "pv-3")
    return [
        other,
        *(
            f"{other}{rest}"
            for rest in ("/rg", "/di", "/fsa", "/fsa/t", "/fsa/t/derp", "/der", "/der/1", "/der/1/ders")
        ),
        bench.program("feeder-2"),
        *(f"{bench.program('feeder-2')}/{rest}" for rest in ("derc", "actderc", "dderc", "dc")),
        f"/derc/{views.short(control.mrid)}",
    ]


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "POST", "DELETE"])
async def test_what_is_anothers_answers_as_what_does_not_exist(bench, method):
    control = await bench.control(feeder="feeder-2")
    nobody = der_id(12345)
    for path in foreign_paths(bench, control):
        assert bench.status(path, "pv-3") in {200, 404}
        parts = path.split("/")
        parts[2] = nobody
        missing = await bench.ask(method, "/".join(parts))
        assert await bench.ask(method, path) == missing
        assert (missing.status, missing.body) == (404, b"")


async def test_a_moved_der_leaves_one_program_and_finds_the_other_without_delay(bench):
    first, second = bench.program(), bench.program("feeder-2")
    mine = await bench.control()
    theirs = await bench.control(feeder="feeder-2")
    at = {name: f"/derc/{views.short(record.mrid)}" for name, record in (("mine", mine), ("theirs", theirs))}
    assert [bench.status(path, "pv-2") for path in (first, at["mine"], second, at["theirs"])] == [200, 200, 404, 404]
    listed = bench.get(bench.own("/fsa/t/derp?l=255", "pv-2"), "pv-2")
    assert listed.items[0].href == first
    await bench.move_pv_2()
    assert [bench.status(path, "pv-2") for path in (first, at["mine"], second, at["theirs"])] == [404, 404, 200, 200]
    assert bench.get(bench.own("/fsa/t/derp?l=255", "pv-2"), "pv-2").items[0].href == second


async def test_a_der_without_a_group_sees_an_empty_list_of_programs(bench):
    lfdi = "AB" * 20
    (device,) = await registry.register(bench.OPERATOR, bench.state, [registry.NewDevice(lfdi=lfdi)])
    page = bench.get(f"/edev/{device.der_id}/fsa/t/derp?l=255", lfdi)
    assert (page.all, page.items) == (0, ())
    assert bench.get(f"/edev/{device.der_id}/fsa?l=1", lfdi).items[0].der_program_list_link.all == 0


async def test_a_device_sees_itself_alone_and_its_pin(bench):
    page = bench.get("/edev?l=255")
    assert [item.lfdi for item in page.items] == [bench.LFDIS["pv-1"]]
    assert bench.get("/edev?s=1&l=255").items == ()
    assert bench.get(bench.own("/rg")).pin == 111115


async def test_a_device_without_a_pin_has_no_registration(bench):
    device = bench.state.devices[bench.der()]
    await bench.state.commit([replace(device, pin=None)])
    assert bench.get(bench.own()).registration_link is None
    assert bench.status(bench.own("/rg")) == 404


async def test_the_clock_is_that_of_the_moment_and_its_quality_is_7(bench):
    bench.clock.move(seconds=1.9)
    time = bench.get("/tm")
    assert time.current_time == time.local_time == int(bench.NOON.timestamp()) + 1
    assert (time.quality, time.tz_offset, time.dst_offset) == (7, 0, 0)


async def test_curves_keep_every_point(bench):
    await fill(bench)
    (curve,) = bench.get(f"{bench.program()}/dc?l=255").items
    assert [(data.xvalue, data.yvalue) for data in curve.curve_data] == [(1000, 100), (1065, 100), (1100, 20)]
    assert (curve.x_multiplier, curve.y_multiplier, curve.curve_type, curve.y_ref_type) == (-1, 0, 12, 1)
    assert bench.get(curve.href) == curve
    assert bench.get(f"{bench.program()}/dderc").der_control_base.op_mod_volt_watt.href == curve.href


async def test_a_program_without_a_default_names_none(bench):
    assert bench.get(bench.program()).default_der_control_link is None
    assert bench.status(f"{bench.program()}/dderc") == 404


@pytest.mark.parametrize(
    ("setpoints", "more"),
    [({"exp_lim_w": Decimal(5000)}, {}), ({"max_lim_w_pct": Decimal(50)}, {"ramp_time_s": Decimal(700)})],
    ids=["no element in this edition", "a value too large for its element"],
)
async def test_an_event_that_cannot_be_said_whole_is_not_shown_and_spoils_nothing(bench, setpoints, more):
    await bench.control(start_s=10)
    record = await bench.control(setpoints=setpoints, **more)
    assert bench.get(f"{bench.program()}/derc?l=255").all == 1
    assert bench.get(bench.program()).der_control_list_link.all == 1
    assert bench.status(f"/derc/{views.short(record.mrid)}") == 404


async def test_a_default_or_curve_that_cannot_be_said_is_not_shown(bench):
    wide = Curve(mrid=VOLT_WATT.mrid, points=VOLT_WATT.points, open_loop_s=Decimal(1000))
    await programs.set_default(
        bench.OPERATOR, bench.state, bench.feeder(), Setpoints.of({"imp_lim_w": Decimal(1), "volt_watt": wide})
    )
    program = bench.get(bench.program())
    assert (program.default_der_control_link, program.der_curve_list_link.all) == (None, 0)
    assert bench.status(f"{bench.program()}/dderc") == 404


async def test_an_event_that_took_the_place_of_a_forgotten_one_is_found(bench):
    old = await bench.control(start_s=0, duration_s=1)
    assert bench.status(f"/derc/{views.short(old.mrid)}") == 200
    await bench.state.commit(delete=[old])
    new = await bench.control()
    assert bench.status(f"/derc/{views.short(new.mrid)}") == 200
    assert bench.status(f"/derc/{views.short(old.mrid)}") == 404


def test_paths_of_mrids_that_begin_alike_differ():
    assert views.short(Mrid(f"{1:032X}")) != views.short(Mrid(f"{2:032X}"))
    assert len(views.short(Mrid("F" * 32))) == 13


async def test_responses_are_listed_for_the_device_that_gave_them(bench):
    record = await bench.control()
    for seconds, status in ((1, ResponseStatus.RECEIVED), (2, ResponseStatus.STARTED)):
        await telemetry.record_response(
            principal(bench), bench.state, bench.der(), record.mrid, status, bench.NOON + timedelta(seconds=seconds)
        )
    page = bench.get("/rsps/r/rsp?l=255")
    assert [item.status for item in page.items] == [2, 1]
    assert bench.get(page.items[0].href) == page.items[0]
    assert bench.get("/rsps/r/rsp?l=255", "pv-2").all == 0
    assert bench.status(page.items[0].href, "pv-2") == 404


def principal(bench, name="pv-1"):
    lfdi = bench.LFDIS[name]
    return Principal(party=bench.state.party, role=Role.DEVICE, name=lfdi, lfdi=lfdi)


@pytest.mark.parametrize("path", ["/sdev", "/ntfy", "/rsps/zz", "/rsps/zz/rsp", f"/rsps/zz/rsp/{28 * 'a'}", "/mup/zz"])
async def test_what_is_not_offered_is_not_there(bench, path):
    assert bench.status(path) == 404


async def test_places_of_a_device_that_are_not_offered_are_not_there(bench):
    for rest in ("/fsa/zz", "/fsa/zz/derp", "/der/2", "/der/2/ders", "/lel", "/sub/a", "/cp"):
        assert bench.status(bench.own(rest)) == 404


async def test_a_program_is_found_by_its_path_only(bench):
    known = next(iter(bench.state.programs_of[GroupId(bench.feeder())]))
    assert bench.program() == str(Href(place=Place.DER_PROGRAM, program=views.short(known)))
    assert bench.status(f"/derp/{der_id(5)}") == 404


async def test_an_event_keeps_what_it_was_created_with(bench):
    record = await bench.control(randomize_start_s=30, randomize_duration_s=-5, ramp_time_s=Decimal("2.5"))
    shown = bench.get(f"/derc/{views.short(record.mrid)}")
    assert (shown.randomize_start, shown.randomize_duration, shown.der_control_base.ramp_tms) == (30, -5, 250)
    assert (shown.reply_to, shown.response_required, shown.mrid) == ("/rsps/r/rsp", 3, record.mrid)
    assert shown.der_control_base.op_mod_max_lim_w == 5000


async def test_a_status_that_was_given_is_shown_as_given(bench):
    record = await bench.control()
    given = replace(record.control, status=EventStatus.SUPERSEDED, status_time=bench.NOON)
    await bench.state.commit([replace(record, control=given)])
    body = bench.start("GET", f"{bench.program()}/derc").body
    assert parse(body).items[0].event_status.current_status == 4


async def test_views_alone_show_nobody_what_is_anothers(bench):
    device = bench.state.devices[bench.der()]
    other = Href(place=Place.END_DEVICE, der=bench.der("pv-2"))
    assert bench.views.body(other, PageQuery(), device, bench.NOON) is None
