"""What has been, by time."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from itertools import islice

from tierline.model.control import Setpoints
from tierline.model.records import AuditRecord, ReadingRecord
from tierline.operations.serving import history, programs, topology
from tierline.storage.sqlite import Database


def read(operator, serving, der, since, limit):
    return [*islice(history.readings_since(operator, serving, der, since), limit)]


async def test_every_reading_of_a_der_is_given_once_oldest_first_from_a_time_on(serving, operator, der, measure, clock):
    start = clock.now()
    for number in range(10):
        for point in ("pv-1", "pv-2", "pv-3"):
            await measure(point, "w", number)
        clock.move(seconds=1)
    found = read(operator, serving, der("pv-2").der_id, start, 1000)
    assert [record.reading.value for record in found] == list(range(10))
    assert [r.reading.value for r in read(operator, serving, der("pv-2").der_id, start, 3)] == [
        0,
        1,
        2,
    ]
    later = read(operator, serving, der("pv-2").der_id, start + timedelta(seconds=8), 1000)
    assert [record.reading.value for record in later] == [8, 9]


async def test_readings_of_several_series_come_by_time_and_then_by_series(serving, operator, der, clock, measure):
    await measure("pv-1", "w", 1)
    (record,) = serving.store.load(ReadingRecord)
    start, of = clock.now(), der("pv-1").der_id
    wanted = [
        replace(
            record, meter_reading=f"{number:032X}", reading=replace(record.reading, time=start + timedelta(seconds=at))
        )
        for at in range(50)
        for number in (7, 20, 21)
    ]
    await serving.store.commit(wanted, [record])
    assert read(operator, serving, of, start, 1000) == wanted
    assert read(operator, serving, of, start + timedelta(seconds=9, microseconds=1), 4) == wanted[30:34]
    assert read(operator, serving, of, start + timedelta(seconds=50), 4) == []


async def test_only_what_is_asked_for_is_read(serving, operator, der, clock, measure, tmp_path):
    """Whatever there is of others, and from before."""
    await measure("pv-1", "w", 1)
    (record,) = serving.store.load(ReadingRecord)
    database = Database(str(tmp_path / "many.db"))
    store = serving.store = database.store("utility")
    start = clock.now()
    await store.commit(
        [
            replace(record, reading=replace(record.reading, der_id=of, time=start + timedelta(seconds=at)))
            for of in ("a", "b", "c")
            for at in range(2000)
        ]
    )
    rows, select = [], store._select

    def counted(kind, statement, values):
        found = select(kind, statement, values)
        rows.append(len(found))
        return found

    store._select = counted
    found = read(operator, serving, "b", start + timedelta(seconds=1995), 1000)
    assert [reading.reading.time for reading in found] == [start + timedelta(seconds=at) for at in range(1995, 2000)]
    assert sum(rows) <= 16 + 5
    database.close()


async def test_a_lost_tail_of_the_audit_is_noticed(serving, operator):
    lines = serving.store.load(AuditRecord)
    await serving.store.commit(delete=[lines[-1]])
    count, faults = await history.verify_audit(operator, serving)
    assert count == len(lines) - 1
    assert faults == [f"the store does not end with record {len(lines)}, which this node wrote last"]


async def test_responses_come_oldest_first_from_a_time_on(serving, operator, send, respond, clock):
    control = await send("feeder-1", start=clock.now(), max_lim_w_pct=Decimal(50))
    for point, status in (("pv-1", 1), ("pv-2", 1), ("pv-1", 2)):
        clock.move(seconds=1)
        await respond(point, control.mrid, status)
    found = history.responses_since(operator, serving, None, 10)
    assert [int(record.status) for record in found] == [1, 1, 2]
    assert history.responses_since(operator, serving, clock.now(), 10) == found[2:]
    assert history.responses_since(operator, serving, None, 1) == found[:1]


def test_lines_of_the_audit_come_in_order_the_last_ones_or_those_after_a_number(serving, operator):
    lines = serving.store.load(AuditRecord)
    assert len(lines) == 2
    assert history.audit_lines(operator, serving, None, 1) == lines[-1:]
    assert history.audit_lines(operator, serving, 0, 1) == lines[:1]
    assert history.audit_lines(operator, serving, 1, 10) == lines[1:]


async def test_a_whole_audit_is_told_from_one_that_was_tampered_with(serving, operator):
    assert await history.verify_audit(operator, serving) == (2, [])
    first, last = serving.store.load(AuditRecord)
    await serving.store.commit([replace(first, principal="eve")])
    assert await history.verify_audit(operator, serving) == (2, ["record 1 was changed"])
    await serving.store.commit([first], [last])
    assert await history.verify_audit(operator, serving) == (
        1,
        ["the store does not end with record 2, which this node wrote last"],
    )
    await serving.store.commit(delete=[first])
    assert (await history.verify_audit(operator, serving))[0] == 0
    serving.audit_tail = None
    assert await history.verify_audit(operator, serving) == (0, [])


async def test_an_audit_that_grows_while_it_is_checked_is_whole(serving, operator, monkeypatch):
    monkeypatch.setattr(history, "_AT_ONCE", 1)
    group = topology.find_group(serving, "feeder-1").group.id

    async def act():
        for pct in (10, 20, 30):
            await programs.set_default(operator, serving, group, Setpoints.of({"max_lim_w_pct": Decimal(pct)}))

    (count, faults), _ = await asyncio.gather(history.verify_audit(operator, serving), act())
    assert faults == []
    assert 2 < count <= len(serving.store.load(AuditRecord)) == 5
