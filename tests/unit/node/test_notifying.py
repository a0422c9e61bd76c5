import asyncio
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from tierline.env import SeededRandom
from tierline.model.errors import LinkError, PeerError
from tierline.model.identity import Lfdi, PartyId
from tierline.model.parties import Principal, Role
from tierline.model.records import NoticeRecord
from tierline.node import notifying
from tierline.node.notifying import Notifying
from tierline.operations.serving import registry
from tierline.operations.serving.destinations import Destinations
from tierline.operations.serving.notices import Outbox
from tierline.operations.serving.state import Serving
from tierline.operations.serving.subscriptions import KEPT_FOR, Subscriptions, Wish
from tierline.operations.serving.watching import Watch, Watched
from tierline.protocols.sep2.notifier import Told
from tierline.storage.memory import MemoryStore

NOON = datetime(2026, 6, 18, 12, tzinfo=UTC)
UTILITY = PartyId("utility")
OPERATOR = Principal(party=UTILITY, role=Role.OPERATOR, name="ada")
HOSTS = {"one": "93.184.216.1", "two": "93.184.216.2"}


class ManualClock:
    """Goes on when it is moved, and wakes those who slept until then."""

    def __init__(self):
        self.time = NOON
        self.moved = asyncio.Condition()

    def now(self):
        return self.time

    def deadline(self):
        return 0.0

    async def sleep(self, civil_s):
        await self.sleep_until(self.time + timedelta(seconds=civil_s))

    async def sleep_until(self, when):
        async with self.moved:
            await self.moved.wait_for(lambda: self.time >= when)

    async def move(self, **parts):
        self.time += timedelta(**parts)
        async with self.moved:
            self.moved.notify_all()
        await settle()


async def settle():
    """Let everybody do what there is to do."""
    for _ in range(50):
        await asyncio.sleep(0)


class Store(MemoryStore):
    refuses = False

    async def commit(self, put=(), delete=()):
        if self.refuses:
            raise LinkError("no space left")
        await super().commit(put, delete)


@dataclass
class Line:
    """A line on which answers are scripted: a status, an error, or a gate to wait at."""

    town: "Town"
    address: str
    port: int
    is_open: bool = True

    async def post(self, path, body):
        self.town.posts.append((self.address, path, body.decode()))
        answers = self.town.answers.get(self.address, [])
        answer = answers.pop(0) if answers else 204
        if isinstance(answer, asyncio.Event):
            self.town.under_way += 1
            self.town.most = max(self.town.most, self.town.under_way)
            await answer.wait()
            self.town.under_way -= 1
            return 204
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def aclose(self):
        self.is_open = False


@dataclass
class Town:
    """A serving node, and listeners at some addresses."""

    clock: ManualClock = field(default_factory=ManualClock)
    store: Store = field(default_factory=Store)
    answers: dict = field(default_factory=dict)
    posts: list = field(default_factory=list)
    lines: list = field(default_factory=list)
    names: dict = field(default_factory=dict)
    allow: frozenset = frozenset()
    gone: set = field(default_factory=set)
    under_way: int = 0
    most: int = 0

    def start(self):
        """Start the node over what its store holds."""
        self.state = Serving(
            party=UTILITY, store=self.store, clock=self.clock, random=SeededRandom(len(self.posts)), pen=37244
        )
        self.state.load()
        destinations = Destinations(self.allow, self.resolve)
        self.subscriptions = Subscriptions(self.state, destinations, self.locate)
        who = Principal(party=UTILITY, role=Role.SELF, name="utility")
        self.task = Notifying(
            subscriptions=self.subscriptions,
            outbox=Outbox(who, self.state, self.subscriptions),
            destinations=destinations,
            notifier=self,
            dial=self.dial,
            clock=self.clock,
        )

    def locate(self, path):
        return Watch(Watched.END_DEVICE, path.rpartition("/")[2])

    async def resolve(self, host):
        return self.names[host]

    def tell(self, subscription, notice, device, now):
        text = f"{subscription.resource} {self.state.devices[subscription.resource].device_category}"
        return Told(document=text.encode(), is_last=subscription.resource in self.gone)

    def dial(self, destination, address, may_hear):
        line = Line(self, address, destination.port)
        line.may_hear = may_hear
        self.lines.append(line)
        return line

    async def register(self, *names):
        new = [registry.NewDevice(lfdi=Lfdi(f"{ord(name[-1]):02X}" * 20)) for name in names]
        return await registry.register(OPERATOR, self.state, new)

    async def subscribe(self, device, host, path="/told", port=443):
        lfdi = self.state.lfdi_of[device.der_id]
        who = Principal(party=UTILITY, role=Role.DEVICE, name=lfdi, lfdi=lfdi)
        wish = Wish(resource=device.der_id, notification_uri=f"https://{HOSTS.get(host, host)}:{port}{path}")
        return await self.subscriptions.subscribe(who, device.der_id, wish)

    async def touch(self, *devices):
        put = []
        for device in devices:
            now = self.state.devices[device.der_id]
            put.append(replace(now, device_category=now.device_category + 1))
        await self.state.commit(put)

    def told(self, host):
        return [post for post in self.posts if post[0] == HOSTS[host]]


