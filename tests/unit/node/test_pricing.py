"""Following prices at the pace of the servers, with everything else left alone."""

import asyncio
from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from tierline.env import SeededRandom
from tierline.model.control import EventStatus
from tierline.model.errors import Forbidden, LinkError, PeerError
from tierline.model.identity import Lfdi, Mrid, PartyId
from tierline.model.parties import Principal, Role
from tierline.model.prices import Price, Tariff, TariffsSeen
from tierline.model.records import Flow, KnownRecord, PriceRecord, TariffRecord
from tierline.node.pricing import PriceChannel, Pricing, price_phase_s
from tierline.operations.following.prices import FollowedPrices
from tierline.operations.serving.state import Serving
from tierline.sim.loop import START, VirtualClock, VirtualLoop
from tierline.storage.memory import MemoryStore

ME = Principal(party=PartyId("owner"), role=Role.SELF, name="gw")
DAY = Mrid("A" * 32)


def price(number, status=EventStatus.SCHEDULED):
    return Price(
        mrid=Mrid(f"C{number:031X}"),
        created_at=START,
        start=START + timedelta(hours=number),
        duration_s=3600,
        price=12_345,
        status=status,
        status_at=START,
    )


def tariff(*prices, mrid=DAY):
    return Tariff(
        mrid=mrid,
        description="day",
        currency=978,
        price_power_of_ten=-5,
        rate_component=Mrid("D" * 32),
        flow=Flow.DELIVERED,
        service=0,
        primacy=1,
        prices=prices,
    )


class Source:
    """A server that shows what it is told to, unless it is away."""

    def __init__(self, loop, *tariffs, poll_s=600, offered=True):
        self.loop, self.tariffs, self.poll_s, self.is_offered = loop, tariffs, poll_s, offered
        self.woken = asyncio.Event()
        if offered:
            self.woken.set()
        self.error = None
        self.unread = frozenset()
        self.read_at = []
        self.trusted = None

    async def read(self, trusted=()):
        self.trusted = trusted
        self.read_at.append(round(self.loop.time()))
        if self.error is not None:
            raise self.error
        return TariffsSeen(channel="utility", tariffs={one.mrid: one for one in self.tariffs}, unread=self.unread)


class World:
    def __init__(self):
        self.loop = VirtualLoop()
        self.clock = VirtualClock(self.loop)
        self.store = MemoryStore()
        self.followed = FollowedPrices(self.store, "owner", self.clock)
        self.pricing = Pricing(clock=self.clock, random=SeededRandom(1), followed=self.followed)

    def add(self, *sources, **more):
        keeper = self.pricing.keeper(ME, "utility")
        self.pricing.add(PriceChannel(channel="utility", sources=sources, keeper=keeper, **more))

    def run(self, seconds, *, during=()):
        """Run for a time; `during` are things to do after so many seconds."""

        async def main():
            task = asyncio.ensure_future(self.pricing.run(ME))
            for after, do in during:
                await asyncio.sleep(after)
                do()
            await asyncio.sleep(seconds)
            task.cancel()
            await asyncio.wait([task])

        with capture_logs() as logs:
            self.loop.run_until_complete(main())
        return [line["event"] for line in logs]

    def kept(self):
        return [one.mrid for one in self.followed.prices(DAY, START)]


@pytest.fixture
def world():
    found = World()
    yield found
    found.loop.close()


def test_tariffs_are_read_at_the_pace_of_the_server_and_kept_and_told(world):
    source = Source(world.loop, tariff(price(0), price(1)))
    world.add(source, trusted=lambda: {"/tp"})
    assert world.run(1500) == ["tariff_followed"]
    assert source.read_at == [0, 600, 1200]
    assert source.trusted == {"/tp"}
    assert len(world.kept()) == 2
    (told,) = world.pricing.told()
    assert (told["mrid"], told["currency"], told["flow"], told["followed_from"]) == (DAY, 978, "delivered", "utility")
    assert str(told["prices"][0]["price"]) == "0.12345"
    assert told["prices"][1]["end"] - told["prices"][0]["start"] == timedelta(hours=2)


def test_an_operator_may_have_it_read_more_often(world):
    source = Source(world.loop, tariff())
    world.add(source, poll_override_s=100)
    world.run(250)
    assert source.read_at == [0, 100, 200]


