"""Several servers of one party as one north link."""

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from structlog.testing import capture_logs

from tierline.model.control import Control, EventStatus, Interval, Setpoints
from tierline.model.errors import Forbidden, LinkError, PeerError
from tierline.model.identity import ChannelId, DerId, Lfdi, Mrid, PartyId
from tierline.model.programs import DefaultControl, Program, ProgramsSeen, Response, ResponseStatus
from tierline.model.records import FollowedProgramsRecord
from tierline.node import shared_channel
from tierline.node.shared_channel import SharedChannel
from tierline.ports import DeviceFacts

START = datetime(2026, 6, 18, 12, tzinfo=UTC)
CHANNEL = ChannelId("utility")
FACTS = DeviceFacts(
    manufacturer="m", model="m", serial="s", version="1", nameplate={}, settings={}, functions=frozenset()
)


def event(name="E", status=EventStatus.SCHEDULED):
    return Control(
        mrid=Mrid(name),
        creation_time=START,
        interval=Interval(start=START + timedelta(seconds=100), duration_s=200),
        setpoints=Setpoints.of({"max_lim_w_pct": Decimal(50)}),
        status=status,
    )


def program(*events, name="P", pct=None):
    default = None
    if pct is not None:
        default = DefaultControl(mrid=Mrid("D"), setpoints=Setpoints.of({"max_lim_w_pct": Decimal(pct)}))
    return Program(mrid=Mrid(name), primacy=1, controls=events, default=default)


class Server:
    """Shows what it is told to show and takes what it is given, unless it is away."""

    def __init__(self, name, log, *, poll_s=60.0, post_s=300.0, offset_s=0.0):
        self.name, self.log, self.link = name, log, self
        self.poll_s, self.post_s, self.offset_s = poll_s, post_s, offset_s
        self.programs, self.error = (), None
        self.errors = {}
        """By what is done, where it differs from `error`."""
        self.taken, self.readings, self.described = [], [], []
        self.before_walk = None
        self.closed = False

    def _note(self, what):
        self.log.append((self.name, what))
        error = self.errors.get(what, self.error)
        if error is not None:
            raise error

    async def walk(self):
        if self.before_walk is not None:
            self.before_walk()
        self._note("walk")
        return ProgramsSeen(channel=ChannelId("own"), programs=self.programs, clock_offset_s=self.offset_s)

    async def respond(self, response):
        self._note("respond")
        self.taken.append(response)

    async def report(self, readings):
        self._note("report")
        self.readings += readings

    async def describe(self, facts, status, now):
        self._note("describe")
        self.described.append(dict(status))

    async def close(self):
        self.closed = True


class Party:
    """A utility and two of its substations."""

    def __init__(self):
        self.log = []
        self.u = Server("u", self.log, poll_s=600, post_s=300)
        self.s = Server("s", self.log, poll_s=60, post_s=120, offset_s=2.0)
        self.t = Server("t", self.log, poll_s=300, post_s=60, offset_s=3.0)
        self.shared = self.start()

    def start(self, last=None):
        self.shared = SharedChannel(CHANNEL, {one.name: one for one in (self.u, self.s, self.t)}, last)
        return self.shared

    async def walk(self):
        self.log.clear()
        return await self.shared.walk()

    def asked(self, what="walk"):
        return [name for name, done in self.log if done == what]


@pytest.fixture
def party():
    return Party()


def response(name="E", status=1):
    return Response(
        mrid=Mrid(name),
        der_id=DerId("d"),
        lfdi=Lfdi("AB" * 20),
        status=ResponseStatus(status),
        created_at=START,
        channel=CHANNEL,
    )


def down(name="away"):
    return LinkError(name)


# What is seen


async def test_what_one_server_shows_is_what_is_seen_with_its_clock(party):
    party.s.programs = (program(event()),)
    seen = await party.walk()
    assert seen == ProgramsSeen(channel=CHANNEL, programs=party.s.programs, clock_offset_s=2.0)
    assert party.asked() == ["u", "s", "t"]


