import asyncio
from datetime import UTC, datetime

import pytest

from tierline.model.errors import LinkError
from tierline.model.identity import ChannelId, DerId, PartyId
from tierline.model.records import BufferedReadingRecord
from tierline.model.telemetry import Reading
from tierline.operations.following.buffer import ReadingBuffer
from tierline.storage.memory import MemoryStore

NOON = datetime(2026, 6, 18, 12, tzinfo=UTC)
A, B = ChannelId("a"), ChannelId("b")


def readings(*values):
    return [Reading(der_id=DerId("d"), point="w", value=value, power_of_ten=0, time=NOON) for value in values]


def values(records):
    return [record.reading.value for record in records]


class Slow(MemoryStore):
    """A store whose commits wait until they are let through, one by one; or are refused."""

    def __init__(self):
        super().__init__()
        self.gate, self.refuses = asyncio.Semaphore(0), False

    async def commit(self, put=(), delete=()):
        await self.gate.acquire()
        if self.refuses:
            raise LinkError("full")
        await super().commit(put, delete)


def buffer_of(store, channels=(A, B), capacity=100):
    return ReadingBuffer(store, PartyId("owner"), channels, capacity)


@pytest.fixture
def store():
    return MemoryStore()


async def test_every_channel_gets_every_reading_in_order(store):
    buffer = buffer_of(store)
    await buffer.add(readings(1, 2))
    await buffer.add(readings(3))
    for channel in (A, B):
        assert values(buffer.first(channel, 10)) == [1, 2, 3]
        assert values(buffer.first(channel, 2)) == [1, 2]
        assert buffer.count(channel) == 3


async def test_what_was_delivered_is_gone_for_its_channel_only_and_stays_so(store):
    buffer = buffer_of(store)
    await buffer.add(readings(1, 2, 3))
    await buffer.done(A, buffer.first(A, 2))
    for one in (buffer, buffer_of(store)):
        assert values(one.first(A, 10)) == [3]
        assert values(one.first(B, 10)) == [1, 2, 3]


async def test_nothing_measured_costs_no_write(store):
    assert await buffer_of(store).add([]) == 0
    await buffer_of(store).done(A, [])
    assert store.load(BufferedReadingRecord) == []


async def test_after_a_restart_the_order_goes_on(store):
    await buffer_of(store).add(readings(*range(12)))
    buffer = buffer_of(store)
    await buffer.add(readings(12))
    assert values(buffer.first(A, 100)) == list(range(13))


async def test_a_channel_that_is_no_more_is_left_alone(store):
    await buffer_of(store).add(readings(1))
    buffer = buffer_of(store, channels=(A,))
    assert values(buffer.first(A, 10)) == [1]
    assert len(store.load(BufferedReadingRecord)) == 2


async def test_beyond_its_capacity_the_oldest_are_given_up_and_counted(store):
    buffer = buffer_of(store, capacity=3)
    assert await buffer.add(readings(1, 2)) == 0
    await buffer.done(B, buffer.first(B, 1))
    assert await buffer.add(readings(3, 4)) == 1
    for one in (buffer, buffer_of(store, capacity=3)):
        assert values(one.first(A, 10)) == [2, 3, 4]
        assert values(one.first(B, 10)) == [2, 3, 4]


async def test_what_the_disk_refuses_is_not_kept_and_the_next_is():
    store = Slow()
    buffer = buffer_of(store)
    store.gate.release()
    store.refuses = True
    with pytest.raises(LinkError):
        await buffer.add(readings(1))
    assert buffer.count(A) == 0
    store.refuses = False
    store.gate.release()
    await buffer.add(readings(2))
    assert values(buffer.first(A, 10)) == [2]


async def test_readings_given_up_during_a_delivery_are_not_struck_out_twice():
    """The delivery of the first two is acknowledged after the first was given up for want of room."""
    store = Slow()
    buffer = buffer_of(store, channels=(A,), capacity=3)
    store.gate.release()
    await buffer.add(readings(1, 2, 3))
    delivered = buffer.first(A, 2)
    store.gate.release()
    await buffer.add(readings(4))
    store.gate.release()
    await buffer.done(A, delivered)
    assert values(buffer.first(A, 10)) == values(store.load(BufferedReadingRecord)) == [3, 4]


async def test_readings_that_come_while_others_are_struck_out_are_kept():
    store = Slow()
    buffer = buffer_of(store, channels=(A,), capacity=3)
    store.gate.release()
    await buffer.add(readings(1, 2, 3))
    async with asyncio.TaskGroup() as group:
        group.create_task(buffer.done(A, buffer.first(A, 3)))
        group.create_task(buffer.add(readings(4, 5)))
        await asyncio.sleep(0)
        store.gate.release()
        store.gate.release()
    assert values(buffer.first(A, 10)) == values(store.load(BufferedReadingRecord)) == [4, 5]


async def test_two_measurements_at_once_get_numbers_of_their_own():
    store = Slow()
    buffer = buffer_of(store, channels=(A,))
    async with asyncio.TaskGroup() as group:
        for value in (1, 2):
            group.create_task(buffer.add(readings(value)))
        await asyncio.sleep(0)
        store.gate.release()
        store.gate.release()
    assert values(buffer.first(A, 10)) == values(store.load(BufferedReadingRecord)) == [1, 2]


async def test_readings_kept_by_others_count_once_they_are_taken_over():
    store = MemoryStore()
    buffer = buffer_of(store, capacity=2)
    records = [record for reading in readings(1, 2, 3) for record in buffer.numbered([A], reading)]
    assert buffer.count(A) == 0
    await store.commit(records)
    buffer.take(records)
    assert values(buffer.first(A, 9)) == [1, 2, 3]
    assert (buffer.excess(A), buffer.excess(B)) == (1, 0)
    assert (await buffer.give_up(A), await buffer.give_up(B)) == (1, 0)
    assert values(buffer.first(A, 9)) == values(buffer_of(store).first(A, 9)) == [2, 3]


async def test_what_lies_between_can_be_struck_out():
    store = MemoryStore()
    buffer = buffer_of(store, channels=(A,))
    await buffer.add(readings(1, 2, 3))
    await buffer.done(A, buffer.first(A, 9)[1:2])
    assert values(buffer.first(A, 9)) == values(buffer_of(store).first(A, 9)) == [1, 3]
