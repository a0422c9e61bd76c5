import runpy
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from tierline.model.errors import LinkError, PeerError
from tierline.model.identity import ChannelId, Mrid, PartyId
from tierline.model.parties import Principal, Role
from tierline.model.programs import ResponseStatus
from tierline.model.records import BufferedReadingRecord, DerInfoKind, KnownRecord, OutboxRecord
from tierline.model.telemetry import Reading
from tierline.operations.following.buffer import ReadingBuffer
from tierline.operations.following.outbox import Outbox
from tierline.operations.relay.downward import mirror
from tierline.operations.relay.relayed import Relayed
from tierline.operations.relay.upward import Upward
from tierline.operations.serving import registry, telemetry
from tierline.storage.sqlite import Database

Scene = runpy.run_path(str(Path(__file__).with_name("conftest.py")))["Scene"]
CHANNEL = ChannelId("utility")


class Ways:
    """A relay whose way up is watched."""

    def __init__(self, scene, serving=None, relayed=None):
        self.scene = scene
        self.serving = serving or scene.serving
        self.relayed = relayed or scene.relayed
        self.outbox = Outbox(self.serving.store, [CHANNEL])
        self.buffer = ReadingBuffer(self.serving.store, self.serving.party, [CHANNEL])
        self.woken = []
        self.upward = Upward(self.serving, [self.relayed], self.outbox, self.buffer, self.woken.append)

    def who(self, number=0):
        lfdi = self.scene.lfdis[number]
        return Principal(party=PartyId("substation"), role=Role.DEVICE, name=lfdi, lfdi=lfdi)

    def der(self, number=0):
        return registry.device_of(self.serving, self.scene.lfdis[number]).der_id

    async def respond(self, mrid, status, number=0):
        await telemetry.record_response(
            self.who(number), self.serving, self.der(number), mrid, ResponseStatus(status), self.scene.clock.now()
        )

    async def measure(self, value, number=0):
        reading = Reading(der_id=self.der(number), point="w", value=value, power_of_ten=0, time=self.scene.clock.now())
        await telemetry.record_readings(self.who(number), self.serving, self.der(number), [(Mrid("9" * 32), reading)])

    async def say(self, document, number=0, kind=DerInfoKind.STATUS):
        await telemetry.put_info(self.who(number), self.serving, self.der(number), kind, document)

    def said(self):
        return [(lfdi, info.kind, info.document) for lfdi, info in self.upward.infos(self.relayed)]


@pytest.fixture
async def ways(scene, above):
    await scene.register()
    await mirror(above, scene.serving, scene.relayed, scene.seen(scene.program(controls=[scene.control()])))
    return Ways(scene)


@pytest.fixture
def mrid(scene):
    return scene.control().mrid


async def test_a_response_to_what_was_relayed_waits_for_its_channel_in_the_same_transaction(ways, mrid):
    commits = ways.serving.commits
    await ways.respond(mrid, 1)
    assert ways.serving.commits == commits + 1
    waiting = ways.outbox.first(CHANNEL)
    assert (waiting.mrid, waiting.status, waiting.lfdi) == (mrid, 1, ways.scene.lfdis[0])
    assert waiting.created_at == ways.scene.clock.now()
    assert ways.woken == [CHANNEL]
    assert Outbox(ways.serving.store).first(CHANNEL) == waiting


async def test_a_response_that_is_repeated_is_handed_on_once(ways, mrid):
    for _ in range(3):
        await ways.respond(mrid, 1)
    assert len(ways.outbox) == 1
    await ways.outbox.done(ways.outbox.first(CHANNEL), ways.scene.clock.now())
    await ways.respond(mrid, 1)
    assert len(ways.outbox) == len(Outbox(ways.serving.store)) == 0


async def test_each_member_and_each_status_is_one_response(ways, mrid):
    for number in (0, 1):
        for status in (1, 2, 3):
            await ways.respond(mrid, status, number)
    assert len(ways.outbox) == 6
    assert len(ways.serving.store.load(OutboxRecord)) == 6


async def test_a_crash_after_the_commit_forgets_no_response_and_repeats_none(ways, mrid):
    await ways.respond(mrid, 1)
    again = Ways(ways.scene, *ways.scene.restarted())
    assert len(again.outbox) == 1
    await again.respond(mrid, 1)
    assert len(again.outbox) == 1


async def test_what_the_store_refuses_is_neither_kept_nor_handed_on(ways, mrid):
    store = ways.serving.store

    class Full:
        async def commit(self, put=(), delete=()):
            raise LinkError("no space left")

    ways.serving.store = Full()
    with pytest.raises(LinkError):
        await ways.respond(mrid, 1)
    with pytest.raises(LinkError):
        await ways.measure(1)
    assert len(ways.outbox) == ways.buffer.count(CHANNEL) == 0
    ways.serving.store = store
    await ways.respond(mrid, 1)
    await ways.measure(1)
    assert (len(ways.outbox), ways.buffer.count(CHANNEL)) == (1, 1)