@pytest.fixture
async def town():
    town = Town()
    town.start()
    return town


@pytest.fixture
async def running(town):
    """Run the task until the test is over."""
    async with asyncio.TaskGroup() as group:
        task = group.create_task(town.task.run())
        await settle()
        yield town
        task.cancel()


async def test_a_change_is_told_at_once_and_once(running):
    (device,) = await running.register("a")
    await running.subscribe(device, "one")
    await running.touch(device)
    await settle()
    category = running.state.devices[device.der_id].device_category
    assert running.posts == [(HOSTS["one"], "/told", f"{device.der_id} {category}")]
    assert running.state.notices == {}
    await running.clock.move(hours=2)
    assert len(running.posts) == 1
    assert not any(line.is_open for line in running.lines)


class ByTime:
    """Something that time alone changes, in the place of what is known of events."""

    def __init__(self, town, devices, *times):
        self.town, self.devices, self.times = town, devices, list(times)
        self.asked = 0

    @property
    def changes_at(self):
        return min(self.times, default=None)

    async def tell(self):
        self.asked += 1
        while self.times and min(self.times) <= self.town.clock.now():
            await self.town.touch(*self.devices)
            self.times.remove(min(self.times))

    def into(self, monkeypatch):
        monkeypatch.setattr(Subscriptions, "changes_at", property(lambda _: self.changes_at))
        monkeypatch.setattr(Subscriptions, "tell_what_time_changed", lambda _: self.tell())
        self.town.subscriptions.news.set()


async def test_what_time_alone_changes_is_told_at_that_time_and_nobody_asks_in_between(running, monkeypatch):
    (device,) = await running.register("a")
    await running.subscribe(device, "one")
    by_time = ByTime(running, [device], NOON + timedelta(minutes=10), NOON + timedelta(minutes=20))
    by_time.into(monkeypatch)
    await settle()
    asked = by_time.asked
    await running.clock.move(minutes=9, seconds=59)
    assert (running.told("one"), by_time.asked) == ([], asked)
    await running.clock.move(seconds=1)
    assert len(running.told("one")) == 1
    await running.clock.move(minutes=10)
    assert len(running.told("one")) == 2


async def test_what_time_changed_and_the_store_refused_is_told_later(running, monkeypatch):
    (device,) = await running.register("a")
    await running.subscribe(device, "one")
    ByTime(running, [device], NOON + timedelta(minutes=10)).into(monkeypatch)
    await settle()
    running.store.refuses = True
    await running.clock.move(minutes=10)
    assert running.told("one") == []
    running.store.refuses = False
    await running.clock.move(seconds=10)
    assert len(running.told("one")) == 1


async def test_what_was_to_be_told_before_a_restart_is_told_after_it(town):
    (device,) = await town.register("a")
    await town.subscribe(device, "one")
    await town.touch(device)
    town.start()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(town.task.run())
        await settle()
        task.cancel()
    assert len(town.told("one")) == 1
    assert town.state.notices == {}


