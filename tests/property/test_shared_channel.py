"""A DER that moves among the servers of one party, any of which may be away: it is never bound by none, none is told twice.

The world keeps the promise of docs/decisions/0014: whoever serves the DER shows its events; while it moves from one server
to another, both do, or for less than a poll none. Nobody is switched faster than he asks: within a round it moves once.
"""

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from tierline.model.control import Control, Interval, Setpoints
from tierline.model.errors import Forbidden, LinkError
from tierline.model.identity import ChannelId, DerId, Lfdi, Mrid, PartyId
from tierline.model.programs import Program, ProgramsSeen, Response, ResponseStatus
from tierline.model.records import FollowedProgramsRecord
from tierline.node.shared_channel import SharedChannel

START = datetime(2026, 6, 18, 12, tzinfo=UTC)
CHANNEL = ChannelId("utility")


class World:
    """Where the DER is, who can be reached, and which events there are."""

    def __init__(self, count):
        self.serving = {0}
        self.away = set()
        self.strangers = set()
        self.events = 1
        self.pending = []
        """What changes between one question and the next."""
        self.moves_left = 0
        self.taken = []
        self.servers = [Server(self, number) for number in range(count)]

    def step(self):
        for change in self.pending.pop(0) if self.pending else ():
            self.change(*change)

    def change(self, what, who):
        who %= len(self.servers)
        if what == "away":
            self.away ^= {who}
        elif what == "stranger" and who not in self.serving:
            self.strangers ^= {who}
        elif what == "event":
            self.events += 1
        elif what == "come" and self.moves_left and len(self.serving) == 1 and who not in self.serving:
            self.moves_left -= 1
            self.serving.add(who)
            self.leaving = next(iter(self.serving - {who}))
        elif what == "leave" and len(self.serving) == 2:
            self.serving.discard(self.leaving)
        elif what == "gap" and self.moves_left and len(self.serving) == 1:
            self.moves_left -= 1
            self.coming, self.serving = who, set()
        self.strangers -= self.serving

    def begin_round(self):
        self.moves_left = 1 if self.serving else 0
        if not self.serving:
            self.serving = {self.coming}
            self.strangers.discard(self.coming)

    @property
    def shown(self):
        return {Mrid(f"E{number}") for number in range(self.events)}


class Server:
    poll_s, post_s = 60.0, 300.0

    def __init__(self, world, number):
        self.world, self.number, self.link = world, number, self

    def _reach(self):
        self.world.step()
        if self.number in self.world.away:
            raise LinkError("away")
        if self.number in self.world.strangers:
            raise Forbidden("not listed")

    async def walk(self):
        self._reach()
        programs = ()
        if self.number in self.world.serving:
            programs = (Program(mrid=Mrid("P"), primacy=1, controls=tuple(map(control, sorted(self.world.shown)))),)
        return ProgramsSeen(channel=ChannelId("own"), programs=programs)

    async def respond(self, response):
        self._reach()
        self.world.taken.append((response.mrid, response.status))

    async def describe(self, facts, status, now):
        self._reach()


def control(mrid):
    return Control(
        mrid=mrid,
        creation_time=START,
        interval=Interval(start=START + timedelta(seconds=100), duration_s=200),
        setpoints=Setpoints.of({"max_lim_w_pct": Decimal(50)}),
    )


def record(seen):
    return FollowedProgramsRecord(
        party=PartyId("owner"),
        channel=CHANNEL,
        der_id=DerId("d"),
        programs=seen.programs,
        clock_offset_s=0.0,
        seen_at=START,
    )


def response(mrid, status):
    return Response(
        mrid=mrid, der_id=DerId("d"), lfdi=Lfdi("AB" * 20), status=status, created_at=START, channel=CHANNEL
    )


def mrids(seen):
    return {control.mrid for program in seen.programs for control in program.controls}


WHO = st.integers(0, 2)
CHANGE = st.tuples(st.sampled_from(["away", "stranger", "event", "come", "come", "leave", "leave", "gap"]), WHO)
ROUND = st.tuples(st.lists(CHANGE, max_size=3), st.lists(st.lists(CHANGE, max_size=4), max_size=4), st.booleans())


@settings(max_examples=200, deadline=None)
@given(st.integers(2, 3), st.lists(ROUND, min_size=1, max_size=12))
def test_what_some_server_shows_is_never_absent_once_it_was_seen_and_no_response_is_taken_twice(count, rounds):
    async def play():
        world = World(count)
        last, waiting = None, []
        shared = SharedChannel(CHANNEL, {str(one.number): one for one in world.servers})
        for between, during, restarts in rounds:
            world.begin_round()
            for change in between:
                world.change(*change)
            if restarts:
                kept = None if last is None else record(last)
                shared = SharedChannel(CHANNEL, {str(one.number): one for one in world.servers}, kept)
            before, world.pending = set() if last is None else mrids(last), list(during)
            reached = len(world.away | world.strangers) < count and not during
            shown = world.shown if reached and world.serving - world.away else set()
            try:
                seen = await shared.walk()
            except (LinkError, Forbidden):
                assert during or world.away | world.strangers == set(range(count))
                continue
            finally:
                world.pending = []
            assert before <= mrids(seen), "what was seen and is shown by somebody is still there"
            assert shown <= mrids(seen), "what somebody shows who can be reached is seen"
            new = sorted(mrids(seen) - before)
            waiting += [response(mrid, status) for mrid in new for status in (ResponseStatus.RECEIVED, 2)]
            last = seen
            for one in list(waiting):
                try:
                    await shared.respond(one)
                except (LinkError, Forbidden):
                    continue
                waiting.remove(one)
        assert len(world.taken) == len(set(world.taken)), "acknowledged by two"
        world.away.clear()
        world.strangers.clear()
        for one in waiting:
            await shared.respond(one)
        assert len(world.taken) == len(set(world.taken))
        if last is not None:
            assert len(world.taken) == 2 * len(mrids(last))

    asyncio.run(play())
