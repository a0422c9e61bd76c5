"""Subscribers are told over real TLS: past outages of their listener and restarts of the server, and nowhere else."""

import asyncio
import runpy
import socket
from contextlib import asynccontextmanager
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from tierline.env import RealNetwork
from tierline.model.control import Setpoints
from tierline.model.errors import Forbidden
from tierline.model.identity import ChannelId, PartyId, lfdi_of_certificate
from tierline.model.parties import Principal, Role
from tierline.node.compose import Databases, compose, prepare
from tierline.node.config import parse_config
from tierline.operations.serving import dispatch, prices, registry
from tierline.operations.serving.subscriptions import Wish
from tierline.protocols.sep2.codec import parse, render
from tierline.protocols.sep2.hrefs import Href, Place
from tierline.protocols.sep2.resources import (
    Condition,
    DateTimeInterval,
    DERControlList,
    MirrorMeterReading,
    MirrorReadingSet,
    MirrorUsagePoint,
    Notification,
    Reading,
    ReadingType,
    Subscription,
    SubscriptionList,
)
from tierline.protocols.sep2.transport import HttpClient, HttpServer, Response
from tierline.protocols.sep2.views import short
from tierline.security.keys import load_certificates
from tierline.security.tls import client_context, server_context
from tierline.security.trust import ChainTrust, MemoryVerdicts

pytestmark = pytest.mark.e2e

_SPINE = runpy.run_path(str(Path(__file__).parent.parent / "spine.py"))
Spine, OPERATOR = _SPINE["Spine"], _SPINE["OPERATOR"]


class Scripted:
    """A listener that keeps what it is told and answers what it is told to."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.heard = []

    def handle(self, request, now):
        self.heard.append(request)
        return self.answers.pop(0) if self.answers else Response(status=204)


class Bench:
    """A utility with one DER that subscribed, and a place for its listener."""

    def __init__(self, folder):
        self.spine = Spine(folder)
        self.folder = folder
        self.lfdi = self.spine.device("gw")
        self.other_lfdi = self.spine.device("other")
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            self.port = taken.getsockname()[1]
        self.text = f"""{self.spine.common("utility", 4, "utility")}
            [identity]
            pen = 40732
            [serve.sep2]
            listen = ["127.0.0.1:0"]
            [serve.sep2.notify]
            allow = ["127.0.0.1:{self.port}"]
            [grid]
            file = "oberrhein"
            """
        self.databases = None
        self.node = None
        self.device = None

    async def start(self):
        """Start the utility over what its store holds."""
        self.databases = Databases()
        self.node = compose(parse_config(self.text, self.folder / "utility.toml"), self.databases)
        await prepare(self.node)
        state = self.state
        if not state.devices:
            await registry.register(OPERATOR, state, [registry.NewDevice(lfdi=self.lfdi, service_point="pv_000")])
        self.device = registry.device_of(state, self.lfdi)

    @property
    def state(self):
        return self.node.serving.state

    @property
    def group(self):
        return next(iter(self.state.groups_of[self.device.der_id]))

    @property
    def controls(self):
        """The path of the controls of the DER's group."""
        return str(Href(place=Place.DER_CONTROL_LIST, program=short(self.state.programs_of[self.group][0])))

    async def subscribe(self, resource=None, path="/told", port=None):
        who = Principal(party=PartyId("utility"), role=Role.DEVICE, name=self.lfdi, lfdi=self.lfdi)
        wish = Wish(
            resource=resource or self.controls,
            notification_uri=f"https://127.0.0.1:{port or self.port}{path}",
            limit=10,
        )
        return await self.node.serving.telling.subscriptions.subscribe(who, self.device.der_id, wish)

    def client(self, name, port):
        """Speak to the utility with the certificate of a device."""
        anchors = [self.spine.root.certificate_der]
        return HttpClient(
            host="127.0.0.1",
            port=port,
            context=client_context(self.folder / f"{name}.pem", self.folder / f"{name}.key", anchors),
            trust=ChainTrust(tuple(anchors), generation=1, verdicts=MemoryVerdicts(), demo=True),
            clock=self.spine.clock,
            network=RealNetwork(),
        )

    async def limit_feeder(self, percent, in_s=36_000, duration_s=600):
        order = dispatch.Order(
            group_id=self.group,
            setpoints=Setpoints.of({"max_lim_w_pct": Decimal(percent)}),
            start=self.spine.clock.now() + timedelta(seconds=in_s),
            duration_s=duration_s,
        )
        return await dispatch.create_control(OPERATOR, self.state, order)

    @asynccontextmanager
    async def telling(self):
        """Run the task that sends notices."""
        async with asyncio.TaskGroup() as group:
            task = group.create_task(self.node.serving.telling.task.run())
            yield
            task.cancel()

    @asynccontextmanager
    async def listener(self, handler, *, port=None, name="gw"):
        """Listen with the certificate of a device."""
        anchors = [self.spine.root.certificate_der]
        server = HttpServer(
            handler=handler,
            context=server_context(self.folder / f"{name}.pem", self.folder / f"{name}.key", anchors),
            trust=ChainTrust(tuple(anchors), generation=1, verdicts=MemoryVerdicts(), demo=True),
            authorise=lambda _: True,
            clock=self.spine.clock,
            network=RealNetwork(),
        )
        async with server:
            await server.listen("127.0.0.1", self.port if port is None else port)
            yield server

    async def settled(self):
        """Wait until nothing is left to be told."""
        await self.spine.until(lambda: not self.state.notices, 3600)

    async def close(self):
        self.databases.close()
        await self.spine.close()


