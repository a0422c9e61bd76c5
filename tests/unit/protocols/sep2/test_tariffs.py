"""The tariffs of one server, read from one that is scripted: what it lists is plain data that a test changes as it likes."""

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl

import pytest
from structlog.testing import capture_logs

from tierline.model.control import EventStatus
from tierline.model.errors import Forbidden, LinkError, PeerError
from tierline.model.identity import Lfdi, Mrid
from tierline.protocols.sep2.codec import render, render_fragment, render_list
from tierline.protocols.sep2.courier import Carrier
from tierline.protocols.sep2.follow.prices import MOST_PRICES, MOST_TARIFFS
from tierline.protocols.sep2.follow.walk import Entry
from tierline.protocols.sep2.resources import der, metering, objects, pricing
from tierline.protocols.sep2.tariffs import Offer, Sep2Tariffs

NOON = datetime(2026, 6, 18, 12, tzinfo=UTC)
AT = int(NOON.timestamp())
ONE, TWO = Lfdi("1" * 40), Lfdi("2" * 40)


def mrid(letter, number=0):
    return Mrid(f"{letter}{number:031X}")


def part(hour):
    return max(hour, 0) // 1000


@dataclass
class Brought:
    status: int
    body: bytes = b""
    location: str = ""


@dataclass
class Tariff:
    prices: dict = field(default_factory=dict)
    """By number, which is also the hour from now on in which it holds; those of the second component from 1000 on, and so on."""
    withdrawn: set = field(default_factory=set)
    units: list = field(default_factory=lambda: [72])
    """Of its components: a unit, or with it the flow and the power of ten."""
    components_known: bool = True
    """Whether the link to them counts them."""


class Server:
    """Also the courier to it."""

    def __init__(self):
        self.time = NOON
        self.tariffs = {1: Tariff({0: 30_000, 1: -500})}
        self.lists = {"/tp": [1]}
        """Numbers of tariffs by list."""
        self.page = 255
        self.poll_s = 300
        self.subscribable = 1
        self.instead = {}
        """By path: a status, an exception, or what makes a body of the body."""
        self.log = []

    def now(self):
        return self.time

    async def close(self):
        pass

    async def request(self, method, path, body=b""):
        assert (method, body) == ("GET", b"")
        bare, _, text = path.partition("?")
        self.log.append(bare)
        made = self.instead.get(bare)
        if isinstance(made, Exception):
            raise made
        if isinstance(made, int):
            return Brought(made)
        query = dict(parse_qsl(text))
        found = self.read(bare, int(query.get("s", 0)), min(int(query.get("l", 1)), self.page))
        if found is not None and made:
            found = made(found)
        return Brought(404) if found is None else Brought(200, found)

    def asked(self):
        found, self.log = self.log, []
        return found

    def cut(self, kind, path, items, start, limit, poll_s=None):
        fragments = [render_fragment(item) for item in items[start : start + limit]]
        says = {"subscribable": self.subscribable} if issubclass(kind, objects.SubscribableList) else {}
        return render_list(kind, path, len(items), fragments, poll_s, **says)

    def read(self, path, start, limit):
        if path in self.lists:
            items = [self.profile(number) for number in self.lists[path]]
            return self.cut(pricing.TariffProfileList, path, items, start, limit, self.poll_s)
        match path.strip("/").split("/"):
            case ["tp", number, "rc"]:
                items = [self.component(int(number), at) for at in range(len(self.tariffs[int(number)].units))]
                return self.cut(pricing.RateComponentList, path, items, start, limit)
            case ["rt", unit, flow, power]:
                return render(
                    metering.ReadingType(
                        href=path, uom=int(unit), flow_direction=int(flow), power_of_ten_multiplier=int(power)
                    )
                )
            case ["tp", number, "rc", at, "tti"]:
                known = self.tariffs[int(number)].prices
                hours = [hour for hour in known if part(hour) == int(at)] or known
                items = [self.interval(int(number), hour) for hour in hours]
                return self.cut(pricing.TimeTariffIntervalList, path, items, start, limit)
            case ["tti", number, hour, "cti"]:
                price = self.tariffs[int(number)].prices[int(hour)]
                one = pricing.ConsumptionTariffInterval(
                    href=f"{path}/1", consumption_block=0, price=price, start_value=0
                )
                return self.cut(pricing.ConsumptionTariffIntervalList, path, [one], start, limit)
            case _:
                return None

    def profile(self, number):
        tariff = self.tariffs[number]
        count = len(tariff.units) if tariff.components_known else None
        return pricing.TariffProfile(
            href=f"/tp/{number}",
            mrid=mrid("A", number),
            description=f"tariff {number}",
            currency=978,
            price_power_of_ten_multiplier=-5,
            primacy=1,
            service_category_kind=0,
            rate_component_list_link=objects.ListLink(href=f"/tp/{number}/rc", all=count),
        )

    def component(self, number, at):
        unit = self.tariffs[number].units[at]
        unit, flow, power = unit if isinstance(unit, tuple) else (unit, 1, 3)
        return pricing.RateComponent(
            href=f"/tp/{number}/rc/{at}",
            mrid=mrid("B", 100 * number + at),
            role_flags=0,
            reading_type_link=objects.Link(href=f"/rt/{unit}/{flow}/{power}"),
            time_tariff_interval_list_link=objects.ListLink(href=f"/tp/{number}/rc/{at}/tti", all=0),
        )

    def interval(self, number, hour):
        status = 2 if hour in self.tariffs[number].withdrawn else 0
        return pricing.TimeTariffInterval(
            href=f"/tti/{number}/{hour}",
            mrid=mrid("C", 10_000 * number + hour % 5000),
            creation_time=AT - 60,
            event_status=der.EventStatus(current_status=status, date_time=AT, potentially_superseded=False),
            interval=objects.DateTimeInterval(start=AT + 3600 * (hour - 1000 * part(hour)), duration=3600),
            tou_tier=0,
            consumption_tariff_interval_list_link=objects.ListLink(href=f"/tti/{number}/{hour}/cti", all=1),
        )


