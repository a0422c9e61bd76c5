"""Tariffs and their prices, as those read them whom they concern."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tierline.model.control import EventStatus
from tierline.model.identity import GroupId, Lfdi, Mrid
from tierline.model.records import Flow, PriceRecord
from tierline.operations.serving import groups, prices
from tierline.protocols.sep2.codec import parse
from tierline.protocols.sep2.hrefs import PageQuery, parse_path
from tierline.protocols.sep2.lists import in_order
from tierline.protocols.sep2.resources import List
from tierline.protocols.sep2.views import short

EURO = 978
EVERYTHING = "?l=255"


class Market:
    """Publishes tariffs and prices at a bench."""

    def __init__(self, bench):
        self.bench = bench

    async def tariff(self, description="day ahead", **more):
        new = prices.NewTariff(description=description, currency=EURO, **more)
        return await prices.create_tariff(self.bench.OPERATOR, self.bench.state, new)

    async def price(self, tariff, hour, value, hours=1):
        start = self.bench.NOON + timedelta(hours=hour)
        new = prices.NewPrice(start=start, duration_s=round(3600 * hours), price=Decimal(value))
        (record,) = await prices.set_prices(self.bench.OPERATOR, self.bench.state, tariff.mrid, [new])
        return record

    async def withdraw(self, record):
        await prices.withdraw_prices(self.bench.OPERATOR, self.bench.state, record.tariff, [record.start])

    async def group(self, *names):
        """Make a group of some devices."""
        made = await groups.create_group(self.bench.OPERATOR, self.bench.state, "contract 7")
        group = GroupId(made.group.id)
        await groups.add_members(self.bench.OPERATOR, self.bench.state, group, [self.bench.der(name) for name in names])
        return group

    def at(self, tariff, rest=""):
        return f"/tp/{short(tariff.mrid)}{rest}"


@pytest.fixture
def market(bench):
    return Market(bench)


def tariffs_of(bench, name="pv-1"):
    (assigned,) = bench.get(f"{bench.own('/fsa', name)}{EVERYTHING}", name).items
    link = assigned.tariff_profile_list_link
    listed = bench.get(f"{link.href}{EVERYTHING}", name)
    assert link.all == listed.all
    return [item.description for item in listed.items]


async def test_from_the_entry_to_what_a_kilowatt_hour_costs_by_links_alone(bench, market):
    tariff = await market.tariff(flow=Flow.RECEIVED)
    record = await market.price(tariff, 0, "-0.12345")
    entry = bench.get("/dcap").tariff_profile_list_link
    assert (entry.href, entry.all) == ("/tp", 1)
    (profile,) = bench.get(f"{entry.href}{EVERYTHING}").items
    assert (profile.mrid, profile.description, profile.currency) == (tariff.mrid, "day ahead", EURO)
    assert (profile.price_power_of_ten_multiplier, profile.primacy, profile.service_category_kind) == (-5, 2, 0)
    assert profile == bench.get(profile.href)
    (part,) = bench.get(f"{profile.rate_component_list_link.href}{EVERYTHING}").items
    assert (part.mrid, part.role_flags) == (tariff.rate_component, 0)
    assert part == bench.get(part.href)
    unit = bench.get(part.reading_type_link.href)
    assert (unit.uom, unit.power_of_ten_multiplier, unit.flow_direction, unit.commodity) == (72, 3, 19, 1)
    assert part.time_tariff_interval_list_link.all == part.active_time_tariff_interval_list_link.all == 1
    (interval,) = bench.get(f"{part.time_tariff_interval_list_link.href}{EVERYTHING}").items
    noon = int(bench.NOON.timestamp())
    assert (interval.mrid, interval.creation_time, interval.tou_tier) == (record.mrid, noon, 0)
    assert (interval.interval.start, interval.interval.duration) == (noon, 3600)
    assert (interval.event_status.current_status, interval.event_status.date_time) == (1, noon)
    assert (interval.reply_to, interval.response_required) == (None, None)
    assert bench.get(f"{part.active_time_tariff_interval_list_link.href}{EVERYTHING}").items == (interval,)
    assert interval == bench.get(interval.href)
    (cost,) = bench.get(f"{interval.consumption_tariff_interval_list_link.href}{EVERYTHING}").items
    assert (cost.price, cost.start_value, cost.consumption_block) == (-12345, 0, 0)
    assert cost == bench.get(cost.href)


async def test_every_path_that_is_named_is_there_short_and_in_order(bench, market):
    for number in range(3):
        tariff = await market.tariff(f"tariff {number}")
        for hour in (2, 0, 1):
            await market.price(tariff, hour, hour)
    seen, waiting = [], ["/tp", bench.own("/fsa/t/tp")]
    while waiting:
        path = waiting.pop()
        if path not in seen:
            seen.append(path)
            assert len(path) <= 64
            found = bench.get(f"{path}{EVERYTHING}")
            assert found.href == path
            if isinstance(found, List):
                assert found.all == len(found.items)
                assert list(found.items) == in_order(found.items)
            waiting += bench.links(found)
    assert len(seen) == 2 + 3 * (6 + 3 * 3)


@pytest.fixture
async def contract(market):
    """A tariff for pv-1 and pv-2 with a price, beside one for everybody."""
    await market.tariff("everybody")
    tariff = await market.tariff("contract", group=await market.group("pv-1", "pv-2"))
    await market.price(tariff, 0, 1)
    return tariff


def places(market, tariff):
    cost = f"/rc/1/tti/{short(next(iter(market.bench.state.prices[tariff.mrid])))}"
    rests = ("", "/rc", "/rc/1", "/rc/1/rt", "/rc/1/tti", "/rc/1/actti", cost, f"{cost}/cti", f"{cost}/cti/1")
    return [market.at(tariff, rest) for rest in rests]


async def test_a_tariff_for_a_group_is_for_its_members_and_nobody_else(bench, market, contract):
    assert sorted(tariffs_of(bench)) == sorted(tariffs_of(bench, "pv-2")) == ["contract", "everybody"]
    assert tariffs_of(bench, "pv-3") == ["everybody"]
    assert [item.description for item in bench.get(f"/tp{EVERYTHING}").items] == ["everybody"]
    for path in places(market, contract):
        assert (bench.status(path), bench.status(path, "pv-2"), bench.status(path, "pv-3")) == (200, 200, 404)
        assert bench.status(path, bench.STRANGER) == 404


async def test_who_joins_or_leaves_the_group_sees_it_or_not_at_once(bench, market, contract):
    def members(change, name):
        return change(bench.OPERATOR, bench.state, contract.group, [bench.der(name)])

    assert tariffs_of(bench, "pv-3") == ["everybody"]
    await members(groups.add_members, "pv-3")
    await members(groups.remove_members, "pv-1")
    assert len(tariffs_of(bench, "pv-3")) == 2
    assert tariffs_of(bench) == ["everybody"]
    assert bench.status(market.at(contract)) == 404


async def test_who_stands_for_a_member_reads_what_it_reads(bench, market, pool, other):
    mine = GroupId((await groups.create_group(bench.OPERATOR, bench.state, "theirs")).group.id)
    await groups.add_members(bench.OPERATOR, bench.state, mine, pool.ders[:1])
    tariff = await market.tariff("theirs", group=mine)
    await market.price(tariff, 0, 1)
    member, not_member = (pool.get(f"/edev/{der}/fsa/t/tp{EVERYTHING}") for der in pool.ders[:2])
    assert ([item.mrid for item in member.items], not_member.all) == ([tariff.mrid], 0)
    assert pool.get("/tp").all == 0
    for path in places(market, tariff):
        assert (pool.status(path), other.status(path), bench.status(path)) == (200, 404, 404)
    assert other.status(f"/edev/{pool.ders[0]}/fsa/t/tp") == 404
    assert pool.status(f"/edev/{pool.own}/fsa/t/tp") == 404


async def test_a_price_becomes_active_and_leaves_its_list_by_time_alone(bench, market):
    tariff = await market.tariff()
    await market.price(tariff, 1, 1)
    path = market.at(tariff, "/rc/1")

    def seen():
        listed = bench.get(f"{path}/tti{EVERYTHING}").items
        part = bench.get(path)
        active = bench.get(f"{path}/actti{EVERYTHING}").all
        assert part.active_time_tariff_interval_list_link.all == active
        assert part.time_tariff_interval_list_link.all == len(listed)
        return [item.event_status.current_status for item in listed], active

    assert seen() == ([0], 0)
    bench.clock.move(minutes=59, seconds=59)
    assert seen() == ([0], 0)
    bench.clock.move(seconds=1)
    assert seen() == ([1], 1)
    bench.clock.move(hours=1, seconds=9)
    assert seen() == ([1], 1)
    bench.clock.move(seconds=1)
    assert seen() == ([], 0)


async def test_a_withdrawn_or_replaced_price_stays_listed_as_such_and_another_takes_its_place(bench, market):
    tariff = await market.tariff()
    gone, kept = await market.price(tariff, 1, 1), await market.price(tariff, 2, 2)
    bench.clock.move(minutes=1)
    await market.withdraw(gone)
    new = await market.price(tariff, 2, 3)
    listed = bench.get(f"{market.at(tariff, '/rc/1/tti')}{EVERYTHING}").items
    # Of two that begin together the one made later is first.
    assert [(item.mrid, item.event_status.current_status) for item in listed] == [
        (gone.mrid, 2),
        (new.mrid, 0),
        (kept.mrid, 2),
    ]
    assert {item.event_status.date_time for item in listed[::2]} == {int(bench.clock.now().timestamp())}
    bench.clock.move(hours=2)
    active = bench.get(f"{market.at(tariff, '/rc/1/actti')}{EVERYTHING}").items
    assert [item.mrid for item in active] == [new.mrid]


async def test_what_was_replaced_above_is_shown_replaced_by_time_alone(bench, market):
    tariff = await market.tariff()
    old = await market.price(tariff, 0, 1, hours=3)
    newer = replace(
        old, mrid=Mrid("C" * 32), start=old.start + timedelta(hours=1), created_at=old.created_at + timedelta(seconds=1)
    )
    await bench.state.commit([replace(tariff, followed_from="market"), newer])
    path = f"{market.at(tariff, '/rc/1/tti')}{EVERYTHING}"
    assert [item.event_status.current_status for item in bench.get(path).items] == [1, 0]
    bench.clock.move(hours=1)
    shown = {item.mrid: item.event_status for item in bench.get(path).items}
    assert (shown[old.mrid].current_status, shown[newer.mrid].current_status) == (4, 1)
    assert shown[old.mrid].date_time == int(newer.start.timestamp())


async def test_a_tariff_is_there_as_soon_as_it_is_made_and_gone_when_it_is_removed(bench, market):
    assert (bench.get("/dcap").tariff_profile_list_link.all, tariffs_of(bench)) == (0, [])
    tariff = await market.tariff()
    assert (bench.get("/dcap").tariff_profile_list_link.all, tariffs_of(bench)) == (1, ["day ahead"])
    await prices.remove_tariff(bench.OPERATOR, bench.state, tariff.mrid)
    assert bench.get("/dcap").tariff_profile_list_link.all == bench.get("/tp").all == 0
    assert bench.status(market.at(tariff)) == 404
    assert tariffs_of(bench) == []


async def test_a_long_description_of_an_older_edition_is_cut_between_characters(bench, market):
    tariff = await market.tariff()
    await bench.state.commit([replace(tariff, description="x" + "ü" * 20, currency=0)])
    shown = bench.get(market.at(tariff))
    assert (shown.description, shown.currency) == ("x" + "ü" * 15, None)


@pytest.mark.parametrize("path", ["/tp/aaaaaaaaaaaaa", "/tp/aaaaaaaaaaaaa/rc/1/tti", "/tp/aaaaaaaaaaaaa/rc/2"])
async def test_what_is_not_there_is_404(bench, market, path):
    tariff = await market.tariff()
    assert bench.status(path) == 404
    assert bench.status(market.at(tariff, "/rc/1/tti/aaaaaaaaaaaaa")) == 404
    assert bench.status(bench.own("/fsa/x/tp")) == 404
    assert bench.status(f"/edev/{bench.der('pv-2')}/fsa/t/tp") == 404


async def test_nobody_writes_a_price_over_the_wire(bench, market):
    tariff = await market.tariff()
    for method in ("PUT", "POST", "DELETE"):
        assert (await bench.ask(method, market.at(tariff, "/rc/1/tti"), body=b"<a/>")).status == 405
        assert (await bench.ask(method, "/tp", body=b"<a/>")).status == 405
        assert (await bench.ask(method, "/tp/aaaaaaaaaaaaa", body=b"<a/>")).status == 404


def some_prices(tariff, party, now):
    """Draw prices as they may have come from a server above, many of one start."""
    return st.lists(
        st.builds(
            lambda start, duration, created, name, status: PriceRecord(
                party=party,
                tariff=tariff,
                mrid=Mrid(f"{name:032X}"),
                start=now + timedelta(minutes=start),
                duration_s=duration,
                price=1,
                created_at=now - timedelta(minutes=created),
                status=status,
                status_at=now,
            ),
            st.integers(-90, 5),
            st.sampled_from([1, 60, 3600]),
            st.integers(0, 3),
            st.integers(0, 2**128 - 1),
            st.sampled_from(EventStatus),
        ),
        max_size=12,
        unique_by=lambda record: record.mrid,
    )


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
async def test_pages_of_any_size_make_the_whole_list_in_its_order(bench, market, data):
    tariff = await market.tariff()
    state, now = bench.state, bench.clock.now()
    await state.commit(data.draw(some_prices(tariff.mrid, state.party, now)))
    href, device = parse_path(market.at(tariff, "/rc/1/tti")), state.devices[bench.der()]

    def page(**query):
        return parse(bench.views.body(href, PageQuery(**query), device, now))

    whole = page(limit=255)
    assert list(whole.items) == in_order(whole.items)
    assert whole.all == len(whole.items) == len({item.mrid for item in whole.items})
    size = data.draw(st.integers(1, 5))
    pages = [page(start=start, limit=size) for start in range(0, whole.all + size, size)]
    assert tuple(item for one in pages for item in one.items) == whole.items
    assert {one.all for one in pages} == {whole.all}
    after = data.draw(st.sampled_from([0, *(item.interval.start for item in whole.items)]))
    assert page(limit=255, after=after).items == tuple(i for i in whole.items if i.interval.start > after)
    active = bench.views.body(parse_path(market.at(tariff, "/rc/1/actti")), PageQuery(limit=255), device, now)
    assert parse(active).items == tuple(i for i in whole.items if i.event_status.current_status == 1)


async def test_tariffs_are_listed_by_mrid_descending_and_read_once_rendered(bench, market, monkeypatch):
    made = [await market.tariff(f"tariff {number}") for number in range(5)]
    listed = bench.get(f"/tp{EVERYTHING}").items
    assert [item.mrid for item in listed] == sorted((one.mrid for one in made), reverse=True)
    pages = [bench.get(f"/tp?s={start}&l=2").items for start in (0, 2, 4, 6)]
    assert tuple(item for page in pages for item in page) == listed
    tariff = made[0]
    for hour in range(3):
        await market.price(tariff, hour, 1)
    path = f"{market.at(tariff, '/rc/1/tti')}{EVERYTHING}"
    first = bench.get(path)
    monkeypatch.setattr("tierline.protocols.sep2.views.pricing.render_fragment", None)
    assert bench.get(path) == first


async def test_a_stranger_and_one_shut_out_read_nothing(bench, market):
    await market.tariff()
    assert bench.status("/tp", Lfdi("77" * 20)) == 404
