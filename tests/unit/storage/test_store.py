"""What both stores do alike."""

from dataclasses import replace
from datetime import timedelta

import pytest

from tierline.model.programs import ResponseStatus
from tierline.model.records import (
    AuditRecord,
    ControlRecord,
    KnownRecord,
    MembershipRecord,
    OutboxRecord,
    ReadingRecord,
)


def of(samples, kind):
    return next(record for record in samples if type(record) is kind)


async def test_what_was_committed_is_loaded(store, samples):
    await store.commit(samples)
    for record in samples:
        assert store.load(type(record)) == [record]


async def test_an_empty_store_has_nothing_of_any_kind(store, samples):
    assert [store.load(type(record)) for record in samples] == [[]] * len(samples)


async def test_a_record_replaces_the_one_with_its_key(store, samples):
    record = of(samples, KnownRecord)
    await store.commit([record])
    await store.commit([replace(record, value="new")])
    assert [known.value for known in store.load(KnownRecord)] == ["new"]


async def test_within_one_call_the_last_of_a_key_counts(store, samples):
    record, audit = of(samples, KnownRecord), of(samples, AuditRecord)
    await store.commit([record, audit, replace(record, value="last")])
    assert [known.value for known in store.load(KnownRecord)] == ["last"]


async def test_deleting_goes_by_key_and_spares_the_others(store, samples):
    record = of(samples, KnownRecord)
    others = [replace(record, name=name) for name in ("b", "c")]
    await store.commit([record, *others])
    await store.commit(delete=[replace(record, value="whatever"), others[0]])
    assert store.load(KnownRecord) == [others[1]]


async def test_deleting_what_is_not_there_does_nothing(store, samples):
    await store.commit(delete=[of(samples, KnownRecord), of(samples, ControlRecord)])


async def test_a_call_deletes_after_it_has_put(store, samples):
    record = of(samples, KnownRecord)
    await store.commit([record], [record])
    assert store.load(KnownRecord) == []


async def test_a_call_without_records_is_allowed(store):
    await store.commit()


async def test_records_come_in_order_of_their_key_numbers_as_numbers(store, audit):
    await store.commit([audit(sequence) for sequence in (10, 9, 100, 1)])
    assert [record.sequence for record in store.load(AuditRecord)] == [1, 9, 10, 100]


async def test_the_last_word_on_a_membership_comes_last(store, samples):
    begun = of(samples, MembershipRecord)
    ended = replace(
        begun,
        membership=replace(
            begun.membership,
            valid_to=begun.membership.valid_from + timedelta(hours=1),
            recorded_at=begun.membership.recorded_at + timedelta(hours=1),
        ),
    )
    await store.commit([ended, begun])
    assert store.load(MembershipRecord) == [begun, ended]


async def test_readings_of_two_ders_with_one_mrid_do_not_replace_each_other(store, samples):
    record = of(samples, ReadingRecord)
    clone = replace(record, reading=replace(record.reading, der_id="zzzzzzzzzzzzz", value=1))
    await store.commit([record, clone])
    assert store.load(ReadingRecord) == [record, clone]


async def test_records_since_a_time_are_those_at_or_after_it_oldest_first(store, audit):
    await store.commit([audit(3), audit(1), audit(2)])
    since = audit(2).time
    assert [record.sequence for record in store.load_since(AuditRecord, since)] == [2, 3]
    assert [record.sequence for record in store.load_since(AuditRecord, since, limit=1)] == [2]


async def test_records_of_one_instant_come_in_order_of_their_key(store, audit):
    await store.commit([audit(sequence, minutes=0) for sequence in (10, 9, 1)])
    assert [record.sequence for record in store.load_since(AuditRecord, audit(0).time)] == [1, 9, 10]


async def test_the_oldest_are_forgotten_first_and_at_most_so_many(store, audit):
    await store.commit([audit(sequence) for sequence in range(1, 6)])
    assert await store.forget_before(AuditRecord, audit(4).time, limit=2) == 2
    assert [record.sequence for record in store.load(AuditRecord)] == [3, 4, 5]
    assert await store.forget_before(AuditRecord, audit(4).time) == 1
    assert await store.forget_before(AuditRecord, audit(4).time) == 0
    assert [record.sequence for record in store.load(AuditRecord)] == [4, 5]


async def test_what_has_no_time_is_not_asked_for_by_time(store, samples):
    now = of(samples, AuditRecord).time
    with pytest.raises(ValueError, match="ControlRecord has no time"):
        store.load_since(ControlRecord, now)
    with pytest.raises(ValueError, match="ControlRecord has no time"):
        await store.forget_before(ControlRecord, now)