@pytest.fixture
def server():
    return Server()


@pytest.fixture
def north(server):
    entry = Entry(
        dcap="/dcap", lfdi=ONE, channel="utility", party="utility", server="192.0.2.1:8443", server_lfdi=None, pin=None
    )
    found = Sep2Tariffs(Carrier(server, server, entry.server), entry, server)
    found.offer(Offer(everybody="/tp"))
    return found


def prices(seen, number=1):
    return {
        (price.start - NOON).total_seconds() / 3600: price.price for price in seen.tariffs[mrid("A", number)].prices
    }


async def test_a_tariff_comes_with_its_prices_by_the_links_alone(server, north):
    seen = await north.read()
    tariff = seen.tariffs[mrid("A", 1)]
    assert (tariff.description, tariff.price_power_of_ten, tariff.rate_component) == ("tariff 1", -5, mrid("B", 100))
    assert prices(seen) == {0: 30_000, 1: -500}
    assert [price.mrid for price in tariff.prices] == [mrid("C", 10_000), mrid("C", 10_001)]
    assert (seen.channel, seen.refused, seen.unread, seen.is_whole) == ("utility", {}, frozenset(), True)
    assert north.poll_s == 300
    assert all(re.match("/(tp|tti|rt)", path) for path in server.log)


async def test_pages_of_one_bring_the_same(server, north):
    whole = await north.read()
    server.page = 1
    server.tariffs[1].components_known = False
    server.time += timedelta(hours=1) - timedelta(seconds=1)
    server.time -= timedelta(hours=1)  # a clock that is set back says nothing of what is known
    assert await north.read() == whole


async def test_what_is_known_is_not_asked_for_again_for_an_hour(server, north):
    first = await north.read()
    server.asked()
    server.time += timedelta(minutes=10)
    assert await north.read() == first
    assert server.asked() == ["/tp", "/tp/1/rc/0/tti"]
    server.time += timedelta(hours=1)
    await north.read()
    assert "/tti/1/1/cti" in server.asked()


async def test_only_the_price_that_is_new_is_asked_for(server, north):
    await north.read()
    server.asked()
    server.tariffs[1].prices[2] = 7
    assert prices(await north.read()) == {0: 30_000, 1: -500, 2: 7}
    assert server.asked() == ["/tp", "/tp/1/rc/0/tti", "/tti/1/2/cti"]


