"""Values to XML: no prefixes, strict order; items may be rendered ahead and joined.

EPRI's client, for one, ends the connection on a prefix, a foreign element or a wrong order.
"""

import functools
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from tierline.protocols.sep2.codec.dialect import CSIP, CSIP_AUS_PREFIX, Dialect
from tierline.protocols.sep2.codec.templates import prefixed, type_note, writer_of
from tierline.protocols.sep2.resources.objects import List, Resource
from tierline.protocols.sep2.resources.registry import item_name, space_of
from tierline.protocols.sep2.resources.rows import Space, Value

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
    text = writer_of(cls, dialect).write(value, _root_name(cls, dialect), _namespaces(dialect))
    return (_DECLARATION + text).encode()


def render_fragment(item: Value, *, dialect: Dialect = CSIP) -> bytes:
    """Write one list item, to be kept and joined by `render_list`."""
    cls = type(item)
    name = item_name(cls)
    return writer_of(cls, dialect).write(item, name, type_note(cls, name)).encode()


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
    head = _DECLARATION + writer_of(list_type, dialect).head(page, name, _namespaces(dialect))
    return b"".join([head.encode(), b">", *fragments, f"</{name}>".encode()])


def _root_name(cls: type[Value], dialect: Dialect) -> str:
    space = space_of(cls)
    if dialect.namespace(space) is None:
        raise ValueError(f"{cls.__name__} does not exist in edition {dialect.edition}")
    return prefixed(cls.__name__, space)


@functools.cache
def _namespaces(dialect: Dialect) -> str:
    extension = dialect.namespace(Space.CSIP_AUS)
    prefixed = "" if extension is None else f' xmlns:{CSIP_AUS_PREFIX}="{extension}"'
    return f' xmlns="{dialect.namespace(Space.SEP)}"{prefixed}'
