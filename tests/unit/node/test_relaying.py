"""Relays at work between serving halves without a wire, under virtual time."""

import asyncio
import runpy
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tierline.env import SeededRandom
from tierline.model.control import Control, Interval, Provenance, Setpoints
from tierline.model.errors import Forbidden, LinkError, PeerError
from tierline.model.identity import ChannelId, Lfdi, Mrid, PartyId
from tierline.model.parties import Principal, Role
from tierline.model.programs import ResponseStatus
from tierline.model.records import (
    ControlRecord,
    DerInfoKind,
    GroupRecord,
    MembershipRecord,
    ProgramRecord,
    ReadingRecord,
    ResponseRecord,
)
from tierline.model.telemetry import Reading
from tierline.model.topology import Group, Membership, Tier
from tierline.node.relaying import RelayChannel, Relaying
from tierline.operations.relay.relayed import Relayed
from tierline.operations.serving import dispatch, registry, telemetry
from tierline.sim.loop import START, VirtualClock, VirtualLoop

_LEVELS = runpy.run_path(str(Path(__file__).parents[2] / "levels.py"))
Above, OPERATOR, serving_of, shown = (_LEVELS[name] for name in ("Above", "OPERATOR", "serving_of", "shown"))
LFDIS = [Lfdi(f"{number:02X}" * 20) for number in range(1, 4)]
LIMIT = Setpoints.of({"max_lim_w_pct": Decimal(50)})


class Link:
    """A link with its pace."""

    def __init__(self, link, poll_s=60.0, post_s=300.0):
        self.link, self.poll_s, self.post_s = link, poll_s, post_s
        self.woken = asyncio.Event()
        self.subscribed = 0

    async def subscribe(self):
        self.subscribed += 1


class Level:
    """A serving half that may relay what the level above shows."""

    def __init__(self, world, name, above=None, enrol="offer", store=None, capacity=None):
        self.world, self.name = world, name
        self.serving = serving_of(name, world.clock, store, seed=world.lives)
        if above is None:
            return
        self.above = Above(above.serving, name, channel=above.name)
        self.link = Link(self.above)
        self.relayed = Relayed.load(self.serving.store, ChannelId(above.name), enrol)
        self.relaying = Relaying(
            serving=self.serving,
            channels=[
                RelayChannel(
                    principal=Principal(party=PartyId(above.name), role=Role.UPSTREAM, name=above.name),
                    relayed=self.relayed,
                    server=self.link,
                )
            ],
            clock=world.clock,
            random=SeededRandom(1),
            capacity=capacity,
        )
        self.task = world.loop.create_task(self.relaying.run())
        world.tasks.append(self.task)

    def der(self, lfdi=LFDIS[0]):
        return registry.device_of(self.serving, lfdi).der_id

    def who(self, lfdi=LFDIS[0]):
        return Principal(party=PartyId(self.name), role=Role.DEVICE, name=lfdi, lfdi=lfdi)

    async def group(self, name="all", lfdis=LFDIS, primacy=100):
        """Make a group with a program of its own."""
        now, party = self.serving.clock.now(), self.serving.party
        group = Group(id=f"{self.name}-{name}", tier=Tier.NON_TOPOLOGY, name=name)
        mrid = Mrid(f"{len(self.serving.programs) + 1:032X}")
        put = [
            GroupRecord(party=party, group=group, created_at=now),
            ProgramRecord(party=party, mrid=mrid, group_id=group.id, primacy=primacy, description=name, created_at=now),
        ]
        for lfdi in lfdis:
            membership = Membership(
                der_id=self.der(lfdi), group_id=group.id, valid_from=now, valid_to=None, recorded_at=now
            )
            put.append(MembershipRecord(party=party, membership=membership, cause="operator"))
        await self.serving.commit(put)
        return group.id

    async def order(self, group, *, start_s=600, duration_s=900, **more):
        order = dispatch.Order(
            group_id=group,
            setpoints=LIMIT,
            start=self.world.clock.now() + timedelta(seconds=start_s),
            duration_s=duration_s,
            randomize_start_s=60,
            **more,
        )
        return (await dispatch.create_control(OPERATOR, self.serving, order)).control

    async def respond(self, mrid, status, lfdi=LFDIS[0]):
        await telemetry.record_response(
            self.who(lfdi), self.serving, self.der(lfdi), mrid, ResponseStatus(status), self.world.clock.now()
        )

    async def measure(self, value, lfdi=LFDIS[0]):
        reading = Reading(der_id=self.der(lfdi), point="w", value=value, power_of_ten=0, time=self.world.clock.now())
        await telemetry.record_readings(self.who(lfdi), self.serving, reading.der_id, [(Mrid("9" * 32), reading)])

    async def register(self, *lfdis, managed_by=None):
        devices = [registry.NewDevice(lfdi=lfdi, managed_by=managed_by) for lfdi in lfdis]
        await registry.register(OPERATOR, self.serving, devices)

    def answers(self, mrid):
        return sorted(status for _, status in self.serving.responses.get(mrid, {}))

    def shows(self, lfdi=LFDIS[0]):
        """Give what a DER is shown, free of who brought it."""
        return [shown(served, self.world.clock.now()) for served in self.serving.programs_for(self.der(lfdi))]

    def readings(self):
        return [record.reading.value for record in self.serving.store.load(ReadingRecord)]

    async def die(self):
        self.task.cancel()
        await asyncio.wait([self.task])
        self.world.tasks.remove(self.task)


