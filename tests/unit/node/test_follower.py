"""The follower at work between a faked device and a faked server, under virtual time."""

import asyncio
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from decimal import Decimal

import pytest
from structlog.testing import capture_logs

from tierline.engine.following import document
from tierline.engine.following.obey import OptOut, owner_channel
from tierline.engine.lifecycle import State
from tierline.env import SeededRandom
from tierline.model.capability import Capability, Firmness, Keeps, Refusal, Span
from tierline.model.control import Control, Curve, CurvePoint, EventStatus, Interval, Reference, Setpoints
from tierline.model.errors import Conflict, Forbidden, LinkError, PeerError, Unsupported
from tierline.model.identity import ChannelId, DerId, Lfdi, Mrid, PartyId
from tierline.model.parties import Authority, Channel, ChannelMode
from tierline.model.points import POINTS
from tierline.model.programs import DefaultControl, Program, ProgramsSeen, ResponseStatus
from tierline.model.records import BufferedReadingRecord, FollowedEventRecord, OutboxRecord
from tierline.model.telemetry import Alarm
from tierline.node.follower import Follower, Self
from tierline.operations.following.buffer import ReadingBuffer
from tierline.ports import DeviceFacts, ReadBack
from tierline.sim.loop import START, VirtualClock, VirtualLoop
from tierline.storage.memory import MemoryStore

DER, LFDI = DerId("d"), Lfdi("AB" * 20)
UTILITY = ChannelId("utility")
LIMIT = Setpoints.of({"max_lim_w_pct": Decimal(50)})
FREE = Setpoints()


def facts(**changes):
    known = {
        "manufacturer": "m",
        "model": "x",
        "serial": "1",
        "version": "1",
        "nameplate": {"rtg_max_w": Decimal(10_000)},
        "settings": {},
        "functions": frozenset({"max_lim_w_pct", "connect"}),
    }
    return DeviceFacts(**(known | changes))


def event(mrid="E", *, start_s=100, duration_s=200, setpoints=LIMIT, **more):
    start = START + timedelta(seconds=start_s)
    interval = Interval(start=start, duration_s=duration_s)
    return Control(mrid=Mrid(mrid), creation_time=START, interval=interval, setpoints=setpoints, **more)


def programs(*controls, default=None):
    return (Program(mrid=Mrid("P"), primacy=1, controls=controls, default=default),)


@dataclass
class World:
    """What happened, in order, over the life of several followers."""

    log: list = field(default_factory=list)
    faults: dict = field(default_factory=dict)
    """Errors to raise by what is done, in order; None lets one pass."""

    def note(self, *what):
        self.log.append(what)
        waiting = self.faults.get(what[0])
        error = waiting.popleft() if waiting else None
        if error is not None:
            raise error

    def fail(self, what, *errors):
        self.faults[what] = deque(errors)

    def count(self, what):
        return sum(entry[0] == what for entry in self.log)


class Store(MemoryStore):
    """Says what it makes durable."""

    def __init__(self, world):
        super().__init__()
        self.world = world

    async def commit(self, put=(), delete=()):
        events = [record for record in put if isinstance(record, FollowedEventRecord)]
        answers = [record for record in put if isinstance(record, OutboxRecord)]
        if events or answers:
            states = [document.load(record.document).state.value for record in events]
            due = [int(record.status) for record in answers if record.posted_at is None]
            if events or due:
                self.world.note("persist", tuple(states), tuple(due))
            else:
                self.world.note("struck_out", *(int(record.status) for record in answers))
        await super().commit(put, delete)


class South:
    """A device that holds what it was told."""

    def __init__(self, world):
        self.world, self.facts, self.held = world, facts(), FREE
        self.values, self.alarms = [("w", 0, 70, 2), ("soc", 0, 5, 0), ("inverter_status", 0, 4, 0)], []
        self.apply_s = 1.0
        self.closed = False

    async def discover(self):
        self.world.note("discover")
        return self.facts

    async def apply(self, target, *, ramp_time_s=None, behind=None):
        await asyncio.sleep(self.apply_s)
        self.world.note("apply", dict(target))
        self.held = target
        return ReadBack(setpoints=target, writes=1)

    async def measure(self):
        self.world.note("measure")
        return self.values, self.alarms

    async def close(self):
        self.closed = True