@pytest.fixture
async def bench(tmp_path):
    bench = Bench(tmp_path)
    await bench.start()
    yield bench
    await bench.close()


async def test_a_subscriber_is_told_with_what_it_would_read(bench):
    subscription = await bench.subscribe()
    gateway = Scripted()
    async with bench.listener(gateway), bench.telling():
        control = await bench.limit_feeder(50)
        await bench.settled()
    (request,) = gateway.heard
    assert (request.method, request.path) == ("POST", "/told")
    assert request.headers["content-type"] == "application/sep+xml"
    assert request.headers["host"] == f"127.0.0.1:{bench.port}"
    assert request.peer.lfdi == lfdi_of_certificate(load_certificates(bench.folder / "utility.pem")[0])
    told = parse(request.body, Notification)
    assert (told.subscribed_resource, told.status) == (bench.controls, 0)
    assert told.subscription_uri == f"/edev/{bench.device.der_id}/sub/{subscription.subscription_id}"
    assert isinstance(told.resource, DERControlList)
    assert [item.mrid for item in told.resource.items] == [control.mrid]


async def test_whoever_subscribes_over_the_wire_is_told_until_it_cancels(bench):
    at = f"/edev/{bench.device.der_id}/sub"
    wish = render(
        Subscription(
            subscribed_resource=bench.controls,
            encoding=0,
            level="+S1",
            limit=100,
            notification_uri=f"https://127.0.0.1:{bench.port}/told",
        )
    )
    anchors = [bench.spine.root.certificate_der]
    gateway = Scripted()
    async with bench.node.serving.http as http, bench.listener(gateway), bench.telling():
        client = HttpClient(
            host="127.0.0.1",
            port=(await http.listen("127.0.0.1", 0)).port,
            context=client_context(bench.folder / "gw.pem", bench.folder / "gw.key", anchors),
            trust=ChainTrust(tuple(anchors), generation=1, verdicts=MemoryVerdicts(), demo=True),
            clock=bench.spine.clock,
            network=RealNetwork(),
        )
        made = await client.request("POST", at, wish)
        again = await client.request("POST", at, wish)
        assert (made.status, again.status) == (201, 204)
        assert made.location == again.location
        await bench.limit_feeder(50)
        await bench.settled()
        listed = parse((await client.request("GET", f"{at}?l=10")).body, SubscriptionList)
        assert [item.href for item in listed.items] == [made.location]
        assert (await client.request("DELETE", made.location)).status == 204
        assert (await client.request("GET", made.location)).status == 404
        await bench.limit_feeder(40)
        await bench.settled()
        private = wish.replace(f":{bench.port}/".encode(), f":{bench.port % 60000 + 1}/".encode())
        assert (await client.request("POST", at, private)).status == 403
        await client.close()
    (request,) = gateway.heard
    assert parse(request.body, Notification).subscription_uri == made.location