async def test_responses_to_what_is_our_own_go_nowhere(serving, scene, respond, send, clock):
    scene.serving = serving
    ways = Ways(scene)
    control = await send("feeder-1", start=clock.now(), max_lim_w_pct=Decimal(50))
    await respond("pv-1", control.mrid, 1)
    assert len(ways.outbox) == 0


async def test_responses_go_nowhere_when_their_channel_is_relayed_no_more(ways, mrid, scene):
    serving, _ = scene.restarted()
    again = Ways(scene, serving, Relayed(channel=ChannelId("other")))
    await again.respond(mrid, 1)
    assert serving.store.load(OutboxRecord) == []


async def test_a_response_to_an_unknown_event_is_refused_below(ways):
    with pytest.raises(PeerError):
        await ways.respond(Mrid("0" * 32), 1)
    assert len(ways.outbox) == 0


async def test_readings_of_members_wait_in_order_with_what_keeps_them_here(ways):
    for value in (1, 2, 3):
        ways.scene.clock.move(seconds=60)
        await ways.measure(value)
    waiting = ways.buffer.first(CHANNEL, 10)
    assert [record.reading.value for record in waiting] == [1, 2, 3]
    assert ways.serving.store.load(BufferedReadingRecord) == waiting
    assert ReadingBuffer(ways.serving.store, PartyId("x"), [CHANNEL]).first(CHANNEL, 10) == waiting


async def test_readings_of_who_is_not_listed_above_stay_here(ways, scene):
    await scene.register(scene.lfdis[2])
    await ways.measure(5, number=2)
    assert ways.buffer.count(CHANNEL) == 0


async def test_readings_stay_here_where_the_channel_is_to_have_none(ways, mrid):
    ways.relayed.readings = False
    await ways.measure(5)
    await ways.respond(mrid, 1)
    await ways.say(b"one")
    assert (ways.buffer.count(CHANNEL), len(ways.outbox), len(ways.said())) == (0, 1, 1)


async def test_what_a_der_says_of_itself_waits_until_it_was_handed_on(ways):
    await ways.say(b"one")
    assert ways.said() == [(ways.scene.lfdis[0], DerInfoKind.STATUS, b"one")]
    assert ways.woken == [CHANNEL]
    ((_, info),) = ways.upward.infos(ways.relayed)
    await ways.upward.handed_on(ways.relayed, info)
    assert ways.said() == []
    assert Ways(ways.scene, *ways.scene.restarted()).said() == [], "after a restart too"
    await ways.say(b"one")
    assert ways.said() == [], "the same again is nothing new"
    await ways.say(b"two")
    assert ways.said() == [(ways.scene.lfdis[0], DerInfoKind.STATUS, b"two")]


async def test_only_the_newest_document_is_handed_on(ways):
    await ways.say(b"one")
    ((_, old),) = ways.upward.infos(ways.relayed)
    await ways.say(b"two")
    await ways.upward.handed_on(ways.relayed, old)
    assert ways.said() == [(ways.scene.lfdis[0], DerInfoKind.STATUS, b"two")]


async def test_who_becomes_a_member_later_is_described_then(ways, scene, above):
    await scene.register(scene.lfdis[2])
    await ways.say(b"early", number=2)
    assert ways.said() == []
    program = scene.program(controls=[scene.control()])
    everybody = dict.fromkeys(scene.lfdis[:3], (program.mrid,))
    await mirror(above, scene.serving, scene.relayed, scene.seen(program, members=everybody))
    assert ways.said() == [(scene.lfdis[2], DerInfoKind.STATUS, b"early")]


async def test_a_server_that_lost_a_member_is_told_all_of_it_again(ways, scene, above):
    await ways.say(b"one")
    await ways.upward.handed_on(ways.relayed, ways.upward.infos(ways.relayed)[0][1])
    program = scene.program(controls=[scene.control()])
    await mirror(above, scene.serving, scene.relayed, scene.seen(program, members={scene.lfdis[1]: (program.mrid,)}))
    assert ways.said() == []
    await mirror(above, scene.serving, scene.relayed, scene.seen(program))
    assert ways.said() == [(scene.lfdis[0], DerInfoKind.STATUS, b"one")]
    assert Ways(scene, *scene.restarted()).said() == ways.said()


async def move(scene, above, *, away):
    """Let the server above show the first member's assignments elsewhere, or here."""
    seen = scene.seen(scene.program(controls=[scene.control()]))
    first = scene.lfdis[0]
    moved = replace(seen.members[first], programs=(), is_assigned=False)
    await mirror(
        above, scene.serving, scene.relayed, replace(seen, members={**seen.members, first: moved}) if away else seen
    )