class North:
    """A server that shows what it is told to show."""

    def __init__(self, world, *, poll_s=60.0, post_s=300.0):
        self.world, self.programs = world, ()
        self.poll_s, self.post_s, self.link = poll_s, post_s, self
        self.readings, self.responses, self.described = [], [], []
        self.closed = False

    async def walk(self):
        self.world.note("walk")
        return ProgramsSeen(channel=ChannelId("whatever the link calls it"), programs=self.programs)

    async def respond(self, response):
        self.world.note("respond", int(response.status))
        self.responses.append(response)

    async def report(self, readings):
        self.world.note("report", len(readings))
        self.readings += readings

    async def describe(self, facts, status, now):
        self.world.note("describe")
        self.described.append(dict(status))

    async def close(self):
        self.closed = True


class Scene:
    """One DER with its store, its device and its server; followers come and go."""

    def __init__(self):
        self.loop = VirtualLoop()
        self.clock = VirtualClock(self.loop)
        self.world = World()
        self.store = Store(self.world)
        self.south, self.north = South(self.world), North(self.world)
        self.random = SeededRandom(1)
        self.follower = self.new()

    def new(self, audit=None, **changes):
        channel = Channel(id=UTILITY, party=PartyId("utility"), authority=Authority.UTILITY, rank=0)
        known = {
            "der_id": DER,
            "lfdi": LFDI,
            "party": PartyId("owner"),
            "channels": (channel,),
            "mode": ChannelMode.SINGLE,
            "supersede_code": "14",
            "measure_s": 60.0,
        }
        return Follower(
            me=Self(**(known | changes)),
            south=self.south,
            servers={UTILITY: self.north},
            store=self.store,
            clock=self.clock,
            random=self.random,
            audit=audit,
        )

    def run(self, *, until_s):
        """Let the follower run until a virtual second, then die there."""

        async def main():
            task = self.loop.create_task(self.follower.run())
            await asyncio.sleep(until_s - self.loop.time())
            task.cancel()
            await asyncio.wait([task])
            return task

        with capture_logs() as logs:
            task = self.loop.run_until_complete(main())
        if not task.cancelled():
            task.result()
        return logs

    def restart(self):
        """Only what is durable is left."""
        self.follower = self.new()

    def answers(self):
        return [int(response.status) for response in self.north.responses]

    def steps(self, *kinds):
        return [entry for entry in self.world.log if entry[0] in kinds]


@pytest.fixture
def scene():
    scene = Scene()
    yield scene
    scene.loop.close()


def test_effects_come_in_the_durable_order(scene):
    scene.north.programs = programs(event())
    scene.run(until_s=400)
    assert scene.steps("persist", "apply", "respond", "struck_out") == [
        ("persist", ("received",), (1,)),
        ("respond", 1),
        ("struck_out", 1),
        ("apply", {}),
        ("apply", {"max_lim_w_pct": Decimal(50)}),
        ("persist", ("started",), (2,)),
        ("respond", 2),
        ("struck_out", 2),
        ("persist", ("completed",), (3,)),
        ("respond", 3),
        ("struck_out", 3),
        ("apply", {}),
    ]
    assert scene.south.held == FREE


@pytest.mark.parametrize("until_s", [1, 61, 99, 100.5, 101, 102, 250, 300, 300.5, 301])
def test_a_restart_at_any_time_repeats_no_response_and_draws_no_new_offset(scene, until_s):
    scene.north.programs = programs(event(randomize_start_s=10, randomize_duration_s=10))
    scene.run(until_s=until_s)
    before = {record.mrid: document.load(record.document) for record in scene.store.load(FollowedEventRecord)}
    scene.restart()
    scene.run(until_s=600)
    assert scene.answers() == [1, 2, 3]
    for record in scene.store.load(FollowedEventRecord):
        after = document.load(record.document)
        known = before.get(record.mrid)
        assert known is None or (after.r1_s, after.r2_s) == (known.r1_s, known.r2_s)