class World:
    def __init__(self):
        self.loop = VirtualLoop()
        self.clock = VirtualClock(self.loop)
        self.tasks = []
        self.lives = 0

    def do(self, work):
        return self.loop.run_until_complete(work)

    def wait(self, seconds):
        self.do(asyncio.sleep(seconds))

    def level(self, *args, **more):
        self.lives += 1

        async def make():
            return Level(self, *args, **more)

        return self.do(make())

    def close(self):
        async def end():
            for task in self.tasks:
                task.cancel()
            await asyncio.gather(*self.tasks, return_exceptions=True)

        self.do(end())
        self.loop.close()


@pytest.fixture
def world():
    made = World()
    yield made
    made.close()


@pytest.fixture
def utility(world):
    level = world.level("utility")
    world.do(level.register(*LFDIS, managed_by="substation"))
    return level


@pytest.fixture
def substation(world, utility):
    return world.level("substation", utility, "take")


def test_what_is_shown_below_is_what_is_shown_above(world, utility, substation):
    group = world.do(utility.group())
    world.do(utility.order(group))
    world.wait(70)
    assert substation.shows() == utility.shows() != []
    world.wait(700)
    assert substation.shows() == utility.shows()
    assert substation.relaying.unwalked() == []


def test_a_responses_way_up_is_walked_once(world, utility, substation):
    group = world.do(utility.group())
    control = world.do(utility.order(group))
    world.wait(70)
    for _ in range(3):
        for lfdi in LFDIS:
            world.do(substation.respond(control.mrid, 1, lfdi))
    world.wait(10)
    assert utility.answers(control.mrid) == [1, 1, 1]
    assert len(substation.above.responses) == 3
    assert {response.lfdi for response in substation.above.responses} == set(LFDIS)
    assert substation.relaying.waiting_responses() == 0


def test_a_response_keeps_the_time_at_which_the_der_made_it(world, utility, substation):
    control = world.do(utility.order(world.do(utility.group())))
    world.wait(70)
    substation.above.is_down = True
    made = world.clock.now()
    world.do(substation.respond(control.mrid, 1))
    world.wait(600)
    substation.above.is_down = False
    world.wait(120)
    ((response),) = utility.serving.responses[control.mrid].values()
    assert response.created_at == made
    assert response.received_at > made


def test_while_the_link_is_down_the_relay_goes_on_and_comes_in_line_afterwards(world, utility, substation):
    group = world.do(utility.group())
    first = world.do(utility.order(group))
    world.wait(70)
    before = substation.shows()
    substation.above.is_down = True
    second = world.do(utility.order(group, start_s=3000))
    world.do(dispatch.cancel_control(OPERATOR, utility.serving, first.mrid))
    world.do(substation.respond(first.mrid, 1))
    world.wait(300)
    assert substation.shows() == before
    commits = substation.serving.commits
    substation.above.is_down = False
    world.wait(120)
    assert substation.shows() == utility.shows()
    assert second.mrid in substation.serving.program_of_control
    assert substation.serving.commits == commits + 1
    assert utility.answers(first.mrid) == [1]