async def test_what_waits_of_a_der_that_moved_away_goes_on_up(ways, scene, above, mrid):
    scene.relayed.enrol = "take"
    await ways.respond(mrid, 1)
    await ways.measure(5)
    await move(scene, above, away=True)
    assert (len(ways.outbox), ways.buffer.count(CHANNEL)) == (1, 1)
    assert scene.relayed.lfdi_of(ways.der()) == scene.lfdis[0], "so that it is known whose they are"
    await ways.respond(mrid, 2)
    await ways.measure(6)
    assert (len(ways.outbox), ways.buffer.count(CHANNEL)) == (2, 2), "and what it says afterwards too"
    again = Ways(scene, *scene.restarted("take"))
    assert (len(again.outbox), again.buffer.count(CHANNEL)) == (2, 2)


async def test_what_a_der_said_of_itself_is_its_new_servers_to_hand_on_until_it_is_back(ways, scene, above):
    scene.relayed.enrol = "take"
    await ways.say(b"one")
    await ways.upward.handed_on(ways.relayed, ways.upward.infos(ways.relayed)[0][1])
    await ways.say(b"two")
    ((_, under_way),) = ways.upward.infos(ways.relayed)
    await move(scene, above, away=True)
    assert ways.said() == []
    await ways.upward.handed_on(ways.relayed, under_way)
    await ways.upward.forget_handed_on(ways.relayed)
    assert ways.said() == [], "what the new server has handed on meanwhile is not overwritten"
    assert not [record for record in ways.serving.store.load(KnownRecord) if record.name.startswith("info/")]
    await move(scene, above, away=False)
    assert ways.said() == [(scene.lfdis[0], DerInfoKind.STATUS, b"two")]


async def test_a_relay_restarted_between_the_move_and_the_next_walk_hands_on_nothing_older(clock, above, tmp_path):
    scene, lives = Scene(clock), []

    def live():
        database = Database(str(tmp_path / "relay.db"))
        store = database.store("relay")
        lives.append(database)
        scene.serving = scene.levels["serving_of"]("substation", clock, store, seed=len(lives))
        scene.relayed = Relayed.load(store, CHANNEL, "take")
        return Ways(scene)

    ways = live()
    await move(scene, above, away=False)
    await ways.say(b"one")
    await ways.upward.handed_on(ways.relayed, ways.upward.infos(ways.relayed)[0][1])
    await ways.say(b"two")
    await move(scene, above, away=True)
    lives[-1].close()
    again = live()
    assert again.said() == [], "what its new server has handed on meanwhile is not overwritten"
    await move(scene, above, away=True)
    assert again.said() == []
    await move(scene, above, away=False)
    assert again.said() == [(scene.lfdis[0], DerInfoKind.STATUS, b"two")]
    lives[-1].close()


async def test_a_server_that_let_us_go_is_told_everything_again(ways):
    await ways.say(b"one")
    await ways.upward.handed_on(ways.relayed, ways.upward.infos(ways.relayed)[0][1])
    await ways.upward.forget_handed_on(ways.relayed)
    await ways.upward.forget_handed_on(ways.relayed)
    assert len(ways.said()) == 1
    assert not [record for record in ways.serving.store.load(KnownRecord) if record.name.startswith("info/")]


async def test_what_is_handed_on_for_who_left_meanwhile_is_not_remembered(ways, scene, above):
    await ways.say(b"one")
    ((_, info),) = ways.upward.infos(ways.relayed)
    await mirror(above, scene.serving, scene.relayed, scene.seen(members={}))
    await ways.upward.handed_on(ways.relayed, info)
    assert ways.relayed.handed_on == {}
    assert not [record for record in ways.serving.store.load(KnownRecord) if record.name.startswith("info/")]


async def test_two_channels_get_what_is_theirs(ways, scene, above, mrid):
    market = Relayed(channel=ChannelId("market"))
    buffer = ReadingBuffer(scene.serving.store, scene.serving.party, [CHANNEL, market.channel])
    scene.serving.consequences.clear()
    scene.serving.observers.clear()
    Upward(scene.serving, [scene.relayed, market], ways.outbox, buffer, ways.woken.append)
    seen = scene.seen(scene.program(2), members={scene.lfdis[0]: (scene.program(2).mrid,)})
    await mirror(above, scene.serving, market, replace(seen, channel=market.channel))
    await ways.measure(1, number=0)
    scene.clock.move(seconds=1)
    await ways.measure(2, number=1)
    assert [record.reading.value for record in buffer.first(CHANNEL, 9)] == [1, 2]
    assert [record.reading.value for record in buffer.first(market.channel, 9)] == [1]
    await ways.respond(mrid, 1)
    assert ways.outbox.first(market.channel) is None