def test_a_response_that_was_acknowledged_and_not_struck_out_is_the_only_one_that_comes_again(scene):
    """The same one: the server knows it by event, DER and status."""
    scene.north.programs = programs(event())
    scene.run(until_s=50)
    (record,) = scene.store.load(OutboxRecord)
    scene.store.apply([replace(record, posted_at=None)], ())
    scene.restart()
    scene.run(until_s=60)
    assert scene.answers() == [1, 1]
    assert len(set(scene.north.responses)) == 1


def test_a_restart_without_a_server_carries_the_schedule_on(scene):
    scene.north.programs = programs(event())
    scene.run(until_s=50)
    scene.world.fail("walk", *[LinkError("down")] * 100)
    scene.restart()
    scene.run(until_s=150)
    assert scene.south.held == LIMIT
    assert not scene.follower.walked
    assert scene.answers() == [1], "nothing is posted before the server was heard"


CURVE = Curve(
    mrid=Mrid("C"),
    points=tuple(CurvePoint(x=Decimal(90 + n), y=Decimal(0)) for n in range(8)),
    y_reference=Reference.SET_MAX_VAR,
)


def test_what_the_device_does_not_keep_is_refused_at_once_and_said(scene):
    room = Keeps(
        parts={"x": Span(low=Decimal(0), high=Decimal(200)), "y": Span(low=Decimal(0), high=Decimal(1))}, points=4
    )
    scene.south.facts = facts(
        functions=frozenset({"max_lim_w_pct", "volt_var"}), capability=Capability(functions={"volt_var": room})
    )
    curve = event("C", setpoints=Setpoints.of({"volt_var": CURVE}))
    scene.north.programs = programs(event(), curve)
    logs = scene.run(until_s=50)
    (said,) = [line for line in logs if line["event"] == "event_refused"]
    assert (said["mrid"], said["why"]) == ("C", "volt_var has 8 points; the device takes at most 4")
    assert sorted(scene.answers()) == [1, 252]


def test_what_was_refused_goes_into_the_audit_where_there_is_one(scene):
    written = []

    class Audit:
        async def write(self, response, why):
            written.append((response.mrid, response.status, why))

    scene.follower = scene.new(audit=Audit())
    scene.north.programs = programs(event(), event("D", setpoints=Setpoints.of({"target_w": Decimal(1)})))
    scene.run(until_s=50)
    assert written == [("D", 252, "target_w is not carried out by this DER")]


def test_what_the_device_found_anew_keeps_is_what_is_asked_then(scene):
    curve = event("C", start_s=400, setpoints=Setpoints.of({"volt_var": CURVE}))
    scene.south.facts = facts(functions=frozenset({"max_lim_w_pct", "volt_var"}))
    scene.world.fail("measure", None, LinkError("cable"))
    scene.run(until_s=5)
    room = Capability(functions={"volt_var": Keeps(parts={}, points=4)})
    scene.south.facts = facts(functions=frozenset({"max_lim_w_pct", "volt_var"}), capability=room)
    scene.north.programs = programs(curve)
    scene.run(until_s=300)
    assert scene.answers() == [252]


def test_what_the_device_refuses_at_the_write_is_held_back_alone(scene):
    class Choosy(South):
        async def apply(self, target, *, ramp_time_s=None, behind=None):
            back = await super().apply(target, ramp_time_s=ramp_time_s, behind=behind)
            kept = {name: value for name, value in target.items() if name != "connect"}
            refused = dict.fromkeys(target.keys() - kept, Refusal(reason="no relay", firmness=Firmness.DECLINED))
            return replace(back, setpoints=Setpoints.of(kept), refused=refused)

    scene.south = Choosy(scene.world)
    scene.follower = scene.new()
    ceases = event("D", setpoints=Setpoints.of({"connect": False}))
    scene.north.programs = programs(event(), ceases)
    logs = scene.run(until_s=290)
    assert [line["function"] for line in logs if line["event"] == "refused_by_device"] == ["connect"] * 3
    (said,) = [line for line in logs if line["event"] == "event_refused"]
    assert (said["mrid"], said["why"]) == ("D", "the device refused it: no relay")
    assert sorted(scene.answers()) == [1, 1, 2, 252]