async def test_the_same_mrid_from_two_servers_is_the_same_thing(party):
    party.u.programs = (program(event("A"), event("B"), pct=70),)
    party.s.programs = (program(event("B"), event("C"), pct=80), program(name="Q"))
    seen = await party.walk()
    assert seen.programs == (program(event("A"), event("B"), event("C"), pct=70), program(name="Q"))
    assert seen.clock_offset_s == 0.0, "of two that show something the first configured one is followed"


@pytest.mark.parametrize("turned", [False, True])
async def test_of_two_statuses_the_later_one_counts_whoever_shows_it(party, turned):
    first, second = (party.s, party.u) if turned else (party.u, party.s)
    first.programs = (program(event(status=EventStatus.ACTIVE)),)
    second.programs = (program(event(status=EventStatus.CANCELLED)),)
    ((control,),) = (one.controls for one in (await party.walk()).programs)
    assert control.status is EventStatus.CANCELLED


async def test_a_server_that_cannot_be_reached_is_taken_to_show_what_was_shown_last(party):
    party.s.programs = (program(event()),)
    before = await party.walk()
    for error in (down(), PeerError("garbage")):
        party.s.error = error
        assert await party.walk() == before


async def test_unless_another_shows_assignments_now(party):
    party.s.programs = (program(event("A")),)
    await party.walk()
    party.s.error = down()
    party.t.programs = (program(event("B"), name="Q"),)
    seen = await party.walk()
    assert (seen.programs, seen.clock_offset_s) == (party.t.programs, 3.0)


async def test_nothing_is_concluded_from_an_empty_list_while_another_server_is_away(party):
    """It may be the one that serves the DER now."""
    party.s.programs = (program(event()),)
    before = await party.walk()
    party.s.programs, party.t.error = (), down()
    assert await party.walk() == before
    party.t.error = None
    assert await party.walk() == before, "nor from one poll"
    assert (await party.walk()).programs == ()


async def test_after_a_restart_what_was_seen_before_it_stands_for_who_is_away(party):
    kept = (program(event()),)
    record = FollowedProgramsRecord(
        party=PartyId("owner"),
        channel=CHANNEL,
        der_id=DerId("d"),
        programs=kept,
        clock_offset_s=2.0,
        seen_at=START,
    )
    party.start(record)
    party.s.error = down()
    assert await party.walk() == ProgramsSeen(channel=CHANNEL, programs=kept, clock_offset_s=2.0)
    party.s.error = None
    await party.walk()
    assert (await party.walk()).programs == ()


async def test_all_away_is_a_link_that_failed_and_changes_nothing(party):
    party.s.programs = (program(event()),)
    before = await party.walk()
    for server, error in ((party.u, down("a")), (party.s, PeerError("b")), (party.t, Forbidden("c"))):
        server.error = error
    with pytest.raises(LinkError, match="u: a; s: b; t: c"):
        await party.walk()
    party.t.error = None
    assert await party.walk() == before


@pytest.mark.parametrize("kind", [PeerError, Forbidden])
async def test_all_of_them_refusing_for_one_reason_is_that_reason(party, kind):
    for server in (party.u, party.s, party.t):
        server.error = kind("no")
    with pytest.raises(kind):
        await party.walk()


async def test_a_server_that_does_not_know_us_spoils_nothing_and_is_told_once(party):
    party.s.programs = (program(event()),)
    party.u.error = Forbidden("not listed")
    with capture_logs() as logs:
        for _ in range(3):
            assert (await party.walk()).programs == party.s.programs
        party.u.error = None
        await party.walk()
    assert [(line["event"], line["server"], line["log_level"]) for line in logs] == [
        ("server_failed", "u", "warning"),
        ("server_back", "u", "info"),
    ]


async def test_a_server_that_let_us_go_shows_nothing(party):
    party.s.programs = (program(event()),)
    await party.walk()
    party.s.error = Forbidden("not listed")
    await party.walk()
    assert (await party.walk()).programs == ()


