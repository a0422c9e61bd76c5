from dataclasses import fields
from datetime import UTC, datetime, timedelta

import pytest

from tierline.model.records import KEYS, Record
from tierline.model.telemetry import Reading
from tierline.model.topology import Group, Membership
from tierline.storage.schema import MAPPINGS, METADATA, microseconds


def test_there_is_a_sample_of_every_kind(samples):
    assert {type(record) for record in samples} == set(KEYS) == set(MAPPINGS)


def test_every_kind_comes_back_as_it_was_written(samples):
    for record in samples:
        mapping = MAPPINGS[type(record)]
        assert mapping.parse(mapping.row("n", record)[1:]) == record


def test_every_kind_comes_back_of_the_same_types(samples):
    for record in samples:
        mapping = MAPPINGS[type(record)]
        back = mapping.parse(mapping.row("n", record)[1:])
        for field in fields(record):
            assert type(getattr(back, field.name)) is type(getattr(record, field.name)), (record, field.name)


def test_every_table_begins_with_its_node_and_names_its_party():
    for mapping in MAPPINGS.values():
        names = [column.name for column in mapping.table.columns]
        assert names[0] == "node"
        assert "party" in names


def test_the_key_of_a_table_is_that_of_its_record_within_a_node():
    for kind, paths in KEYS.items():
        table = MAPPINGS[kind].table
        assert {column.name for column in table.primary_key} == {"node", *(path.split(".")[-1] for path in paths)}


def test_every_record_has_its_own_table():
    assert len(METADATA.tables) == len(MAPPINGS) == len({kind.__name__ for kind in Record.__subclasses__()})


def test_no_nested_value_hides_a_field_of_its_record():
    for kind, mapping in MAPPINGS.items():
        names = [column.name for column in mapping.columns]
        assert len(names) == len(set(names)), kind


@pytest.mark.parametrize("when", [datetime(1970, 1, 1, tzinfo=UTC), datetime(1969, 12, 31, 23, 59, 59, 1, tzinfo=UTC)])
def test_times_are_microseconds_also_before_1970(when):
    assert datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds(when)) == when


def test_only_what_has_a_time_can_be_asked_for_by_time(samples):
    with_time = {kind.__name__ for kind, mapping in MAPPINGS.items() if mapping.time_column}
    assert with_time == {"ReadingRecord", "AuditRecord", "BufferedReadingRecord", "OutboxRecord"}
    for mapping in MAPPINGS.values():
        assert bool(mapping.since) is bool(mapping.forget) is bool(mapping.pending) is bool(mapping.time_column)


def test_group_membership_and_reading_lie_flat():
    assert {hint for mapping in MAPPINGS.values() for hint in mapping.nested.values()} == {Group, Membership, Reading}
