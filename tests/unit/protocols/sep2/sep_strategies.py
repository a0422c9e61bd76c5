"""Hypothesis strategies for every resource, generated from the rows: a new row is tested without a new test."""

import functools
from typing import Any

from hypothesis import strategies as st

from tierline.protocols.sep2.codec import Dialect
from tierline.protocols.sep2.resources.exchange import DERControlResponse, Notification, NotificationList, Response
from tierline.protocols.sep2.resources.objects import List, Resource
from tierline.protocols.sep2.resources.registry import ROOTS
from tierline.protocols.sep2.resources.rows import Bitmap, Boolean, HexText, Integer, Kind, Row, Text, Value, rows_of

# XML 1.0 characters only; \r survives as a reference, which XML Schema's white space rules leave alone in xs:string
_CHARACTERS = st.characters(
    exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff", include_characters="\t\n\r"
)
_PATHS = st.from_regex(r"/[a-z2-7/]{1,20}(\?s=[0-9]&l=[0-9]{1,2})?", fullmatch=True)


def values(cls: type[Value], dialect: Dialect) -> st.SearchStrategy[Any]:
    """Draw values of one type as one dialect can carry them."""
    return _values(cls, dialect)


@functools.cache
def _values(cls: type[Value], dialect: Dialect) -> st.SearchStrategy[Any]:
    rows = [row for row in rows_of(cls) if dialect.knows(row.mark.since)]
    return st.fixed_dictionaries({row.field: _field(cls, row, dialect) for row in rows}).map(
        lambda fields: cls(**_counted(cls, fields))
    )


def _counted(cls: type[Value], fields: dict[str, Any]) -> dict[str, Any]:
    return fields | {"results": len(fields["items"])} if issubclass(cls, List) else fields


def _field(cls: type[Value], row: Row, dialect: Dialect) -> st.SearchStrategy[Any]:
    content = _content(row, dialect)
    if row.repeated:
        least = 1 if row.required else 0
        return st.lists(content, min_size=least, max_size=3).map(tuple)
    return content if row.required else st.none() | content


def _content(row: Row, dialect: Dialect) -> st.SearchStrategy[Any]:
    if not isinstance(row.kind, type):
        return _simple(row.kind)
    if row.kind is Resource:
        nested = [cls for cls in ROOTS if issubclass(cls, Resource) and cls not in {Notification, NotificationList}]
        spoken = [cls for cls in nested if cls.__name__ != "ConnectionPoint"]
        return st.sampled_from(spoken).flatmap(lambda cls: _values(cls, dialect))
    if row.kind is Response:
        return _values(Response, dialect) | _values(DERControlResponse, dialect)
    return _values(row.kind, dialect)


def _simple(kind: Kind) -> st.SearchStrategy[Any]:
    match kind:
        case Integer():
            return st.integers(kind.low, kind.high)
        case Bitmap():
            return st.integers(0, kind.high)
        case HexText():
            return st.integers(0, 16**kind.digits - 1).map(lambda number: f"{number:0{kind.digits}X}")
        case Boolean():
            return st.booleans()
        case Text(max_length=None):
            return _PATHS
        case Text():
            return st.text(_CHARACTERS, max_size=kind.max_length)
