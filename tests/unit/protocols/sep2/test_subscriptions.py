"""What a client asks to be told of, against a scripted server."""

import pytest

from tierline.model.errors import LinkError
from tierline.model.records import KnownRecord
from tierline.protocols.sep2.courier import Carrier
from tierline.protocols.sep2.resources import exchange
from tierline.protocols.sep2.subscriptions import Subscriptions
from tierline.storage.memory import MemoryStore

URI = "https://192.0.2.9:8444/ntfy/secret"
SUB = "/edev/own/sub"


class Told:
    def __init__(self, server):
        self.server = server
        self.store = MemoryStore()
        self.list_href = SUB
        self.news = []
        self.start()

    def start(self, uri=URI, at_once=4):
        self.subscriptions = Subscriptions(
            carrier=Carrier(self.server, self.server.clock, self.server.entry.server),
            clock=self.server.clock,
            store=self.store,
            entry=self.server.entry,
            uri=uri,
            at_once=at_once,
        )

    async def keep(self, *wanted):
        """Give what was posted."""
        self.server.log.clear()
        await self.subscriptions.keep(self.list_href, dict.fromkeys(wanted), lambda: bool(self.news))
        return len(self.server.asked("POST"))

    @property
    def trusted(self):
        return set(self.subscriptions.trusted())

    @property
    def remembered(self):
        return {record.name for record in self.store.load(KnownRecord)}


@pytest.fixture
def server(fleet):
    return fleet.FleetServer()


@pytest.fixture
def told(server):
    return Told(server)


async def test_each_resource_is_subscribed_to_once(server, told):
    assert told.trusted == set()
    assert await told.keep("/edev", "/derp/1/derc") == 2
    assert server.written[0] == (
        "POST",
        SUB,
        exchange.Subscription(subscribed_resource="/edev", encoding=0, level="+S1", limit=0, notification_uri=URI),
    )
    assert told.trusted == {"/edev", "/derp/1/derc"}
    assert await told.keep("/edev", "/derp/1/derc") == 0


async def test_subscriptions_are_known_after_a_restart(server, told):
    await told.keep("/edev")
    assert told.remembered == {"subscription/utility/192.0.2.1:8443/edev"}
    told.start()
    assert told.trusted == {"/edev"}
    assert await told.keep("/edev") == 0
    await told.keep()
    assert (server.subscriptions, told.remembered, told.trusted) == ({}, set(), set())


async def test_what_another_channel_remembers_is_left_alone(told):
    await told.store.commit([KnownRecord(party="utility", name="subscription/other/192.0.2.1:8443/x", value="?")])
    told.start()
    assert told.trusted == set()
    await told.keep()
    assert len(told.remembered) == 1


async def test_subscriptions_are_renewed_every_day(server, told):
    await told.keep("/edev")
    server.clock.move(hours=23, minutes=59)
    assert await told.keep("/edev") == 0
    server.clock.move(minutes=1)
    assert await told.keep("/edev") == 1
    assert len(server.subscriptions) == 1
    assert await told.keep("/edev") == 0


async def test_what_could_not_be_renewed_is_trusted_a_little_longer(server, told):
    await told.keep("/edev")
    server.clock.move(hours=25)
    server.instead["POST", SUB] = 503
    assert await told.keep("/edev") == 1
    assert told.trusted == {"/edev"}
    server.clock.move(hours=1)
    assert told.trusted == set()
    server.instead.clear()
    await told.keep("/edev")
    assert told.trusted == {"/edev"}


async def test_what_is_refused_is_polled_and_asked_for_again_the_next_day(server, told):
    server.instead["POST", SUB] = 400
    assert await told.keep("/edev") == 1
    assert told.trusted == set()
    assert await told.keep("/edev") == 0
    server.clock.move(hours=24)
    server.instead.clear()
    assert await told.keep("/edev") == 1
    assert told.trusted == {"/edev"}


async def test_a_refusal_is_forgotten_with_the_resource(server, told):
    server.instead["POST", SUB] = 400
    await told.keep("/edev")
    await told.keep("/derp/1")
    assert await told.keep("/edev") == 1


async def test_a_renewal_that_is_refused_is_the_end_of_it(server, told):
    await told.keep("/edev")
    server.clock.move(hours=24)
    server.instead["POST", SUB] = 403
    await told.keep("/edev")
    assert (told.trusted, told.remembered) == (set(), set())


async def test_a_server_that_refuses_all_is_not_asked_for_each(server, told):
    server.instead["POST", SUB] = 403
    assert await told.keep(*(f"/derp/{number}" for number in range(1000))) == 200
    assert await told.keep(*(f"/derp/{number}" for number in range(1000))) == 0
    server.clock.move(hours=24)
    server.instead.clear()
    assert await told.keep(*(f"/derp/{number}" for number in range(1000))) == 1000


async def test_a_link_that_breaks_loses_nothing_of_what_was_made(server, told):
    def broken(answer):
        server.instead["POST", SUB] = LinkError("no route")
        return answer

    server.instead["POST", SUB] = broken
    told.start(at_once=1)
    assert await told.keep("/edev", "/derp/1", "/derp/2") == 2
    assert told.trusted == {"/edev"}
    assert len(told.remembered) == 1
    server.instead.clear()
    assert await told.keep("/edev", "/derp/1", "/derp/2") == 2