@pytest.mark.parametrize(
    "answer", [500, 503, 301, 302, 307, 308, 408, 429, 100, LinkError("dead"), PeerError("another")]
)
async def test_what_did_not_get_through_is_tried_again_later_each_time(running, answer):
    (device,) = await running.register("a")
    await running.subscribe(device, "one")
    running.answers[HOSTS["one"]] = [answer, answer]
    await running.touch(device)
    await settle()
    assert len(running.posts) == 1
    await running.clock.move(seconds=9)
    assert len(running.posts) == 1
    await running.clock.move(seconds=1)
    assert len(running.posts) == 2
    await running.clock.move(seconds=19)
    assert len(running.posts) == 2
    await running.clock.move(seconds=1)
    assert len(running.posts) == 3
    assert running.state.notices == {}


async def test_a_change_in_the_meantime_does_not_hurry_a_dead_listener(running):
    (device,) = await running.register("a")
    await running.subscribe(device, "one")
    running.answers[HOSTS["one"]] = [503]
    await running.touch(device)
    await settle()
    await running.touch(device)
    await settle()
    assert len(running.posts) == 1
    await running.clock.move(seconds=10)
    assert len(running.posts) == 2
    assert running.state.notices == {}


async def test_a_dead_listener_keeps_its_order_and_delays_nobody_else(running):
    one, two, other = await running.register("a", "b", "c")
    for device in (one, two):
        # two resources of one subscriber
        lfdi = running.state.lfdi_of[one.der_id]
        who = Principal(party=UTILITY, role=Role.DEVICE, name=lfdi, lfdi=lfdi)
        wish = Wish(resource=one.der_id, notification_uri=f"https://{HOSTS['one']}/{device.der_id}")
        await running.subscriptions.subscribe(who, one.der_id, wish)
    await running.subscribe(other, "two")
    running.answers[HOSTS["one"]] = [LinkError("dead")]
    await running.touch(one, other)
    await settle()
    assert len(running.told("one")) == len(running.told("two")) == 1
    await running.clock.move(seconds=10)
    assert len(running.told("one")) == 3
    paths = [path for _, path, _ in running.told("one")]
    assert paths[0] == paths[1] != paths[2]


async def test_a_slow_listener_delays_nobody_else(running):
    one, other = await running.register("a", "b")
    await running.subscribe(one, "one")
    await running.subscribe(other, "two")
    gate = asyncio.Event()
    running.answers[HOSTS["one"]] = [gate]
    await running.touch(one, other)
    await settle()
    await running.touch(other)
    await settle()
    assert len(running.told("two")) == 2
    assert len(running.state.notices) == 1
    gate.set()
    await settle()
    assert running.state.notices == {}


async def test_a_change_while_a_notice_is_under_way_is_told_after_it(running):
    (device,) = await running.register("a")
    await running.subscribe(device, "one")
    gate = asyncio.Event()
    running.answers[HOSTS["one"]] = [gate]
    await running.touch(device)
    await settle()
    await running.touch(device)
    await settle()
    assert len(running.posts) == 1
    gate.set()
    await settle()
    assert len(running.posts) == 2
    assert running.posts[0][2] != running.posts[1][2]
    assert running.state.notices == {}


async def test_only_so_many_are_told_at_once(running, monkeypatch):
    devices = await running.register(*(f"x{chr(97 + number)}" for number in range(20)))
    gate = asyncio.Event()
    for number, device in enumerate(devices):
        await running.subscribe(device, f"93.184.215.{number}")
        running.answers[f"93.184.215.{number}"] = [gate]
    await running.touch(*devices)
    await settle()
    assert running.under_way == notifying.AT_ONCE
    gate.set()
    await settle()
    assert running.state.notices == {}
    assert running.most == notifying.AT_ONCE
    assert len(running.posts) == 20


async def test_refused_notices_are_dropped_and_at_last_the_subscription(running):
    (device,) = await running.register("a")
    await running.subscribe(device, "one")
    running.answers[HOSTS["one"]] = [400, 404, 410]
    with capture_logs() as logs:
        for _ in range(4):
            await running.touch(device)
            await settle()
    assert len(running.posts) == 3
    assert (running.state.notices, running.state.subscriptions) == ({}, {})
    refusals = [entry["subscription_ended"] for entry in logs if entry["event"] == "notice_refused"]
    assert refusals == [False, False, True]