async def test_who_is_cut_off_without_a_sign_of_it_is_not_waited_for_once_another_shows_assignments(party, monkeypatch):
    monkeypatch.setattr(shared_channel, "_GRACE_S", 0.01)

    async def never():
        await asyncio.Event().wait()

    party.u.walk = never
    party.s.programs = (program(event()),)
    async with asyncio.timeout(5):
        with capture_logs() as logs:
            assert (await party.walk()).programs == party.s.programs
    assert [(line["event"], line["server"], line["kind"]) for line in logs] == [("server_failed", "u", "LinkError")]


async def test_who_is_slow_is_waited_for_as_long_as_nobody_shows_assignments(party, monkeypatch):
    monkeypatch.setattr(shared_channel, "_GRACE_S", 0.0)
    monkeypatch.setattr(shared_channel, "_GRACE_FACTOR", 0.0)
    walk = party.t.walk

    async def slow():
        await asyncio.sleep(0.05)
        return await walk()

    party.t.walk, party.t.programs = slow, (program(event()),)
    assert (await party.walk()).programs == party.t.programs


async def test_on_a_slow_line_all_are_given_their_time(party, monkeypatch):
    monkeypatch.setattr(shared_channel, "_GRACE_S", 0.0)

    def after(seconds, walk):
        async def slow():
            await asyncio.sleep(seconds)
            return await walk()

        return slow

    party.u.programs = (program(event("A")),)
    party.s.programs = (program(event("B"), name="Q"),)
    party.u.walk, party.s.walk = after(0.1, party.u.walk), after(0.2, party.s.walk)
    assert len((await party.walk()).programs) == 2


async def test_a_fault_of_ours_is_not_hidden(party):
    async def broken():
        raise KeyError("our bug")

    party.u.walk = broken
    with pytest.raises(ExceptionGroup):
        await party.walk()


# Moving


async def test_a_move_between_two_questions_of_one_round_is_not_taken_for_an_end(party):
    party.s.programs = (program(event()),)
    await party.walk()
    party.log.clear()

    def move():
        if party.asked() == ["s", "u"]:
            party.t.programs, party.s.programs = party.s.programs, ()

    party.t.before_walk = move
    assert (await party.shared.walk()).programs == (program(event()),)
    assert party.asked() == ["s", "u", "t"], "the one that showed it is asked first"


async def test_a_move_to_who_was_asked_before_is_found_by_asking_once_more(party):
    """When it is not known who showed it, as after a restart."""
    party.t.programs = (program(event()),)
    await party.walk()
    party.shared._showing = ()

    def move():
        party.u.programs, party.t.programs = (program(event()),), ()

    party.t.before_walk = move
    assert (await party.walk()).programs == (program(event()),)
    assert party.asked() == ["u", "s", "t", "u", "s", "t"]


async def test_an_end_is_believed_at_the_second_poll_each_asked_twice(party):
    party.s.programs = (program(event()),)
    before = await party.walk()
    party.s.programs = ()
    assert await party.walk() == before
    assert party.asked() == ["s", "u", "t", "s", "u", "t"]
    assert (await party.walk()).programs == ()
    assert party.asked() == ["u", "s", "t", "u", "s", "t"]
    assert (await party.walk()).programs == ()
    assert party.asked() == ["u", "s", "t"]


async def test_a_substation_that_has_read_and_not_yet_written_leaves_nobody_unbound(party):
    party.u.programs = (program(event()),)
    before = await party.walk()
    party.u.programs = ()
    assert await party.walk() == before
    party.s.programs = (program(event()),)
    assert (await party.walk()).clock_offset_s == 2.0
    party.s.programs = ()
    assert (await party.walk()).programs == before.programs, "doubt begins anew"


# Responses


async def test_a_response_goes_to_who_showed_its_event_last(party):
    party.u.programs = (program(event()),)
    await party.walk()
    party.u.programs, party.t.programs = (), (program(event()),)
    await party.walk()
    await party.shared.respond(response())
    assert [len(one.taken) for one in (party.u, party.s, party.t)] == [0, 0, 1]