POWER = "B" * 32


def power(*values, at_s=0):
    """Make a series of powers, a minute apart."""
    readings = tuple(
        Reading(value=value, local_id=number, time_period=DateTimeInterval(start=at_s + 60 * number, duration=60))
        for number, value in enumerate(values)
    )
    period = DateTimeInterval(start=at_s, duration=60)
    sets = MirrorReadingSet(mrid="D" * 32, time_period=period, readings=readings)
    kind = ReadingType(uom=38, kind=37, flow_direction=19, power_of_ten_multiplier=0)
    return MirrorMeterReading(mrid=POWER, reading_type=kind, mirror_reading_sets=(sets,))


def mirror(lfdi, *meters):
    return MirrorUsagePoint(
        mrid="A" * 32,
        role_flags=0x49,
        service_category_kind=0,
        status=1,
        device_lfdi=lfdi,
        mirror_meter_readings=meters,
    )


async def test_an_aggregator_is_told_of_its_members_readings_beyond_its_thresholds_and_nobody_else_is(bench):
    party = PartyId("bright-energy")
    names = {"aggregator": bench.spine.device("aggregator"), "stranger": bench.spine.device("stranger")}
    own, _, stranger = await registry.register(
        OPERATOR,
        bench.state,
        [
            registry.NewDevice(lfdi=names["aggregator"], aggregates=party),
            registry.NewDevice(lfdi=bench.other_lfdi, service_point="pv_001", managed_by=party),
            registry.NewDevice(lfdi=names["stranger"], aggregates=PartyId("others")),
        ],
    )
    front = Scripted()
    async with bench.node.serving.http as http, bench.telling(), bench.listener(front, name="aggregator"):
        port = (await http.listen("127.0.0.1", 0)).port
        agg, der, other = (bench.client(name, port) for name in ("aggregator", "other", "stranger"))
        made = await der.request("POST", "/mup", render(mirror(bench.other_lfdi, power(500))))
        assert made.status == 201
        entry = parse((await agg.request("GET", "/dcap")).body)
        (point,) = parse((await agg.request("GET", f"{entry.usage_point_list_link.href}?l=9")).body).items
        (series,) = parse((await agg.request("GET", f"{point.meter_reading_list_link.href}?l=9")).body).items
        latest = series.reading_link.href
        (held,) = parse((await agg.request("GET", f"{series.reading_set_list_link.href}?l=9")).body).items

        def wish(resource, condition=None):
            return render(
                Subscription(
                    subscribed_resource=resource,
                    condition=condition,
                    encoding=0,
                    level="+S1",
                    limit=2,
                    notification_uri=f"https://127.0.0.1:{bench.port}/told",
                )
            )

        beyond = Condition(attribute_identifier=0, lower_threshold=100, upper_threshold=1000)
        at = f"/edev/{own.der_id}/sub"
        assert (await agg.request("POST", at, wish(latest, beyond))).status == 201
        assert (await agg.request("POST", at, wish(held.reading_list_link.href))).status == 201
        for resource in (latest, "/upt/aaaa/mr/aaaa/r"):
            assert (await other.request("POST", f"/edev/{stranger.der_id}/sub", wish(resource))).status == 404
        assert (await agg.request("POST", at, wish(series.reading_type_link.href))).status == 400

        for start, value in ((60, 700), (120, 1001), (180, 900)):
            assert (await der.request("POST", made.location, render(power(value, at_s=start)))).status == 204
            await bench.settled()
        for client in (agg, der, other):
            await client.close()
    told = [parse(request.body, Notification) for request in front.heard]
    assert [notice.resource.value for notice in told if notice.subscribed_resource == latest] == [1001]
    lists = [notice.resource for notice in told if notice.subscribed_resource != latest]
    assert [[item.value for item in shown.items] for shown in lists] == [[500, 700], [700, 1001], [1001, 900]]
    assert {shown.all for shown in lists} == {2, 3, 4}