@pytest.mark.parametrize("answer", [204, 400])
async def test_what_is_gone_is_told_once_and_ends_the_subscription(running, answer):
    (device,) = await running.register("a")
    await running.subscribe(device, "one")
    running.gone.add(device.der_id)
    running.answers[HOSTS["one"]] = [503, answer]
    await running.touch(device)
    await settle()
    assert len(running.state.subscriptions) == 1
    await running.clock.move(seconds=10)
    assert len(running.posts) == 2
    assert (running.state.notices, running.state.subscriptions) == ({}, {})


async def test_who_is_shut_out_is_told_nothing_and_loses_the_subscription(running):
    (device,) = await running.register("a")
    await running.subscribe(device, "one")
    await registry.enable(OPERATOR, running.state, device.der_id, enabled=False)
    await settle()
    assert running.posts == []
    assert (running.state.notices, running.state.subscriptions) == ({}, {})


async def test_who_cannot_be_told_for_a_day_loses_the_subscription(running):
    (device,) = await running.register("a")
    await running.subscribe(device, "one")
    running.answers[HOSTS["one"]] = [LinkError("dead")] * 400
    await running.touch(device)
    await settle()
    for _ in range(300):
        await running.clock.move(seconds=300)
    assert (running.state.notices, running.state.subscriptions) == ({}, {})
    assert 280 < len(running.posts) < 300


async def test_a_name_is_looked_up_for_every_notice_and_bad_addresses_are_not_called(running):
    (device,) = await running.register("a")
    running.names["agg.example"] = (HOSTS["one"], HOSTS["two"])
    await running.subscribe(device, "agg.example")
    running.names["agg.example"] = ("127.0.0.1",)
    await running.touch(device)
    await settle()
    assert (running.posts, running.lines) == ([], [])
    running.names["agg.example"] = (HOSTS["one"], HOSTS["two"])
    await running.clock.move(seconds=10)
    assert running.told("two")
    assert running.state.notices == {}


async def test_another_address_is_tried_each_time(running):
    (device,) = await running.register("a")
    running.names["agg.example"] = (HOSTS["one"], HOSTS["two"])
    await running.subscribe(device, "agg.example")
    running.answers = {HOSTS["one"]: [LinkError("dead")]}
    await running.touch(device)
    await settle()
    await running.clock.move(seconds=10)
    assert [address for address, *_ in running.posts] == [HOSTS["one"], HOSTS["two"]]


async def test_the_next_notice_uses_the_line_that_is_open(running):
    (device,) = await running.register("a")
    for path in ("/x", "/y"):
        await running.subscribe(device, "one", path)
    await running.touch(device)
    await settle()
    assert len(running.posts) == 2
    (line,) = running.lines
    assert line.may_hear(running.state.lfdi_of[device.der_id])
    assert not line.may_hear(Lfdi("EE" * 20))


async def test_an_address_that_changes_within_a_run_is_another_line(running):
    (device,) = await running.register("a")
    answers = iter([(HOSTS["one"],)] * 2 + [(HOSTS["one"],), (HOSTS["two"],)])

    class Turning(dict):
        def __missing__(self, host):
            return next(answers)

    running.names = Turning()
    for path in ("/x", "/y"):
        await running.subscribe(device, "agg.example", path)
    await running.touch(device)
    await settle()
    assert [address for address, *_ in running.posts] == [HOSTS["one"], HOSTS["two"]]
    assert [line.is_open for line in running.lines] == [False, False]


async def test_what_is_not_allowed_any_more_after_a_restart_ends(town):
    (device,) = await town.register("a")
    town.allow = frozenset({("10.0.0.1", 443)})
    town.start()
    await town.subscribe(device, "10.0.0.1")
    await town.touch(device)
    town.allow = frozenset()
    town.start()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(town.task.run())
        await settle()
        task.cancel()
    assert town.posts == []
    assert (town.state.notices, town.state.subscriptions) == ({}, {})


async def test_a_store_that_refuses_makes_a_notice_come_twice_but_never_not_at_all(running):
    (device,) = await running.register("a")
    await running.subscribe(device, "one")
    gate = asyncio.Event()
    running.answers[HOSTS["one"]] = [gate]
    await running.touch(device)
    await settle()
    running.store.refuses = True
    gate.set()
    await settle()
    assert len(running.state.notices) == 1
    running.store.refuses = False
    await running.clock.move(seconds=10)
    assert len(running.posts) == 2
    assert running.state.notices == {}