async def test_a_withdrawn_price_is_said_to_be(server, north):
    await north.read()
    server.tariffs[1].withdrawn.add(1)
    first, second = (await north.read()).tariffs[mrid("A", 1)].prices
    assert (first.status, second.status) == (EventStatus.SCHEDULED, EventStatus.CANCELLED)


async def test_prices_that_are_over_by_the_servers_clock_are_not_read(server, north):
    server.tariffs[1].prices[-1] = 5
    north.offer(Offer(everybody="/tp", offset_s=3600.0))
    assert prices(await north.read()) == {1: -500}
    assert "/tti/1/0/cti" not in server.log


async def test_no_more_prices_are_read_than_are_kept_and_the_next_ones_first(server, north):
    server.tariffs[1].prices = dict.fromkeys(reversed(range(MOST_PRICES + 5)), 1)
    assert list(prices(await north.read())) == list(range(MOST_PRICES))


async def test_a_server_that_lists_too_many_tariffs_is_not_followed(server, north):
    server.tariffs = {number: Tariff() for number in range(MOST_TARIFFS + 1)}
    server.lists["/tp"] = list(server.tariffs)
    with pytest.raises(PeerError, match="at most 50"):
        await north.read()
    server.lists = {"/tp": list(range(30)), "/mine": list(range(30, 51))}
    north.offer(Offer(everybody="/tp", assigned={"/mine": frozenset()}))
    with pytest.raises(PeerError, match="51 tariffs, at most 50"):
        await north.read()


async def test_what_is_not_priced_by_energy_is_refused_and_the_rest_is_kept(server, north):
    server.tariffs[1].units = [195, 72, 72]
    server.tariffs[2] = Tariff(units=[38])
    server.tariffs[3] = Tariff(units=[])
    server.lists["/tp"] = [1, 2, 3]
    seen = await north.read()
    assert list(seen.tariffs) == [mrid("A", 1)]
    assert seen.tariffs[mrid("A", 1)].rate_component == mrid("B", 101)
    assert len(prices(seen)) == 2
    assert "unit 195" in seen.refused[f"a rate component of tariff {mrid('A', 1)}"]
    assert "unit 38" in seen.refused[f"a rate component of tariff {mrid('A', 2)}"]
    assert "no rate component" in seen.refused[f"tariff {mrid('A', 3)}"]
    server.asked()
    again = await north.read()
    assert again == seen
    assert not any(path.startswith("/rt") for path in server.asked())


BOTH = [(72, 1, 3), (72, 19, 3)]


async def test_a_tariff_of_both_flows_is_kept_as_one_of_each_under_names_that_stay(server, north):
    server.tariffs[1] = Tariff({0: 30_000, 1000: 8_000, 1001: 9_000}, units=BOTH)
    seen = await north.read()
    (delivered, received) = seen.tariffs.values()
    assert (delivered.mrid, delivered.flow, [one.price for one in delivered.prices]) == (mrid("A", 1), 1, [30_000])
    assert (received.flow, [one.price for one in received.prices]) == (19, [8_000, 9_000])
    assert received.mrid != delivered.mrid
    assert received.mrid[24:] == delivered.mrid[24:], "of the same maker"
    assert (delivered.rate_component, received.rate_component) == (mrid("B", 100), mrid("B", 101))
    assert seen.shown_to.keys() == seen.tariffs.keys()
    server.tariffs[1] = Tariff({1000: 30_000, 0: 8_000, 1: 9_000}, units=BOTH[::-1])
    server.time += timedelta(minutes=61)  # the same count, so it is found out within the hour
    again = await north.read()
    assert {name: tariff.flow for name, tariff in again.tariffs.items()} == {delivered.mrid: 1, received.mrid: 19}
    server.instead["/tp/1/rc/1/tti"] = 500
    unread = await north.read()
    assert unread.unread == {delivered.mrid, received.mrid}
    assert unread.shown_to.keys() == unread.unread


async def test_a_tariff_of_what_is_received_alone_keeps_its_name(server, north):
    server.tariffs[1].units = BOTH[1:]
    (tariff,) = (await north.read()).tariffs.values()
    assert (tariff.mrid, tariff.flow) == (mrid("A", 1), 19)