def test_a_response_that_is_refused_for_good_is_struck_out_and_the_next_goes_on(world, utility, substation):
    control = world.do(utility.order(world.do(utility.group())))
    world.wait(70)
    substation.above.refuses["respond"] = Forbidden("not yours")
    with capture_logs() as logs:
        world.do(substation.respond(control.mrid, 1))
        world.wait(10)
    assert [line["event"] for line in logs if line["log_level"] == "warning"] == ["response_refused"]
    substation.above.refuses.clear()
    world.do(substation.respond(control.mrid, 2))
    world.wait(10)
    assert utility.answers(control.mrid) == [2]


def test_a_server_that_does_not_know_us_for_a_while_refuses_nothing_for_good(world, utility, substation):
    control = world.do(utility.order(world.do(utility.group())))
    world.wait(70)
    substation.above.refuses |= {"respond": Forbidden("who are you"), "walk": Forbidden("who are you")}
    for lfdi in LFDIS:
        world.do(substation.respond(control.mrid, 1, lfdi))
    world.wait(600)
    assert substation.relaying.waiting_responses() == 3
    substation.above.refuses.clear()
    world.wait(120)
    assert utility.answers(control.mrid) == [1, 1, 1]


def test_after_a_crash_what_waited_is_delivered_once(world, utility, substation):
    control = world.do(utility.order(world.do(utility.group())))
    world.wait(70)
    substation.above.is_down = True
    world.do(substation.respond(control.mrid, 1))
    world.do(substation.measure(7))
    world.do(substation.die())
    again = world.level("substation", utility, "take", store=substation.serving.store)
    assert again.relaying.waiting_responses() == 1
    assert again.relaying.unwalked() == ["utility"]
    world.do(again.respond(control.mrid, 1))
    world.wait(400)
    assert utility.answers(control.mrid) == [1]
    assert utility.readings() == [7]
    assert len(again.above.responses) == 1
    assert substation.above.is_closed


def test_a_lost_acknowledgement_leads_to_the_same_response_again(world, utility, substation):
    control = world.do(utility.order(world.do(utility.group())))
    world.wait(70)
    respond = substation.above.respond

    async def lost(response):
        await respond(response)
        substation.above.respond = respond
        raise LinkError("reset")

    substation.above.respond = lost
    world.do(substation.respond(control.mrid, 1))
    world.wait(60)
    assert len(substation.above.responses) == 2
    assert substation.above.responses[0] == substation.above.responses[1]
    assert len(utility.serving.store.load(ResponseRecord)) == 1


def test_a_notice_makes_it_walk_at_once(world, utility, substation):
    group = world.do(utility.group())
    world.wait(61)
    world.do(utility.order(group))
    walks = substation.above.walks
    substation.link.woken.set()
    world.wait(1)
    assert substation.above.walks == walks + 1
    assert substation.shows() == utility.shows()
    assert substation.link.subscribed == substation.above.walks


def test_readings_go_up_at_the_pace_of_the_server_and_by_member(world, utility, substation):
    world.wait(10)
    for value, lfdi in enumerate(LFDIS):
        world.do(substation.measure(value, lfdi))
    world.wait(250)
    assert substation.above.reports == []
    world.wait(60)
    assert {lfdi for lfdi, _ in substation.above.reports} == set(LFDIS)
    assert sorted(utility.readings()) == [0, 1, 2]
    world.wait(600)
    assert len(substation.above.reports) == 3


def test_a_member_the_server_fails_for_does_not_hold_up_the_others(world, utility, substation):
    world.wait(10)
    for value, lfdi in enumerate(LFDIS):
        world.do(substation.measure(value, lfdi))
    first = min(LFDIS, key=substation.der)
    substation.above.refuses[first] = LinkError("500")
    world.wait(700)
    assert len({lfdi for lfdi, _ in substation.above.reports}) == 2
    substation.above.refuses.clear()
    world.wait(400)
    assert sorted(utility.readings()) == [0, 1, 2]