def test_a_store_that_refuses_stops_everything_until_it_takes_it(scene):
    scene.north.programs = programs(event(start_s=0, duration_s=1000))
    scene.world.fail("persist", LinkError("full"), LinkError("full"))
    logs = scene.run(until_s=500)
    refused = [line for line in logs if line["event"] == "store_refused"]
    assert [line["again_in_s"] for line in refused] == [1, 2]
    order = [entry[0] for entry in scene.steps("persist", "apply") if entry != ("apply", {})]
    assert order.index("apply") == 3, "no register was written for what was not durable"
    assert scene.answers() == [1, 2]


@pytest.mark.parametrize("error", [LinkError("cable"), PeerError("illegal"), Unsupported("no"), KeyError("our bug")])
def test_a_write_that_failed_is_tried_again_and_nothing_is_claimed_before_it_was_done(scene, error):
    scene.north.programs = programs(event(duration_s=1000))
    scene.world.fail("apply", None, error)
    scene.run(until_s=200)
    writes = scene.steps("apply", "respond")
    limited = [i for i, entry in enumerate(writes) if entry == ("apply", {"max_lim_w_pct": Decimal(50)})]
    assert len(limited) == 2
    assert writes.index(("respond", 2)) > limited[1]


def test_a_fault_of_ours_in_the_middle_is_survived_from_what_is_durable(scene):
    scene.north.programs = programs(event(duration_s=1000))
    scene.world.fail("persist", None, ValueError("our bug"))
    logs = scene.run(until_s=400)
    assert [line["task"] for line in logs if line["event"] == "task_failed"] == ["obey"]
    assert scene.south.held == LIMIT
    assert scene.answers() == [1, 2]


def test_an_order_of_a_machine_that_was_given_up_means_nothing_to_the_next(scene):
    scene.south.apply_s = 30.0
    scene.north.programs = programs(event(start_s=10, duration_s=1000))
    scene.world.fail("persist", None, ValueError("our bug"))
    scene.run(until_s=600)
    assert scene.answers() == [1, 2]
    assert scene.south.held == LIMIT


def test_a_response_refused_for_good_is_struck_out_and_told(scene):
    scene.north.programs = programs(event())
    scene.world.fail("respond", PeerError("400"), LinkError("down"), Forbidden("403"))
    logs = scene.run(until_s=400)
    refused = [line["status"] for line in logs if line["event"] == "response_refused"]
    assert refused == [1, 2]
    assert scene.answers() == [3]
    assert all(record.posted_at for record in scene.store.load(OutboxRecord))


def test_a_device_that_comes_back_is_compared_and_told_again(scene):
    scene.north.programs = programs(event(start_s=10, duration_s=2000))
    scene.run(until_s=100)
    assert scene.south.held == LIMIT
    scene.restart()
    scene.world.fail("measure", None, LinkError("away"))
    scene.south.held = FREE
    scene.run(until_s=400)
    assert scene.world.count("discover") == 3
    assert scene.south.held == LIMIT
    assert scene.answers() == [1, 2]


def test_a_default_holds_without_an_answer(scene):
    scene.north.programs = programs(default=DefaultControl(mrid=Mrid("D"), setpoints=LIMIT))
    scene.run(until_s=100)
    assert scene.south.held == LIMIT
    assert scene.answers() == []
    assert scene.follower.obey.applied.setpoints == LIMIT