async def test_what_is_known_to_be_over_is_made_again(server, told):
    await told.keep("/edev")
    told.subscriptions.end("/edev")
    told.subscriptions.end("/never/made")
    assert told.trusted == set()
    assert await told.keep("/edev") == 1
    assert told.trusted == {"/edev"}


async def test_what_a_server_ends_without_a_reason_is_asked_for_at_once_and_then_less_and_less_often(server, told):
    await told.keep("/edev")
    waits = []
    for _ in range(12):
        told.subscriptions.end("/edev", without_reason=True)
        waited = 0
        while await told.keep("/edev") == 0:
            server.clock.move(minutes=1)
            waited += 1
        assert told.trusted == {"/edev"}
        waits.append(waited)
    assert waits == [0, 5, 10, 20, 40, 80, 160, 320, 640, 1280, 1440, 1440]


async def test_a_subscription_that_lasted_a_day_is_made_again_at_once(server, told):
    await told.keep("/edev")
    for _ in range(3):
        told.subscriptions.end("/edev", without_reason=True)
        await told.keep("/edev")
        server.clock.move(days=1)
        await told.keep("/edev")
    told.subscriptions.end("/edev", without_reason=True)
    assert await told.keep("/edev") == 1


async def test_one_end_is_counted_once_however_often_it_is_told(told):
    await told.keep("/edev")
    told.subscriptions.end("/edev", without_reason=True)
    told.subscriptions.end("/edev", without_reason=True)
    assert await told.keep("/edev") == 1


async def test_what_is_over_for_a_reason_is_made_again_at_once_every_time(told):
    for _ in range(4):
        assert await told.keep("/edev") == 1
        told.subscriptions.end("/edev")


async def test_a_clock_that_was_set_back_ends_the_rest(server, told):
    await told.keep("/edev")
    for _ in range(2):
        told.subscriptions.end("/edev", without_reason=True)
        await told.keep("/edev")
    assert told.trusted == set()
    server.clock.move(days=-3)
    assert await told.keep("/edev") == 1


async def test_what_is_over_is_known_after_a_restart(told):
    await told.keep("/edev", "/derp/1")
    for _ in range(2):
        told.subscriptions.end("/edev", without_reason=True)
        await told.keep("/edev", "/derp/1")
    told.start()
    assert told.trusted == {"/derp/1"}
    assert await told.keep("/edev", "/derp/1") == 1


async def test_an_end_that_is_heard_before_the_answer_counts(server, told):
    def ended(answer):
        told.subscriptions.end("/edev", without_reason=True)
        return answer

    server.instead["POST", SUB] = ended
    await told.keep("/edev")
    assert told.trusted == set()
    server.instead.clear()
    assert await told.keep("/edev") == 1
    assert told.trusted == {"/edev"}


async def test_what_is_over_and_not_wanted_is_dropped(server, told):
    await told.keep("/edev")
    told.subscriptions.end("/edev")
    await told.keep()
    assert (server.subscriptions, told.remembered) == ({}, set())


@pytest.mark.parametrize("status", [404, 405, 403])
async def test_what_the_server_will_not_drop_is_forgotten(server, told, status):
    await told.keep("/edev")
    server.instead["DELETE", "/edev/own/sub/1"] = status
    await told.keep()
    assert told.remembered == set()


async def test_what_could_not_be_dropped_is_dropped_later(server, told):
    await told.keep("/edev", "/derp/1")
    server.instead["DELETE", "/edev/own/sub/1"] = 503
    await told.keep("/derp/1")
    assert told.trusted == {"/edev", "/derp/1"}
    server.instead.clear()
    await told.keep("/derp/1")
    assert told.trusted == {"/derp/1"}


async def test_a_subscription_without_a_place_is_only_forgotten(fleet, server, told):
    server.instead["POST", SUB] = lambda _: fleet.Brought(204)
    await told.keep("/edev")
    assert told.trusted == {"/edev"}
    await told.keep()
    assert server.asked("DELETE") == []
    assert told.remembered == set()


async def test_another_address_for_notices_is_another_subscription(server, told):
    await told.keep("/edev")
    told.start(uri="https://192.0.2.9:8444/ntfy/other")
    assert told.trusted == set()
    assert await told.keep("/edev") == 1
    assert told.trusted == {"/edev"}


@pytest.mark.parametrize("which", ["address", "list"])
async def test_without_address_or_list_all_is_dropped_and_nothing_made(server, told, which):
    await told.keep("/edev")
    if which == "address":
        told.start(uri=None)
    else:
        told.list_href = None
    assert await told.keep("/edev") == 0
    assert server.subscriptions == {}


async def test_subscribing_gives_way_to_news(server, told):
    def news(answer):
        if len(server.subscriptions) == 150:
            told.news.append(1)
        return answer

    server.instead["POST", SUB] = news
    wanted = [f"/derp/{number}" for number in range(1000)]
    assert await told.keep(*wanted) == 200
    told.news.clear()
    assert await told.keep(*wanted) == 800
    told.news.append(1)
    assert await told.keep() == 0
    assert len(server.subscriptions) == 1000


async def test_a_clock_that_was_set_back_renews(server, told):
    await told.keep("/edev")
    server.clock.move(days=-3)
    assert await told.keep("/edev") == 1
