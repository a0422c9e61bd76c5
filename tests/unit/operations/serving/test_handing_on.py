"""What a control point hands on of a DER that has left it is taken when it may be true, and replaces nothing newer."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from tierline.env import SeededRandom
from tierline.model.control import Control, Interval, Setpoints
from tierline.model.errors import Forbidden, PeerError
from tierline.model.identity import ChannelId, Lfdi, Mrid, PartyId
from tierline.model.parties import Principal, Role
from tierline.model.programs import ResponseStatus
from tierline.model.records import AuditRecord, ControlRecord, DerInfoKind
from tierline.operations.serving import registry, telemetry, topology
from tierline.operations.serving.audit import faults
from tierline.operations.serving.state import Serving

WEST, EAST = PartyId("west"), PartyId("east")
BORN = datetime(2026, 1, 1, tzinfo=UTC)
AWAY, BACK = {2: False, 3: True}, {2: True, 3: False}
"""Switches that move pv-4 from feeder-2 to feeder-1, and back."""


class Scene:
    """A utility whose feeders are served by west and east; pv-4 is fed by east."""

    def __init__(self, serving, operator):
        self.operator, self.clock = operator, serving.clock
        self.state = serving
        self.restart()
        self.der = registry.find_device(self.state, "pv-4").der_id

    def restart(self):
        before = self.state
        self.state = Serving(
            party=before.party, store=before.store, clock=self.clock, random=SeededRandom(8), pen=before.pen,
            grid=before.grid, control_points={"feeder-1": WEST, "feeder-2": EAST},
        )  # fmt: skip
        self.state.load()

    async def event(self, group="system", *, later_s=0, program=None):
        """Make an event, told of as if it had been made some seconds later."""
        now = self.clock.now()
        control = Control(
            mrid=Mrid(f"{self.state.random.bits(128):032X}"),
            creation_time=now + timedelta(seconds=later_s),
            interval=Interval(start=now, duration_s=900),
            setpoints=Setpoints.of({"max_lim_w_pct": Decimal(50)}),
        )
        if program is None:
            program = self.state.programs_of[topology.find_group(self.state, group).group.id][0]
        record = ControlRecord(
            party=self.state.party, mrid=control.mrid, program=program, control=control, changed_at=now
        )
        await self.state.commit([record])
        return control.mrid

    async def switch(self, positions):
        await topology.confirm_switching(self.operator, self.state, positions)

    async def answer(self, mrid, party, status=1):
        lfdi = Lfdi(("AA" if party == WEST else "BB") * 20)
        who = Principal(party=party, role=Role.AGGREGATOR, name=lfdi, lfdi=lfdi)
        return await telemetry.record_response(
            who, self.state, self.der, mrid, ResponseStatus(status), self.clock.now()
        )

    async def say(self, party, document):
        who = Principal(party=party, role=Role.AGGREGATOR, name=party)
        await telemetry.put_info(who, self.state, self.der, DerInfoKind.STATUS, document)
        return self.state.infos[self.der, DerInfoKind.STATUS].document

    def doubts(self):
        """Give who handed on what was in doubt, and of what."""
        lines = self.state.store.load(AuditRecord)
        assert faults(lines) == []
        said = [(line, json.loads(line.detail)) for line in lines if line.verb == "respond"]
        assert {(line.resource, line.outcome) for line, _ in said} <= {(f"device {self.der}", "taken in doubt")}
        return [(line.party, detail["by"], detail["mrid"], detail["status"]) for line, detail in said]


@pytest.fixture
def scene(serving, operator):
    return Scene(serving, operator)


async def test_who_feeds_a_der_hands_its_responses_on_whenever_the_event_was_made(scene):
    mrid = await scene.event()
    assert (await scene.answer(mrid, EAST)).status == 1
    await scene.switch(AWAY)
    scene.clock.move(days=3)
    assert (await scene.answer(mrid, WEST, 2)).status == 2
    assert scene.doubts() == []


async def test_who_never_fed_a_der_hands_nothing_on_of_it(scene):
    mrid = await scene.event()
    for _ in range(2):
        with pytest.raises(Forbidden, match=f"west has fed device {scene.der} never, so it did not show"):
            await scene.answer(mrid, WEST)
        scene.restart()
    assert not scene.state.responses.get(mrid)
    assert scene.doubts() == []


@pytest.mark.parametrize("is_restarted", [True, False])
async def test_what_was_under_way_when_the_der_moved_is_taken_hours_later_and_who_handed_it_on_is_said(
    scene, is_restarted
):
    mrid = await scene.event()
    scene.clock.move(minutes=10)
    await scene.switch(AWAY)
    scene.clock.move(hours=30)
    if is_restarted:
        scene.restart()
    record = await scene.answer(mrid, EAST, 3)
    assert scene.state.responses[mrid] == {(scene.der, 3): record}
    assert scene.doubts() == [(EAST, EAST, mrid, 3)]
    assert await scene.answer(mrid, EAST, 3) == record
    assert len(scene.doubts()) == 1


async def test_who_was_cut_off_when_a_der_left_it_is_believed_for_a_day_and_not_for_longer(scene):
    await scene.switch(AWAY)
    left = scene.clock.now()
    scene.clock.move(hours=24)
    within = await scene.event()
    scene.clock.move(seconds=1)
    beyond = await scene.event()
    assert (await scene.answer(within, EAST)).status == 1
    with pytest.raises(Forbidden, match=rf"not since {left.isoformat()[:19]}"):
        await scene.answer(beyond, EAST)
    await scene.switch(BACK)
    assert (await scene.answer(beyond, EAST)).status == 1
    await scene.switch(AWAY)
    assert (await scene.answer(beyond, EAST, 2)).status == 2, "the last time counts"
    assert [mrid for *_, mrid, _ in scene.doubts()] == [within, beyond]


async def test_a_clock_above_that_is_ahead_refuses_nobody(scene):
    mrid = await scene.event(later_s=3 * 86_400)
    await scene.switch(AWAY)
    assert (await scene.answer(mrid, EAST)).status == 1


async def test_an_event_that_was_changed_later_was_made_before(scene):
    mrid = await scene.event()
    await scene.switch(AWAY)
    scene.clock.move(hours=30)
    record = scene.state.control(mrid)
    await scene.state.commit([replace(record, changed_at=scene.clock.now())])
    assert (await scene.answer(mrid, EAST, 6)).status == 6


async def test_who_manages_a_der_and_the_der_itself_are_asked_for_no_history(scene):
    mrid = await scene.event()
    device = scene.state.devices[scene.der]
    await scene.state.commit([replace(device, managed_by=WEST)])
    assert (await scene.answer(mrid, WEST)).status == 1
    one = registry.find_device(scene.state, "pv-1")
    lfdi = scene.state.lfdi_of[one.der_id]
    await scene.switch({1: False})
    who = Principal(party=scene.state.party, role=Role.DEVICE, name=lfdi, lfdi=lfdi)
    now = scene.clock.now() + timedelta(days=3)
    mine = await telemetry.record_response(who, scene.state, one.der_id, mrid, ResponseStatus.RECEIVED, now)
    assert mine.status == 1
    assert scene.doubts() == []


async def test_a_relayed_event_is_answered_by_those_it_was_shown_to_once(serving, der, clock, restarted):
    """A DER that asks all its servers is sent on by those that never showed it the event."""
    group = topology.find_group(serving, "feeder-2")
    program = serving.programs[serving.programs_of[group.group.id][0]].record
    await serving.commit([replace(program, channel=ChannelId("above"))])
    control = Control(
        mrid=Mrid("C" * 32), creation_time=clock.now(), interval=Interval(start=clock.now(), duration_s=900),
        setpoints=Setpoints.of({"max_lim_w_pct": Decimal(50)}),
    )  # fmt: skip
    record = ControlRecord(
        party=serving.party, mrid=control.mrid, program=program.mrid, control=control, changed_at=clock.now()
    )
    await serving.commit([record])

    async def answer(state, point):
        lfdi = state.lfdi_of[der(point).der_id]
        who = Principal(party=state.party, role=Role.DEVICE, name=lfdi, lfdi=lfdi)
        now = clock.now()
        return await telemetry.record_response(
            who, state, der(point).der_id, control.mrid, ResponseStatus.RECEIVED, now
        )

    with pytest.raises(PeerError, match=r"Response/subject: no event C+ was shown to device"):
        await answer(serving, "pv-1")
    move = topology.Move(der_id=der("pv-3").der_id, leaves=(group.group.id,), joins=())
    await serving.commit(topology.membership_records(serving, [move], "relayed"))
    clock.move(days=30)
    for state in (serving, restarted()):
        assert (await answer(state, "pv-3")).status == 1
        with pytest.raises(PeerError):
            await answer(state, "pv-1")
    assert not [line for line in serving.store.load(AuditRecord) if line.verb == "respond"]


async def test_what_a_der_has_said_since_it_left_stays(scene):
    assert await scene.say(WEST, b"one") == b"one", "through whom it may"
    assert await scene.say(EAST, b"two") == b"two"
    scene.clock.move(minutes=1)
    await scene.switch(AWAY)
    assert await scene.say(EAST, b"three") == b"three", "it has said nothing since"
    scene.clock.move(minutes=1)
    assert await scene.say(WEST, b"four") == b"four"
    scene.restart()
    with pytest.raises(Forbidden, match="left east and has said its ders since"):
        await scene.say(EAST, b"three again")
    scene.clock.move(minutes=1)
    await scene.switch(BACK)
    assert await scene.say(EAST, b"five") == b"five"


async def test_what_is_known_of_who_left_a_group_goes_with_the_group(serving, der):
    group = topology.find_group(serving, "feeder-1")
    serving.left = {(der("pv-1").der_id, group.group.id): serving.clock.now(), (der("pv-1").der_id, "x"): BORN}
    await serving.commit(delete=[group])
    assert serving.left == {(der("pv-1").der_id, "x"): BORN}