def test_a_cancelled_event_is_released_and_answered(scene):
    scene.north.programs = programs(event(start_s=10, duration_s=2000))
    scene.run(until_s=70)
    scene.north.programs = programs(event(start_s=10, duration_s=2000, status=EventStatus.CANCELLED))
    scene.restart()
    scene.run(until_s=200)
    assert scene.south.held == FREE
    assert scene.answers() == [1, 2, 6]


def test_only_what_is_mirrored_is_buffered_and_it_reaches_the_server_once(scene):
    scene.run(until_s=1000)
    assert {reading.point for reading in scene.north.readings} == {"w"}
    times = [reading.time for reading in scene.north.readings]
    assert times == sorted(set(times))
    assert len(times) > 10
    assert all(time.microsecond == 0 for time in times)


def test_readings_the_server_did_not_acknowledge_are_delivered_later(scene):
    scene.world.fail("report", LinkError("down"), LinkError("down"))
    scene.run(until_s=2000)
    times = [reading.time for reading in scene.north.readings]
    assert times == sorted(set(times))
    assert len(scene.store.load(BufferedReadingRecord)) < 10


def test_readings_given_up_for_want_of_room_are_counted(scene):
    scene.follower._buffer = ReadingBuffer(scene.store, PartyId("owner"), [UTILITY], capacity=2)
    scene.world.fail("report", *[LinkError("down")] * 100)
    logs = scene.run(until_s=400)
    assert {line["count"] for line in logs if line["event"] == "readings_given_up"} == {1}


def test_status_and_alarms_are_described(scene):
    now = START
    scene.south.alarms = [
        Alarm(der_id=DER, point="alarm_over_voltage", active=True, time=now),
        Alarm(der_id=DER, point="alarm_over_voltage", active=True, time=now),
    ]
    scene.run(until_s=700)
    described = scene.north.described[-1]
    assert described["inverter_status"] == 4
    assert described["alarm_status"] == POINTS["alarm_over_voltage"].alarm.value


def test_what_a_device_could_do_is_described_in_its_unit(scene):
    scene.south.values = [("w", 0, 70, 2), ("stat_w_avail", 0, 85, 2)]
    scene.run(until_s=400)
    assert scene.north.described[-1]["stat_w_avail"] == 8500


def test_nothing_is_described_before_the_device_is_known(scene):
    scene.world.fail("discover", *[LinkError("away")] * 100)
    scene.run(until_s=1000)
    assert scene.world.count("walk") > 3
    assert scene.world.count("describe") == 0


def test_a_follower_walks_at_its_own_phase_of_the_interval(scene):
    scene.follower = scene.new(phase_s=17.0)
    walks = []
    scene.north.walk = walk_noting(scene, walks)
    scene.run(until_s=250)
    epoch = START.timestamp()
    assert walks[0] == 0
    assert all((epoch + at - 17) % 60 == pytest.approx(0, abs=1e-3) for at in walks[1:])
    assert len(walks) == 5


def walk_noting(scene, walks):
    original = scene.north.walk

    async def walk():
        walks.append(scene.loop.time())
        return await original()

    return walk


def test_a_follower_that_ends_lets_go_of_device_and_server(scene):
    scene.run(until_s=10)
    assert scene.south.closed
    assert scene.north.closed


def test_without_a_north_link_the_device_is_left_as_its_owner_has_it(scene):
    follower = Follower(
        me=Self(
            der_id=DER,
            lfdi=LFDI,
            party=PartyId("owner"),
            channels=(),
            mode=ChannelMode.SINGLE,
            supersede_code="14",
            measure_s=60.0,
            owner_limits=Setpoints.of({"max_lim_w_pct": Decimal(70)}),
        ),
        south=scene.south,
        servers={},
        store=scene.store,
        clock=scene.clock,
        random=scene.random,
    )
    assert follower.obey is None
    assert follower.walked
    scene.follower = follower
    scene.run(until_s=100)
    assert scene.south.held == Setpoints.of({"max_lim_w_pct": Decimal(70)})


def test_readings_are_buffered_in_whole_seconds_of_the_own_clock(scene):
    scene.world.fail("report", *[LinkError("down")] * 100)
    scene.run(until_s=130)
    kept = [record.reading.time for record in scene.store.load(BufferedReadingRecord)]
    assert kept == [START, START + timedelta(seconds=60), START + timedelta(seconds=120)]