async def test_where_two_show_it_the_one_that_takes_readings_is_answered(party):
    party.u.programs = party.t.programs = (program(event()),)
    await party.walk()
    await party.shared.respond(response())
    assert len(party.u.taken) == 1


@pytest.mark.parametrize("error", [down(), Forbidden("403"), PeerError("400")])
async def test_when_it_does_not_take_it_another_that_showed_it_does(party, error):
    party.u.programs = party.t.programs = (program(event()),)
    await party.walk()
    party.u.errors["respond"] = error
    party.log.clear()
    await party.shared.respond(response())
    assert party.asked("respond") == ["u", "t"], "a server that never showed the event is not asked"
    assert len(party.t.taken) == 1


@pytest.mark.parametrize(
    ("errors", "kind"),
    [
        ((PeerError("400"), down()), LinkError),
        ((Forbidden("403"), PeerError("400")), PeerError),
        ((Forbidden("403"), Forbidden("403")), Forbidden),
    ],
)
async def test_a_response_nobody_takes_comes_again_when_somebody_was_away(party, errors, kind):
    party.u.programs = party.t.programs = (program(event()),)
    await party.walk()
    party.u.errors["respond"], party.t.errors["respond"] = errors
    with pytest.raises(kind):
        await party.shared.respond(response())


async def test_of_an_event_nobody_showed_since_the_start_all_are_asked(party):
    await party.walk()
    party.u.errors["respond"] = PeerError("has no replyTo")
    party.log.clear()
    await party.shared.respond(response())
    assert party.asked("respond") == ["u", "s"]


async def test_of_very_many_events_the_latest_are_remembered(party, monkeypatch):
    monkeypatch.setattr(shared_channel, "_EVENTS_REMEMBERED", 2)
    party.s.programs = (program(event("A"), event("B"), event("C")),)
    await party.walk()
    assert list(party.shared._shown) == ["B", "C"]


# Reports


async def test_readings_go_to_who_shows_assignments_at_its_pace(party):
    party.s.programs = (program(),)
    await party.walk()
    await party.shared.report(["r1"])
    assert party.shared.post_s == 120
    party.s.programs, party.t.programs = (), (program(),)
    await party.walk()
    await party.shared.report(["r2"])
    assert party.shared.post_s == 60
    assert (party.s.readings, party.t.readings) == (["r1"], ["r2"])
    assert party.shared.poll_s == 60


async def test_readings_wait_for_who_is_away(party):
    party.s.programs = (program(),)
    await party.walk()
    party.s.error = down()
    await party.walk()
    with pytest.raises(LinkError):
        await party.shared.report(["r"])


async def test_where_nothing_is_assigned_readings_go_to_a_server_that_knows_us(party):
    party.u.error = Forbidden("not listed")
    await party.walk()
    await party.shared.report(["r"])
    assert party.s.readings == ["r"]
    party.u.error = None
    await party.walk()
    await party.shared.report(["r"])
    assert party.s.readings == ["r", "r"], "without a reason it does not change"


async def test_a_server_that_comes_into_play_is_told_what_the_device_is(party):
    party.s.programs = (program(),)
    await party.walk()
    await party.shared.describe(FACTS, {"a": 1}, START)
    assert [len(one.described) for one in (party.u, party.s, party.t)] == [0, 1, 0]
    party.s.programs, party.t.programs = (), (program(),)
    party.t.errors["describe"] = down()
    with capture_logs() as logs:
        await party.walk()
    assert [(line["event"], line["server"]) for line in logs] == [("not_introduced", "t")]
    del party.t.errors["describe"]
    await party.walk()
    assert party.t.described == [{"a": 1}]


async def test_a_description_that_did_not_arrive_is_said(party):
    await party.walk()
    party.u.errors["describe"] = down()
    with pytest.raises(LinkError):
        await party.shared.describe(FACTS, {}, START)


async def test_all_are_let_go(party):
    await party.shared.close()
    assert party.u.closed
    assert party.s.closed
    assert party.t.closed


def test_the_link_is_the_channel_itself(party):
    assert party.shared.link is party.shared
