"""What a node keeps of the tariffs that it follows."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tierline.model.control import EventStatus
from tierline.model.errors import LinkError
from tierline.model.identity import Mrid
from tierline.model.prices import Price, Tariff, TariffsSeen
from tierline.model.records import Flow, KnownRecord, PriceRecord, TariffRecord
from tierline.operations.following import prices as following
from tierline.operations.following.prices import FollowedPrices
from tierline.storage.memory import MemoryStore

NOON = datetime(2026, 6, 18, 12, tzinfo=UTC)
DAY, NIGHT = Mrid("A" * 32), Mrid("B" * 32)


class Clock:
    def __init__(self):
        self.time = NOON

    def now(self):
        return self.time


class Counting(MemoryStore):
    def __init__(self):
        super().__init__()
        self.commits = 0

    async def commit(self, put=(), delete=()):
        self.commits += 1
        await super().commit(put, delete)


def price(hour, value=100, **more):
    return Price(
        mrid=Mrid(f"C{hour:031X}"),
        created_at=NOON,
        start=NOON + timedelta(hours=hour),
        duration_s=3600,
        price=value,
        **{"status_at": NOON, **more},
    )


def tariff(mrid=DAY, *prices, **more):
    given = {"description": "day", "currency": 978, "price_power_of_ten": -5, "rate_component": Mrid("D" * 32)}
    given |= {"flow": Flow.DELIVERED, "service": 0, "primacy": 1}
    return Tariff(mrid=mrid, prices=prices, **(given | more))


def seen(*tariffs, channel="utility", **more):
    return TariffsSeen(channel=channel, tariffs={one.mrid: one for one in tariffs}, **more)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def store():
    return Counting()


@pytest.fixture
def kept(store, clock):
    return FollowedPrices(store, "owner", clock)


def hours(kept, mrid=DAY, since=NOON):
    return [round((one.start - NOON).total_seconds() / 3600) for one in kept.prices(mrid, since)]


async def test_what_was_seen_is_kept_under_the_same_names(kept, store, clock):
    (told,) = await kept.take(seen(tariff(DAY, price(0), price(1, -5))))
    (record,) = kept.tariffs()
    assert (record.mrid, record.followed_from, record.party, record.group) == (DAY, "utility", "owner", None)
    assert (record.currency, record.price_power_of_ten, record.rate_component) == (978, -5, "D" * 32)
    first, second = kept.prices(DAY, NOON)
    assert (first.mrid, first.created_at, second.price) == (price(0).mrid, NOON, -5)
    assert (told.what, told.outcome, told.detail["added"]) == (f"tariff {DAY}", "followed", 2)
    again = FollowedPrices(store, "owner", clock)
    assert (again.tariffs(), again.prices(DAY, NOON)) == ([record], [first, second])


async def test_a_reading_that_brings_nothing_new_writes_and_tells_nothing(kept, store, clock):
    shown = seen(tariff(DAY, price(0)))
    await kept.take(shown)
    commits = store.commits
    clock.time += timedelta(minutes=5)
    assert await kept.take(shown) == []
    assert store.commits == commits


async def test_what_is_new_is_one_transaction_and_told_once(kept, store):
    await kept.take(seen(tariff(DAY, price(0), price(1))))
    commits = store.commits
    shown = seen(
        tariff(DAY, replace(price(0), status=EventStatus.CANCELLED), price(1, 7), price(2), price(3), primacy=0),
    )
    (told,) = await kept.take(shown)
    assert told.outcome == "changed"
    assert {name: told.detail[name] for name in ("withdrawn", "changed", "added")} == {
        "withdrawn": 1,
        "changed": 1,
        "added": 2,
    }
    assert store.commits == commits + 1
    assert hours(kept) == [1, 2, 3]
    assert kept.tariffs()[0].primacy == 0


async def test_a_price_that_is_listed_no_more_goes_unless_it_is_over(kept, clock):
    await kept.take(seen(tariff(DAY, price(0), price(1), price(2))))
    clock.time += timedelta(hours=1)
    (told,) = await kept.take(seen(tariff(DAY, price(2))))
    assert told.detail["gone"] == 1
    assert hours(kept, since=clock.time) == [2]
    assert hours(kept) == [0, 2]


async def test_a_tariff_that_is_listed_no_more_goes_with_its_prices(kept, store):
    await kept.take(seen(tariff(DAY, price(0)), tariff(NIGHT, price(5))))
    (told,) = await kept.take(seen(tariff(DAY, price(0))))
    assert (told.what, told.outcome, told.detail["prices"]) == (f"tariff {NIGHT}", "gone", 1)
    assert [one.mrid for one in kept.tariffs()] == [DAY]
    assert [one.tariff for one in store.load(PriceRecord)] == [DAY]


async def test_nothing_goes_by_what_was_not_read_whole(kept):
    await kept.take(seen(tariff(DAY, price(0), price(1)), tariff(NIGHT, price(5))))
    assert await kept.take(seen(unread=frozenset({DAY, NIGHT}))) == []
    assert await kept.take(seen(tariff(DAY, price(0)), is_whole=False)) == []
    assert (hours(kept), hours(kept, NIGHT)) == ([0, 1], [5])


async def test_of_the_prices_that_are_over_no_more_are_kept_than_are_useful(kept, clock, monkeypatch):
    monkeypatch.setattr(following, "MOST_PAST", 2)
    await kept.take(seen(tariff(DAY, *(price(hour) for hour in range(5)))))
    clock.time += timedelta(hours=4)
    assert await kept.take(seen(tariff(DAY, price(4)))) == []
    assert hours(kept) == [2, 3, 4]


async def test_what_another_channel_shows_under_the_same_name_changes_nothing(kept):
    await kept.take(seen(tariff(DAY, price(0))))
    assert await kept.take(seen(tariff(DAY, price(3), primacy=0), channel="market")) == [], "it is the same thing"
    assert (hours(kept), kept.tariffs()[0].primacy) == ([0], 1)
    (told,) = await kept.take(seen(tariff(DAY, price(3), currency=840), channel="market"))
    assert (told.outcome, told.what) == ("refused", f"tariff {DAY}")
    assert "is followed from utility" in told.detail["reason"]
    assert (hours(kept), kept.tariffs()[0].primacy) == ([0], 1)
    assert await kept.take(seen(channel="market")) == []
    assert hours(kept) == [0]


async def test_what_this_node_publishes_is_nobody_elses(store, clock, kept):
    await kept.take(seen(tariff(DAY, price(0))))
    (record,) = kept.tariffs()
    await store.commit([replace(record, followed_from="")])
    again = FollowedPrices(store, "owner", clock)
    (told,) = await again.take(seen(tariff(DAY, price(0))))
    assert "is published by this node" in told.detail["reason"]


async def test_what_is_refused_is_told_once_in_all_lives_and_again_when_it_is_another_reason(kept, store, clock):
    shown = seen(refused={"tariff X": "gas"})
    (told,) = await kept.take(shown)
    assert (told.what, told.outcome) == ("tariff X", "refused")
    assert await kept.take(shown) == []
    again = FollowedPrices(store, "owner", clock)
    assert await again.take(shown) == []
    (told,) = await again.take(seen(refused={"tariff X": "water"}))
    assert told.detail["reason"] == "water"
    assert await again.take(seen()) == []
    assert store.load(KnownRecord) == []
    assert [one.outcome for one in await again.take(shown)] == ["refused"]


async def test_what_a_channel_brought_goes_when_it_is_followed_no_more(kept, store):
    await kept.take(seen(tariff(DAY, price(0))))
    await kept.take(seen(tariff(NIGHT, price(0)), channel="market"))
    (told,) = await kept.keep_only({"market"})
    assert (told.outcome, told.what) == ("gone", f"tariff {DAY}")
    assert [one.mrid for one in store.load(TariffRecord)] == [NIGHT]
    assert await kept.keep_only({"market"}) == []


async def test_prices_are_forgotten_when_they_are_old(kept, store):
    await kept.take(seen(tariff(DAY, price(0), price(1))))
    await kept.forget(NOON + timedelta(hours=1, seconds=1))
    assert [one.mrid for one in store.load(PriceRecord)] == [price(1).mrid]
    await kept.forget(NOON)
    assert hours(kept) == [1]


async def test_nothing_changes_when_the_store_refuses(kept, store, clock):
    await kept.take(seen(tariff(DAY, price(0))))

    async def refuse(put=(), delete=()):
        raise LinkError("the disk is full")

    store.commit = refuse
    with pytest.raises(LinkError):
        await kept.take(seen(tariff(NIGHT, price(1)), refused={"x": "y"}))
    assert [one.mrid for one in kept.tariffs()] == [DAY]
    del store.commit
    assert len(await kept.take(seen(tariff(NIGHT, price(1)), refused={"x": "y"}))) == 3
