from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tierline.model.errors import LinkError
from tierline.model.identity import ChannelId, DerId, Lfdi, Mrid, PartyId
from tierline.model.programs import Response, ResponseStatus
from tierline.model.records import OutboxRecord
from tierline.operations.following.outbox import Outbox, as_response, forget_posted
from tierline.storage.memory import MemoryStore

NOON = datetime(2026, 6, 18, 12, tzinfo=UTC)
A, B = ChannelId("a"), ChannelId("b")


def due(status, *, channel=A, mrid="E", seconds=0):
    return OutboxRecord(
        party=PartyId("owner"),
        channel=channel,
        der_id=DerId("d"),
        mrid=Mrid(mrid),
        status=ResponseStatus(status),
        lfdi=Lfdi("AB" * 20),
        created_at=NOON + timedelta(seconds=seconds),
    )


@pytest.fixture
def store():
    return MemoryStore()


async def test_the_oldest_of_a_channel_comes_first(store):
    outbox = Outbox(store)
    assert outbox.first(A) is None
    outbox.add([due(1), due(2, seconds=5), due(1, channel=B)])
    assert outbox.first(A) == due(1)
    assert outbox.first(B) == due(1, channel=B)
    assert len(outbox) == 3


async def test_what_was_posted_is_not_posted_again_nor_after_a_restart(store):
    records = [due(1), due(2, seconds=5)]
    await store.commit(records)
    outbox = Outbox(store)
    await outbox.done(records[0], NOON)
    assert outbox.first(A) == Outbox(store).first(A) == records[1]
    await outbox.done(records[1], NOON)
    assert len(outbox) == len(Outbox(store)) == 0
    assert outbox.first(A) is None


async def test_after_a_restart_the_order_is_that_of_creation(store):
    await store.commit([due(3, seconds=9), due(252, mrid="A", seconds=5), due(1, mrid="Z"), due(2, mrid="Z")])
    outbox, order = Outbox(store), []
    while (record := outbox.first(A)) is not None:
        order.append((record.mrid, int(record.status)))
        await outbox.done(record, NOON)
    assert order == [("Z", 1), ("Z", 2), ("A", 252), ("E", 3)]


async def test_a_full_disk_keeps_it_waiting(store):
    class Refusing(MemoryStore):
        async def commit(self, put=(), delete=()):
            raise LinkError("full")

    outbox = Outbox(Refusing())
    outbox.add([due(1)])
    with pytest.raises(LinkError):
        await outbox.done(due(1), NOON)
    assert outbox.first(A) == due(1)


async def test_what_was_posted_long_ago_is_forgotten_and_what_waits_is_not(store):
    records = [due(1), due(2), due(3)]
    await store.commit(records)
    outbox = Outbox(store)
    await outbox.done(records[0], NOON)
    await outbox.done(records[1], NOON + timedelta(days=1))
    assert await forget_posted(store, NOON + timedelta(days=1)) == 1
    assert [int(record.status) for record in store.load(OutboxRecord)] == [2, 3]


def test_a_record_stands_for_its_response():
    assert as_response(due(2)) == Response(
        mrid=Mrid("E"),
        der_id=DerId("d"),
        lfdi=Lfdi("AB" * 20),
        status=ResponseStatus.STARTED,
        created_at=NOON,
        channel=A,
    )


async def test_what_is_postponed_lets_other_events_go_first_and_keeps_its_own_order(store):
    outbox = Outbox(store)
    outbox.add([due(1), due(1, mrid="F", seconds=1), due(2, seconds=2), due(2, mrid="F", seconds=3)])
    outbox.postpone(due(1))
    sent = []
    while (record := outbox.first(A)) is not None:
        await outbox.done(record, NOON)
        sent.append((record.mrid, int(record.status)))
    assert sent == [("F", 1), ("F", 2), ("E", 1), ("E", 2)]


async def test_only_what_waits_for_certain_channels_is_taken_up(store):
    await store.commit([due(1), due(1, channel=B)])
    assert len(Outbox(store, [A])) == 1
    assert Outbox(store, [A]).first(B) is None


async def test_several_ders_are_served_side_by_side_and_each_in_order(store):
    outbox = Outbox(store)
    records = [
        replace(due(status, seconds=status), der_id=DerId(der))
        for status, der in ((1, "x"), (2, "x"), (3, "y"), (6, "z"))
    ]
    outbox.add(records)
    assert outbox.heads(A, 2) == [records[0], records[2]]
    assert outbox.heads(B, 2) == []
    await outbox.all_done(outbox.heads(A, 9), NOON)
    assert outbox.heads(A, 9) == [records[1]]
    assert len(Outbox(store)) == 0, "only what was struck out is in the store"
