"""Who is told of which change of tariffs and prices, by whoever's doing and by time alone."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from tierline.model.errors import PeerError
from tierline.model.identity import GroupId
from tierline.operations.serving import groups, prices, registry
from tierline.operations.serving.watching import Watch, Watched

EURO = 978
OF_TARIFF = ("prices", "active_prices")


class Market:
    """pv-1 is of a contract and subscribes to all it sees of prices, like pv-3, which is of none; `agg` stands for pv-2."""

    def __init__(self, subscribing, operator, clock, der):
        self.subscribing, self.operator, self.clock, self.der = subscribing, operator, clock, der
        self.names = {}

    async def begin(self):
        serving = self.subscribing.serving
        self.agg = await self.subscribing.aggregator(members=["pv-2"])
        self.group = GroupId((await groups.create_group(self.operator, serving, "contract")).group.id)
        await self.member("pv-1", groups.add_members)
        for name, device in (("pv-1", self.der("pv-1")), ("pv-3", self.der("pv-3"))):
            await self.watch(name, device, "tariffs", f"tariffs/{device.der_id}", f"assignments/{device.der_id}")
        below = self.der("pv-2").der_id
        await self.watch("agg", self.agg, "tariffs", f"tariffs/{below}", f"assignments/{below}")

    async def watch(self, name, device, *paths):
        for path in paths:
            record = await self.subscribing.subscribe(device, path)
            kind, _, of = path.partition("/")
            self.names[record.subscription_id] = f"{name} {kind}{'' if of or kind != 'tariffs' else ' of all'}"

    async def watch_prices(self, name, device, tariff):
        await self.watch(name, device, *(f"{kind}/{tariff.mrid}" for kind in OF_TARIFF))

    async def member(self, name, change):
        await change(self.operator, self.subscribing.serving, self.group, [self.der(name).der_id])

    async def tariff(self, **more):
        new = prices.NewTariff(description="x", currency=EURO, **more)
        return await prices.create_tariff(self.operator, self.subscribing.serving, new)

    def new(self, hour, value=1):
        start = self.clock.now() + timedelta(hours=hour)
        return prices.NewPrice(start=start, duration_s=3600, price=Decimal(value))

    async def price(self, tariff, hour, value=1):
        (record,) = await self.set(tariff, self.new(hour, value))
        return record

    def set(self, tariff, *new):
        return prices.set_prices(self.operator, self.subscribing.serving, tariff.mrid, new)

    async def after(self, change):
        return {self.names[key] for key in await self.subscribing.told_of(change)}

    async def at(self, when):
        self.clock.time = when
        return await self.after(self.subscribing.all.tell_what_time_changed())


@pytest.fixture
async def market(subscribing, operator, clock, der):
    market = Market(subscribing, operator, clock, der)
    await market.begin()
    return market


async def test_a_tariff_for_everybody_is_told_to_everybody_and_one_for_a_group_to_its_members(market):
    everybody = {
        f"{who} {what}" for who in ("pv-1", "pv-3", "agg") for what in ("tariffs of all", "tariffs", "assignments")
    }
    assert await market.after(market.tariff()) == everybody
    assert await market.after(market.tariff(group=market.group)) == {"pv-1 tariffs", "pv-1 assignments"}


async def test_who_joins_or_leaves_is_told_that_its_tariffs_are_others(market):
    await market.tariff(group=market.group)
    joined = await market.after(market.member("pv-2", groups.add_members))
    assert joined == {"agg tariffs", "agg assignments"}
    assert await market.after(market.member("pv-1", groups.remove_members)) == {"pv-1 tariffs", "pv-1 assignments"}


async def test_a_group_without_a_tariff_changes_nobodys_tariffs(market):
    assert await market.after(market.member("pv-2", groups.add_members)) == {"agg assignments"}


async def test_who_leaves_loses_the_prices_of_its_group_and_who_stays_does_not(market, subscribing):
    tariff = await market.tariff(group=market.group)
    await market.member("pv-2", groups.add_members)
    await market.member("pv-3", groups.add_members)
    for name, device in (("pv-1", market.der("pv-1")), ("pv-3", market.der("pv-3")), ("agg", market.agg)):
        await market.watch_prices(name, device, tariff)
    told = await market.after(market.member("pv-1", groups.remove_members))
    assert told == {"pv-1 tariffs", "pv-1 assignments", "pv-1 prices", "pv-1 active_prices"}
    gone = Watch(Watched.PRICES, tariff.mrid)
    assert not subscribing.all.sees(market.der("pv-1"), gone)
    assert subscribing.all.sees(market.der("pv-3"), gone)
    told = await market.after(market.member("pv-2", groups.remove_members))
    assert told == {"agg tariffs", "agg assignments", "agg prices", "agg active_prices"}


async def test_a_price_that_begins_later_touches_the_list_and_one_that_holds_the_active_ones_too(market):
    tariff, other = await market.tariff(), await market.tariff()
    await market.watch_prices("pv-1", market.der("pv-1"), tariff)
    await market.watch_prices("pv-3", market.der("pv-3"), other)
    assert await market.after(market.price(tariff, 1)) == {"pv-1 prices"}
    assert await market.after(market.price(tariff, 0)) == {"pv-1 prices", "pv-1 active_prices"}
    assert await market.after(market.price(tariff, 1, 2)) == {"pv-1 prices"}
    later = market.new(1).start
    withdrawn = prices.withdraw_prices(market.operator, market.subscribing.serving, tariff.mrid, [later])
    assert await market.after(withdrawn) == {"pv-1 prices"}


async def test_the_same_tariff_or_price_once_more_touches_nothing(market, serving):
    tariff = await market.tariff()
    record = await market.price(tariff, 0)
    await market.watch_prices("pv-1", market.der("pv-1"), tariff)
    assert await market.after(serving.commit([tariff, record])) == set()


async def test_a_tariff_that_goes_is_told_wherever_it_stood_and_of_its_prices(market, serving, subscribing, operator):
    tariff = await market.tariff(group=market.group)
    await market.watch_prices("pv-1", market.der("pv-1"), tariff)
    told = await market.after(prices.remove_tariff(operator, serving, tariff.mrid))
    assert told == {"pv-1 tariffs", "pv-1 assignments", "pv-1 prices", "pv-1 active_prices"}
    assert not subscribing.all.sees(market.der("pv-1"), Watch(Watched.PRICES, tariff.mrid))


async def test_a_tariff_that_comes_to_concern_others_is_told_to_both(market, serving):
    tariff = await market.tariff(group=market.group)
    await market.watch_prices("pv-1", market.der("pv-1"), tariff)
    told = await market.after(serving.commit([replace(tariff, group=None)]))
    assert {"pv-1 prices", "pv-1 active_prices", "pv-3 tariffs", "agg tariffs of all"} <= told


async def test_a_price_that_is_forgotten_touches_nobody_once_it_has_left_its_list(market, serving, clock):
    tariff = await market.tariff()
    record = await market.price(tariff, 0)
    await market.watch_prices("pv-1", market.der("pv-1"), tariff)
    assert await market.after(serving.commit(delete=[record])) == {"pv-1 prices", "pv-1 active_prices"}
    await serving.commit([record])
    clock.move(hours=2)
    assert await market.after(serving.commit(delete=[record])) == set()


async def test_subscribers_are_told_when_a_price_begins_and_when_it_leaves_its_list(market, clock):
    tariff = await market.tariff()
    await market.watch_prices("pv-1", market.der("pv-1"), tariff)
    start = (await market.price(tariff, 1)).start
    both = {"pv-1 prices", "pv-1 active_prices"}
    assert market.subscribing.all.changes_at == start
    assert await market.at(start - timedelta(seconds=1)) == set()
    assert await market.at(start) == both
    left = start + timedelta(hours=1, seconds=10)
    assert market.subscribing.all.changes_at == left
    assert await market.at(left) == both
    assert market.subscribing.all.changes_at is None


async def test_what_time_changed_while_the_node_was_down_is_told_after_a_restart(market, restarted, subscribing):
    tariff = await market.tariff()
    record = await market.price(tariff, 1)
    await market.watch_prices("pv-1", market.der("pv-1"), tariff)
    subscribing.restart(restarted())
    assert await market.at(record.start + timedelta(minutes=1)) == {"pv-1 prices", "pv-1 active_prices"}


async def test_whom_a_tariff_does_not_concern_cannot_subscribe_to_its_prices(market):
    tariff = await market.tariff(group=market.group)
    for device in (market.der("pv-3"), market.agg):
        with pytest.raises(PeerError, match="cannot be subscribed to"):
            await market.watch_prices("x", device, tariff)
    with pytest.raises(PeerError, match="cannot be subscribed to"):
        await market.watch("pv-1", market.der("pv-1"), f"tariffs/{market.der('pv-3').der_id}")
    with pytest.raises(PeerError, match="cannot be subscribed to"):
        await market.watch("agg", market.agg, f"tariffs/{market.agg.der_id}")


async def test_who_changes_hands_takes_its_tariffs_along(market, subscribing):
    await market.tariff(group=market.group)
    await market.member("pv-2", groups.add_members)
    told = await market.after(subscribing.manage("pv-2", None))
    assert {"agg tariffs", "agg assignments"} <= told
    assert registry.find_device(subscribing.serving, "pv-2").managed_by is None