def test_responses_carry_the_der_and_the_channel_that_asked(scene):
    scene.north.programs = programs(event())
    scene.run(until_s=50)
    (response,) = scene.north.responses
    assert (response.mrid, response.der_id, response.lfdi, response.channel) == (Mrid("E"), DER, LFDI, UTILITY)
    assert response.status is ResponseStatus.RECEIVED


def test_a_server_that_let_us_go_is_told_again_what_the_device_is(scene):
    scene.world.fail("walk", None, Forbidden("403"))
    scene.run(until_s=300)
    assert scene.world.count("describe") == 2


def test_a_response_whose_server_is_away_lets_those_to_other_events_go_first(scene):
    """Of several servers of a channel the one that wants it may be the only one that is away."""
    events = tuple(event(name, start_s=500) for name in ("A", "B"))
    scene.north.programs = programs(*events)
    take = scene.north.respond

    async def respond(response):
        if response.mrid == "A" and scene.loop.time() < 150:
            raise LinkError("away")
        await take(response)

    scene.north.respond = respond
    scene.run(until_s=400)
    assert [response.mrid for response in scene.north.responses] == ["B", "A"]


def refusing(scene, at_s, mrid="E"):
    """Let the owner refuse an event at a virtual second; gives what came of it, once it has."""
    found = []

    async def refuse():
        await asyncio.sleep(at_s - scene.loop.time())
        try:
            await scene.follower.opt_out(Mrid(mrid))
        except (Conflict, LinkError) as error:
            found.append(error)
        else:
            found.append(scene.store.load(FollowedEventRecord)[0].document)

    found.append(scene.loop.create_task(refuse()))
    return found


def owned(scene):
    channel = Channel(id=UTILITY, party=PartyId("a"), authority=Authority.AGGREGATOR, rank=0)
    scene.follower = scene.new(channels=(channel,))


def test_what_the_owner_refuses_is_durable_when_he_is_told_so_and_the_device_is_released(scene):
    owned(scene)
    scene.north.programs = programs(event(duration_s=1000))
    found = refusing(scene, 200)
    logs = scene.run(until_s=500)
    assert document.load(found[1]).state is State.OPTED_OUT
    assert scene.answers() == [1, 2, 4]
    assert scene.south.held == FREE
    assert [line["mrid"] for line in logs if line["event"] == "opted_out"] == ["E"]


def test_what_cannot_be_refused_stays_and_the_owner_is_told_why(scene):
    scene.north.programs = programs(event(duration_s=1000))
    found = refusing(scene, 200)
    scene.run(until_s=500)
    assert "the utility may not be refused" in str(found[1])
    assert scene.south.held == LIMIT


def test_nothing_is_refused_before_the_device_is_known(scene):
    scene.world.fail("discover", *[LinkError("away")] * 100)
    found = refusing(scene, 100)
    scene.run(until_s=200)
    assert isinstance(found[1], LinkError)


def test_whoever_refuses_the_same_at_the_same_time_hears_that_it_is_refused(scene):
    owned(scene)
    scene.north.programs = programs(event(duration_s=1000))
    found = [refusing(scene, 200), refusing(scene, 200)]
    scene.run(until_s=300)
    assert all(isinstance(one[1], bytes) for one in found)
    assert scene.answers() == [1, 2, 4]


def test_a_refusal_that_is_handled_after_the_end_is_told_as_such(scene):
    owned(scene)
    scene.north.programs = programs(event(duration_s=100))
    found = refusing(scene, 150)
    hand_in = scene.follower._hand_in

    def late(happened):
        scene.loop.call_later(60 if isinstance(happened, OptOut) else 0, hand_in, happened)

    scene.follower._hand_in = late
    scene.run(until_s=400)
    assert str(found[1]) == "event E ended meanwhile"