def test_readings_refused_for_now_stay_and_for_good_go(world, utility, substation):
    world.wait(10)
    world.do(substation.measure(1, LFDIS[0]))
    world.do(substation.measure(2, LFDIS[1]))
    substation.above.refuses |= {LFDIS[0]: Forbidden("no mirror"), LFDIS[1]: PeerError("no such point")}
    with capture_logs() as logs:
        world.wait(400)
    assert {line["event"] for line in logs} >= {"readings_not_taken", "readings_refused"}
    substation.above.refuses.clear()
    world.wait(400)
    assert utility.readings() == [1]


def test_a_backlog_goes_up_in_batches_and_in_order(world, utility, substation):
    world.wait(10)
    substation.above.is_down = True
    for value in range(1100):
        world.do(substation.measure(value))
        world.wait(1)
    substation.above.is_down = False
    world.wait(400)
    assert [len(readings) for _, readings in substation.above.reports] == [500, 500, 100]
    assert utility.readings() == list(range(1100))


def test_the_oldest_readings_are_given_up_when_too_many_wait(world, utility):
    relay = world.level("substation", utility, "take", capacity=2)
    world.wait(10)
    relay.above.is_down = True
    for value in range(5):
        world.do(relay.measure(value))
        world.wait(1)
    with capture_logs() as logs:
        world.wait(400)
    assert [line["count"] for line in logs if line["event"] == "readings_given_up"] == [3]
    relay.above.is_down = False
    world.wait(400)
    assert utility.readings() == [3, 4]


def test_readings_of_who_is_not_listed_any_more_are_given_up(world, utility, substation):
    world.wait(10)
    world.do(substation.measure(1))
    world.do(registry.enable(OPERATOR, utility.serving, LFDIS[0], enabled=False))
    world.wait(400)
    assert utility.readings() == []
    assert substation.relaying._buffer.count(ChannelId("utility")) == 0


def test_what_members_say_of_themselves_goes_up_when_it_changes(world, utility, substation):
    world.wait(10)

    async def say(document):
        who, der = substation.who(), substation.der()
        await telemetry.put_info(who, substation.serving, der, DerInfoKind.STATUS, document)

    world.do(say(b"one"))
    world.wait(1)
    world.do(say(b"one"))
    world.wait(1)
    assert substation.above.infos == [(LFDIS[0], DerInfoKind.STATUS, b"one")]
    assert utility.serving.infos[utility.der(), DerInfoKind.STATUS].document == b"one"
    substation.above.refuses["put_info"] = Forbidden("later")
    world.do(say(b"two"))
    world.wait(10)
    substation.above.refuses.clear()
    world.wait(400)
    assert utility.serving.infos[utility.der(), DerInfoKind.STATUS].document == b"two"
    substation.above.refuses["put_info"] = PeerError("never")
    world.do(say(b"three"))
    world.wait(1)
    substation.above.refuses.clear()
    world.wait(700)
    assert [document for *_, document in substation.above.infos] == [b"one", b"two"]


def test_a_server_that_let_us_go_is_told_all_again(world, utility, substation):
    world.wait(10)
    who, der = substation.who(), substation.der()
    world.do(telemetry.put_info(who, substation.serving, der, DerInfoKind.STATUS, b"one"))
    world.wait(10)
    substation.above.refuses["walk"] = Forbidden("who are you")
    world.wait(120)
    substation.above.refuses.clear()
    world.wait(200)
    assert [document for *_, document in substation.above.infos] == [b"one", b"one"]


def test_a_clock_that_differs_is_told_once_and_all_goes_on(world, utility, substation):
    walk = substation.above.walk

    async def ahead():
        seen = await walk()
        return type(seen)(channel=seen.channel, members=seen.members, programs=seen.programs, clock_offset_s=-40.0)

    substation.above.walk = ahead
    with capture_logs() as logs:
        world.wait(130)
    assert [line["server_is_ahead_s"] for line in logs if line["event"] == "clock_differs"] == [-40.0]
    assert substation.relaying.clocks.far_off() == [utility.name]
    group = world.do(utility.group(lfdis=()))
    world.wait(70)
    assert group in {served.record.group_id for served in utility.serving.programs.values()}
    assert substation.relaying.unwalked() == []


