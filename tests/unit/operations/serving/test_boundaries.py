"""What time alone changes is told to those who watch it, once, across restarts."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tierline.model.errors import LinkError
from tierline.operations.serving import boundaries, dispatch
from tierline.operations.serving.boundaries import Boundaries


class Told:
    """Who is told of what time changes, by the names of what they subscribed to."""

    def __init__(self, subscribing, clock):
        self.subscribing, self.clock = subscribing, clock
        self.names = {}

    async def subscribe(self, device, *kinds, group="feeder-1", uri="https://93.184.216.34/told"):
        program = self.subscribing.program(group)
        for kind in kinds:
            record = await self.subscribing.subscribe(device, f"{kind}/{program}", uri)
            self.names[record.subscription_id] = kind

    async def at(self, when):
        self.clock.time = when
        told = await self.subscribing.told_of(self.subscribing.all.tell_what_time_changed())
        return sorted(self.names[key] for key in told)


@pytest.fixture
def told(subscribing, clock):
    return Told(subscribing, clock)


ALL = ("active_controls", "controls")


async def test_subscribers_are_told_when_an_event_begins_and_when_it_leaves_its_list(told, der, send, clock):
    start = clock.now() + timedelta(hours=1)
    await told.subscribe(der("pv-1"), "controls", "active_controls", "default", "program")
    await send("feeder-1", start=start, duration_s=60, connect=True)
    assert told.subscribing.all.changes_at == start
    assert await told.at(start - timedelta(seconds=1)) == []
    assert await told.at(start) == [*ALL]
    assert told.subscribing.all.changes_at == start + timedelta(seconds=70)
    assert await told.at(start + timedelta(seconds=69)) == []
    assert await told.at(start + timedelta(seconds=70)) == [*ALL]
    assert told.subscribing.all.changes_at is None
    assert await told.at(start + timedelta(hours=1)) == []


async def test_an_event_that_was_there_before_the_subscription_is_told_of_as_well(told, der, send, clock):
    start = clock.now() + timedelta(hours=1)
    await send("feeder-1", start=start, duration_s=60, connect=True)
    await told.subscribe(der("pv-1"), "controls")
    assert await told.at(start) == ["controls"]


async def test_what_was_cancelled_before_it_began_is_told_of_when_it_leaves_the_list(
    told, der, send, clock, serving, operator
):
    start = clock.now() + timedelta(hours=1)
    await told.subscribe(der("pv-1"), *ALL)
    control = await send("feeder-1", start=start, duration_s=60, connect=True)
    await dispatch.cancel_control(operator, serving, control.mrid)
    assert await told.at(start) == []
    assert await told.at(start + timedelta(seconds=70)) == ["controls"]


async def test_who_subscribes_after_it_has_seen_it(told, der, send, clock):
    start = clock.now() + timedelta(hours=1)
    await send("feeder-1", start=start, duration_s=3600, connect=True)
    await told.subscribe(der("pv-1"), "controls")
    clock.time = start
    await told.subscribe(der("pv-1"), "active_controls")
    assert await told.at(start) == ["controls"]


async def test_a_program_that_nobody_watches_is_not_followed(told, der, send, clock, serving):
    await told.subscribe(der("pv-3"), "default", "program", group="feeder-2")
    await send("feeder-2", start=clock.now() + timedelta(hours=1), connect=True)
    assert told.subscribing.all.changes_at is None
    await told.subscribe(der("pv-1"), "controls")
    record = next(one for one in serving.subscriptions.values() if one.resource.startswith("controls"))
    start = clock.now() + timedelta(hours=1)
    await send("feeder-1", start=start, connect=True)
    await told.subscribing.all.cancel(told.subscribing.principal(der("pv-1")), record.subscription_id)
    assert await told.at(start) == []
    assert told.subscribing.all.changes_at is None


async def test_who_did_not_renew_is_not_told(told, der, send, clock):
    start = clock.now() + timedelta(hours=40)
    await told.subscribe(der("pv-1"), "controls")
    await send("feeder-1", start=start, connect=True)
    assert await told.at(start) == []


async def test_what_changed_while_the_node_was_down_is_told_after_the_restart_and_once(
    told, der, send, clock, restarted
):
    first, second = (clock.now() + timedelta(hours=hours) for hours in (1, 2))
    await told.subscribe(der("pv-1"), "controls")
    await send("feeder-1", start=first, duration_s=60, connect=True)
    await send("feeder-1", start=second, duration_s=3600, connect=False)
    assert await told.at(first) == ["controls"]
    clock.time = second + timedelta(minutes=1)
    told.subscribing.restart(restarted())
    assert await told.at(clock.now()) == ["controls"]
    told.subscribing.restart(restarted())
    assert await told.at(clock.now()) == []
    assert await told.at(second + timedelta(seconds=3610)) == ["controls"]


async def test_a_first_change_that_came_while_the_node_was_down_is_told(told, der, send, clock, restarted):
    start = clock.now() + timedelta(hours=1)
    await told.subscribe(der("pv-1"), "controls")
    await send("feeder-1", start=start, connect=True)
    clock.time = start + timedelta(minutes=1)
    told.subscribing.restart(restarted())
    assert await told.at(clock.now()) == ["controls"]


async def test_a_clock_that_was_set_back_makes_times_come_again_after_a_restart(told, der, send, clock, restarted):
    start = clock.now() + timedelta(hours=1)
    await told.subscribe(der("pv-1"), "controls")
    await send("feeder-1", start=start, connect=True)
    assert await told.at(start + timedelta(minutes=1)) == ["controls"]
    clock.time = start - timedelta(minutes=1)
    told.subscribing.restart(restarted())
    assert await told.at(clock.now()) == []
    assert await told.at(start) == ["controls"]


async def test_what_the_store_refused_is_still_due(told, der, send, clock, serving, full_disk):
    start = clock.now() + timedelta(hours=1)
    await told.subscribe(der("pv-1"), "controls")
    await send("feeder-1", start=start, connect=True)
    store = serving.store
    full_disk()
    with pytest.raises(LinkError):
        await told.at(start)
    assert told.subscribing.all.changes_at == start
    serving.store = store
    assert await told.at(start) == ["controls"]


async def test_an_earlier_event_wakes_who_waits_for_a_later_one(told, der, send, clock):
    await told.subscribe(der("pv-1"), "controls")
    later, earlier = (clock.now() + timedelta(hours=hours) for hours in (2, 1))
    for start in (later, earlier):
        told.subscribing.all.news.clear()
        await send("feeder-1", start=start, connect=True)
        assert told.subscribing.all.news.is_set()
        assert told.subscribing.all.changes_at == start
    assert await told.at(earlier) == ["controls"]


async def test_a_subscription_alone_wakes_who_waits(told, der, send, clock):
    await send("feeder-1", start=clock.now() + timedelta(hours=1), connect=True)
    told.subscribing.all.news.clear()
    await told.subscribe(der("pv-1"), "default")
    assert not told.subscribing.all.news.is_set()
    await told.subscribe(der("pv-1"), "controls")
    assert told.subscribing.all.news.is_set()


async def test_a_program_that_went_is_left(told, der, send, clock, serving):
    start = clock.now() + timedelta(hours=1)
    await told.subscribe(der("pv-1"), "controls")
    control = await send("feeder-1", start=start, connect=True)
    served = serving.programs[told.subscribing.program("feeder-1")]
    await serving.commit(delete=[serving.control(control.mrid), served.record])
    assert await told.at(start) == []
    assert told.subscribing.all.changes_at is None


async def test_many_subscriptions_to_one_program_look_at_its_events_once(
    told, der, send, clock, monkeypatch, restarted
):
    for hours in (1, 2, 3):
        await send("feeder-1", start=clock.now() + timedelta(hours=hours), connect=True)
    for number in range(50):
        await told.subscribe(der("pv-1"), "controls", uri=f"https://93.184.216.34/{number}")
    looks = []
    real = boundaries.next_boundary
    monkeypatch.setattr(boundaries, "next_boundary", lambda *args: looks.append(args) or real(*args))
    told.subscribing.restart(restarted())
    assert len(looks) == 1
    assert len(await told.at(clock.now() + timedelta(hours=1))) == 50
    assert len(looks) == 2


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 50), st.integers(1, 20)), max_size=8))
async def test_the_first_instant_is_that_of_the_earliest_program(serving, send, clock, events):
    now = clock.now()
    served = next(iter(serving.programs.values()))
    control = await send("feeder-1", start=now + timedelta(hours=9), connect=True)
    template = serving.control(control.mrid)
    programs = {name: replace_served(served, name) for name in "abc"}
    serving.programs |= programs
    order = Boundaries(serving)
    for name in "abc":
        order.follow(name, now)
    for number, (name, start, duration_s) in enumerate(events):
        interval = replace(control.interval, start=now + timedelta(seconds=start), duration_s=duration_s)
        record = replace(template, mrid=f"{number}", program=name, control=replace(control, interval=interval))
        programs[name].controls[record.mrid] = record
        order.hasten(record, now)
    seen = []
    while (first := order.first) is not None:
        assert order.due(first - timedelta(seconds=1)) == []
        for name in order.due(first):
            seen.append((first, name))
            order.passed(name, first, is_watched=True)
    expected = {
        (now + timedelta(seconds=second), name)
        for name, start, duration_s in events
        for second in (start, start + duration_s + 10)
    }
    assert seen == sorted(expected)
    for name in "abc":
        del serving.programs[name]


def replace_served(served, name):
    return type(served)(record=replace(served.record, mrid=name))
