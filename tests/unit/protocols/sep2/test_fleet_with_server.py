"""A node that stands for many at our own server: both sides in memory, with the notices between them."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from tierline.model.control import Curve, CurvePoint, EventStatus, Reference, Setpoints
from tierline.model.identity import Lfdi, Mrid
from tierline.model.programs import FleetMember, Response, ResponseStatus
from tierline.model.records import DerInfoKind, ReadingRecord, ResponseRecord
from tierline.model.telemetry import Reading
from tierline.operations.serving import dispatch, prices, programs, registry
from tierline.operations.serving.destinations import Destinations
from tierline.operations.serving.subscriptions import Subscriptions
from tierline.protocols.sep2.codec import render
from tierline.protocols.sep2.fleet_north import Sep2FleetNorth
from tierline.protocols.sep2.follow.walk import Entry
from tierline.protocols.sep2.listener import NoticeListener
from tierline.protocols.sep2.notifier import Locator, Notifier
from tierline.protocols.sep2.resources import der
from tierline.protocols.sep2.server import Sep2Server
from tierline.protocols.sep2.transport import Peer, Request
from tierline.storage.memory import MemoryStore

AGGREGATOR = Lfdi("AA" * 20)
SERVER_LFDI = Lfdi("55" * 20)
MANAGED = tuple(Lfdi(f"{number:02X}" * 20) for number in (0x10, 0x11, 0x12, 0x13))
VOLT_VAR = Curve(
    mrid=Mrid("0" * 32),
    points=tuple(CurvePoint(x=Decimal(x), y=Decimal(y)) for x, y in ((92, 44), (98, 0), (102, 0), (108, -44))),
    y_reference=Reference.SET_MAX_VAR,
)


class Courier:
    """Carries requests of the aggregator to the server in memory."""

    def __init__(self, bench):
        self.bench = bench
        self.log = []

    async def request(self, method, path, body=b""):
        self.log.append((method, path.partition("?")[0]))
        return await self.bench.ask(method, path, AGGREGATOR, body)

    async def close(self):
        pass

    def asked(self):
        found, self.log = self.log, []
        return [path for method, path in found if method == "GET"]


class Both:
    """The server, the aggregator, and the way notices take between them."""

    def __init__(self, bench):
        self.bench = bench
        state = bench.state

        async def resolve(host):
            return [host]

        self.subscriptions = Subscriptions(
            state, Destinations(frozenset({("192.0.2.9", 8444)}), resolve), Locator(state)
        )
        bench.server = Sep2Server(state, bench.views, self.subscriptions)
        self.listener = NoticeListener("https://192.0.2.9:8444", "secret")
        self.store = MemoryStore()
        self.courier = Courier(bench)
        self.start()

    def start(self):
        uri = self.listener.register("utility", SERVER_LFDI, self.hear)
        entry = Entry(
            dcap="/dcap",
            lfdi=AGGREGATOR,
            channel="utility",
            party="utility",
            server="192.0.2.1:8443",
            server_lfdi=SERVER_LFDI,
            pin=None,
        )
        self.north = Sep2FleetNorth(
            courier=self.courier,
            entry=entry,
            clock=self.bench.clock,
            store=self.store,
            pen=self.bench.PEN,
            notification_uri=uri,
        )

    def hear(self, notice):
        self.north.hear(notice)

    async def settle(self):
        """Walk and subscribe until the server tells of everything that we know."""
        await self.north.walk()
        await self.north.subscribe()
        self.deliver()
        self.bench.clock.move(seconds=self.north.poll_s)
        await self.north.walk()
        await self.north.subscribe()
        self.courier.log.clear()

    def deliver(self):
        """Carry all waiting notices from the server to the listener; gives the paths they name."""
        state, now = self.bench.state, self.bench.clock.now()
        notifier = Notifier(self.bench.views.resource)
        paths = []
        for notice in list(state.notices.values()):
            subscription = state.subscriptions[notice.subscription_id]
            told = notifier.tell(subscription, notice, state.devices[subscription.der_id], now)
            path = subscription.notification_uri.removeprefix("https://192.0.2.9:8444")
            answer = self.listener.handle(
                Request(
                    method="POST",
                    path=path,
                    query="",
                    headers={"content-type": "application/sep+xml"},
                    body=told.document,
                    peer=Peer(lfdi=SERVER_LFDI, fingerprint="55", address="192.0.2.1"),
                ),
                now,
            )
            assert answer.status == 204
            paths.append(subscription.resource)
            del state.notices[notice.subscription_id]
            if told.is_last:
                del state.subscriptions[subscription.subscription_id]
        return sorted(paths)

    def der(self, lfdi):
        return self.bench.state.identities[lfdi].der_id


@pytest.fixture
async def both(bench):
    points = [f"pv-{number}" for number in range(1, 4)]
    await registry.register(
        bench.OPERATOR,
        bench.state,
        [
            registry.NewDevice(lfdi=AGGREGATOR, aggregates="agg"),
            *(
                registry.NewDevice(lfdi=lfdi, service_point=point, managed_by="agg", pin=111115)
                for lfdi, point in zip(MANAGED, points, strict=False)
            ),
        ],
    )
    return Both(bench)


def names(seen, lfdi):
    return [seen.programs[mrid].description for mrid in seen.members[lfdi].programs]


async def test_it_sees_those_it_stands_for_and_their_programs(bench, both):
    await programs.set_default(bench.OPERATOR, bench.state, bench.feeder(), Setpoints.of({"volt_var": VOLT_VAR}))
    record = await bench.control()
    seen = await both.north.walk()
    assert set(seen.members) == set(MANAGED[:3])
    assert names(seen, MANAGED[0]) == ["feeder", "substation", "system"]
    member = seen.members[MANAGED[0]]
    assert (member.pin, member.device_category, member.enabled) == (111115, registry.PV_CATEGORY, True)
    feeder = seen.programs[member.programs[0]]
    (control,) = feeder.controls
    assert (control.mrid, control.interval, control.creation_time) == (
        record.mrid,
        record.control.interval,
        record.control.creation_time,
    )
    assert feeder.default.setpoints["volt_var"].points == VOLT_VAR.points
    assert (both.north.poll_s, both.north.post_s) == (60, 300)
    asked = both.courier.asked()
    assert len(asked) == len(set(asked))


async def test_it_subscribes_once_to_all_that_is_shared(bench, both):
    await both.north.walk()
    await both.north.subscribe()
    wanted = {subscription.resource for subscription in bench.state.subscriptions.values()}
    shared = {path for path in wanted if not path.startswith("/edev/")}
    assert "/edev" in wanted
    assert {f"/edev/{both.der(lfdi)}/fsa" for lfdi in MANAGED[:3]} <= wanted
    assert len([path for path in shared if path.endswith("/derc")]) == len((await both.north.walk()).programs)
    both.start()
    await both.settle()
    assert len(bench.state.subscriptions) == len(wanted)


async def test_it_renews_its_subscriptions_every_day(bench, both):
    await both.settle()
    before = dict(bench.state.subscriptions)
    bench.clock.move(hours=24)
    await both.north.walk()
    await both.north.subscribe()
    after = bench.state.subscriptions
    assert after.keys() == before.keys()
    assert {one.renewed_at for one in after.values()} == {bench.clock.now()}


async def test_it_is_told_of_a_control_and_reads_that_alone(bench, both):
    await both.settle()
    record = await bench.control()
    (path,) = both.deliver()
    assert both.north.has_news()
    seen = await both.north.walk()
    assert [control.mrid for program in seen.programs.values() for control in program.controls] == [record.mrid]
    assert set(both.courier.asked()) == {path, path.removesuffix("/derc")}
    await dispatch.cancel_control(bench.OPERATOR, bench.state, record.mrid)
    both.deliver()
    seen = await both.north.walk()
    (control,) = [control for program in seen.programs.values() for control in program.controls]
    assert control.status is EventStatus.CANCELLED


async def test_it_is_told_of_a_first_default_and_subscribes_to_it(bench, both):
    await both.settle()
    await programs.set_default(
        bench.OPERATOR, bench.state, bench.feeder(), Setpoints.of({"max_lim_w_pct": Decimal(70)})
    )
    assert both.deliver()
    seen = await both.north.walk()
    feeder = seen.programs[seen.members[MANAGED[0]].programs[0]]
    assert feeder.default.setpoints["max_lim_w_pct"] == 70
    await both.north.subscribe()
    assert [path for path in (one.resource for one in bench.state.subscriptions.values()) if path.endswith("dderc")]


async def test_it_is_told_who_moves(bench, both):
    await both.settle()
    before = (await both.north.walk()).members
    await bench.move_pv_2()
    assert both.deliver()
    seen = await both.north.walk()
    assert seen.members[MANAGED[0]] == before[MANAGED[0]]
    moved = seen.members[MANAGED[1]].programs
    assert moved[0] == before[MANAGED[2]].programs[0]
    assert moved[0] != before[MANAGED[1]].programs[0]


async def test_it_is_told_when_nobody_is_left_of_a_program(bench, both):
    await registry.enable(bench.OPERATOR, bench.state, MANAGED[0], enabled=False)
    await both.settle()
    count = len((await both.north.walk()).programs)
    await bench.move_pv_2()
    both.deliver()
    seen = await both.north.walk()
    assert len(seen.programs) == count - 1
    await both.north.subscribe()
    assert len((await both.north.walk()).programs) == count - 1


async def test_it_is_told_who_is_new_and_who_is_gone(bench, both):
    await both.settle()
    await registry.register(
        bench.OPERATOR, bench.state, [registry.NewDevice(lfdi=MANAGED[3], service_point="pv-1", managed_by="agg")]
    )
    assert "/edev" in both.deliver()
    seen = await both.north.walk()
    assert names(seen, MANAGED[3]) == ["feeder", "substation", "system"]
    await registry.enable(bench.OPERATOR, bench.state, MANAGED[0], enabled=False)
    both.deliver()
    seen = await both.north.walk()
    assert MANAGED[0] not in seen.members or not seen.members[MANAGED[0]].programs


async def test_between_notices_it_only_asks_whether_the_server_is_there(bench, both):
    await both.settle()
    for _ in range(3):
        bench.clock.move(seconds=60)
        await both.north.walk()
    assert both.courier.asked() == ["/tm"] * 3


async def test_it_enrols_those_it_names_and_takes_out_the_others(bench, both):
    members = [FleetMember(lfdi=lfdi, pin=None, device_category=registry.PV_CATEGORY) for lfdi in MANAGED[1:]]
    await both.north.enrol(members)
    seen = await both.north.walk()
    assert set(seen.members) == set(MANAGED[1:])
    assert seen.members[MANAGED[3]].pin is not None
    await both.north.enrol(members)


async def test_it_hands_on_what_members_say(bench, both):
    record = await bench.control()
    await both.north.walk()
    now = bench.clock.now()
    response = Response(
        mrid=record.mrid,
        der_id="aaaaaaaaaaaaa",
        lfdi=MANAGED[0],
        status=ResponseStatus.RECEIVED,
        created_at=now,
        channel="utility",
    )
    await both.north.respond(response)
    await both.north.respond(replace(response, lfdi=MANAGED[1]))
    kept = bench.store.load(ResponseRecord)
    assert {(one.der_id, one.lfdi) for one in kept} == {(both.der(lfdi), lfdi) for lfdi in MANAGED[:2]}
    for lfdi in MANAGED[:2]:
        reading = Reading(der_id="aaaaaaaaaaaaa", point="w", value=5, power_of_ten=0, time=now)
        await both.north.report(lfdi, [reading])
    assert {one.reading.der_id for one in bench.store.load(ReadingRecord)} == {both.der(lfdi) for lfdi in MANAGED[:2]}
    both.start()
    await both.north.walk()
    both.courier.log.clear()
    await both.north.report(MANAGED[0], [replace(reading, value=6)])
    assert len(both.courier.log) == 1
    await both.north.put_info(MANAGED[0], DerInfoKind.STATUS, render(der.DERStatus(href="/x/y", reading_time=5)))
    assert bench.state.infos[both.der(MANAGED[0]), DerInfoKind.STATUS]


async def publish(bench, description="day ahead", **more):
    tariff = await prices.create_tariff(
        bench.OPERATOR, bench.state, prices.NewTariff(description=description, currency=978, **more)
    )
    one = prices.NewPrice(start=bench.clock.now() + timedelta(hours=1), duration_s=3600, price=Decimal("0.25"))
    await prices.set_prices(bench.OPERATOR, bench.state, tariff.mrid, [one])
    return tariff


async def test_a_server_without_tariffs_is_asked_for_none(bench, both):
    await both.north.walk()
    both.courier.asked()
    seen = await both.north.tariffs.read()
    assert seen.tariffs == {}
    assert both.courier.asked() == ["/tp"], "the list that is everybody's, and none of a member"


async def test_tariffs_are_read_with_whom_each_concerns(bench, both):
    common = await publish(bench)
    special = await publish(bench, "feeder", group=bench.feeder())
    await both.north.walk()
    seen = await both.north.tariffs.read()
    assert seen.shown_to[common.mrid] == set(MANAGED[:3])
    assert seen.shown_to[special.mrid] == {
        lfdi for lfdi in MANAGED[:3] if both.der(lfdi) in bench.state.members_of[bench.feeder()]
    }
    ((price,), (other,)) = (seen.tariffs[one.mrid].prices for one in (common, special))
    (record,) = bench.state.prices[common.mrid].values()
    assert (price.mrid, price.price, price.start, price.created_at) == (
        record.mrid,
        25_000,
        record.start,
        record.created_at,
    )
    assert (seen.refused, other.price) == ({}, 25_000)


async def test_a_price_is_read_when_a_notice_tells_of_it_and_not_before(bench, both):
    tariff = await publish(bench)
    await both.settle()
    for _ in range(2):
        await both.north.tariffs.read(both.north.trusted())
        await both.north.walk()
        await both.north.subscribe()
        both.deliver()
    await both.north.tariffs.read(both.north.trusted())
    both.courier.asked()
    both.north.tariffs.woken.clear()
    before = await both.north.tariffs.read(both.north.trusted())
    assert both.courier.asked() == []
    (price,) = before.tariffs[tariff.mrid].prices
    await prices.withdraw_prices(bench.OPERATOR, bench.state, tariff.mrid, [price.start])
    both.deliver()
    assert both.north.tariffs.woken.is_set()
    (after,) = (await both.north.tariffs.read(both.north.trusted())).tariffs[tariff.mrid].prices
    assert (after.mrid, after.status) == (price.mrid, EventStatus.CANCELLED)
    assert len(both.courier.asked()) == 1
