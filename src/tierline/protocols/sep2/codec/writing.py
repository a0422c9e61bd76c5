"""Values to XML: writers compiled from the rows, no prefixes, strict order; items may be rendered ahead and joined.

EPRI's client, for one, ends the connection on a prefix, a foreign element or a wrong order.
"""

import functools
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any, Final

import msgspec

from tierline.protocols.sep2.codec.dialect import CSIP, CSIP_AUS_PREFIX, XSI_NAMESPACE, Dialect
from tierline.protocols.sep2.codec.kinds import encoder_of
from tierline.protocols.sep2.resources.objects import List, Resource
from tierline.protocols.sep2.resources.registry import item_name, space_of
from tierline.protocols.sep2.resources.rows import Attribute, Element, Row, Space, Value, rows_of

_DECLARATION: Final = '<?xml version="1.0" encoding="UTF-8"?>\n'


def render(value: Value, *, href: str | None = None, dialect: Dialect = CSIP) -> bytes:
    """Write one document; `href` replaces the root's own. Elements of other editions are left out.

    Raises: ValueError when a value does not fit its type on the wire.
    """
    if href is not None:
        if not isinstance(value, Resource):
            raise ValueError(f"a {type(value).__name__} has no href")
        value = msgspec.structs.replace(value, href=href)
    cls = type(value)
    text = _writer_of(cls, dialect).write(value, _root_name(cls, dialect), _namespaces(dialect))
    return (_DECLARATION + text).encode()


def render_fragment(item: Value, *, dialect: Dialect = CSIP) -> bytes:
    """Write one list item, to be kept and joined by `render_list`."""
    cls = type(item)
    name = item_name(cls)
    return _writer_of(cls, dialect).write(item, name, _type_note(cls, name)).encode()


def render_list(
    list_type: type[List],
    href: str,
    all: int,  # noqa: A002  # the standard's name
    fragments: Sequence[bytes],
    poll_rate: int | None = None,
    subscribable: int | None = None,
    *,
    dialect: Dialect = CSIP,
) -> bytes:
    """Join one page of a list from items rendered ahead; `all` is the true total, `results` is counted.

    Units: poll_rate in seconds.
    Raises: TypeError when the list type has no such attribute.
    """
    optional = {"poll_rate": poll_rate, "subscribable": subscribable}
    given: dict[str, Any] = {name: value for name, value in optional.items() if value is not None}
    page = list_type(href=href, all=all, results=len(fragments), **given)  # Any: which of the two a list has is its own
    name = _root_name(list_type, dialect)
    head = _DECLARATION + _writer_of(list_type, dialect).head(page, name, _namespaces(dialect))
    return b"".join([head.encode(), b">", *fragments, f"</{name}>".encode()])


def _root_name(cls: type[Value], dialect: Dialect) -> str:
    space = space_of(cls)
    if dialect.namespace(space) is None:
        raise ValueError(f"{cls.__name__} does not exist in edition {dialect.edition}")
    return _prefixed(cls.__name__, space)


def _prefixed(name: str, space: Space) -> str:
    return name if space is Space.SEP else f"{CSIP_AUS_PREFIX}:{name}"


@functools.cache
def _namespaces(dialect: Dialect) -> str:
    extension = dialect.namespace(Space.CSIP_AUS)
    prefixed = "" if extension is None else f' xmlns:{CSIP_AUS_PREFIX}="{extension}"'
    return f' xmlns="{dialect.namespace(Space.SEP)}"{prefixed}'


def _type_note(cls: type[Value], name: str) -> str:
    """Name the derived type of an element that does not say it itself."""
    return "" if cls.__name__ == name else f' xmlns:xsi="{XSI_NAMESPACE}" xsi:type="{cls.__name__}"'


class _Writer:
    """Writes one type; compiled from its rows for one dialect."""

    def __init__(self, cls: type[Value], dialect: Dialect) -> None:
        rows = [row for row in rows_of(cls) if dialect.knows(row.mark.since)]
        attributes = [row for row in rows if isinstance(row.mark, Attribute)]
        elements = [row for row in rows if isinstance(row.mark, Element)]
        self.attributes = _fields(attributes)
        self.attribute_texts = [_attribute(row) for row in attributes]
        self.elements = _fields(elements)
        self.element_texts = [_element(row, row.mark, dialect) for row in elements if isinstance(row.mark, Element)]

    def head(self, value: Value, name: str, extra: str = "") -> str:
        """Write the start tag, still open for its end."""
        items = zip(self.attributes(value), self.attribute_texts, strict=True)
        return f"<{name}{extra}{''.join([text(item) for item, text in items if item is not None])}"

    def write(self, value: Value, name: str, extra: str = "") -> str:
        """Write the whole element."""
        items = zip(self.elements(value), self.element_texts, strict=True)
        body = "".join([text(item) for item, text in items if item is not None])
        head = self.head(value, name, extra) if self.attribute_texts else f"<{name}{extra}"
        return f"{head}>{body}</{name}>" if body else f"{head}/>"


def _fields(rows: Sequence[Row]) -> Callable[[Value], tuple[Any, ...]]:
    """Take the fields of some rows at once; Any: each is written by the text function of its own row."""
    names = [row.field for row in rows]
    if len(names) > 1:
        return attrgetter(*names)
    getters = [attrgetter(name) for name in names]
    return lambda value: tuple(getter(value) for getter in getters)


def _attribute(row: Row) -> Callable[[Any], str]:
    assert not isinstance(row.kind, type), "attributes are simple"
    return encoder_of(row.kind, f' {row.name}="', '"')


def _element(row: Row, mark: Element, dialect: Dialect) -> Callable[[Any], str]:
    name = _prefixed(row.name, mark.space)
    one = _one(row, mark, name, dialect)
    return (lambda items: "".join(map(one, items))) if row.repeated else one


def _one(row: Row, mark: Element, name: str, dialect: Dialect) -> Callable[[Any], str]:
    if not isinstance(row.kind, type):
        return encoder_of(row.kind, f"<{name}>", f"</{name}>")
    if mark.polymorphic:
        declared = row.kind.__name__
        return lambda item: _write_derived(item, name, declared, dialect)
    write = _writer_of(row.kind, dialect).write
    return lambda item: write(item, name)


def _write_derived(item: Value, name: str, declared: str, dialect: Dialect) -> str:
    cls = type(item)
    return _writer_of(cls, dialect).write(item, name, _type_note(cls, declared))


@functools.cache
def _writer_of(cls: type[Value], dialect: Dialect) -> _Writer:
    return _Writer(cls, dialect)