def test_a_fault_of_ours_in_the_middle_of_a_refusal_is_told(scene):
    owned(scene)
    scene.north.programs = programs(event(duration_s=1000))
    found = refusing(scene, 200)
    scene.world.fail("persist", None, None, ValueError("our bug"))
    scene.run(until_s=400)
    assert isinstance(found[1], LinkError)
    assert "ask again what holds" in str(found[1])


def test_an_owner_who_does_not_wait_is_obeyed_all_the_same(scene):
    owned(scene)
    scene.north.programs = programs(event(duration_s=1000))

    async def impatient():
        await asyncio.sleep(200)
        with suppress(TimeoutError):
            async with asyncio.timeout(0):
                await scene.follower.opt_out(Mrid("E"))

    task = scene.loop.create_task(impatient())
    scene.run(until_s=400)
    assert task.done()
    assert scene.answers() == [1, 2, 4]


class YieldingSouth(South):
    """A device that takes its time, and may be told that something is urgent."""

    def __init__(self, world):
        super().__init__(world)
        self.urgent = asyncio.Event()

    def give_way(self, target):
        self.world.note("give_way", dict(target))
        self.urgent.set()

    async def apply(self, target, *, ramp_time_s=None, behind=None):
        self.urgent.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(self.apply_s):
                await self.urgent.wait()
            self.world.note("gave way", dict(target))
            if target == LIMIT:
                self.apply_s = 1.0
            raise LinkError("it gave way")
        return await super().apply(target)


def test_a_newer_target_does_not_wait_for_a_device_that_takes_long(scene):
    scene.south = YieldingSouth(scene.world)
    scene.south.apply_s = 1000.0
    scene.restart()
    tighter = Setpoints.of({"max_lim_w_pct": Decimal(20)})
    scene.north.programs = programs(event(), event("F", start_s=150, duration_s=50, setpoints=tighter))
    scene.run(until_s=250)
    steps = scene.steps("gave way", "apply")
    assert steps[:2] == [("gave way", {}), ("gave way", dict(LIMIT))]
    assert steps[2] == ("apply", dict(tighter))
    assert ("give_way", dict(tighter)) in scene.world.log


def test_a_device_that_is_told_nothing_new_is_not_asked_to_give_way(scene):
    scene.south = YieldingSouth(scene.world)
    scene.south.apply_s = 30.0
    scene.restart()
    scene.north.programs = programs(event())
    scene.run(until_s=250)
    assert scene.world.count("give_way") == 0
    assert scene.answers() == [1, 2]


class AdjustedSouth(South):
    """A device whose rating an installer changes while it is obeyed with."""

    def __init__(self, world):
        super().__init__(world)
        self.adjusted = deque()

    async def refreshed(self):
        return self.adjusted.popleft() if self.adjusted else None


def test_a_rating_that_changes_while_running_is_obeyed_with_and_told_to_the_server(scene):
    scene.south = AdjustedSouth(scene.world)
    scene.south.facts = facts(functions=frozenset({"max_lim_w_pct", "target_w"}))
    adjusted = facts(functions=scene.south.facts.functions, settings={"set_max_w": Decimal(6000)})
    scene.south.adjusted.extend([None, None, None, adjusted])  # at 180 s
    described = []

    async def describe(known, status, now):
        described.append(known)

    scene.north.describe = describe
    scene.restart()
    both = Setpoints.of({"max_lim_w_pct": Decimal(50), "target_w": Decimal(9000)})
    scene.north.programs = programs(event(duration_s=1000, setpoints=both))
    scene.run(until_s=400)
    held = [values["target_w"] for _, values in scene.steps("apply") if "target_w" in values]
    assert held == [5000, 3000]
    assert [dict(known.settings) for known in described] == [{}, {"set_max_w": Decimal(6000)}]


def owner_alone(scene):
    """Nobody above: the owner's is the only channel."""
    scene.follower = Follower(
        me=replace(scene.follower._me, channels=(owner_channel(PartyId("owner")),)),
        south=scene.south,
        servers={},
        store=scene.store,
        clock=scene.clock,
        random=scene.random,
    )