@pytest.mark.parametrize("change", [{"sequence": 1 << 63}, {"sequence": None}, {"detail": "\ud800"}])
async def test_a_value_no_database_holds_is_refused_and_nothing_of_its_call_is_kept(store, samples, change):
    audit = of(samples, AuditRecord)
    with pytest.raises(ValueError, match=r".+"):
        await store.commit([of(samples, KnownRecord), replace(audit, **change)])
    assert store.load(KnownRecord) == store.load(AuditRecord) == []
    await store.commit([audit])
    assert store.load(AuditRecord) == [audit]


async def test_records_are_read_one_by_one_from_any_key_on_in_both_directions(store, audit):
    await store.commit([audit(sequence) for sequence in range(1, 400)])
    forth, back = list(range(1, 400)), list(range(399, 0, -1))
    assert [record.sequence for record in store.each(AuditRecord)] == forth
    assert [record.sequence for record in store.each(AuditRecord, newest_first=True)] == back
    assert [record.sequence for record in store.each(AuditRecord, after=(150,))] == forth[150:]
    assert [record.sequence for record in store.each(AuditRecord, after=(150,), newest_first=True)] == back[:-150]
    assert [record.sequence for record in store.each(AuditRecord, of=(7,))] == [7]
    assert [*store.each(AuditRecord, of=(1000,))] == [*store.each(AuditRecord, after=(399,))] == []


async def test_records_are_found_by_how_their_name_begins(store, samples):
    record = of(samples, KnownRecord)
    names = ["a", "a/", *(f"a/{number:03}" for number in range(200)), "a/\U0010ffff", "a0", "b/x"]
    await store.commit([replace(record, name=name) for name in names])
    assert [known.name for known in store.each(KnownRecord, prefix="a/")] == names[1:202] + names[202:203]
    assert [known.name for known in store.each(KnownRecord, prefix="a/", newest_first=True)] == names[202:0:-1]
    assert [known.name for known in store.each(KnownRecord, prefix="a/1", newest_first=True)] == names[201:101:-1]
    assert [*store.each(KnownRecord, prefix="c")] == []


async def test_readings_of_one_series_are_found_from_a_time_on(store, samples):
    record = of(samples, ReadingRecord)
    start = record.reading.time
    records = [
        replace(
            record, meter_reading=meter, reading=replace(record.reading, der_id=der, time=start + timedelta(hours=at))
        )
        for der in ("d1", "d2")
        for meter in ("A", "B")
        for at in range(30)
    ]
    await store.commit(records)
    assert [*store.each(ReadingRecord, of=("d1",))] == records[:60]
    assert [*store.each(ReadingRecord, of=("d2", "A"), after=(start + timedelta(hours=27),))] == records[88:90]
    assert next(store.each(ReadingRecord, of=("d1",), after=("A",))) == records[30]
    assert next(store.each(ReadingRecord, of=("d1",), after=("A", start))) == records[1]
    assert next(store.each(ReadingRecord, newest_first=True)) == records[-1]


async def test_what_is_deleted_meanwhile_does_not_stop_a_reading(store, audit):
    await store.commit([audit(sequence) for sequence in range(1, 40)])
    lines = store.each(AuditRecord)
    first = next(lines)
    await store.commit(delete=[audit(sequence) for sequence in range(2, 30)])
    assert first.sequence == 1
    assert [record.sequence for record in lines][-10:] == list(range(30, 40))


async def test_what_waits_is_found_among_what_has_its_time_and_is_not_forgotten(store, samples):
    record = replace(of(samples, OutboxRecord), posted_at=None)
    start = of(samples, AuditRecord).time
    waiting = [replace(record, status=status) for status in (ResponseStatus(1), ResponseStatus(3))]
    posted = [
        replace(record, status=ResponseStatus(2), posted_at=start),
        replace(record, status=ResponseStatus(6), posted_at=start + timedelta(hours=1)),
    ]
    await store.commit([*posted, *waiting[::-1]])
    assert store.load_pending(OutboxRecord) == waiting
    assert store.load_since(OutboxRecord, start) == posted
    assert await store.forget_before(OutboxRecord, start + timedelta(hours=1)) == 1
    assert await store.forget_before(OutboxRecord, start + timedelta(days=1)) == 1
    assert store.load(OutboxRecord) == store.load_pending(OutboxRecord) == waiting
    assert store.load_pending(AuditRecord) == []
    with pytest.raises(ValueError, match="ControlRecord has no time"):
        store.load_pending(ControlRecord)