async def test_a_component_for_every_day_makes_one_tariff(server, north):
    server.tariffs[1] = Tariff({0: 1, 1000 + 24: 2, 2000 + 48: 3}, units=[72, 72, 72])
    seen = await north.read()
    assert prices(seen) == {0: 1, 24: 2, 48: 3}
    assert seen.tariffs[mrid("A", 1)].rate_component == mrid("B", 100)
    assert [path for path in server.asked() if path.startswith("/rt")] == ["/rt/72/1/3"]
    assert len(north.subscribable()) == 4


async def test_a_component_that_counts_otherwise_than_the_first_of_its_flow_is_refused(server, north):
    server.tariffs[1] = Tariff({0: 1, 1001: 2}, units=[(72, 1, 3), (72, 1, 0)])
    seen = await north.read()
    assert prices(seen) == {0: 1}
    assert "other steps" in seen.refused[f"a rate component of tariff {mrid('A', 1)}"]


async def test_a_component_that_comes_is_found_by_its_count(server, north):
    server.tariffs[1].units = []
    assert (await north.read()).tariffs == {}
    server.tariffs[1].units = [72]
    assert len(prices(await north.read())) == 2


async def test_a_price_that_cannot_be_read_spoils_no_other(server, north):
    server.instead["/tti/1/0/cti"] = 404
    seen = await north.read()
    assert prices(seen) == {1: -500}
    assert "cannot be read" in seen.refused[f"a price of tariff {mrid('A', 1)}"]


async def test_a_price_in_blocks_is_refused(server, north):
    def blocks(body):
        item = body[body.index(b"<ConsumptionTariffInterval ") : body.index(b"</ConsumptionTariffIntervalList>")]
        both = item + item.replace(b"cti/1", b"cti/2").replace(b"<startValue>0<", b"<startValue>9<")
        return body.replace(item, both).replace(b'all="1"', b'all="2"').replace(b'results="1"', b'results="2"')

    server.instead["/tti/1/0/cti"] = blocks
    seen = await north.read()
    assert prices(seen) == {1: -500}
    assert "how much is consumed" in seen.refused[f"a price of tariff {mrid('A', 1)}"]


async def test_an_interval_without_a_place_for_its_price_states_none(server, north):
    def bare(body):
        return re.sub(rb"<ConsumptionTariffIntervalListLink[^>]*/>", b"", body)

    server.instead["/tp/1/rc/0/tti"] = bare
    seen = await north.read()
    assert prices(seen) == {}
    assert "no price" in seen.refused[f"a price of tariff {mrid('A', 1)}"]


@pytest.mark.parametrize("failure", [500, 404, 401])
async def test_a_tariff_that_cannot_be_read_stays_and_spoils_no_other(server, north, failure):
    server.tariffs[2] = Tariff({0: 1})
    server.lists["/tp"] = [1, 2]
    await north.read()
    server.instead["/tp/1/rc/0/tti"] = failure
    with capture_logs() as logs:
        seen = await north.read()
    assert (list(seen.tariffs), mrid("A", 1) in seen.unread) == ([mrid("A", 2)], True)
    assert [line["event"] for line in logs] == ["tariff_unreadable"]
    assert "/tp/1/rc/0/tti" in north.subscribable()
    del server.instead["/tp/1/rc/0/tti"]
    assert len((await north.read(trusted=north.subscribable())).tariffs) == 2


async def test_a_link_to_another_server_is_not_followed(server, north):
    server.instead["/tp/1/rc"] = lambda body: body.replace(b'"/tp/1/rc/0/tti"', b'"https://198.51.100.1/tti"')
    seen = await north.read()
    assert (seen.tariffs, mrid("A", 1) in seen.unread) == ({}, True)
    assert not any("198" in path for path in server.log)


@pytest.mark.parametrize(("failure", "error"), [(500, LinkError), (403, Forbidden), (LinkError("no route"), LinkError)])
async def test_a_list_that_cannot_be_read_says_nothing_of_what_it_lists(server, north, failure, error):
    server.instead["/tp"] = failure
    with pytest.raises(error):
        await north.read()
    del server.instead["/tp"]
    assert len(prices(await north.read())) == 2


