"""What has been, by time."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

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
    await serving.commit([replace(record, meter_reading=f"{number:032X}") for number in range(20, 30)])
    found = history.readings_since(operator, serving, der("pv-1").der_id, clock.now(), 1000)
    assert len(found) == 11


async def test_a_lost_tail_of_the_audit_is_noticed(serving, operator):
    lines = serving.store.load(AuditRecord)
    await serving.store.commit(delete=[lines[-1]])
    count, faults = history.verify_audit(operator, serving)
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
    assert history.verify_audit(operator, serving) == (2, [])
    first, last = serving.store.load(AuditRecord)
    await serving.store.commit([replace(first, principal="eve")])
    assert history.verify_audit(operator, serving) == (2, ["record 1 was changed"])
    await serving.store.commit([first], [last])
    assert history.verify_audit(operator, serving) == (
        1,
        ["the store does not end with record 2, which this node wrote last"],
    )
    await serving.store.commit(delete=[first])
    assert history.verify_audit(operator, serving)[0] == 0
    serving.audit_tail = None
    assert history.verify_audit(operator, serving) == (0, [])
