from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierline.model.identity import DerId, Mrid, PartyId
from tierline.model.records import ReadingRecord
from tierline.model.telemetry import Quality, Reading
from tierline.operations.serving import tails
from tierline.operations.serving.tails import KEPT, SERIES, Kept, Tails
from tierline.storage.memory import MemoryStore

NOON = datetime(2026, 6, 18, 12, 0, tzinfo=UTC)
DER, SERIES_A = DerId("abc"), Mrid("A" * 32)


def reading(second=0, value=1, der=DER, series=SERIES_A, **more):
    measured = Reading(
        der_id=der, point="w", value=value, power_of_ten=0, time=NOON + timedelta(seconds=second), **more
    )
    return ReadingRecord(party=PartyId("p"), meter_reading=series, reading=measured, received_at=NOON)


def filled(*records):
    held = Tails()
    for record in records:
        held.take(record)
    return held


def seconds(held):
    return [(kept.time - NOON).total_seconds() for kept in held.of(DER, SERIES_A)]


@given(st.lists(st.tuples(st.integers(0, 100), st.integers(-(2**47), 2**47)), max_size=80))
def test_the_last_by_time_are_held_in_order_whatever_the_order_of_arrival(arrivals):
    held, told = Tails(), {}
    for second, value in arrivals:
        changes, is_newest = held.would_change(reading(second, value)), held.is_newest(reading(second, value))
        before = held.of(DER, SERIES_A)
        assert is_newest == (not told or second >= max(told))
        told[second] = value
        held.take(reading(second, value))
        assert changes == (held.of(DER, SERIES_A) != before)
    last = sorted(told.items())[-KEPT:]
    assert [((kept.time - NOON).total_seconds(), kept.value) for kept in held.of(DER, SERIES_A)] == last
    assert (held.last(DER, SERIES_A) is None) == (not last)
    if last:
        assert held.last(DER, SERIES_A).value == last[-1][1]


def test_a_reading_keeps_all_that_it_says():
    held = filled(reading(value=-5, duration_s=300, quality=Quality.VALID | Quality.DERIVED))
    assert held.of(DER, SERIES_A) == (Kept(time=NOON, value=-5, duration_s=300, quality=33),)


def test_series_and_ders_are_apart_and_a_der_is_forgotten_whole():
    other = reading(value=2, series=Mrid("B" * 32)), reading(value=3, der=DerId("xyz"))
    held = filled(reading(), *other)
    assert [held.last(DER, SERIES_A).value, held.last(DER, Mrid("B" * 32)).value] == [1, 2]
    held.forget(DER)
    held.forget(DER)
    assert held.of(DER, SERIES_A) == ()
    assert held.last(DerId("xyz"), SERIES_A).value == 3


def test_a_der_that_makes_ever_new_series_keeps_those_it_fed_last():
    names = [Mrid(f"{number:032X}") for number in range(SERIES + 1)]
    held = filled(*(reading(series=name) for name in names[:-1]), reading(1, series=names[0]))
    held.take(reading(series=names[-1]))
    assert held.of(DER, names[1]) == ()
    assert all(held.of(DER, name) for name in names if name != names[1])


async def test_readings_of_the_last_minutes_are_held_again_after_a_restart():
    store = MemoryStore()
    await store.commit([reading(-3600), reading(-60), reading(-5)])
    held = Tails()
    held.recall(store, NOON)
    assert seconds(held) == [-60, -5]


@pytest.mark.parametrize(("most", "expected"), [(3, [-30, -5]), (2, [])])
async def test_of_too_many_only_the_latest_are_asked_for(monkeypatch, most, expected):
    monkeypatch.setattr(tails, "_RECALLED_AT_MOST", most)
    store = MemoryStore()
    await store.commit([reading(-600), reading(-500), reading(-100), reading(-30), reading(-5)])
    held = Tails()
    held.recall(store, NOON)
    assert seconds(held) == expected