async def test_nothing_is_read_before_it_is_known_where(north, server):
    fresh = Sep2Tariffs(north._carrier, north._entry, server)
    assert not fresh.is_offered
    with pytest.raises(PeerError, match="not walked yet"):
        await fresh.read()


async def test_a_server_without_tariffs_is_asked_nothing(server, north):
    north.offer(Offer())
    seen = await north.read()
    assert (seen.tariffs, server.log, north.poll_s) == ({}, [], None)


async def test_other_places_or_members_are_news_and_the_same_are_not(north):
    north.woken.clear()
    north.offer(Offer(everybody="/tp", offset_s=2.0))
    assert not north.woken.is_set()
    north.offer(Offer(everybody="/tp", members=frozenset({ONE})))
    assert north.woken.is_set()


async def test_what_is_assigned_to_some_is_theirs_alone_and_the_rest_is_everybodys(server, north):
    server.tariffs |= {2: Tariff(), 3: Tariff()}
    server.lists = {"/tp": [1, 2], "/one": [2, 3], "/two": [3]}
    offer = Offer(
        everybody="/tp",
        assigned={"/one": frozenset({ONE}), "/two": frozenset({TWO})},
        members=frozenset({ONE, TWO}),
    )
    north.offer(offer)
    seen = await north.read()
    assert seen.shown_to == {
        mrid("A", 1): {ONE, TWO},
        mrid("A", 2): {ONE},
        mrid("A", 3): {ONE, TWO},
    }


async def test_what_the_server_tells_of_is_read_again_only_when_it_told(server, north):
    await north.read()
    assert north.subscribable() == ["/tp", "/tp/1/rc/0/tti"]
    told = frozenset(north.subscribable())
    server.asked()
    await north.read(told)
    assert server.asked()  # it may have changed before it was told of
    await north.read(told)
    assert server.asked() == []
    north.woken.clear()
    north.hear("/edev")
    assert not north.woken.is_set()
    north.hear("/tp/1/rc/0/tti")
    assert north.woken.is_set()
    await north.read(told)
    assert server.asked() == ["/tp/1/rc/0/tti"]
    north.hear("/tp")
    server.tariffs[2] = Tariff({0: 1})
    server.lists["/tp"] = [1, 2]
    assert len((await north.read(told)).tariffs) == 2
    assert server.asked() == ["/tp", "/tp/2/rc", "/rt/72/1/3", "/tp/2/rc/0/tti", "/tti/2/0/cti"]


async def test_what_was_heard_and_could_not_be_read_is_read_the_next_time(server, north):
    await north.read()
    told = frozenset(north.subscribable())
    await north.read(told)
    north.hear("/tp")
    server.instead["/tp"] = 500
    with pytest.raises(LinkError):
        await north.read(told)
    del server.instead["/tp"]
    server.asked()
    await north.read(told)
    assert server.asked() == ["/tp"]


async def test_of_many_lists_the_one_that_is_told_of_is_read(server, north):
    server.lists = {f"/{number}": [1] for number in range(5)}
    everybody = {path: frozenset({Lfdi(f"{number:040X}")}) for number, path in enumerate(server.lists)}
    north.offer(Offer(assigned=everybody))
    await north.read()
    told = frozenset(north.subscribable())
    await north.read(told)
    server.asked()
    north.hear("/3")
    await north.read(told)
    assert server.asked() == ["/3"]
    del everybody["/3"]
    north.offer(Offer(assigned=everybody))
    assert len((await north.read(told)).shown_to[mrid("A", 1)]) == 4
    assert server.asked() == []
    assert "/3" not in north.subscribable()


async def test_what_the_server_does_not_tell_of_is_polled(server, north):
    server.subscribable = 0
    await north.read()
    assert north.subscribable() == []
    server.asked()
    await north.read()
    await north.read()
    assert server.asked() == ["/tp", "/tp/1/rc/0/tti"] * 2


async def test_no_server_is_asked_more_often_than_every_ten_seconds(server, north):
    server.poll_s = 1
    await north.read()
    assert north.poll_s == 10
    server.poll_s = None
    await north.read()
    assert north.poll_s == 900