def saying(scene, at_s, *controls):
    """Let the owner say something at a virtual second; gives what came of it, once it has."""
    found = []

    async def say():
        await asyncio.sleep(at_s - scene.loop.time())
        try:
            await scene.follower.say(lambda old, _: replace(old, controls=(*old.controls, *controls)))
        except (Conflict, LinkError) as error:
            found.append(error)
        else:
            found.append([int(record.status) for record in scene.store.load(OutboxRecord)])

    found.append(scene.loop.create_task(say()))
    return found


def kept(scene):
    """What was answered to the owner, with the time at which it had arrived."""
    records = sorted(scene.store.load(OutboxRecord), key=lambda record: record.created_at)
    return [(int(record.status), (record.posted_at - START).total_seconds()) for record in records]


def test_with_nobody_above_what_the_owner_says_is_carried_out_and_answered_where_it_is_kept(scene):
    owner_alone(scene)
    found = saying(scene, 50, event())
    scene.run(until_s=400)
    assert found[1] == [1], "durable and answered when the owner is told so"
    assert [what for what in scene.world.log if what[0] == "apply"] == [
        ("apply", {}),
        ("apply", dict(LIMIT)),
        ("apply", {}),
    ]
    assert kept(scene) == [(1, 50), (2, 101), (3, 300)]
    assert scene.follower.walked
    assert scene.follower.waiting_responses() == 0
    assert scene.store.load(BufferedReadingRecord) == []


@pytest.mark.parametrize("until_s", [51, 99, 100.5, 101, 200, 300, 300.5])
def test_a_restart_with_nobody_above_starts_nothing_twice_and_releases_at_the_end(scene, until_s):
    owner_alone(scene)
    saying(scene, 50, event())
    scene.run(until_s=until_s)
    owner_alone(scene)
    scene.run(until_s=600)
    assert [status for status, _ in kept(scene)] == [1, 2, 3]
    assert scene.south.held == FREE


def test_two_things_said_at_the_same_time_are_both_heard(scene):
    owner_alone(scene)
    saying(scene, 50, event("A", start_s=100, duration_s=50))
    saying(scene, 50, event("B", start_s=200, duration_s=50))
    scene.run(until_s=400)
    assert sorted((record.mrid, int(record.status)) for record in scene.store.load(OutboxRecord)) == [
        (mrid, status) for mrid in "AB" for status in (1, 2, 3)
    ]


def test_nothing_can_be_said_before_the_device_is_known(scene):
    owner_alone(scene)
    scene.world.fail("discover", *[LinkError("away")] * 100)
    found = saying(scene, 100, event())
    scene.run(until_s=200)
    assert isinstance(found[1], LinkError)


def test_a_fault_of_ours_while_the_owner_speaks_is_told_and_what_he_said_is_not_heard_later(scene):
    owner_alone(scene)
    scene.world.fail("persist", ValueError("our bug"))
    first, second = saying(scene, 50, event("A")), saying(scene, 50, event("B"))
    scene.run(until_s=400)
    assert [type(found[1]) for found in (first, second)] == [LinkError, LinkError]
    assert scene.store.load(OutboxRecord) == []
    third = saying(scene, 450, event("C", start_s=500))
    scene.run(until_s=800)
    assert third[1] == [1]
    assert {record.mrid for record in scene.store.load(OutboxRecord)} == {"C"}


def test_an_owner_who_does_not_wait_is_heard_all_the_same(scene):
    owner_alone(scene)

    async def impatient():
        await asyncio.sleep(50)
        with suppress(TimeoutError):
            async with asyncio.timeout(0):
                await scene.follower.say(lambda old, _: replace(old, controls=(event(),)))

    task = scene.loop.create_task(impatient())
    saying(scene, 50, event("B", start_s=310))
    scene.run(until_s=600)
    assert task.done()
    assert [status for status, _ in kept(scene)] == [1, 1, 2, 3, 2, 3], (
        "and what is said at once after it spoils nothing"
    )
