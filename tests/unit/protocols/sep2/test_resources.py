import msgspec
import pytest

from tierline.protocols.sep2 import resources
from tierline.protocols.sep2.resources.registry import ROOTS, item_name, item_row, roots_by_name
from tierline.protocols.sep2.resources.rows import Attribute, Edition, Element, Row, Space, Value, includes, rows_of


def nested_types(cls, seen):
    if cls not in seen:
        seen.add(cls)
        for row in rows_of(cls):
            if isinstance(row.kind, type):
                nested_types(row.kind, seen)
    return seen


def every_type():
    seen = set()
    for cls in ROOTS:
        nested_types(cls, seen)
    return sorted(seen, key=lambda cls: cls.__name__)


@pytest.mark.parametrize("cls", every_type(), ids=lambda cls: cls.__name__)
def test_every_type_is_frozen_and_outside_the_garbage_collector(cls):
    config = cls.__struct_config__
    assert config.frozen
    assert not config.gc
    assert config.eq


@pytest.mark.parametrize("cls", every_type(), ids=lambda cls: cls.__name__)
def test_no_name_on_the_wire_stands_twice_in_a_type(cls):
    names = [(type(row.mark), row.name) for row in rows_of(cls)]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("cls", every_type(), ids=lambda cls: cls.__name__)
def test_a_field_is_named_after_its_element(cls):
    for row in rows_of(cls):
        squeezed = row.field.replace("_", "")
        wire = row.name.lower()
        assert row.field == "items" or squeezed in {wire, f"{wire}s"}, (cls, row)


@pytest.mark.parametrize("cls", every_type(), ids=lambda cls: cls.__name__)
def test_extensions_stand_after_all_elements_of_the_standard(cls):
    spaces = [row.mark.space for row in rows_of(cls) if isinstance(row.mark, Element)]
    assert spaces == sorted(spaces, key=[Space.SEP, Space.CSIP_AUS].index)


def test_rows_know_cardinality_order_and_edition():
    rows = {row.name: row for row in rows_of(resources.DERCurve)}
    assert rows["mRID"].required
    assert not rows["mRID"].repeated
    assert not rows["description"].required
    assert rows["CurveData"].required
    assert rows["CurveData"].repeated
    assert rows["CurveData"].mark.limit == 10
    assert isinstance(rows["href"].mark, Attribute)
    assert [row.order for row in rows.values()] == list(range(len(rows)))
    exported = next(row for row in rows_of(resources.DERControlBase) if row.name == "opModExpLimW")
    assert (exported.mark.since, exported.mark.space) == (Edition.CSIP_AUS_1_2, Space.CSIP_AUS)


def test_a_field_without_a_row_is_refused():
    class Strange(Value, frozen=True, kw_only=True):
        number: int

    with pytest.raises(TypeError, match=r"Strange\.number needs an Element or Attribute"):
        rows_of(Strange)


def test_editions_build_upon_each_other():
    assert includes(Edition.CSIP_AUS_1_3, Edition.CSIP_AUS_1_2)
    assert includes(Edition.CSIP_AUS_1_2, Edition.IEEE_2018)
    assert not includes(Edition.IEEE_2018, Edition.CSIP_AUS_1_2)
    assert not includes(Edition.IEEE_2023, Edition.CSIP_AUS_1_2)
    assert not includes(Edition.CSIP_AUS_1_2, Edition.CSIP_AUS_1_3_BETA)


def test_every_root_is_found_by_its_name():
    assert set(roots_by_name().values()) == set(ROOTS)
    assert roots_by_name()["DERControlList"] is resources.DERControlList


def test_a_derived_response_stands_in_its_list_as_response():
    assert item_name(resources.DERControlResponse) == "Response"
    assert item_name(resources.DERControl) == "DERControl"
    assert item_name(resources.DeviceCapability) == "DeviceCapability"


def test_every_list_has_items():
    for cls in ROOTS:
        if issubclass(cls, resources.List):
            row = item_row(cls)
            assert isinstance(row, Row)
            assert row.repeated


def test_a_value_cannot_be_changed():
    link = resources.Link(href="/tm")
    with pytest.raises(AttributeError):
        link.href = "/other"
    assert msgspec.structs.replace(link, href="/other") != link
