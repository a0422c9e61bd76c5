"""What has been, by time."""

from datetime import timedelta

import pytest

from tierline.model.records import AuditRecord, ReadingRecord
from tierline.operations.serving import history


@pytest.fixture
def small_chunks(monkeypatch):
    monkeypatch.setattr(history, "_CHUNK", 4)


async def test_every_reading_is_given_once_over_the_borders_of_chunks(
    serving, operator, der, measure, clock, small_chunks
):
    start = clock.now()
    for number in range(10):
        for point in ("pv-1", "pv-2", "pv-3"):
            await measure(point, "w", number)
        clock.move(seconds=1)
    found = history.readings_since(operator, serving, der("pv-2").der_id, start, 1000)
    assert [record.reading.value for record in found] == list(range(10))
    assert [r.reading.value for r in history.readings_since(operator, serving, der("pv-2").der_id, start, 3)] == [
        0,
        1,
        2,
    ]
    later = history.readings_since(operator, serving, der("pv-2").der_id, start + timedelta(seconds=8), 1000)
    assert [record.reading.value for record in later] == [8, 9]


async def test_many_readings_of_one_instant_do_not_stop_it(serving, operator, der, clock, measure, small_chunks):
    await measure("pv-1", "w", 1)
    (record,) = serving.store.load(ReadingRecord)
    from dataclasses import replace

    await serving.commit([replace(record, meter_reading=f"{number:032X}") for number in range(20, 30)])
    found = history.readings_since(operator, serving, der("pv-1").der_id, clock.now(), 1000)
    assert len(found) == 11


async def test_a_lost_tail_of_the_audit_is_noticed(serving, operator):
    lines = serving.store.load(AuditRecord)
    await serving.store.commit(delete=[lines[-1]])
    count, faults = history.verify_audit(operator, serving)
    assert count == len(lines) - 1
    assert faults == [f"the store does not end with record {len(lines)}, which this node wrote last"]