async def statuses_told(bench, publish):
    """Publish what begins in two minutes and lasts as long; give what its list has, notice by notice, until it has left."""
    gateway = Scripted()
    async with bench.listener(gateway):
        async with bench.telling():
            await publish()
            await bench.spine.until(lambda: len(gateway.heard) == 2, 3600)
        bench.databases.close()
        # The end comes while nobody runs.
        await bench.spine.clock.sleep(180)
        await bench.start()
        async with bench.telling():
            await bench.spine.until(lambda: len(gateway.heard) == 3, 3600)
            await bench.settled()
    shown = [parse(request.body, Notification).resource for request in gateway.heard]
    return [[item.event_status.current_status for item in listed.items] for listed in shown]


async def test_an_event_that_begins_and_one_that_leaves_are_told_though_nobody_does_anything(bench):
    await bench.subscribe()
    assert await statuses_told(bench, lambda: bench.limit_feeder(50, in_s=120, duration_s=120)) == [[0], [1], []]


async def test_a_price_that_begins_and_one_that_leaves_are_told_though_nobody_does_anything(bench):
    new = prices.NewTariff(description="day ahead", currency=978)
    tariff = await prices.create_tariff(OPERATOR, bench.state, new)
    await bench.subscribe(f"/tp/{short(tariff.mrid)}/rc/1/tti")

    def publish():
        start = bench.spine.clock.now() + timedelta(seconds=120)
        price = prices.NewPrice(start=start, duration_s=120, price=Decimal("0.12"))
        return prices.set_prices(OPERATOR, bench.state, tariff.mrid, [price])

    assert await statuses_told(bench, publish) == [[0], [1], []]


async def test_a_notice_waits_for_its_listener_and_for_a_restart_and_arrives_once(bench):
    await bench.subscribe()
    async with bench.telling():
        control = await bench.limit_feeder(50)
        await bench.spine.until(lambda: any(notice.attempts for notice in bench.state.notices.values()), 3600)
    bench.databases.close()
    await bench.start()
    (waiting,) = bench.state.notices.values()
    assert waiting.attempts >= 1
    unavailable, gateway = Scripted(*[Response(status=503)] * 2), Scripted()
    async with bench.telling():
        async with bench.listener(unavailable):
            await bench.spine.until(lambda: len(unavailable.heard) == 2, 3600)
        assert len(bench.state.notices) == 1
        async with bench.listener(gateway):
            await bench.settled()
            await asyncio.sleep(0.5)  # thirty civil seconds
    (request,) = gateway.heard
    assert [item.mrid for item in parse(request.body, Notification).resource.items] == [control.mrid]


async def test_what_changes_during_an_outage_is_told_once_and_as_it_is_then(bench):
    await bench.subscribe()
    gateway = Scripted()
    async with bench.telling():
        await bench.limit_feeder(50)
        await bench.spine.until(lambda: any(notice.attempts for notice in bench.state.notices.values()), 3600)
        await bench.limit_feeder(40)
        await bench.limit_feeder(30)
        async with bench.listener(gateway):
            await bench.settled()
    assert len(gateway.heard) == 1
    assert parse(gateway.heard[0].body, Notification).resource.all == 3


async def test_the_listener_of_a_node_hears_what_its_server_tells(bench):
    server_lfdi = lfdi_of_certificate(load_certificates(bench.folder / "utility.pem")[0])
    text = f"""{bench.spine.common("gw", 3, "owner")}
        [identity]
        pen = 40732
        [serve.sep2]
        listen = ["127.0.0.1:0"]
        [listener]
        listen = "127.0.0.1:{bench.port}"
        uri = "https://127.0.0.1:{bench.port}/up"
        """
    heard = []
    uris = []
    for _ in range(2):
        databases = Databases()
        node = compose(parse_config(text, bench.folder / "gw.toml"), databases)
        uris.append(node.listening.notices.register(ChannelId("utility"), server_lfdi, heard.append))
        await prepare(node)
        if len(uris) == 2:
            async with node.listening.http as http, bench.telling():
                await http.listen(*node.listening.listen)
                await bench.subscribe(path=uris[0].removeprefix(f"https://127.0.0.1:{bench.port}"))
                await bench.limit_feeder(50)
                await bench.settled()
        databases.close()
    assert uris[0] == uris[1]
    (notice,) = heard
    assert (notice.channel, notice.subscribed_resource, notice.status) == ("utility", bench.controls, 0)
    assert parse(notice.body, DERControlList).all == 1