def test_nothing_is_read_before_the_walk_has_found_where_and_news_do_not_wait(world):
    source = Source(world.loop, tariff(price(0)), offered=False)
    world.add(source)

    def offer():
        source.is_offered = True
        source.woken.set()

    world.run(10, during=[(50, offer), (30, source.woken.set)])
    assert source.read_at == [50, 80]


def test_a_server_that_lists_no_tariffs_is_not_polled(world):
    source = Source(world.loop, poll_s=None)
    world.add(source)
    world.run(5000)
    assert source.read_at == [0]


@pytest.mark.parametrize("error", [LinkError("no route"), PeerError("nonsense"), Forbidden("unknown")])
def test_what_fails_is_tried_again_and_nothing_is_lost_meanwhile(world, error):
    source = Source(world.loop, tariff(price(0)))
    world.add(source)

    def fail():
        source.error = error

    def mend():
        source.error = None

    events = world.run(300, during=[(1, fail), (650, mend)])
    assert events[:2] == ["tariff_followed", "link_failed"]
    assert len(world.kept()) == 1
    assert source.read_at[-1] > 651


def test_what_several_servers_of_a_channel_show_is_kept_together(world):
    one = Source(world.loop, tariff(price(0), price(1, EventStatus.CANCELLED)), poll_s=300)
    other = Source(world.loop, tariff(price(1), price(2)), tariff(mrid=Mrid("B" * 32)))
    world.add(one, other)
    world.run(10)
    assert world.kept() == [price(0).mrid, price(2).mrid]
    assert len(world.followed.tariffs()) == 2

    def drop():
        one.tariffs = other.tariffs = ()
        one.error = LinkError("no route")
        one.woken.set()

    world.run(1, during=[(1, drop)])
    assert len(world.followed.tariffs()) == 2, "what one shows no more the other may"

    def back():
        one.error = None
        one.woken.set()

    world.run(60, during=[(1, back)])
    assert world.followed.tariffs() == []


def test_a_tariff_that_one_server_does_not_show_as_it_should_loses_no_price(world):
    one, other = Source(world.loop, tariff(price(0), price(1))), Source(world.loop)
    world.add(one, other)
    world.run(1)

    def fail():
        one.unread, one.tariffs = frozenset({DAY}), ()
        other.tariffs = (tariff(price(0)),)
        one.woken.set()

    world.run(1, during=[(1, fail)])
    assert world.kept() == [price(0).mrid, price(1).mrid]


def test_what_was_followed_from_a_channel_that_is_followed_no_more_goes_at_the_start(world):
    world.add(Source(world.loop, tariff(price(0))))
    world.run(1)
    world.followed = FollowedPrices(world.store, "owner", world.clock)
    world.pricing = Pricing(clock=world.clock, random=SeededRandom(1), followed=world.followed)
    assert world.run(1) == ["tariff_gone"]
    assert world.store.load(TariffRecord) + world.store.load(PriceRecord) == []


class Relayed:
    channel = "utility"

    def __init__(self):
        self.members, self.elsewhere, self.ders = {}, frozenset(), frozenset()


def test_a_node_that_serves_hands_on_and_reads_again_when_it_comes_to_stand_for_others(world):
    serving = Serving(party=PartyId("agg"), store=world.store, clock=world.clock, random=SeededRandom(1), pen=37244)
    pricing = world.pricing = Pricing(clock=world.clock, random=SeededRandom(1), followed=None)
    with pytest.raises(AssertionError):
        pricing.keeper(ME, "utility")
    pricing.serving = serving
    source = Source(world.loop, tariff(price(0)))
    keeper = pricing.keeper(ME, "utility", relayed=Relayed())
    pricing.add(PriceChannel(channel="utility", sources=[source], keeper=keeper))

    def join():
        record = KnownRecord(party=PartyId("agg"), name=f"member/utility/{'1' * 40}", value="x")
        world.loop.create_task(serving.commit([record]))

    assert world.run(5, during=[(20, join)]) == ["tariff_followed"]
    assert source.read_at == [0, 20]
    assert serving.tariffs[DAY].group in serving.groups
    assert pricing.told() == []


def test_nodes_do_not_read_all_at_once_and_each_always_at_its_own_instant():
    phases = {price_phase_s(Lfdi(f"{number:040X}")) for number in range(100, 110)}
    assert len(phases) == 10
    assert all(0 <= phase < 86_400 for phase in phases)