# --- who is registered above ----------------------------------------------------------------------------------------


def test_who_is_registered_here_is_offered_above_at_once(world):
    utility = world.level("utility")
    aggregator = world.level("aggregator", utility)
    world.wait(5)
    world.do(aggregator.register(*LFDIS[:2]))
    world.wait(1)
    assert {lfdi for lfdi in LFDIS if registry.device_of(utility.serving, lfdi)} == set(LFDIS[:2])
    assert set(aggregator.relayed.members) == set(LFDIS[:2])
    pins = [registry.device_of(level.serving, LFDIS[0]).pin for level in (utility, aggregator)]
    assert pins[0] == pins[1]
    world.do(registry.enable(OPERATOR, aggregator.serving, LFDIS[0], enabled=False))
    world.wait(1)
    assert registry.device_of(utility.serving, LFDIS[0]) is None
    assert set(aggregator.relayed.members) == {LFDIS[1]}


def test_a_server_that_refuses_an_enrolment_is_asked_at_every_walk_and_told_of_once(world):
    utility = world.level("utility")
    aggregator = world.level("aggregator", utility)
    aggregator.above.refuses["enrol"] = PeerError("one is taken")
    world.do(aggregator.register(LFDIS[0]))
    with capture_logs() as logs:
        world.wait(300)
    assert [line["event"] for line in logs if line["log_level"] == "warning"] == ["not_enrolled"]
    assert aggregator.above.walks < 10
    aggregator.above.refuses.clear()
    world.wait(130)
    assert registry.device_of(utility.serving, LFDIS[0]) is not None


def test_three_relays_one_below_the_other_are_one_relay(world):
    utility = world.level("utility")
    levels = [utility]
    for name in ("region", "aggregator", "facility"):
        levels.append(world.level(name, levels[-1]))
    lowest = levels[-1]
    world.do(lowest.register(*LFDIS))
    world.wait(200)
    group = world.do(utility.group(lfdis=LFDIS[:2], primacy=3))
    control = world.do(utility.order(group))
    world.wait(200)
    for level in levels[1:]:
        assert level.shows(LFDIS[0]) == utility.shows(LFDIS[0]) != []
        assert level.shows(LFDIS[2]) == []
        kept = level.serving.control(control.mrid).control
        assert kept == Control(
            mrid=control.mrid,
            creation_time=control.creation_time,
            interval=control.interval,
            setpoints=control.setpoints,
            randomize_start_s=60,
            provenance=Provenance(
                party=level.above.serving.party,
                channel=ChannelId(level.above.serving.party),
                lfdi=Lfdi("A" * 40),
                server="above:1",
                received_at=kept.provenance.received_at,
            ),
        )
    for status in (1, 2, 3):
        world.do(lowest.respond(control.mrid, status, LFDIS[1]))
    world.do(lowest.measure(42, LFDIS[1]))
    world.wait(1300)
    for level in levels:
        assert level.answers(control.mrid) == [1, 2, 3]
        assert level.readings() == [42]
        (first, *_) = level.serving.store.load(ResponseRecord)
        assert first.lfdi == LFDIS[1]
    world.do(dispatch.cancel_control(OPERATOR, utility.serving, control.mrid, randomized=True))
    world.wait(200)
    assert lowest.shows(LFDIS[0]) == utility.shows(LFDIS[0])
    assert all(level.above.enrolled[-1] == level.above.enrolled[0] or level is lowest for level in levels[1:])
    assert len(lowest.serving.store.load(ControlRecord)) == 1


def test_the_interval_is_not_shifted_by_who_passes_it_on(world, utility, substation):
    control = world.do(utility.order(world.do(utility.group())))
    world.wait(100)
    kept = substation.serving.control(control.mrid).control
    assert kept.interval == control.interval == Interval(start=START + timedelta(seconds=600), duration_s=900)