async def test_a_redirection_is_not_followed(bench):
    await bench.subscribe()
    connections = []

    class Watched(asyncio.Protocol):
        def connection_made(self, transport):
            connections.append(transport)
            transport.close()

    elsewhere = await RealNetwork().serve(Watched, "127.0.0.1", 0)
    sending_away = Scripted(
        *(
            Response(status=status, headers=(("Location", f"https://127.0.0.1:{elsewhere.port}/x"),))
            for status in (301, 302, 307, 308)
        )
    )
    async with bench.listener(sending_away), bench.telling():
        await bench.limit_feeder(50)
        await bench.settled()
    elsewhere.close()
    await elsewhere.wait_closed()
    assert connections == []
    assert len(sending_away.heard) == 5


async def test_a_listener_with_the_certificate_of_another_is_told_nothing(bench):
    await registry.register(OPERATOR, bench.state, [registry.NewDevice(lfdi=bench.other_lfdi)])
    await bench.subscribe()
    impostor, gateway = Scripted(), Scripted()
    async with bench.telling():
        async with bench.listener(impostor, name="other"):
            await bench.limit_feeder(50)
            await bench.spine.until(lambda: any(notice.attempts > 1 for notice in bench.state.notices.values()), 3600)
        async with bench.listener(gateway):
            await bench.settled()
    assert impostor.heard == []
    assert len(gateway.heard) == 1


async def test_a_listener_of_one_whom_the_subscriber_stands_for_is_told(bench):
    party = PartyId("bright-energy")
    lfdi = bench.spine.device("aggregator")
    own, _ = await registry.register(
        OPERATOR,
        bench.state,
        [
            registry.NewDevice(lfdi=lfdi, aggregates=party),
            registry.NewDevice(lfdi=bench.other_lfdi, service_point="pv_001", managed_by=party),
        ],
    )
    who = Principal(party=party, role=Role.AGGREGATOR, name=lfdi, lfdi=lfdi)
    wish = Wish(resource="/edev", notification_uri=f"https://127.0.0.1:{bench.port}/told")
    await bench.node.serving.telling.subscriptions.subscribe(who, own.der_id, wish)
    front = Scripted()
    async with bench.listener(front, name="other"), bench.telling():
        new = registry.NewDevice(lfdi=None, service_point="pv_002", managed_by=party)
        await registry.register(OPERATOR, bench.state, [new])
        await bench.settled()
    (request,) = front.heard
    told = parse(request.body, Notification)
    assert (told.subscribed_resource, told.status, told.resource) == ("/edev", 0, None)


async def test_a_private_address_that_is_not_allowed_is_refused_at_subscription(bench):
    with pytest.raises(Forbidden, match="this machine"):
        await bench.subscribe(port=bench.port % 60000 + 1)
    assert bench.state.subscriptions == {}


async def test_a_listener_that_never_answers_delays_nobody_else(bench):
    await registry.register(OPERATOR, bench.state, [registry.NewDevice(lfdi=bench.other_lfdi, service_point="pv_000")])
    silent = []

    class Silent(asyncio.Protocol):
        def connection_made(self, transport):
            silent.append(transport)

    hole = await RealNetwork().serve(Silent, "127.0.0.1", bench.port)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    bench.node.serving.telling.subscriptions._allowed._allow |= {("127.0.0.1", port)}
    await bench.subscribe()
    other = registry.device_of(bench.state, bench.other_lfdi)
    who = Principal(party=PartyId("utility"), role=Role.DEVICE, name=bench.other_lfdi, lfdi=bench.other_lfdi)
    wish = Wish(resource=bench.controls, notification_uri=f"https://127.0.0.1:{port}/told", limit=1)
    await bench.node.serving.telling.subscriptions.subscribe(who, other.der_id, wish)
    gateway = Scripted()
    async with bench.listener(gateway, port=port, name="other"), bench.telling():
        await bench.limit_feeder(50)
        await bench.spine.until(lambda: len(bench.state.notices) == 1, 300)
        assert len(gateway.heard) == 1
        assert len(silent) == 1
    silent[0].close()
    hole.close()
    await hole.wait_closed()
