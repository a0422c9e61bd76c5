from dataclasses import fields, is_dataclass
from typing import get_type_hints

import pytest

from tierline.model import records
from tierline.model.records import KEYS, DerInfoKind, Record

RECORDS = [
    value
    for value in vars(records).values()
    if isinstance(value, type) and issubclass(value, Record) and value is not Record
]


def test_every_record_has_a_key_and_nothing_else_has():
    assert set(KEYS) == set(RECORDS)


@pytest.mark.parametrize("record", RECORDS)
def test_a_key_is_made_of_fields_of_the_record(record):
    for name in KEYS[record]:
        field, *nested = name.split(".")
        assert field in {each.name for each in fields(record)}
        for part in nested:
            assert part in {each.name for each in fields(get_type_hints(record)[field])}


@pytest.mark.parametrize("record", RECORDS)
def test_a_key_names_no_field_twice(record):
    assert len(set(KEYS[record])) == len(KEYS[record]) > 0


@pytest.mark.parametrize("record", RECORDS)
def test_every_record_is_frozen_and_names_its_party(record):
    assert is_dataclass(record)
    assert record.__dataclass_params__.frozen
    assert "party" in {field.name for field in fields(record)}


@pytest.mark.parametrize("record", RECORDS)
def test_no_part_of_a_key_may_be_missing(record):
    for name in KEYS[record]:
        hint = get_type_hints(record)[name.split(".")[0]]
        assert type(None) not in getattr(hint, "__args__", ())


def test_der_information_has_the_names_of_its_resources():
    assert list(DerInfoKind) == ["dercap", "derg", "ders", "dera", "di"]