async def test_tidying_waits_for_a_store_that_refuses(running):
    (device,) = await running.register("a")
    await running.subscribe(device, "one")
    await running.clock.move(seconds=KEPT_FOR.total_seconds())
    running.store.refuses = True
    await running.clock.move(hours=1)
    assert len(running.state.subscriptions) == 1
    running.store.refuses = False
    await running.clock.move(seconds=10)
    assert running.state.subscriptions == {}


async def test_a_cancelled_subscription_is_told_nothing(running):
    (device,) = await running.register("a")
    record = await running.subscribe(device, "one")
    running.answers[HOSTS["one"]] = [503]
    await running.touch(device)
    await settle()
    lfdi = running.state.lfdi_of[device.der_id]
    who = Principal(party=UTILITY, role=Role.DEVICE, name=lfdi, lfdi=lfdi)
    await running.subscriptions.cancel(who, record.subscription_id)
    await running.clock.move(seconds=10)
    assert len(running.posts) == 1
    assert running.task._queues == {}


async def test_a_clock_that_is_set_back_keeps_nobody_waiting(running):
    (device,) = await running.register("a")
    await running.subscribe(device, "one")
    running.answers[HOSTS["one"]] = [503]
    await running.touch(device)
    await settle()
    await running.clock.move(days=-1)
    await running.touch(device)
    await settle()
    assert len(running.posts) == 2
    assert running.state.notices == {}


class SlowStore(Store):
    """Writes one after the other, each after some turns of the loop, as a disk does; some are refused."""

    def __init__(self):
        super().__init__()
        self.turns = 0
        self.refusals = 0
        self.one_by_one = asyncio.Lock()

    async def commit(self, put=(), delete=()):
        async with self.one_by_one:
            for _ in range(self.turns):
                await asyncio.sleep(0)
            if self.refusals:
                self.refusals -= 1
                raise LinkError("no space left")
            await super().commit(put, delete)


ACTS = ["change one", "change two", "change both", "fail", "dawdle", "disk", "slow", "fast", "turn", "wait"]


@given(st.lists(st.sampled_from(ACTS), max_size=40))
def test_whatever_happens_the_last_state_is_told(acts):
    """Changes, failures and a slow disk in any order: in the end every subscriber was last told what holds."""
    asyncio.run(play(acts))


async def play(acts):
    town = Town(store=SlowStore())
    town.start()
    devices = await town.register("a", "b")
    for device in devices:
        await town.subscribe(device, "one", f"/{device.der_id}")
    async with asyncio.TaskGroup() as group:
        task = group.create_task(town.task.run())

        async def change(*some):
            with suppress(LinkError):
                await town.touch(*some)

        for act in acts:
            match act:
                case "change one" | "change two" | "change both":
                    some = {"one": devices[:1], "two": devices[1:], "both": devices}[act.removeprefix("change ")]
                    group.create_task(change(*some))
                case "fail" | "dawdle":
                    town.answers.setdefault(HOSTS["one"], []).append(503 if act == "fail" else asyncio.Event())
                    for answer in town.answers[HOSTS["one"]]:
                        if isinstance(answer, asyncio.Event):
                            asyncio.get_running_loop().call_soon(answer.set)
                case "disk":
                    town.store.refusals += 1
                case "slow" | "fast":
                    town.store.turns = 7 if act == "slow" else 0
                case "turn":
                    await asyncio.sleep(0)
                case "wait":
                    await town.clock.move(seconds=15)
        town.store.refusals = 0
        town.answers.clear()
        for _ in range(6):
            await town.clock.move(seconds=300)
            await settle()
        assert town.state.notices == {}
        assert town.store.load(NoticeRecord) == []
        task.cancel()
    for device in devices:
        told = [body for _, path, body in town.posts if path == f"/{device.der_id}"]
        first, now = device.device_category, town.state.devices[device.der_id].device_category
        assert (told[-1] if told else f"{device.der_id} {first}") == f"{device.der_id} {now}"
